"""Acknowledged is durable, and what is not durable never happened (DESIGN rule 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from helpers.failing_statements import fail_statements
from helpers.guard_house import House, attributes, new_house, prove_operator, running
from ribcage.crypto.errors import KeyStoreFailure
from ribcage.database.engine import open_engine
from ribcage.database.schema import log_leaf, meta, metadata
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.committer import Committer, Transaction
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.log import AuditLog
from ribcage.guard.log_epochs import LogEpochs

KEY = bytes(range(32))


class Bench:
    """A committer on a database of its own, with a key store's flush that can be made to fail."""

    def __init__(self, folder: Path) -> None:
        self.engine = open_engine(folder / "bench.db", KEY)
        metadata.create_all(self.engine)
        self.log = AuditLog(self.engine, KEY, LogEpochs(bytes(16), KEY))
        self.flushed: list[tuple[int, int]] = []
        self.broken_flush = False
        self.committer = Committer(self.engine, self.log, self.flush)

    def flush(self) -> None:
        self.flushed.append(self.stored())
        if self.broken_flush:
            raise KeyStoreFailure("planted")

    def stored(self) -> tuple[int, int]:
        """`(entries, rows)` as another connection sees them."""
        with self.engine.connect() as connection:
            entries, rows = (
                int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
                for table in (log_leaf, meta)
            )
        return entries, rows

    def close(self) -> None:
        self.committer.stop()
        self.engine.dispose()


def write(name: str, *, fail: bool = False) -> Callable[[Transaction], int]:
    def unit(tx: Transaction) -> int:
        tx.connection.execute(sa.insert(meta), {"name": name, "value": "x"})
        number = tx.append(b"{}")
        if fail:
            raise GuardRefused("invalid")
        return number

    return unit


def play(folder: Path, story: Callable[[Bench], Awaitable[None]]) -> None:
    bench = Bench(folder)
    try:
        asyncio.run(story(bench))
    finally:
        bench.close()


def test_a_unit_that_raises_leaves_nothing_and_harms_nobody(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        units = [write(f"n{n}", fail=n % 3 == 1) for n in range(9)]
        results = await asyncio.gather(*map(bench.committer.run, units), return_exceptions=True)
        assert [isinstance(r, GuardRefused) for r in results] == [n % 3 == 1 for n in range(9)]
        assert sorted(r for r in results if isinstance(r, int)) == list(range(6))
        assert bench.stored() == (6, 6)
        assert bench.log.size == 6

    play(tmp_path, story)


def test_a_failing_commit_is_told_to_all_and_keeps_nothing(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.committer.run(write("before"))
        root, heal = bench.log.root, fail_statements(bench.engine, "COMMIT")
        results = await asyncio.gather(
            *(bench.committer.run(write(f"n{n}")) for n in range(5)), return_exceptions=True
        )
        assert [type(each) for each in results] == [GuardUnavailable] * 5
        assert bench.stored() == (1, 1)
        assert (bench.log.size, bench.log.root) == (1, root)
        heal()
        assert await bench.committer.run(write("after")) == 1
        assert bench.stored() == (2, 2)

    play(tmp_path, story)


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO log_leaf", "ROLLBACK"])
def test_the_committer_outlives_a_fault_at_any_step(tmp_path: Path, statement: str) -> None:
    async def story(bench: Bench) -> None:
        heal = fail_statements(bench.engine, statement)
        with pytest.raises((GuardUnavailable, GuardRefused)):
            await bench.committer.run(write("n", fail=statement == "ROLLBACK"))
        heal()
        assert await bench.committer.run(write("n")) == 0
        assert bench.stored() == (1, 1)

    play(tmp_path, story)


def test_keys_are_durable_before_the_rows_that_name_them(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.committer.run(write("one"))
        await bench.committer.run(write("two"))
        assert bench.flushed == [(0, 0), (1, 1)]
        bench.broken_flush = True
        with pytest.raises(GuardUnavailable):
            await bench.committer.run(write("three"))
        assert bench.stored() == (2, 2)
        assert bench.log.size == 2

    play(tmp_path, story)


def test_nothing_is_taken_after_the_end(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.committer.stop()
        with pytest.raises(GuardUnavailable):
            await bench.committer.run(write("late"))

    play(tmp_path, story)


# --- on a real home -------------------------------------------------------------------------------------


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """SQLite's own limit of pages: every write fails as on a full disk, at whatever statement needs a page."""

    async def story() -> None:
        async with new_house(tmp_path) as house:
            core = house.server._core
            device = await house.device("cr-1", "CR1", ["store"])
            await house.store(device, attributes(1), b"\x00" * 3000)
            before = await house.admin.call(p.GetStatus(), p.Status)

            def limit(pages: int) -> Callable[[Transaction], None]:
                return lambda tx: tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").close()

            await core.committer.run(limit(1))  # SQLite keeps what is used: no page can be added
            refusals = 0
            for number in range(2, 40):
                try:
                    await house.store(device, attributes(number), b"\x00" * 3000)
                except GuardRefused as refused:
                    assert refused.reason in ("unavailable", "no_space")  # the reserve does not help here
                    refusals += 1
            assert refusals > 0
            await core.committer.run(limit(1_000_000))
            core.disk.look()
            stored = 39 - 1 - refusals
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert status.instances == before.instances + stored
            await house.store(device, attributes(99), b"\x00" * 3000)
            assert await house.verify() == []
        async with running(tmp_path / "home") as house:
            assert await house.verify() == []

    asyncio.run(story())


def test_a_failed_commit_of_a_grant_changes_no_right(tmp_path: Path) -> None:
    async def story() -> None:
        async with new_house(tmp_path) as house:
            core = house.server._core
            device = await house.device("ws-1", "WS1", ["store", "retrieve"])
            await house.store(device, attributes(1), b"\x00" * 3000)
            ask = p.Disclose(principal=device, channel="dimse", study_instance_uid="1.2.3.1")
            request = p.AddGrant(subject="device:ws-1", resource="study:1.2.3.1", view="full")
            heal = fail_statements(core.engine, "COMMIT")
            with pytest.raises(GuardRefused, match="unavailable"):
                await house.admin.ask(request)
            heal()
            core.disk.look()
            with pytest.raises(GuardRefused, match="not_permitted"):
                await house.front.ask(ask)
            grant = await house.admin.call(request, p.GrantAdded)
            assert (await house.front.call(ask, p.Disclosed)).view == "full"
            heal = fail_statements(core.engine, "COMMIT")
            with pytest.raises(GuardRefused, match="unavailable"):
                await house.admin.ask(p.RevokeGrant(grant_id=grant.grant_id))
            with pytest.raises(GuardRefused, match="unavailable"):  # no durable entry, no disclosure
                await house.front.ask(ask)
            heal()
            assert await house.verify() == []

    asyncio.run(story())


def test_a_call_is_finished_although_its_connection_is_gone(tmp_path: Path) -> None:
    """A revocation whose caller was killed must not be durable and yet without effect, nor the reverse."""

    async def story() -> None:
        async with new_house(tmp_path) as house:
            device = await house.device("ws-1", "WS1", ["store", "retrieve"])
            await house.store(device, attributes(1), b"\x00" * 3000)
            added = p.AddGrant(subject="device:ws-1", resource="study:1.2.3.1", view="full")
            ask = p.Disclose(principal=device, channel="dimse", study_instance_uid="1.2.3.1")
            for _ in range(5):
                grant = await house.admin.call(added, p.GrantAdded)
                assert (await house.front.call(ask, p.Disclosed)).view == "full"
                await _send_and_vanish(house, p.RevokeGrant(grant_id=grant.grant_id))
                await _settled(house)
                with pytest.raises(GuardRefused, match="not_permitted"):
                    await house.front.ask(ask)
            assert await house.verify() == []

    asyncio.run(story())


async def _send_and_vanish(house: House, request: p.Request) -> None:
    client = await GuardClient.connect(house.home / "run" / "guard.sock")
    await prove_operator(client)
    call = asyncio.create_task(client.ask(request))
    while not house.server._running:
        await asyncio.sleep(0)
    client._writer.transport.abort()
    with pytest.raises(GuardUnavailable):
        await call
    await client.close()


async def _settled(house: House) -> None:
    while house.server._running:
        await asyncio.wait(set(house.server._running))


def test_late_contradictions_are_parked_and_verify(tmp_path: Path) -> None:
    """Two associations admitted before either committed: other pixels, and one series in two studies."""

    async def story() -> None:
        async with new_house(tmp_path) as house:
            device = await house.device("cr-1", "CR1", ["store"])
            one = attributes(1, sop_instance_uid="1.2.3.9.1", series_instance_uid="1.2.3.9")
            two = attributes(2, sop_instance_uid="1.2.3.9.2", series_instance_uid="1.2.3.9")
            outcomes = await asyncio.gather(
                *(house.store(device, one, bytes([n]) * 3000) for n in range(4)),
                *(house.store(device, two, bytes([n]) * 3000) for n in range(4)),
            )
            parked = [each.parked for each in outcomes if isinstance(each, p.Committed)]
            assert parked.count(False) == 1
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert (status.instances, status.parked) == (1, 7)
            items = (await house.admin.call(p.ParkedPage(start=0, count=100), p.ParkedItems)).items
            assert {item.reason for item in items} == {"hash_mismatch", "series_mismatch"}
            assert await house.verify() == []

    asyncio.run(story())
