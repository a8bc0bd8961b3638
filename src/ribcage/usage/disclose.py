"""The way out: the one door for every byte of an image, whatever the protocol.

Rules, in order (DESIGN rules 1, 5, 6, 7):
1. The guard's durable entry precedes the first byte: without `Disclosed` there is no `Disclosure`.
2. Keys are fetched in small batches as the stream goes; the guard checks revocation at each.
3. Before each segment the disclosure must be alive: not revoked, not expired, the guard reachable. What is cut
   stops there (`DisclosureCut`).
4. In the masked view the header passes `usage.masking`, compressed frames `masking.codestreams`, and the bulk stream
   ends with the pixel element. What has no rule is refused with the offer of a step-up.
5. In the other views what came as a file goes out bit for bit; what came as a data set gets a file prefix made
   here, and its data set is bit for bit.
6. Where the archive corrected whose study it is, the full view names the patient as corrected; an instance that was
   filed carries its UIDs of here. Pixels and all else stay. The original view never changes (docs/adr/0013, 0014).
7. One closing entry says what really left, however it ended. An instance counts from its first byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

import msgspec

from ribcage.dicom.errors import DicomError
from ribcage.dicom.part10 import file_prefix
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import (
    Channel,
    Device,
    Disclose,
    Disclosed,
    DisclosureClosed,
    InstanceRef,
    Noted,
    Open,
    Opened,
    OpenedObject,
    Principal,
    Purpose,
    Response,
    Revoked,
    View,
)
from ribcage.storage.errors import StorageError
from ribcage.storage.objects import ObjectStore
from ribcage.storage.ports import Guard
from ribcage.storage.retrieve import ObjectReader, iter_bulk, read_header
from ribcage.usage._masked import masked_header
from ribcage.usage._masked_bulk import masked_bulk
from ribcage.usage.corrected import corrected_header
from ribcage.usage.errors import (
    DisclosureCut,
    DisclosureError,
    ObjectDamaged,
    RequestInvalid,
    disclosure_error,
)

_INLINE_BYTES = 64 * 1024
_NOT_ENTERED = "it was not entered with `async with`"
Want = Literal["best", "masked", "full", "original"]


class WayOut:
    """What the door needs, one per front: the guard, the objects folder, and the disclosures that are alive."""

    def __init__(
        self,
        guard: Guard,
        objects: ObjectStore,
        clock: Callable[[], float] = time.time,
        opened_at_once: int = 16,
    ) -> None:
        """`opened_at_once`: instances of one `Open`."""
        self.guard = guard
        self.objects = objects
        self.opened_at_once = opened_at_once
        self.clock = clock
        self._alive: dict[bytes, Disclosure] = {}

    def on_push(self, message: Response) -> None:
        """Give every unsolicited message of the guard to this: `Revoked` cuts."""
        if isinstance(message, Revoked):
            self._cut(message.disclosures, "revoked")

    def guard_lost(self) -> None:
        """The connection to the guard is gone: a revocation could not reach us, so everything is cut."""
        self._cut(list(self._alive), "the guard is gone")

    def _cut(self, identifiers: Iterable[bytes], why: str) -> None:
        for identifier in identifiers:
            disclosure = self._alive.get(identifier)
            if disclosure is not None:
                disclosure.cut(why)

    def _add(self, disclosure: Disclosure) -> None:
        self._alive[disclosure.answer.disclosure] = disclosure

    def _remove(self, disclosure: Disclosure) -> None:
        self._alive.pop(disclosure.answer.disclosure, None)


async def open_disclosure(
    way: WayOut,
    principal: Principal,
    channel: Channel,
    study_instance_uid: str,
    series_instance_uid: str = "",
    sop_instance_uid: str = "",
    want: Want = "best",
    purpose: Purpose = "TREAT",
    recipient: Device | None = None,
) -> Disclosure:
    """Ask for (part of) a study, for `principal` or another device. Use with `async with`. Raises DisclosureError."""
    request = Disclose(
        principal,
        channel,
        study_instance_uid,
        series_instance_uid,
        sop_instance_uid,
        want,
        purpose,
        recipient,
    )
    try:
        answer = await way.guard.call(request, Disclosed)
    except GuardError as failure:
        raise disclosure_error(failure) from failure
    return Disclosure(way, principal, study_instance_uid, answer)


@dataclass
class InstanceStream:
    """One instance on its way out. `header` is its data set up to the bulk element, masked where the view is.

    `prefix` is preamble and file meta. `bulk_bytes` is the length of the bulk stream, None in the masked view, where
    it ends with the pixel element. `pixels_checked` is False where burned-in text was not looked for.
    """

    ref: InstanceRef
    view: View
    prefix: bytes
    header: bytes
    bulk_bytes: int | None
    pixels_checked: bool
    stored: bytes = field(repr=False)  # the data set's part of the header stream before masking
    disclosure: Disclosure = field(repr=False)
    opened: OpenedObject = field(repr=False)

    @property
    def content_length(self) -> int | None:
        """Bytes of the whole file as `parts` yields it, None where that is not known before."""
        if self.bulk_bytes is None:
            return None
        return len(self.prefix) + len(self.header) + self.bulk_bytes

    @property
    def transfer_syntax_uid(self) -> str:
        """The syntax the data set is in: the stored one."""
        return self.ref.transfer_syntax_uid

    async def parts(self) -> AsyncIterator[bytes]:
        """The file: prefix, header, then the bulk stream by segment. Raises DisclosureError."""
        async for part in self.disclosure.send(self, [self.prefix, self.header]):
            yield part

    async def data_set(self) -> AsyncIterator[bytes]:
        """The data set alone, for DIMSE. Raises DisclosureError."""
        async for part in self.disclosure.send(self, [self.header]):
            yield part


class Disclosure:
    """A live disclosure; an async context manager that writes the closing entry."""

    def __init__(self, way: WayOut, principal: Principal, study_instance_uid: str, answer: Disclosed) -> None:
        self.answer = answer
        self._study = study_instance_uid
        self._way = way
        self._principal = principal
        self._positions = {ref.object_id: number for number, ref in enumerate(answer.instances)}
        self._keys: dict[bytes, OpenedObject] = {}
        self._lock = asyncio.Lock()
        self._cut_because = _NOT_ENTERED
        self._was_cut = False
        self._unfinished = 0
        self._sent: set[bytes] = set()
        self._octets = 0
        self.ended: Callable[[], None] = _nothing  # called once, when it is cut

    @property
    def view(self) -> View:
        """The view that was granted."""
        return self.answer.view

    @property
    def instances(self) -> list[InstanceRef]:
        """What the receipt covers, in stable order."""
        return self.answer.instances

    async def __aenter__(self) -> Disclosure:
        if self._cut_because == _NOT_ENTERED:
            self._cut_because = ""
        self._way._add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._way._remove(self)
        self._keys.clear()
        self.cut("closed")
        outcome: Literal["complete", "aborted", "cut"] = "complete"
        if self._was_cut:
            outcome = "cut"
        elif kind is not None or self._unfinished:
            outcome = "aborted"
        closing = DisclosureClosed(self.answer.receipt, len(self._sent), self._octets, outcome)
        # Without its closing entry the guard's own record says that the disclosure never closed.
        with contextlib.suppress(GuardError):
            await asyncio.shield(self._way.guard.call(closing, Noted))

    def cut(self, why: str) -> None:
        """End it: nothing more leaves after the segment in hand."""
        if not self._cut_because:
            self._cut_because = why
            self.ended()

    @property
    def alive(self) -> bool:
        """Whether anything may still leave: entered, neither cut nor expired."""
        return not self._cut_because and self._way.clock() < self.answer.expires_at

    def check_alive(self) -> None:
        """Raises DisclosureCut when it was revoked, has expired or the guard is gone."""
        if not self._cut_because and self._way.clock() >= self.answer.expires_at:
            self._cut_because = "expired"
        if self._cut_because:
            self._was_cut = True
            raise DisclosureCut(f"the disclosure ended: {self._cut_because}", self.answer.log_index)

    async def instance_stream(self, ref: InstanceRef) -> InstanceStream:
        """Open one instance and read its header. Raises DisclosureError."""
        opened = await self._keys_of(ref)
        try:
            stored = await read_header(self._way.objects, opened)
        except StorageError as failure:
            raise disclosure_error(failure) from failure
        self.check_alive()
        return await self._shape(ref, opened, stored)

    def count(self, object_id: bytes, octets: int) -> None:
        """Count bytes of this object that leave now. Raises DisclosureError when cut."""
        self.check_alive()
        self._sent.add(object_id)
        self._octets += octets

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Around bytes on their way: what does not get to its end is noted, failures get their class here."""
        self._unfinished += 1
        try:
            yield
        except StorageError as failure:
            raise disclosure_error(failure) from failure
        except DicomError as failure:
            raise damaged() from failure
        self._unfinished -= 1

    def reader(self, opened: OpenedObject) -> ObjectReader:
        """The opened object's streams, to be closed by the caller. Raises StorageError."""
        return ObjectReader(self._way.objects, opened)

    async def send(self, stream: InstanceStream, front: list[bytes]) -> AsyncIterator[bytes]:
        """Yield `front`, then the bulk stream as far as the view goes, counting. Raises DisclosureError."""
        opened = stream.opened
        with self.sending():
            for part in front:
                self.count(opened.object_id, len(part))
                yield part
            if opened.bulk_plain_bytes:
                with self.reader(opened) as reader:
                    async for part in self._bulk(stream, reader):
                        self.count(opened.object_id, len(part))
                        yield part

    def _bulk(self, stream: InstanceStream, reader: ObjectReader) -> AsyncIterator[bytes]:
        """The bulk stream in the granted view (rule 4)."""
        if self._unmasked:
            return iter_bulk(reader, self.check_alive)
        return masked_bulk(reader, stream.stored, stream.transfer_syntax_uid, self.check_alive)

    @property
    def _unmasked(self) -> bool:
        return self.view in ("full", "original")

    async def _shape(self, ref: InstanceRef, opened: OpenedObject, stored: bytes) -> InstanceStream:
        """The stream in the granted view (rules 4 and 5)."""
        prefix, data_set = stored[: opened.prefix_bytes], stored[opened.prefix_bytes :]
        if ref.transfer_syntax_uid != opened.transfer_syntax_uid:  # an old PACS's, seen only now
            ref = msgspec.structs.replace(ref, transfer_syntax_uid=opened.transfer_syntax_uid)
        header = data_set
        bulk_bytes: int | None = opened.bulk_plain_bytes
        checked = True
        try:
            if self.view != "original" and (opened.named or opened.addressed):
                header = data_set = await _corrected(data_set, opened)
                prefix = b"" if opened.addressed else prefix  # file meta names the instance too
            if not self._unmasked:
                masked = await masked_header(data_set, ref, self.view, self._study)
                prefix, header, checked = b"", bytes(masked), masked.pixels_checked
                bulk_bytes = None if opened.bulk_plain_bytes else 0
            if not prefix:
                prefix = file_prefix(ref.sop_class_uid, ref.sop_instance_uid, ref.transfer_syntax_uid)
        except DicomError as failure:
            raise damaged() from failure
        return InstanceStream(ref, self.view, prefix, header, bulk_bytes, checked, data_set, self, opened)

    async def _keys_of(self, ref: InstanceRef) -> OpenedObject:
        """The keys of one instance; fetches the batch that begins with it when it is not in hand (rule 2)."""
        position = self._positions.get(ref.object_id)
        if position is None:
            raise RequestInvalid("the instance is not part of this disclosure")
        async with self._lock:
            self.check_alive()
            opened = self._keys.pop(ref.object_id, None)
            if opened is None:
                batch = [
                    one.object_id for one in self.instances[position : position + self._way.opened_at_once]
                ]
                self._keys = await self._open(batch)
                opened = self._keys.pop(ref.object_id)
            self.check_alive()
            return opened

    async def _open(self, object_ids: list[bytes]) -> dict[bytes, OpenedObject]:
        request = Open(self.answer.receipt, self._principal, object_ids)
        try:
            answer = await self._way.guard.call(request, Opened)
        except GuardRefused as failure:
            if failure.reason in ("not_permitted", "not_authenticated", "second_factor_needed"):
                self.cut("revoked")
                self.check_alive()
            raise disclosure_error(failure) from failure
        except GuardError as failure:
            raise disclosure_error(failure) from failure
        if [one.object_id for one in answer.objects] != object_ids:
            raise ObjectDamaged("the guard opened other objects than were asked for")
        return {one.object_id: one for one in answer.objects}


async def _corrected(data_set: bytes, opened: OpenedObject) -> bytes:
    """The data set's part of the header stream as the archive knows better (rule 6)."""
    correct = functools.partial(
        corrected_header,
        data_set,
        opened.transfer_syntax_uid,
        opened.named,
        opened.addressed,
        opened.charset,
        overrides=opened.charset_overrides,
    )
    return correct() if len(data_set) <= _INLINE_BYTES else await asyncio.to_thread(correct)


def damaged() -> ObjectDamaged:
    """What a stored instance that cannot be read is answered with."""
    return ObjectDamaged("a stored instance cannot be read; run `ribcage verify`")


def _nothing() -> None:
    return None


__all__ = [
    "Disclosure",
    "DisclosureError",
    "InstanceStream",
    "Want",
    "WayOut",
    "open_disclosure",
]
