"""Break-glass over HTTP and on the command line: a film at three in the morning, and the judgement after it."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.archive import Browser, Reply, new_archive, parts
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
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
