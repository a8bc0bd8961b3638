"""A guard in a process of its own that destroys a study: run under the recorder by `test_destruction_survives`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from helpers.guard_house import Clock, House, Officer, attributes, running
from helpers.patching import apply_patches
from ribcage.guard import protocol as p

DAYS_SECONDS = 8 * 86400.0
MINE, OTHER = b"destroy me " * 300, b"keep me " * 300
UID, KEPT = "1.2.3.1", "1.2.3.2"


def done(said: dict[str, str]) -> None:
    """A step was acknowledged: say so, go on when told to."""
    print(json.dumps(said), flush=True)
    sys.stdin.readline()


async def live(home: Path) -> None:
    """Two studies; one is asked for, approved and destroyed."""
    clock = Clock()
    async with running(home, clock=clock) as house:
        device = await _fill(house, clock)
        first = Officer("ann", await house.person("ann", "officer"), clock)
        second = Officer("ben", await house.person("ben", "administrator"), clock)
        done({"fingerprint": device.fingerprint.hex()})
        asked = await house.admin.call(
            p.AskDestruction(UID, "retention-end", first.approves()), p.DestructionItem
        )
        await house.admin.call(p.ApproveDestruction(asked.number, second.approves()), p.DestructionItem)
        done({})
        clock.ahead = DAYS_SECONDS
        await house.admin.call(p.RunDestructions(), p.DestructionItems)
        made = await house.admin.call(p.GetCertificate(asked.number), p.Certificate)
        done({"note": made.note.hex()})


async def _fill(house: House, clock: Clock) -> p.Device:
    device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
    await house.store(device, attributes(1), MINE)
    await house.store(device, attributes(2), OTHER)
    for study in (UID, KEPT):
        grant = p.AddGrant("device:ws-1", f"study:{study}", "full", valid_until=clock() + 9 * DAYS_SECONDS)
        await house.admin.call(grant, p.GrantAdded)
    return device


if __name__ == "__main__":
    apply_patches()
    asyncio.run(live(Path(sys.argv[1])))
