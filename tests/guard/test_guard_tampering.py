"""Somebody with the database's key changes rows while the guard is down: nothing opens, and `verify` names it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyotp
import pytest
import sqlalchemy as sa

from helpers.guard_house import House, at_database, attributes, edit, new_house, running
from helpers.refusals import reason
from ribcage.database.schema import checkpoint, instance, log_leaf
from ribcage.evidence.audit_event import ApplicationActivity, SystemActor
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.home import open_core
from ribcage.guard.limits import GuardLimits
from ribcage.ledger.errors import LedgerError
from ribcage.storage.errors import ObjectBroken
from ribcage.storage.objects import ObjectStore
from ribcage.storage.retrieve import ObjectReader

MINE, THEIRS = b"\x11" * 3000, b"\x22" * 3000
Story = Callable[[House], Awaitable[None]]


def play(folder: Path, before: Story, tamper: Callable[[Path], None], after: Story) -> None:
    """A house, a change of its database while it is down, the house again."""

    async def run() -> None:
        async with new_house(folder) as house:
            await before(house)
        tamper(folder / "home")
        async with running(folder / "home") as house:
            await after(house)

    asyncio.run(run())


def one_row(statement: str, **values: object) -> Callable[[Path], None]:
    def tamper(home: Path) -> None:
        assert edit(home, statement, **values) == 1

    return tamper


async def named(house: House, text: str) -> None:
    """`verify` has a difference at this place."""
    places = [each.where for each in await house.verify()]
    assert any(text in place for place in places), places


# --- people ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        "roles = 'administrator radiologist'",
        "password_hash = (SELECT password_hash FROM person WHERE username = 'wu')",
    ],
)
def test_self_promotion_and_a_planted_password_make_nobody(tmp_path: Path, column: str) -> None:
    passwords = {}

    async def before(house: House) -> None:
        for name in ("li", "wu"):
            passwords[name] = (await house.person(name, "clinician")).password

    async def after(house: House) -> None:
        assert await reason(house.session("li", passwords["li"])) == "not_authenticated"
        assert await reason(house.session("li", passwords["wu"])) == "not_authenticated"
        await house.session("wu", passwords["wu"])
        status = await house.admin.call(p.GetStatus(), p.Status)
        assert any(finding.startswith("person row") for finding in status.findings)
        await named(house, "table person")

    play(tmp_path, before, one_row(f"UPDATE person SET {column} WHERE username = 'li'"), after)


def test_a_session_that_steps_itself_up_is_no_session(tmp_path: Path) -> None:
    proofs = []

    async def before(house: House) -> None:
        person = await house.person("li", "clinician")
        proofs.append(await house.session("li", person.password))

    async def after(house: House) -> None:
        assert await reason(house.front.ask(p.WhoAmI(proofs[0]))) == "not_authenticated"
        await named(house, "table session")

    play(tmp_path, before, one_row("UPDATE session SET second_factor_at = created_at"), after)


def test_anothers_second_factor_does_not_move_over(tmp_path: Path) -> None:
    people = {}

    async def before(house: House) -> None:
        for name in ("li", "wu"):
            people[name] = await house.person(name, "clinician")

    def tamper(home: Path) -> None:
        other = "(SELECT {} FROM factor WHERE person_id = :theirs)".format
        statement = f"UPDATE factor SET secret = {other('secret')} WHERE person_id = :mine"
        assert edit(home, statement, mine=people["li"].person_id, theirs=people["wu"].person_id) == 1

    async def after(house: House) -> None:
        session = await house.session("li", people["li"].password)
        code = pyotp.parse_uri(people["wu"].totp_uri).now()
        assert await reason(house.front.ask(p.StepUp(session, code))) == "not_authenticated"
        await named(house, "table factor")

    play(tmp_path, before, tamper, after)


def test_a_suspension_holds_although_the_old_row_was_put_back(tmp_path: Path) -> None:
    """An old row has an old and valid MAC: the ledger's suspension still denies every image."""
    old: list[dict[str, object]] = []
    passwords = []

    async def before(house: House) -> None:
        device = await house.device("cr-1", "CR1", ["store"])
        await house.store(device, attributes(1), MINE)
        passwords.append((await house.person("li", "clinician")).password)
        await house.admin.call(p.AddGrant("person:li", "study:1.2.3.1", "full"), p.GrantAdded)
        with house.server._core.engine.connect() as connection:
            query = sa.text("SELECT suspended, version, mac FROM person WHERE username = 'li'")
            old.append(dict(connection.execute(query).mappings().one()))
        await house.admin.call(p.SuspendPerson("li", suspended=True), p.Noted)

    def tamper(home: Path) -> None:
        statement = (
            "UPDATE person SET suspended = :suspended, version = :version, mac = :mac WHERE username = 'li'"
        )
        assert edit(home, statement, **old[0]) == 1

    async def after(house: House) -> None:
        session = await house.session("li", passwords[0])
        ask = p.Disclose(principal=session, channel="dicomweb", study_instance_uid="1.2.3.1")
        assert await reason(house.front.ask(ask)) == "not_permitted"

    play(tmp_path, before, tamper, after)


def test_a_device_that_gives_itself_rights_is_unknown(tmp_path: Path) -> None:
    devices = []

    async def before(house: House) -> None:
        devices.append(await house.device("cr-1", "CR1", ["store"]))

    async def after(house: House) -> None:
        check = p.CheckDevice(device=devices[0], called_ae_title="RIBCAGE", action="associate")
        assert await reason(house.front.ask(check)) == "not_authenticated"
        await named(house, "table device")

    play(tmp_path, before, one_row("UPDATE device SET may = 'query retrieve store'"), after)


# --- studies and objects --------------------------------------------------------------------------------


async def two_studies(house: House) -> None:
    """`ws-1` may see study 1, not study 2."""
    device = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
    await house.store(device, attributes(1), MINE)
    await house.store(device, attributes(2), THEIRS)
    await house.admin.call(p.AddGrant("device:ws-1", "study:1.2.3.1", "full"), p.GrantAdded)


async def retrieve(house: House, study: str = "1.2.3.1") -> list[bytes]:
    """What a front with the keys of this disclosure reads from the files."""
    fingerprint = next(iter(house.server._core.devices._by_fingerprint))
    device = p.Device(fingerprint, "WS1", "127.0.0.1")
    ask = p.Disclose(principal=device, channel="dimse", study_instance_uid=study)
    disclosed = await house.front.call(ask, p.Disclosed)
    wanted = [ref.object_id for ref in disclosed.instances]
    opened = await house.front.call(p.Open(disclosed.receipt, device, wanted), p.Opened)
    found = []
    for each in opened.objects:
        with ObjectReader(ObjectStore(house.home / "objects"), each) as reader:
            found.append(reader.header())
    return found


def test_the_untouched_house_answers_so_that_refusals_mean_something(tmp_path: Path) -> None:
    async def after(house: House) -> None:
        assert await retrieve(house) == [MINE]
        assert await reason(retrieve(house, "1.2.3.2")) == "not_permitted"
        assert await house.verify() == []

    play(tmp_path, two_studies, lambda _home: None, after)


@pytest.mark.parametrize(
    "change",
    [
        "department = 'surgery'",
        "patient_id = (SELECT patient_id FROM study WHERE uid = '1.2.3.2')",
        "sealed = (SELECT sealed FROM study WHERE uid = '1.2.3.2')",
        "patient_id_token = (SELECT patient_id_token FROM study WHERE uid = '1.2.3.2')",
        "version = 2",
    ],
)
def test_a_changed_study_row_does_not_open(tmp_path: Path, change: str) -> None:
    async def after(house: House) -> None:
        assert await reason(retrieve(house)) == "unavailable"
        await named(house, "table study")

    play(tmp_path, two_studies, one_row(f"UPDATE study SET {change} WHERE uid = '1.2.3.1'"), after)


def test_a_strangers_study_under_the_uid_of_mine_does_not_open(tmp_path: Path) -> None:
    def tamper(home: Path) -> None:
        assert edit(home, "UPDATE study SET uid = '1.2.3.0' WHERE uid = '1.2.3.1'") == 1
        assert edit(home, "UPDATE study SET uid = '1.2.3.1' WHERE uid = '1.2.3.2'") == 1

    async def after(house: House) -> None:
        assert await reason(retrieve(house)) == "unavailable"
        await named(house, "table study")

    play(tmp_path, two_studies, tamper, after)


def test_a_patient_row_with_anothers_key_does_not_open(tmp_path: Path) -> None:
    def tamper(home: Path) -> None:
        def swap(connection: sa.Connection) -> None:
            one, two = connection.execute(sa.text("SELECT id, key_id FROM patient ORDER BY rowid")).all()
            for key_id, owner in ((os.urandom(16), one.id), (one.key_id, two.id), (two.key_id, one.id)):
                statement = sa.text("UPDATE patient SET key_id = :key_id WHERE id = :owner")
                connection.execute(statement, {"key_id": key_id, "owner": owner})

        at_database(home, swap)

    async def after(house: House) -> None:
        assert await reason(retrieve(house)) == "unavailable"
        await named(house, "table patient")

    play(tmp_path, two_studies, tamper, after)


OBJECT = (
    "object_id, key_id, epoch, location, file_bytes, header_plain_bytes, header_sealed_bytes, "
    "data_set_sha256, file_sha256, log_index"
)


@pytest.mark.parametrize(
    "columns",
    ["location", "object_id, location", "study_pk, series_pk", OBJECT],
    ids=["location", "object and location", "moved into my study", "whole object"],
)
def test_a_strangers_image_swapped_into_my_study_does_not_open(tmp_path: Path, columns: str) -> None:
    """The row of study 1 takes columns of study 2's, or the row of study 2 is moved into study 1."""

    def tamper(home: Path) -> None:
        def swap(connection: sa.Connection) -> None:
            rows = connection.execute(sa.select(instance).order_by(instance.c.pk)).mappings().all()
            mine, theirs = dict(rows[0]), dict(rows[1])
            names = columns.split(", ")
            if "study_pk" in names:
                values = {name: mine[name] for name in names}
                connection.execute(sa.update(instance).where(instance.c.pk == theirs["pk"]).values(values))
                return
            connection.execute(sa.delete(instance).where(instance.c.pk == theirs["pk"]))
            values = {name: theirs[name] for name in names}
            connection.execute(sa.update(instance).where(instance.c.pk == mine["pk"]).values(values))

        at_database(home, swap)

    async def after(house: House) -> None:
        with pytest.raises(ObjectBroken):
            await retrieve(house)
        differences = await house.verify()
        assert differences
        assert {each.part for each in differences} <= {"rows", "objects"}

    play(tmp_path, two_studies, tamper, after)


@pytest.mark.parametrize(
    "change", ["data_set_sha256 = zeroblob(32)", "file_sha256 = zeroblob(32)", "log_index = 1"]
)
def test_a_changed_instance_row_is_named(tmp_path: Path, change: str) -> None:
    async def after(house: House) -> None:
        await named(house, "object ")

    play(tmp_path, two_studies, one_row(f"UPDATE instance SET {change} WHERE uid = '1.2.3.1.1'"), after)


def test_a_removed_instance_is_missed_although_its_file_is_gone_too(tmp_path: Path) -> None:
    def tamper(home: Path) -> None:
        assert edit(home, "DELETE FROM instance WHERE uid = '1.2.3.1.1'") == 1
        for path in (home / "objects").rglob("*.rbc"):
            path.unlink()

    async def after(house: House) -> None:
        await named(house, "log entry")

    play(tmp_path, two_studies, tamper, after)


def test_a_changed_object_file_is_named(tmp_path: Path) -> None:
    def tamper(home: Path) -> None:
        path = sorted((home / "objects").rglob("*.rbc"))[0]
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    async def after(house: House) -> None:
        assert [each.part for each in await house.verify()] == ["objects"]

    play(tmp_path, two_studies, tamper, after)


# --- log and ledger -------------------------------------------------------------------------------------


NEXT = "(SELECT max(height) + 1 FROM ledger_transaction), block_time"


def flip_last(column: str, table: str, where: str) -> Callable[[Path], None]:
    def tamper(home: Path) -> None:
        def flip(connection: sa.Connection) -> None:
            old = connection.execute(sa.text(f"SELECT {column} FROM {table} WHERE {where}")).scalar_one()
            new = old[:-1] + bytes((old[-1] ^ 1,))
            connection.execute(sa.text(f"UPDATE {table} SET {column} = :new WHERE {where}"), {"new": new})

        at_database(home, flip)

    return tamper


@pytest.mark.parametrize("column", ["sealed", "leaf_data"])
def test_an_edited_audit_row_is_named_by_its_number(tmp_path: Path, column: str) -> None:
    async def after(house: House) -> None:
        await named(house, "entry 3")

    play(tmp_path, two_studies, flip_last(column, "log_leaf", "number = 3"), after)


def test_two_audit_rows_that_changed_places_are_named(tmp_path: Path) -> None:
    def tamper(home: Path) -> None:
        def swap(connection: sa.Connection) -> None:
            for old, new in ((2, 1000), (3, 2), (1000, 3)):
                at = sa.update(log_leaf).where(log_leaf.c.number == old)
                connection.execute(at.values(number=new))

        at_database(home, swap)

    async def after(house: House) -> None:
        places = [each.where for each in await house.verify()]
        assert {"entry 2", "entry 3"} <= set(places)

    play(tmp_path, two_studies, tamper, after)


def test_a_removed_audit_row_is_named_and_the_guard_still_starts(tmp_path: Path) -> None:
    async def after(house: House) -> None:
        status = await house.admin.call(p.GetStatus(), p.Status)
        assert any("ribcage verify" in finding for finding in status.findings)
        await named(house, "entry 3")

    play(tmp_path, two_studies, one_row("DELETE FROM log_leaf WHERE number = 3"), after)


def test_a_cut_tail_is_named_while_its_checkpoint_is_left(tmp_path: Path) -> None:
    def tamper(home: Path) -> None:
        assert edit(home, "DELETE FROM log_leaf WHERE number > 5") > 1

    async def after(house: House) -> None:
        await named(house, "checkpoint")

    play(tmp_path, two_studies, tamper, after)


def test_an_edited_checkpoint_is_named(tmp_path: Path) -> None:
    def tamper(home: Path) -> None:
        def forge(connection: sa.Connection) -> None:
            note = (
                connection.execute(sa.select(checkpoint.c.note).order_by(checkpoint.c.size)).scalars().first()
            )
            assert note is not None
            forged = note[:-10] + b"A" * 8 + note[-2:]
            connection.execute(sa.update(checkpoint).where(checkpoint.c.note == note).values(note=forged))

        at_database(home, forge)

    async def after(house: House) -> None:
        await named(house, "checkpoint")

    play(tmp_path, two_studies, tamper, after)


@pytest.mark.parametrize("statement", ["UPDATE log_tile SET hashes = zeroblob(8192)", "DELETE FROM log_tile"])
def test_a_changed_tile_is_named_and_repaired(tmp_path: Path, statement: str) -> None:
    async def before(house: House) -> None:
        core = house.server._core
        body = core.entry(ApplicationActivity(SystemActor("test"), "start", "0"))
        for count in (300, 300, 1):
            await core.committer.run(lambda tx, count=count: [tx.append(body) for _ in range(count)])

    async def tampered(house: House) -> None:
        where = "WHERE level = 0 AND number = 1"
        with house.server._core.engine.begin() as connection:
            assert connection.execute(sa.text(f"{statement} {where}")).rowcount == 1
        with pytest.raises(GuardRefused):
            await house.admin.ask(p.ProveEntry(index=300))
        await named(house, "tile 0/1")
        assert await house.verify() == []
        await house.admin.call(p.ProveEntry(index=300), p.EntryProof)

    play(tmp_path, before, lambda _home: None, tampered)


@pytest.mark.parametrize(
    "tamper",
    [
        flip_last("raw", "ledger_transaction", "height = 1"),
        one_row("DELETE FROM ledger_transaction WHERE height = 1"),
        one_row(
            f"INSERT INTO ledger_transaction SELECT {NEXT}, raw FROM ledger_transaction WHERE height = 1"
        ),
    ],
    ids=["changed", "removed", "replayed"],
)
def test_a_changed_ledger_does_not_open(tmp_path: Path, tamper: Callable[[Path], None]) -> None:
    async def before() -> None:
        async with new_house(tmp_path) as house:
            await two_studies(house)

    asyncio.run(before())
    with open_home(tmp_path / "home"):
        pass
    tamper(tmp_path / "home")
    with pytest.raises((LedgerError, GuardError)), open_home(tmp_path / "home"):
        pass


def test_a_revocation_cut_from_the_ledgers_end_is_named(tmp_path: Path) -> None:
    """Older rights come back by removing the last row, but the log remembers: closed at the start, and named."""

    async def before(house: House) -> None:
        await two_studies(house)
        await house.admin.call(p.RevokeGrant(grant_id=1), p.Noted)
        await house.admin.call(p.SuspendDevice("ws-1", suspended=True), p.Noted)
        await house.admin.call(p.SuspendDevice("ws-1", suspended=False), p.Noted)
        assert await house.verify() == []

    async def after(house: House) -> None:
        assert await reason(retrieve(house)) == "unavailable"
        await named(house, "tail")

    last = "(SELECT max(height) FROM ledger_transaction)"
    play(tmp_path, before, one_row(f"DELETE FROM ledger_transaction WHERE height = {last}"), after)


class open_home:
    """The core of a home, for a moment."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> None:
        from helpers.guard_house import PASSPHRASE

        self._core, _ = open_core(self._home, PASSPHRASE, GuardLimits())

    def __exit__(self, *_: object) -> None:
        self._core.close()
