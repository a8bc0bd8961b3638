"""Passkeys and recovery codes: verified in the guard, once, for the right person, from our own page alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pyotp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.authenticator import Authenticator, read, written
from helpers.guard_house import Clock, House, new_house
from ribcage.guard import protocol as p
from ribcage.guard import webauthn_wire as wire
from ribcage.guard.errors import GuardRefused
from ribcage.guard.passkeys import Challenges

Story = Callable[[House, Clock], Awaitable[None]]
_PARTY = wire.RelyingParty("localhost", 8443, "Test", 120)


def play(folder: Path, story: Story) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            await story(house, clock)

    asyncio.run(run())


async def why(asked: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await asked
    return caught.value.reason


async def person(house: House, clock: Clock, name: str = "li", *, fresh: bool = True) -> p.Session:
    """A session, by default with a fresh second factor."""
    added = await house.person(name, "clinician")
    session = await house.session(name, added.password)
    if fresh:
        totp = pyotp.parse_uri(added.totp_uri)
        assert isinstance(totp, pyotp.TOTP)
        stepped = await house.front.call(p.StepUp(session, totp.at(clock())), p.Person)
        session = msgspec.structs.replace(session, proof=stepped.proof)
    return session


async def begin(house: House, session: p.Session, use: str) -> str:
    return (await house.front.call(p.BeginPasskey(session, use), p.PasskeyOptions)).options


async def register(
    house: House, session: p.Session, device: Authenticator, label: str = "key"
) -> p.PasskeyItem:
    made = device.create(await begin(house, session, "register"))
    return await house.front.call(p.AddPasskey(session, label, made), p.PasskeyItem)


async def log_in_options(house: House, address: str = "127.0.0.1") -> str:
    return (await house.front.call(p.BeginPasskeyLogIn(address), p.PasskeyOptions)).options


async def body_of_log(house: House) -> str:
    page = await house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
    return "\n".join(text for _, text in page.entries)


def test_several_passkeys_each_a_second_factor_and_a_log_in(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await person(house, clock)
        devices = [Authenticator(), Authenticator(counts=False)]
        items = [await register(house, session, each, f"key {n}") for n, each in enumerate(devices)]
        page = await house.front.call(p.ListPasskeys(session), p.PasskeyItems)
        assert [(each.id, each.label) for each in page.items] == [(i.id, i.label) for i in items]
        clock.ahead += 1000
        for device in devices:
            asked = p.PasskeyStepUp(session, device.get(await begin(house, session, "step-up")))
            stepped = await house.front.call(asked, p.Person)
            assert (stepped.assurance, stepped.second_factor, stepped.passkeys) == (2, "passkey", 2)
            session = msgspec.structs.replace(session, proof=stepped.proof or session.proof)
            new = p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1")
            logged = await house.front.call(new, p.LoggedIn)
            own = await house.front.call(p.WhoAmI(p.Session(logged.proof, "127.0.0.1")), p.Person)
            assert (own.username, own.assurance) == ("li", 2)
        await house.front.call(p.RemovePasskey(session, items[0].id), p.Noted)
        gone = p.PasskeyLogIn(devices[0].get(await log_in_options(house)), "127.0.0.1")
        assert await why(house.front.ask(gone)) == "not_authenticated"
        log = await body_of_log(house)
        assert '"passkey-added"' in log
        assert '"passkey-removed"' in log
        assert devices[1].credential.hex() not in log

    play(tmp_path, story)


def test_a_password_alone_adds_no_factor(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await person(house, clock, fresh=False)
        assert await why(begin(house, session, "register")) == "second_factor_needed"
        assert await why(house.front.ask(p.MakeRecoveryCodes(session))) == "second_factor_needed"
        made = Authenticator().create(json.dumps({"challenge": written(bytes(32))}))
        assert await why(house.front.ask(p.AddPasskey(session, "mine", made))) == "second_factor_needed"
        assert await why(house.front.ask(p.RemovePasskey(session, bytes(16)))) == "second_factor_needed"

    play(tmp_path, story)


def test_another_page_another_name_or_no_user_is_refused(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await person(house, clock)
        for wrong in (
            Authenticator(origin="https://localhost.evil.example"),
            Authenticator(origin="http://localhost"),
            Authenticator(origin="https://localhost:1"),
            Authenticator(rp_id="evil.example"),
        ):
            assert await why(register(house, session, wrong)) == "invalid"
        device = Authenticator()
        await register(house, session, device)
        device.origin = "https://localhost.evil.example"
        phished = p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1")
        assert await why(house.front.ask(phished)) == "not_authenticated"
        device.origin, device.verifies = "https://localhost:8443", False  # possession alone is one factor
        alone = p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1")
        assert await why(house.front.ask(alone)) == "not_authenticated"
        second = p.PasskeyStepUp(session, device.get(await begin(house, session, "step-up")))
        assert (
            await house.front.call(second, p.Person)
        ).assurance == 2  # beside the password it is the second

    play(tmp_path, story)


def test_a_challenge_works_once_for_two_minutes_for_its_owner_and_use(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, device = await person(house, clock), Authenticator()
        await register(house, session, device)
        asked = p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1")
        await house.front.call(asked, p.LoggedIn)
        assert await why(house.front.ask(asked)) == "not_authenticated"  # replayed
        elsewhere = p.PasskeyLogIn(device.get(await log_in_options(house, "127.0.0.9")), "127.0.0.1")
        assert await why(house.front.ask(elsewhere)) == "not_authenticated"
        crossed = p.PasskeyLogIn(device.get(await begin(house, session, "step-up")), "127.0.0.1")
        assert await why(house.front.ask(crossed)) == "not_authenticated"
        late = p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1")
        clock.ahead += 121
        assert await why(house.front.ask(late)) == "not_authenticated"
        own = device.get(json.dumps({"challenge": written(bytes(32))}))  # a challenge of one's own
        assert await why(house.front.ask(p.PasskeyLogIn(own, "127.0.0.1"))) == "not_authenticated"

    play(tmp_path, story)


def test_a_copied_passkey_is_refused_and_an_alarm(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, device = await person(house, clock), Authenticator(count=5)
        await register(house, session, device)
        copy = Authenticator(count=5, credential=device.credential, key=device.key)
        await house.front.call(
            p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1"), p.LoggedIn
        )
        cloned = p.PasskeyLogIn(copy.get(await log_in_options(house)), "127.0.0.1")
        assert await why(house.front.ask(cloned)) == "not_authenticated"
        assert "passkey-counter-went-back" in await body_of_log(house)

    play(tmp_path, story)


def test_somebody_elses_passkey_is_no_second_factor(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        li, wu = await person(house, clock, "li"), await person(house, clock, "wu")
        device, other = Authenticator(), Authenticator()
        await register(house, li, device)
        await register(house, wu, other)
        assert await why(register(house, wu, device)) == "conflict"
        asked = p.PasskeyStepUp(wu, device.get(await begin(house, wu, "step-up")))
        assert await why(house.front.ask(asked)) == "not_authenticated"
        forged = Authenticator(credential=device.credential)  # its id with another key
        asked = p.PasskeyStepUp(li, forged.get(await begin(house, li, "step-up")))
        assert await why(house.front.ask(asked)) == "not_authenticated"
        await house.admin.call(p.SuspendPerson("li", suspended=True), p.Noted)
        suspended = p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1")
        assert await why(house.front.ask(suspended)) == "not_authenticated"

    play(tmp_path, story)


def test_guesses_from_one_address_lock_out_nobody_elsewhere(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, device = await person(house, clock), Authenticator()
        await register(house, session, device)
        for _ in range(5):
            asked = p.PasskeyLogIn(Authenticator().get(await log_in_options(house, "127.0.0.9")), "127.0.0.9")
            assert await why(house.front.ask(asked)) == "not_authenticated"
        asked = p.PasskeyLogIn(device.get(await log_in_options(house, "127.0.0.9")), "127.0.0.9")
        assert await why(house.front.ask(asked)) == "throttled"
        asked = p.PasskeyLogIn(device.get(await log_in_options(house)), "127.0.0.1")
        await house.front.call(asked, p.LoggedIn)

    play(tmp_path, story)


def test_recovery_codes_work_once_each_and_end_with_the_next_ten(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await person(house, clock)
        codes = (await house.front.call(p.MakeRecoveryCodes(session), p.RecoveryCodes)).codes
        assert len(set(codes)) == 10
        clock.ahead += 1000
        typed = codes[3].lower().replace("-", " ")
        used = await house.front.call(p.StepUp(session, typed, "recovery"), p.Person)
        assert (used.assurance, used.second_factor, used.recovery_codes) == (2, "recovery", 9)
        assert used.notices == ["recovery_code_used"]
        session = msgspec.structs.replace(session, proof=used.proof)
        assert await why(house.front.ask(p.StepUp(session, codes[3], "recovery"))) == "not_authenticated"
        assert await why(house.front.ask(p.StepUp(session, "", "recovery"))) == "not_authenticated"
        twice = [house.front.ask(p.StepUp(session, codes[4], "recovery")) for _ in range(4)]
        answers = await asyncio.gather(*twice, return_exceptions=True)
        assert sum(isinstance(each, p.Person) for each in answers) == 1
        clock.ahead += 400
        await house.front.call(p.StepUp(session, codes[5], "recovery"), p.Person)
        fresh = await house.front.call(p.MakeRecoveryCodes(session), p.RecoveryCodes)
        assert await why(house.front.ask(p.StepUp(session, codes[6], "recovery"))) == "not_authenticated"
        await house.front.call(p.StepUp(session, fresh.codes[0], "recovery"), p.Person)
        log = await body_of_log(house)
        assert '"recovery-codes-made"' in log
        assert not any(code in log or code.replace("-", "") in log for code in codes)

    play(tmp_path, story)


def test_labels_and_numbers_are_bounded(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await person(house, clock)
        for label in ("", " ", "x" * 65, "a\nb"):
            assert await why(register(house, session, Authenticator(), label)) == "invalid"
        for _ in range(10):
            await register(house, session, Authenticator())
        assert await why(begin(house, session, "register")) == "conflict"

    play(tmp_path, story)


def test_challenges_of_strangers_are_bounded_for_each_and_in_all() -> None:
    held = Challenges(120)
    first = held.draw("a", "log-in", 0)
    for _ in range(8):
        held.draw("a", "log-in", 1)
    with pytest.raises(wire.PasskeyRefused):
        held.take(first, "a", "log-in", 2)
    for number in range(4096 - 8):
        held.draw(str(number), "log-in", 2)
    with pytest.raises(GuardRefused) as full:
        held.draw("one more", "log-in", 3)
    assert full.value.reason == "throttled"
    held.draw("one more", "log-in", 130)


def test_attestation_is_not_looked_at() -> None:
    device, options = Authenticator(), json.dumps({"challenge": written(bytes(32))})
    made = device.create(options, fmt="packed", attStmt={"x5c": [b"\x30" * 600], "alg": -7, "sig": b"no"})
    assert wire.verify_registration(_PARTY, bytes(32), made).credential_id == device.credential


@pytest.mark.parametrize(
    ("port", "origin", "good"),
    [
        (8443, "https://localhost:8443", True),
        (8443, "https://localhost", True),
        (8443, "https://localhost:8444", False),
        (0, "https://localhost:8444", True),
        (0, "https://localhost:8444.evil.example", False),
        (0, "https://localhost.evil.example:8444", False),
        (0, "http://localhost:8444", False),
    ],
)
def test_an_origin_is_ours_or_refused(port: int, origin: str, good: bool) -> None:
    party = wire.RelyingParty("localhost", port, "Test", 120)
    made = Authenticator(origin=origin).create(json.dumps({"challenge": written(bytes(32))}))
    if good:
        wire.verify_registration(party, bytes(32), made)
        return
    with pytest.raises(wire.PasskeyRefused):
        wire.verify_registration(party, bytes(32), made)


_DEEP = b"\x81" * 5000
_HOSTILE = st.one_of(
    st.binary(max_size=400), st.just(_DEEP), st.just(b"\x9f" * 5000), st.just(b"\xbb" + b"\xff" * 8)
)


@settings(max_examples=150, deadline=None)
@given(_HOSTILE, _HOSTILE)
@example(_DEEP, _DEEP)
def test_hostile_cbor_and_json_are_refused_and_nothing_else(one: bytes, other: bytes) -> None:
    device, options = Authenticator(), json.dumps({"challenge": written(bytes(32))})
    made = json.loads(device.create(options))
    made["response"]["attestationObject"] = written(one)
    with pytest.raises(wire.PasskeyRefused):
        wire.verify_registration(_PARTY, bytes(32), json.dumps(made))
    shown = json.loads(device.get(options))
    shown["response"]["authenticatorData"] = written(one)
    shown["response"]["clientDataJSON"] = written(other)
    with pytest.raises(wire.PasskeyRefused):
        wire.challenge_and_id(json.dumps(shown))
    with pytest.raises(wire.PasskeyRefused):
        wire.verify_assertion(_PARTY, bytes(32), json.dumps(shown), other, identifies_user=False)
    with pytest.raises(wire.PasskeyRefused):
        wire.challenge_and_id(one.decode("latin-1"))


def test_a_credential_beyond_its_size_is_not_parsed() -> None:
    device, options = Authenticator(), json.dumps({"challenge": written(bytes(32))})
    long = json.loads(device.get(options)) | {"more": "x" * 9000}
    with pytest.raises(wire.PasskeyRefused):
        wire.challenge_and_id(json.dumps(long))
    assert read(json.loads(device.get(options))["rawId"]) == device.credential
