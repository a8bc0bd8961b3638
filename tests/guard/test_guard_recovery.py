"""Recovery shares and new passphrases on a real home: the entry first, then one file, and never beside a guard."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.guard_house import PASSPHRASE, new_home, new_house, prove_operator, running
from ribcage.crypto.errors import KeyProviderFailure, RecoveryTampered, SharesRefused, WrongPassphrase
from ribcage.crypto.provider import FileKeyProvider
from ribcage.crypto.recovery import new_pair
from ribcage.crypto.shares import join, split
from ribcage.guard import protocol as p
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import Unlock
from ribcage.guard.limits import GuardLimits
from ribcage.guard.place import HomeError
from ribcage.guard.recovery import passphrase_changed, renew_passphrase, shares_used

NEW = b"a new passphrase"


async def _make(client: object, need: int = 2, of: int = 3) -> list[str]:
    private, public = new_pair()
    await client.call(p.MakeRecovery(public, need, of, PASSPHRASE), p.RecoveryState)  # type: ignore[attr-defined]
    return split(private, need, of)


def _provider(home: Path) -> Path:
    return home / "keys" / "provider.json"


def _by(shares: list[str]) -> Unlock:
    return lambda path: FileKeyProvider.recover(path, join(shares))


async def _entries(house: object) -> list[str]:
    page = await house.admin.call(p.AuditPage(start=0, count=100), p.AuditEntries)  # type: ignore[attr-defined]
    return [body for _, body in page.entries]


def test_shares_made_while_the_archive_runs_set_a_new_passphrase_later(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            assert await house.admin.call(p.GetRecovery(), p.RecoveryState) == p.RecoveryState()
            shares = await _make(house.admin)
            state = await house.admin.call(p.GetRecovery(), p.RecoveryState)
            assert (state.need, state.of, state.changed) == (2, 3, False)
            await prove_operator(house.front)  # the salt is new, the passphrase is the same
            await house.device("cr-1", "CR1", ["store"])  # and the guard goes on
        home = tmp_path / "home"
        async with running(home) as house:  # as a supervisor starts it again, with the passphrase it holds
            assert (await house.admin.call(p.GetRecovery(), p.RecoveryState)) == state
            made = [body for body in await _entries(house) if "recovery-changed" in body]
            assert len(made) == 1
            assert state.fingerprint.hex() in made[0]
        number = await renew_passphrase(home, _by(shares[1:]), NEW, GuardLimits(), shares_used("li"))
        with pytest.raises(WrongPassphrase):
            FileKeyProvider.open(_provider(home), PASSPHRASE)
        FileKeyProvider.open(_provider(home), NEW).change_passphrase(PASSPHRASE)
        async with running(home) as house:
            used = (await _entries(house))[number]
            assert '"valueString":"used"' in used
            assert '"operator:li"' in used or "li" in used
            assert await house.verify() == []

    asyncio.run(run())


def test_making_and_forgetting_want_the_passphrase_and_sound_numbers(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            _, public = new_pair()
            before = _provider(house.home).read_bytes()
            for request, reason in (
                (p.MakeRecovery(public, 2, 3, NEW), "not_authenticated"),
                (p.MakeRecovery(public, 1, 3, PASSPHRASE), "invalid"),
                (p.MakeRecovery(public, 2, 17, PASSPHRASE), "invalid"),
                (p.MakeRecovery(b"short", 2, 3, PASSPHRASE), "invalid"),
                (p.ForgetRecovery(PASSPHRASE), "not_found"),
            ):
                with pytest.raises(GuardRefused) as refused:
                    await house.admin.ask(request)
                assert refused.value.reason == reason
            with pytest.raises(GuardRefused):
                await house.front.ask(p.MakeRecovery(public, 2, 3, PASSPHRASE))
            assert _provider(house.home).read_bytes() == before
            assert not [body for body in await _entries(house) if "recovery-changed" in body]
            await _make(house.admin)
            forgotten = await house.admin.call(p.ForgetRecovery(PASSPHRASE), p.RecoveryState)
            assert forgotten == p.RecoveryState()

    asyncio.run(run())


def test_the_last_of_several_operators_makes_the_shares_that_count(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            sets = await asyncio.gather(*(_make(house.admin) for _ in range(4)))
            path = _provider(house.home)
            opened = []
            for shares in sets:
                try:
                    FileKeyProvider.recover(path, join(shares[:2]))
                    opened.append(shares)
                except SharesRefused:
                    pass
            assert len(opened) == 1
            assert len([body for body in await _entries(house) if "recovery-changed" in body]) == 4

    asyncio.run(run())


def test_nothing_changes_beside_a_running_guard(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            shares = await _make(house.admin)
            before = _provider(house.home).read_bytes()
            with pytest.raises(HomeError, match="stop it first"):
                await renew_passphrase(house.home, _by(shares), NEW, GuardLimits(), shares_used("li"))
            assert _provider(house.home).read_bytes() == before

    asyncio.run(run())


def test_a_refused_change_leaves_no_entry_and_the_old_passphrase(tmp_path: Path) -> None:
    async def run() -> None:
        home = new_home(tmp_path)
        async with running(home) as house:
            shares = await _make(house.admin)
            size = (await house.admin.call(p.GetStatus(), p.Status)).log_size
        before = _provider(home).read_bytes()

        def opens(path: Path) -> FileKeyProvider:
            return FileKeyProvider.open(path, PASSPHRASE)

        for unlock, passphrase, error in (
            (opens, b"short", KeyProviderFailure),
            (_by(split(new_pair()[0], 2, 2)), NEW, SharesRefused),
            (lambda path: FileKeyProvider.open(path, NEW), NEW, WrongPassphrase),
        ):
            with pytest.raises(error):
                await renew_passphrase(home, unlock, passphrase, GuardLimits(), passphrase_changed("li"))
        assert _provider(home).read_bytes() == before
        async with running(home) as house:
            assert (await house.admin.call(p.GetStatus(), p.Status)).log_size == size + 2  # stop, start
        assert FileKeyProvider.recover(_provider(home), join(shares[:2])).recovery is not None

    asyncio.run(run())


def test_a_changed_record_is_an_alarm_until_the_shares_are_made_anew(tmp_path: Path) -> None:
    async def run() -> None:
        home = new_home(tmp_path)
        async with running(home) as house:
            await _make(house.admin)
        path = _provider(home)
        path.write_text(path.read_text().replace('"need": 2', '"need": 3'))
        with pytest.raises(RecoveryTampered):
            await renew_passphrase(
                home,
                lambda path: FileKeyProvider.open(path, PASSPHRASE),
                NEW,
                GuardLimits(),
                passphrase_changed("li"),
            )
        async with running(home) as house:
            findings = (await house.admin.call(p.GetStatus(), p.Status)).findings
            assert any("recovery record was changed" in each for each in findings)
            assert (await house.admin.call(p.GetRecovery(), p.RecoveryState)).changed
            shares = await _make(house.admin)
            assert (await house.admin.call(p.GetStatus(), p.Status)).findings == []
            assert not any("passphrase" in body for body in await _entries(house))
        assert FileKeyProvider.recover(path, join(shares[:2])).recovery is not None

    asyncio.run(run())


def test_the_entry_is_durable_before_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_home(tmp_path)

    def opens(path: Path) -> FileKeyProvider:
        return FileKeyProvider.open(path, PASSPHRASE)

    def fails(*_: object) -> None:
        raise KeyProviderFailure("the power is gone")

    async def change() -> None:
        await renew_passphrase(home, opens, NEW, GuardLimits(), passphrase_changed("li"))

    async def size() -> int:
        async with running(home) as house:
            return (await house.admin.call(p.GetStatus(), p.Status)).log_size

    before = asyncio.run(size())
    with monkeypatch.context() as patched:
        patched.setattr(FileKeyProvider, "change_passphrase", fails)
        with pytest.raises(KeyProviderFailure):
            asyncio.run(change())
    assert asyncio.run(size()) == before + 3  # stop, the entry, start
    with monkeypatch.context() as patched:
        patched.setattr(Core, "note", fails)
        with pytest.raises(KeyProviderFailure):
            asyncio.run(change())
    opens(_provider(home))
