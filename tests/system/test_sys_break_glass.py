"""Break-glass over HTTP and on the command line: a film at three in the morning, and the judgement after it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyotp
from pydicom import dcmread

from helpers.archive import Archive, Browser, Reply, new_archive, parts
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send


def breaks(doctor: Browser, **body: str) -> Reply:
    text = json.dumps({"reason": "emergency"} | body).encode()
    return doctor.request("/api/break-glass", text, Content_Type="application/json")


def test_a_doctor_breaks_the_glass_reads_the_film_and_is_cut_when_it_ends(tmp_path: Path) -> None:
    one = instance_of(make_study(31, 1).file)
    with new_archive(tmp_path) as archive:
        assert send(archive, archive.device("cr1", "CR1", "store"), one) == SUCCESS
        doctor = archive.person("li", "clinician")
        film = f"studies/{one.study}"
        assert doctor.retrieve(film).status == 403
        refused = breaks(doctor, study=one.study)
        assert (refused.status, refused.headers["x-ribcage-step-up"]) == (403, "totp")
        assert doctor.step_up().status == 200
        for wrong in (
            {"study": one.study, "patient": "x"},
            {"study": one.study, "note": "x" * 201},
            {"study": one.study, "reason": "curiosity"},
            {"study": one.study, "view": "original"},
            {},
        ):
            assert breaks(doctor, **wrong).status == 400, wrong
        text = json.dumps({"reason": "emergency", "study": one.study}).encode()
        foreign = doctor.request(
            "/api/break-glass", text, Content_Type="application/json", Origin="https://elsewhere.example"
        )
        assert foreign.status == 403
        assert breaks(doctor, study="1.2.3.4.5").status == 403
        answer = breaks(doctor, study=one.study, note="unresponsive, 无意识")
        assert answer.status == 200
        told = json.loads(answer.body)
        assert (told["number"], told["purpose"]) == (1, "ETREAT")
        reply = doctor.retrieve(film)
        assert reply.status == 200
        assert one.uid.encode() in parts(reply)[0]
        (item,) = archive.ask(p.BreakGlassPage(), p.BreakGlassItems).items
        assert (item.username, item.scope, item.verdict) == ("li", "study", "")
        archive.ask(p.EndBreakGlass(1), p.BreakGlassItem)
        assert doctor.retrieve(film).status == 403
        cookie, doctor.cookie = doctor.cookie, ""
        assert breaks(doctor, study=one.study).status == 401
        doctor.cookie = cookie
        assert archive.verify().differences == []


def asks(browser: Browser, path: str, body: object = None) -> Reply:
    data = None if body is None else json.dumps(body).encode()
    return browser.request(f"/api/{path}", data, Content_Type="application/json")


def patient_of(archive: Archive, film: Study) -> Browser:
    """The film's patient, come in by an invitation."""
    data = dcmread(io.BytesIO(film.file))
    named = "|".join(filter(None, (str(data.PatientID), str(data.get("IssuerOfPatientID", "")))))
    token = archive.ask(p.InvitePatient(named, 7), p.PatientInvited).token
    browser = Browser(archive, pyotp.TOTP(pyotp.random_base32()))
    born = film.identity.birth_date
    written = f"{born[:4]}-{born[4:6]}-{born[6:]}"
    reply = asks(browser, "patient/enter", {"token": token, "birth_date": written})
    assert reply.status == 200
    browser.cookie = reply.headers["set-cookie"].split(";")[0]
    return browser


def test_an_officer_judges_over_https_and_the_patient_reads_the_verdict_without_a_name(
    tmp_path: Path,
) -> None:
    film = make_study(31, 1)
    one = instance_of(film.file)
    with new_archive(tmp_path) as archive:
        assert send(archive, archive.device("cr1", "CR1", "store"), one) == SUCCESS
        doctor, officer = archive.person("li", "clinician", "officer"), archive.person("fu", "officer")
        assert doctor.step_up().status == 200
        assert breaks(doctor, study=one.study, note="unresponsive").status == 200
        judge = {"number": 1, "verdict": "unjustified", "comment": "不是急诊"}
        assert asks(officer, "admin/break-glass").status == 403
        assert asks(officer, "admin/break-glass/review", judge).status == 403
        assert officer.step_up().status == 200
        (item,) = asks(officer, "admin/break-glass").json()["accesses"]
        assert (item["display_name"], item["roles"], item["verdict"]) == ("Li", ["clinician", "officer"], "")
        assert not item["overdue"]
        assert one.study not in json.dumps(item)
        about = asks(officer, "admin/break-glass/show", {"number": 1}).json()
        assert about == {"studies": [one.study], "note": "unresponsive", "comment": ""}
        assert asks(doctor, "admin/break-glass/review", judge).status == 403
        for wrong in (
            {"verdict": "fine"},
            {"comment": "x" * 201},
            {"by": {"username": "fu"}},
            {"number": "1"},
        ):
            assert asks(officer, "admin/break-glass/review", judge | wrong).status == 400, wrong
        assert asks(officer, "admin/break-glass/review", judge | {"number": 9}).status == 404
        assert asks(officer, "admin/break-glass/review", judge).json()["verdict"] == "unjustified"
        assert asks(officer, "admin/break-glass/review", judge).status == 409
        patient = patient_of(archive, film)
        (row,) = [
            each
            for each in asks(patient, "patient/disclosures").json()["disclosures"]
            if each["kind"] == "break-glass"
        ]
        assert (row["by"], row["review"]) == ("Li", "unjustified")
        assert "Fu" not in json.dumps(row)
        assert archive.verify().differences == []
