"""The DICOM JSON Model (PS3.18 Annex F) of a scanned data set.

Rules, in order:
1. Names are tags as eight upper-case hexadecimal digits; group lengths are left out (PS3.18 F.2.2).
2. Text is Unicode whatever the data set declared, and (0008,0005), where present, says ISO_IR 192 (PS3.18 F.2).
3. IS and DS are numbers, or the text itself when it is no number; an empty value among others is null
   (PS3.18 F.2.5). A person name has its component groups (PS3.18 F.2.2).
4. Pixel elements, and binary values longer than `inline_bytes`, become a BulkDataURI by `bulk_locator`, or are
   named without value when there is none (PS3.18 F.2.6, F.2.7). Shorter ones are InlineBinary, little endian.
5. UN of a tag that PS3.6 knows is read by its VR, in little endian (PS3.5 6.2.2 note 3); of a sequence it stays UN.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from ribcage.dicom.rewrite import swap_words
from ribcage.dicom.scan import BULK_TAGS, PIXEL_DATA, UNDEFINED, Element, Scan
from ribcage.dicom.values import (
    DEFAULT_CHARSET,
    NUMBER_FORMATS,
    Charset,
    charset_of,
    concrete_vr,
    decimal,
    integer,
    is_little,
    known_vr,
    numbers,
    text_values,
)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Path = tuple[str | int, ...]  # tags and item numbers (from 0) down to the element
BulkLocator = Callable[[Path], str]

INLINE_BYTES: Final = 1024
_CHARSET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_LUT_DESCRIPTOR: Final = 0x00283002
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_MAX_STEPS: Final = 33  # one more than the scanner's depth
_ITEM_DIGITS: Final = 7
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True, slots=True)
class _Context:
    """What values depend on: inherited by items, replaced by what an item itself says."""

    charset: Charset = DEFAULT_CHARSET
    signed: bool = False
    lut_entries: int = 0


def to_json_model(
    scan: Scan,
    *,
    bulk_locator: BulkLocator | None = None,
    inline_bytes: int = INLINE_BYTES,
    pixel_vr: str = "",
    pixel_tag: int = PIXEL_DATA,
) -> dict[str, Json]:
    """The data set as a JSON object of plain Python values.

    `pixel_vr` adds the pixel element when the scan is of a header stream alone, whose pixels lie in the bulk stream.
    """
    model = _Model(scan, bulk_locator, inline_bytes)
    result = model.container(scan.elements, _Context(), ())
    name = f"{pixel_tag:08X}"
    if pixel_vr and name not in result:
        result[name] = model.bulk(pixel_vr, (name,))
    return result


def bulk_value(scan: Scan, path: str) -> tuple[str, Element] | None:
    """VR and element that a locator's path names, joined by `/`; None where it names no binary value."""
    elements, steps = scan.elements, path.split("/")
    if len(steps) % 2 == 0 or len(steps) > 2 * _MAX_STEPS:
        return None
    for tag, number in zip(steps[0:-1:2], steps[1::2], strict=True):
        above = _named(elements, tag)
        items = () if above is None else scan.items(above)
        if not (number.isascii() and number.isdigit() and len(number) <= _ITEM_DIGITS) or int(number) >= len(
            items
        ):
            return None
        elements = items[int(number)].elements
    element = _named(elements, steps[-1])
    if element is None or element.vr == "SQ" or scan.items(element):
        return None
    vr = concrete_vr(known_vr(element.tag, element.vr), element.tag, signed=False)
    return (vr, element) if vr in _BINARY else None


def _named(elements: tuple[Element, ...], tag: str) -> Element | None:
    if len(tag) != 8:
        return None
    return next((element for element in elements if f"{element.tag:08X}" == tag), None)


class _Model:
    """Turns elements into JSON; holds the scan and the options."""

    def __init__(self, scan: Scan, locator: BulkLocator | None, inline_bytes: int) -> None:
        self._scan = scan
        self._locator = locator
        self._inline_bytes = inline_bytes

    def container(self, elements: tuple[Element, ...], context: _Context, path: Path) -> dict[str, Json]:
        """One data set or item."""
        context = self._inner(elements, context)
        result: dict[str, Json] = {}
        for element in elements:
            if element.tag & 0xFFFF == 0:
                continue
            name = f"{element.tag:08X}"
            result[name] = self._element(element, context, (*path, name))
        return result

    def bulk(self, vr: str, path: Path) -> dict[str, Json]:
        """A value that is not in the JSON."""
        if self._locator is None:
            return {"vr": vr}
        return {"vr": vr, "BulkDataURI": self._locator(path)}

    def _inner(self, elements: tuple[Element, ...], context: _Context) -> _Context:
        for element in elements:
            if element.tag == _CHARSET:
                context = replace(context, charset=charset_of(self._scan.value(element)[:256]))
            elif element.tag in (_PIXEL_REPRESENTATION, _LUT_DESCRIPTOR) and element.vr != "SQ":
                raw = self._scan.value(element)[:2]
                first = numbers(raw, "US", little=is_little(element.encoding))
                value = int(first[0]) if first else 0
                if element.tag == _PIXEL_REPRESENTATION:
                    context = replace(context, signed=value == 1)
                else:
                    context = replace(context, lut_entries=value)
        return context

    def _element(self, element: Element, context: _Context, path: Path) -> Json:
        if element.vr == "SQ" or (element.vr == "UN" and element.length == UNDEFINED):
            items: list[Json] = [
                self.container(item.elements, context, (*path, number))
                for number, item in enumerate(self._scan.items(element))
            ]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        little = element.vr == "UN" or is_little(element.encoding)
        vr = known_vr(element.tag, element.vr)
        vr = concrete_vr(vr, element.tag, signed=context.signed, lut_entries=context.lut_entries)
        if vr == "SQ":
            vr = "UN"
        if vr in _BINARY:
            return self._binary(element, vr, path, little=little)
        raw = self._scan.value(element)
        if vr in NUMBER_FORMATS or vr == "AT":
            found = numbers(raw, vr, little=little)
            values: list[Json] = (
                [f"{number:08X}" for number in found] if vr == "AT" else [_finite(number) for number in found]
            )
        elif element.tag == _CHARSET:
            values = ["ISO_IR 192"]
        else:
            values = [_text(text, vr) for text in text_values(raw, vr, context.charset)]
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _binary(self, element: Element, vr: str, path: Path, *, little: bool) -> Json:
        long = element.length == UNDEFINED or element.length > self._inline_bytes
        if long or element.tag in BULK_TAGS:
            return self.bulk(vr, path)
        if element.length == 0:
            return {"vr": vr}
        raw = self._scan.value(element)
        return {"vr": vr, "InlineBinary": b64encode(raw if little else swap_words(raw, vr)).decode("ascii")}


def _finite(number: int | float) -> Json:
    """JSON has no NaN and no infinities: they become their names."""
    if isinstance(number, float) and not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
    return number


def _text(text: str, vr: str) -> Json:
    if not text:
        return None
    if vr == "PN":
        groups: dict[str, Json] = {
            name: group for name, group in zip(_GROUPS, text.split("=")[:3], strict=False) if group
        }
        return groups or None
    if vr == "IS":
        whole = integer(text)
        return text if whole is None else whole
    if vr == "DS":
        number = decimal(text)
        return text if number is None else _finite(number)
    return text
