"""The guard's socket: frames in, handlers, frames out.

Rules, in order:
1. Only processes of our own user connect (SO_PEERCRED), on a socket in a folder of mode 0700.
2. A connection starts as a front. Administrative calls and the Operator principal need a proof of the passphrase
   on this connection: HMAC-SHA256(operator key, nonce).
3. Every handler is in `guard.handlers`; a request without one is refused (a test lists them).
4. A fault inside a handler is 'unavailable' for the asker; only the fault's class reaches our own log.
5. A call that has begun is finished, even when its connection is gone: memory and database stay the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ribcage import __version__
from ribcage.crypto.provider import FileKeyProvider
from ribcage.evidence.audit_event import ApplicationActivity, ClockChange, ClockChanged, SystemActor
from ribcage.guard import protocol as p
from ribcage.guard.admin import sign_checkpoint
from ribcage.guard.connection import Connection, check_peer
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused, ProtocolFailure
from ribcage.guard.expiry import Expiry
from ribcage.guard.frames import Decoder
from ribcage.guard.handlers import admin_table, front_table
from ribcage.guard.people import SessionMisused
from ribcage.guard.rooms import build_rooms

_log = logging.getLogger("ribcage.guard")
_READ_BYTES = 256 * 1024
_FINISH_SECONDS = 5.0
_SYSTEM = SystemActor("guard")


class GuardServer:
    """Serves one home. Build, `start`, `wait`."""

    def __init__(self, core: Core, provider: FileKeyProvider) -> None:
        self._core = core
        self._connections: set[Connection] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._told = ""  # the last step of the clock that the log knows
        self._rooms = build_rooms(core, provider, self._push, self.stop)
        self._expiry = Expiry(core)
        self._front_table = front_table(self._rooms)
        self._admin_table = admin_table(self._rooms)

    # --- life -------------------------------------------------------------------------------------------

    async def serve(self, path: Path, ready: Callable[[], None]) -> None:
        """Listen on `path` until `Stop` or cancellation; then finish, sign and close."""
        core = self._core
        event = ApplicationActivity(_SYSTEM, "start", __version__, core.witness.words)
        core.witness.start(await core.note(event))
        await sign_checkpoint(core)
        await self._rooms.witness_link.step()  # so that whoever connects finds it decided
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._accept, str(path), backlog=64)
        finally:
            os.umask(mask)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._tick()), loop.create_task(self._rooms.witness_link.run())]
        ready()
        try:
            await self._stopping.wait()
        finally:
            server.close()
            for task in tasks:
                task.cancel()
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
        await self._rooms.strangers.report()
        event = ApplicationActivity(_SYSTEM, "stop", __version__)
        await core.note(event)
        await sign_checkpoint(core)
        await self._rooms.witness_link.last()
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
                    await self._rooms.strangers.report()
                await self._look()
                await self._rooms.glass.hand_over()
                await self._rooms.care.tick()
                self._rooms.patient_list.tick()
                self._expiry.tick()
                await self._rooms.patient_list.look_through()
                await sign_checkpoint(self._core)
                await self._rooms.destroyer.tick()
            except Exception as failure:  # noqa: BLE001 - the ticker must live; the next tick tries again
                _log.error("upkeep failed: %s", type(failure).__name__)

    async def _look(self) -> None:
        """Clock and disk; a step of the clock is an entry, and cuts what is live."""
        core = self._core
        core.disk.look()
        if core.clock_watch.look() or core.clock_watch.stepped != self._told:
            watch = core.clock_watch
            word: ClockChange = f"stepped-{watch.stepped}" if watch.stepped else "restored"  # type: ignore[assignment]  # one of the literals
            event = ClockChanged(_SYSTEM, word, int(watch.off_seconds * 1000))
            self._rooms.disclosures.rights_changed()
            await core.note(event)
            self._told = watch.stepped

    def _push(self, message: p.Response) -> None:
        for connection in self._connections:
            connection.send(0, message)

    # --- connections ------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        try:
            check_peer(writer)
            if len(self._connections) >= self._core.limits.connections:
                raise ProtocolFailure("too many connections to the guard")
            self._connections.add(connection)
            await self._converse(reader, connection)
        except (ProtocolFailure, OSError) as failure:
            _log.warning("a connection ended: %s", type(failure).__name__)
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, connection: Connection) -> None:
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

    async def _answer(self, connection: Connection, call: p.Call | p.Answer) -> None:
        try:
            body = await self._handle(connection, call.body)
        except GuardRefused as refused:
            body = p.Refused(
                refused.reason, refused.entry, refused.decided_microseconds, refused.retry_seconds
            )
        except Exception as failure:  # noqa: BLE001 - closed by default: any fault is a no
            _log.error("%s failed: %s", type(call.body).__name__, type(failure).__name__)
            body = p.Refused(reason="unavailable")
        self._rooms.observation.count(call.body, body)
        connection.send(call.id, body)

    async def _handle(self, connection: Connection, body: Any) -> p.Response:
        handler = self._front_table.get(type(body))
        if handler is None and connection.operator is not None:
            handler = self._admin_table.get(type(body))
        if handler is None:
            raise GuardRefused("not_authenticated")
        try:
            return await handler(connection, body)
        except SessionMisused as misuse:
            index = await self._rooms.own_sessions.misused(misuse)
            raise GuardRefused(misuse.reason, index) from misuse
