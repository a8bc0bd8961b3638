"""A patient sees who looked, proves it to a stranger, and stops it; and nothing of anybody else."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyotp
import pytest

from helpers.authenticator import Authenticator
from helpers.guard_house import (
    Clock,
    House,
    Officer,
    at_database,
    attributes,
    edit,
    new_home,
    new_house,
    running,
)
from ribcage.evidence.audit_event import BreakGlass, BreakGlassRefused, DisclosureAllowed, PersonActor
from ribcage.evidence.proof import make_bundle
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits

ROOT = Path(__file__).resolve().parents[2]
BORN = "19700101"
HERE, PHONE = "192.0.2.40", b"phone"


def in_house(
    folder: Path,
    test: Callable[[House], Awaitable[None]],
    limits: GuardLimits | None = None,
    clock: Clock | None = None,
) -> None:
    async def run() -> None:
        async with new_house(folder, limits, clock or Clock()) as house:
            await test(house)

    asyncio.run(run())


async def film(house: House, modality: p.Device, number: int = 1, **more: str) -> str:
    """Store one instance; its study."""
    one = attributes(number, **({"patient_birth_date": BORN} | more))
    await house.store(modality, one, b"film %d" % number)
    return one.study_instance_uid


async def invited(house: House, patient: str = "PID000001", **more: int) -> str:
    return (await house.admin.call(p.InvitePatient(patient, **more), p.PatientInvited)).token


async def enter(house: House, token: str, born: str = BORN, address: str = HERE) -> p.PatientSession:
    state = await house.front.call(p.EnterPatient(token, born, address, PHONE), p.PatientState)
    return p.PatientSession(state.proof, address, PHONE)


async def patient(house: House, name: str = "PID000001") -> p.PatientSession:
    return await enter(house, await invited(house, name))


async def rows(house: House, session: p.PatientSession, before: int = 0) -> p.PatientEntries:
    return await house.front.call(p.ListPatientEntries(session, before), p.PatientEntries)


async def doctor(house: House, name: str = "li", resource: str = "patient:PID000001") -> p.Session:
    added = await house.person(name, "clinician")
    await house.admin.call(p.AddGrant(f"person:{name}", resource, "full"), p.GrantAdded)
    session = await house.session(name, added.password)
    code = pyotp.parse_uri(added.totp_uri).now()  # type: ignore[union-attr]  # it is a TOTP
    person = await house.front.call(p.StepUp(session, code), p.Person)
    return p.Session(person.proof, session.address)


async def look(house: House, who: p.Session, study: str) -> p.Disclosed:
    return await house.front.call(p.Disclose(who, "dicomweb", study), p.Disclosed)


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await call
    return caught.value.reason


def test_the_patient_sees_who_looked_and_how_it_ended(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        seen = await look(house, await doctor(house), study)
        await house.front.call(p.DisclosureClosed(seen.receipt, 1, 400, "complete"), p.Noted)
        page = await rows(house, await patient(house))
        assert [each.kind for each in page.items] == ["access", "access", "disclosure"]
        assert [each.reason for each in page.items] == ["entered", "invited", ""]
        one = page.items[-1]
        assert (one.number, one.view, one.purpose, one.channel) == (
            seen.log_index,
            "full",
            "TREAT",
            "dicomweb",
        )
        assert (one.who.by, one.who.role, one.study_date, one.modality) == (
            "Li",
            "clinician",
            "20260102",
            ["CR"],
        )
        assert (one.end_how, one.end_instances, one.end_entry > one.number) == ("complete", 1, True)
        assert len(one.who.label) == 9

    in_house(tmp_path, test)


def test_a_refused_try_is_seen_too(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        wu = await house.session("wu", (await house.person("wu", "clinician")).password)
        assert await refused(look(house, wu, study)) == "not_permitted"
        (one,) = [each for each in (await rows(house, await patient(house))).items if each.kind == "refused"]
        assert (one.who.by, one.reason) == ("Wu", "no-grant")

    in_house(tmp_path, test)


def test_a_proof_convinces_a_stranger_and_opens_one_entry(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        seen = await look(house, await doctor(house), study)
        session = await patient(house)
        proof = await house.front.call(p.ProvePatientEntry(session, seen.log_index), p.EntryProof)
        bundle = make_bundle(
            body=proof.body, salt=proof.salt, index=proof.index, path=proof.path,
            checkpoint=proof.checkpoint, verifier_key=proof.verifier_key,
        )  # fmt: skip
        (tmp_path / "proof.json").write_bytes(bundle)
        tool = [sys.executable, "-I", str(ROOT / "tools/verify_proof.py"), str(tmp_path / "proof.json")]
        done = await asyncio.to_thread(
            subprocess.run, [*tool, "--key", proof.verifier_key], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "disclosure-allowed" in done.stdout
        assert "PID000001" not in bundle.decode() and "Muster" not in bundle.decode()
        (tmp_path / "proof.json").write_bytes(bundle.replace(b'\\"full\\"', b'\\"mask\\"'))
        done = await asyncio.to_thread(
            subprocess.run, [*tool, "--key", proof.verifier_key], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1

    in_house(tmp_path, test)


def test_nothing_of_another_patient(tmp_path: Path) -> None:
    """Two patients with one birth date, and one number at two issuers."""

    async def test(house: House) -> None:
        modality = await house.device("cr1", "CR1", ["store"])
        mine = await film(house, modality)
        theirs = await film(house, modality, 2)
        elsewhere = await film(house, modality, 3, patient_id="PID000001", issuer_of_patient_id="OTHER")
        li = await doctor(house)
        for resource in ("patient:PID000002", "patient:PID000001|OTHER"):
            await house.admin.call(p.AddGrant("person:li", resource, "full"), p.GrantAdded)
        seen = {each: (await look(house, li, each)).log_index for each in (mine, theirs, elsewhere)}
        names = ("PID000001", "PID000002", "PID000001|OTHER")
        pages = {}
        for study, name in zip((mine, theirs, elsewhere), names, strict=True):
            session = await patient(house, name)
            page = await rows(house, session)
            pages[name] = page
            assert [e.number for e in page.items if e.kind == "disclosure"] == [seen[study]]
            for other in set(seen) - {study}:
                asked = p.ProvePatientEntry(session, seen[other])
                assert await refused(house.front.ask(asked)) == "not_found"
            granted = await house.front.call(p.ListPatientRights(session), p.PatientRights)
            assert [(each.of, each.who.by) for each in granted.grants] == [("patient", "Li")]
        labels = {
            each.who.label for page in pages.values() for each in page.items if each.kind == "disclosure"
        }
        assert len(labels) == 3, "a label must not tell two patients that it was the same person"

    in_house(tmp_path, test)


def test_an_index_row_that_was_moved_shows_and_proves_nothing(tmp_path: Path) -> None:
    new_home(tmp_path)
    seen: list[int] = []

    async def before() -> None:
        async with running(tmp_path / "home") as house:
            modality = await house.device("cr1", "CR1", ["store"])
            await film(house, modality)
            theirs = await film(house, modality, 2)
            li = await doctor(house, resource="patient:PID000002")
            seen.append((await look(house, li, theirs)).log_index)

    async def after() -> None:
        async with running(tmp_path / "home") as house:
            session = await patient(house)
            page = await rows(house, session)
            assert {each.kind for each in page.items} == {"access"}
            asked = p.ProvePatientEntry(session, seen[0])
            assert await refused(house.front.ask(asked)) == "not_found"

    asyncio.run(before())
    move = "UPDATE patient_entry SET patient_id = (SELECT patient_id FROM study WHERE uid = '1.2.3.1')"
    assert edit(tmp_path / "home", move + " WHERE kind = 'disclosure'") == 1
    asyncio.run(after())


def test_an_invitation_works_once_with_its_birth_date_until_it_expires(tmp_path: Path) -> None:
    clock = Clock()

    async def test(house: House) -> None:
        await film(house, await house.device("cr1", "CR1", ["store"]))
        token = await invited(house)
        assert await refused(enter(house, "A" * 22)) == "not_authenticated"
        assert await refused(enter(house, token, "19700102")) == "not_authenticated"
        assert await refused(enter(house, token, "1970-1-1")) == "invalid"
        await enter(house, token)
        assert await refused(enter(house, token)) == "not_authenticated"
        older, newer = await invited(house, days=1), await invited(house, days=1)
        assert await refused(enter(house, older)) == "not_authenticated"
        clock.ahead += 86401
        assert await refused(enter(house, newer)) == "not_authenticated"
        for days in (0, 31):
            assert await refused(invited(house, days=days)) == "invalid"

    in_house(tmp_path, test, clock=clock)


def test_five_wrong_birth_dates_end_an_invitation_at_once_and_together(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await film(house, await house.device("cr1", "CR1", ["store"]))
        token = await invited(house)
        guesses = [f"197001{day:02}" for day in range(2, 20)]
        tried = [enter(house, token, each, f"192.0.2.{n}") for n, each in enumerate(guesses)]
        assert set(await asyncio.gather(*(refused(each) for each in tried))) == {"not_authenticated"}
        assert await refused(enter(house, token)) == "not_authenticated"
        page = await rows(house, await patient(house))
        assert [each.reason for each in page.items].count("wrong-birth-date") == 5

    in_house(tmp_path, test)


def test_tries_from_one_address_are_throttled(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        for _ in range(3):
            assert await refused(enter(house, "B" * 22)) == "not_authenticated"
        assert await refused(enter(house, "B" * 22)) == "throttled"
        assert await refused(enter(house, "B" * 22, address="192.0.2.41")) == "not_authenticated"

    in_house(tmp_path, test, GuardLimits(enter_attempts=3))


def test_nobody_is_invited_without_one_birth_date(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        modality = await house.device("cr1", "CR1", ["store"])
        await film(house, modality, 1, patient_birth_date="")
        await film(house, modality, 2)
        await film(house, modality, 3, patient_id="PID000002", patient_birth_date="19700102")
        await film(house, modality, 4, patient_birth_date="19701340")
        await film(house, modality, 5)
        await film(house, modality, 6, patient_id="PID000005", patient_birth_date="")
        for name, reason in {
            "PID000001": "conflict", "PID000002": "conflict", "PID000004": "conflict",
            "PID000099": "not_found", "UNKNOWN": "not_found",
        }.items():  # fmt: skip
            assert await refused(invited(house, name)) == reason, name
        await enter(house, await invited(house, "PID000005"))

    in_house(tmp_path, test)


def test_only_administrators_and_technologists_invite_and_with_a_second_factor(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await film(house, await house.device("cr1", "CR1", ["store"]))
        expected = {"administrator": True, "technologist": True, "clinician": False, "officer": False}
        for role, allowed in expected.items():
            added = await house.person(role, role)
            session = await house.session(role, added.password)
            asked = p.AsAdministrator(session, p.InvitePatient("PID000001"))
            reason = "second_factor_needed" if allowed else "not_permitted"
            assert await refused(house.front.ask(asked)) == reason
            code = pyotp.parse_uri(added.totp_uri).now()  # type: ignore[union-attr]  # it is a TOTP
            person = await house.front.call(p.StepUp(session, code), p.Person)
            session = p.Session(person.proof, session.address)
            asked = p.AsAdministrator(session, p.InvitePatient("PID000001"))
            if allowed:
                await house.front.call(asked, p.PatientInvited)
            else:
                assert await refused(house.front.ask(asked)) == "not_permitted"
            other = p.AsAdministrator(session, p.ListPersons())
            if role == "technologist":
                assert await refused(house.front.ask(other)) == "not_permitted"

    in_house(tmp_path, test)


def test_a_session_ends_after_half_an_hour_and_belongs_to_its_browser(tmp_path: Path) -> None:
    clock = Clock()

    async def test(house: House) -> None:
        await film(house, await house.device("cr1", "CR1", ["store"]))
        session = await patient(house)
        await rows(house, p.PatientSession(session.proof, "198.51.100.7", PHONE))  # the telephone moved on
        for proof, client in (
            (session.proof, b"another browser"),
            (session.proof[:-1] + bytes([session.proof[-1] ^ 1]), PHONE),
            (b"\x01" + session.proof[1:], PHONE),
            (session.proof[:17], PHONE),
            (b"", PHONE),
        ):
            shown = p.PatientSession(proof, HERE, client)
            assert await refused(house.front.ask(p.DescribePatient(shown))) == "not_authenticated"
        clock.ahead += 1801
        assert await refused(house.front.ask(p.DescribePatient(session))) == "not_authenticated"
        session = await patient(house)
        await house.front.call(p.LeavePatient(session), p.Noted)
        assert await refused(house.front.ask(p.DescribePatient(session))) == "not_authenticated"

    in_house(tmp_path, test, clock=clock)


def test_a_ninth_session_ends_the_first(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await film(house, await house.device("cr1", "CR1", ["store"]))
        first, second = await patient(house), await patient(house)
        await patient(house)
        assert await refused(house.front.ask(p.DescribePatient(first))) == "not_authenticated"
        await rows(house, second)

    in_house(tmp_path, test, GuardLimits(patient_sessions=2))


def test_an_objection_closes_what_is_open_and_its_end_opens_again(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        li, session = await doctor(house), await patient(house)
        wu = await doctor(house, "wu")
        seen = await look(house, li, study)
        (label,) = [e.who.label for e in (await rows(house, session)).items if e.kind == "disclosure"]
        asked = p.PatientObjects(session, label, standing=True)
        answer = await house.front.call(asked, p.PatientRights)
        assert [(each.subject, each.who.by) for each in answer.objections] == [(label, "Li")]
        objects = [each.object_id for each in seen.instances]
        assert await refused(house.front.ask(p.Open(seen.receipt, li, objects))) == "not_permitted"
        await asyncio.sleep(0)
        assert any(isinstance(each, p.Told) and each.study == study for each in house.pushed)
        assert await refused(look(house, li, study)) == "not_permitted"
        await look(house, wu, study)
        await house.front.call(p.PatientObjects(session, "*", standing=True), p.PatientRights)
        assert await refused(look(house, wu, study)) == "not_permitted"
        page = await rows(house, session)
        assert [(e.who.by, e.reason) for e in page.items if e.kind == "refused"] == [
            ("Wu", "objection"), ("Li", "objection"),
        ]  # fmt: skip
        assert [e.who.role for e in page.items if e.kind == "objection"] == ["patient", "patient"]
        rights = await house.front.call(p.ListPatientRights(session), p.PatientRights)
        assert [each.subject for each in rights.objections] == [label, "*"]
        for subject in (label, "*"):
            answer = await house.front.call(
                p.PatientObjects(session, subject, standing=False), p.PatientRights
            )
        assert answer.objections == []
        await look(house, li, study)

    in_house(tmp_path, test)


def test_an_objection_names_everybody_or_a_label_of_this_patient(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        modality = await house.device("cr1", "CR1", ["store"])
        await film(house, modality)
        theirs = await film(house, modality, 2)
        await look(house, await doctor(house, resource="patient:PID000002"), theirs)
        (label,) = [
            e.who.label
            for e in (await rows(house, await patient(house, "PID000002"))).items
            if e.who.label and e.kind == "disclosure"
        ]
        session = await patient(house)
        for subject in (label, "person:li", "AAAA-AAAA", ""):
            asked = p.PatientObjects(session, subject, standing=True)
            assert await refused(house.front.ask(asked)) == "not_found"

    in_house(tmp_path, test)


def test_calls_and_objections_are_counted(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await film(house, await house.device("cr1", "CR1", ["store"]))
        session = await patient(house)
        for _ in range(2):
            await rows(house, session)
        assert await refused(rows(house, session)) == "throttled"
        assert await refused(house.front.ask(p.ProvePatientEntry(session, 0))) == "throttled"
        await house.front.call(p.PatientObjects(session, "*", standing=True), p.PatientRights)
        assert await refused(house.front.ask(p.PatientObjects(session, "*", standing=False))) == "throttled"

    in_house(tmp_path, test, GuardLimits(patient_calls_per_minute=2, patient_objections_per_hour=1))


def test_roles_stand_for_names_where_the_hospital_says_so(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        await look(house, await doctor(house), study)
        session = await patient(house)
        page = await rows(house, session)
        (one,) = [each for each in page.items if each.kind == "disclosure"]
        assert (one.who.by, one.who.role) == ("clinician", "clinician")
        rights = await house.front.call(p.ListPatientRights(session), p.PatientRights)
        answer = json.dumps([str(page), str(rights)])
        assert "Li" not in answer.replace("List", "")

    in_house(tmp_path, test, GuardLimits(patient_sees="roles"))


def test_pages_go_back_in_time(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        li = await doctor(house)
        seen = [(await look(house, li, study)).log_index for _ in range(5)]
        session, found, before = await patient(house), [], 0
        while True:
            page = await rows(house, session, before)
            assert len(page.items) <= 3
            found += [each.number for each in page.items if each.kind == "disclosure"]
            before = page.next_before
            if not before:
                break
        assert found == seen[::-1]
        assert await refused(rows(house, session, -1)) == "invalid"

    in_house(tmp_path, test, GuardLimits(patient_page_entries=3))


def test_entries_older_than_the_index_are_found_once(tmp_path: Path) -> None:
    new_home(tmp_path)
    seen: list[int] = []

    async def before() -> None:
        async with running(tmp_path / "home") as house:
            study = await film(house, await house.device("cr1", "CR1", ["store"]))
            seen.append((await look(house, await doctor(house), study)).log_index)

    async def after() -> None:
        async with running(
            tmp_path / "home",
            GuardLimits(patient_index_entries=4, checkpoint_seconds=0.01, patient_calls_per_minute=10_000),
        ) as house:
            session = await patient(house)
            async with asyncio.timeout(20):
                while not (page := await rows(house, session)).complete:
                    await asyncio.sleep(0)
            assert [each.number for each in page.items if each.kind == "disclosure"] == seen

    asyncio.run(before())
    at_database(tmp_path / "home", lambda c: c.exec_driver_sql("DELETE FROM patient_entry") and None)
    edit(tmp_path / "home", "DELETE FROM meta WHERE name = 'patient-entries'")
    asyncio.run(after())


def test_a_page_is_told_of_an_access(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        li, session = await doctor(house), await patient(house)
        seen = await look(house, li, study)
        want = p.Told(session.proof[1:17], "entry", entry=seen.log_index, about="disclosure")
        async with asyncio.timeout(10):
            while want not in house.pushed:
                await house.front.call(p.Ping(), p.Noted)

    in_house(tmp_path, test, GuardLimits(checkpoint_seconds=0.05))


def test_a_passkey_comes_back_without_an_invitation(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await film(house, await house.device("cr1", "CR1", ["store"]))
        session, device = await patient(house), Authenticator()
        options = await house.front.call(p.BeginPatientPasskey(session), p.PasskeyOptions)
        user = json.loads(options.options)["user"]
        assert "PID" not in str(user) and "Muster" not in str(user)
        asked = p.AddPatientPasskey(session, "phone", device.create(options.options))
        item = await house.front.call(asked, p.PasskeyItem)
        challenge = await house.front.call(p.BeginPatientLogIn(HERE), p.PasskeyOptions)
        credential = device.get(challenge.options)
        again = await house.front.call(p.PatientLogIn(credential, HERE, PHONE), p.PatientState)
        assert again.passkeys == 1
        assert await refused(house.front.ask(p.PatientLogIn(credential, HERE, PHONE))) == "not_authenticated"
        mine = p.PatientSession(again.proof, HERE, PHONE)
        # a person's door does not know it
        challenge = await house.front.call(p.BeginPasskeyLogIn(HERE), p.PasskeyOptions)
        assert (
            await refused(house.front.ask(p.PasskeyLogIn(device.get(challenge.options), HERE)))
            == "not_authenticated"
        )
        listed = await house.front.call(p.ListPatientPasskeys(mine), p.PasskeyItems)
        assert [(each.label, each.used_at > 0) for each in listed.items] == [("phone", True)]
        await house.front.call(p.RemovePatientPasskey(mine, item.id), p.Noted)
        challenge = await house.front.call(p.BeginPatientLogIn(HERE), p.PasskeyOptions)
        asked_in = p.PatientLogIn(device.get(challenge.options), HERE, PHONE)
        assert await refused(house.front.ask(asked_in)) == "not_authenticated"
        reasons = [each.reason for each in (await rows(house, mine)).items]
        assert reasons == ["passkey-removed", "passkey-used", "passkey-added", "entered", "invited"]

    in_house(tmp_path, test)


def test_a_patients_session_and_a_persons_open_nothing_of_the_other(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        session, li = await patient(house), await doctor(house)
        as_person = p.Session(session.proof, HERE, PHONE)
        for asked in (
            p.WhoAmI(as_person),
            p.Disclose(as_person, "dicomweb", study),
            p.Query(as_person, "dicomweb", "study", {}),
            p.AsAdministrator(as_person, p.ListPersons()),
            p.DescribePatient(p.PatientSession(li.proof, li.address, b"")),
            p.ListPatientEntries(p.PatientSession(b"\x02" + li.proof[1:], li.address, b"")),
        ):
            assert await refused(house.front.ask(asked)) == "not_authenticated", type(asked)

    in_house(tmp_path, test)


def test_verify_names_what_was_taken_out_of_the_index(tmp_path: Path) -> None:
    new_home(tmp_path)

    async def before() -> None:
        async with running(
            tmp_path / "home", GuardLimits(checkpoint_seconds=0.01, patient_calls_per_minute=10_000)
        ) as house:
            study = await film(house, await house.device("cr1", "CR1", ["store"]))
            await look(house, await doctor(house), study)
            session = await patient(house)
            async with asyncio.timeout(20):
                while not (await rows(house, session)).complete:
                    await asyncio.sleep(0)
            assert await house.verify() == []

    async def after() -> None:
        async with running(tmp_path / "home") as house:
            assert {(each.part, each.found) for each in await house.verify()} == {
                ("rows", "nothing"), ("rows", "another row"),
            }  # fmt: skip

    asyncio.run(before())
    assert edit(tmp_path / "home", "DELETE FROM patient_entry WHERE kind = 'disclosure'") == 1
    assert edit(tmp_path / "home", "UPDATE patient_entry SET patient_id = x'00' WHERE kind = 'access'") == 2
    asyncio.run(after())


def test_an_edited_row_of_a_patient_opens_nothing(tmp_path: Path) -> None:
    """An invitation brought back, a session made longer, a passkey given to somebody else."""
    new_home(tmp_path)
    kept: list[object] = []

    async def before() -> None:
        async with running(tmp_path / "home") as house:
            modality = await house.device("cr1", "CR1", ["store"])
            await film(house, modality)
            await film(house, modality, 2)
            token = await invited(house)
            session, device = await enter(house, token), Authenticator()
            options = await house.front.call(p.BeginPatientPasskey(session), p.PasskeyOptions)
            asked = p.AddPatientPasskey(session, "phone", device.create(options.options))
            await house.front.call(asked, p.PasskeyItem)
            kept.extend((token, session, device))

    async def after() -> None:
        token, session, device = kept
        async with running(tmp_path / "home") as house:
            assert isinstance(token, str) and isinstance(session, p.PatientSession)
            assert isinstance(device, Authenticator)
            assert await refused(enter(house, token)) == "not_authenticated"
            assert await refused(house.front.ask(p.DescribePatient(session))) == "not_authenticated"
            challenge = await house.front.call(p.BeginPatientLogIn(HERE), p.PasskeyOptions)
            asked = p.PatientLogIn(device.get(challenge.options), HERE, PHONE)
            assert await refused(house.front.ask(asked)) == "not_authenticated"
            tables = {each.where.split(",")[0] for each in await house.verify() if each.part == "rows"}
            assert tables == {"table invitation", "table patient_session", "table patient_passkey"}

    asyncio.run(before())
    other = "(SELECT patient_id FROM study WHERE uid = '1.2.3.2')"
    assert edit(tmp_path / "home", "UPDATE invitation SET state = 'open'") == 1
    assert edit(tmp_path / "home", f"UPDATE patient_session SET patient_id = {other}") == 1
    assert edit(tmp_path / "home", f"UPDATE patient_passkey SET patient_id = {other}") == 1
    asyncio.run(after())


def test_break_glass_is_marked_and_told(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        study = await film(house, await house.device("cr1", "CR1", ["store"]))
        seen, session = await look(house, await doctor(house), study), await patient(house)
        core = house.server._core
        with core.engine.connect() as connection:
            held = catalogue.hold(core, connection, study)
        assert held is not None
        actor = PersonActor(bytes(core.people.find("li")["id"]), "192.0.2.1", 1)
        seen_through = DisclosureAllowed(
            actor,
            bytes(16),
            held.key_id,
            held.patient_id,
            "full",
            "ETREAT",
            "dicomweb",
            1,
            "break_glass",
            1,
            1,
        )
        await core.note(BreakGlassRefused(actor, held.key_id, held.patient_id, "no-second-factor"))
        glass = BreakGlass(actor, bytes(16), 1, None, held.patient_id, "emergency", 1, bytes(32))
        number = await core.note(glass)
        await core.note(seen_through)
        page = await rows(house, session)
        marked = [(each.kind, each.reason, each.break_glass, each.who.by) for each in page.items[:3]]
        assert marked == [
            ("disclosure", "", True, "Li"),
            ("break-glass", "emergency", True, "Li"),
            ("refused", "other", True, "Li"),
        ]
        assert [e.break_glass for e in page.items if e.number == seen.log_index] == [False]
        want = p.Told(session.proof[1:17], "entry", entry=number, about="break-glass")
        async with asyncio.timeout(10):
            while want not in house.pushed:
                await house.front.call(p.Ping(), p.Noted)

    in_house(tmp_path, test, GuardLimits(checkpoint_seconds=0.05))


def test_a_destruction_is_seen_and_the_last_one_ends_the_way_in(tmp_path: Path) -> None:
    clock = Clock()

    async def destroy(house: House, study: str, one: Officer, other: Officer) -> None:
        asked = p.AskDestruction(study, "request-of-patient", one.approves())
        item = await house.admin.call(asked, p.DestructionItem)
        await house.admin.call(p.ApproveDestruction(item.number, other.approves()), p.DestructionItem)
        clock.ahead += 8 * 86400
        await house.admin.call(p.RunDestructions(), p.DestructionItems)

    async def test(house: House) -> None:
        modality = await house.device("cr1", "CR1", ["store"])
        studies = [await film(house, modality), await film(house, modality, 2, patient_id="PID000001")]
        one = Officer("ann", await house.person("ann", "officer"), clock)
        other = Officer("ben", await house.person("ben", "administrator"), clock)
        await destroy(house, studies[0], one, other)
        session, spare = await patient(house), await invited(house)
        page = await rows(house, session)
        reasons = [each.reason for each in page.items if each.kind == "destruction"]
        assert reasons == ["destroyed", "executing", "approved", "asked"]
        assert {each.study_date for each in page.items} == {""}
        asked = p.AskDestruction(studies[1], "request-of-patient", one.approves())
        number = (await house.admin.call(asked, p.DestructionItem)).number
        await house.admin.call(p.ApproveDestruction(number, other.approves()), p.DestructionItem)
        clock.ahead += 8 * 86400
        session, spare = await patient(house), await invited(house)
        await house.admin.call(p.RunDestructions(), p.DestructionItems)
        assert await refused(house.front.ask(p.DescribePatient(session))) == "not_authenticated"
        assert await refused(enter(house, spare)) == "not_authenticated"
        assert await refused(invited(house)) == "not_found"
        assert await house.verify() == []

    in_house(tmp_path, test, clock=clock)


def test_a_merge_that_was_only_asked_is_not_told_as_done(tmp_path: Path) -> None:
    clock = Clock()

    async def test(house: House) -> None:
        modality = await house.device("cr1", "CR1", ["store"])
        await film(house, modality)
        await film(house, modality, 2, patient_id="PID000002")
        one = Officer("ann", await house.person("ann", "officer"), clock)
        session = await patient(house)
        asked = p.AskIdentityChange("merge", one.approves(), patient="PID000001", into="PID000002")
        await house.admin.call(asked, p.IdentityChangeItem)
        page = await rows(house, session)
        assert [each.reason for each in page.items if each.kind == "identity"] == ["asked"]

    in_house(tmp_path, test, clock=clock)
