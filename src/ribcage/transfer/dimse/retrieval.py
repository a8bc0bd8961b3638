"""C-GET and C-MOVE as far as they are one (PS3.4 C.4.2, C.4.3): disclose, send one by one, count, report.

Rules, in order (DESIGN rules 1 and 5):
1. Nothing leaves but through `usage.disclose`: one disclosure per study and request, opened before the first
   sub-operation, so that the number of sub-operations is known. At most `_STUDIES` studies in one request.
2. An unknown study and a forbidden one are answered alike. Where other studies are permitted, one that is refused
   counts as one failed sub-operation.
3. A sub-operation that fails is counted and its UID reported; the next one is tried. A disclosure that was cut fails
   all that is left of its study.
4. Success only when all succeeded; B000 when some did, A702 when none did, FE00 after C-CANCEL.
5. Priorities are accepted and change nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ribcage.dicom.dimse import CGetRq, CGetRsp, CMoveRq, CMoveRsp
from ribcage.dicom.statuses import Status, category
from ribcage.dicom.upper_layer import AcceptedContext
from ribcage.guard.errors import GuardError
from ribcage.guard.protocol import Device, InstanceRef, Query, QueryAnswer
from ribcage.transfer.dimse.identifier import IdentifierMismatch, Wanted, failed_list, read_identifier
from ribcage.transfer.dimse.line import Line, LineLost
from ribcage.transfer.errors import TransferError
from ribcage.usage.disclose import Disclosure, InstanceStream, WayOut, open_disclosure
from ribcage.usage.errors import DisclosureCut, DisclosureError, NothingFound, disclosure_error

_STUDIES = 20
_MOST_COUNT = 0xFFFF


class NotSent(TransferError):
    """This instance could not be offered to the peer; the next one may be."""


class CannotSend(TransferError):
    """No sub-operation can be performed; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status:04x}H")
        self.status = status


class OutletGone(TransferError):
    """The outlet's association cannot be opened or has ended: nothing more can be sent."""


class Outlet(Protocol):
    """Where instances go: the asker's own association, or one to a destination."""

    async def prepare(self) -> Device | None:
        """The recipient where it is not the asker. Raises CannotSend."""

    async def open(self, refs: Sequence[InstanceRef]) -> None:
        """Make ready for these. Raises OutletGone."""

    async def store(self, stream: InstanceStream) -> int:
        """One C-STORE; the peer's status. Raises NotSent, OutletGone, LineLost, DisclosureError."""

    async def failed(self, uids: Sequence[str]) -> None:
        """These could not be sent; never fails."""

    async def close(self) -> None:
        """End what was opened; never fails."""


@dataclass
class Tally:
    """Counts of sub-operations (PS3.7 9.1.3.1)."""

    remaining: int = 0
    completed: int = 0
    warning: int = 0
    failed: int = 0
    failed_uids: list[str] = field(default_factory=list)

    def count(self, status: int, uid: str) -> None:
        """One sub-operation has ended with this status."""
        self.remaining -= 1
        kind = category(status)
        if kind == "success":
            self.completed += 1
        elif kind == "warning":
            self.warning += 1
        else:
            self.failed += 1
            self.failed_uids.append(uid)

    @property
    def status(self) -> int:
        """The final status (rule 4)."""
        if not self.failed and not self.warning:
            return Status.SUCCESS
        if self.completed or self.warning:
            return Status.COERCED_OR_SUBOPERATIONS_FAILED
        return Status.CANNOT_PERFORM_SUBOPERATIONS


class Retrieval:
    """One C-GET or C-MOVE request. `line` is the association that it came on."""

    def __init__(
        self,
        way: WayOut,
        device: Device,
        line: Line,
        context: AcceptedContext,
        command: CGetRq | CMoveRq,
    ) -> None:
        self._way = way
        self._device = device
        self._line = line
        self._context = context
        self._command = command
        self._tally = Tally()

    async def run(self, identifier: bytes | bytearray, outlet: Outlet) -> None:
        """Perform it and send the responses. Raises LineLost when the asker is gone."""
        try:
            wanted = read_identifier(identifier, self._context.transfer_syntax, self._command.sop_class)
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(outlet.close)
                recipient = await outlet.prepare()
                disclosed = await self._disclose(stack, wanted, recipient)
                await self._send_all(disclosed, outlet)
        except IdentifierMismatch as failure:
            await self._final(Status.DATA_SET_MISMATCH, str(failure))
        except CannotSend as failure:
            self._tally.remaining = 0
            await self._final(failure.status)
        except DisclosureError as failure:
            await self._final(failure.dimse_status, type(failure).__name__)

    # --- what leaves ------------------------------------------------------------------------------------

    async def _disclose(
        self, stack: contextlib.AsyncExitStack, wanted: Wanted, recipient: Device | None
    ) -> list[tuple[Disclosure, list[InstanceRef]]]:
        """Open every study's disclosure (rules 1 and 2). Raises DisclosureError when all are refused."""
        opened: list[tuple[Disclosure, list[InstanceRef]]] = []
        refused: list[DisclosureError] = []
        series = wanted.series[0] if len(wanted.series) == 1 else ""
        instance = wanted.instances[0] if len(wanted.instances) == 1 else ""
        for study in await self._studies(wanted):
            try:
                disclosure = await open_disclosure(
                    self._way, self._device, "dimse", study, series, instance, "full", recipient=recipient
                )
            except NothingFound:
                continue
            except DisclosureError as failure:
                refused.append(failure)
                continue
            await stack.enter_async_context(disclosure)
            refs = [
                r for r in disclosure.instances if wanted.takes(r.series_instance_uid, r.sop_instance_uid)
            ]
            opened.append((disclosure, refs))
        if refused and not opened:
            raise refused[0]
        self._tally.remaining = sum(len(refs) for _, refs in opened)
        self._tally.failed = len(refused)
        return opened

    async def _studies(self, wanted: Wanted) -> tuple[str, ...]:
        """The studies asked for; a patient's are found by a query, which needs that right too."""
        studies = wanted.studies
        if wanted.patient_id:
            query = Query(
                self._device, "dimse", "study", {"PatientID": wanted.patient_id}, limit=_STUDIES + 1
            )
            try:
                answer = await self._way.guard.call(query, QueryAnswer)
            except GuardError as failure:
                raise disclosure_error(failure) from failure
            studies = tuple(str(record.attributes["StudyInstanceUID"]) for record in answer.records)
        if len(studies) > _STUDIES:
            raise CannotSend(Status.CANNOT_COUNT_MATCHES)
        return studies

    async def _send_all(self, disclosed: list[tuple[Disclosure, list[InstanceRef]]], outlet: Outlet) -> None:
        refs = [ref for _, some in disclosed for ref in some]
        try:
            if refs:
                await outlet.open(refs)
            for disclosure, some in disclosed:
                if not await self._send_study(disclosure, some, outlet):
                    await self._final(Status.CANCEL)
                    return
        except OutletGone:
            for lost in refs[len(refs) - self._tally.remaining :]:
                self._tally.count(Status.PROCESSING_FAILURE, lost.sop_instance_uid)
        await outlet.failed(self._tally.failed_uids)
        await self._final(self._tally.status)

    async def _send_study(self, disclosure: Disclosure, refs: list[InstanceRef], outlet: Outlet) -> bool:
        """One study's sub-operations; False when the asker cancelled. Raises OutletGone, LineLost."""
        for position, ref in enumerate(refs):
            if self._line.cancelled(self._command.message_id):
                return False
            try:
                status = await self._send(disclosure, ref, outlet)
            except DisclosureCut:
                for lost in refs[position:]:
                    self._tally.count(Status.NOT_AUTHORIZED, lost.sop_instance_uid)
                break
            self._tally.count(status, ref.sop_instance_uid)
            if self._tally.remaining:
                await self._respond(Status.PENDING)
        return True

    async def _send(self, disclosure: Disclosure, ref: InstanceRef, outlet: Outlet) -> int:
        """One sub-operation; its status (rule 3). Raises DisclosureCut; LineLost when the asker is gone."""
        try:
            return await outlet.store(await disclosure.instance_stream(ref))
        except DisclosureCut:
            raise
        except DisclosureError as failure:
            return failure.dimse_status
        except NotSent:
            return Status.PROCESSING_FAILURE

    # --- what is answered -------------------------------------------------------------------------------

    async def _respond(self, status: int, comment: str = "", data_set: bytes = b"") -> None:
        tally, command = self._tally, self._command
        kind = CGetRsp if isinstance(command, CGetRq) else CMoveRsp
        goes_on = status in (Status.PENDING, Status.CANCEL)
        response = kind(
            command.message_id,
            status,
            command.sop_class,
            remaining=min(tally.remaining, _MOST_COUNT) if goes_on else None,
            completed=min(tally.completed, _MOST_COUNT),
            failed=min(tally.failed, _MOST_COUNT),
            warning=min(tally.warning, _MOST_COUNT),
            error_comment=comment[:64],
            has_data_set=bool(data_set),
        )
        if data_set:
            await self._line.send_whole(self._context.context_id, response, data_set)
        else:
            await self._line.send(self._context.context_id, response)

    async def _final(self, status: int, comment: str = "") -> None:
        uids = self._tally.failed_uids
        data_set = failed_list(uids, self._context.transfer_syntax) if uids else b""
        await self._respond(status, comment, data_set)


__all__ = ["CannotSend", "LineLost", "NotSent", "Outlet", "OutletGone", "Retrieval", "Tally"]
