"""What a decision costs inside the guard, and what evidence costs: no peer does either.

`decision.check`: the contract's verdict with 100,000 patients' grants loaded. `decision.receipt`: a disclosure's
decision and its entry, asked over the guard's socket, on a disk that is memory (no fsync). `audit.append`: durable
entries a second, 512 waiting at once, on this disk. `audit.proof`: one inclusion proof, checked, of 10 million
leaves. `--quick` loads a twentieth.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import harness
import sqlalchemy as sa
from harness import Figure, Run, alone

from helpers.guard_house import PASSPHRASE, House, attributes, new_house
from ribcage.database.schema import log_leaf, log_tile
from ribcage.evidence import merkle, tiles
from ribcage.evidence.audit_event import ApplicationActivity, SystemActor
from ribcage.guard import protocol as p
from ribcage.guard.core import Core
from ribcage.guard.home import open_core
from ribcage.guard.limits import GuardLimits
from ribcage.guard.log import AuditLog
from ribcage.ledger import calls

PATIENTS, LEAVES = 100_000, 10_000_000
_MEMORY = Path("/dev/shm")
_AT_ONCE = 512
_LIMITS = GuardLimits(checkpoint_seconds=3600)  # the ticker would measure itself


def measure(run: Run) -> list[Figure]:
    """All figures of the guard alone."""
    return [
        *asyncio.run(_decisions(run, PATIENTS // 20 if run.quick else PATIENTS)),
        asyncio.run(_appends(run)),
        asyncio.run(_proofs(run, LEAVES // 20 if run.quick else LEAVES)),
    ]


def _core(house: House) -> Core:
    return house.server._core


async def _decisions(run: Run, patients: int) -> list[Figure]:
    where = _MEMORY if _MEMORY.is_dir() else run.folder
    with tempfile.TemporaryDirectory(prefix="ribcage-bench-", dir=where) as name:
        async with new_house(Path(name), _LIMITS) as house:
            device = await house.device("cr1", "CR1", ["store"])
            station = await house.device("ws1", "WS1", ["retrieve"])
            await house.store(device, attributes(1), bytes(1000))
            grant = p.AddGrant(subject="device:ws1", resource="study:1.2.3.1", view="full")
            await house.admin.call(grant, p.GrantAdded)
            _load(run, _core(house), patients)
            return [_checks(run, _core(house), patients), await _receipts(run, house, station)]


def _load(run: Run, core: Core, patients: int) -> None:
    """One grant for each patient, straight into the contract."""
    now = core.clock()
    for number in range(patients):
        if number % 5000 == 0:
            run.say(f"grants: {number} of {patients}")
        call = calls.add_grant(
            subject=_name("person", number % 1000),
            resource=_name("patient", number),
            purpose=calls.Purpose.TREAT,
            view=calls.View.FULL,
            valid_from=int(now) - 10,
            valid_until=int(now) + 86_400,
        )
        core.ledger.apply(core.ledger.prepare(call, now))


def _name(kind: str, number: int) -> bytes:
    return hashlib.sha256(f"{kind}{number}".encode()).digest()


def _checks(run: Run, core: Core, patients: int) -> Figure:
    run.say("decisions")
    rounds = []
    for each in range(run.rounds(9)):
        times = []
        for number in range(each, patients, max(patients // 2000, 1)):
            resources = (_name("study", number), _name("patient", number), _name("department", 1))
            start = time.perf_counter()
            verdict = core.ledger.check(
                _name("person", number % 1000), resources, calls.Purpose.TREAT, core.clock()
            )
            times.append(time.perf_counter() - start)
            if verdict.view != calls.View.FULL:
                raise SystemExit(f"expected the full view, got {verdict}")
        rounds.append(statistics.median(times) * 1e6)
    return alone("decision.check", "us", rounds, 50, 20, {"patients": float(patients)})


async def _receipts(run: Run, house: House, station: p.Device) -> Figure:
    run.say("receipts")
    rounds = []
    request = p.Disclose(station, "dimse", "1.2.3.1", want="full")
    for _ in range(run.rounds(9)):
        times = []
        for _ in range(200):
            start = time.perf_counter()
            seen = await house.front.call(request, p.Disclosed)
            times.append(time.perf_counter() - start)
            await house.front.call(p.DisclosureClosed(seen.receipt, 0, 0, "complete"), p.Noted)
        rounds.append(statistics.median(times) * 1e3)
    return alone("decision.receipt", "ms", rounds, 1.0, 0.5)


async def _appends(run: Run) -> Figure:
    run.say("entries")
    folder = run.folder / "appends"
    folder.mkdir()
    async with new_house(folder, _LIMITS) as house:
        core, rounds = _core(house), []
        event = ApplicationActivity(SystemActor("guard"), "start", "bench")
        for _ in range(run.rounds(9)):
            count = 2000 if run.quick else 10_000
            left = iter(range(count))

            async def writer(left=left) -> None:  # type: ignore[no-untyped-def]
                for _ in left:
                    await core.note(event)

            start = time.perf_counter()
            await asyncio.gather(*(writer() for _ in range(_AT_ONCE)))
            rounds.append(count / (time.perf_counter() - start))
    return alone("audit.append", "1/s", rounds, 5000, 20_000)


async def _proofs(run: Run, leaves: int) -> Figure:
    folder = run.folder / "proofs"
    folder.mkdir()
    async with new_house(folder, _LIMITS):
        pass  # a home; its guard would go on with the log
    core, _ = open_core(folder / "home", PASSPHRASE, _LIMITS)
    try:
        _fill(run, core, leaves)
        log = AuditLog(core.engine, b"k" * 32, core.log.epochs)
        if log.size != leaves:
            raise SystemExit(f"expected a tree of {leaves} leaves, got {log.size}")
        run.say("proofs")
        rounds = []
        for each in range(run.rounds(9)):
            times = []
            for number in range(each, leaves, leaves // 50):
                start = time.perf_counter()
                with core.engine.connect() as connection:
                    log.prove(connection, number, leaves)
                times.append(time.perf_counter() - start)
            rounds.append(statistics.median(times) * 1e3)
        return alone("audit.proof", "ms", rounds, 5.0, 1.0, {"leaves": float(leaves)})
    finally:
        core.close()


def _fill(run: Run, core: Core, leaves: int) -> None:
    """The tree of so many made-up leaves, as the committer would have left it."""
    builder, step = tiles.TileBuilder(), 50_000
    with core.engine.begin() as connection:
        for table in (log_leaf, log_tile):
            connection.execute(sa.delete(table))
        connection.exec_driver_sql("DELETE FROM checkpoint")
    for first in range(0, leaves, step):
        if first % 500_000 == 0:
            run.say(f"leaves: {first} of {leaves}")
        made = [
            hashlib.sha256(number.to_bytes(8, "big")).digest()
            for number in range(first, min(first + step, leaves))
        ]
        for data in made:
            builder.append(merkle.leaf_hash(data))
        rows = [(first + index, data, b"") for index, data in enumerate(made)]
        above = [tile for tile in builder.partials() if tile[0] > 0]
        with core.engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO log_leaf (number, leaf_data, sealed) VALUES (?, ?, ?)", rows
            )
            connection.exec_driver_sql(
                "INSERT OR REPLACE INTO log_tile (level, number, hashes) VALUES (?, ?, ?)",
                [*builder.take_full(), *above],
            )


if __name__ == "__main__":
    sys.exit(harness.script(__doc__ or "", measure))
