"""The services of the edge behind a plain association: C-ECHO, C-STORE into the spool, storage commitment.

Rules, in order:
1. A modality is known by its calling AE title together with the address it calls from; both are registered. Who is
   not known is refused with A-ASSOCIATE-RJ (PS3.8 9.3.4: reason 3) and counted; so is a called AE title that is not
   ours (reason 7).
2. Success is answered after the film is durable in the spool (DESIGN rule 2); a full spool is A700.
3. Commitment is the archive's to give: a report follows when each instance that was asked for has the archive's
   receipt, was refused by it, or was never taken here. It goes out on the same association while that lasts, else on
   the next one the modality opens. After a restart the modality asks again.
4. Nothing else is offered: a modality behind an edge neither asks nor fetches.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ribcage.capture.errors import AdmissionError
from ribcage.dicom.assembler import MessageReceived, Sink
from ribcage.dicom.commitment import CommitmentRequest
from ribcage.dicom.dimse import (
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    RESPONSE,
    CEchoRq,
    Command,
    CStoreRq,
    OtherCommand,
    refuse,
    respond,
)
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.negotiation import Answer, Offer, must_refuse, negotiate
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.scan import DEFAULT_LIMITS, ScanLimits
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_PUSH, VERIFICATION
from ribcage.dicom.statuses import Status
from ribcage.dicom.upper_layer import AcceptedContext
from ribcage.evidence.edge_entry import EntryContext
from ribcage.guard.protocol import RefusalKind
from ribcage.transfer.dimse.commitment import ActionRefused, answer_action, read_action
from ribcage.transfer.dimse.exchange import Exchange
from ribcage.transfer.dimse.line import Line
from ribcage.transfer.dimse.places import Drainable, Places
from ribcage.transfer.dimse.services import (
    CALLED_AE_NOT_RECOGNIZED,
    CALLING_AE_NOT_RECOGNIZED,
    IDENTITY_NOT_CONFIRMED,
    Rejection,
)
from ribcage.transfer.edge.home import Behind
from ribcage.transfer.edge.intake import Intake
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.edge.reports import Outbox, Report, Reports
from ribcage.transfer.edge.spool import Spool, SpoolKeys
from ribcage.transfer.limits import Listener

_SAME_ASSOCIATION_SECONDS = 2.0
_KEPT_REQUESTS = 256


class Refused:
    """How many peers were turned away, by cause: for the state page."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, kind: RefusalKind, listener: Listener, address: str) -> None:
        """Count one."""
        self.counts[kind] += 1


@dataclass
class EdgeSite(Places):
    """Shared by all associations of an edge. Used on its event loop only."""

    spool: Spool
    keys: SpoolKeys
    ae_title: str
    modalities: Mapping[tuple[str, str], Behind]  # by calling AE title and address
    limits: EdgeLimits
    upper_layer: UpperLayerLimits = field(default_factory=UpperLayerLimits)
    scan: ScanLimits = DEFAULT_LIMITS
    refusals: Refused = field(default_factory=Refused)
    outbox: Outbox = field(default_factory=Outbox)
    associations: set[Drainable] = field(default_factory=set)
    per_address: Counter[str] = field(default_factory=Counter)
    buffered_bytes: int = 0
    draining: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # pulsed when a receipt came
    asked: OrderedDict[tuple[bytes, str], CommitmentRequest] = field(default_factory=OrderedDict)
    taken: Callable[[], None] = lambda: None  # called when a film is in the spool

    def pulse(self) -> None:
        """A receipt came: whoever waits for one looks again, and finished requests become reports (rule 3)."""
        for (device, transaction), request in list(self.asked.items()):
            report = self.report(device, request)
            if report is not None:
                del self.asked[device, transaction]
                self.outbox.keep(device, report)
        self.settled.set()
        self.settled = asyncio.Event()

    def ask(self, device: bytes, request: CommitmentRequest) -> None:
        """Remember a request until it can be answered."""
        self.asked[device, request.transaction] = request
        while len(self.asked) > _KEPT_REQUESTS:
            self.asked.popitem(last=False)

    def report(self, device: bytes, request: CommitmentRequest) -> Report | None:
        """What is to be reported, None while something waits for the archive."""
        told = [
            (each, self.spool.state_of(self.keys.tag(device, each.sop_class, each.sop_instance)))
            for each in request.references
        ]
        if any(state == "waiting" for _, state in told):
            return None
        failed = {"refused": Status.PROCESSING_FAILURE, "unknown": Status.NO_SUCH_SOP_INSTANCE}
        return Report(
            request.transaction,
            tuple(each for each, state in told if state == "taken"),
            tuple((each, failed[state]) for each, state in told if state != "taken"),
        )


class EdgeService:
    """One association's user. Implements `ribcage.transfer.dimse.service.Service`."""

    def __init__(self, site: EdgeSite, address: str) -> None:
        self._site = site
        self._address = address
        self._behind: Behind | None = None
        self._reports: Reports | None = None

    async def negotiate(self, request: AssociateRq) -> Answer | Rejection:
        """Decide on an association request (rule 1)."""
        site = self._site
        if request.called_ae_title != site.ae_title:
            site.refusals.counts["called_ae"] += 1
            return CALLED_AE_NOT_RECOGNIZED
        behind = site.modalities.get((request.calling_ae_title, self._address))
        if behind is None:
            site.refusals.counts["calling_ae"] += 1
            return CALLING_AE_NOT_RECOGNIZED
        if must_refuse(request.user.identity):
            site.refusals.counts["user_identity"] += 1
            return IDENTITY_NOT_CONFIRMED
        self._behind, self._reports = behind, Reports(site.outbox, behind.device)
        return negotiate(request, Offer(store=True, commit=True))

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
        if isinstance(command, OtherCommand) and context.abstract_syntax == STORAGE_COMMITMENT_PUSH:
            return await self._commit(command, message.data_set, context, exchange)
        return refuse(command)

    async def begin(self, context: AcceptedContext, exchange: Exchange) -> None:
        """A context was agreed: deliver the reports that wait for this modality. Raises AssociationOver."""
        if context.abstract_syntax == STORAGE_COMMITMENT_PUSH and self._reports is not None:
            await self._reports.deliver(context.transfer_syntax, exchange)

    async def retrieve(
        self, message: MessageReceived, contexts: Mapping[int, AcceptedContext], line: Line
    ) -> None:
        """C-GET and C-MOVE are not offered (rule 4). Raises LineLost."""
        if refusal := refuse(message.command, Status.SOP_CLASS_NOT_SUPPORTED):
            await line.send(message.context_id, refusal)

    async def still_known(self) -> bool:
        """Modalities change with a new enrolment, and that with a restart."""
        return True

    async def finish(self) -> None:
        """The association has ended: what was taken is durable already."""

    def receive(
        self,
        command: CStoreRq,
        context: AcceptedContext,
        hold: Callable[[int], bool],
        moved: Callable[[], None],
    ) -> Intake | None:
        """Where the data set of a C-STORE goes while it arrives; None where it will be refused."""
        behind = self._behind
        if behind is None or command.sop_class != context.abstract_syntax:
            return None
        told = EntryContext(
            behind.ae_title,
            self._site.ae_title,
            self._address,
            command.sop_class,
            command.sop_instance,
            context.transfer_syntax,
        )
        return Intake(self._site.spool, behind.device, told, self._site.scan, hold)

    async def _store(self, command: CStoreRq, sink: Sink | None, context: AcceptedContext) -> Command:
        if command.sop_class != context.abstract_syntax:
            return respond(command, Status.SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the context")
        if not isinstance(sink, Intake):
            return respond(command, Status.CANNOT_UNDERSTAND, "no data set came")
        try:
            await sink.keep()
        except AdmissionError as failure:
            return respond(command, failure.dimse_status, type(failure).__name__)
        self._site.taken()
        return respond(command, Status.SUCCESS)

    async def _commit(
        self, command: OtherCommand, data_set: bytearray | None, context: AcceptedContext, exchange: Exchange
    ) -> Command | None:
        reports, behind, site = self._reports, self._behind, self._site
        if reports is None or behind is None:
            return refuse(command)
        if command.command_field == N_EVENT_REPORT_RQ | RESPONSE:
            reports.answered(command)
            return None
        if command.command_field != N_ACTION_RQ:
            return refuse(command)
        try:
            request = read_action(command, data_set or b"", context.transfer_syntax)
        except ActionRefused as refused:
            return answer_action(command, refused.status)
        site.ask(behind.device, request)
        await exchange.send(answer_action(command, Status.SUCCESS))
        site.pulse()
        try:
            async with asyncio.timeout(_SAME_ASSOCIATION_SECONDS):
                while (behind.device, request.transaction) in site.asked:
                    await site.settled.wait()
        except TimeoutError:
            return None  # later (rule 3)
        await reports.deliver(context.transfer_syntax, exchange)
        return None
