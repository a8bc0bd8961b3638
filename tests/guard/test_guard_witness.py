"""A home put back, cut or forked against its witness; a witness that is silent, foreign, or lies."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from attacks.patches import no_cosignature_check, no_memory_of_a_witness, no_witness_gate, no_witness_pin
from helpers.guard_house import PASSPHRASE, Clock, House, at_database, attributes, edit, new_home, running
from helpers.witness_near import http, new_witness, state, until
from ribcage.crypto.provider import FileKeyProvider
from ribcage.evidence.checkpoint import (
    Checkpoint,
    CheckpointSigner,
    verify_checkpoint,
    verify_cosignatures,
)
from ribcage.evidence.fork import Fork, make_fork, next_origin
from ribcage.evidence.note import Note
from ribcage.evidence.proof import make_bundle, verify_bundle
from ribcage.guard import protocol as p
from ribcage.guard._keystore import connect
from ribcage.guard.errors import GuardRefused
from ribcage.guard.keyring import Keyring
from ribcage.guard.limits import GuardLimits
from ribcage.guard.log_epochs import begin_epoch, load_epochs
from ribcage.guard.place import read_facts
from ribcage.guard.witness_wire import WitnessSilent, read_http

STUDY = "1.2.3.1"
QUICK = GuardLimits(checkpoint_seconds=0.05, witness_seconds=0.05, witness_retry_seconds=0.05)
IMPATIENT = GuardLimits(
    checkpoint_seconds=0.05, witness_seconds=0.05, witness_retry_seconds=0.05, witness_answer_seconds=0.3
)


async def refused(coroutine: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await coroutine
    return caught.value.reason


class Ward:
    """A home with a doctor, whose password we know, and a modality; and its witness."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = new_home(folder)
        self.near = new_witness(folder)
        self.password = ""
        self.device = p.Device(fingerprint=b"", ae_title="", address="")
        self.grant = -1

    @contextlib.asynccontextmanager
    async def open(self, limits: GuardLimits = QUICK, **more: object) -> AsyncIterator[House]:
        async with running(self.home, limits, **more) as house:  # type: ignore[arg-type]  # a clock, in one test
            yield house

    async def furnish(self, *, trusted: bool) -> None:
        """A film and a grant; then the copy that will be put back; then the revocation."""
        async with self.open() as house:
            if trusted:
                await self.near.befriend(house)
            self.device = await house.device("cr-1", "CR1", ["store"])
            await house.store(self.device, attributes(1), bytes(3000))
            self.password = (await house.person("li", "clinician")).password
            request = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
            self.grant = (await house.admin.call(request, p.GrantAdded)).grant_id
            if trusted:
                await until(house, lambda now: now.cosigned_size > 0)
        shutil.copytree(self.home, self.folder / "older", ignore=shutil.ignore_patterns("*.sock", "*.lock"))
        async with self.open() as house:
            await house.admin.call(p.RevokeGrant(self.grant), p.Noted)

    def put_back(self) -> None:
        """Yesterday's copy of everything, instead of today's home."""
        shutil.rmtree(self.home)
        shutil.copytree(self.folder / "older", self.home)

    async def film(self, house: House) -> p.Disclosed:
        session = await house.session("li", self.password)
        return await house.front.call(p.Disclose(session, "dicomweb", STUDY), p.Disclosed)


async def check_shut(ward: Ward, house: House) -> None:
    """Nothing is disclosed, listed or granted."""
    assert await refused(ward.film(house)) == "unavailable"
    session = await house.session("li", ward.password)
    assert await refused(house.front.ask(p.Query(session, "dicomweb", "study", {}))) == "unavailable"
    again = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
    assert await refused(house.admin.ask(again)) == "unavailable"


async def check_behind(ward: Ward, house: House) -> None:
    """Shut, storing included; the alarm stands in status and stays."""
    assert (await state(house)).state == "behind"
    await check_shut(ward, house)
    assert await refused(house.store(ward.device, attributes(9), bytes(100))) == "unavailable"
    assert await refused(house.admin.ask(p.RevokeGrant(ward.grant))) == "unavailable"
    findings = (await house.admin.call(p.GetStatus(), p.Status)).findings
    assert any(line.startswith("ALARM") for line in findings)


Story = Callable[[Ward], Awaitable[None]]


def play(folder: Path, story: Story) -> None:
    asyncio.run(story(Ward(folder)))


# --- the honest course ---------------------------------------------------------------------------------------


def test_an_honest_home_opens_at_every_start_and_every_head_is_cosigned(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            for _ in range(2):
                async with ward.open() as house:
                    status = await house.admin.call(p.GetStatus(), p.Status)
                    assert status.configuration == ["embedded", "witness"]
                    assert (status.witness.state, status.findings) == ("open", [])
                    assert await refused(ward.film(house)) == "not_permitted"  # the revocation holds
                    told = (await house.admin.call(p.GetStatus(), p.Status)).log_size
                    now = await until(house, lambda now, told=told: now.cosigned_size == told)
                ((origin, memory),) = ward.near.memory.logs().items()
                for each in ward.near.memory.history(origin):  # what an auditor is given
                    assert verify_checkpoint(each.note, memory.key).size == each.size
                    verify_cosignatures(each.note, [ward.near.home.cosigner.key], 1)
                assert memory.size == now.cosigned_size + 1  # the last act: the entry of the stop is covered

    play(tmp_path, story)


def test_a_proof_comes_under_a_cosigned_checkpoint(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            async with ward.open() as house:
                proof = await house.admin.call(p.ProveEntry(index=1), p.EntryProof)
                bundle = make_bundle(
                    body=proof.body,
                    salt=proof.salt,
                    index=1,
                    path=proof.path,
                    checkpoint=proof.checkpoint,
                    verifier_key=proof.verifier_key,
                )
                key = ward.near.home.cosigner.key.encode()
                proven = verify_bundle(bundle, proof.verifier_key, witnesses=[key], quorum=1)
                assert list(proven.witnessed) == ["witness.example/1"]
                assert await house.verify() == []

    play(tmp_path, story)


def test_verify_names_a_cosignature_that_was_changed(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            async with ward.open() as house:
                size = (await until(house, lambda now: now.cosigned_size > 0)).cosigned_size
            changed = (
                "UPDATE checkpoint SET note = CAST(substr(CAST(note AS TEXT), 1, length(note) - 7)"
                " || 'AAAAA=' || char(10) AS BLOB) WHERE size = :size"
            )
            assert edit(ward.home, changed, size=size) == 1
            async with ward.open() as house:
                (found,) = await house.verify()
                assert (found.where, found.expected) == (
                    f"checkpoint {size}",
                    "the trusted witness's cosignature",
                )

    play(tmp_path, story)


# --- rollback, cut, fork ------------------------------------------------------------------------------------------


def rolled_back(*, trusted: bool, opens: bool) -> Story:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=trusted)
            ward.put_back()
            async with ward.open() as house:
                if opens:
                    assert (await ward.film(house)).view == "masked"  # the revoked grant is alive
                else:
                    await check_behind(ward, house)
                assert await house.verify() == []  # from inside, all is well
            async with ward.open() as house:
                assert opens or (await state(house)).state == "behind"  # starting again does not help

    return story


def test_a_home_put_back_closes(tmp_path: Path) -> None:
    play(tmp_path, rolled_back(trusted=True, opens=False))


def test_without_a_witness_a_home_put_back_is_not_noticed(tmp_path: Path) -> None:
    play(tmp_path, rolled_back(trusted=False, opens=True))


def test_without_the_gate_a_home_put_back_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_witness_gate.apply(monkeypatch.setattr)
    play(tmp_path, rolled_back(trusted=True, opens=True))


CUT = (
    "DELETE FROM log_leaf WHERE number >= :size",
    "DELETE FROM log_tile",
    "DELETE FROM checkpoint WHERE size > :size",
    "DELETE FROM ledger_transaction WHERE height > :height",
)


def forget_in_key_store(home: Path, size: int, height: int) -> None:
    """The second memory of the home, by somebody who may write its files."""
    notes: list[bytes] = []
    select = f"SELECT note FROM checkpoint WHERE size = {size}"
    at_database(home, lambda link: notes.append(bytes(link.exec_driver_sql(select).scalar_one())))
    link = connect(home / "keys" / "keystore.db")
    link.execute("DELETE FROM journal WHERE height > ?", (height,))
    link.execute("UPDATE head SET size = ?, note = ?", (size, notes[0]))
    link.close()


def cut_tail(*, trusted: bool) -> Story:
    """The newest entries, heads and transactions go, consistently, and what the key store remembers of them.

    The database's key is all that is needed: an older head was signed when it was made.
    """

    async def story(ward: Ward) -> None:
        async with ward.near.up():
            async with ward.open() as house:
                if trusted:
                    await ward.near.befriend(house)
                ward.device = await house.device("cr-1", "CR1", ["store"])
                await house.store(ward.device, attributes(1), bytes(3000))
                ward.password = (await house.person("li", "clinician")).password
                request = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
                ward.grant = (await house.admin.call(request, p.GrantAdded)).grant_id
            there: list[int] = []
            select = "SELECT (SELECT max(size) FROM checkpoint), (SELECT max(height) FROM ledger_transaction)"
            at_database(ward.home, lambda link: there.extend(link.exec_driver_sql(select).one()))
            async with ward.open() as house:
                await house.admin.call(p.RevokeGrant(ward.grant), p.Noted)
            size, height = there
            for statement in CUT:
                filled = statement.replace(":size", str(size)).replace(":height", str(height))
                at_database(ward.home, lambda link, text=filled: link.exec_driver_sql(text))
            forget_in_key_store(ward.home, size, height)
            async with ward.open() as house:
                assert await house.verify() == []
                if trusted:
                    await check_behind(ward, house)
                else:
                    assert (await ward.film(house)).view == "masked"

    return story


def test_a_tail_cut_consistently_closes(tmp_path: Path) -> None:
    play(tmp_path, cut_tail(trusted=True))


def test_without_a_witness_a_tail_cut_is_not_noticed(tmp_path: Path) -> None:
    play(tmp_path, cut_tail(trusted=False))


def test_an_old_copy_that_outgrew_the_witness_is_noticed_as_a_fork(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
        ward.put_back()
        (memory,) = ward.near.memory.logs().values()
        async with ward.open() as house:  # the witness is silent meanwhile: storing goes on
            for number in range(2, 12):
                await house.store(ward.device, attributes(number), bytes([number]) * 50)
            assert (await house.admin.call(p.GetStatus(), p.Status)).log_size > memory.size
            await check_shut(ward, house)
            async with ward.near.up():
                now = await until(house, lambda now: now.state == "behind")
            assert "other entries" in now.trouble

    play(tmp_path, story)


def test_a_copy_from_before_a_lawful_fork_closes(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            ((origin, memory),) = ward.near.memory.logs().items()
            successor = CheckpointSigner(next_origin(origin), b"\x05" * 32)
            head = Checkpoint(origin, memory.size, memory.root)
            fork = Fork(
                head, head, successor.key, "disk-lost", (b"\x01" * 16, b"\x02" * 16), 1_750_000_000_000
            )
            ward.near.memory.fork(make_fork(fork, successor), 1_750_000_000)
            async with ward.open() as house:
                await check_behind(ward, house)

    play(tmp_path, story)


def test_a_log_that_lawfully_goes_on_opens_when_the_fork_is_recorded(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            ward.put_back()
            ((origin, memory),) = ward.near.memory.logs().items()
            facts = read_facts(ward.home)
            provider = FileKeyProvider.open(ward.home / "keys" / "provider.json", PASSPHRASE)
            keyring = Keyring.open(ward.home / "keys" / "keystore.db", provider, facts.hospital)
            newest: list[tuple[int, bytes]] = []
            select = "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"
            at_database(ward.home, lambda link: newest.append(tuple(link.exec_driver_sql(select).one())))
            ((size, note),) = newest
            begin_epoch(keyring, 2, size, 1)
            signer = load_epochs(keyring, facts.hospital).signer
            keyring.close()
            async with ward.open() as house:
                now = await state(house)
                assert now.state == "waiting"
                assert "fork" in now.trouble
                await check_shut(ward, house)
                restored = verify_checkpoint(note, memory.key)
                head = Checkpoint(origin, memory.size, memory.root)
                persons = (b"\x01" * 16, b"\x02" * 16)
                fork = Fork(head, restored, signer.key, "disk-lost", persons, 1_750_000_000_000)
                ward.near.memory.fork(make_fork(fork, signer), 1_750_000_000)
                await until(house, lambda now: now.state == "open")
                assert (await ward.film(house)).view == "masked"
            assert ward.near.memory.logs()[origin].closed == signer.key.name

    play(tmp_path, story)


# --- a witness that does not help ----------------------------------------------------------------------------------


def test_silent_at_the_start_stores_but_shows_nothing_until_it_answers(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
        async with ward.open() as house:
            assert (await state(house)).state == "waiting"
            await check_shut(ward, house)
            assert isinstance(await house.store(ward.device, attributes(2), bytes(100)), p.Committed)
            findings = (await house.admin.call(p.GetStatus(), p.Status)).findings
            assert any("nothing is disclosed yet" in line for line in findings)
            async with ward.near.up():
                await until(house, lambda now: now.state == "open")
                assert await refused(ward.film(house)) == "not_permitted"

    play(tmp_path, story)


def test_silent_later_goes_on_and_says_how_much_could_be_cut(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        clock = Clock()
        async with contextlib.AsyncExitStack() as lamp:
            await lamp.enter_async_context(ward.near.up())
            await ward.furnish(trusted=True)
            async with ward.open(clock=clock) as house:
                assert (await state(house)).state == "open"
                await until(house, lambda now: now.uncovered_seconds == 0.0)
                await lamp.aclose()
                await house.store(ward.device, attributes(2), bytes(100))
                await until(house, lambda now: bool(now.trouble))
                assert await refused(ward.film(house)) == "not_permitted"  # decided, not shut
                assert (await house.admin.call(p.GetStatus(), p.Status)).findings == []
                clock.ahead = 61.0
                status = await house.admin.call(p.GetStatus(), p.Status)
                assert status.witness.uncovered_seconds > 60
                assert any("could be cut" in line for line in status.findings)
                clock.ahead = 0.0
                async with ward.near.up():
                    await until(house, lambda now: not now.trouble and now.uncovered_seconds == 0.0)

    play(tmp_path, story)


def test_another_certificate_is_told_nothing(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            async with ward.open() as house:
                await house.admin.call(ward.near.trust(b"\x01" * 32), p.WitnessTrusted)
            (before,) = ward.near.memory.logs().values()
            async with ward.open() as house:
                now = await state(house)
                assert now.state == "waiting"
                assert "another certificate" in now.trouble
                await check_shut(ward, house)
            (after,) = ward.near.memory.logs().values()
            assert after == before

    play(tmp_path, story)


def meddled(*, closes: bool) -> Story:
    """Somebody in between, without the witness's TLS key, says that the witness has seen more."""

    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
        (ward.folder / "other").mkdir()
        other = new_witness(ward.folder / "other")
        other.port = ward.near.port
        answer = http(409, b"1000000\n", "text/x.tlog.size")
        async with other.impostor(lambda _: answer) as asked, ward.open(IMPATIENT) as house:
            if closes:
                await until(house, lambda now: now.state == "behind")
            else:
                assert (await state(house)).state == "waiting"  # shut, until the true witness answers
                assert asked == []

    return story


def test_somebody_in_between_cannot_call_the_archive_rolled_back(tmp_path: Path) -> None:
    play(tmp_path, meddled(closes=False))


def test_without_the_pin_somebody_in_between_closes_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_witness_pin.apply(monkeypatch.setattr)
    play(tmp_path, meddled(closes=True))


def test_a_witness_that_does_not_know_the_log_says_what_to_do(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            async with ward.open() as house:
                await house.admin.call(ward.near.trust(), p.WitnessTrusted)
                now = await until(house, lambda now: bool(now.trouble))
                assert "trust-log" in now.trouble
            async with ward.open() as house:
                assert (await state(house)).state == "waiting"

    play(tmp_path, story)


def replayed(*, opens: bool) -> Story:
    """The home is put back; who holds the witness's TLS key answers with cosignatures of that time."""

    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
        ward.put_back()
        ((origin, _),) = ward.near.memory.logs().items()
        old = [
            Note.parse(each.note).signatures[1].encode().encode() for each in ward.near.memory.history(origin)
        ]
        said = iter(old * 50)
        async with ward.near.impostor(lambda _: http(200, next(said))) as asked, ward.open() as house:
            await until(house, lambda _: len(asked) > (0 if opens else len(old)))
            if opens:
                assert (await ward.film(house)).view == "masked"
            else:
                assert (await state(house)).state == "waiting"
                await check_shut(ward, house)

    return story


def test_replayed_cosignatures_open_nothing(tmp_path: Path) -> None:
    play(tmp_path, replayed(opens=False))


def test_without_the_check_of_cosignatures_a_replay_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_cosignature_check.apply(monkeypatch.setattr)
    play(tmp_path, replayed(opens=True))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        http(200, b"x"),
        http(500, b""),
        http(409, b"1\n"),
        http(200, b"x" * 90_000),
    ],
)
def test_strange_answers_decide_nothing(tmp_path: Path, answer: bytes) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
        async with ward.near.impostor(lambda _: answer) as asked, ward.open(IMPATIENT) as house:
            await until(house, lambda _: bool(asked))
            if answer[9:12] == b"409":  # without its type it speaks of a root
                assert (await state(house)).state == "behind"
            else:
                assert (await state(house)).state == "waiting"

    play(tmp_path, story)


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.0 200\r\ncontent-length: 0\r\n\r\n", http(200, b"cut")[:-1], http(200, b"x") + b"y"],
)
def test_only_a_whole_http_answer_is_read(data: bytes) -> None:
    with pytest.raises(WitnessSilent):
        read_http(data)
    assert read_http(http(409, b"7\n", "text/x.tlog.size")) == (409, "text/x.tlog.size", b"7\n")


# --- whom the archive trusts ----------------------------------------------------------------------------------------


def test_a_trust_removed_from_the_key_store_closes(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            link = connect(ward.home / "keys" / "keystore.db")
            assert link.execute("DELETE FROM blob WHERE name = 'witness'").rowcount == 1
            link.close()
            for _ in range(2):
                async with ward.open() as house:
                    await check_behind(ward, house)

    play(tmp_path, story)


def test_without_the_logs_memory_a_removed_trust_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_memory_of_a_witness.apply(monkeypatch.setattr)

    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            ward.put_back()
            link = connect(ward.home / "keys" / "keystore.db")
            link.execute("DELETE FROM blob WHERE name = 'witness'")
            link.close()
            async with ward.open() as house:
                assert (await ward.film(house)).view == "masked"

    play(tmp_path, story)


def test_forgetting_is_an_entry_and_frees_the_next_start(tmp_path: Path) -> None:
    async def story(ward: Ward) -> None:
        async with ward.near.up():
            await ward.furnish(trusted=True)
            async with ward.open() as house:
                await house.admin.call(p.ForgetWitness(), p.Noted)
                page = await house.admin.call(p.AuditPage(start=-1, count=3), p.AuditEntries)
                assert any("witness-forgotten" in body for _, body in page.entries)
        async with ward.open() as house:
            status = await house.admin.call(p.GetStatus(), p.Status)
            assert (status.witness.state, status.configuration, status.findings) == ("none", ["embedded"], [])
            assert await refused(ward.film(house)) == "not_permitted"

    play(tmp_path, story)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://127.0.0.1:1"},
        {"url": "https://127.0.0.1:99999"},
        {"url": "https://user@127.0.0.1:1"},
        {"url": "https://127.0.0.1:1/a b"},
        {"url": "https://127.0.0.1:1/?x"},
        {"witness": "nonsense"},
        {"certificate_sha256": b"short"},
    ],
)
def test_impossible_witnesses_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    async def story(ward: Ward) -> None:
        good = ward.near.trust()
        values = {name: getattr(good, name) for name in ("url", "witness", "certificate_sha256")}
        async with ward.open() as house:
            assert await refused(house.admin.ask(p.TrustWitness(**(values | change)))) == "invalid"
            assert (await state(house)).state == "none"
            log_key = (await house.admin.call(p.ProveEntry(index=0), p.EntryProof)).verifier_key
            assert (
                await refused(house.admin.ask(p.TrustWitness(**(values | {"witness": log_key})))) == "invalid"
            )
            assert await refused(house.front.ask(good)) == "not_authenticated"

    play(tmp_path, story)
