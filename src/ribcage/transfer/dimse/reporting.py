"""N-EVENT-REPORT of storage commitment on an association of our own, to the registered destination (PS3.4 J.3.3).

Rules, in order (DESIGN rule 4):
1. As for C-STORE: our certificate is shown, and the registered one must answer before a byte of DICOM is sent.
2. We request the association and are the SCP of the class: that role is proposed (PS3.7 D.3.3.4). A peer that answers
   otherwise gets no report; one that does not answer the proposal at all does, since it accepted the class from one
   that can do nothing else with it.
3. Only a response with success confirms. The guard keeps the report else, and says when it is tried again. All of it
   takes at most the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from ribcage.dicom import dimse
from ribcage.dicom.dimse import RESPONSE, OtherCommand
from ribcage.dicom.pdu_items import ProposedContext, RoleSelection
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_PUSH
from ribcage.dicom.statuses import Status
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN
from ribcage.guard.errors import GuardError
from ribcage.guard.protocol import JobRefusal, Noted, ReportOver, ReportTaken
from ribcage.transfer.dimse.commitment import message_of
from ribcage.transfer.dimse.line import LineLost
from ribcage.transfer.dimse.sender import Peer, Sender, associate
from ribcage.transfer.dimse.site import DimseSite
from ribcage.transfer.errors import IdentityUnusable

_CONTEXTS: Final = (ProposedContext(1, STORAGE_COMMITMENT_PUSH, LITTLE_ENDIAN),)
_ROLES: Final = (RoleSelection(STORAGE_COMMITMENT_PUSH, scu=False, scp=True),)
_MESSAGE_ID: Final = 1


async def deliver(site: DimseSite, taken: ReportTaken) -> None:
    """Send one report and tell the guard what became of it. A guard that is away finds the lease over."""
    refusal: JobRefusal = "association_lost"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(taken.lease_seconds):
            refusal = await _send(site, taken)
    with contextlib.suppress(GuardError):
        await site.guard.call(ReportOver(taken.owed.report, taken.lease, refusal), Noted)


async def _send(site: DimseSite, taken: ReportTaken) -> JobRefusal:
    ours = min(site.called_ae_titles)
    peer = Peer(taken.address, taken.port, taken.fingerprint, taken.ae_title, ours)
    try:
        sender = await associate(peer, _CONTEXTS, _ROLES, site.client_context(), site.upper_layer)
    except (LineLost, IdentityUnusable):
        return "no_association"
    try:
        return await _report(sender, taken)
    except LineLost:
        return "association_lost"
    finally:
        await sender.close(site.limits.shutdown_seconds)


async def _report(sender: Sender, taken: ReportTaken) -> JobRefusal:
    """Raises LineLost."""
    accepted = next(iter(sender.contexts.values()), None)
    if accepted is None or any(not role.scp for role in sender.roles):  # rule 2
        return "refused_by_destination"
    command, data_set = message_of(taken.owed, _MESSAGE_ID, accepted.transfer_syntax)
    with sender.line as line:
        await line.send_whole(accepted.context_id, command, data_set)
        answer = await line.answer()
    confirmed = (
        isinstance(answer, OtherCommand)
        and answer.command_field == dimse.N_EVENT_REPORT_RQ | RESPONSE
        and answer.elements.get(dimse.MESSAGE_ID_RESPONDED) == _MESSAGE_ID
        and answer.elements.get(dimse.STATUS) == Status.SUCCESS
    )
    return "" if confirmed else "refused_by_destination"
