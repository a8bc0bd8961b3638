"""The operator's connection: to the running guard, or to one opened here for the length of a command."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hmac
import re
from collections.abc import AsyncIterator
from pathlib import Path

from ribcage.cli import settings
from ribcage.cli.errors import UsageError
from ribcage.crypto.errors import WrongPassphrase
from ribcage.crypto.provider import operator_key
from ribcage.guard.client import GuardClient, Push
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.home import open_core
from ribcage.guard.place import socket_path
from ribcage.guard.protocol import AdminChallenge, AdminNonce, AdminProof, Noted
from ribcage.guard.server import GuardServer


@contextlib.asynccontextmanager
async def operator(home: Path, passphrase: bytes, push: Push | None = None) -> AsyncIterator[GuardClient]:
    """A proved administrative connection; `push` gets unsolicited messages. Raises UsageError: wrong passphrase."""
    try:
        client = await GuardClient.connect(socket_path(home), push)
    except GuardUnavailable:
        async with _own_guard(home, passphrase, push) as client:
            yield client
        return
    try:
        await prove(client, passphrase)
        yield client
    finally:
        await client.close()


async def prove(client: GuardClient, passphrase: bytes) -> None:
    """Prove the passphrase on this connection. Raises UsageError."""
    challenge = await client.call(AdminChallenge(), AdminNonce)
    key = await asyncio.to_thread(operator_key, passphrase, challenge.salt)
    mac = hmac.digest(key, challenge.nonce, "sha256")
    try:
        await client.call(AdminProof(name=login(), mac=mac), Noted)
    except GuardRefused as refused:
        raise UsageError("wrong passphrase") from refused


@contextlib.asynccontextmanager
async def _own_guard(home: Path, passphrase: bytes, push: Push | None) -> AsyncIterator[GuardClient]:
    """No server is running: be the guard for a moment."""
    try:
        limits = settings.load(home).guard_limits()
        core, provider = await asyncio.to_thread(open_core, home, passphrase, limits)
    except WrongPassphrase as wrong:
        raise UsageError("wrong passphrase") from wrong
    server, ready = GuardServer(core, provider), asyncio.Event()
    serving = asyncio.create_task(server.serve(socket_path(home), ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        await serving
    try:
        client = await GuardClient.connect(socket_path(home), push)
        await prove(client, passphrase)
        yield client
        await client.close()
    finally:
        server.stop()
        await serving


def login() -> str:
    """The operator's login name, as a label the log takes."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", getpass.getuser())[:64].strip("-._") or "operator"
