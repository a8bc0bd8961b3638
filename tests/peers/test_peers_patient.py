"""The patient's page at phone width in Debian's Chromium against the running archive.

Needs `make console` and Chromium. Screenshots go to RIBCAGE_SHOTS, where that names a folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from helpers.archive import Archive, Browser
from peers.visits import (
    BUILT,
    FILM,
    PHONE,
    Visitor,
    authenticator,
    born,
    hire,
    invite,
    kept,
    log_in,
    look_over,
    look_over_box,
    named,
    prove,
    traces,
)  # fmt: skip

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not BUILT and not os.environ.get("CI"), reason="needs Chromium and make console"),
]
ACCESS_SEEN = 5_000  # milliseconds


def test_staff_hand_out_an_invitation(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "technologist")
    visited = visit()
    page = visited.page
    log_in(visited, staff)
    page.get_by_role("link", name="Patients").click()
    page.get_by_label("Patient ID").fill(named())
    look_over(page, "invite")
    page.get_by_role("button", name="Make the invitation").click()
    page.get_by_role("dialog").wait_for()
    prove(page, staff)
    page.get_by_role("img", name="Invitation").wait_for()
    look_over_box(page, "invited")
    link = page.locator(".secret").inner_text()
    page.get_by_role("button", name="Handed over").click()
    assert link.startswith(f"{visited.base}/patient#")
    assert link not in page.content() + kept(page)
    assert traces(kept(page)) == []


def test_a_patient_sees_an_access_at_once_and_stops_it(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "radiologist", granted=True)
    token = invite(ward)
    phone = visit(PHONE, has_touch=True, is_mobile=True)
    page = phone.page
    authenticator(page)
    phone.go(f"/patient#{token}")
    page.get_by_label("Your date of birth").wait_for()
    assert page.url == f"{phone.base}/patient"
    assert token not in kept(page)
    page.get_by_label("Your date of birth").fill("31")
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("Please type eight digits").wait_for()
    look_over(page, "patient-enter")
    page.get_by_label("Your date of birth").fill(born())
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Remember this phone").wait_for()
    look_over(page, "patient-new")
    page.get_by_role("button", name="Remember this phone").click()
    page.get_by_role("button", name="Remember this phone").wait_for(state="detached")
    page.get_by_text("A phone was remembered").first.wait_for()

    doctor = Browser(ward, staff.totp)
    assert doctor.log_in(staff.name, staff.password).status == 200
    assert doctor.retrieve(f"studies/{FILM.study_uid}").status == 200
    seen = page.get_by_role("status").filter(has_text="Just now")
    seen.wait_for(timeout=ACCESS_SEEN)
    page.get_by_text("saw your X-ray").first.wait_for()
    look_over(page, "patient-seen")
    with page.expect_download() as download:
        entry = page.get_by_role("listitem").filter(has_text="saw your X-ray").first
        entry.get_by_role("link", name="Keep a proof").click()
    assert json.loads(Path(download.value.path()).read_text())

    page.get_by_role("button", name="Stop this one").first.click()
    page.get_by_text("In an emergency a doctor can still open them.").wait_for()
    look_over_box(page, "patient-stop")
    page.get_by_role("button", name="Yes, stop").click()
    page.get_by_role("button", name="Allow again").wait_for()
    assert doctor.retrieve(f"studies/{FILM.study_uid}").status == 403
    look_over(page, "patient-stopped")
    page.get_by_role("button", name="Allow again").click()
    page.get_by_text("Allowed again.").wait_for()
    assert doctor.retrieve(f"studies/{FILM.study_uid}").status == 200

    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with this phone").wait_for()
    look_over(page, "patient-entrance")
    page.get_by_role("button", name="Sign in with this phone").click()
    page.get_by_role("heading", name="Who saw my images").wait_for()
    assert traces(kept(page)) == []
    assert [each for each in phone.asked if traces(each) or token in each] == []
    assert {urlsplit(each).path.split("/")[2] for each in phone.asked if "/api/" in each} == {"patient"}


def test_an_invitation_works_once(ward: Archive, visit: Visitor) -> None:
    token = invite(ward)
    first, second = visit(PHONE), visit(PHONE)
    for visited in (first, second):
        visited.go(f"/patient#{token}")
        visited.page.get_by_label("Your date of birth").fill(born())
        visited.page.get_by_role("button", name="Continue").click()
    first.page.get_by_role("heading", name="Who saw my images").wait_for()
    second.page.get_by_text("An invitation works once.").wait_for()
