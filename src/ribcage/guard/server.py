"""The guard's socket: frames in, handlers, frames out.

Rules, in order:
1. Only processes of our own user connect (SO_PEERCRED), on a socket in a folder of mode 0700.
2. A connection starts as a front. Administrative calls and the Operator principal need a proof of the passphrase
   on this connection: HMAC-SHA256(operator key, nonce).
3. Every handler is in `_table`; a request without one is refused (a test lists them).
4. A fault inside a handler is 'unavailable' for the asker; only the fault's class reaches our own log.
5. A call that has begun is finished, even when its connection is gone: memory and database stay the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ribcage import __version__
from ribcage.crypto.provider import FileKeyProvider
from ribcage.evidence.audit_event import (
    ApplicationActivity,
    AssociationRefused,
    DeviceActor,
    StrangerActor,
    SystemActor,
)
from ribcage.guard import protocol as p
from ribcage.guard.accounts import Accounts
from ribcage.guard.admin import Administration, sign_checkpoint
from ribcage.guard.core import Actor, Core
from ribcage.guard.disclosure import Disclosures
from ribcage.guard.errors import GuardRefused, ProtocolFailure
from ribcage.guard.frames import Decoder, encode
from ribcage.guard.home import tls_identity
from ribcage.guard.ingest import Ingest
from ribcage.guard.maintain import Upkeep
from ribcage.guard.query import Queries
from ribcage.guard.rights import Rights
from ribcage.guard.strangers import Strangers

_log = logging.getLogger("ribcage.guard")
_READ_BYTES = 256 * 1024
_NONCE_BYTES = 32
_FINISH_SECONDS = 5.0
_SYSTEM = SystemActor("guard")

Handler = Callable[["_Connection", Any], Awaitable[p.Response]]


class _Connection:
    """One peer process."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.nonce = b""
        self.operator: p.Operator | None = None
        self.running: set[asyncio.Task[None]] = set()

    def send(self, number: int, body: p.Response) -> None:
        """Write one answer; a vanished peer is no fault of ours."""
        if not self.writer.is_closing():
            self.writer.write(encode(p.Answer(number, body)))


class GuardServer:
    """Serves one home. Build, `start`, `wait`."""

    def __init__(self, core: Core, provider: FileKeyProvider) -> None:
        self._core = core
        self._provider = provider
        self._connections: set[_Connection] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._disclosures = Disclosures(core, self._push)
        self._rights = Rights(core, self._disclosures.rights_changed)
        self._ingest = Ingest(core)
        self._queries = Queries(core)
        self._accounts = Accounts(core)
        self._administration = Administration(core, self._rights)
        self._upkeep = Upkeep(core)
        self._strangers = Strangers(core)
        self._front_table: dict[type, Handler] = self._fronts()
        self._admin_table: dict[type, Handler] = self._admins()

    # --- life -------------------------------------------------------------------------------------------

    async def serve(self, path: Path, ready: Callable[[], None]) -> None:
        """Listen on `path` until `Stop` or cancellation; then finish, sign and close."""
        core = self._core
        event = ApplicationActivity(_SYSTEM, "start", __version__, ("embedded",))
        await core.committer.run(lambda tx: tx.append(core.entry(event)))
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._accept, str(path), backlog=64)
        finally:
            os.umask(mask)
        ticker = asyncio.get_running_loop().create_task(self._tick())
        ready()
        try:
            await self._stopping.wait()
        finally:
            server.close()
            ticker.cancel()
            await self._finish()
            path.unlink(missing_ok=True)

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT of this process stop the server gracefully."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """Ask the server to finish; safe from a signal handler of the loop."""
        self._stopping.set()

    async def _finish(self) -> None:
        core = self._core
        if self._running:
            await asyncio.wait(set(self._running), timeout=_FINISH_SECONDS)
        await self._strangers.report()
        event = ApplicationActivity(_SYSTEM, "stop", __version__)
        await core.committer.run(lambda tx: tx.append(core.entry(event)))
        await sign_checkpoint(core)
        for connection in list(self._connections):
            connection.writer.close()
        core.close()

    async def _tick(self) -> None:
        limits, loop = self._core.limits, asyncio.get_running_loop()
        report_at = loop.time() + limits.stranger_report_seconds
        while True:
            await asyncio.sleep(limits.checkpoint_seconds)
            try:
                if loop.time() >= report_at:
                    report_at += limits.stranger_report_seconds
                    await self._strangers.report()
                await sign_checkpoint(self._core)
            except Exception as failure:  # noqa: BLE001 - the ticker must live; the next tick tries again
                _log.error("checkpoint failed: %s", type(failure).__name__)

    def _push(self, message: p.Response) -> None:
        for connection in self._connections:
            connection.send(0, message)

    # --- connections ------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        try:
            _check_peer(writer)
            if len(self._connections) >= self._core.limits.connections:
                raise ProtocolFailure("too many connections to the guard")
            self._connections.add(connection)
            await self._converse(reader, connection)
        except (ProtocolFailure, OSError) as failure:
            _log.warning("a connection ended: %s", type(failure).__name__)
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        decoder = Decoder(p.Call)
        while data := await reader.read(_READ_BYTES):
            for call in decoder.feed(data):
                while len(connection.running) >= self._core.limits.calls_in_flight:
                    await asyncio.wait(connection.running, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.get_running_loop().create_task(self._answer(connection, call))
                for running in (connection.running, self._running):
                    running.add(task)
                    task.add_done_callback(running.discard)
            with contextlib.suppress(ConnectionError):
                await connection.writer.drain()

    async def _answer(self, connection: _Connection, call: p.Call | p.Answer) -> None:
        try:
            body = await self._handle(connection, call.body)
        except GuardRefused as refused:
            body = p.Refused(refused.reason, refused.entry, refused.decided_microseconds)
        except Exception as failure:  # noqa: BLE001 - closed by default: any fault is a no
            _log.error("%s failed: %s", type(call.body).__name__, type(failure).__name__)
            body = p.Refused(reason="unavailable")
        connection.send(call.id, body)

    async def _handle(self, connection: _Connection, body: Any) -> p.Response:
        handler = self._front_table.get(type(body))
        if handler is None and connection.operator is not None:
            handler = self._admin_table.get(type(body))
        if handler is None:
            raise GuardRefused("not_authenticated")
        return await handler(connection, body)

    # --- the table of handlers --------------------------------------------------------------------------

    def _fronts(self) -> dict[type, Handler]:
        async def hello(_: _Connection, __: p.Hello) -> p.Response:
            return tls_identity(self._core)

        async def ping(_: _Connection, __: p.Ping) -> p.Response:
            return p.Noted()

        def with_principal(method: Callable[[Actor, Any], Awaitable[p.Response]]) -> Handler:
            async def handler(connection: _Connection, request: Any) -> p.Response:
                return await method(self._actor(connection, request.principal), request)

            return handler

        async def commit(_: _Connection, r: p.Commit) -> p.Response:
            return await self._ingest.commit(r)

        async def open_(c: _Connection, r: p.Open) -> p.Response:
            return self._disclosures.open(self._actor(c, r.principal), r)

        async def disclosure_closed(_: _Connection, r: p.DisclosureClosed) -> p.Response:
            return await self._disclosures.closed(r)

        async def log_in(_: _Connection, r: p.LogIn) -> p.Response:
            return await self._accounts.log_in(r)

        async def step_up(_: _Connection, r: p.StepUp) -> p.Response:
            return await self._accounts.step_up(r)

        async def log_out(_: _Connection, r: p.LogOut) -> p.Response:
            answer = await self._accounts.log_out(r)
            self._disclosures.rights_changed()
            return answer

        async def who(_: _Connection, r: p.WhoAmI) -> p.Response:
            return self._accounts.who(r)

        return {
            p.Hello: hello,
            p.Ping: ping,
            p.CheckDevice: self._check_device,
            p.Refusal: self._refusal,
            p.Admit: with_principal(self._ingest.admit),
            p.Commit: commit,
            p.IngestClosed: with_principal(self._ingest.closed),
            p.Query: with_principal(self._queries.answer),
            p.Disclose: with_principal(self._disclosures.disclose),
            p.Open: open_,
            p.DisclosureClosed: disclosure_closed,
            p.LogIn: log_in,
            p.StepUp: step_up,
            p.LogOut: log_out,
            p.WhoAmI: who,
            p.AdminChallenge: self._challenge,
            p.AdminProof: self._prove_operator,
        }

    def _admins(self) -> dict[type, Handler]:
        a = self._administration

        def with_actor(method: Callable[[Actor, Any], Awaitable[p.Response]]) -> Handler:
            async def handler(connection: _Connection, request: Any) -> p.Response:
                return await method(self._operator(connection), request)

            return handler

        async def status(_: _Connection, __: p.GetStatus) -> p.Response:
            return await asyncio.to_thread(a.status)

        async def parked(_: _Connection, r: p.ParkedPage) -> p.Response:
            return await asyncio.to_thread(a.parked_page, r)

        async def stop(_: _Connection, __: p.Stop) -> p.Response:
            asyncio.get_running_loop().call_later(0.05, self.stop)
            return p.Noted()

        return {
            p.AddPerson: with_actor(a.add_person),
            p.SuspendPerson: with_actor(a.suspend_person),
            p.AddDevice: self._add_device,
            p.SuspendDevice: self._suspend_device,
            p.AddGrant: with_actor(self._rights.grant),
            p.RevokeGrant: with_actor(self._rights.revoke),
            p.Object: with_actor(self._rights.objection),
            p.AuditPage: with_actor(a.audit_page),
            p.ProveEntry: with_actor(a.prove),
            p.GetStatus: status,
            p.VerifyRequest: self._verify,
            p.ParkedPage: parked,
            p.Stop: stop,
        }

    # --- handlers with more to do than to pass on -------------------------------------------------------

    async def _add_device(self, connection: _Connection, request: p.AddDevice) -> p.Response:
        answer = await self._administration.add_device(self._operator(connection), request)
        self._push(tls_identity(self._core))
        return answer

    async def _suspend_device(self, connection: _Connection, request: p.SuspendDevice) -> p.Response:
        answer = await self._administration.suspend_device(self._operator(connection), request)
        self._push(tls_identity(self._core))
        return answer

    async def _verify(self, connection: _Connection, request: p.VerifyRequest) -> p.Response:
        actor = self._operator(connection)
        if request.part == "log":
            await sign_checkpoint(self._core)
        answer = await asyncio.to_thread(self._upkeep.verify, request)
        if answer.cursor < 0 or answer.differences:
            await self._upkeep.note(actor, request.part, answer)
        return answer

    async def _check_device(self, _: _Connection, request: p.CheckDevice) -> p.Response:
        core, device = self._core, request.device
        title = None if request.action == "http" else device.ae_title
        try:
            known = core.devices.identify(device.fingerprint, title, core.clock())
        except GuardRefused as refused:
            actor = DeviceActor(device.fingerprint, device.address, device.ae_title)
            listener = "https" if request.action == "http" else "dicom"
            event = AssociationRefused(actor, listener, "unregistered-or-wrong-ae-title")
            index = await core.committer.run(lambda tx: tx.append(core.entry(event)))
            raise GuardRefused(refused.reason, index) from refused
        may = [right for right in ("store", "query", "retrieve") if right in known.may]
        return p.DeviceKnown(name=known.name, may=may)

    async def _refusal(self, _: _Connection, request: p.Refusal) -> p.Response:
        reason = request.kind.replace("_", "-")
        actor = StrangerActor(request.address)
        event = AssociationRefused(actor, request.listener, reason, max(request.count, 1))
        await self._core.committer.run(lambda tx: tx.append(self._core.entry(event)))
        return p.Noted()

    async def _challenge(self, connection: _Connection, _: p.AdminChallenge) -> p.Response:
        connection.nonce = os.urandom(_NONCE_BYTES)
        return p.AdminNonce(nonce=connection.nonce, salt=self._provider.challenge_salt)

    async def _prove_operator(self, connection: _Connection, request: p.AdminProof) -> p.Response:
        nonce, connection.nonce = connection.nonce, b""
        due = hmac.digest(self._provider.operator_key, nonce, "sha256")
        if not nonce or not hmac.compare_digest(due, request.mac):
            raise GuardRefused("not_authenticated")
        connection.operator = p.Operator(name=request.name)
        return p.Noted()

    # --- who asks ---------------------------------------------------------------------------------------

    def _actor(self, connection: _Connection, principal: p.Principal) -> Actor:
        try:
            return self._core.actor(principal, operator=connection.operator is not None)
        except GuardRefused:
            self._strangers.note(principal)
            raise

    def _operator(self, connection: _Connection) -> Actor:
        if connection.operator is None:
            raise GuardRefused("not_authenticated")
        return self._core.actor(connection.operator, operator=True)


def _check_peer(writer: asyncio.StreamWriter) -> None:
    """Only our own user (SO_PEERCRED). Raises ProtocolFailure."""
    link = writer.get_extra_info("socket")
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    if user != os.geteuid():
        raise ProtocolFailure("a process of another user connected")
