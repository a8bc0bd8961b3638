"""The frames of one instance on its way out: located, cut to the view, counted.

Rules, in order:
1. Only the segments that hold the asked bytes are opened; what is passed on as it lies is passed on by segment.
2. Native frames leave little endian, their first pixel at their first bit.
3. In the masked view an encapsulated frame passes `masking.codestreams`; a compression without a rule is refused with
   the offer of a step-up.
4. A frame that must be held whole has at most `max_frame_bytes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ribcage.dicom.errors import DicomError
from ribcage.dicom.pixel_frames import (
    Frame,
    FrameIndex,
    PixelElement,
    PixelFacts,
    Read,
    Span,
    native_frame,
    pixel_element,
    pixel_facts,
)
from ribcage.dicom.scan import scan
from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.storage.errors import StorageError
from ribcage.storage.retrieve import iter_bulk
from ribcage.usage.disclose import InstanceStream
from ribcage.usage.errors import FrameUnreadable, MaskedViewRefused, NothingFound, disclosure_error
from ribcage.usage.masking import NoMaskingRule
from ribcage.usage.masking.codestreams import blank_text, has_rule

_Found = TypeVar("_Found")
_HEAD_BYTES = 12
_INLINE_BYTES = 64 * 1024  # up to here a scan costs less than a thread's turn


@dataclass
class Pixels:
    """The pixels of one opened instance. Make it by `open_pixels`."""

    stream: InstanceStream
    facts: PixelFacts
    element: PixelElement
    max_frame_bytes: int
    inflated: bytes | None  # the bulk bytes of a deflated data set
    index: FrameIndex
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def transfer_syntax_uid(self) -> str:
        """The syntax that the frames are stored in."""
        return self.stream.transfer_syntax_uid

    @property
    def masked(self) -> bool:
        """Whether what leaves must be masked."""
        return self.stream.view not in ("full", "original")

    async def locate(self, number: int) -> Frame:
        """Frame `number`, from 1. Raises NothingFound, FrameUnreadable, DisclosureError."""
        try:
            async with self._lock:
                return await asyncio.to_thread(self._with_bulk, lambda read: self.index.frame(number, read))
        except IndexError:
            raise NothingFound(f"expected a frame of 1 to {self.facts.frames}, got another") from None

    async def fragments(self) -> tuple[Span, ...]:
        """Every fragment of an encapsulated value. Raises FrameUnreadable, DisclosureError."""
        async with self._lock:
            return await asyncio.to_thread(self._with_bulk, self.index.fragments)

    def size(self, frame: Frame) -> int:
        """Bytes of a frame as it leaves."""
        return frame.length if self.element.encapsulated else -(-frame.bits // 8)

    def require_masked_view(self) -> None:
        """Raises MaskedViewRefused where the frames' compression has no masked view."""
        if self.masked and self.element.encapsulated and not has_rule(self.transfer_syntax_uid):
            raise MaskedViewRefused("this compression has no masked view; prove the second factor")

    async def load(self, frame: Frame) -> bytes:
        """One frame as it leaves, whole and not yet counted (rules 2 to 4). Raises DisclosureError."""
        self.require_masked_view()
        raw = await self.raw(frame)
        try:
            if not self.element.encapsulated:
                return native_frame(raw, frame, self.element)
            if self.masked:
                return await asyncio.to_thread(blank_text, raw, self.transfer_syntax_uid)
        except NoMaskingRule as failure:
            raise MaskedViewRefused("this frame has no masked view; prove the second factor") from failure
        except DicomError as failure:
            raise FrameUnreadable(str(failure)) from failure
        return raw

    async def raw(self, frame: Frame) -> bytes:
        """One frame as it is stored, for the cage alone. Raises DisclosureError."""
        if frame.length > self.max_frame_bytes:
            raise FrameUnreadable(
                f"expected a frame of at most {self.max_frame_bytes} bytes; ask for all of it"
            )
        self.stream.disclosure.check_alive()
        return await asyncio.to_thread(
            self._with_bulk, lambda read: b"".join(read(span.offset, span.length) for span in frame.spans)
        )

    async def send(self, frame: Frame) -> AsyncIterator[bytes]:
        """One frame as it leaves, in pieces, counted. Raises DisclosureError."""
        if self._as_it_lies(frame):
            async for piece in self.send_spans(frame.spans):
                yield piece
            return
        disclosure = self.stream.disclosure
        with disclosure.sending():
            data = await self.load(frame)
            disclosure.count(self.stream.ref.object_id, len(data))
            yield data

    async def send_spans(self, spans: tuple[Span, ...]) -> AsyncIterator[bytes]:
        """Bytes of the bulk stream as they lie: ask only for what the view allows. Raises DisclosureError."""
        disclosure, object_id = self.stream.disclosure, self.stream.ref.object_id
        with disclosure.sending():
            if self.inflated is not None:
                for span in spans:
                    piece = self.inflated[span.offset : span.offset + span.length]
                    disclosure.count(object_id, len(piece))
                    yield piece
                return
            with disclosure.reader(self.stream.opened) as reader:
                for span in spans:
                    async for piece in iter_bulk(reader, disclosure.check_alive, span.length, span.offset):
                        disclosure.count(object_id, len(piece))
                        yield piece

    def _as_it_lies(self, frame: Frame) -> bool:
        if self.element.encapsulated:
            return not self.masked
        whole = not frame.skip_bits and not frame.bits % 8
        return whole and (self.element.little or self.element.vr == "OB")

    def _with_bulk(self, work: Callable[[Read], _Found]) -> _Found:
        """Run `work` on the bulk stream; in a thread."""
        try:
            if self.inflated is not None:
                data = self.inflated
                return work(lambda offset, length: data[offset : offset + length])
            with self.stream.disclosure.reader(self.stream.opened) as reader:
                return work(reader.bulk)
        except StorageError as failure:
            raise disclosure_error(failure) from failure
        except DicomError as failure:
            raise FrameUnreadable(str(failure)) from failure


async def open_pixels(stream: InstanceStream, max_frame_bytes: int) -> Pixels:
    """The pixels of an instance. Raises NothingFound where it has none, FrameUnreadable, DisclosureError."""
    small = len(stream.stored) <= _INLINE_BYTES and not lookup(stream.transfer_syntax_uid).deflated
    if small and not stream.opened.bulk_plain_bytes:
        raise NothingFound("this instance has no pixels")
    return await asyncio.to_thread(_open, stream, max_frame_bytes)


def _open(stream: InstanceStream, max_frame_bytes: int) -> Pixels:
    opened = stream.opened
    try:
        scanned = scan(stream.stored, stream.transfer_syntax_uid)
        inflated = None
        if scanned.deflated and scanned.bulk is not None:
            inflated = bytes(scanned.data[scanned.bulk.start : scanned.bulk.end])
        bulk_bytes = len(inflated) if inflated is not None else opened.bulk_plain_bytes
        if not bulk_bytes:
            raise NothingFound("this instance has no pixels")
        if inflated is not None:
            head = inflated[:_HEAD_BYTES]
        else:
            with stream.disclosure.reader(opened) as reader:
                head = reader.bulk(0, _HEAD_BYTES)
        element = pixel_element(head, stream.transfer_syntax_uid)
        facts = pixel_facts(scanned)
    except StorageError as failure:
        raise disclosure_error(failure) from failure
    except DicomError as failure:
        raise FrameUnreadable(str(failure)) from failure
    return Pixels(stream, facts, element, max_frame_bytes, inflated, FrameIndex(facts, element, bulk_bytes))
