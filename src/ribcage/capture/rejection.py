"""A rejection note as it arrives: a Key Object Selection Document that says which instances are not to be used.

Rules, in order (IHE RAD TF-2 4.66, PS3.16 TID 2010, CID 7011):
1. The title, the document's own concept name, is one of four codes of DCM; every other document is no such note.
2. What it rejects stands in Current Requested Procedure Evidence Sequence (PS3.3 C.17.2).
3. A sequence that cannot be read is refused: nobody would know what it rejects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast, get_args

from ribcage.capture.errors import NotUnderstood, TooLarge
from ribcage.dicom.scan import Element, Item, Scan
from ribcage.dicom.values import known_vr
from ribcage.guard.protocol import (
    KEY_OBJECT_SELECTION,
    MAX_REJECTED,
    RejectedInstance,
    RejectionCode,
    RejectionNote,
)

_CODES: Final = get_args(RejectionCode)
_TITLE, _CODE, _SCHEME = 0x0040A043, 0x00080100, 0x00080102
_EVIDENCE, _SERIES, _INSTANCES = 0x0040A375, 0x00081115, 0x00081199
_STUDY_UID, _CLASS, _INSTANCE = 0x0020000D, 0x00081150, 0x00081155
_MOST_BYTES: Final = 128


def read_note(scanned: Scan, sop_class_uid: str) -> RejectionNote | None:
    """What a document rejects, None where it is no rejection note. Raises NotUnderstood, TooLarge."""
    if sop_class_uid != KEY_OBJECT_SELECTION:
        return None
    for title in _items(scanned, scanned.elements, _TITLE):
        code = _text(scanned, title, _CODE)
        if code not in _CODES or _text(scanned, title, _SCHEME) != "DCM":
            continue
        found = []
        for each in _rejected(scanned):
            found.append(each)
            if len(found) > MAX_REJECTED:
                raise TooLarge(f"expected at most {MAX_REJECTED} instances; reject in several notes")
        if not found:
            raise NotUnderstood("expected a rejection note that refers to instances, got none")
        return RejectionNote(cast(RejectionCode, code), found)
    return None


def _rejected(scanned: Scan) -> Iterator[RejectedInstance]:
    """Rule 2."""
    for study in _items(scanned, scanned.elements, _EVIDENCE):
        uid = _text(scanned, study, _STUDY_UID)
        for series in _items(scanned, study.elements, _SERIES):
            for one in _items(scanned, series.elements, _INSTANCES):
                yield RejectedInstance(uid, _text(scanned, one, _CLASS), _text(scanned, one, _INSTANCE))


def _items(scanned: Scan, elements: tuple[Element, ...], tag: int) -> Iterator[Item]:
    for element in elements:
        if element.tag != tag:
            continue
        items = scanned.items(element)
        if element.vr != "SQ" and element.length and known_vr(element.tag, element.vr) == "SQ" and not items:
            raise NotUnderstood("expected a sequence that can be read, got one of VR UN; write it as SQ")
        yield from items


def _text(scanned: Scan, item: Item, tag: int) -> str:
    for element in item.elements:
        if element.tag == tag:
            return scanned.value(element)[:_MOST_BYTES].strip(b"\0 ").decode("ascii", "replace")
    return ""
