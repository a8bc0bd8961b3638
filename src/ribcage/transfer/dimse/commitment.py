"""Storage Commitment Push Model (PS3.4 J): N-ACTION in, N-EVENT-REPORT out.

Rules, in order:
1. A request that names another instance than the well-known one, another action or no references is refused with the
   status of PS3.7 10.1.4.1.10; else it is answered, and its report follows on the same association.
2. The guard says what is held (`CheckCommitment`); a device hears about what it sent itself.
3. A report that was not confirmed is kept in this front's memory, `_KEPT` for each device, and delivered on the next
   association that the device opens here, behind the answer to its first request or when none comes: some devices
   take nothing else for that answer. After a restart the device asks again.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ribcage.dicom import commitment, dimse
from ribcage.dicom.commitment import CommitmentRequest, Reference
from ribcage.dicom.dimse import OtherCommand, Value
from ribcage.dicom.errors import DataSetLimitExceeded, DicomError
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_INSTANCE, STORAGE_COMMITMENT_PUSH
from ribcage.dicom.statuses import Status
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import CheckCommitment, CommitmentChecked, Device, Held
from ribcage.storage.ports import Guard
from ribcage.transfer.dimse.exchange import Exchange

_REQUEST_COMMITMENT: Final = 1  # action type, PS3.4 J.3.2
_ALL_COMMITTED, _SOME_FAILED = 1, 2  # event types, PS3.4 J.3.3
_KEPT: Final = 16
_DEVICES: Final = 256
_FAILURE_REASONS: Final[Mapping[Held, int]] = {  # PS3.3 C.14
    "unknown": Status.NO_SUCH_SOP_INSTANCE, "class_conflict": Status.CLASS_INSTANCE_CONFLICT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What a device is to be told about one transaction."""

    transaction: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]


@dataclass
class Outbox:
    """Reports that no device has confirmed yet, by fingerprint and transaction; the oldest give way."""

    waiting: OrderedDict[bytes, OrderedDict[str, Report]] = field(default_factory=OrderedDict)

    def keep(self, fingerprint: bytes, report: Report) -> None:
        """Until it is confirmed."""
        own = self.waiting.setdefault(fingerprint, OrderedDict())
        own[report.transaction] = report
        if len(own) > _KEPT:
            own.popitem(last=False)
        if len(self.waiting) > _DEVICES:
            self.waiting.popitem(last=False)

    def confirmed(self, fingerprint: bytes, transaction: str) -> None:
        """The device has it."""
        own = self.waiting.get(fingerprint, OrderedDict())
        own.pop(transaction, None)
        if not own:
            self.waiting.pop(fingerprint, None)

    def of(self, fingerprint: bytes) -> list[Report]:
        """What waits for this device."""
        return list(self.waiting.get(fingerprint, OrderedDict()).values())


class Reports:
    """Reports to one device over one association. `whose`: the device's name in the outbox."""

    def __init__(self, outbox: Outbox, whose: bytes) -> None:
        self._outbox = outbox
        self._whose = whose
        self._numbers = itertools.count(1)
        self._sent: dict[int, str] = {}

    async def deliver(self, syntax: str, exchange: Exchange) -> None:
        """Send what waits for this device, once (rule 3). Raises AssociationOver."""
        for report in self._outbox.of(self._whose):
            if report.transaction not in self._sent.values():
                await self.send(report, syntax, exchange)

    def answered(self, response: OtherCommand) -> None:
        """An N-EVENT-REPORT-RSP: with success the report is delivered."""
        number = response.elements.get(dimse.MESSAGE_ID_RESPONDED)
        transaction = self._sent.pop(number, "") if isinstance(number, int) else ""
        if transaction and response.elements.get(dimse.STATUS) == Status.SUCCESS:
            self._outbox.confirmed(self._whose, transaction)

    async def send(self, report: Report, syntax: str, exchange: Exchange) -> None:
        """N-EVENT-REPORT (PS3.4 J.3.3). Raises AssociationOver."""
        number = next(self._numbers) & 0xFFFF
        self._sent[number] = report.transaction
        elements: dict[int, Value] = {
            dimse.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH,
            dimse.MESSAGE_ID: number,
            dimse.AFFECTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
            dimse.EVENT_TYPE_ID: _SOME_FAILED if report.failed else _ALL_COMMITTED,
        }
        command = OtherCommand(dimse.N_EVENT_REPORT_RQ, elements, has_data_set=True)
        data_set = commitment.write(report.transaction, report.committed, report.failed, syntax)
        await exchange.send(command, (data_set,))


class StorageCommitment(Reports):
    """The service for one association."""

    def __init__(self, guard: Guard, outbox: Outbox, device: Device) -> None:
        super().__init__(outbox, device.fingerprint)
        self._guard = guard
        self._device = device

    async def asked(
        self, command: OtherCommand, data_set: bytes | bytearray, syntax: str, exchange: Exchange
    ) -> None:
        """Answer an N-ACTION and report (rules 1 and 2). Raises AssociationOver."""
        try:
            request = read_action(command, data_set, syntax)
            report = await self._report(request)
        except ActionRefused as refused:
            await exchange.send(answer_action(command, refused.status))
            return
        self._outbox.keep(self._whose, report)
        await exchange.send(answer_action(command, Status.SUCCESS))
        await self.send(report, syntax, exchange)

    async def _report(self, request: CommitmentRequest) -> Report:
        asked = [(each.sop_class, each.sop_instance) for each in request.references]
        try:
            answer = await self._guard.call(CheckCommitment(self._device, asked), CommitmentChecked)
        except GuardRefused as refused:
            statuses = {"invalid": Status.RESOURCE_LIMITATION, "not_permitted": Status.NOT_AUTHORIZED}
            raise ActionRefused(statuses.get(refused.reason, Status.PROCESSING_FAILURE)) from refused
        except GuardError as failure:
            raise ActionRefused(Status.PROCESSING_FAILURE) from failure
        told = list(zip(request.references, answer.held, strict=True))
        return Report(
            request.transaction,
            tuple(each for each, held in told if held == "held"),
            tuple((each, _FAILURE_REASONS[held]) for each, held in told if held != "held"),
        )


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
