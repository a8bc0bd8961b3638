"""C-ECHO to a registered destination: does it answer, is it who is registered, does it take us (PS3.4 A)?

Rules, in order (DESIGN rule 4):
1. As for C-STORE: our certificate is shown, and the registered one must answer before a byte of DICOM is sent.
2. What failed is one sentence that says what to look at next; nothing of the peer's own words is in it.
"""

from __future__ import annotations

import ssl
from typing import Final

from ribcage.dicom.dimse import CEchoRq, CEchoRsp
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu_items import ProposedContext
from ribcage.dicom.sop_classes import VERIFICATION
from ribcage.dicom.statuses import Status
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN
from ribcage.transfer.dimse.line import LineLost
from ribcage.transfer.dimse.sender import Peer, Sender, associate

_CONTEXTS: Final = (ProposedContext(1, VERIFICATION, LITTLE_ENDIAN),)
_MESSAGE_ID: Final = 1
_CLOSE_SECONDS: Final = 2.0


class EchoFailed(Exception):
    """The destination is not what is registered, or does not answer; the message is rule 2's sentence."""


async def echo(peer: Peer, context: ssl.SSLContext, limits: UpperLayerLimits) -> None:
    """Verify one destination. Raises EchoFailed."""
    try:
        sender = await associate(peer, _CONTEXTS, (), context, limits)
    except LineLost as failure:
        raise EchoFailed(_why(failure.__cause__)) from failure
    try:
        await _verify(sender)
    except LineLost as failure:
        raise EchoFailed("the association ended, or C-ECHO was not answered in time") from failure
    finally:
        await sender.close(_CLOSE_SECONDS)


async def _verify(sender: Sender) -> None:
    """Raises EchoFailed, LineLost."""
    accepted = next(iter(sender.contexts.values()), None)
    if accepted is None:
        raise EchoFailed("it associates, but does not accept Verification; its other services may work")
    with sender.line as line:
        await line.send(accepted.context_id, CEchoRq(_MESSAGE_ID, VERIFICATION))
        answer = await line.answer()
    if not isinstance(answer, CEchoRsp) or answer.responds_to != _MESSAGE_ID:
        raise EchoFailed("it answered C-ECHO with something else")
    if answer.status != Status.SUCCESS:
        raise EchoFailed(f"it answered C-ECHO with status {answer.status:04X}")


def _why(cause: BaseException | None) -> str:
    """Rule 2."""
    if isinstance(cause, ssl.SSLError):
        return "no TLS: the listener speaks plain DICOM, another TLS version, or refuses the archive's certificate"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there: check address and port, and that the device is switched on"
    if isinstance(cause, TimeoutError):
        return "no answer in time: check address, network and firewall"
    if isinstance(cause, ConnectionResetError):
        return "the connection ended during TLS: the device may not trust the archive's certificate"
    if isinstance(cause, OSError):
        return "no way there: check address and network"
    if isinstance(cause, LineLost) and str(cause) == "the connection ended":
        return "the connection ended after TLS: the device may not trust the archive's certificate"
    return str(cause) if isinstance(cause, LineLost) else "no association"
