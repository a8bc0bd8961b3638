"""What a message says, as the guard takes it: ADT, ORM^O01, OMI^O23, PMU (HL7 2.5, chapters 3, 4, 15).

Rules, in order:
1. Only the events below are taken; others are refused by name (AR 200, 201), so that nobody believes they were heard.
2. A patient is the first number in PID-3 of an authority that DICOM leaves out (`own_authorities`), else the first
   that is a medical record number or of no type. The authority's namespace is the issuer, '' for a left-out one.
3. Staff are numbers (XCN.1), wards the point of care (PL.1): names decide nothing.
4. When it happened is EVN-2, else MSH-7.
5. An order's number is the placer's, else the filler's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from types import MappingProxyType
from typing import Final, cast

from ribcage.guard import protocol as p
from ribcage.transfer.hl7.errors import MessageRefused
from ribcage.transfer.hl7.message import Message, Segment
from ribcage.transfer.hl7.moments import digits, seconds

VISITS: Final = frozenset({"A01", "A02", "A03", "A04", "A08", "A11", "A12", "A13"})
ADT: Final = VISITS | {"A31", "A40"}
ORDERS: Final = frozenset({("ORM", "O01"), ("OMI", "O23")})
STAFF: Final = frozenset({"B01", "B02", "B03"})  # added, updated, terminated
_CONTROL: Final = MappingProxyType[str, p.OrderEvent](
    {
        "NW": "ordered",
        "SN": "ordered",
        "XO": "changed",
        "XX": "changed",
        "SC": "changed",
        "RP": "changed",
        "CA": "cancelled",
        "OC": "cancelled",
        "CR": "cancelled",
        "DC": "cancelled",
        "OD": "cancelled",
    }
)
_RECORD_NUMBERS: Final = frozenset({"", "MR", "PI", "PT"})
_FINAL: Final = frozenset({"F", "C"})  # OBR-25
_VERSIONS: Final = frozenset({"2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8"})


def told(message: Message, principal: p.Device, own_authorities: Collection[str]) -> p.TakeCare:
    """The guard's message. Raises MessageRefused."""
    header = message.header
    code, trigger = header.get(9, 1), header.get(9, 2)
    _check_kind(header, code, trigger)
    event = message.first("EVN")
    happened = (event.get(2) if event is not None else "") or header.get(7)
    request = p.TakeCare(
        principal=principal,
        sender=f"{header.get(3)}|{header.get(4)}",
        control=header.get(10),
        kind=f"{code}-{trigger}",
        content=_content(message),
        at=seconds(happened, "EVN-2"),
    )
    if code == "PMU":
        return _replace(request, staff=_staff(message, trigger, request.at))
    people = message.need("PID")
    request = _replace(request, patient=_patient(people, own_authorities))
    if code == "ADT":
        return _of_visit(message, request, trigger, own_authorities)
    return _replace(request, orders=list(_orders(message)))


def _replace(request: p.TakeCare, **more: object) -> p.TakeCare:
    values = {name: getattr(request, name) for name in request.__struct_fields__}
    return p.TakeCare(**(values | more))


def _check_kind(header: Segment, code: str, trigger: str) -> None:
    """Rule 1."""
    if not header.get(10):
        raise MessageRefused(101, "MSH-10")
    if header.get(11) not in ("P", "T", "D"):
        raise MessageRefused(202, "MSH-11")
    if header.get(11) != "P":
        raise MessageRefused(202, "MSH-11")  # training and debugging decide nothing here
    if header.get(12) not in _VERSIONS:
        raise MessageRefused(203, "MSH-12")
    if code == "ADT":
        known = trigger in ADT
    elif code == "PMU":
        known = trigger in STAFF
    elif code in ("ORM", "OMI"):
        known = (code, trigger) in ORDERS
    else:
        raise MessageRefused(200, "MSH-9")
    if not known:
        raise MessageRefused(201, "MSH-9")


def _content(message: Message) -> bytes:
    """SHA-256 of all segments after MSH and of MSH-9: a repetition may have another time of sending."""
    digest = hashlib.sha256(message.header.raw(9).encode())
    for segment in message.segments[1:]:
        digest.update(b"\r" + segment.text.encode())
    return digest.digest()


# --- patients -------------------------------------------------------------------------------------------


def _patient(segment: Segment, own: Collection[str]) -> p.CarePatient:
    """PID."""
    identifier, issuer = _number(segment, 3, own)
    return p.CarePatient(
        identifier=identifier,
        issuer=issuer,
        name=_name(segment, 5),
        birth_date=digits(segment.get(7))[:8],
        sex=segment.get(8)[:1],
    )


def _number(segment: Segment, field: int, own: Collection[str]) -> tuple[str, str]:
    """Rule 2."""
    found = []
    for each in segment.repetitions(field):
        number, authority, sort = (segment.get(field, at, of=each) for at in (1, 4, 5))
        if number:
            found.append((number, authority, sort))
    for number, authority, _ in found:
        if authority and authority in own:
            return number, ""
    for number, authority, sort in found:
        if sort in _RECORD_NUMBERS:
            return number, authority
    raise MessageRefused(101, f"{segment.name}-{field}")


def _name(segment: Segment, field: int) -> str:
    """XPN as PN: family, given, middle, prefix, suffix (PS3.5 6.2.1; suffix and prefix change places)."""
    parts = [segment.get(field, at) for at in (1, 2, 3, 5, 4)]
    return "^".join(part.replace("^", " ").replace("=", " ") for part in parts).rstrip("^")


def _staff_name(segment: Segment, field: int) -> str:
    """XCN as PN."""
    parts = [segment.get(field, at) for at in (2, 3, 4, 6, 5)]
    return "^".join(part.replace("^", " ").replace("=", " ") for part in parts).rstrip("^")


def _numbers(segment: Segment | None, *fields: int) -> list[str]:
    """Staff numbers in these fields (rule 3), each once."""
    if segment is None:
        return []
    found = [segment.get(field, of=each) for field in fields for each in segment.repetitions(field)]
    return list(dict.fromkeys(number for number in found if number))


# --- visits ---------------------------------------------------------------------------------------------


def _of_visit(message: Message, request: p.TakeCare, trigger: str, own: Collection[str]) -> p.TakeCare:
    if trigger == "A40":
        identifier, issuer = _number(message.need("MRG"), 1, own)
        if len(list(message.all("MRG"))) > 1:
            raise MessageRefused(102, "MRG")  # one pair a message, so that one answer fits
        return _replace(request, former=p.CarePatient(identifier, issuer))
    if trigger == "A31":
        return _replace(request, patient=None)  # of persons; nothing here follows from it
    visit = message.need("PV1")
    number = visit.get(19) or visit.get(50)
    if not number:
        raise MessageRefused(101, "PV1-19")
    return _replace(
        request,
        visit=p.CareVisit(
            event=cast(p.VisitEvent, trigger),
            number=number,
            ward=visit.get(3),
            staff=_numbers(visit, 7, 8, 9, 17),  # attending, referring, consulting, admitting
            inpatient=visit.get(2) not in ("O", "E", "R"),
        ),
    )


# --- orders ---------------------------------------------------------------------------------------------


def _orders(message: Message) -> Iterator[p.CareOrder]:
    """Each ORC with the OBR, TQ1 and IPC that follow it."""
    groups: list[list[Segment]] = []
    for segment in message.segments:
        if segment.name == "ORC":
            groups.append([])
        if groups:
            groups[-1].append(segment)
    if not groups:
        raise MessageRefused(100, "ORC")
    for group in groups:
        yield _order(group)


def _order(group: list[Segment]) -> p.CareOrder:
    by_name: dict[str, Segment] = {}
    for segment in group:
        by_name.setdefault(segment.name, segment)
    common, what = by_name["ORC"], by_name.get("OBR")
    step, timing, study = (by_name.get(name) for name in ("IPC", "TQ1", "ZDS"))
    number = common.get(2) or common.get(3)
    if not number:
        raise MessageRefused(101, "ORC-2")
    event = _CONTROL.get(common.get(1))
    if event is None:
        raise MessageRefused(103, "ORC-1")
    if event == "changed" and (common.get(5) in ("CM", "CA") or _get(what, 25) in _FINAL):
        event = "cancelled" if common.get(5) == "CA" else "reported"
    start = _get(timing, 7) or _get(what, 27, 4) or common.get(7, 4) or _get(what, 36)
    return p.CareOrder(
        event=event,
        number=number,
        department=_get(what, 24),
        staff=list(dict.fromkeys(_numbers(common, 12) + _numbers(what, 16, 32))),
        accession=_get(step, 1) or _get(what, 18),
        procedure_id=_get(step, 2) or _get(what, 19),
        step_id=_get(step, 4) or _get(what, 20),
        study_uid=_get(step, 3) or _get(study, 1),
        modality=_get(step, 5) or _get(what, 24),
        station=_get(step, 9),
        start=digits(start),
        code=_get(what, 4, 1),
        scheme=_get(what, 4, 3),
        description=_get(what, 4, 2),
        referring=_staff_name(what, 16) if what is not None else "",
    )


def _get(segment: Segment | None, field: int, component: int = 1) -> str:
    return "" if segment is None else segment.get(field, component)


# --- staff ----------------------------------------------------------------------------------------------


def _staff(message: Message, trigger: str, at: float) -> p.CareStaff:
    """STF-2 or STF-1 and ORG: where somebody works (ORG-2) and when (ORG-9)."""
    who = message.need("STF")
    number = who.get(2) or who.get(1)
    if not number:
        raise MessageRefused(101, "STF-2")
    shifts = []
    for segment in message.all("ORG") if trigger != "B03" else ():
        begin, end = segment.get(9, 1), segment.get(9, 2)
        begins_at = seconds(begin, "ORG-9") if begin else at
        ends_at = seconds(end, "ORG-9") if end else 0.0
        if ends_at and ends_at <= begins_at:
            raise MessageRefused(102, "ORG-9")
        shifts.append(p.CareShift(segment.get(2), begins_at, ends_at))
    return p.CareStaff(number, shifts)
