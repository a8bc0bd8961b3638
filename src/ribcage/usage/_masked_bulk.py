"""The bulk stream of one instance in the masked view.

Rules, in order (DESIGN rule 7):
1. Native pixels: the pixel element and nothing behind it.
2. Encapsulated pixels: frame by frame, each through `masking.codestreams`, lengths as they were, so that offset
   tables stay right. Bytes between frames, or a table that was not used, do not leave.
3. What cannot be followed is refused before a byte of its frame leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from struct import pack

from ribcage.dicom.pixel_frames import Frame, FrameIndex, PixelElement, pixel_element, pixel_facts
from ribcage.dicom.scan import ITEM, SEQUENCE_END, scan
from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.storage.retrieve import ObjectReader, iter_bulk
from ribcage.usage.errors import FrameUnreadable, MaskedViewRefused
from ribcage.usage.masking import NoMaskingRule, PixelElementFilter
from ribcage.usage.masking.codestreams import blank_text

_HEAD_BYTES = 12
_ITEM_BYTES = 8
_MAX_FRAME_BYTES = 512 * 1024 * 1024


async def masked_bulk(
    reader: ObjectReader, stored: bytes, transfer_syntax_uid: str, check_alive: Callable[[], None]
) -> AsyncIterator[bytes]:
    """What of the bulk stream may leave. `stored`: the data set up to it. Raises DisclosureError, DicomError."""
    if not lookup(transfer_syntax_uid).encapsulated:
        gate = PixelElementFilter(transfer_syntax_uid)
        async for part in iter_bulk(reader, check_alive):
            for piece in gate.feed(part):
                yield bytes(piece)
        gate.finish()
        return
    element, frames = await asyncio.to_thread(_plan, reader, stored, transfer_syntax_uid)
    if not element.encapsulated:
        raise FrameUnreadable("expected encapsulated pixels in this transfer syntax, got native ones")
    first = frames[0].spans[0].offset - _ITEM_BYTES
    head = await asyncio.to_thread(reader.bulk, 0, first)
    check_alive()
    yield head
    position = first
    for frame in frames:
        check_alive()
        data = await asyncio.to_thread(_frame, reader, frame, position, transfer_syntax_uid)
        check_alive()
        position += len(data)
        yield data
    yield pack("<HHI", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)


def _plan(reader: ObjectReader, stored: bytes, transfer_syntax_uid: str) -> tuple[PixelElement, list[Frame]]:
    element = pixel_element(reader.bulk(0, _HEAD_BYTES), transfer_syntax_uid)
    facts = pixel_facts(scan(stored, transfer_syntax_uid))
    index = FrameIndex(facts, element, reader.bulk_bytes)
    frames = [index.frame(number, reader.bulk) for number in range(1, facts.frames + 1)]
    table_bytes = frames[0].spans[0].offset - 2 * _ITEM_BYTES - element.value
    if element.encapsulated and table_bytes not in (0, 4 * facts.frames):
        raise MaskedViewRefused("this offset table has no masked view; prove the second factor")
    return element, frames


def _frame(reader: ObjectReader, frame: Frame, position: int, transfer_syntax_uid: str) -> bytes:
    """The fragments of one frame with their item headers, blanked."""
    if frame.length > _MAX_FRAME_BYTES:
        raise FrameUnreadable(f"expected a frame of at most {_MAX_FRAME_BYTES} bytes, got a longer one")
    raw = b"".join(reader.bulk(span.offset, span.length) for span in frame.spans)
    try:
        shown = blank_text(raw, transfer_syntax_uid)
    except NoMaskingRule as failure:
        raise MaskedViewRefused("this frame has no masked view; prove the second factor") from failure
    parts, at = [], 0
    for span in frame.spans:
        if span.offset != position + _ITEM_BYTES:
            raise MaskedViewRefused("these fragments have no masked view; prove the second factor")
        parts += [pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, span.length), shown[at : at + span.length]]
        at += span.length
        position += _ITEM_BYTES + span.length
    return b"".join(parts)
