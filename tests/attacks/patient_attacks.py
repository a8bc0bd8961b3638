"""Attacks on a patient's way in and on the list behind it: by a finder of the invitation, a thief of the cookie,
another patient, and staff that may not invite.

Each plays against a fresh home with two patients born on one day, and tells whether it succeeded.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pyotp

from attacks.guard_attacks import Attack, answered
from helpers.guard_house import Clock, House, attributes, new_house
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

_BORN, _HERE, _PHONE = "19700101", "192.0.2.40", b"phone"
_DAY = 86400.0
_MINE, _THEIRS = "PID000001", "PID000002"


@dataclass
class Ground:
    """A running guard, its clock, and a doctor who looked at both patients' films."""

    house: House
    clock: Clock
    doctor: p.Session
    seen: dict[str, int]  # patient -> the entry of the doctor's look

    async def invite(self, name: str = _MINE, days: int = 7) -> str:
        """A token."""
        return (await self.house.admin.call(p.InvitePatient(name, days), p.PatientInvited)).token

    async def enters(self, token: str, born: str = _BORN, address: str = _HERE) -> bool:
        """Does this open a session?"""
        asked = p.EnterPatient(token, born, address, _PHONE)
        return await answered(self.house.front.ask(asked), p.PatientState)

    async def patient(self, name: str = _MINE) -> p.PatientSession:
        """A patient who is in."""
        asked = p.EnterPatient(await self.invite(name), _BORN, _HERE, _PHONE)
        state = await self.house.front.call(asked, p.PatientState)
        return p.PatientSession(state.proof, _HERE, _PHONE)

    async def reads(self, session: p.PatientSession) -> bool:
        """Does this session get a page?"""
        return await answered(self.house.front.ask(p.ListPatientEntries(session)), p.PatientEntries)


def against_patients(attack: Callable[[Ground], Awaitable[bool]]) -> Attack:
    """An attack on a running guard with two patients and a doctor."""

    def play(folder: Path) -> bool:
        async def run() -> bool:
            clock = Clock()
            async with new_house(folder, clock=clock) as house:
                return await attack(await _ground(house, clock))

        return asyncio.run(run())

    return play


async def _ground(house: House, clock: Clock) -> Ground:
    modality = await house.device("cr1", "CR1", ["store"])
    added = await house.person("li", "clinician")
    session = await house.session("li", added.password)
    totp = pyotp.parse_uri(added.totp_uri)
    assert isinstance(totp, pyotp.TOTP)
    person = await house.front.call(p.StepUp(session, totp.at(clock())), p.Person)
    doctor, seen = p.Session(person.proof, session.address), {}
    for number, name in enumerate((_MINE, _THEIRS), 1):
        film = attributes(number, patient_birth_date=_BORN)
        await house.store(modality, film, b"film %d" % number)
        await house.admin.call(p.AddGrant("person:li", f"patient:{name}", "full"), p.GrantAdded)
        asked = p.Disclose(doctor, "dicomweb", film.study_instance_uid)
        seen[name] = (await house.front.call(asked, p.Disclosed)).log_index
    return Ground(house, clock, doctor, seen)


async def guessed_birth_date(ground: Ground) -> bool:
    """The finder of an invitation tries dates, each from another address; the seventh is right."""
    token = await ground.invite()
    for day in range(2, 8):
        await ground.enters(token, f"197001{day:02}", f"192.0.2.{day}")
    return await ground.enters(token)


async def wrong_birth_date(ground: Ground) -> bool:
    """The finder of an invitation who knows no birth date."""
    return await ground.enters(await ground.invite(), "19991231")


async def used_invitation(ground: Ground) -> bool:
    """The letter is found after the patient has used it."""
    token = await ground.invite()
    assert await ground.enters(token)
    return await ground.enters(token)


async def old_invitation(ground: Ground) -> bool:
    """The letter is found a year later."""
    token = await ground.invite()
    ground.clock.ahead += 365 * _DAY
    return await ground.enters(token)


async def guessed_token(ground: Ground) -> bool:
    """A program at one address guesses; were it lucky at the twenty-first guess, would it be in?"""
    token = await ground.invite()
    for _ in range(20):
        guess = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
        assert not await ground.enters(guess)
    return await ground.enters(token)


async def proof_of_another_patient(ground: Ground) -> bool:
    """A patient asks for the proof of an entry about somebody else."""
    asked = p.ProvePatientEntry(await ground.patient(), ground.seen[_THEIRS])
    return await answered(ground.house.front.ask(asked), p.EntryProof)


async def patients_cookie_elsewhere(ground: Ground) -> bool:
    """A copied cookie in another browser."""
    session = await ground.patient()
    return await ground.reads(p.PatientSession(session.proof, _HERE, b"another browser"))


async def patients_session_without_secret(ground: Ground) -> bool:
    """A session id, which stands in pushes to every front, and no secret."""
    session = await ground.patient()
    return await ground.reads(p.PatientSession(session.proof[:17] + bytes(32), _HERE, _PHONE))


async def doctor_invites(ground: Ground) -> bool:
    """A clinician makes an invitation and knows the birth date from the films."""
    asked = p.AsAdministrator(ground.doctor, p.InvitePatient(_MINE))
    try:
        invited = await ground.house.front.call(asked, p.PatientInvited)
    except GuardRefused:
        return False
    return await ground.enters(invited.token)


async def doctor_withdraws_the_objection(ground: Ground) -> bool:
    """A doctor who was objected to shows the own session as a patient's and takes the objection back."""
    session = await ground.patient()
    await ground.house.front.call(p.PatientObjects(session, "*", standing=True), p.PatientRights)
    proof = session.proof[:17] + ground.doctor.proof[17:]
    asked = p.PatientObjects(p.PatientSession(proof, _HERE, _PHONE), "*", standing=False)
    return await answered(ground.house.front.ask(asked), p.PatientRights)
