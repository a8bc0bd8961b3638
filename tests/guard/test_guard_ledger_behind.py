"""A ledger shorter than the log says: closed by default, until somebody mends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.guard_house import PASSPHRASE, House, attributes, new_house, running
from ribcage.crypto.provider import FileKeyProvider
from ribcage.database.engine import open_engine
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.keyring import Keyring
from ribcage.guard.place import read_facts

STUDY = "1.2.3.1"
NEWEST = "height = (SELECT max(height) FROM ledger_transaction)"


async def refused(coroutine: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await coroutine
    return caught.value.reason


def sql(home: Path, statement: str) -> None:
    """One statement with the database key, the guard being stopped."""
    provider = FileKeyProvider.open(home / "keys" / "provider.json", PASSPHRASE)
    keyring = Keyring.open(home / "keys" / "keystore.db", provider, read_facts(home).hospital)
    engine = open_engine(home / "database" / "ribcage.db", keyring.service("database"))
    with engine.begin() as connection:
        assert connection.execute(sa.text(statement)).rowcount == 1
    engine.dispose()
    keyring.close()


async def ward(house: House) -> tuple[p.Device, str]:
    """A workstation with a grant, and a doctor whose grant was revoked; the doctor's password."""
    device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
    await house.store(device, attributes(1), bytes(3000))
    department = p.AddGrant(subject="device:ws-1", resource="department:radiology", view="full")
    await house.admin.call(department, p.GrantAdded)
    password = (await house.person("li", "clinician")).password
    grant = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
    granted = await house.admin.call(grant, p.GrantAdded)
    await house.admin.call(p.RevokeGrant(grant_id=granted.grant_id), p.Noted)
    return device, password


def disclose(who: p.Principal) -> p.Disclose:
    return p.Disclose(principal=who, channel="dicomweb", study_instance_uid=STUDY)


def query(who: p.Principal) -> p.Query:
    return p.Query(principal=who, channel="dicomweb", level="study", filters={})


def test_a_revocation_cut_from_the_ledger_closes_the_archive(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device, password = await ward(house)
        sql(tmp_path / "home", f"DELETE FROM ledger_transaction WHERE {NEWEST}")
        async with running(tmp_path / "home") as house:
            session = await house.session("li", password)
            assert await refused(house.front.ask(disclose(session))) == "unavailable"
            assert await refused(house.front.ask(disclose(device))) == "unavailable"
            assert await refused(house.front.ask(query(device))) == "unavailable"  # never an empty list
            again = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
            assert await refused(house.admin.ask(again)) == "unavailable"  # it would hide the cut
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert any("ledger lacks" in finding for finding in status.findings)
            assert any(each.part == "ledger" for each in await house.verify())

    asyncio.run(run())


@pytest.mark.parametrize("whom", ["person", "device"])
def test_a_suspension_cut_from_the_ledger_closes_the_archive(tmp_path: Path, whom: str) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device, _ = await ward(house)
            await house.device("ws-2", "WS2", ["query"])
            suspend = p.SuspendPerson("li", True) if whom == "person" else p.SuspendDevice("ws-2", True)
            await house.admin.call(suspend, p.Noted)
        sql(tmp_path / "home", f"DELETE FROM ledger_transaction WHERE {NEWEST}")
        async with running(tmp_path / "home") as house:
            assert await refused(house.front.ask(disclose(device))) == "unavailable"

    asyncio.run(run())


def test_breaking_the_log_entry_too_does_not_open_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device, _ = await ward(house)
            size = (await house.admin.call(p.GetStatus(), p.Status)).log_size
        sql(tmp_path / "home", f"DELETE FROM ledger_transaction WHERE {NEWEST}")
        sql(tmp_path / "home", f"UPDATE log_leaf SET sealed = zeroblob(90) WHERE number = {size - 1}")
        async with running(tmp_path / "home") as house:
            assert await refused(house.front.ask(disclose(device))) == "unavailable"
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert any("does not open" in finding for finding in status.findings)

    asyncio.run(run())


@pytest.mark.parametrize("cut", ["the entry of the change", "the tail"])
def test_removing_log_entries_too_does_not_open_it(tmp_path: Path, cut: str) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device, _ = await ward(house)
            size = (await house.admin.call(p.GetStatus(), p.Status)).log_size
        sql(tmp_path / "home", f"DELETE FROM ledger_transaction WHERE {NEWEST}")
        sql(tmp_path / "home", f"DELETE FROM log_leaf WHERE number = {size - 1}")
        if cut == "the tail":  # the entry of the stop came after it
            sql(tmp_path / "home", f"DELETE FROM log_leaf WHERE number = {size}")
        try:
            async with running(tmp_path / "home") as house:
                assert await refused(house.front.ask(disclose(device))) == "unavailable"
        except GuardUnavailable:
            pass  # refusing to run at all is closed, too

    asyncio.run(run())


@pytest.mark.parametrize("change", ["none", "grant", "suspension", "objection"])
def test_an_honest_home_opens_whatever_was_changed_last(tmp_path: Path, change: str) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device, _ = await ward(house)
            if change == "suspension":
                await house.admin.call(p.SuspendPerson(username="li", suspended=True), p.Noted)
            elif change == "objection":
                await house.admin.call(
                    p.Object(patient="PID000001", subject="person:li", standing=True), p.Noted
                )
            elif change == "grant":
                again = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
                await house.admin.call(again, p.GrantAdded)
        async with running(tmp_path / "home") as house:
            assert isinstance(await house.front.ask(disclose(device)), p.Disclosed)
            assert (await house.admin.call(p.GetStatus(), p.Status)).findings == []

    asyncio.run(run())
