"""Administrators on the web: role, fresh second factor, every call in their own name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pyotp
import pytest

from helpers.guard_house import Clock, House, attributes, new_house
from ribcage.guard import protocol as p
from ribcage.guard.administrators import READING
from ribcage.guard.errors import GuardRefused

Story = Callable[[House, Clock], Awaitable[None]]
_CALLS: list[p.HouseRequest] = [
    p.AddPerson("new", "New", ["clinician"]),
    p.SuspendPerson("li", suspended=True),
    p.ListPersons(),
    p.AddDevice("cr-9", ["CR9"], ["store"], csr_pem=b"x"),
    p.SuspendDevice("cr", suspended=True),
    p.ListDevices(),
    p.AddGrant("person:li", "study:1.2.3.1", "masked"),
    p.RevokeGrant(1),
    p.ListGrants(),
    p.GetStatus(),
    p.ParkedPage(0, 10),
]


def play(folder: Path, story: Story) -> None:
    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            await house.store(await house.device("cr", "CR1", ["store"]), attributes(1), bytes(4000))
            await house.person("li", "clinician")
            await story(house, clock)

    asyncio.run(run())


async def session_of(house: House, clock: Clock, name: str, role: str, *, fresh: bool = True) -> p.Session:
    added = await house.person(name, role)
    session = await house.session(name, added.password)
    if not fresh:
        return session
    totp = pyotp.parse_uri(added.totp_uri)
    assert isinstance(totp, pyotp.TOTP)
    stepped = await house.front.call(p.StepUp(session, totp.at(clock())), p.Person)
    return msgspec.structs.replace(session, proof=stepped.proof)


async def why(asked: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await asked
    return caught.value.reason


async def entries(house: House) -> list[dict]:
    page = await house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
    return [json.loads(text) for _, text in page.entries]


def of(entries: list[dict], kind: str) -> list[dict]:
    return [each for each in entries if each.get("subtype", [{}])[0].get("code") == kind]


@pytest.mark.parametrize("role", ["clinician", "radiologist", "technologist"])
def test_no_other_role_administrates(tmp_path: Path, role: str) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await session_of(house, clock, "eve", role)
        for call in _CALLS:
            assert await why(house.front.ask(p.AsAdministrator(session, call))) == "not_permitted"
        used = of(await entries(house), "administration-used")
        assert [each["outcomeDesc"] for each in used] == ["not-permitted"] * len(_CALLS)

    play(tmp_path, story)


def test_an_administrator_without_a_fresh_second_factor_does_nothing(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await session_of(house, clock, "root", "administrator", fresh=False)
        for call in _CALLS:
            assert await why(house.front.ask(p.AsAdministrator(session, call))) == "second_factor_needed"

    play(tmp_path, story)


def test_an_officer_reads_and_changes_nothing(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await session_of(house, clock, "dpo", "officer")
        for call in _CALLS:
            asked = p.AsAdministrator(session, call)
            if type(call) in READING:
                await house.front.ask(asked)
            else:
                assert await why(house.front.ask(asked)) == "not_permitted"
        await house.front.call(p.AsAdministrator(session, p.GetStatus()), p.Status)

    play(tmp_path, story)


def test_what_an_administrator_does_stands_in_their_own_name(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await session_of(house, clock, "root", "administrator")

        async def act(request: p.HouseRequest, kind: type) -> object:
            return await house.front.call(p.AsAdministrator(session, request), kind)

        added = await act(p.AddPerson("wu", "Wu", ["radiologist"]), p.PersonAdded)
        assert added.password and added.totp_uri
        grant = await act(p.AddGrant("person:wu", "study:1.2.3.1", "full"), p.GrantAdded)
        dead = await act(p.AddGrant("person:wu", "department:x", "masked"), p.GrantAdded)
        await act(p.RevokeGrant(dead.grant_id), p.Noted)
        listed = await act(p.ListGrants(), p.GrantItems)
        assert [(each.grant_id, each.subject, each.resource, each.view) for each in listed.items] == [
            (grant.grant_id, "person:wu", "study:1.2.3.1", "full")
        ]
        await act(p.SuspendPerson("wu", suspended=True), p.Noted)
        await act(p.SuspendDevice("cr", suspended=True), p.Noted)
        persons = await act(p.ListPersons(), p.PersonItems)
        assert [(each.username, each.suspended) for each in persons.items] == [
            ("li", False), ("root", False), ("wu", True)
        ]  # fmt: skip
        devices = await act(p.ListDevices(), p.DeviceItems)
        assert [(each.name, each.suspended) for each in devices.items] == [("cr", True)]
        assert not (await act(p.ParkedPage(0, 10), p.ParkedItems)).items
        log = await entries(house)
        changed = [*of(log, "person-changed"), *of(log, "grant-changed"), *of(log, "device-changed")]
        mine = [e for e in changed if e["agent"][0]["who"]["identifier"]["system"] == "urn:ribcage:person"]
        assert len(mine) == 6  # a person, two grants, a revocation, two suspensions
        assert {e["agent"][0]["policy"][0] for e in mine} == {"urn:ribcage:assurance:2"}
        reads = [e["entity"][0]["what"]["identifier"]["value"] for e in of(log, "administration-used")]
        assert reads == ["list-grants", "list-persons", "list-devices", "parked-page"]

    play(tmp_path, story)


def test_no_private_key_and_no_chosen_password_passes_the_web(tmp_path: Path) -> None:
    async def story(house: House, clock: Clock) -> None:
        session = await session_of(house, clock, "root", "administrator")
        for call in (
            p.AddDevice("cr-9", ["CR9"], ["store"]),
            p.AddDevice("cr-9", ["CR9"], ["store"], certificate_pem=b"x", csr_pem=b"y"),
            p.AddPerson("new", "New", ["clinician"], password="chosen"),
        ):
            assert await why(house.front.ask(p.AsAdministrator(session, call))) == "invalid"

    play(tmp_path, story)


def test_nothing_but_the_listed_calls_travels_so(tmp_path: Path) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "Stop"}, p.HouseRequest)
