"""Modality Worklist (PS3.4 K) and Modality Performed Procedure Step (PS3.4 F) over the guard's orders.

Rules, in order:
1. An identifier that cannot be read is C000. Records of a page go out one by one; C-CANCEL is looked for before each.
2. N-CREATE begins a step, `IN PROGRESS`, under the UID that the modality gives (F.7.2.1); the same UID again is 0111.
3. N-SET goes on, and ends it `COMPLETED` or `DISCONTINUED`; then it may not be changed: 0110 (F.7.2.2.2). An unknown
   one is 0112. Whatever else a report says is not kept.
"""

from __future__ import annotations

from typing import Final, Literal, cast

from ribcage.dicom import dimse, worklist
from ribcage.dicom.dimse import CFindRq, CFindRsp, OtherCommand, Value
from ribcage.dicom.errors import DicomError
from ribcage.dicom.part10 import check_uid
from ribcage.dicom.sop_classes import PERFORMED_PROCEDURE_STEP
from ribcage.dicom.statuses import Status
from ribcage.dicom.upper_layer import AcceptedContext
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import AskWorklist, Device, Noted, ReportStep, ScheduledStep, WorklistAnswer
from ribcage.transfer.dimse.exchange import Exchange
from ribcage.transfer.dimse.site import DimseSite

_FIND: Final = {
    "not_permitted": Status.NOT_AUTHORIZED,
    "not_authenticated": Status.NOT_AUTHORIZED,
    "invalid": Status.DATA_SET_MISMATCH,
}
_STEP: Final = {
    "not_permitted": Status.NOT_AUTHORIZED,
    "not_authenticated": Status.NOT_AUTHORIZED,
    "not_found": Status.NO_SUCH_SOP_INSTANCE,
    "invalid": Status.INVALID_ATTRIBUTE_VALUE,
}
_ENDS: Final = frozenset({"IN PROGRESS", "COMPLETED", "DISCONTINUED"})


class ModalityWorklist:
    """C-FIND for one association."""

    def __init__(self, site: DimseSite, device: Device) -> None:
        self._site = site
        self._device = device

    async def answer(
        self, command: CFindRq, data_set: bytes | bytearray, context: AcceptedContext, exchange: Exchange
    ) -> CFindRsp:
        """Send the pending responses; the final one is returned. Raises AssociationOver."""
        if command.sop_class != context.abstract_syntax:
            return _final(command, Status.SOP_CLASS_NOT_SUPPORTED)
        try:
            asked = worklist.question(data_set, context.transfer_syntax)
            return await self._send(command, asked, context, exchange)
        except DicomError as failure:
            return _final(command, Status.CANNOT_UNDERSTAND, type(failure).__name__)
        except GuardRefused as refused:
            return _final(command, _FIND.get(refused.reason, Status.OUT_OF_RESOURCES), refused.reason)
        except GuardError as failure:
            return _final(command, Status.OUT_OF_RESOURCES, type(failure).__name__)

    async def _send(
        self, command: CFindRq, asked: worklist.Question, context: AcceptedContext, exchange: Exchange
    ) -> CFindRsp:
        status = Status.PENDING_KEYS_UNSUPPORTED if asked.unsupported else Status.PENDING
        pending = CFindRsp(command.message_id, status, command.sop_class, has_data_set=True)
        sent, after, more = 0, b"", True
        while more:
            ask = AskWorklist(self._device, dict(asked.filters), self._site.limits.find_page_records, after)
            page = await self._site.guard.call(ask, WorklistAnswer)
            after, more = page.position, page.more
            for step in page.steps:
                if exchange.cancelled():
                    return _final(command, Status.CANCEL)
                if sent >= self._site.limits.find_answers:
                    return _final(command, Status.OUT_OF_RESOURCES, "ask for less")
                await exchange.send(pending, (worklist.answer(asked, step, context.transfer_syntax),))
                sent += 1
        return _final(command, Status.SUCCESS)


class PerformedSteps:
    """N-CREATE and N-SET for one association."""

    def __init__(self, site: DimseSite, device: Device) -> None:
        self._site = site
        self._device = device

    async def answer(
        self, command: OtherCommand, data_set: bytes | bytearray, context: AcceptedContext
    ) -> OtherCommand:
        """The response (rules 2 and 3)."""
        new = command.command_field == dimse.N_CREATE_RQ
        named = dimse.AFFECTED_SOP_CLASS if new else dimse.REQUESTED_SOP_CLASS
        which = dimse.AFFECTED_SOP_INSTANCE if new else dimse.REQUESTED_SOP_INSTANCE
        uid = str(command.elements.get(which, ""))
        if command.elements.get(named) != PERFORMED_PROCEDURE_STEP:
            return _response(command, Status.NO_SUCH_SOP_CLASS, uid)
        try:
            check_uid(uid, "SOP Instance UID")
        except DicomError:
            return _response(command, Status.INVALID_SOP_INSTANCE, uid)
        try:
            told = worklist.report(data_set, context.transfer_syntax)
        except DicomError:
            return _response(command, Status.PROCESSING_FAILURE, uid)
        status = told.status or ("" if new else "IN PROGRESS")
        if status not in _ENDS or (new and status != "IN PROGRESS"):
            return _response(
                command, Status.INVALID_ATTRIBUTE_VALUE if status else Status.MISSING_ATTRIBUTE, uid
            )
        return _response(command, await self._report(uid, new, status, told), uid)

    async def _report(self, uid: str, new: bool, status: str, told: worklist.StepReport) -> int:
        scheduled = [ScheduledStep(each.study_uid, each.accession, each.step_id) for each in told.scheduled]
        request = ReportStep(self._device, uid, new, cast("Literal['COMPLETED']", status), scheduled)
        try:
            await self._site.guard.call(request, Noted)
        except GuardRefused as refused:
            taken = Status.DUPLICATE_SOP_INSTANCE if new else Status.PROCESSING_FAILURE
            return {**_STEP, "conflict": taken}.get(refused.reason, Status.PROCESSING_FAILURE)
        except GuardError:
            return Status.PROCESSING_FAILURE
        return Status.SUCCESS


def _response(request: OtherCommand, status: int, uid: str) -> OtherCommand:
    """N-CREATE-RSP and N-SET-RSP (PS3.7 10.3.5.2, 10.3.3.2)."""
    elements: dict[int, Value] = {
        dimse.STATUS: status,
        dimse.AFFECTED_SOP_CLASS: PERFORMED_PROCEDURE_STEP,
        dimse.AFFECTED_SOP_INSTANCE: uid,
    }
    if dimse.MESSAGE_ID in request.elements:
        elements[dimse.MESSAGE_ID_RESPONDED] = request.elements[dimse.MESSAGE_ID]
    return OtherCommand(request.command_field | dimse.RESPONSE, elements, has_data_set=False)


def _final(command: CFindRq, status: int, comment: str = "") -> CFindRsp:
    return CFindRsp(command.message_id, status, command.sop_class, comment[:64])
