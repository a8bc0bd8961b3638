"""Times of backup, incremental backup, check and restore: 10,000 studies of one small instance each.

The studies are made through the guard in this process, not over TLS. Everything lies on one disk, whose sync time is
printed beside the figures. `--studies N` takes another number, `--json` prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.backups import ribcage  # noqa: E402 - the tests' own harness
from helpers.guard_house import House, Officer, attributes, new_house, running  # noqa: E402 - as above
from ribcage.cli.settings import Settings, save  # noqa: E402 - as above
from ribcage.guard import protocol as p  # noqa: E402 - as above

INSTANCE_BYTES = 32_768
SECOND_SHARE = 100  # the incremental backup finds one in so many studies new
AT_ONCE = 64


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ribcage-bench-") as name:
        report = _measure(Path(name), options.studies)
    if options.json:
        print(json.dumps(report))
        return 0
    for key, value in report.items():
        print(f"{key:28} {value}")
    return 0


async def _store(house: House, device: p.Device, numbers: range) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            film = number.to_bytes(4, "big") * (INSTANCE_BYTES // 4)
            await house.store(device, attributes(number), film)

    await asyncio.gather(*map(one, numbers))


async def _fill(folder: Path, studies: int) -> tuple[p.Device, list[Officer]]:
    async with new_house(folder) as house:
        save(house.home, Settings(hospital="Bench"))
        device = await house.device("cr-1", "CR1", ["store"])
        await _store(house, device, range(studies))
        people = [Officer(name, await house.person(name, "officer"), time.time) for name in ("ann", "ben")]
        return device, people


async def _more(home: Path, device: p.Device, numbers: range) -> None:
    async with running(home) as house:
        await _store(house, device, numbers)


def _timed(*words: str | Path, persons: list[Officer] | None = None) -> float:
    started = time.perf_counter()
    done = ribcage(*words, persons=persons, timeout=3600)
    if done.returncode not in (0, 1) or "DIFFERENCE" in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return round(time.perf_counter() - started, 2)


def _measure(folder: Path, studies: int) -> dict[str, object]:
    started = time.perf_counter()
    device, people = asyncio.run(_fill(folder, studies))
    filled = round(time.perf_counter() - started, 1)
    home, data, keys = folder / "home", folder / "data", folder / "keys"
    first = _timed("backup", "--home", home, "--to", data)
    again = _timed("backup", "--home", home, "--to", data)
    asyncio.run(_more(home, device, range(studies, studies + studies // SECOND_SHARE)))
    incremental = _timed("backup", "--home", home, "--to", data)
    keys_seconds = _timed("backup", "--home", home, "--keys-to", keys)
    checked = _timed("backup", "check", "--home", home, data)
    words = (
        "restore",
        "--from",
        data,
        "--home",
        folder / "new",
        "--keys",
        home / "keys",
        "--reason",
        "bench",
    )
    restored = _timed(*words, persons=people)
    verified = _timed("verify", "--home", folder / "new")
    database = (home / "database" / "ribcage.db").stat().st_size
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "fsync_ms": _sync_milliseconds(folder),
        "studies": studies,
        "instance_bytes": INSTANCE_BYTES,
        "database_bytes": database,
        "fill_seconds": filled,
        "backup_seconds": first,
        "backup_nothing_new_seconds": again,
        "backup_1_percent_new_seconds": incremental,
        "keys_seconds": keys_seconds,
        "check_seconds": checked,
        "restore_seconds": restored,
        "verify_seconds": verified,
    }


def _sync_milliseconds(folder: Path) -> float:
    """Median of 20 small writes, each synced."""
    times = []
    with (folder / "sync").open("wb") as file:
        for _ in range(20):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return round(sorted(times)[10], 2)


if __name__ == "__main__":
    sys.exit(main())
