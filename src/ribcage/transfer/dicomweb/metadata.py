"""The header stream of one instance as DICOM JSON Model (PS3.18 F) or Native DICOM Model (PS3.19 A.1); long values
and pixels by their addresses."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from ribcage.dicom.json_model import BulkLocator, to_json_model
from ribcage.dicom.native_model import to_native_model
from ribcage.dicom.scan import PIXEL_DATA, Scan, scan
from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.dicom.values import is_little, numbers
from ribcage.usage.disclose import InstanceStream

_INLINE_BYTES: Final = 64 * 1024  # up to here a thread's turn costs more
_BITS_ALLOCATED: Final = 0x00280100
_PIXEL_REPRESENTATION: Final = 0x00280103
_FLOATS: Final = {32: (0x7FE00008, "OF"), 64: (0x7FE00009, "OD")}


async def data_set_model(stream: InstanceStream, locator: BulkLocator, *, xml: bool) -> bytes:
    """One data set as JSON or XML in UTF-8. Raises DicomError."""
    if len(stream.header) <= _INLINE_BYTES:
        return _convert(stream, locator, xml)
    return await asyncio.to_thread(_convert, stream, locator, xml)


def _convert(stream: InstanceStream, locator: BulkLocator, xml: bool) -> bytes:
    scanned = scan(stream.header, stream.transfer_syntax_uid)
    tag, vr = _pixels(scanned) if stream.opened.bulk_plain_bytes else (PIXEL_DATA, "")
    model = to_json_model(scanned, bulk_locator=locator, pixel_vr=vr, pixel_tag=tag)
    if xml:
        return to_native_model(model)
    return json.dumps(model, ensure_ascii=False).encode("utf-8", "replace")


def _pixels(scanned: Scan) -> tuple[int, str]:
    """Tag and VR of the pixel element, from the header alone: float pixels have no Pixel Representation."""
    element = scanned.find(_BITS_ALLOCATED)
    found = (
        [] if element is None else numbers(scanned.value(element), "US", little=is_little(element.encoding))
    )
    bits = int(found[0]) if found else 0
    if bits in _FLOATS and scanned.find(_PIXEL_REPRESENTATION) is None:
        return _FLOATS[bits]
    return PIXEL_DATA, "OB" if lookup(scanned.transfer_syntax_uid).encapsulated else "OW"
