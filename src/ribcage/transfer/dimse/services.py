"""The services behind an association: who may associate, C-ECHO and C-STORE; C-FIND is in
`find`, C-GET and C-MOVE in `retrieval`, storage commitment in `commitment`.

Rules, in order:
1. A called AE title that is not ours is refused and counted (PS3.8 9.3.4: reason 7).
2. Identity is the certificate; the calling AE title must be bound to it. The guard decides and audits
   (`CheckDevice`); refused is reason 3. A guard that cannot answer is a transient refusal.
   A user identity that must be confirmed and cannot be is refused without a reason (PS3.7 D.3.3.7); none grants.
3. Only what the device may do is negotiated; a C-STORE without the right to store is status 0124.
4. A C-STORE response is sent after `Flow.admit` returned: the instance is durable (DESIGN rule 2).
5. When the association ends, one `IngestClosed` names what was stored per study.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from ribcage.capture.admit import Ahead
from ribcage.capture.disarm import Expected
from ribcage.capture.errors import AdmissionError
from ribcage.capture.flow import Course, Flow
from ribcage.dicom.assembler import MessageReceived, Sink
from ribcage.dicom.dimse import (
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_EVENT_REPORT_RQ,
    N_SET_RQ,
    RESPONSE,
    CCancelRq,
    CEchoRq,
    CFindRq,
    CGetRq,
    CMoveRq,
    Command,
    CStoreRq,
    OtherCommand,
    refuse,
    respond,
)
from ribcage.dicom.negotiation import Answer, Offer, must_refuse, negotiate
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.sop_classes import (
    GET_CLASSES,
    MODALITY_WORKLIST_FIND,
    MOVE_CLASSES,
    PERFORMED_PROCEDURE_STEP,
    STORAGE_COMMITMENT_PUSH,
    VERIFICATION,
)
from ribcage.dicom.statuses import Status
from ribcage.dicom.upper_layer import AcceptedContext
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import CheckDevice, Device, DeviceKnown, IngestClosed, IngestNoted
from ribcage.transfer.dimse.commitment import StorageCommitment
from ribcage.transfer.dimse.exchange import Exchange
from ribcage.transfer.dimse.find import Find, Negotiated, negotiated
from ribcage.transfer.dimse.get import SameAssociation
from ribcage.transfer.dimse.line import Line
from ribcage.transfer.dimse.move import Destination
from ribcage.transfer.dimse.retrieval import Outlet, Retrieval
from ribcage.transfer.dimse.site import DimseSite
from ribcage.transfer.dimse.worklist import ModalityWorklist, PerformedSteps

_PERMANENT, _TRANSIENT = 1, 2
_USER, _PRESENTATION = 1, 3


@dataclass(frozen=True, slots=True)
class Rejection:
    """Numbers of A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    result: int
    source: int
    reason: int


CALLING_AE_NOT_RECOGNIZED = Rejection(_PERMANENT, _USER, 3)
IDENTITY_NOT_CONFIRMED = Rejection(_PERMANENT, _USER, 1)
CALLED_AE_NOT_RECOGNIZED = Rejection(_PERMANENT, _USER, 7)
TEMPORARY_CONGESTION = Rejection(_TRANSIENT, _PRESENTATION, 1)
LOCAL_LIMIT_EXCEEDED = Rejection(_TRANSIENT, _PRESENTATION, 2)


class AssociationService:
    """One association's user (PS3.7): decides, stores, counts."""

    def __init__(self, site: DimseSite, fingerprint: bytes, address: str) -> None:
        self._site = site
        self._fingerprint = fingerprint
        self._address = address
        self._device = Device(fingerprint, "", address)
        self._known: DeviceKnown | None = None
        self._request: AssociateRq | None = None
        self._commitment: StorageCommitment | None = None
        self._called = ""
        self._scp_classes: frozenset[str] = frozenset()
        self._stored: Counter[str] = Counter()
        self._failed = 0
        self._ahead = Ahead()

    async def negotiate(self, request: AssociateRq) -> Answer | Rejection:
        """Decide on an association request (rules 1 to 3)."""
        if request.called_ae_title not in self._site.called_ae_titles:
            self._site.refusals.note("called_ae", "dicom", self._address)
            return CALLED_AE_NOT_RECOGNIZED
        self._called = request.called_ae_title
        self._device = Device(self._fingerprint, request.calling_ae_title, self._address)
        try:
            known = await self._site.guard.call(
                CheckDevice(self._device, request.called_ae_title, "associate"), DeviceKnown
            )
        except GuardRefused as refused:
            if refused.reason in ("throttled", "unavailable"):
                return TEMPORARY_CONGESTION
            return CALLING_AE_NOT_RECOGNIZED
        except GuardError:
            return TEMPORARY_CONGESTION
        if must_refuse(request.user.identity):
            self._site.refusals.note("user_identity", "dicom", self._address)
            return IDENTITY_NOT_CONFIRMED
        self._known, self._request = known, request
        self._commitment = StorageCommitment(self._site.guard, self._device)
        may = {right: right in known.may for right in ("store", "query", "retrieve", "worklist")}
        offer = Offer(**may, commit=may["store"] and not self._site.shield)
        answer = negotiate(request, offer)
        if self._site.shield:
            answer = replace(answer, extended=())
        self._scp_classes = frozenset(role.sop_class for role in answer.roles if role.scp)
        return answer

    async def still_known(self) -> bool:
        """Whether the device may still associate; yes where the guard cannot say, which closes all else."""
        if self._known is None:
            return True  # it is being asked about
        try:
            await self._site.guard.call(CheckDevice(self._device, self._called, "associate"), DeviceKnown)
        except GuardRefused as refused:
            return refused.reason != "not_authenticated"
        except GuardError:
            return True
        return True

    async def answer(
        self, message: MessageReceived, context: AcceptedContext, exchange: Exchange
    ) -> Command | None:
        """The last response to one request; None where none is due. Raises AssociationOver."""
        command = message.command
        if isinstance(command, CEchoRq):
            known = command.sop_class == context.abstract_syntax == VERIFICATION
            return respond(command, Status.SUCCESS if known else Status.SOP_CLASS_NOT_SUPPORTED)
        if isinstance(command, CStoreRq):
            return await self._store(command, message.sink, context)
        if isinstance(command, CFindRq) and context.abstract_syntax == MODALITY_WORKLIST_FIND:
            worklist = ModalityWorklist(self._site, self._device)
            return await worklist.answer(command, message.data_set or b"", context, exchange)
        if isinstance(command, CFindRq) and self._request is not None:
            asked = self._request
            terms = Negotiated() if self._site.shield else negotiated(asked, command.sop_class)
            find = Find(self._site, self._device, self._called)
            return await find.answer(command, message.data_set or b"", context, terms, exchange)
        if isinstance(command, CCancelRq):
            return None
        if isinstance(command, OtherCommand) and context.abstract_syntax == STORAGE_COMMITMENT_PUSH:
            return await self._commit(command, message.data_set, context, exchange)
        performs = isinstance(command, OtherCommand) and command.command_field in (N_CREATE_RQ, N_SET_RQ)
        if performs and context.abstract_syntax == PERFORMED_PROCEDURE_STEP:
            steps = PerformedSteps(self._site, self._device)
            return await steps.answer(cast(OtherCommand, command), message.data_set or b"", context)
        return refuse(command)

    async def begin(self, context: AcceptedContext, exchange: Exchange) -> None:
        """A context was agreed: deliver the reports that wait for this device. Raises AssociationOver."""
        if context.abstract_syntax == STORAGE_COMMITMENT_PUSH and self._commitment is not None:
            await self._commitment.deliver(context.transfer_syntax, exchange)

    async def retrieve(
        self, message: MessageReceived, contexts: Mapping[int, AcceptedContext], line: Line
    ) -> None:
        """C-GET and C-MOVE: perform it and send the responses. Raises LineLost."""
        command, context = message.command, contexts[message.context_id]
        known = isinstance(command, CGetRq | CMoveRq) and command.sop_class == context.abstract_syntax
        outlet: Outlet | None = None
        if known and isinstance(command, CGetRq) and command.sop_class in GET_CLASSES:
            outlet = SameAssociation(line, contexts, self._scp_classes, self._site.cage)
        if known and isinstance(command, CMoveRq) and command.sop_class in MOVE_CLASSES:
            outlet = Destination(self._site, self._device, command, self._called)
        if outlet is not None and isinstance(command, CGetRq | CMoveRq):
            retrieval = Retrieval(self._site.way_out, self._device, line, context, command)
            await retrieval.run(message.data_set or b"", outlet)
        elif refusal := refuse(command, Status.SOP_CLASS_NOT_SUPPORTED):
            await line.send(message.context_id, refusal)

    async def finish(self) -> None:
        """The association has ended (rule 5). The guard counts it as unclosed when it cannot be told."""
        if self._commitment is not None:
            await self._commitment.finish()
        if self._stored or self._failed:
            closing = IngestClosed(self._device, "dimse", dict(self._stored), self._failed)
            with contextlib.suppress(GuardError):
                await self._site.guard.call(closing, IngestNoted)

    def receive(
        self,
        command: CStoreRq,
        context: AcceptedContext,
        hold: Callable[[int], bool],
        moved: Callable[[], None],
    ) -> Flow | None:
        """Where the data set of a C-STORE goes while it arrives; None where it will be refused."""
        known = self._known
        if known is None or self._refusal(command, context) is not None:
            return None
        names = command.sop_class, command.sop_instance
        expected = Expected(*names, charset=known.charset, charset_overrides=known.charset_overrides)
        return Flow(
            Course(
                self._site.way_in,
                self._device,
                "dimse",
                self._called,
                context.transfer_syntax,
                expected,
                self._ahead,
                hold,
                moved,
            )
        )

    def _refusal(self, command: CStoreRq, context: AcceptedContext) -> tuple[int, str] | None:
        if self._known is None or "store" not in self._known.may:
            return Status.NOT_AUTHORIZED, "this device may not store"
        if command.sop_class != context.abstract_syntax:
            return Status.SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the context"
        return None

    async def _store(self, command: CStoreRq, sink: Sink | None, context: AcceptedContext) -> Command:
        if (refusal := self._refusal(command, context)) is not None:
            return self._failure(command, *refusal)
        if not isinstance(sink, Flow):
            return self._failure(command, Status.CANNOT_UNDERSTAND, "no data set came")
        try:
            admission = await sink.admit()
        except AdmissionError as failure:
            return self._failure(command, failure.dimse_status, type(failure).__name__)
        self._stored[admission.study_instance_uid] += 1
        return respond(command, Status.SUCCESS)

    async def _commit(
        self, command: OtherCommand, data_set: bytearray | None, context: AcceptedContext, exchange: Exchange
    ) -> Command | None:
        if self._commitment is None or command.command_field not in (
            N_ACTION_RQ, N_EVENT_REPORT_RQ | RESPONSE,
        ):  # fmt: skip
            return refuse(command)
        if command.command_field == N_ACTION_RQ:
            await self._commitment.asked(command, data_set or b"", context.transfer_syntax, exchange)
        else:
            await self._commitment.answered(command)
        return None

    def _failure(self, command: CStoreRq, status: int, comment: str) -> Command:
        self._failed += 1
        return respond(command, status, comment)
