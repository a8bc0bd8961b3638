"""The identifier of C-GET and C-MOVE (PS3.4 C.4.2.1.4, C.4.3.1.3): what is asked for, and what failed.

Rules, in order:
1. Query/Retrieve Level is one that the root has; the unique keys above it have one value each, its own key one or
   more (hierarchical retrieval, PS3.4 C.4.2.2.1). Relational retrieval is not negotiated.
2. A UID is asked for once, however often it stands there. More than `_UIDS` of them are refused.
3. In the patient root the Study Instance UID decides; a Patient ID is read at level PATIENT alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ribcage.dicom.errors import DicomError
from ribcage.dicom.part10 import check_uid
from ribcage.dicom.rewrite import encode_element
from ribcage.dicom.scan import Encoding, Scan, scan
from ribcage.dicom.sop_classes import PATIENT_ROOT_GET, PATIENT_ROOT_MOVE
from ribcage.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from ribcage.dicom.values import DEFAULT_CHARSET, charset_of, text_values
from ribcage.transfer.errors import TransferError

_LEVEL, _CHARSET, _FAILED_UIDS = 0x00080052, 0x00080005, 0x00080058
_PATIENT, _STUDY, _SERIES, _INSTANCE = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018
_LEVELS = {"STUDY": (_STUDY,), "SERIES": (_STUDY, _SERIES), "IMAGE": (_STUDY, _SERIES, _INSTANCE)}
_UIDS = 10_000
_MOST_SHORT_BYTES = 0xFFFF


class IdentifierMismatch(TransferError):
    """The identifier does not fit its SOP class: status A900."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for: a patient's studies, or studies, or parts of one study."""

    patient_id: str = ""
    studies: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()

    def takes(self, series_uid: str, instance_uid: str) -> bool:
        """Whether this instance of a wanted study is wanted."""
        within = not self.series or series_uid in self.series
        return within and (not self.instances or instance_uid in self.instances)


def read_identifier(data_set: bytes | bytearray, transfer_syntax_uid: str, sop_class: str) -> Wanted:
    """Raises IdentifierMismatch."""
    try:
        scanned = scan(data_set, transfer_syntax_uid)
    except DicomError as failure:
        raise IdentifierMismatch("the identifier is not a data set") from failure
    level = _text(scanned, _LEVEL)
    patient_root = sop_class in (PATIENT_ROOT_GET, PATIENT_ROOT_MOVE)
    if level not in _LEVELS and not (patient_root and level == "PATIENT"):
        raise IdentifierMismatch("Query/Retrieve Level: expected one of this root, got another")
    if level == "PATIENT":
        patient_id = _text(scanned, _PATIENT)
        if not patient_id or "\\" in patient_id or "*" in patient_id or "?" in patient_id:
            raise IdentifierMismatch("Patient ID: expected one value without wildcards")
        return Wanted(patient_id=patient_id)
    found = [_uids(scanned, tag) for tag in _LEVELS[level]]
    if not found[-1] or any(len(above) != 1 for above in found[:-1]):
        raise IdentifierMismatch("expected one UID at each level above, and one or more at the asked level")
    return Wanted("", *found)


def failed_list(uids: Sequence[str], transfer_syntax_uid: str) -> bytes:
    """A data set with Failed SOP Instance UID List; UN where it does not fit a 16-bit length (PS3.5 6.2.2)."""
    value = "\\".join(uids).encode("ascii")
    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    vr = "UI" if implicit or len(value) < _MOST_SHORT_BYTES else "UN"
    return encode_element(_FAILED_UIDS, vr, value, Encoding.IMPLICIT_LE if implicit else Encoding.EXPLICIT_LE)


def _uids(scanned: Scan, tag: int) -> tuple[str, ...]:
    values = list(_unique(_text(scanned, tag).split("\\")))
    if len(values) > _UIDS:
        raise IdentifierMismatch(f"expected at most {_UIDS} UIDs, got more")
    try:
        for value in values:
            check_uid(value, "unique key")
    except DicomError as failure:
        raise IdentifierMismatch("expected UIDs as unique keys") from failure
    return tuple(values)


def _unique(values: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(stripped for value in values if (stripped := value.strip("\0 ")))


def _text(scanned: Scan, tag: int) -> str:
    element = scanned.find(tag)
    if element is None or scanned.items(element):
        return ""
    if tag != _PATIENT:
        return scanned.value(element).decode("ascii", "replace").strip("\0 ")
    declared = scanned.find(_CHARSET)
    charset = DEFAULT_CHARSET if declared is None else charset_of(scanned.value(declared))
    return "\\".join(text_values(scanned.value(element), "LO", charset))
