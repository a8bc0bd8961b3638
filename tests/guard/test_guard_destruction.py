"""Destruction: two persons, time for second thoughts, and afterwards no copy opens the study."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.guard_house import PASSPHRASE, Clock, House, Officer, attributes, edit, new_house, running
from helpers.refusals import reason
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.provider import FileKeyProvider
from ribcage.crypto.sealing import Envelope, Stream, seal
from ribcage.evidence.certificate import certificate_hash, read_certificate
from ribcage.guard import home as home_module
from ribcage.guard import keyring as keyring_module
from ribcage.guard import protocol as p
from ribcage.guard.destroyer import Destroyer
from ribcage.guard.destruction import Destructions
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.keyring import Keyring
from ribcage.guard.place import read_facts
from ribcage.storage.objects import ObjectStore
from ribcage.storage.retrieve import ObjectReader

DAY = 86400.0
MINE, OTHER = b"destroy me " * 300, b"keep me " * 300
UID, KEPT = "1.2.3.1", "1.2.3.2"


class Ward:
    """A house with two films of two patients, one workstation that may see both, two officers and a clock."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock = house, clock
        self.device = p.Device(b"", "WS1", "127.0.0.1")
        self.first: Officer
        self.second: Officer

    async def fill(self) -> None:
        house = self.house
        self.device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
        await house.store(self.device, attributes(1), MINE)
        await house.store(self.device, attributes(2), OTHER)
        far = self.clock() + 400 * DAY
        for study in (UID, KEPT):
            await house.admin.call(
                p.AddGrant("device:ws-1", f"study:{study}", "full", valid_until=far), p.GrantAdded
            )
        self.first = Officer("ann", await house.person("ann", "officer"), self.clock)
        self.second = Officer("ben", await house.person("ben", "administrator"), self.clock)

    async def ask(self, study: str = UID) -> p.DestructionItem:
        request = p.AskDestruction(study, "retention-end", self.first.approves())
        return await self.house.admin.call(request, p.DestructionItem)

    async def approve(self, number: int, by: Officer | None = None) -> p.DestructionItem:
        request = p.ApproveDestruction(number, (by or self.second).approves())
        return await self.house.admin.call(request, p.DestructionItem)

    async def run(self) -> list[p.DestructionItem]:
        return (await self.house.admin.call(p.RunDestructions(), p.DestructionItems)).items

    async def destroy(self, study: str = UID) -> int:
        number = (await self.ask(study)).number
        await self.approve(number)
        self.clock.ahead += 7 * DAY + 1
        assert [each.state for each in await self.run()] == ["done"]
        return number

    async def retrieve(self, study: str = UID) -> list[bytes]:
        ask = p.Disclose(principal=self.device, channel="dimse", study_instance_uid=study)
        disclosed = await self.house.front.call(ask, p.Disclosed)
        wanted = [ref.object_id for ref in disclosed.instances]
        opened = await self.house.front.call(p.Open(disclosed.receipt, self.device, wanted), p.Opened)
        found = []
        for each in opened.objects:
            with ObjectReader(ObjectStore(self.house.home / "objects"), each) as reader:
                found.append(reader.header())
        return found

    async def listed(self) -> int:
        ask = p.Query(principal=self.device, channel="dimse", level="study", filters={})
        return len((await self.house.front.call(ask, p.QueryAnswer)).records)


def in_ward(folder: Path, work: Callable[[Ward], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            ward = Ward(house, clock)
            await ward.fill()
            await work(ward)

    asyncio.run(run())


def test_a_destroyed_study_is_gone_and_its_neighbour_is_whole(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        files = sorted((ward.house.home / "objects").rglob("*.rbc"))
        number = await ward.destroy()
        assert await reason(ward.retrieve()) in ("not_found", "not_permitted")
        assert await ward.retrieve(KEPT) == [OTHER]
        assert await ward.listed() == 1
        left = sorted((ward.house.home / "objects").rglob("*.rbc"))
        assert len(left) == len(files) - 1
        assert await ward.house.verify() == []
        status = await ward.house.admin.call(p.GetStatus(), p.Status)
        assert (status.studies, status.epoch) == (1, 2)
        made = await ward.house.admin.call(p.GetCertificate(number), p.Certificate)
        document = read_certificate(made.note, made.verifier_key)
        assert document["backup_horizon"]["epoch"] == 1
        assert document["method"]["survivors_rewrapped"] == 2  # the neighbour and its patient
        assert document["scope"]["instances"] == 1
        assert UID.encode() not in made.note
        proof = await ward.house.admin.call(p.ProveEntry(made.log_index), p.EntryProof)
        assert certificate_hash(made.note).hex().encode() in proof.body

    in_ward(tmp_path, work)


def test_one_person_alone_destroys_nothing(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = (await ward.ask()).number
        assert await reason(ward.approve(number, ward.first)) == "not_permitted"
        nurse = Officer("cat", await ward.house.person("cat", "clinician"), ward.clock)
        assert await reason(ward.approve(number, nurse)) == "not_permitted"
        ward.clock.ahead += 30 * DAY
        assert await ward.run() == []
        assert await ward.retrieve() == [MINE]

    in_ward(tmp_path, work)


def test_an_approval_needs_a_fresh_code_and_an_unsuspended_person(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = (await ward.ask()).number
        used = ward.second.approves()
        await ward.house.admin.call(p.CancelDestruction(number, used), p.DestructionItem)
        number = (await ward.ask()).number
        again = ward.house.admin.call(p.ApproveDestruction(number, used), p.DestructionItem)
        assert await reason(again) == "not_authenticated"
        wrong = p.Approver("ben", "wrong", "000000")
        again = ward.house.admin.call(p.ApproveDestruction(number, wrong), p.DestructionItem)
        assert await reason(again) == "not_authenticated"
        await ward.house.admin.call(p.SuspendPerson("ben", suspended=True), p.Noted)
        assert await reason(ward.approve(number)) == "not_authenticated"
        assert await ward.retrieve() == [MINE]

    in_ward(tmp_path, work)


def test_guessing_codes_is_throttled(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        number = (await ward.ask()).number
        found = []
        for code in range(7):
            by = p.Approver("ben", ward.second.password, f"{code:06d}")
            guess = ward.house.admin.call(p.ApproveDestruction(number, by), p.DestructionItem)
            found.append(await reason(guess))
        assert found[0] == "not_authenticated"
        assert found[-1] == "throttled"

    in_ward(tmp_path, work)


def test_from_the_approval_on_the_study_is_closed_and_a_cancellation_opens_it(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        ask = p.Disclose(principal=ward.device, channel="dimse", study_instance_uid=UID)
        live = await ward.house.front.call(ask, p.Disclosed)
        number = (await ward.ask()).number
        assert await ward.retrieve() == [MINE]  # one person's wish closes nothing
        await ward.approve(number)
        revoked = [each for each in ward.house.pushed if isinstance(each, p.Revoked)]
        assert any(live.disclosure in each.disclosures for each in revoked)
        assert await reason(ward.retrieve()) == "not_permitted"
        assert await ward.listed() == 1
        late = await ward.house.store(ward.device, attributes(1, sop_instance_uid="1.2.3.1.9"), b"late" * 99)
        assert isinstance(late, p.Committed) and late.parked
        await ward.house.admin.call(p.CancelDestruction(number, ward.first.approves()), p.DestructionItem)
        assert await ward.retrieve() == [MINE]
        ward.clock.ahead += 30 * DAY
        assert await ward.run() == []
        assert await ward.retrieve() == [MINE]

    in_ward(tmp_path, work)


def test_nothing_is_destroyed_before_it_is_due(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await ward.approve((await ward.ask()).number)
        ward.clock.ahead += 7 * DAY - 60
        assert await ward.run() == []
        ward.clock.ahead += 61
        assert len(await ward.run()) == 1

    in_ward(tmp_path, work)


def test_an_instance_admitted_before_the_approval_is_not_committed_after_it(tmp_path: Path) -> None:
    """It is refused, so that its sender keeps it; sent again, it is parked under a key of its own."""

    async def work(ward: Ward) -> None:
        house, data = ward.house, b"between" * 100
        held = attributes(1, sop_instance_uid="1.2.3.1.7")
        admitted = await house.front.call(house_admit(ward.device, held, data), p.Admitted)
        await ward.approve((await ward.ask()).number)
        commit = p.Commit(admitted.admission, f"{admitted.object_id.hex()}.rbc", 1, 1, 0, 0, 1, 0, bytes(32))
        assert await reason(house.front.call(commit, p.Committed)) == "invalid"

    in_ward(tmp_path, work)


def house_admit(device: p.Device, held: p.Attributes, data: bytes) -> p.Admit:
    digest = hashlib.sha256(data).digest()
    return p.Admit(device, "dimse", "RIBCAGE", held, "1.2.840.10008.1.2.1", digest, len(data))


def test_a_destroyed_study_uid_does_not_come_back(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        await ward.destroy()
        again = await ward.house.store(ward.device, attributes(1), MINE)
        assert isinstance(again, p.Committed) and again.parked
        assert await ward.listed() == 1
        assert await ward.house.verify() == []

    in_ward(tmp_path, work)


def test_parked_conflicts_under_the_studys_key_go_with_it(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        held = attributes(1, sop_instance_uid="1.2.3.1.5")
        one, two = b"one" * 200, b"two" * 200
        house = ward.house
        admitted = [
            await house.front.call(house_admit(ward.device, held, each), p.Admitted) for each in (one, two)
        ]
        for each, data in zip(admitted, (one, two), strict=True):
            await commit(house, each, data)
        status = await house.admin.call(p.GetStatus(), p.Status)
        assert (status.instances, status.parked) == (3, 1)
        number = await ward.destroy()
        made = await house.admin.call(p.GetCertificate(number), p.Certificate)
        assert read_certificate(made.note, made.verifier_key)["scope"]["parked"] == 1
        assert (await house.admin.call(p.GetStatus(), p.Status)).parked == 0
        assert await house.verify() == []

    in_ward(tmp_path, work)


async def commit(house: House, admitted: p.Admitted, data: bytes) -> None:
    envelope = Envelope(Stream.HEADER, admitted.epoch, admitted.hospital, admitted.key_id, admitted.object_id)
    sealed = seal(admitted.header_key, envelope, data)
    location = ObjectStore(house.home / "objects").write(admitted.object_id, [sealed])
    size, digest = len(data), hashlib.sha256(data).digest()
    request = p.Commit(admitted.admission, location, len(sealed), size, 0, 0, len(sealed), 0, digest)
    await house.front.call(request, p.Committed)


@pytest.mark.parametrize("copy", ["whole home", "key store", "database"])
def test_an_older_copy_does_not_open_a_destroyed_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: str
) -> None:
    """With the provider of today; the neighbour opens from the database's copy, so the copy was a good one.

    An older database closes the archive as a whole (`test_guard_rollback.py`): here that is taken out, so that only
    the missing key stands against it.
    """
    monkeypatch.setattr(home_module, "older_database", lambda *_: [])
    older = tmp_path / "older"

    async def before(ward: Ward) -> None:
        shutil.copytree(ward.house.home, older, ignore=shutil.ignore_patterns("*.sock"))
        await ward.destroy()

    in_ward(tmp_path, before)
    home = tmp_path / "home"
    if copy == "whole home":
        shutil.copy(home / "keys" / "provider.json", older / "keys" / "provider.json")
    elif copy == "key store":
        for file in (home / "keys").glob("keystore.db*"):
            file.unlink()
        for file in (older / "keys").glob("keystore.db*"):
            shutil.copy(file, home / "keys" / file.name)
    else:
        shutil.rmtree(home / "database")
        shutil.copytree(older / "database", home / "database")
        shutil.copytree(older / "objects", home / "objects", dirs_exist_ok=True)

    async def after() -> None:
        clock = Clock()
        clock.ahead = 8 * DAY
        async with running(older if copy == "whole home" else home, clock=clock) as house:
            ward = Ward(house, clock)
            fingerprint = next(iter(house.server._core.devices._by_fingerprint))
            ward.device = p.Device(fingerprint, "WS1", "127.0.0.1")
            assert await reason(ward.retrieve()) in ("unavailable", "not_found", "not_permitted")
            if copy == "database":
                assert await ward.retrieve(KEPT) == [OTHER]

    if copy == "database":
        asyncio.run(after())
    else:
        with pytest.raises((CryptoError, GuardError)):
            asyncio.run(after())


def test_without_destroying_the_slot_an_older_key_store_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: take the defence out, and yesterday's key store brings the study's key back."""
    monkeypatch.setattr(
        FileKeyProvider, "destroy", lambda _self, slot: keyring_module.SlotDestroyed("file", slot, "nothing")
    )
    kept = tmp_path / "keystore.db"
    key_ids: list[bytes] = []

    async def work(ward: Ward) -> None:
        core = ward.house.server._core
        with core.engine.connect() as connection:
            query = sa.text("SELECT key_id FROM study WHERE uid = :uid")
            key_ids.append(bytes(connection.execute(query, {"uid": UID}).scalar_one()))
        source = ward.house.home / "keys"
        for name in ("keystore.db", "keystore.db-wal"):
            shutil.copy(source / name, tmp_path / name)
        await ward.destroy()

    in_ward(tmp_path, work)
    home = tmp_path / "home"
    provider = FileKeyProvider.open(home / "keys" / "provider.json", PASSPHRASE)
    ring = Keyring.open(kept, provider, read_facts(home).hospital)
    assert not ring.is_destroyed(key_ids[0])
    ring.close()


STEPS = ("move", "_doomed", "_destroy_keys", "_unlink", "_remove_rows", "_forget_pages")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_step_is_finished_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    """The guard dies at this step; the next one finishes, and the certificate is the same kind of statement."""
    clock = Clock()
    owner = Destructions if step == "move" else Destroyer
    original = getattr(owner, step)

    def dying(self: Destroyer, *arguments: object) -> object:
        if moment == "before":
            raise GuardRefused("unavailable")
        original(self, *arguments)
        raise GuardRefused("unavailable")

    async def dying_move(self: Destructions, *arguments: object) -> object:
        if arguments[-1] != "executing":
            return await original(self, *arguments)
        if moment == "after":
            await original(self, *arguments)
        raise GuardRefused("unavailable")

    async def work() -> None:
        async with new_house(tmp_path, clock=clock) as house:
            ward = Ward(house, clock)
            await ward.fill()
            await ward.approve((await ward.ask()).number)
            clock.ahead += 8 * DAY
            with monkeypatch.context() as patch:
                patch.setattr(owner, step, dying_move if step == "move" else dying)
                assert await reason(ward.run()) == "unavailable"
        async with running(tmp_path / "home", clock=clock) as house:
            again = Ward(house, clock)
            again.device = ward.device
            await again.run()
            items = (await house.admin.call(p.DestructionPage(), p.DestructionItems)).items
            assert [each.state for each in items] == ["done"]
            made = await house.admin.call(p.GetCertificate(1), p.Certificate)
            assert read_certificate(made.note, made.verifier_key)["scope"]["instances"] == 1
            assert await reason(again.retrieve()) in ("not_found", "not_permitted")
            assert await again.retrieve(KEPT) == [OTHER]
            assert await house.verify() == []

    asyncio.run(work())


def test_an_approval_undone_by_sql_leaves_the_study_closed(tmp_path: Path) -> None:
    async def before(ward: Ward) -> None:
        await ward.approve((await ward.ask()).number)

    in_ward(tmp_path, before)
    assert edit(tmp_path / "home", "UPDATE destruction SET state = 'cancelled'") == 1

    async def after() -> None:
        async with running(tmp_path / "home") as house:
            ward = Ward(house, Clock())
            ward.device = p.Device(next(iter(house.server._core.devices._by_fingerprint)), "WS1", "127.0.0.1")
            assert await reason(ward.retrieve()) == "not_permitted"
            assert any(each.part == "rows" for each in await house.verify())

    asyncio.run(after())


def test_storing_goes_on_while_a_thousand_keys_are_moved(tmp_path: Path) -> None:
    async def work(ward: Ward) -> None:
        house = ward.house
        for number in range(10, 60):
            await house.store(ward.device, attributes(number), bytes([number]) * 600)
        number = (await ward.ask()).number
        await ward.approve(number)
        ward.clock.ahead += 8 * DAY
        stores = [
            house.store(ward.device, attributes(each), bytes([each % 251]) * 700) for each in range(100, 160)
        ]
        done, *stored = await asyncio.gather(ward.run(), *stores)
        assert [each.state for each in done] == ["done"]
        assert all(isinstance(each, p.Committed) and not each.parked for each in stored)
        assert await house.verify() == []

    in_ward(tmp_path, work)
