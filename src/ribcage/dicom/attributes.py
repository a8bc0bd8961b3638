"""What the index learns of one instance, read from a scan.

Rules, in order:
1. SOP Class, SOP Instance, Study and Series Instance UID must be there, once, and be UIDs (PS3.5 9.1): an instance
   without them, or with two answers, cannot be addressed and is refused.
2. A patient-identifying attribute that stands twice is refused: two readers would see two patients.
3. Where the data set declares no character set, it is read in the one that its device's registration names; where the
   registration says so, also instead of a declared one.
4. Everything else is read leniently: text that is too long is cut, a number that is none is 0, a date or time
   that is none is "".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.part10 import check_uid
from ribcage.dicom.scan import Element, Scan
from ribcage.dicom.values import (
    CHARSET_VRS,
    DEFAULT_CHARSET,
    Charset,
    charset_of,
    integer,
    is_little,
    known_vr,
    numbers,
    text_values,
)

MAX_TEXT_BYTES: Final = 1024
MAX_EQUIPMENT_BYTES: Final = 256
_CHARSET_TAG: Final = 0x00080005

_UIDS: Final = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
}
_TEXTS: Final = {
    0x00100020: ("patient_id", "LO"),
    0x00100021: ("issuer_of_patient_id", "LO"),
    0x00100010: ("patient_name", "PN"),
    0x00100030: ("patient_birth_date", "DA"),
    0x00100040: ("patient_sex", "CS"),
    0x00080020: ("study_date", "DA"),
    0x00080030: ("study_time", "TM"),
    0x00080050: ("accession_number", "SH"),
    0x00200010: ("study_id", "SH"),
    0x00081030: ("study_description", "LO"),
    0x00080090: ("referring_physician_name", "PN"),
    0x00080060: ("modality", "CS"),
    0x00081010: ("station_name", "SH"),
    0x00200011: ("series_number", "IS"),
    0x0008103E: ("series_description", "LO"),
    0x00180015: ("body_part_examined", "CS"),
    0x00200013: ("instance_number", "IS"),
}
_COUNTS: Final = {
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280100: "bits_allocated",
    0x00280008: "number_of_frames",
}
_EQUIPMENT: Final = {  # PS3.3 C.7.5.1; the same in every instance of a device
    0x00080070: "manufacturer",
    0x00081090: "model_name",
    0x00181000: "serial_number",
    0x00181020: "software_versions",
}
_ONCE: Final = frozenset(_UIDS) | {_CHARSET_TAG, 0x00100010, 0x00100020, 0x00100021}
_WANTED: Final = (
    frozenset(_UIDS) | frozenset(_TEXTS) | frozenset(_COUNTS) | frozenset(_EQUIPMENT) | {_CHARSET_TAG}
)
_DATE: Final = re.compile(r"[0-9]{8}")
_TIME: Final = re.compile(r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?")


def extract(scan: Scan, assumed: str = "", *, overrides: bool = False) -> dict[str, str | int]:
    """The fields of the guard's `Attributes` message, by name; text is decoded, '' and 0 where absent.

    `assumed`: a value of (0008,0005), by rule 3. Raises DataSetMalformed by rules 1 and 2.
    """
    found: dict[int, Element] = {}
    for element in scan.elements:
        if element.tag in _WANTED:
            if element.tag in found and element.tag in _ONCE:
                raise DataSetMalformed(f"expected {_name(element.tag)} once, got it twice", element.start)
            found[element.tag] = element
    charset, declared = _charset(scan, found, assumed, overrides)
    fields: dict[str, str | int] = {"specific_character_set": declared}
    for tag, name in _UIDS.items():
        fields[name] = _uid(scan, found.get(tag), name)
    for tag, (name, vr) in _TEXTS.items():
        fields[name] = _text(scan, found.get(tag), vr, charset)
    for tag, name in _EQUIPMENT.items():
        fields[name] = _equipment(scan, found.get(tag), charset)
    for tag, name in _COUNTS.items():
        fields[name] = _count(scan, found.get(tag))
    return fields


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _charset(scan: Scan, found: dict[int, Element], assumed: str, overrides: bool) -> tuple[Charset, str]:
    element = found.get(_CHARSET_TAG)
    raw = b"" if element is None else scan.value(element)[:MAX_TEXT_BYTES]
    charset = charset_of(raw) if raw else DEFAULT_CHARSET
    if assumed and (overrides or not charset.declared):
        charset = charset_of(assumed.encode("ascii", "replace"))
    return charset, raw.rstrip(b"\0 ").decode("ascii", "replace")


def _uid(scan: Scan, element: Element | None, name: str) -> str:
    if element is None:
        raise DataSetMalformed(f"expected {name}, got a data set without it; the sender must supply it")
    uid = scan.value(element).rstrip(b"\0 ").decode("ascii", "replace")
    check_uid(uid, name)
    return uid


def _text(scan: Scan, element: Element | None, vr: str, charset: Charset) -> str:
    if element is None or element.vr == "SQ":
        return ""
    raw = bytes(scan.data[element.value : min(element.value_end, element.value + MAX_TEXT_BYTES)])
    text = "\\".join(text_values(raw, vr, charset))
    if vr == "PN":
        return text.rstrip("=")
    if vr == "DA":
        text = text.replace(".", "")  # ACR-NEMA wrote 1994.01.30 (PS3.5 6.2, DA)
        return text if _DATE.fullmatch(text) else ""
    if vr == "TM" and _TIME.fullmatch(text) is None:
        return ""
    return text if vr in CHARSET_VRS else text.encode("ascii", "replace").decode("ascii")


def _equipment(scan: Scan, element: Element | None, charset: Charset) -> str:
    if element is None or element.vr == "SQ":
        return ""
    end = min(element.value_end, element.value + MAX_EQUIPMENT_BYTES)
    return _decoded(bytes(scan.data[element.value : end]), charset)


@lru_cache(maxsize=256)
def _decoded(raw: bytes, charset: Charset) -> str:
    return "\\".join(text_values(raw, "LO", charset))


def _count(scan: Scan, element: Element | None) -> int:
    if element is None or element.vr == "SQ":
        return 0
    raw = bytes(scan.data[element.value : min(element.value_end, element.value + 16)])
    if known_vr(element.tag, element.vr) == "IS":
        return max(0, integer(raw.strip(b" \0").decode("ascii", "replace")) or 0)
    values = numbers(raw, "US", little=is_little(element.encoding))
    return int(values[0]) if values else 0
