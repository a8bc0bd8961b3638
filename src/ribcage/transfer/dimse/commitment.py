"""Storage Commitment Push Model (PS3.4 J): N-ACTION in, N-EVENT-REPORT out.

Rules, in order:
1. A request that names another instance than the well-known one, another action or no references is refused with the
   status of PS3.7 10.1.4.1.10; else it is answered, and its report follows on the same association.
2. The guard says what is held (`CheckCommitment`); a device hears about what it sent itself.
3. The guard keeps the report until the device confirms it (`guard.commitment`). What waits is delivered on the next
   association that the device opens, behind the answer to its first request or when none comes: some devices take
   nothing else for that answer. What was not confirmed when it ends goes out on one of our own (`dimse.reporting`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Final

from ribcage.dicom import commitment, dimse
from ribcage.dicom.commitment import CommitmentRequest, Reference
from ribcage.dicom.dimse import OtherCommand, Value
from ribcage.dicom.errors import DataSetLimitExceeded, DicomError
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_INSTANCE, STORAGE_COMMITMENT_PUSH
from ribcage.dicom.statuses import Status
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import (
    CheckCommitment,
    CommitmentChecked,
    Device,
    Held,
    ListOwedReports,
    Noted,
    OwedReport,
    OwedReports,
    ReportHeard,
)
from ribcage.storage.ports import Guard
from ribcage.transfer.dimse.exchange import Exchange

_REQUEST_COMMITMENT: Final = 1  # action type, PS3.4 J.3.2
_ALL_COMMITTED, _SOME_FAILED = 1, 2  # event types, PS3.4 J.3.3
_FAILURE_REASONS: Final[Mapping[Held, int]] = {  # PS3.3 C.14
    "unknown": Status.NO_SUCH_SOP_INSTANCE, "class_conflict": Status.CLASS_INSTANCE_CONFLICT,
}  # fmt: skip


def message_of(owed: OwedReport, message_id: int, syntax: str) -> tuple[OtherCommand, bytes]:
    """The N-EVENT-REPORT of a report (PS3.4 J.3.3)."""
    told = [(Reference(sop_class, uid), word) for sop_class, uid, word in owed.told]
    committed = [each for each, word in told if word == "held"]
    failed = [(each, _FAILURE_REASONS[word]) for each, word in told if word != "held"]
    return event_report(owed.transaction, committed, failed, message_id, syntax)


def event_report(
    transaction: str,
    committed: Sequence[Reference],
    failed: Sequence[tuple[Reference, int]],
    message_id: int,
    syntax: str,
) -> tuple[OtherCommand, bytes]:
    """The N-EVENT-REPORT that tells this; `failed` with reasons of PS3.3 C.14."""
    elements: dict[int, Value] = {
        dimse.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH,
        dimse.MESSAGE_ID: message_id,
        dimse.AFFECTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
        dimse.EVENT_TYPE_ID: _SOME_FAILED if failed else _ALL_COMMITTED,
    }
    command = OtherCommand(dimse.N_EVENT_REPORT_RQ, elements, has_data_set=True)
    return command, commitment.write(transaction, committed, failed, syntax)


class StorageCommitment:
    """The service for one association."""

    def __init__(self, guard: Guard, device: Device) -> None:
        self._guard = guard
        self._device = device
        self._numbers = itertools.count(1)
        self._sent: dict[int, int] = {}  # message id -> report, until it is confirmed

    async def asked(
        self, command: OtherCommand, data_set: bytes | bytearray, syntax: str, exchange: Exchange
    ) -> None:
        """Answer an N-ACTION and report (rules 1 and 2). Raises AssociationOver."""
        try:
            report = await self._check(read_action(command, data_set, syntax))
        except ActionRefused as refused:
            await exchange.send(answer_action(command, refused.status))
            return
        await exchange.send(answer_action(command, Status.SUCCESS))
        await self._send(report, syntax, exchange)

    async def deliver(self, syntax: str, exchange: Exchange) -> None:
        """Send what waits for this device, once (rule 3). Raises AssociationOver."""
        try:
            owed = await self._guard.call(ListOwedReports(self._device), OwedReports)
        except GuardError:
            return
        for report in owed.reports:
            if report.report not in self._sent.values():
                await self._send(report, syntax, exchange)

    async def answered(self, response: OtherCommand) -> None:
        """An N-EVENT-REPORT-RSP: with success the report is delivered."""
        number = response.elements.get(dimse.MESSAGE_ID_RESPONDED)
        if not isinstance(number, int) or number not in self._sent:
            return
        if response.elements.get(dimse.STATUS) == Status.SUCCESS:
            await self._heard(self._sent.pop(number), confirmed=True)

    async def finish(self) -> None:
        """The association has ended: what was not confirmed is due elsewhere."""
        sent, self._sent = self._sent, {}
        for report in sent.values():
            await self._heard(report, confirmed=False)

    async def _heard(self, report: int, *, confirmed: bool) -> None:
        with contextlib.suppress(GuardError):  # then it is sent again
            await self._guard.call(ReportHeard(self._device, report, confirmed), Noted)

    async def _check(self, request: CommitmentRequest) -> OwedReport:
        asked = [(each.sop_class, each.sop_instance) for each in request.references]
        try:
            answer = await self._guard.call(
                CheckCommitment(self._device, asked, request.transaction), CommitmentChecked
            )
        except GuardRefused as refused:
            statuses = {"invalid": Status.RESOURCE_LIMITATION, "not_permitted": Status.NOT_AUTHORIZED}
            raise ActionRefused(statuses.get(refused.reason, Status.PROCESSING_FAILURE)) from refused
        except GuardError as failure:
            raise ActionRefused(Status.PROCESSING_FAILURE) from failure
        told = [(*pair, word) for pair, word in zip(asked, answer.held, strict=True)]
        return OwedReport(answer.report, request.transaction, told)

    async def _send(self, report: OwedReport, syntax: str, exchange: Exchange) -> None:
        number = next(self._numbers) & 0xFFFF
        self._sent[number] = report.report
        command, data_set = message_of(report, number, syntax)
        await exchange.send(command, (data_set,))


class ActionRefused(Exception):
    """An N-ACTION that is answered with this status (PS3.7 10.1.4.1.10)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:04X}H")
        self.status = status


def read_action(command: OtherCommand, data_set: bytes | bytearray, syntax: str) -> CommitmentRequest:
    """What an N-ACTION asks (rule 1). Raises ActionRefused."""
    elements = command.elements
    if elements.get(dimse.REQUESTED_SOP_CLASS) != STORAGE_COMMITMENT_PUSH:
        raise ActionRefused(Status.NO_SUCH_SOP_CLASS)
    if elements.get(dimse.REQUESTED_SOP_INSTANCE) != STORAGE_COMMITMENT_INSTANCE:
        raise ActionRefused(Status.NO_SUCH_SOP_INSTANCE)
    if elements.get(dimse.ACTION_TYPE_ID) != _REQUEST_COMMITMENT:
        raise ActionRefused(Status.NO_SUCH_ACTION)
    try:
        return commitment.read(data_set, syntax)
    except DataSetLimitExceeded as exceeded:
        raise ActionRefused(Status.RESOURCE_LIMITATION) from exceeded
    except DicomError as failure:
        raise ActionRefused(Status.INVALID_ARGUMENT_VALUE) from failure


def answer_action(request: OtherCommand, status: int) -> OtherCommand:
    """N-ACTION-RSP (PS3.7 10.3.5.2)."""
    elements: dict[int, Value] = {dimse.STATUS: status, dimse.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH}
    for ours, theirs in (
        (dimse.MESSAGE_ID_RESPONDED, dimse.MESSAGE_ID),
        (dimse.AFFECTED_SOP_INSTANCE, dimse.REQUESTED_SOP_INSTANCE),
        (dimse.ACTION_TYPE_ID, dimse.ACTION_TYPE_ID),
    ):
        if theirs in request.elements:
            elements[ours] = request.elements[theirs]
    return OtherCommand(dimse.N_ACTION_RQ | dimse.RESPONSE, elements, has_data_set=False)
