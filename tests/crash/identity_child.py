"""A guard in a process of its own that changes an identity and is killed (SIGKILL) at a named place.

Arguments: home, place, seconds that the clock is ahead, request as JSON in hex.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from helpers.guard_house import Clock, running
from ribcage.guard import protocol as p
from ribcage.guard.identities import Identities
from ribcage.guard.identity_changes import IdentityChanges
from ribcage.guard.keyring import Keyring


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def plant(place: str) -> None:
    """End the process where `place` says."""
    begin = IdentityChanges._execute

    async def execute(*given: Any) -> Any:
        _PLACES[place]()
        return await begin(*given)

    IdentityChanges._execute = execute  # type: ignore[method-assign]  # the plant


def _intended() -> None:
    """What was approved is durable, nothing has moved."""
    Identities.on_their_way = lambda *_: die()  # type: ignore[method-assign]  # the plant


def _keys_moved() -> None:
    """The key store has committed, the database has not."""
    strict = Keyring.rebind_all

    def rebind_all(self: Keyring, *given: Any) -> None:
        strict(self, *given)
        die()

    Keyring.rebind_all = rebind_all  # type: ignore[method-assign]  # the plant


def _rows_written() -> None:
    """All rows are written and not committed."""
    strict = IdentityChanges._write

    def write(*given: Any) -> None:
        strict(*given)
        die()

    IdentityChanges._write = write  # type: ignore[assignment,method-assign]  # the plant


def _committed() -> None:
    """The rows are committed, nobody was answered."""
    Identities.reload = lambda *_: die()  # type: ignore[method-assign]  # the plant


_PLACES = {
    "intended": _intended,
    "keys-moved": _keys_moved,
    "rows-written": _rows_written,
    "committed": _committed,
}


async def work(home: Path, ahead: float, request: p.Request) -> None:
    clock = Clock()
    clock.ahead = ahead
    async with running(home, clock=clock) as house:
        await house.admin.call(request, p.IdentityChangeItem)


if __name__ == "__main__":
    folder, where, seconds, encoded = sys.argv[1:]
    plant(where)
    asked = msgspec.json.decode(bytes.fromhex(encoded), type=p.AskIdentityChange | p.ApproveIdentityChange)
    asyncio.run(work(Path(folder), float(seconds), asked))
