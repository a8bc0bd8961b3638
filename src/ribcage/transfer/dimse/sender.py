"""An association that we open: C-STORE to a registered destination, over mutual TLS (PS3.4 C.4.2).

Rules, in order (DESIGN rules 3 and 4):
1. We show the archive's own certificate. The peer must prove the very certificate that is registered for the
   destination: its SHA-256 is compared before a byte of DICOM is sent. No authority's word replaces it, and no name
   is asked of the network: the address is a literal one.
2. The stored transfer syntax of each class has a presentation context of its own; one more per class offers the
   uncompressed ones.
3. Connecting and associating together have `artim_seconds`; what the peer owes later has `idle_seconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import (
    AssociationAccepted,
    AssociationRejected,
    Event,
    ReleaseRequested,
)
from ribcage.dicom.errors import ProtocolMisuse
from ribcage.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu import AssociateRj, AssociateRq
from ribcage.dicom.pdu_items import ProposedContext, RoleSelection, UserInformation
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN
from ribcage.dicom.upper_layer import AcceptedContext, Role, UpperLayer
from ribcage.guard.protocol import InstanceRef, TlsIdentity
from ribcage.transfer.dimse.line import Line, LineLost, Wires
from ribcage.transfer.tls import load_own, restrict

_READ_BYTES = 64 * 1024


@dataclass(frozen=True)
class Peer:
    """Whom to call, and which certificate must answer."""

    address: str
    port: int
    fingerprint: bytes
    called_ae_title: str
    calling_ae_title: str


def propose(refs: Sequence[InstanceRef], most: int) -> tuple[ProposedContext, ...]:
    """The contexts for these instances, at most `most` (rule 2)."""
    pairs: dict[tuple[str, tuple[str, ...]], None] = {}
    pairs |= dict.fromkeys((ref.sop_class_uid, (ref.transfer_syntax_uid,)) for ref in refs)
    pairs |= dict.fromkeys((ref.sop_class_uid, LITTLE_ENDIAN) for ref in refs)
    chosen = list(pairs)[:most]
    return tuple(ProposedContext(2 * n + 1, uid, syntaxes) for n, (uid, syntaxes) in enumerate(chosen))


class Sender(asyncio.BufferedProtocol):
    """One association as requestor. Make it by `open_association`, end it with `close`."""

    def __init__(
        self,
        limits: UpperLayerLimits,
        peer: Peer,
        contexts: tuple[ProposedContext, ...],
        roles: tuple[RoleSelection, ...] = (),
    ) -> None:
        self._peer = peer
        self._layer = UpperLayer(Role.REQUESTOR, limits)
        self._buffer = bytearray(_READ_BYTES)
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()
        self.roles: tuple[RoleSelection, ...] = ()  # as the peer answered
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.line = Line(self._layer, Wires(self._write, self._flush, self.abort), limits.idle_seconds)
        user = UserInformation(
            max_pdu_bytes=limits.max_pdu_bytes,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            roles=roles,
        )
        self._layer.request(AssociateRq(peer.called_ae_title, peer.calling_ae_title, contexts, user))

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """Agreed presentation contexts."""
        return self._layer.contexts

    # --- the transport's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done: is it the destination (rule 1)?"""
        self._transport = cast(asyncio.Transport, transport)
        session = transport.get_extra_info("ssl_object")
        leaf = session.getpeercert(True) if session is not None else None
        if not is_registered(leaf, self._peer.fingerprint):
            self._fail("the destination has another certificate than the registered one")
            self._transport.abort()
            return
        self._layer.connected()
        self._flush()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes arrived."""
        self._take(self._layer.receive(memoryview(self._buffer)[:nbytes]))
        self._flush()

    def pause_writing(self) -> None:
        """The transport is full."""
        self.line.pause()

    def resume_writing(self) -> None:
        """The transport takes bytes again."""
        self.line.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._fail("the connection ended")
        self._take(self._layer.connection_lost())
        self._gone.set()

    # --- inside -----------------------------------------------------------------------------------------

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, AssociationAccepted):
                self.roles = event.answer.user.roles
                if not self.accepted.done():
                    self.accepted.set_result(None)
            elif isinstance(event, MessageReceived):
                self.line.give(event)
            elif isinstance(event, AssociationRejected):
                self._fail(_refusal(event.answer))
            else:
                self._fail("the destination ended the association")
                if isinstance(event, ReleaseRequested):
                    with contextlib.suppress(ProtocolMisuse):
                        self._layer.release()

    def _fail(self, why: str) -> None:
        self.line.lose()
        if not self.accepted.done():
            self.accepted.set_exception(LineLost(why))

    def _write(self, pdus: Iterable[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(list(pdus))

    def _flush(self) -> None:
        self._write(self._layer.data_to_send())
        if self._layer.should_close and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._fail("the association was aborted")
        self._layer.abort()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    async def close(self, seconds: float) -> None:
        """Release, within `seconds`; then the transport goes."""
        with contextlib.suppress(ProtocolMisuse):
            self._layer.release()
            self._flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._gone.wait()
        if self._transport is not None:
            self._transport.abort()


_REFUSALS = {  # PS3.8 Table 9-21: source and reason
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


def _refusal(answer: AssociateRj) -> str:
    why = _REFUSALS.get((answer.source, answer.reason), f"source {answer.source}, reason {answer.reason}")
    return f"the association was refused: {why}"


def pinned_context(identity: TlsIdentity) -> ssl.SSLContext:
    """TLS with the archive's certificate. Raises IdentityUnusable.

    It asks no authority (rule 1): `is_registered` decides. A device's certificate need not be a server's.
    """
    context = restrict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # rule 1: pinned, which is more than any authority says
    load_own(context, identity)
    return context


def is_registered(leaf: bytes | None, fingerprint: bytes) -> bool:
    """Whether this certificate (DER) is the registered one."""
    return bool(leaf) and hmac.compare_digest(hashlib.sha256(leaf or b"").digest(), fingerprint)


async def open_association(
    peer: Peer, refs: Sequence[InstanceRef], context: ssl.SSLContext, limits: UpperLayerLimits
) -> Sender:
    """An association in which these instances can be stored. Raises LineLost."""
    return await associate(peer, propose(refs, limits.max_contexts), (), context, limits)


async def associate(
    peer: Peer,
    contexts: tuple[ProposedContext, ...],
    roles: tuple[RoleSelection, ...],
    context: ssl.SSLContext,
    limits: UpperLayerLimits,
) -> Sender:
    """An association with these contexts and roles proposed. Raises LineLost, its cause behind it."""
    loop = asyncio.get_running_loop()
    sender: Sender | None = None
    try:
        async with asyncio.timeout(limits.artim_seconds):
            _, sender = await loop.create_connection(
                lambda: Sender(limits, peer, contexts, roles), peer.address, peer.port, ssl=context
            )
            await sender.accepted
    except (OSError, LineLost) as failure:
        if sender is not None:
            sender.abort()
        raise LineLost("no association with the destination") from failure
    return sender
