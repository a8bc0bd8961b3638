"""What looks like an identity, whoever it belongs to: independent of the originals.

Rules, in order:
1. A pattern that chance fulfils needs a check digit, a separator, or text around it.
2. UIDs and decimal numbers are no telephone numbers.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Final

_EMAIL: Final = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{1,63}@(?:[A-Za-z0-9][A-Za-z0-9-]{1,62}\.){1,4}[A-Za-z]{2,12}(?![\w-])"
)
_RESIDENT: Final = re.compile(r"(?<![\d.])(\d{6})[ -]?(\d{4})[ -]?(\d{4})[ -]?(\d{3}[\dXx])(?![\d.])")
_OLD_RESIDENT: Final = re.compile(r"(?<![\d.])(\d{6})(\d{2})(\d{2})(\d{2})\d{3}(?![\d.])")
_TELEPHONES: Final = (
    re.compile(r"(?<![\d.+-])(?:(?:\+|00)?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\d.])"),
    re.compile(r"(?<![\d.-])\(?0\d{2,3}\)?[- ]\d{3,4}[- ]?\d{4}(?![\d.])"),
    re.compile(r"(?<![\d.])\+[1-9]\d{0,2}[ -]?\(?\d{1,4}\)?(?:[ -]?\d{2,4}){2,4}(?![\d.])"),
    re.compile(r"(?<![\d.])(?:\(\d{3}\) ?|\d{3}-)\d{3}-\d{4}(?![\d.])"),
)
_POSITIONS: Final = (
    re.compile(r"(?<![\d.])[+-]\d{2}(?:\.\d{2,})[+-]\d{3}(?:\.\d{2,})?(?:[+-]\d+(?:\.\d+)?)?/"),
    re.compile(r"GPS(?:Latitude|Longitude|Position)|geo:[-+]?\d{1,2}\.\d+,[-+]?\d{1,3}\.\d+", re.IGNORECASE),
    re.compile(r"\d{1,2}\.\d{3,} ?°? ?[NS北南][,; ]{1,3}\d{1,3}\.\d{3,} ?°? ?[EW东東西]"),
    re.compile(r"\d{1,3}°\s?\d{1,2}['′]\s?\d{1,2}(?:\.\d+)?[\"″]?\s?[NSEW]"),
    re.compile(r"[NS北]纬?\s?\d{1,2}\.\d{3,}.{0,4}[EW东]经?\s?\d{1,3}\.\d{3,}"),
)
_UID: Final = re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){3,}(?!\.?\d)")
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_REGIONS: Final = frozenset(
    str(number)
    for first, last in (
        (11, 15),
        (21, 23),
        (31, 37),
        (41, 46),
        (50, 54),
        (61, 65),
        (71, 71),
        (81, 83),
        (99, 99),
    )
    for number in range(first, last + 1)
)
EXIF_MARKS: Final = (b"Exif\0\0", b"<x:xmpmeta", b"http://ns.adobe.com/xap/1.0/", b"Photoshop 3.0\x008BIM")


def look(text: str, *, telephones: bool = True) -> Iterator[tuple[str, str, int]]:
    """`(what, matched text, offset)` of each pattern in a text; 15-digit numbers and telephones where asked for."""
    text = _UID.sub(lambda found: "." * len(found[0]), text)
    for match in _EMAIL.finditer(text):
        yield "e-mail", match[0], match.start()
    taken: set[int] = set()
    for match in _RESIDENT.finditer(text):
        if resident_id("".join(match.groups())):
            taken |= set(range(*match.span()))
            yield "resident-id", match[0], match.start()
    for pattern in _POSITIONS:
        for match in pattern.finditer(text):
            yield "gps", match[0], match.start()
    if not telephones:
        return
    for match in _OLD_RESIDENT.finditer(text):
        if match[1][:2] in _REGIONS and _is_date(f"19{match[2]}", match[3], match[4]):
            yield "resident-id-15", match[0], match.start()
    for pattern in _TELEPHONES:
        for match in pattern.finditer(text):
            if match.start() not in taken:
                yield "telephone", match[0], match.start()


def resident_id(number: str) -> bool:
    """GB 11643-1999: a region, a date of birth, and the check digit of ISO 7064 MOD 11-2."""
    if number[:2] not in _REGIONS or not _is_date(number[6:10], number[10:12], number[12:14]):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def _is_date(year: str, month: str, day: str) -> bool:
    try:
        datetime.date(int(year), int(month), int(day))
    except ValueError:
        return False
    return 1880 <= int(year) <= 2100


def exif(data: bytes) -> Iterator[tuple[str, int]]:
    """EXIF, XMP and IPTC blocks by their marks; `gps` where the EXIF block points to a GPS directory."""
    for mark in EXIF_MARKS:
        at = data.find(mark)
        while at >= 0:
            body = data[at + 6 : at + 6 + 65536] if mark[:4] == b"Exif" else b""
            order = {b"II*\0": "little", b"MM\0*": "big"}.get(body[:4])
            pointer = (0x8825).to_bytes(2, "little" if order == "little" else "big")
            yield ("gps" if order and pointer in body else "exif"), at
            at = data.find(mark, at + 1)
