"""Modality Worklist (PS3.4 K.6.1) and Performed Procedure Step (PS3.4 F.7): data sets in, questions and reports out.

Rules, in order:
1. A question has keys at the top and in one item of the Scheduled Procedure Step Sequence; an empty sequence asks for
   all of its keys. Keys that are not held make the answers FF01.
2. An answer has the keys that were asked for and no others.
3. A step report has a status and names the scheduled steps that it performs; more is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ribcage.dicom import identifier
from ribcage.dicom.dictionary import TAG_BY_KEYWORD, keyword_of, vr_of
from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.identifier import IDENTIFIER_LIMITS, Value
from ribcage.dicom.scan import Element, Scan, ScanLimits, scan
from ribcage.dicom.values import Charset, charset_of, known_vr, text_values

STEP: Final = TAG_BY_KEYWORD["ScheduledProcedureStepSequence"]
_CODE: Final = TAG_BY_KEYWORD["RequestedProcedureCodeSequence"]
_PERFORMED: Final = TAG_BY_KEYWORD["ScheduledStepAttributesSequence"]
_STATUS: Final = TAG_BY_KEYWORD["PerformedProcedureStepStatus"]
_REPORT_LIMITS: Final = ScanLimits(max_data_set_bytes=4 * 1024**2, max_depth=16, max_elements=50_000)
_MOST_STEPS: Final = 64
# Keyword and whether it is matched.
TOP: Final = MappingProxyType(
    {
        "PatientName": True,
        "PatientID": True,
        "IssuerOfPatientID": True,
        "PatientBirthDate": False,
        "PatientSex": False,
        "AccessionNumber": True,
        "ReferringPhysicianName": True,
        "StudyInstanceUID": True,
        "RequestedProcedureID": True,
        "RequestedProcedureDescription": False,
    }
)
IN_STEP: Final = MappingProxyType(
    {
        "Modality": True,
        "ScheduledStationAETitle": True,
        "ScheduledProcedureStepStartDate": True,
        "ScheduledProcedureStepStartTime": True,
        "ScheduledProcedureStepDescription": False,
        "ScheduledProcedureStepID": True,
    }
)
_CODES: Final = MappingProxyType(
    {"CodeValue": "code", "CodingSchemeDesignator": "scheme", "CodeMeaning": "meaning"}
)
_ABOUT: Final = frozenset({"SpecificCharacterSet", "TimezoneOffsetFromUTC"})


@dataclass(frozen=True, slots=True)
class Question:
    """What one C-FIND asks: filters by keyword, keys to return, and whether some are not supported."""

    filters: Mapping[str, str]
    top: frozenset[str]
    step: frozenset[str] | None  # None: the sequence was not asked for
    code: bool
    character_set: str
    unsupported: bool


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What a performed step says of a scheduled one."""

    study_uid: str
    accession: str
    step_id: str


@dataclass(frozen=True, slots=True)
class StepReport:
    """Status and scheduled steps of one N-CREATE or N-SET; '' and none where they are absent."""

    status: str
    scheduled: tuple[Scheduled, ...]


def question(data: bytes | bytearray, transfer_syntax: str) -> Question:
    """Rule 1. Raises DataSetMalformed, DataSetLimitExceeded."""
    asked = identifier.read(data, transfer_syntax)
    scanned = scan(data, transfer_syntax, IDENTIFIER_LIMITS)
    charset = charset_of(asked.character_set.encode("ascii", "replace"))
    named = {keyword_of(tag): value for tag, value in asked.keys.items()}
    filters, top, unsupported = _sorted_out(named, TOP)
    step: frozenset[str] | None = None
    if STEP in asked.sequences:
        items = _items(scanned, STEP)
        if len(items) > 1:
            raise DataSetMalformed("expected one item in the Scheduled Procedure Step Sequence")
        inner = {keyword_of(e.tag): _text(scanned, e, charset) for e in (items[0] if items else ())}
        more, found, odd = _sorted_out(inner, IN_STEP)
        filters, unsupported = filters | more, unsupported or odd
        step = frozenset(found or (IN_STEP if not inner else ()))
    unsupported = unsupported or bool(asked.sequences - {STEP, _CODE})
    return Question(filters, frozenset(top), step, _CODE in asked.sequences, asked.character_set, unsupported)


def _sorted_out(keys: Mapping[str, str], known: Mapping[str, bool]) -> tuple[dict[str, str], list[str], bool]:
    """Filters, keys to return, and whether some key is none of ours."""
    filters, found, odd = dict[str, str](), list[str](), False
    for keyword, value in keys.items():
        if keyword in _ABOUT:
            continue
        if keyword not in known:
            odd = True
            continue
        found.append(keyword)
        if value.strip("*"):
            if known[keyword]:
                filters[keyword] = value
            else:
                odd = True
    return filters, found, odd


def answer(asked: Question, values: Mapping[str, str], transfer_syntax: str) -> bytes:
    """Rule 2. `values` by keyword; of the code: code, scheme, meaning."""
    found: dict[int, Value] = {TAG_BY_KEYWORD[k]: values.get(k, "") for k in asked.top}
    if asked.step is not None:
        found[STEP] = {TAG_BY_KEYWORD[k]: values.get(k, "") for k in asked.step}
    if asked.code:
        coded = {TAG_BY_KEYWORD[k]: values.get(name, "") for k, name in _CODES.items()}
        found[_CODE] = coded if values.get("code") else {}
    return identifier.write(found, asked.character_set, transfer_syntax)


def report(data: bytes | bytearray, transfer_syntax: str) -> StepReport:
    """Rule 3. Raises DataSetMalformed, DataSetLimitExceeded."""
    scanned = scan(data, transfer_syntax, _REPORT_LIMITS)
    charset = charset_of(b"")
    status = next((_text(scanned, e, charset) for e in scanned.elements if e.tag == _STATUS), "")
    scheduled = []
    for item in _items(scanned, _PERFORMED)[:_MOST_STEPS]:
        named = {keyword_of(e.tag): _text(scanned, e, charset) for e in item if vr_of(e.tag) != "SQ"}
        told = (named.get(k, "") for k in ("StudyInstanceUID", "AccessionNumber", "ScheduledProcedureStepID"))
        scheduled.append(Scheduled(*told))
    return StepReport(status, tuple(scheduled))


def _items(scanned: Scan, tag: int) -> list[tuple[Element, ...]]:
    element = scanned.find(tag)
    return [] if element is None else [tuple(item.elements) for item in scanned.items(element)]


def _text(scanned: Scan, element: Element, charset: Charset) -> str:
    if vr_of(element.tag) == "SQ" or element.vr == "SQ":
        return ""
    values = text_values(bytes(scanned.value(element)), known_vr(element.tag, element.vr), charset)
    return "\\".join(values).strip()
