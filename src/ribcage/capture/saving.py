"""What a person saves about a study (measurements, key objects, segmentations, presentation states), before sealing.

Rules, in order (docs/adr/0012):
1. The guard is asked first, with all that the object refers to (`Derive`): its answer is the receipt for `Admit`.
2. An object is of the masked view when its Patient ID is the pseudonym of its study, and its Patient's Name that
   pseudonym or empty. It alone is changed; every other object is stored bit for bit and compared as always.
3. It takes the patient module of its study (PS3.3 C.7.1.1) and what General Study (C.7.2.1) says of the visit, as the
   index has them. Other attributes of the patient, and claims that the identity was removed, go: they were not the
   study's. Pixels and everything else stay the bytes that came.
4. What was replaced stands in Original Attributes Sequence (C.12.1.1.9, required by PS3.18 10.5.3). Its time is the
   day: the same object sent again on that day has the same hash, and is held already.
5. The guard's values fit the object's character set, or the object becomes UTF-8 (`dicom.transcode`).
6. A sequence that hides as UN is refused: what it refers to could not be checked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from ribcage.capture.disarm import Arrival
from ribcage.capture.errors import NotUnderstood, TooLarge, admission_error
from ribcage.dicom.attributes import extract
from ribcage.dicom.coerce import NewText, Why, coerce
from ribcage.dicom.errors import DicomError
from ribcage.dicom.scan import Scan, ScanLimits, scan
from ribcage.dicom.values import known_vr
from ribcage.guard.errors import GuardError
from ribcage.guard.protocol import (
    MAX_REFERENCES,
    SAVED_CLASSES,
    Channel,
    Derive,
    Derived,
    PatientModule,
    Principal,
)
from ribcage.storage.ports import Guard
from ribcage.usage.pseudonyms import masked_id, masked_name

_MAX_REWRITTEN_BYTES: Final = 256 * 1024**2  # an object that is changed is held twice
_INLINE_BYTES: Final = 64 * 1024
_REFERENCED_INSTANCE: Final = 0x00081155
_STUDY: Final = 0x0020000D
# Referenced Study, Performed Procedure Step and Patient: they name no stored instance.
_NO_INSTANCES: Final = frozenset({0x00081110, 0x00081111, 0x00081120})

# Field of `PatientModule`, VR, whether it stands even when empty (type 2).
_MODULE: Final = {
    0x00080020: ("study_date", "DA", True),
    0x00080030: ("study_time", "TM", True),
    0x00080050: ("accession_number", "SH", True),
    0x00080090: ("referring_physician_name", "PN", True),
    0x00081030: ("study_description", "LO", False),
    0x00100010: ("patient_name", "PN", True),
    0x00100020: ("patient_id", "LO", True),
    0x00100021: ("issuer_of_patient_id", "LO", False),
    0x00100030: ("patient_birth_date", "DA", True),
    0x00100040: ("patient_sex", "CS", True),
    0x00200010: ("study_id", "SH", True),
}
# Issuer of the accession number, the referring physician's address, telephone and codes, and what says that the
# identity was removed, how and by which codes.
_ALSO_GONE: Final = frozenset(
    {0x00080051, 0x00080092, 0x00080094, 0x00080096, 0x00120062, 0x00120063, 0x00120064}
)


@dataclass(frozen=True, slots=True)
class Saved:
    """What goes on to be admitted: the object, changed or as it came, and the guard's receipt for it."""

    arrival: Arrival
    receipt: bytes = b""
    coerced: bool = False


@dataclass(frozen=True, slots=True)
class _Object:
    scanned: Scan
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    studies: list[str]
    instances: list[str]
    masked: bool


async def prepare(
    guard: Guard, principal: Principal, channel: Channel, arrival: Arrival, limits: ScanLimits
) -> Saved:
    """Ask for what is of `SAVED_CLASSES` and write the patient into what needs one. Raises AdmissionError."""
    quick = memoryview(arrival.data).nbytes <= _INLINE_BYTES
    try:
        found = _read(arrival, limits) if quick else await asyncio.to_thread(_read, arrival, limits)
    except DicomError as failure:
        raise admission_error(failure) from None
    if found is None:
        return Saved(arrival)
    request = Derive(
        principal,
        channel,
        found.sop_class_uid,
        found.sop_instance_uid,
        found.study_instance_uid,
        found.studies,
        found.instances,
        found.masked,
    )
    names = found.sop_class_uid, found.sop_instance_uid
    try:
        derived = await guard.call(request, Derived)
    except GuardError as failure:
        raise admission_error(failure, *names) from failure
    if derived.patient is None:
        return Saved(arrival, derived.receipt)
    on = datetime.now(UTC).strftime("%Y%m%d+0000")
    try:
        changed = await asyncio.to_thread(_with_patient, arrival, found.scanned, derived.patient, on, limits)
    except DicomError as failure:
        raise admission_error(failure, *names) from None
    return Saved(changed, derived.receipt, coerced=True)


def _read(arrival: Arrival, limits: ScanLimits) -> _Object | None:
    """What the guard has to know of an object; None where it is none of them. Raises AdmissionError, DicomError."""
    scanned = scan(arrival.data, arrival.transfer_syntax_uid, limits, arrival.prefix_bytes)
    said = {name: str(value) for name, value in extract(scanned).items()}
    if said["sop_class_uid"] not in SAVED_CLASSES:
        return None
    study, masked = said["study_instance_uid"], said["patient_id"] == masked_id(said["study_instance_uid"])
    masked = masked and said["patient_name"].rstrip("^") in ("", masked_name(study))
    if masked and memoryview(arrival.data).nbytes > _MAX_REWRITTEN_BYTES:
        raise TooLarge("the object is too large to be saved from the masked view; prove the second factor")
    studies, instances = references(scanned)
    if len(studies) + len(instances) > MAX_REFERENCES:
        raise TooLarge(f"expected at most {MAX_REFERENCES} references; save in several objects")
    return _Object(
        scanned,
        said["sop_class_uid"],
        said["sop_instance_uid"],
        study,
        sorted(studies),
        sorted(instances),
        masked,
    )


def references(scanned: Scan) -> tuple[set[str], set[str]]:
    """Study and SOP Instance UIDs that stand in sequences, wherever. Raises NotUnderstood (rule 6)."""
    studies: set[str] = set()
    instances: set[str] = set()
    pending = list(scanned.elements)
    while pending:
        element = pending.pop()
        items = scanned.items(element)
        if element.vr != "SQ" and element.length and known_vr(element.tag, element.vr) == "SQ" and not items:
            raise NotUnderstood("expected a sequence that can be read, got one of VR UN; write it as SQ")
        if element.tag in _NO_INSTANCES:
            continue
        for item in items:
            pending.extend(item.elements)
            for inner in item.elements:
                if inner.tag in (_REFERENCED_INSTANCE, _STUDY):
                    uid = scanned.value(inner)[:128].rstrip(b"\0 ").decode("ascii", "replace")
                    (studies if inner.tag == _STUDY else instances).add(uid)
    return studies - {""}, instances - {""}


def _with_patient(
    arrival: Arrival, scanned: Scan, patient: PatientModule, on: str, limits: ScanLimits
) -> Arrival:
    """The file with the study's patient in it (rules 3 to 5). Raises DicomError."""
    body = bytes(memoryview(arrival.data)[: arrival.prefix_bytes])
    body += b"".join(write_patient(scanned, patient, on, limits))
    return replace(arrival, data=body)


def write_patient(scanned: Scan, patient: PatientModule, on: str, limits: ScanLimits) -> list[bytes]:
    """The data set of patient and study as the index has them; `on` is a DT. Raises DicomError."""
    new = {tag: NewText(vr, getattr(patient, name), stands) for tag, (name, vr, stands) in _MODULE.items()}
    gone = _ALSO_GONE | {each.tag for each in scanned.elements if each.tag >> 16 == 0x0010}
    return [coerce(scanned, new, gone, Why(on, "Masked view", "COERCE"), limits)]
