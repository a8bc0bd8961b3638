"""Who holds every key of the archive can make a log that agrees with itself; memory outside the home disagrees.

The control is the archive itself: its own `verify` finds nothing and its own status says nothing.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.guard_house import attributes, new_house, running
from helpers.log_forger import forge
from ribcage.evidence.checkpoint import Witness, add_signature, verify_checkpoint
from ribcage.evidence.errors import ConsistencyBroken
from ribcage.guard import protocol as p
from ribcage.oversight.log_export import export_log

TOOL = Path(__file__).parents[2] / "tools" / "verify_log.py"


class Scene:
    """A home whose log was cosigned three times, exported once, and of which a patient keeps one proof."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.notes: list[Path] = []
        asyncio.run(self._live())

    async def _live(self) -> None:
        witness: Witness | None = None
        async with new_house(self.folder) as house:
            device = await house.device("cr", "CR1", ["store"])
            await house.store(device, attributes(), b"film" * 100)
            people = [await house.person(name, "clinician") for name in ("anna", "bert")]
            self.persons = [added.person_id for added in people]
            for turn in range(4):
                await house.session("anna", people[0].password)
                await house.session("bert", people[1].password)
                known = 0 if witness is None else witness.size
                begun = await house.admin.call(p.BeginExport(known_size=known), p.ExportBegun)
                self.key = begun.verifier_key
                witness = witness or Witness("witness.example", b"w" * 32, self.key)
                if turn < 3:
                    line = witness.update(begun.checkpoint, begun.path, self.now())
                    self.notes.append(self.folder / f"note{turn}")
                    self.notes[-1].write_bytes(add_signature(begun.checkpoint, line))
            self.cosigned, self.witness_key = witness.size, witness.key.encode()
            exported = await export_log(house.admin, self.folder / "earlier", opened=False)
            self.size = exported.size
            entries = (await house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)).entries
        logins = [n for n, body in entries if '"login"' in body and n < self.cosigned]
        self.logins = [n for n in logins if n > int(entries[0][0]) + 4]

    @staticmethod
    def now() -> int:
        return int(time.time())

    async def _examine(self, folder: Path) -> None:
        async with running(folder / "home") as house:
            assert await house.verify() == []
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert status.findings == []
            await export_log(house.admin, folder / "log", opened=True)

    def after(self, folder: Path, change) -> Path:
        """A copy of the home, changed with all its keys; the archive notices nothing; its export."""
        shutil.copytree(self.home, folder / "home")
        forge(folder / "home", change)
        asyncio.run(self._examine(folder))
        return folder / "log"

    def check(self, log: Path, *more: str) -> tuple[int, dict]:
        """The auditor's program, with the archive stopped."""
        command = [sys.executable, "-I", str(TOOL), str(log), "--json", "--key", self.key, *more]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout or b"{}")

    def witnessed(self) -> list[str]:
        """What the auditor was given by the witness."""
        return [
            "--witness",
            self.witness_key,
            *(x for note in self.notes for x in ("--witnessed", str(note))),
        ]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp("scene"))


def kinds(report):
    return {one["kind"] for one in report["findings"]}


def rewritten(scene):
    """Bert's login becomes Anna's."""

    def change(bodies):
        at = scene.logins[-1]
        mine, yours = (each.hex().encode() for each in scene.persons)
        old = bodies[at]
        bodies[at] = old.replace(mine, yours) if mine in old else old.replace(yours, mine)
        assert bodies[at] != old
        return bodies

    return change, scene.logins[-1]


def dropped(scene):
    def change(bodies):
        del bodies[scene.logins[-1]]
        return bodies

    return change, scene.logins[-1]


def reordered(scene):
    def change(bodies):
        a, b = scene.logins[-2:]
        bodies[a], bodies[b] = bodies[b], bodies[a]
        return bodies

    return change, scene.logins[-1]


def back_dated(scene):
    def change(bodies):
        at = scene.logins[-1]
        entry = json.loads(bodies[at])
        old = entry["recorded"]
        bodies[at] = bodies[at].replace(old.encode(), f"{int(old[:4]) - 1}{old[4:]}".encode())
        return bodies

    return change, scene.logins[-1]


ATTACKS = {"rewritten": rewritten, "dropped": dropped, "reordered": reordered, "back-dated": back_dated}


def test_an_honest_log_is_clean(scene, tmp_path):
    code, report = scene.check(
        scene.after(tmp_path, list), *scene.witnessed(), "--earlier", str(scene.folder / "earlier")
    )
    assert (code, report["findings"]) == (0, [])
    assert f"cosigned up to {scene.cosigned} entries" in report["notes"][-1]


@pytest.mark.parametrize("name", ATTACKS)
def test_key_holding_attacker_is_found_outside_the_home(scene, tmp_path, name):
    change, at = ATTACKS[name](scene)
    log = scene.after(tmp_path, change)
    # Control: without memory from outside the forged log is in order (its times excepted).
    code, report = scene.check(log)
    assert kinds(report) <= {"back-dated"}
    assert ("back-dated" in kinds(report)) == (name == "back-dated")
    # The witness's checkpoints name the stretch, the earlier export the entry.
    code, report = scene.check(log, *scene.witnessed())
    stretch = [one for one in report["findings"] if one["kind"] == "changed"]
    assert code == 1
    assert [one["first"] <= at <= one["last"] for one in stretch] == [True]
    code, report = scene.check(log, "--earlier", str(scene.folder / "earlier"))
    expected = "rewritten" if name == "back-dated" else name
    assert code == 1
    assert any(one["kind"] == expected and one["first"] == at for one in report["findings"])


def test_a_new_entry_dated_before_the_witness_saw_the_log_is_named(scene, tmp_path):
    places = []

    def change(bodies):
        places.append(len(bodies))
        old = json.loads(bodies[-1])["recorded"]
        made = bodies[-1].replace(old.encode(), f"{int(old[:4]) - 1}{old[4:]}".encode())
        return [*bodies, made]

    log = scene.after(tmp_path, change)
    code, report = scene.check(log, *scene.witnessed())
    assert code == 1
    assert [(one["kind"], one["first"]) for one in report["findings"]] == [("back-dated", places[0])]


def test_a_cut_tail_is_found_down_to_the_newest_cosigned_entry_and_no_further(scene, tmp_path):
    """The bound that is stated: entries after the last cosignature can be cut unseen."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "shallow").mkdir()
    # Opening the home again adds entries; the export is compared at the size the attacker left.
    deep = scene.after(tmp_path / "deep", lambda bodies: bodies[: scene.cosigned - 3])
    code, report = scene.check(deep, *scene.witnessed())
    assert code == 1
    assert kinds(report) & {"cut", "changed"}
    shallow = scene.after(tmp_path / "shallow", lambda bodies: bodies[: scene.cosigned])
    code, report = scene.check(shallow, *scene.witnessed())
    assert (code, report["findings"]) == (0, [])
    # An export of before, or a proof that a patient keeps, reaches further than the witness.
    code, report = scene.check(shallow, "--earlier", str(scene.folder / "earlier"))
    assert code == 1


def test_an_export_is_a_memory_and_is_not_overwritten_by_another_history(scene, tmp_path):
    change, _ = rewritten(scene)
    shutil.copytree(scene.home, tmp_path / "home")
    shutil.copytree(scene.folder / "earlier", tmp_path / "log")
    before = (tmp_path / "log" / "checkpoint").read_bytes()
    forge(tmp_path / "home", change)

    async def go_on() -> None:
        async with running(tmp_path / "home") as house:
            with pytest.raises(ConsistencyBroken, match="evidence"):
                await export_log(house.admin, tmp_path / "log", opened=False)

    asyncio.run(go_on())
    assert (tmp_path / "log" / "checkpoint").read_bytes() == before


def test_two_cosigned_histories_are_a_fork(scene, tmp_path):
    """A witness that was fooled, or two of them: the notes themselves are the evidence."""
    change, _ = rewritten(scene)
    head = verify_checkpoint(scene.notes[-1].read_bytes(), scene.key)
    shutil.copytree(scene.home, tmp_path / "home")
    note = forge(tmp_path / "home", lambda bodies: change(bodies)[: head.size])
    other = Witness("witness.example", b"w" * 32, scene.key)
    (tmp_path / "other").write_bytes(add_signature(note, other.update(note, [], scene.now())))
    log = scene.folder / "earlier"
    code, report = scene.check(log, *scene.witnessed(), "--witnessed", str(tmp_path / "other"))
    assert code == 1
    assert "forked" in kinds(report)


@pytest.mark.parametrize("damage", ["checkpoint", "bundle", "tile", "cosignature"])
def test_damaged_bytes_are_refused_or_named(scene, tmp_path, damage):
    shutil.copytree(scene.folder / "earlier", tmp_path / "log")
    note = tmp_path / "note"
    note.write_bytes(scene.notes[-1].read_bytes())
    paths = {
        "checkpoint": tmp_path / "log" / "checkpoint",
        "bundle": next((tmp_path / "log" / "tile" / "entries").rglob("*.p/*")),
        "tile": next((tmp_path / "log" / "tile" / "0").rglob("*.p/*")),
        "cosignature": note,
    }
    data = bytearray(paths[damage].read_bytes())
    data[-5] ^= 1
    paths[damage].write_bytes(data)
    code, report = scene.check(tmp_path / "log", "--witness", scene.witness_key, "--witnessed", str(note))
    assert code == (1 if damage in ("bundle", "tile") else 2)
    if damage == "tile":
        assert kinds(report) == {"tile"}


def test_a_promise_that_came_with_an_answer_reaches_further_than_the_witness(tmp_path):
    """The disclosure's entry is cut away with all keys; nobody but the reader's promise knows better."""

    async def live() -> p.Disclosed:
        async with new_house(tmp_path) as house:
            reader = await house.device("ws", "WS1", ["store", "retrieve"])
            await house.store(reader, attributes(), b"film" * 100)
            await house.admin.call(p.AddGrant("device:ws", "study:1.2.3.1", "full"), p.GrantAdded)
            ask = p.Disclose(principal=reader, channel="dicomweb", study_instance_uid="1.2.3.1")
            answer = await house.front.call(ask, p.Disclosed)
            keys.append((await house.admin.call(p.BeginExport(known_size=0), p.ExportBegun)).verifier_key)
            return answer

    keys: list[str] = []
    answer = asyncio.run(live())
    head = verify_checkpoint(answer.promise, keys[0])
    assert head.size == answer.log_index + 1
    (tmp_path / "promise").write_text(base64.b64encode(answer.promise).decode())
    forge(tmp_path / "home", lambda bodies: bodies[: answer.log_index])

    async def export() -> None:
        async with running(tmp_path / "home") as house:
            assert await house.verify() == []
            await export_log(house.admin, tmp_path / "log", opened=False)

    asyncio.run(export())
    command = [sys.executable, "-I", str(TOOL), str(tmp_path / "log"), "--key", keys[0]]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    with_promise = subprocess.run(
        [*command, "--promise", str(tmp_path / "promise")], capture_output=True, timeout=60, check=False
    )
    assert with_promise.returncode == 1
    assert b"an answer promised" in with_promise.stdout
