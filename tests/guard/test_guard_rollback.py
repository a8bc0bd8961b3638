"""A database put back to an older copy under the key store of today: closed, and said so."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.guard_house import House, at_database, attributes, new_house, running
from ribcage.crypto.errors import KeyStoreFailure
from ribcage.database.schema import ledger_transaction
from ribcage.guard import home as home_module
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.second_journal import SecondJournal

STUDY = "1.2.3.1"


async def refused(coroutine: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await coroutine
    return caught.value.reason


async def ward(house: House) -> tuple[p.Device, int]:
    """A workstation that may see one film, and the number of its grant."""
    device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
    await house.store(device, attributes(1), bytes(3000))
    grant = p.AddGrant(subject="device:ws-1", resource=f"study:{STUDY}", view="full")
    return device, (await house.admin.call(grant, p.GrantAdded)).grant_id


def disclose(who: p.Principal) -> p.Disclose:
    return p.Disclose(principal=who, channel="dicomweb", study_instance_uid=STUDY)


def put_back(folder: Path, then: Callable[[House, int], Awaitable[None]]) -> p.Device:
    """A home whose database is of the time before `then`, and whose keys are of the time after."""
    found: list[tuple[p.Device, int]] = []

    async def run() -> None:
        async with new_house(folder) as house:
            found.append(await ward(house))
        shutil.copytree(folder / "home" / "database", folder / "older")
        async with running(folder / "home") as house:
            await then(house, found[0][1])

    asyncio.run(run())
    shutil.rmtree(folder / "home" / "database")
    shutil.copytree(folder / "older", folder / "home" / "database")
    return found[0][0]


async def revoke(house: House, grant: int) -> None:
    await house.admin.call(p.RevokeGrant(grant_id=grant), p.Noted)


async def only_look(house: House, _: int) -> None:
    await house.admin.call(p.AuditPage(start=0, count=1), p.AuditEntries)


def answers(folder: Path, device: p.Device) -> tuple[str, list[str]]:
    """What the workstation hears, and what the archive says about itself."""

    async def run() -> tuple[str, list[str]]:
        async with running(folder / "home") as house:
            status = await house.admin.call(p.GetStatus(), p.Status)
            try:
                await house.front.ask(disclose(device))
            except GuardRefused as no:
                return no.reason, status.findings
            return "disclosed", status.findings

    return asyncio.run(run())


@pytest.mark.parametrize("then", [revoke, only_look])
def test_an_older_database_closes_the_archive(
    tmp_path: Path, then: Callable[[House, int], Awaitable[None]]
) -> None:
    device = put_back(tmp_path, then)
    for _ in range(2):  # the entries that the closed archive writes do not make up for those that are gone
        answer, findings = answers(tmp_path, device)
        assert answer == "unavailable"
        assert any("the key store" in each for each in findings), findings


def test_without_the_comparison_the_revoked_grant_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    device = put_back(tmp_path, revoke)
    monkeypatch.setattr(home_module, "older_database", lambda *_: [])
    assert answers(tmp_path, device)[0] == "disclosed"


def test_a_closed_log_is_not_signed_again(tmp_path: Path) -> None:
    """Else the log's key would sign two histories of one size."""
    device = put_back(tmp_path, only_look)
    kept = SecondJournal(tmp_path / "home" / "keys" / "keystore.db")
    before = kept.head()
    sizes: list[int] = []

    def count(connection: sa.Connection) -> None:
        sizes.append(int(connection.execute(sa.text("SELECT max(size) FROM checkpoint")).scalar_one()))

    at_database(tmp_path / "home", count)
    for _ in range(4):
        answers(tmp_path, device)
    at_database(tmp_path / "home", count)
    assert sizes[0] == sizes[1]
    assert kept.head() == before
    kept.close()


def test_a_log_of_equal_length_and_another_content_closes_the_archive(tmp_path: Path) -> None:
    device = put_back(tmp_path, only_look)
    kept = SecondJournal(tmp_path / "home" / "keys" / "keystore.db")
    head = kept.head()
    kept.close()
    assert head is not None
    findings: list[str] = []
    while not any("not the one that the key store remembers" in each for each in findings):
        answer, findings = answers(tmp_path, device)  # it writes refusals until it is as long as the lost one
        assert answer == "unavailable"
        assert findings


def test_a_key_store_of_the_first_format_takes_over_the_ledger(tmp_path: Path) -> None:
    async def run() -> p.Device:
        async with new_house(tmp_path) as house:
            return (await ward(house))[0]

    device = asyncio.run(run())
    path = tmp_path / "home" / "keys" / "keystore.db"
    link = sqlite3.connect(path)
    link.executescript("DROP TABLE journal; DROP TABLE head; PRAGMA user_version = 1")
    link.close()
    assert answers(tmp_path, device) == ("disclosed", [])
    kept = SecondJournal(path)
    stored: list[tuple[int, int, bytes]] = []

    def read(connection: sa.Connection) -> None:
        stored.extend(tuple(row) for row in connection.execute(sa.select(ledger_transaction)))

    at_database(tmp_path / "home", read)
    assert kept.rows() == stored
    assert kept.height == 2
    kept.close()


def test_a_change_that_the_key_store_could_not_keep_is_in_force_and_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device, grant = await ward(house)
            second = house.server._core.second
            append = second.append

            def full(_: object) -> None:
                raise KeyStoreFailure("the key store's file cannot be used: no space left")

            monkeypatch.setattr(second, "append", full)
            assert await refused(revoke(house, grant)) == "unavailable"
            assert await refused(house.front.ask(disclose(device))) == "not_permitted"
            assert await refused(house.admin.ask(p.Object("PID000001", "*", True))) == "unavailable"
            assert second.height == 2
            monkeypatch.setattr(second, "append", append)
            await house.admin.call(p.Object("PID000001", "*", True), p.Noted)
            assert [row[0] for row in second.rows(after=2)] == [3, 4]

    asyncio.run(run())
