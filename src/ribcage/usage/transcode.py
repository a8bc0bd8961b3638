"""One instance on its way out in another transfer syntax than the stored one: in the full view.

Rules, in order:
1. The stored syntax leaves as it is, bit for bit; nothing else is bit-exact. Nothing is ever compressed again.
2. Uncompressed data sets are converted by `dicom.convert` as they come; a deflated one is inflated within the limits
   of its scan. Compressed pixels are decoded in the cage, frame by frame; photometric interpretation, samples, planar
   configuration and bits allocated are then what the decoded frames are. That an image was compressed with loss stays
   written in it (0028,2110).
3. What can be known to fail is known before the first byte: the first frame is decoded, the header converted.
4. Every part that leaves is counted, and the disclosure must be alive (`usage.disclose`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from ribcage.cage import Cage, NativeFrame
from ribcage.cage.errors import CageError
from ribcage.cage.messages import FrameSource
from ribcage.dicom.convert import SOURCES, TARGETS, BulkConverter, Deflater, convert, encoding_of
from ribcage.dicom.errors import DicomError
from ribcage.dicom.rewrite import TOP, NewElement, element_header, rewrite
from ribcage.dicom.scan import PIXEL_DATA, Buffer, Scan, scan
from ribcage.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    lookup,
)
from ribcage.storage.retrieve import iter_bulk
from ribcage.usage.disclose import InstanceStream
from ribcage.usage.errors import NotConvertible
from ribcage.usage.pixels import Pixels, open_pixels

_MOST_VALUE_BYTES: Final = 0xFFFFFFFE
_MOST_FRAME_BYTES: Final = 256 * 1024 * 1024
_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)  # of encapsulated pixels alone
_VIDEO: Final = "1.2.840.10008.1.2.4.10"  # MPEG2 to HEVC: 4.100 to 4.108


def can_transcode(stored: str, target: str) -> bool:
    """Whether an instance stored in one syntax may leave in another; that of one instance may still fail."""
    if stored == target:
        return True
    if target not in TARGETS:
        return False
    return stored in SOURCES or (lookup(stored).encapsulated and not stored.startswith(_VIDEO))


async def transcoded(stream: InstanceStream, target: str, cage: Cage | None) -> AsyncIterator[bytes]:
    """The data set in `target`. Raises NotConvertible before the first part, DisclosureError."""
    stored = stream.transfer_syntax_uid
    if stored == target:
        async for part in stream.data_set():
            yield part
        return
    if stream.view not in ("full", "original") or not can_transcode(stored, target):
        raise NotConvertible("expected a syntax that this instance can be converted to")
    parts = _converted(stream, target) if stored in SOURCES else _decoded(stream, target, cage)
    deflater = Deflater() if target == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else None
    disclosure = stream.disclosure
    with disclosure.sending():
        async for piece in parts:
            out = bytes(piece) if deflater is None else await asyncio.to_thread(deflater.push, piece)
            if out:
                disclosure.count(stream.ref.object_id, len(out))
                yield out
        if deflater is not None:
            out = deflater.finish()
            disclosure.count(stream.ref.object_id, len(out))
            yield out


# --- uncompressed ---------------------------------------------------------------------------------------


async def _converted(stream: InstanceStream, target: str) -> AsyncIterator[Buffer]:
    stored, encoding = stream.transfer_syntax_uid, encoding_of(target)
    try:
        ready = [await asyncio.to_thread(lambda: b"".join(convert(scan(stream.stored, stored), encoding)))]
        if not stream.opened.bulk_plain_bytes:
            yield ready[0]
            return
        bulk = BulkConverter(stored, encoding)
        with stream.disclosure.reader(stream.opened) as reader:
            async for piece in iter_bulk(reader, stream.disclosure.check_alive):
                for part in (*ready, *bulk.push(piece)):  # the header waits for the bulk element's own
                    yield part
                ready = []
        for part in bulk.finish():
            yield part
    except DicomError as failure:
        raise NotConvertible("this data set cannot be converted") from failure


# --- compressed -----------------------------------------------------------------------------------------


async def _decoded(stream: InstanceStream, target: str, cage: Cage | None) -> AsyncIterator[Buffer]:
    if not stream.opened.bulk_plain_bytes:
        async for part in _converted(stream, target):
            yield part
        return
    if cage is None:
        raise NotConvertible("there is no cage to decode pixels in")
    pixels = await open_pixels(stream, _MOST_FRAME_BYTES)
    first = await _frame(pixels, 1, cage)
    octets = pixels.facts.frames * len(first.data)
    if octets > _MOST_VALUE_BYTES or (first.bits_allocated == 1 and first.rows * first.columns % 8):
        raise NotConvertible("the decoded pixels do not fit into one value")
    try:
        tail = await _tail(pixels, target)
        yield b"".join(await asyncio.to_thread(_described, stream, first, target))
    except DicomError as failure:
        raise NotConvertible("this header cannot be converted") from failure
    vr = "OW" if first.bits_allocated > 8 else "OB"
    yield element_header(PIXEL_DATA, vr, octets + octets % 2, encoding_of(target))
    yield first.data
    for number in range(2, pixels.facts.frames + 1):
        frame = await _frame(pixels, number, cage)
        if _shape(frame) != _shape(first):
            raise NotConvertible("the frames are of different shapes")
        yield frame.data
    if octets % 2:
        yield b"\0"
    for part in tail:
        yield part


async def _frame(pixels: Pixels, number: int, cage: Cage) -> NativeFrame:
    frame = await pixels.locate(number)
    stream = pixels.stream
    source = FrameSource(stream.header, stream.transfer_syntax_uid, await pixels.raw(frame), number - 1)
    try:
        return await cage.decode(source)
    except CageError as failure:
        raise NotConvertible("the cage could not decode a frame") from failure


def _shape(frame: NativeFrame) -> tuple[object, ...]:
    return (
        len(frame.data),
        frame.photometric_interpretation,
        frame.samples_per_pixel,
        frame.rows,
        frame.columns,
        frame.bits_allocated,
        frame.planar_configuration,
    )


def _described(stream: InstanceStream, frame: NativeFrame, target: str) -> list[Buffer]:
    """The header as it fits decoded frames (rule 2), in the target."""
    scanned = scan(stream.stored, stream.transfer_syntax_uid)
    facts: dict[int, tuple[str, bytes]] = {
        0x00280002: ("US", frame.samples_per_pixel.to_bytes(2, "little")),
        0x00280004: ("CS", frame.photometric_interpretation.encode("ascii")),
        0x00280100: ("US", frame.bits_allocated.to_bytes(2, "little")),
    }
    if frame.samples_per_pixel > 1:
        facts[0x00280006] = ("US", frame.planar_configuration.to_bytes(2, "little"))
    edits: dict[int, bytes | None] = {}
    for element in scanned.elements:
        group_length = element.tag & 0xFFFF == 0
        if element.tag in facts or element.tag in _OFFSET_TABLES or group_length:
            edits[element.start] = None
    new = [NewElement(tag, vr, value) for tag, (vr, value) in facts.items()]
    spliced = b"".join(rewrite(scanned, edits, {TOP: new}))
    again: Scan = scan(spliced, EXPLICIT_VR_LITTLE_ENDIAN)
    return convert(again, encoding_of(target))


async def _tail(pixels: Pixels, target: str) -> list[Buffer]:
    """What follows the encapsulated pixels, converted."""
    fragments = await pixels.fragments()
    stream = pixels.stream
    total = stream.opened.bulk_plain_bytes
    start = (fragments[-1].offset + fragments[-1].length if fragments else total) + 8
    if start >= total:
        return []
    with stream.disclosure.reader(stream.opened) as reader:
        raw = await asyncio.to_thread(reader.bulk, start, total - start)
    return convert(scan(raw, EXPLICIT_VR_LITTLE_ENDIAN), encoding_of(target))
