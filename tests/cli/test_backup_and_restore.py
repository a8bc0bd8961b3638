"""Backups that lie, are in the wrong place or come back to the wrong hands; and restores that were interrupted."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.backups import Said, in_process
from helpers.guard_house import PASSPHRASE, House, Officer, at_database, attributes, new_house, running
from helpers.witness_near import new_witness, until
from helpers.witness_near import state as state_of
from ribcage.cli import restore as restore_module
from ribcage.cli.settings import Settings, save
from ribcage.crypto.provider import FileKeyProvider
from ribcage.crypto.recovery import RecoveryKey, new_pair
from ribcage.crypto.shares import split
from ribcage.database.schema import session
from ribcage.guard import approvals as approvals_module
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.guard.restoration import Restoration
from ribcage.storage import backup as backup_module
from ribcage.storage import backup_check

QUICK = GuardLimits(checkpoint_seconds=0.05, witness_seconds=0.05, witness_retry_seconds=0.05)
FILMS = {1: b"one " * 500, 2: b"two " * 700, 3: b"three " * 300}


@dataclass
class Place:
    """A home with three films and two officers, its backup, and what changed since: one grant revoked, one person
    suspended, one film stored."""

    home: Path
    data: Path
    keys: Path
    officers: dict[str, Officer]
    device: p.Device
    grants: dict[int, int]

    def restore(self, to: Path, *more: str | Path, by: tuple[str, str] = ("ann", "ben")) -> Said:
        words = ["restore", "--from", self.data, "--home", to, "--reason", "disk-failed"]
        if "--keys" not in more:
            words += ["--keys", self.home / "keys"]
        return in_process(*words, *more, persons=[self.officers[each] for each in by])


async def fill(house: House, folder: Path) -> Place:
    device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
    for number, film in FILMS.items():
        await house.store(device, attributes(number), film)
    grants = {}
    for number in FILMS:
        grant = p.AddGrant("device:ws-1", f"study:1.2.3.{number}", "full")
        grants[number] = (await house.admin.call(grant, p.GrantAdded)).grant_id
    officers = {}
    for name, role in (
        ("ann", "officer"),
        ("ben", "administrator"),
        ("cat", "officer"),
        ("dan", "clinician"),
        ("eve", "officer"),
        ("fay", "officer"),
    ):
        officers[name] = Officer(name, await house.person(name, role), time.time)
    await house.session("dan", officers["dan"].password)
    return Place(house.home, folder / "data", folder / "keys", officers, device, grants)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Made once; each test works on a copy."""
    folder = tmp_path_factory.mktemp("backups")

    async def before() -> Place:
        async with new_house(folder) as house:
            save(house.home, Settings(hospital="Test"))
            return await fill(house, folder)

    place = asyncio.run(before())
    made = in_process("backup", "--home", place.home, "--to", place.data, "--keys-to", place.keys)
    assert made.returncode == 1, made.stderr  # all on one disk here, and it says so
    assert "3 objects" in made.stdout
    assert "3 new" in made.stdout

    async def after() -> None:
        async with running(place.home) as house:
            await house.admin.call(p.RevokeGrant(place.grants[2]), p.Noted)
            await house.admin.call(p.SuspendPerson("cat", True), p.Noted)

    asyncio.run(after())
    return place


@pytest.fixture
def place(kept: Place, tmp_path: Path) -> Iterator[Place]:
    for folder in (kept.home, kept.data, kept.keys):
        shutil.copytree(folder, tmp_path / folder.name)
    home, data, keys = (tmp_path / each.name for each in (kept.home, kept.data, kept.keys))
    yield Place(home, data, keys, kept.officers, kept.device, kept.grants)


def fresh(kept: Place) -> None:
    """Codes are used up in a restored home alone: each home starts with the ones of the backup."""
    for each in kept.officers.values():
        each._last = 0


@pytest.fixture(autouse=True)
def _codes(kept: Place) -> None:
    fresh(kept)


async def sees(house: House, device: p.Device, number: int) -> str:
    asked = p.Disclose(principal=device, channel="dimse", study_instance_uid=f"1.2.3.{number}")
    try:
        await house.front.call(asked, p.Disclosed)
    except GuardRefused as no:
        return no.reason
    return "seen"


def state(home: Path, place: Place) -> dict[int, str]:
    """What the workstation may see in a home; which must be whole."""

    async def run() -> dict[int, str]:
        async with running(home) as house:
            assert await house.verify() == []
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert status.findings == []
            return {number: await sees(house, place.device, number) for number in FILMS}

    return asyncio.run(run())


TODAY = {1: "seen", 2: "not_permitted", 3: "seen"}


# --- the way back ---------------------------------------------------------------------------------------


def test_a_restore_has_todays_rights_and_no_sessions(place: Place, tmp_path: Path) -> None:
    done = place.restore(tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert "2 changes of rights made after the backup are in force again" in done.stdout
    counts: list[int] = []
    at_database(
        tmp_path / "new",
        lambda c: counts.append(c.execute(sa.select(sa.func.count()).select_from(session)).scalar()),
    )
    assert counts == [0]
    assert state(tmp_path / "new", place) == TODAY
    assert state(tmp_path / "new", place) == TODAY  # and after another start
    assert not list((tmp_path / "new").glob("restor*"))


def test_a_restored_home_is_backed_up_and_restored_again(place: Place, tmp_path: Path) -> None:
    """Epoch 3 goes on from epoch 2; then epoch 4 from epoch 1, whose backup is older than both."""
    assert place.restore(tmp_path / "second").returncode == 0
    made = in_process("backup", "--home", tmp_path / "second", "--to", place.data)
    assert made.returncode == 1, made.stderr
    assert "0 new" in made.stdout
    third = place.restore(tmp_path / "third", "--keys", tmp_path / "second" / "keys")
    assert third.returncode == 0, third.stderr
    assert "epoch 3" in third.stdout
    more = ("--keys", tmp_path / "third" / "keys", "--generation", "1")
    fourth = place.restore(tmp_path / "fourth", *more, by=("eve", "fay"))
    assert fourth.returncode == 0, fourth.stderr
    assert "epoch 4" in fourth.stdout
    assert state(tmp_path / "fourth", place) == TODAY


def test_a_newer_generation_copies_only_what_is_new(place: Place) -> None:
    async def store() -> None:
        async with running(place.home) as house:
            await house.store(place.device, attributes(4), b"four " * 100)

    asyncio.run(store())
    made = in_process("backup", "--home", place.home, "--to", place.data)
    assert "4 objects" in made.stdout
    assert " 1 new" in made.stdout
    assert (place.data / "generations" / "000002" / "manifest.note").is_file()
    assert in_process("backup", "check", "--home", place.home, place.data).returncode == 0
    made = in_process("backup", "--home", place.home, "--to", place.data, "--keep", "1")
    assert [each.name for each in (place.data / "generations").iterdir()] == ["000003"]
    assert len(list((place.data / "objects").glob("*/*"))) == 4


def test_a_backup_that_was_cut_short_goes_on(place: Place) -> None:
    """A half generation is no backup; what was copied of it counts."""
    part = place.data / "generations" / "000002.part"
    part.mkdir()
    (part / "ribcage.db").write_bytes(b"half")
    shutil.rmtree(place.data / "generations" / "000001")
    stray = next((place.data / "objects").glob("*/*"))
    stray.chmod(0o600)
    stray.write_bytes(stray.read_bytes()[:-1] + b"!")  # half written by some other hand
    made = in_process("backup", "--home", place.home, "--to", place.data)
    assert " 1 new" in made.stdout, made.stderr
    assert not part.exists()
    assert in_process("backup", "check", "--home", place.home, place.data).returncode == 0


STEPS: list[tuple[object, str]] = [
    (restore_module, "copy_back"),
    (restore_module, "note_files_back"),
    (restore_module, "put_back_rights"),
    (Restoration, "suspend_again"),
    (Restoration, "approve"),
    (Restoration, "apply"),
    (Restoration, "fork_statement"),
    (restore_module, "finish_home"),
]


class Cut(Exception):
    """The machine went away."""


CUTS = [(*each, "after") for each in STEPS] + [(*STEPS[0], "before"), (*STEPS[-1], "before")]


@pytest.mark.parametrize(("owner", "step", "when"), CUTS, ids=[f"{when} {step}" for _, step, when in CUTS])
def test_an_interrupted_restore_serves_nothing_and_is_repeated(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, step: str, when: str
) -> None:
    whole: Callable[..., object] = getattr(owner, step)

    async def cut_async(*given: object, **named: object) -> None:
        if when == "after":
            await whole(*given, **named)  # type: ignore[misc]
        raise Cut

    def cut(*given: object, **named: object) -> None:
        if when == "after":
            whole(*given, **named)
        raise Cut

    monkeypatch.setattr(owner, step, cut_async if asyncio.iscoroutinefunction(whole) else cut)
    with pytest.raises(Cut):
        place.restore(tmp_path / "new")
    monkeypatch.undo()
    if (step, when) != ("finish_home", "after"):
        closed = in_process("status", "--home", tmp_path / "new")
        assert closed.returncode == 2
        again = place.restore(tmp_path / "new")
        assert again.returncode == 0, again.stderr
    assert state(tmp_path / "new", place) == TODAY
    entries = entries_of(tmp_path / "new")
    assert sum('"home-restored"' in body for body in entries) == 1


def entries_of(home: Path) -> list[str]:
    async def run() -> list[str]:
        async with running(home) as house:
            answer = await house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)
            return [body for _, body in answer.entries]

    return asyncio.run(run())


# --- two persons ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (("ann", "ann"), "not permitted"),
        (("ann", "cat"), "wrong"),  # suspended after the backup was made
        (("ann", "dan"), "not permitted"),  # a clinician
    ],
)
def test_one_person_a_suspended_one_and_a_wrong_role_restore_nothing(
    place: Place, tmp_path: Path, by: tuple[str, str], said: str
) -> None:
    done = place.restore(tmp_path / "new", by=by)
    assert done.returncode == 2
    assert said in done.stderr
    assert in_process("status", "--home", tmp_path / "new").returncode == 2


def test_without_the_second_persons_check_one_is_enough(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: the same person twice."""
    verify = approvals_module.Approvals.verify

    async def nobody_else(
        self: approvals_module.Approvals, by: p.Approver, not_also: bytes | None = None
    ) -> object:
        return await verify(self, by)

    monkeypatch.setattr(approvals_module.Approvals, "verify", nobody_else)
    monkeypatch.setattr(
        Restoration, "fork_statement", lambda *_: "none"
    )  # it wants two different persons, too
    assert place.restore(tmp_path / "new", by=("ann", "ann")).returncode == 0


def test_a_used_code_restores_nothing(place: Place, tmp_path: Path) -> None:
    assert place.restore(tmp_path / "new", by=("ann", "dan")).returncode == 2
    fresh(place)
    done = place.restore(tmp_path / "new")
    assert done.returncode == 2
    assert "used already" in done.stderr


# --- backups that lie -----------------------------------------------------------------------------------


def flip(path: Path) -> None:
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def generation(place: Place) -> Path:
    return place.data / "generations" / "000001"


TAMPERED: dict[str, Callable[[Place], None]] = {
    "manifest": lambda place: flip(generation(place) / "manifest.note"),
    "database": lambda place: flip(generation(place) / "ribcage.db"),
    "settings": lambda place: flip(generation(place) / "settings.toml"),
    "object": lambda place: flip(next((place.data / "objects").glob("*/*"))),
    "object gone": lambda place: next((place.data / "objects").glob("*/*")).unlink(),
    "list cut": lambda place: cut_list(generation(place) / "objects.txt"),
}


def cut_list(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_backup_is_named_by_check_and_not_restored(place: Place, tmp_path: Path, what: str) -> None:
    TAMPERED[what](place)
    checked = in_process("backup", "check", "--home", place.home, place.data)
    assert checked.returncode == 2
    assert "Traceback" not in checked.stderr
    done = place.restore(tmp_path / "new")
    assert done.returncode == 2
    assert in_process("status", "--home", tmp_path / "new").returncode == 2


def test_without_comparing_hashes_a_changed_object_comes_back(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control; `verify` names it afterwards, because objects are sealed as well."""
    TAMPERED["object"](place)
    monkeypatch.setattr(backup_check, "_same", lambda *_: None)
    assert place.restore(tmp_path / "new").returncode == 0

    async def differences() -> list[p.Difference]:
        async with running(tmp_path / "new") as house:
            return await house.verify()

    assert [each.part for each in asyncio.run(differences())] == ["objects"]


def test_a_backup_check_leaves_nothing_behind(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = contents(place.home), contents(place.data)
    done = in_process("backup", "check", "--home", place.home, place.data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 newer changes of rights" in done.stdout
    assert "3 objects opened" in done.stdout
    assert list(scratch.iterdir()) == []
    assert (contents(place.home), contents(place.data)) == before
    TAMPERED["object"](place)
    assert in_process("backup", "check", "--home", place.home, place.data).returncode == 2
    assert list(scratch.iterdir()) == []


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal", ".lock"))
    }


# --- wrong places, wrong keys ---------------------------------------------------------------------------


def test_keys_and_data_are_never_put_in_one_place(place: Place, tmp_path: Path) -> None:
    inside, around = place.data / "keys", tmp_path
    for words in (
        ("--keys-to", place.data),
        ("--keys-to", inside),
        ("--keys-to", around),
        ("--to", place.keys / "data"),
        ("--to", place.home / "data"),
        ("--keys-to", place.home / "keys" / "copies"),
        ("--to", tmp_path / "x", "--keys-to", tmp_path / "x" / "y"),
    ):
        done = in_process("backup", "--home", place.home, *words)
        assert done.returncode == 2, (words, done.stdout)
    (place.home / "backups.json").unlink()
    assert in_process("backup", "--home", place.home, "--keys-to", place.data / "deep").returncode == 2
    assert not any("key" in each.name for each in place.data.rglob("*"))


def test_no_key_and_no_provider_is_in_a_backup_of_the_data(place: Place) -> None:
    names = {each.name for each in place.data.rglob("*") if each.is_file() and each.suffix != ".rbc"}
    assert names == {
        "ribcage-backup.json",
        "lock",
        "ribcage.db",
        "home.json",
        "settings.toml",
        "objects.txt",
        "manifest.note",
    }
    assert {each.name for each in place.keys.iterdir() if each.suffix != ".db"} == {
        "ribcage-keys.json",
        "lock",
    }
    everything = b"".join(each.read_bytes() for each in place.keys.iterdir())
    provider = json.loads((place.home / "keys" / "provider.json").read_text())
    assert provider["check"].encode() not in everything


def test_the_backup_and_keys_of_another_hospital_fit_nothing(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"

    async def run() -> None:
        async with new_house(other) as house:
            pass
        facts = json.loads((house.home / "home.json").read_text())
        assert facts["hospital"]

    asyncio.run(run())
    facts = json.loads((other / "home" / "home.json").read_text())
    (other / "home" / "home.json").write_text(json.dumps(facts | {"hospital": "ab" * 16}))
    wrong = place.restore(tmp_path / "new", "--keys", other / "home" / "keys")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    marker = place.data / "ribcage-backup.json"
    marker.write_text(json.dumps({"format": 1, "hospital": "ab" * 16}))
    made = in_process("backup", "--home", place.home, "--to", place.data)
    assert made.returncode == 2
    assert "another hospital" in made.stderr


def test_a_wrong_passphrase_restores_nothing(place: Place, tmp_path: Path) -> None:
    words = ["restore", "--from", place.data, "--home", tmp_path / "new", "--keys", place.home / "keys"]
    done = in_process(*words, "--reason", "x", passphrase=b"a wrong passphrase")
    assert done.returncode == 2
    assert "wrong passphrase" in done.stderr


def test_shares_restore_where_home_and_passphrase_are_lost(place: Place, tmp_path: Path) -> None:
    private, public = new_pair()
    provider = FileKeyProvider.open(place.home / "keys" / "provider.json", PASSPHRASE)
    provider.set_recovery(PASSPHRASE, RecoveryKey(public, 2, 3, 0))
    given = []
    for number, share in enumerate(split(private, 2, 3)[1:]):
        (tmp_path / f"share-{number}").write_text(share)
        given += ["--share-file", tmp_path / f"share-{number}"]
    one = place.restore(tmp_path / "new", *given[:2])
    assert "expected 2 shares, got 1" in one.stderr
    done = place.restore(tmp_path / "new", *given)
    assert done.returncode == 0, done.stderr
    assert "recovery use" in done.stdout
    (tmp_path / "passphrase").write_bytes(b"a new passphrase")
    with (tmp_path / "passphrase").open("rb") as new:
        words = ["recovery", "use", "--home", tmp_path / "new", *given]
        used = in_process(*words, "--new-passphrase-fd", str(new.fileno()), passphrase=b"nobody knows it")
    assert used.returncode == 0, used.stderr
    verified = in_process("verify", "--home", tmp_path / "new", passphrase=b"a new passphrase")
    assert "verify: clean" in verified.stdout


def test_a_full_disk_is_one_line_and_no_backup(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup_module, "write_objects", full)
    done = in_process("backup", "--home", place.home, "--to", place.data)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert len(list((place.data / "generations").glob("*/manifest.note"))) == 1
    monkeypatch.undo()
    assert in_process("backup", "--home", place.home, "--to", place.data).returncode == 1


def test_a_restore_goes_into_a_new_folder_alone(place: Place) -> None:
    done = place.restore(place.home)
    assert done.returncode == 2
    assert "not empty" in done.stderr


# --- rights that are lost -------------------------------------------------------------------------------


def test_an_older_key_store_revokes_everything_or_nothing_is_restored(place: Place, tmp_path: Path) -> None:
    """A copy of the key store does not know what was revoked after it."""
    provider = place.home / "keys" / "provider.json"
    older = ("--keys", place.keys, "--provider", provider)
    refused = place.restore(tmp_path / "new", *older)
    assert refused.returncode == 2
    assert "--rights-lost" in refused.stderr
    done = place.restore(tmp_path / "new", *older, "--rights-lost")
    assert done.returncode == 0, done.stderr
    assert "3 grants revoked" in done.stdout
    assert "objections" in done.stdout
    assert set(state(tmp_path / "new", place).values()) == {"not_permitted"}


def test_a_head_of_the_witness_shows_that_a_key_store_is_older(place: Place, tmp_path: Path) -> None:
    """Or that it is not: nothing happened after the copy."""
    notes: list[bytes] = []
    at_database(
        place.home,
        lambda c: notes.extend(
            bytes(n) for (n,) in c.execute(sa.text("SELECT note FROM checkpoint ORDER BY size"))
        ),
    )
    shutil.copytree(place.home / "keys", tmp_path / "older")
    older = next(place.keys.glob("keystore-*.db"))
    for file in (tmp_path / "older").glob("keystore.db*"):
        file.unlink()
    shutil.copy(older, tmp_path / "older" / "keystore.db")
    witnessed = tmp_path / "witnessed.txt"
    witnessed.write_bytes(notes[-1])
    refused = place.restore(tmp_path / "new", "--keys", tmp_path / "older", "--witnessed", witnessed)
    assert refused.returncode == 2
    assert "the witness saw" in refused.stderr


def test_a_restored_archive_opens_when_its_witness_was_told(place: Place, tmp_path: Path) -> None:
    """The real statement, at a real witness: before it is recorded nothing is disclosed."""
    near, home, shown = new_witness(tmp_path), tmp_path / "new", tmp_path / "shown.txt"

    async def before() -> None:
        async with near.up(), running(place.home, QUICK) as house:
            await near.befriend(house)
            await until(house, lambda now: now.state == "open" and now.cosigned_size > 0)

    asyncio.run(before())
    assert in_process("backup", "--home", place.home, "--to", place.data).returncode == 1

    async def later() -> None:
        async with near.up(), running(place.home, QUICK) as house:
            await house.store(place.device, attributes(5), b"lost " * 50)
            await until(house, lambda now: now.state == "open")

    asyncio.run(later())
    unasked = place.restore(home)
    assert unasked.returncode == 2
    assert "--witnessed" in unasked.stderr
    ((origin, memory),) = near.memory.logs().items()
    shown.write_bytes(near.memory.history(origin)[-1].note)  # as `ribcage witness show --note` prints it
    done = place.restore(home, "--witnessed", shown)
    assert done.returncode == 0, done.stderr

    async def after() -> None:
        async with near.up(), running(home, QUICK) as house:
            assert (await state_of(house)).state == "waiting"
            assert await sees(house, place.device, 1) == "unavailable"
            fork = near.memory.fork((home / "fork-statement.txt").read_bytes(), int(time.time()))
            assert (fork.old.size, fork.new_origin) == (memory.size, f"{origin}/2")
            await until(house, lambda now: now.state == "open")
            assert await sees(house, place.device, 1) == "seen"
            assert await sees(house, place.device, 2) == "not_permitted"

    asyncio.run(after())
