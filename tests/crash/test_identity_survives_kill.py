"""`kill -9` of the guard while it changes whose study it is: before or after, never between."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from helpers.guard_house import Clock, new_house, running
from helpers.ward import FIRST, SECOND, Ward
from ribcage.guard import protocol as p

TESTS = Path(__file__).resolve().parents[1]
PLACES = {"merge": ("intended", "rows-written", "keys-moved")}  # of `crash.identity_child`, before the commit
ASKS: dict[str, dict[str, object]] = {
    "merge": {"patient": FIRST, "into": SECOND},
    "move": {"into": SECOND, "studies": ["1.2.3.1"]},
    "split": {"into": "PID777777", "studies": ["1.2.3.3"]},
    "undo": {"undoes": 1},
    "correct": {"studies": ["1.2.3.1"], "patient_name": "Muster^Erika Maria"},
}


def without_times(state: tuple[object, ...]) -> tuple[object, ...]:
    """A ward's state without the moments of its changes."""
    seen, names, opened = state
    return (
        seen,
        names,
        tuple(
            msgspec.structs.replace(each, changed_at=0.0) if isinstance(each, p.CorrectedPatient) else each
            for each in opened  # type: ignore[attr-defined]  # a tuple
        ),
    )


class Case:
    """A ward on disk in which one change was asked for, its state before, and the request that does it."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind, self.clock = folder, kind, Clock()
        self.before: tuple[object, ...] = ()
        self.ward: Ward
        self.number = 1
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        async with new_house(self.folder, clock=self.clock) as house:
            self.ward = Ward(house, self.clock)
            await self.ward.fill()
            if self.kind == "undo":
                await self.ward.change("merge", patient=FIRST, into=SECOND)
            self.before = without_times(await self.ward.state())
            if self.kind != "correct":
                self.number = (await self.ward.ask(self.kind, **ASKS[self.kind])).number

    def request(self) -> p.AskIdentityChange | p.ApproveIdentityChange:
        if self.kind == "correct":
            return p.AskIdentityChange("correct", self.ward.first.approves(), **ASKS["correct"])  # type: ignore[arg-type]
        return p.ApproveIdentityChange(self.number, self.ward.second.approves())

    def killed_at(self, place: str) -> Path:
        """A copy of the home whose guard was killed there."""
        home = Path(shutil.copytree(self.folder / "home", self.folder / place / "home"))
        self.clock.ahead += 90  # a code of its own, which the child, half a minute behind, takes for a minute
        program = [sys.executable, "-m", "crash.identity_child", str(home), place, str(self.clock.ahead - 30)]
        child = subprocess.run(
            [*program, msgspec.json.encode(self.request()).hex()],
            env=dict(os.environ, PYTHONPATH=str(TESTS)),
            timeout=120,
            check=False,
        )
        assert child.returncode == -signal.SIGKILL
        return home

    async def look(self, home: Path) -> tuple[str, tuple[object, ...]]:
        """How the change stands after a start, and what everybody sees; nothing differs from the log."""
        async with running(home, clock=self.clock) as house:
            self.ward.house = house
            items = (await house.admin.call(p.IdentityChangePage(), p.IdentityChangeItems)).items
            state = without_times(await self.ward.state())
            assert await house.verify() == []
            return items[self.number - 1].state, state

    async def approve_again(self, home: Path) -> tuple[object, ...]:
        """What was cut off is approved anew."""
        async with running(home, clock=self.clock) as house:
            self.ward.house = house
            self.clock.ahead += 60
            item = await house.admin.call(
                p.ApproveIdentityChange(self.number, self.ward.second.approves()), p.IdentityChangeItem
            )
            assert item.state == "done"
            return without_times(await self.ward.state())


@pytest.mark.parametrize("kind", list(ASKS))
def test_a_change_of_identity_is_before_or_after_a_kill_never_between(tmp_path: Path, kind: str) -> None:
    case = Case(tmp_path, kind)
    for place in PLACES.get(kind, ("keys-moved",)):
        home = case.killed_at(place)
        assert asyncio.run(case.look(home)) == ("asked", case.before), f"killed when {place}"
    after = asyncio.run(case.approve_again(home))
    assert after != case.before
    assert asyncio.run(case.look(case.killed_at("committed"))) == ("done", after)
