"""The text of a data set in another character set: what has to be written into it fits, or all of it becomes UTF-8.

Rules, in order:
1. ASCII fits every character set (PS3.5 6.1.2.1). Other text fits where the data set declares UTF-8, GB18030 or GBK
   alone and that set has it. Otherwise the data set becomes ISO_IR 192 first (PS3.3 C.12.1.1.2).
2. `to_utf8` decodes each text element by the character set of its data set or item and encodes it again; an item's
   own Specific Character Set goes, so that it has its parent's. Text that does not decode is refused.
3. What has no VR that says text (UN of an unknown tag) stays as it is: nobody knows what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.rewrite import TOP, NewElement, rewrite
from ribcage.dicom.scan import Buffer, Element, Scan
from ribcage.dicom.values import CHARSET_VRS, DEFAULT_CHARSET, Charset, charset_of, decode_text, known_vr

_CHARSET: Final = 0x00080005
_UTF8: Final = b"ISO_IR 192"
_WHOLE: Final = frozenset({"utf8", "utf_8", "GB18030", "GBK"})  # codecs that stand alone


def encode_texts(texts: Iterable[str], charset: Charset) -> list[bytes] | None:
    """The texts in this character set, None where one does not fit (rule 1)."""
    texts = list(texts)
    codec = "ascii"
    if charset.declared and len(charset.codecs) == 1 and charset.codecs[0] in _WHOLE:
        codec = charset.codecs[0]
    try:
        return [text.encode(codec) for text in texts]
    except UnicodeEncodeError:
        return None


def charset_in(scan: Scan) -> Charset:
    """The character set that the data set declares at its top."""
    element = scan.find(_CHARSET)
    return DEFAULT_CHARSET if element is None else charset_of(scan.value(element))


def to_utf8(scan: Scan) -> list[Buffer]:
    """The data set's bytes with all text in UTF-8, as parts (rule 2). Raises DataSetMalformed."""
    edits: dict[int, bytes | None] = {}
    charset = charset_in(scan)
    for element in scan.elements:
        _convert(scan, element, charset, edits)
    top = scan.find(_CHARSET)
    inserts = {TOP: (NewElement(_CHARSET, "CS", _UTF8),)} if top is None else {}
    if top is not None:
        edits[top.start] = _UTF8
    return rewrite(scan, edits, inserts)


def _convert(scan: Scan, element: Element, charset: Charset, edits: dict[int, bytes | None]) -> None:
    for item in scan.items(element):
        own = charset
        for inner in item.elements:
            if inner.tag == _CHARSET:
                own = charset_of(scan.value(inner))
                edits[inner.start] = None
        for inner in item.elements:
            _convert(scan, inner, own, edits)
    vr = known_vr(element.tag, element.vr)
    if vr not in CHARSET_VRS or element.length <= 0:
        return
    raw = scan.value(element)
    if raw.isascii() and b"\x1b" not in raw:
        return
    text = decode_text(raw, charset, person_name=vr == "PN")
    if "\N{REPLACEMENT CHARACTER}" in text:
        raise DataSetMalformed(
            "expected text in the declared character set, got other bytes; send the object in UTF-8",
            element.start,
        )
    edits[element.start] = text.encode("utf_8")
