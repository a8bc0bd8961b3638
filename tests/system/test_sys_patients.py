"""A patient over HTTPS, on two fronts: invited, let in, told of every access, proving one, stopping it."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from helpers.archive import TESTS, Archive, Browser, Reply, new_archive
from helpers.authenticator import Authenticator
from helpers.guard_house import PASSPHRASE
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send
from system.test_sys_people import Tab

TOOL = TESTS.parent / "tools" / "verify_proof.py"
MINE, THEIRS = make_study(43, 1), make_study(43, 2)


class Phone(Browser):
    """A patient's browser."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(archive, pyotp.TOTP(pyotp.random_base32()))
        self.agent = "Phone/1"

    def post(self, path: str, body: object) -> Reply:
        return self.request(path, json.dumps(body).encode(), Content_Type="application/json")

    def get(self, path: str) -> dict:
        reply = self.request(path)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def enter(self, token: str, born: str) -> Reply:
        reply = self.post("/api/patient/enter", {"token": token, "birth_date": born})
        self.cookie = reply.headers.get("set-cookie", "").split(";")[0]
        return reply


class Stream:
    """The patient's event stream."""

    def __init__(self, phone: Phone) -> None:
        context = ssl.create_default_context(cafile=str(phone.archive.authority))
        self._link = http.client.HTTPSConnection(
            "localhost", phone.archive.https[1], context=context, timeout=20
        )
        self._link.request(
            "GET", "/api/patient/events", headers={"Cookie": phone.cookie, "User-Agent": phone.agent}
        )
        self._answer = self._link.getresponse()
        assert self._answer.status == 200
        assert self.next() == {"type": "hello"}

    def next(self) -> dict[str, object] | None:
        """The next event but those of the patient's own entering, which may still be on their way."""
        while line := self._answer.readline():
            if line.startswith(b"data: "):
                event: dict[str, object] = json.loads(line[6:])
                if event.get("kind") != "access":
                    return event
        return None

    def close(self) -> None:
        self._link.close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("patients"), fronts=2) as running:
        modality = running.device("cr1", "CR1", "store")
        for each in (MINE, THEIRS):
            assert send(running, modality, instance_of(each.file)) == SUCCESS
        yield running


def facts(study) -> tuple[str, str]:  # type: ignore[no-untyped-def]  # a made-up study
    """Patient ID, and birth date as people type it."""
    import io

    import pydicom

    data = pydicom.dcmread(io.BytesIO(study.file), stop_before_pixels=True)
    born, issuer = str(data.PatientBirthDate), str(data.get("IssuerOfPatientID", ""))
    return str(data.PatientID) + (f"|{issuer}" if issuer else ""), f"{born[:4]}-{born[4:6]}-{born[6:]}"


def patient(archive: Archive, study=MINE) -> Phone:  # type: ignore[no-untyped-def]  # a made-up study
    name, born = facts(study)
    token = archive.ask(p.InvitePatient(name), p.PatientInvited).token
    phone = Phone(archive)
    reply = phone.enter(token, born)
    assert reply.status == 200, reply.body
    assert re.fullmatch(r"__Host-ribcage-patient=[\w-]{66}", phone.cookie)
    cookie = reply.headers["set-cookie"]
    assert all(each in cookie for each in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"))
    return phone


def test_every_access_is_told_within_seconds_and_stopped_within_one(archive: Archive, tmp_path: Path) -> None:
    phone, doctor = patient(archive), archive.person("li", "clinician")
    archive.grant("person:li", f"study:{MINE.study_uid}", "full")
    assert doctor.step_up().status == 200
    streams = [Stream(phone) for _ in range(6)]  # more than one front takes
    begun = time.monotonic()
    assert doctor.retrieve(f"studies/{MINE.study_uid}").status == 200
    events = [each.next() for each in streams]
    assert time.monotonic() - begun < 5.0
    assert events[0] and events == [events[0]] * 6
    assert (events[0]["type"], events[0]["kind"]) == ("disclosure", "disclosure")
    page = phone.get("/api/patient/disclosures")
    (row,) = [each for each in page["disclosures"] if each["kind"] == "disclosure"]
    assert row["n"] == events[0]["n"]
    assert (row["by"], row["role"], row["channel"], row["view"]) == ("Li", "clinician", "dicomweb", "full")
    assert row["end"]["how"] == "complete"

    reply = phone.request(f"/api/patient/proof/{row['n']}")
    assert reply.status == 200 and "attachment" in reply.headers["content-disposition"]
    (tmp_path / "proof.json").write_bytes(reply.body)
    key = json.loads(reply.body)["verifier_key"]
    command = [sys.executable, "-I", str(TOOL), str(tmp_path / "proof.json"), "--key", key]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0

    reply = phone.post("/api/patient/objection", {"subject": row["label"], "standing": True})
    assert reply.status == 200
    answer = json.loads(reply.body)
    assert [each["subject"] for each in answer["objections"]] == [row["label"]]
    assert "withdraw" in answer["note"]["en"] and "撤回" in answer["note"]["zh"]
    assert {(event := each.next()) and event["kind"] for each in streams} == {"objection"}
    assert doctor.retrieve(f"studies/{MINE.study_uid}").status == 403
    assert {(event := each.next()) and event["kind"] for each in streams} == {"refused"}
    assert phone.post("/api/patient/objection", {"subject": "*", "standing": False}).status == 200
    reply = phone.post("/api/patient/objection", {"subject": row["label"], "standing": False})
    assert json.loads(reply.body)["objections"] == []
    assert doctor.retrieve(f"studies/{MINE.study_uid}").status == 200
    assert [each["of"] for each in phone.get("/api/patient/rights")["grants"]] == ["study"]
    for each in streams:
        each.close()


def test_the_open_viewer_closes_within_a_second(archive: Archive) -> None:
    phone, doctor = patient(archive), archive.person("mo", "clinician")
    archive.grant("person:mo", f"study:{MINE.study_uid}", "full")
    assert doctor.step_up().status == 200
    assert doctor.retrieve(f"studies/{MINE.study_uid}").status == 200
    tab = Tab(doctor)
    begun = time.monotonic()
    assert phone.post("/api/patient/objection", {"subject": "*", "standing": True}).status == 200
    assert tab.next() == {"type": "revoked", "study": MINE.study_uid}
    assert time.monotonic() - begun < 1.0
    tab.close()
    assert phone.post("/api/patient/objection", {"subject": "*", "standing": False}).status == 200


def test_neither_name_nor_number_nor_uid_is_in_an_answer(archive: Archive) -> None:
    phone = patient(archive)
    name = facts(MINE)[0].partition("|")[0]
    for path in ("session", "passkeys", "disclosures", "rights"):
        text = phone.request(f"/api/patient/{path}").body.decode()
        assert name not in text and MINE.study_uid not in text, path
    numbers = [each["n"] for each in phone.get("/api/patient/disclosures")["disclosures"]]
    for number in numbers[:3]:
        text = phone.request(f"/api/patient/proof/{number}").body.decode()
        assert name not in text and MINE.study_uid not in text


def test_one_patient_proves_nothing_of_another(archive: Archive) -> None:
    mine, theirs = patient(archive), patient(archive, THEIRS)
    numbers = {each["n"] for each in mine.get("/api/patient/disclosures")["disclosures"]}
    others = {each["n"] for each in theirs.get("/api/patient/disclosures")["disclosures"]}
    assert not numbers & others
    for number in (*others, 0, 10**9, 10**14):
        assert mine.request(f"/api/patient/proof/{number}").status == 404
    for number in ("-1", "1.5", "01", "a", "1" * 30):
        assert mine.request(f"/api/patient/proof/{number}").status == 404


def test_a_patients_cookie_opens_no_other_route_and_no_other_cookie_opens_these(archive: Archive) -> None:
    phone, doctor = patient(archive), archive.person("na", "administrator")
    assert doctor.step_up().status == 200
    other = "__Host-ribcage=" + phone.cookie.partition("=")[2]
    for cookie in (phone.cookie, other):
        for path in (
            "/dicom-web/studies", f"/dicom-web/studies/{MINE.study_uid}", f"/studies/{MINE.study_uid}/download",
            "/api/session", "/api/events", "/api/passkeys", "/api/sessions", "/api/admin/persons",
        ):  # fmt: skip
            assert Phone.request(_with(phone, cookie), path).status == 401, path
    secret = doctor.cookie.partition("=")[2]
    for cookie in (doctor.cookie, f"__Host-ribcage-patient={secret}", ""):
        for path in ("session", "disclosures", "rights", "passkeys", "events", "proof/1"):
            assert _with(phone, cookie).request(f"/api/patient/{path}").status == 401, path


def _with(phone: Phone, cookie: str) -> Phone:
    other = Phone(phone.archive)
    other.cookie = cookie
    return other


def test_a_token_or_session_in_a_url_is_not_read(archive: Archive) -> None:
    name, born = facts(MINE)
    token = archive.ask(p.InvitePatient(name), p.PatientInvited).token
    phone = Phone(archive)
    for query in (f"token={token}", f"token={token}&birth_date={born}"):
        assert phone.post(f"/api/patient/enter?{query}", {}).status == 400
        assert phone.post(f"/api/patient/enter?{query}", {"token": "", "birth_date": born}).status == 401
    proof = patient(archive).cookie.partition("=")[2]
    assert phone.request(f"/api/patient/disclosures?session={proof}").status == 401
    assert phone.enter(token, born).status == 401, "patient() made a newer invitation"


def test_without_that_defence_a_url_would_open_a_session(tmp_path: Path) -> None:
    with new_archive(tmp_path, patch="token_from_the_url") as weak:
        assert send(weak, weak.device("cr1", "CR1", "store"), instance_of(MINE.file)) == SUCCESS
        name, born = facts(MINE)
        token = weak.ask(p.InvitePatient(name), p.PatientInvited).token
        reply = Phone(weak).post(f"/api/patient/enter?token={token}&birth_date={born}", {})
        assert reply.status == 200


def test_bad_bodies_and_foreign_pages_are_refused(archive: Archive) -> None:
    phone = patient(archive)
    for body in ({}, {"token": 1, "birth_date": "x"}, {"token": "", "birth_date": "1970-01-01", "more": 1}):
        assert phone.post("/api/patient/enter", body).status == 400
    for date in ("1970-13-01", "19700101", "1970-02-30", "１９７０-01-01", ""):
        assert phone.post("/api/patient/enter", {"token": "A" * 22, "birth_date": date}).status == 400
    body = json.dumps({"subject": "*", "standing": True}).encode()
    kind = {"Content_Type": "application/json"}
    assert phone.request("/api/patient/objection", body, Origin="https://evil.example", **kind).status == 403
    for before in ("-1", "x", "1e3", "01"):
        assert phone.request(f"/api/patient/disclosures?before={before}").status == 400


def test_leaving_ends_session_and_stream(archive: Archive) -> None:
    phone = patient(archive)
    stream = Stream(phone)
    cookie = phone.cookie
    assert phone.request("/api/patient/logout", b"").status == 204
    event = stream.next()
    while event and event["type"] == "disclosure":
        event = stream.next()
    assert event == {"type": "session-ended"}
    assert stream.next() is None
    assert _with(phone, cookie).request("/api/patient/session").status == 401
    assert Phone(archive).request("/api/patient/logout", b"").status == 204


def test_a_passkey_replaces_the_invitation(archive: Archive) -> None:
    phone = patient(archive)
    device = Authenticator(origin=phone.base)
    options = phone.post("/api/patient/passkey/begin", {}).body.decode()
    made = phone.post(
        "/api/patient/passkey", {"label": "phone", "credential": json.loads(device.create(options))}
    )
    assert made.status == 200, made.body
    again = Phone(archive)
    options = again.post("/api/patient/passkey/login/begin", {}).body.decode()
    reply = again.post("/api/patient/passkey/login", {"credential": json.loads(device.get(options))})
    assert reply.status == 200 and json.loads(reply.body)["passkeys"] == 1
    again.cookie = reply.headers["set-cookie"].split(";")[0]
    (item,) = again.get("/api/patient/passkeys")["passkeys"]
    assert again.post("/api/patient/passkey/remove", {"id": item["id"]}).status == 204
    assert again.get("/api/patient/session")["passkeys"] == 0


def test_staff_invite_on_the_web(archive: Archive) -> None:
    name, born = facts(MINE)
    desk = archive.person("po", "technologist")
    body = json.dumps({"patient": name}).encode()
    kind = {"Content_Type": "application/json"}
    assert desk.request("/api/admin/invitations", body, **kind).status == 403
    assert desk.step_up().status == 200
    answer = json.loads(desk.request("/api/admin/invitations", body, **kind).body)
    assert answer["path"] == f"/patient#{answer['token']}"
    assert Phone(archive).enter(answer["token"], born).status == 200
    assert desk.request("/api/admin/persons").status == 403


def test_the_operator_prints_a_code(archive: Archive, tmp_path: Path) -> None:
    name, born = facts(MINE)
    command = [sys.executable, "-m", "ribcage.cli.main", "invite", name, "--home", str(archive.home)]
    command += ["--passphrase-fd", "0", "--days", "1", "--out", str(tmp_path / "code.svg")]
    done = subprocess.run(command, input=PASSPHRASE, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (token,) = re.findall(r"https://localhost:\d+/patient#([\w-]{22})\n", done.stdout.decode())
    assert (tmp_path / "code.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "code.svg").stat().st_mode & 0o777 == 0o600
    assert Phone(archive).enter(token, born).status == 200
    done = subprocess.run(command, input=PASSPHRASE, capture_output=True, check=False)
    assert done.returncode == 2 and b"exists" in done.stderr
