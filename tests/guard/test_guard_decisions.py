"""The guard's rules, one attack or rule each, against a real guard on a real home."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyotp
import pytest

from helpers.guard_house import House, attributes, new_house, prove_operator, running
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardRefused

Story = Callable[[House], Awaitable[None]]


def play(folder: Path, story: Story) -> None:
    async def run() -> None:
        async with new_house(folder) as house:
            await story(house)

    asyncio.run(run())


async def refused(coroutine: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await coroutine
    return caught.value.reason


async def film(house: House) -> p.Device:
    modality = await house.device("cr-1", "CR1", ["store"])
    await house.store(modality, attributes(1), b"\x00" * 5000)
    return modality


def ask(session: p.Principal, want: str = "best", study: str = "1.2.3.1") -> p.Disclose:
    return p.Disclose(principal=session, channel="dicomweb", study_instance_uid=study, want=want)


def test_film_is_refused_then_masked_then_full_then_refused_after_revocation(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await film(house)
        doctor = await house.person("li", "clinician")
        session = await house.session("li", doctor.password)
        assert await refused(house.front.ask(ask(session))) == "not_permitted"
        grant = await house.admin.call(
            p.AddGrant(subject="person:li", resource="study:1.2.3.1", view="full"), p.GrantAdded
        )
        masked = await house.front.call(ask(session), p.Disclosed)
        assert masked.view == "masked"
        assert await refused(house.front.ask(ask(session, "full"))) == "second_factor_needed"
        code = pyotp.parse_uri(doctor.totp_uri).now()
        await house.front.call(p.StepUp(session, code), p.Person)
        full = await house.front.call(ask(session), p.Disclosed)
        assert full.view == "full"
        objects = [each.object_id for each in full.instances]
        opened = await house.front.call(p.Open(full.receipt, session, objects), p.Opened)
        assert opened.objects[0].header_key != bytes(32)
        await house.admin.call(p.RevokeGrant(grant_id=grant.grant_id), p.Noted)
        assert await refused(house.front.ask(p.Open(full.receipt, session, objects))) == "not_permitted"
        assert await refused(house.front.ask(ask(session))) == "not_permitted"
        cut = [d for m in house.pushed if isinstance(m, p.Revoked) for d in m.disclosures]
        assert full.disclosure in cut
        assert await house.verify() == []

    play(tmp_path, story)


def test_a_one_time_password_works_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        doctor = await house.person("li", "clinician")
        session = await house.session("li", doctor.password)
        code = pyotp.parse_uri(doctor.totp_uri).now()
        await house.front.call(p.StepUp(session, code), p.Person)
        assert await refused(house.front.ask(p.StepUp(session, code))) == "not_authenticated"

    play(tmp_path, story)


def test_forged_and_foreign_receipts_open_nothing(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await film(house)
        sessions = []
        for name in ("li", "wu"):
            person = await house.person(name, "clinician")
            sessions.append(await house.session(name, person.password))
        await house.admin.call(
            p.AddGrant(subject="person:li", resource="study:1.2.3.1", view="masked"), p.GrantAdded
        )
        good = await house.front.call(ask(sessions[0]), p.Disclosed)
        objects = [each.object_id for each in good.instances]
        assert await refused(house.front.ask(p.Open(good.receipt, sessions[1], objects))) == "not_permitted"
        for at in range(0, len(good.receipt), 7):
            forged = bytearray(good.receipt)
            forged[at] ^= 1
            assert (
                await refused(house.front.ask(p.Open(bytes(forged), sessions[0], objects))) == "not_permitted"
            )
        assert (
            await refused(house.front.ask(p.Open(good.receipt, sessions[0], [bytes(16)]))) == "not_permitted"
        )
        assert isinstance(await house.front.ask(p.Open(good.receipt, sessions[0], objects)), p.Opened)

    play(tmp_path, story)


def test_a_front_cannot_play_operator(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert await refused(house.front.ask(p.GetStatus())) == "not_authenticated"
        operator = p.Operator(name="me")
        assert await refused(house.front.ask(ask(operator))) == "not_authenticated"
        client = await GuardClient.connect(house.home / "run" / "guard.sock")
        try:
            assert await refused(prove_operator(client, b"wrong passphrase")) == "not_authenticated"
            assert await refused(client.ask(p.Stop())) == "not_authenticated"
        finally:
            await client.close()
        assert await refused(house.admin.ask(ask(operator))) == "not_permitted"

    play(tmp_path, story)


def test_unregistered_suspended_and_misnamed_devices_are_nobody(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device = await film(house)
        check = p.CheckDevice(device=device, called_ae_title="RIBCAGE", action="associate")
        assert (await house.front.call(check, p.DeviceKnown)).may == ["store"]
        for wrong in (
            p.Device(bytes(32), "CR1", "127.0.0.1"),
            p.Device(device.fingerprint, "OTHER", "127.0.0.1"),
        ):
            request = p.CheckDevice(device=wrong, called_ae_title="RIBCAGE", action="associate")
            assert await refused(house.front.ask(request)) == "not_authenticated"
        await house.admin.call(p.SuspendDevice(name="cr-1", suspended=True), p.Noted)
        assert await refused(house.front.ask(check)) == "not_authenticated"
        assert await refused(house.store(device, attributes(2), b"x" * 200)) == "not_authenticated"

    play(tmp_path, story)


def test_duplicates_keep_one_copy_and_conflicts_are_parked(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device = await film(house)
        assert isinstance(await house.store(device, attributes(1), b"\x00" * 5000), p.AlreadyHeld)
        other = await house.store(device, attributes(1), b"\x01" * 5000)
        assert isinstance(other, p.Committed)
        assert other.parked
        assert isinstance(await house.store(device, attributes(1), b"\x01" * 5000), p.AlreadyHeld)
        wrong = attributes(1, sop_instance_uid="1.2.3.1.9", patient_id="SOMEBODY-ELSE")
        stranger = await house.store(device, wrong, b"\x02" * 5000)
        assert isinstance(stranger, p.Committed)
        assert stranger.parked
        status = await house.admin.call(p.GetStatus(), p.Status)
        assert (status.studies, status.instances, status.parked) == (1, 1, 2)
        assert await house.verify() == []

    play(tmp_path, story)


def test_racing_twins_of_one_instance_leave_one_row(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device = await house.device("cr-1", "CR1", ["store"])
        twins = [house.store(device, attributes(1), b"\x00" * 3000) for _ in range(8)]
        await asyncio.gather(*twins)
        status = await house.admin.call(p.GetStatus(), p.Status)
        assert (status.studies, status.instances, status.parked) == (1, 1, 0)

    play(tmp_path, story)


def test_placeholder_ids_do_not_join_strangers(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device = await house.device("cr-1", "CR1", ["store"])
        for number in (1, 2):
            await house.store(device, attributes(number, patient_id="UNKNOWN"), b"\x00" * 3000)
        grant = p.AddGrant(subject="device:cr-1", resource="patient:UNKNOWN", view="full")
        assert await refused(house.admin.ask(grant)) == "not_found"

    play(tmp_path, story)


def test_names_are_found_as_written_and_masked_sessions_cannot_probe(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device = await house.device("ws-1", "WS1", ["store", "query"])
        names = ["Zhang^San=张^三", "Wang^Xiaoming=王^小明", "Müller^Jörg"]
        for number, name in enumerate(names, 1):
            await house.store(device, attributes(number, patient_name=name), b"\x00" * 3000)
        await house.admin.call(
            p.AddGrant(subject="device:ws-1", resource="department:radiology", view="full"), p.GrantAdded
        )

        async def found(principal: p.Principal, **filters: str) -> list[str]:
            query = p.Query(principal=principal, channel="dicomweb", level="study", filters=filters)
            answer = await house.front.call(query, p.QueryAnswer)
            return sorted(str(r.attributes["StudyInstanceUID"]) for r in answer.records)

        assert await found(device, PatientName="王小明") == ["1.2.3.2"]
        assert await found(device, PatientName="张*") == ["1.2.3.1"]
        assert await found(device, PatientName="wang*") == ["1.2.3.2"]
        assert await found(device, PatientName="Müller^Jörg") == ["1.2.3.3"]
        assert await found(device, PatientID="PID000002") == ["1.2.3.2"]
        assert await found(device, StudyDate="20260101-20260131") == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
        assert await found(device, StudyDate="-20251231") == []
        doctor = await house.person("li", "clinician")
        session = await house.session("li", doctor.password)
        assert await found(session) == []
        await house.admin.call(
            p.AddGrant(subject="person:li", resource="patient:PID000002", view="full"), p.GrantAdded
        )
        assert await found(session) == ["1.2.3.2"]
        assert await found(session, PatientName="王*") == []
        query = p.Query(principal=session, channel="dicomweb", level="instance", filters={})
        answer = await house.front.call(query, p.QueryAnswer)
        assert "PatientName" not in answer.records[0].attributes
        await house.front.call(p.StepUp(session, pyotp.parse_uri(doctor.totp_uri).now()), p.Person)
        assert await found(session, PatientName="王*") == ["1.2.3.2"]

    play(tmp_path, story)


def test_an_objection_denies_before_any_grant(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await film(house)
        doctor = await house.person("li", "clinician")
        session = await house.session("li", doctor.password)
        await house.admin.call(
            p.AddGrant(subject="person:li", resource="study:1.2.3.1", view="full"), p.GrantAdded
        )
        assert (await house.front.call(ask(session), p.Disclosed)).view == "masked"
        objection = p.Object(patient="PID000001", subject="person:li", standing=True)
        await house.admin.call(objection, p.Noted)
        assert await refused(house.front.ask(ask(session))) == "not_permitted"

    play(tmp_path, story)


def test_refused_queries_and_unknown_sessions_leave_entries(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device = await film(house)
            query = p.Query(principal=device, channel="dimse", level="study", filters={})
            assert await refused(house.front.ask(query)) == "not_permitted"
            stranger = p.Session(proof=b"\x01" + bytes(48), address="127.0.0.9")
            for _ in range(5):
                assert await refused(house.front.ask(ask(stranger))) == "not_authenticated"
        async with running(tmp_path / "home") as house:
            page = await house.admin.call(p.AuditPage(start=0, count=100), p.AuditEntries)
        texts = [text for _, text in page.entries]
        assert any("query-refused" in text for text in texts)
        strangers = [text for text in texts if "unknown-session" in text]
        assert len(strangers) == 1  # five tries, one entry with their number
        assert '"5"' in strangers[0]

    asyncio.run(run())


def test_guessing_passwords_is_throttled_and_audited(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.person("li", "clinician")
        reasons = [await refused(house.session("li", f"guess-{n}")) for n in range(6)]
        assert reasons[:5] == ["not_authenticated"] * 5
        assert reasons[5] == "throttled"
        page = await house.admin.call(p.AuditPage(start=0, count=100), p.AuditEntries)
        assert sum("login-failed" in text for _, text in page.entries) == 5
        assert not any("guess-" in text for _, text in page.entries)

    play(tmp_path, story)
