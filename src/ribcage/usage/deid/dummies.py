"""Values that say nothing and are legal for their VR (PS3.15 E.1.1, action D)."""

from __future__ import annotations

from struct import pack
from typing import Final

from ribcage.dicom.scan import Encoding

REMOVED: Final = b"REMOVED"
_TEXTS: Final = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), REMOVED),
    "AS": b"000D",
    "DA": b"19000101",
    "DT": b"19000101000000",
    "TM": b"000000",
    "DS": b"0",
    "IS": b"0",
    "UR": b"urn:removed",
    "OB": b"\0\0",
    "UN": b"\0\0",
}
_ZEROS: Final = {"US": 2, "SS": 2, "AT": 4, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "UV": 8, "SV": 8, "xs": 2, "lt": 2,
                 "ox": 2, "OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}  # fmt: skip

# A document that stands for one that was taken out; one page, no text.
PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\nxref\n0 4\n0000000000 65535 f \n"
    b"0000000009 00000 n \n0000000052 00000 n \n0000000101 00000 n \ntrailer<</Size 4/Root 1 0 R>>\nstartxref\n"
    b"164\n%%EOF\n"
)


def dummy(vr: str) -> bytes | None:
    """The dummy of this VR, None where there is none (sequences, UIDs)."""
    if vr in _ZEROS:
        return bytes(_ZEROS[vr])
    return _TEXTS.get(vr)


def short(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """A short element, for small hand-made items; `value` is padded."""
    if len(value) & 1:
        value += b"\0" if vr == "UI" else b" "
    order = ">" if encoding is Encoding.EXPLICIT_BE else "<"
    if encoding is Encoding.IMPLICIT_LE:
        return pack(order + "HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    return pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value
