"""Sessions: bound to their client, their secrets replaced, a copied one found out, and every tab told."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.guard_house import Clock, House, attributes, new_house
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.session_secrets import Secrets

Story = Callable[[House, Clock], Awaitable[None]]
_QUARTER = 901.0


def play(folder: Path, story: Story) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            await story(house, clock)

    asyncio.run(run())


async def doctor(house: House) -> tuple[p.Session, pyotp.TOTP]:
    added = await house.person("li", "clinician")
    totp = pyotp.parse_uri(added.totp_uri)
    assert isinstance(totp, pyotp.TOTP)
    return await house.session("li", added.password), totp


async def why(asked: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await asked
    return caught.value.reason


async def who(house: House, session: p.Session, *, rotate: bool = False) -> p.Person:
    return await house.front.call(p.WhoAmI(session, rotate), p.Person)


def after(session: p.Session, person: p.Person) -> p.Session:
    """What the browser's jar holds after this answer."""
    return msgspec.structs.replace(session, proof=person.proof) if person.proof else session


async def kinds(house: House) -> list[str]:
    page = await house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
    found = []
    for _, text in page.entries:
        entry = json.loads(text)
        found.append(
            f"{entry['subtype'][0]['code']}:{entry.get('outcomeDesc', '')}" if "subtype" in entry else ""
        )
    return found


def told(house: House, kind: str) -> list[p.Told]:
    return [each for each in house.pushed if isinstance(each, p.Told) and each.kind == kind]


def test_a_cookie_from_another_client_is_refused_and_written_down_once_a_minute(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, _ = await doctor(house)
        elsewhere = msgspec.structs.replace(session, address="127.0.0.2")
        other = msgspec.structs.replace(session, client=hashlib.sha256(b"curl").digest())
        for thief in (elsewhere, other, elsewhere, other):
            assert await why(house.front.ask(p.WhoAmI(thief))) == "not_authenticated"
        assert (await kinds(house)).count("session-alarm:another-client") == 2
        assert (await who(house, session)).username == "li"  # its owner is not locked out by it
        clock.ahead += 61
        assert await why(house.front.ask(p.WhoAmI(elsewhere))) == "not_authenticated"
        assert (await kinds(house)).count("session-alarm:another-client") == 3

    play(tmp_path, story)


def test_the_secret_is_replaced_each_quarter_and_the_old_one_ends_after_its_grace(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, _ = await doctor(house)
        assert not (await who(house, session, rotate=True)).proof
        clock.ahead += _QUARTER
        assert not (await who(house, session)).proof
        fresh = after(session, await who(house, session, rotate=True))
        assert fresh.proof != session.proof
        await who(house, fresh)
        await who(house, session)  # under way in another tab
        clock.ahead += 31
        assert await why(house.front.ask(p.WhoAmI(session))) == "not_authenticated"
        assert await why(house.front.ask(p.WhoAmI(fresh))) == "not_authenticated"  # one of two is a thief's
        assert "session-alarm:superseded-secret" in await kinds(house)
        assert [each.session for each in told(house, "session-ended")] == [session.proof[1:17]]

    play(tmp_path, story)


def test_a_thief_who_replaces_the_secret_first_is_found_out_by_its_owner(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        owner, _ = await doctor(house)
        clock.ahead += _QUARTER
        thief = after(owner, await who(house, owner, rotate=True))
        for _ in range(3):  # generations later it is still known
            await who(house, thief)
            clock.ahead += _QUARTER
            thief = after(thief, await who(house, thief, rotate=True))
        assert await why(house.front.ask(p.WhoAmI(owner))) == "not_authenticated"
        assert await why(house.front.ask(p.WhoAmI(thief))) == "not_authenticated"
        assert "session-alarm:superseded-secret" in await kinds(house)

    play(tmp_path, story)


def test_many_tabs_at_once_replace_the_secret_once_and_a_lost_answer_costs_nothing(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, _ = await doctor(house)
        clock.ahead += _QUARTER
        answers = await asyncio.gather(*(who(house, session, rotate=True) for _ in range(12)))
        proofs = [each.proof for each in answers if each.proof]
        assert len(proofs) == 1
        clock.ahead += 3600  # none of them arrived
        await who(house, session)
        again = after(session, await who(house, session, rotate=True))
        assert again.proof not in (session.proof, proofs[0])
        await who(house, again)

    play(tmp_path, story)


def test_a_request_that_began_before_outlives_its_secret(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, _ = await doctor(house)
        long = msgspec.structs.replace(session, began=clock())
        clock.ahead += _QUARTER
        await who(house, after(session, await who(house, session, rotate=True)))
        clock.ahead += 600
        await who(house, long)
        for lie in (clock() + 10, clock() - 3601):  # neither from the future nor for ever
            late = msgspec.structs.replace(session, began=lie)
            assert await why(house.front.ask(p.WhoAmI(late))) == "not_authenticated"

    play(tmp_path, story)


def test_a_step_up_replaces_the_secret_and_tells_every_tab(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, totp = await doctor(house)
        person = await house.front.call(p.StepUp(session, totp.at(clock())), p.Person)
        assert (person.assurance, person.second_factor) == (2, "totp")
        assert person.proof
        await who(house, after(session, person))
        (event,) = told(house, "assurance")
        assert (event.session, event.until) == (session.proof[1:17], person.second_factor_until)
        clock.ahead += 31
        assert await why(house.front.ask(p.WhoAmI(session))) == "not_authenticated"

    play(tmp_path, story)


def test_a_live_disclosure_survives_the_replaced_secret(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        await house.store(await house.device("cr", "CR1", ["store"]), attributes(1), bytes(4000))
        session, _ = await doctor(house)
        request = p.AddGrant(subject="person:li", resource="study:1.2.3.1", view="full")
        await house.admin.call(request, p.GrantAdded)
        clock.ahead += _QUARTER
        ask = p.Disclose(principal=msgspec.structs.replace(session, began=clock()), channel="dicomweb",
                         study_instance_uid="1.2.3.1")  # fmt: skip
        live = await house.front.call(ask, p.Disclosed)
        await who(house, after(session, await who(house, session, rotate=True)))
        clock.ahead += 120
        other = await house.admin.call(
            p.AddGrant(subject="person:li", resource="department:other", view="masked"), p.GrantAdded
        )
        await house.admin.call(p.RevokeGrant(grant_id=other.grant_id), p.Noted)  # asks every disclosure again
        assert not [each for each in house.pushed if isinstance(each, p.Revoked)]
        objects = [each.object_id for each in live.instances]
        await house.front.call(p.Open(live.receipt, ask.principal, objects), p.Opened)

    play(tmp_path, story)


def test_pages_hear_of_a_fallen_right_long_after_the_bytes_left(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        await house.store(await house.device("cr", "CR1", ["store"]), attributes(1), bytes(4000))
        session, totp = await doctor(house)
        session = after(session, await house.front.call(p.StepUp(session, totp.at(clock())), p.Person))
        grant = p.AddGrant(subject="person:li", resource="study:1.2.3.1", view="full")
        number = (await house.admin.call(grant, p.GrantAdded)).grant_id
        ask = p.Disclose(principal=session, channel="dicomweb", study_instance_uid="1.2.3.1")
        live = await house.front.call(ask, p.Disclosed)
        assert live.view == "full"
        await house.front.call(p.DisclosureClosed(live.receipt, 1, 4000, "complete"), p.Noted)
        clock.ahead += 3600  # the second factor is old: no right has fallen
        other = p.AddGrant(subject="person:li", resource="study:1.2.3.1", view="masked")
        await house.admin.call(other, p.GrantAdded)
        assert not told(house, "revoked")
        await house.admin.call(
            p.RevokeGrant(grant_id=number), p.Noted
        )  # what is left is less than what was shown
        await house.front.call(p.Ping(), p.Noted)
        assert [(each.session, each.study) for each in told(house, "revoked")] == [
            (session.proof[1:17], "1.2.3.1")
        ]

    play(tmp_path, story)


def test_a_person_lists_and_ends_their_own_sessions_alone(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        added = await house.person("li", "clinician")
        other = await house.person("wu", "clinician")
        mine = [await house.session("li", added.password) for _ in range(3)]
        theirs = await house.session("wu", other.password)
        page = await house.front.call(p.ListSessions(mine[0]), p.SessionItems)
        assert {each.id for each in page.items} == {each.proof[1:17] for each in mine}
        assert [each.id for each in page.items if each.this] == [mine[0].proof[1:17]]
        assert {each.address for each in page.items} == {"127.0.0.1"}
        foreign = p.EndSessions(mine[0], theirs.proof[1:17])
        assert await why(house.front.ask(foreign)) == "not_found"
        await house.front.call(p.EndSessions(mine[0], mine[1].proof[1:17]), p.Noted)
        assert await why(house.front.ask(p.WhoAmI(mine[1]))) == "not_authenticated"
        await house.front.call(p.EndSessions(mine[0]), p.Noted)
        assert await why(house.front.ask(p.WhoAmI(mine[2]))) == "not_authenticated"
        await who(house, mine[0])
        await who(house, theirs)
        await house.admin.call(p.SuspendPerson("li", suspended=True), p.Noted)
        await house.front.call(p.Ping(), p.Noted)
        ended = [each.session for each in told(house, "session-ended")]
        assert ended == [mine[1].proof[1:17], mine[2].proof[1:17], mine[0].proof[1:17]]

    play(tmp_path, story)


def test_an_ended_session_is_not_revived_by_a_replacement_on_its_way(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session, _ = await doctor(house)
        clock.ahead += _QUARTER
        asked = [
            house.front.ask(p.LogOut(session)),
            *(house.front.ask(p.WhoAmI(session, True)) for _ in range(4)),
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers[0], p.Noted)
        for proof in [
            session.proof,
            *(each.proof for each in answers if isinstance(each, p.Person) and each.proof),
        ]:
            late = msgspec.structs.replace(session, proof=proof)
            assert await why(house.front.ask(p.WhoAmI(late))) == "not_authenticated"
        assert "session-alarm:superseded-secret" not in await kinds(house)

    play(tmp_path, story)


_hashes = st.binary(min_size=32, max_size=32)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2**40), _hashes), max_size=80), _hashes)
def test_secrets_come_back_from_their_columns(older: list[tuple[int, bytes]], current: bytes) -> None:
    held = Secrets(current, b"", 12.5, ())
    for at, each in older:
        held = held.issue(each, at / 1000).shown_issued(at / 1000)
    assert len(held.superseded) == min(len(older), 64)
    assert Secrets.of(held.columns()) == held
