"""Attributes replaced in a data set, and what they were kept in Original Attributes Sequence (PS3.3 C.12.1.1.9).

Rules, in order:
1. New values fit the data set's character set, or the data set becomes UTF-8 (`dicom.transcode`).
2. What was replaced stands in a new item behind the items that are there already, with time, system and reason.
3. Nothing else changes; pixels and all other elements stay the bytes that were stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from ribcage.dicom.rewrite import TOP, NewElement, encode_element, encode_item, rewrite
from ribcage.dicom.scan import DEFAULT_LIMITS, Element, Scan, ScanLimits, scan
from ribcage.dicom.transcode import charset_in, encode_texts, to_utf8

_ORIGINAL_ATTRIBUTES: Final = 0x04000561
_MODIFIED_ATTRIBUTES: Final = 0x04000550


@dataclass(frozen=True, slots=True)
class NewText:
    """A text to write: VR, value, and whether the element stands even when empty (type 2)."""

    vr: str
    text: str
    stands: bool


@dataclass(frozen=True, slots=True)
class Why:
    """When (a DT), by which system, from whose values, and why: a defined term of (0400,0565)."""

    on: str
    source: str
    reason: str


def coerce(
    scanned: Scan,
    new: Mapping[int, NewText],
    also_gone: Collection[int],
    why: Why,
    limits: ScanLimits = DEFAULT_LIMITS,
) -> bytes:
    """The data set with these texts; elements of `also_gone` go too. Raises DicomError."""
    texts = [each.text for each in new.values()]
    values = encode_texts(texts, charset_in(scanned))
    if values is None:
        plain = b"".join(to_utf8(scanned))
        scanned = scan(plain, scanned.transfer_syntax_uid, limits)
        values = [text.encode("utf_8") for text in texts]
    edits: dict[int, bytes | None] = {}
    replaced = []
    for element in scanned.elements:
        if element.tag in new or element.tag in also_gone:
            replaced.append(element)
        elif element.tag & 0xFFFF and element.tag != _ORIGINAL_ATTRIBUTES:
            continue
        edits[element.start] = None  # group lengths too: they would be wrong
    added = [
        NewElement(tag, each.vr, value)
        for (tag, each), value in zip(new.items(), values, strict=True)
        if value or each.stands
    ]
    added.append(NewElement(_ORIGINAL_ATTRIBUTES, "SQ", _trace(scanned, replaced, why)))
    return b"".join(bytes(part) for part in rewrite(scanned, edits, {TOP: added}))


def _trace(scanned: Scan, replaced: list[Element], why: Why) -> bytes:
    """The items of Original Attributes Sequence: those that stand there, and ours (rule 2)."""
    encoding = scanned.encoding
    before = b"".join(
        scanned.value(element) for element in scanned.elements if element.tag == _ORIGINAL_ATTRIBUTES
    )
    former = b"".join(_former(scanned, element) for element in replaced if element.tag & 0xFFFF)
    ours = (
        (_MODIFIED_ATTRIBUTES, "SQ", encode_item(former, encoding)),
        (0x04000562, "DT", why.on.encode("ascii")),
        (0x04000563, "LO", b"Ribcage"),
        (0x04000564, "LO", why.source.encode("ascii")),
        (0x04000565, "CS", why.reason.encode("ascii")),
    )
    item = b"".join(encode_element(tag, vr, value, encoding) for tag, vr, value in ours)
    return before + encode_item(item, encoding)


def _former(scanned: Scan, element: Element) -> bytes:
    """An element as it came; one of odd length is padded."""
    if element.length & 1 and not scanned.items(element):
        return encode_element(element.tag, element.vr, scanned.value(element), element.encoding)
    return bytes(scanned.data[element.start : element.end])
