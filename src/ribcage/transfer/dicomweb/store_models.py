"""The parts of a store whose metadata comes apart from its bulk data, one after the other (`store_metadata`).

Rules, in order:
1. An instance goes through the door as soon as its last part is there; what nobody waits for any more is let go.
2. Metadata, parts and the file that is made of them count against the front's budget while they are held.
3. A part that fits nothing is dropped as it comes and reported; so is an instance whose parts did not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from ribcage.dicom.errors import DicomError
from ribcage.dicom.statuses import Status
from ribcage.transfer.dicomweb.context import Held
from ribcage.transfer.dicomweb.errors import TooLarge
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.dicomweb.multipart import Event, PartData, PartStart
from ribcage.transfer.dicomweb.negotiation import DICOM_XML
from ribcage.transfer.dicomweb.store_metadata import Assembly, Draft, Slot, Unfit, is_metadata
from ribcage.transfer.dicomweb.store_response import Named, StoreReport

_INLINE_BYTES: Final = 64 * 1024  # up to here reading metadata costs less than a thread's turn

Admit = Callable[[bytearray], Awaitable[None]]
_Made = TypeVar("_Made")


class ModelParts:
    """The parts of one request. `root`: the type of its metadata. `admit` notes in the report what becomes of one."""

    def __init__(self, root: str, limits: WebLimits, budget: Held, admit: Admit, report: StoreReport) -> None:
        self._root = root
        self._limits = limits
        self._budget = budget
        self._admit = admit
        self._report = report
        self._assembly = Assembly(limits, xml=root == DICOM_XML)
        self._metadata = False
        self._slot: Slot | None = None
        self._part = bytearray()

    async def take(self, events: AsyncIterator[Event]) -> None:
        """Take all parts. Raises WebError."""
        async for event in events:
            if isinstance(event, PartStart):
                self._begin(event)
            elif isinstance(event, PartData):
                self._keep(event.data)
            elif self._metadata:
                await self._read()
            elif self._slot is not None:
                await self._place(self._slot)
        for draft in self._assembly.unfinished():
            self._refuse(draft.named, Status.CANNOT_UNDERSTAND)

    def _begin(self, part: PartStart) -> None:
        self._part, self._slot = bytearray(), None
        self._metadata = is_metadata(part.headers, self._root)
        if not self._metadata:
            try:
                self._slot = self._assembly.slot(part.headers)
            except Unfit as unfit:
                self._report.unnamed.append(unfit.status)

    def _keep(self, data: bytes) -> None:
        if self._metadata and len(self._part) + len(data) > self._limits.max_metadata_bytes:
            raise TooLarge(f"expected metadata of at most {self._limits.max_metadata_bytes} bytes")
        if self._metadata or self._slot is not None:
            self._budget.take(len(data))
            self._part += data

    async def _read(self) -> None:
        """A part of metadata is there."""
        raw, self._part = self._part, bytearray()
        try:
            cost = self._assembly.cost(raw)
            self._budget.take(cost)
            try:
                found = await self._anywhere(len(raw), lambda: list(self._assembly.take_metadata(raw)))
            finally:
                self._budget.take(-cost)
        except Unfit as unfit:
            self._report.unnamed.append(unfit.status)
            return
        for each in found:
            if not isinstance(each, Draft):
                self._refuse(*each)
            elif not each.waits:
                await self._finish(each)

    async def _place(self, slot: Slot) -> None:
        """A bulk part is there (rule 1)."""
        part, self._part = self._part, bytearray()
        try:
            complete = self._assembly.put(slot, part)
        except Unfit as unfit:
            self._budget.take(-len(part))
            self._report.unnamed.append(unfit.status)
            return
        for draft in complete:
            await self._finish(draft)

    async def _finish(self, draft: Draft) -> None:
        """Build and admit. Raises WebError where the asker himself is refused."""
        size = self._assembly.size(draft)
        self._budget.take(size)
        try:
            await self._admit(await self._anywhere(size, lambda: self._assembly.build(draft)))
        except Unfit as unfit:
            self._refuse(draft.named, unfit.status)
        except DicomError as failure:
            self._refuse(draft.named, failure.dimse_status)
        finally:
            self._budget.take(-size - self._assembly.done(draft))

    def _refuse(self, named: Named, status: int) -> None:
        if named.sop_instance_uid:
            self._report.failed.append((named, status))
        else:
            self._report.unnamed.append(status)

    @staticmethod
    async def _anywhere(size: int, make: Callable[[], _Made]) -> _Made:
        return make() if size <= _INLINE_BYTES else await asyncio.to_thread(make)
