"""Attacks by whoever holds a copy of a session, a password, a passkey or a role that is not an administrator's.

Each plays against a fresh home whose clock it may let run, and tells whether it succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pyotp

from attacks.guard_attacks import Attack, answered
from helpers.authenticator import Authenticator
from helpers.guard_house import Clock, House, new_house
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

_QUARTER, _GRACE = 901.0, 31.0
_HERE = "127.0.0.1"


@dataclass
class Ground:
    """A running guard, its clock, and the doctor Li."""

    house: House
    clock: Clock
    password: str
    totp: pyotp.TOTP
    session: p.Session

    async def step_up(self) -> None:
        """Li proves the second factor."""
        asked = p.StepUp(self.session, self.totp.at(self.clock()))
        self._take(await self.house.front.call(asked, p.Person))

    async def replace_secret(self) -> None:
        """A quarter of an hour later Li's browser gets and shows the next secret."""
        self.clock.ahead += _QUARTER
        self._take(await self.house.front.call(p.WhoAmI(self.session, rotate=True), p.Person))
        await self.house.front.call(p.WhoAmI(self.session), p.Person)

    def _take(self, person: p.Person) -> None:
        self.session = msgspec.structs.replace(self.session, proof=person.proof)

    async def passkey(self, **more: object) -> Authenticator:
        """Li registers one."""
        await self.step_up()
        device = replace(Authenticator(), **more)  # type: ignore[arg-type]  # fields by name
        options = await self.house.front.call(p.BeginPasskey(self.session, "register"), p.PasskeyOptions)
        asked = p.AddPasskey(self.session, "key", device.create(options.options))
        await self.house.front.call(asked, p.PasskeyItem)
        return device

    async def challenge(self) -> str:
        """Options to log in."""
        return (await self.house.front.call(p.BeginPasskeyLogIn(_HERE), p.PasskeyOptions)).options

    async def enters(self, credential: str) -> bool:
        """Does this log anybody in?"""
        return await answered(self.house.front.ask(p.PasskeyLogIn(credential, _HERE)), p.LoggedIn)


def against_people(attack: Callable[[Ground], Awaitable[bool]]) -> Attack:
    """An attack on a running guard with one doctor, who is logged in."""

    def play(folder: Path) -> bool:
        async def run() -> bool:
            clock = Clock()
            async with new_house(folder, clock=clock) as house:
                added = await house.person("li", "clinician")
                totp = pyotp.parse_uri(added.totp_uri)
                assert isinstance(totp, pyotp.TOTP)
                session = await house.session("li", added.password)
                return await attack(Ground(house, clock, added.password, totp, session))

        return asyncio.run(run())

    return play


async def stolen_cookie_elsewhere(ground: Ground) -> bool:
    """A copied cookie in another browser at another address."""
    thief = p.Session(ground.session.proof, "127.0.0.9", b"another browser")
    return await answered(ground.house.front.ask(p.WhoAmI(thief)), p.Person)


async def superseded_cookie(ground: Ground) -> bool:
    """A copied cookie behind the same address, after its owner's was replaced."""
    thief = ground.session
    await ground.replace_secret()
    ground.clock.ahead += _GRACE
    return await answered(ground.house.front.ask(p.WhoAmI(thief)), p.Person)


async def thief_goes_on(ground: Ground) -> bool:
    """The thief has the newer secret; the owner comes with the old one; may the thief go on?"""
    owner = ground.session
    await ground.replace_secret()  # by the thief, who holds the same cookie
    ground.clock.ahead += _GRACE
    await answered(ground.house.front.ask(p.WhoAmI(owner)), p.Person)
    return await answered(ground.house.front.ask(p.WhoAmI(ground.session)), p.Person)


async def factor_from_a_password(ground: Ground) -> bool:
    """Whoever has the password alone adds a second factor of their own and steps up with it."""
    front, device = ground.house.front, Authenticator()
    try:
        options = await front.call(p.BeginPasskey(ground.session, "register"), p.PasskeyOptions)
        await front.call(p.AddPasskey(ground.session, "mine", device.create(options.options)), p.PasskeyItem)
        options = await front.call(p.BeginPasskey(ground.session, "step-up"), p.PasskeyOptions)
    except GuardRefused:
        return False
    asked = p.PasskeyStepUp(ground.session, device.get(options.options))
    return await answered(front.ask(asked), p.Person)


async def phished_passkey(ground: Ground) -> bool:
    """A page of another name passes our challenge on to the doctor's browser."""
    device = await ground.passkey()
    device.origin = "https://localhost.evil.example"
    return await ground.enters(device.get(await ground.challenge()))


async def replayed_assertion(ground: Ground) -> bool:
    """A passkey's answer, seen once, is sent again; the authenticator does not count."""
    device = await ground.passkey(counts=False)
    seen = device.get(await ground.challenge())
    return await ground.enters(seen) and await ground.enters(seen)


async def copied_passkey(ground: Ground) -> bool:
    """A copy of the authenticator, made before its owner used it."""
    device = await ground.passkey()
    copy = replace(device)
    await ground.enters(device.get(await ground.challenge()))
    return await ground.enters(copy.get(await ground.challenge()))


async def found_passkey(ground: Ground) -> bool:
    """A token that was found opens a session without its owner's PIN or finger."""
    device = await ground.passkey()
    device.verifies = False
    return await ground.enters(device.get(await ground.challenge()))


async def recovery_code_twice(ground: Ground) -> bool:
    """A recovery code read over the shoulder."""
    await ground.step_up()
    codes = await ground.house.front.call(p.MakeRecoveryCodes(ground.session), p.RecoveryCodes)
    used = [p.StepUp(ground.session, codes.codes[0], "recovery") for _ in range(2)]
    return all([await answered(ground.house.front.ask(each), p.Person) for each in used])


async def doctor_administrates(ground: Ground) -> bool:
    """A doctor with a second factor makes an administrator."""
    await ground.step_up()
    asked = p.AsAdministrator(ground.session, p.AddPerson("eve", "Eve", ["administrator"]))
    return await answered(ground.house.front.ask(asked), p.PersonAdded)


async def _administrator(ground: Ground, name: str) -> p.Session:
    added = await ground.house.person(name, "administrator")
    session = await ground.house.session(name, added.password)
    code = pyotp.parse_uri(added.totp_uri).at(int(ground.clock()))
    await ground.house.front.call(p.StepUp(session, code), p.Person)
    return session


async def one_administrator_resets(ground: Ground) -> bool:
    """An administrator asks for a reset of Li's factors and approves it too, to log in as Li."""
    session, front = await _administrator(ground, "eve"), ground.house.front
    await front.call(p.AsAdministrator(session, p.AskFactorReset("li")), p.Noted)
    approve = p.AsAdministrator(session, p.ApproveFactorReset("li"))
    return await answered(front.ask(approve), p.FactorResetCode)


async def _reset(ground: Ground) -> str:
    """Li's code, in order; Li logs in again by password."""
    front = ground.house.front
    first, second = await _administrator(ground, "root"), await _administrator(ground, "wu")
    await front.call(p.AsAdministrator(first, p.AskFactorReset("li")), p.Noted)
    given = await front.call(p.AsAdministrator(second, p.ApproveFactorReset("li")), p.FactorResetCode)
    ground.session = await ground.house.session("li", ground.password)
    return given.code


async def reset_code_twice(ground: Ground) -> bool:
    """A code of a reset, read on the desk after its owner used it."""
    code, front = await _reset(ground), ground.house.front
    await front.call(p.EnrolFactor(ground.session, code), p.FactorEnrolled)
    return await answered(front.ask(p.EnrolFactor(ground.session, code)), p.FactorEnrolled)


async def old_reset_code(ground: Ground) -> bool:
    """A code that nobody used, found two days later, with the password."""
    code = await _reset(ground)
    ground.clock.ahead += 2 * 86400.0
    session = await ground.house.session("li", ground.password)
    return await answered(ground.house.front.ask(p.EnrolFactor(session, code)), p.FactorEnrolled)


async def guessed_reset_code(ground: Ground) -> bool:
    """Guesses as slow as the throttle wants them; the seventh is right."""
    code, front = await _reset(ground), ground.house.front
    for number in range(6):
        await answered(front.ask(p.EnrolFactor(ground.session, f"AAAA-{number}")), p.FactorEnrolled)
        ground.clock.ahead += 70.0
    return await answered(front.ask(p.EnrolFactor(ground.session, code)), p.FactorEnrolled)
