"""The review of broken glass in Debian's Chromium: by keyboard, in both languages, and what the patient reads of it.

Needs `make console` and Chromium. Screenshots go to RIBCAGE_SHOTS, where that names a folder.
"""

from __future__ import annotations

import json
import os

import pytest
from playwright.sync_api import Page, expect

from helpers.archive import Archive, Browser
from peers.visits import (
    BUILT,
    FILM,
    PHONE,
    Visitor,
    born,
    hire,
    invite,
    kept,
    log_in,
    look_over,
    look_over_box,
    prove,
    traces,
)  # fmt: skip

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not BUILT and not os.environ.get("CI"), reason="needs Chromium and make console"),
]


def breaks_glass(ward: Archive, *roles: str) -> Browser:
    """Somebody opens the film without a grant."""
    staff = hire(ward, *roles)
    doctor = Browser(ward, staff.totp)
    assert doctor.log_in(staff.name, staff.password).status == 200
    assert doctor.step_up().status == 200
    body = {"study": FILM.study_uid, "reason": "on-call", "note": "no answer at the desk"}
    kind = {"Content_Type": "application/json"}
    assert doctor.request("/api/break-glass", json.dumps(body).encode(), **kind).status == 200
    return doctor


def press(page: Page, label: str) -> None:
    """By keyboard alone."""
    page.get_by_role("button", name=label).first.focus()
    page.keyboard.press("Enter")


def test_an_officer_judges_by_keyboard_and_the_patient_reads_the_verdict(
    ward: Archive, visit: Visitor
) -> None:
    breaks_glass(ward, "clinician")
    phone = visit(PHONE, has_touch=True, is_mobile=True)
    phone.go(f"/patient#{invite(ward)}")
    phone.page.get_by_label("Your date of birth").fill(born())
    phone.page.get_by_role("button", name="Continue").click()
    phone.page.get_by_text("this will be reviewed").wait_for()

    staff = hire(ward, "officer")
    visited = visit()
    page = visited.page
    log_in(visited, staff)
    visited.go("/app/admin/break-glass")
    prove(page, staff)
    waiting = page.get_by_role("table", name="Waiting for a verdict")
    expect(waiting).to_contain_text("On call, no grant in time")
    expect(waiting).to_contain_text("Clinician")
    assert "no answer at the desk" not in page.content()
    assert FILM.study_uid not in page.content()
    look_over(page, "glass")
    press(page, "What it was about")
    page.get_by_text("Looking is recorded with your name.").wait_for()
    look_over_box(page, "glass-ask")
    press(page, "Show, and record it")
    page.get_by_text("no answer at the desk").wait_for()
    page.get_by_text(FILM.study_uid).wait_for()
    look_over_box(page, "glass-shown")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert FILM.study_uid not in page.content() + kept(page)
    press(page, "Judge")
    page.get_by_label("Not justified").focus()
    page.keyboard.press("Space")
    page.get_by_label("Comment").fill("There was time to ask.")
    look_over_box(page, "glass-judge")
    press(page, "Record the verdict")
    judged = page.get_by_role("table", name="Judged")
    expect(judged).to_contain_text(f"Not justified · {staff.name}")
    page.get_by_text("Nothing waits for a verdict.").wait_for()
    look_over(page, "glass-judged")
    assert traces(page.content() + kept(page)) == []

    phone.page.get_by_text("it was not right").wait_for()
    assert staff.name not in phone.page.content()
    look_over(phone.page, "patient-verdict")


def test_who_broke_the_glass_is_offered_no_verdict(ward: Archive, visit: Visitor) -> None:
    doctor = breaks_glass(ward, "clinician", "officer")
    other = visit(user_agent=doctor.agent)
    name, _, value = doctor.cookie.partition("=")
    other.context.add_cookies([{"name": name, "value": value, "url": other.base, "secure": True}])
    other.go("/app/admin/break-glass")
    waiting = other.page.get_by_role("table", name="Waiting for a verdict")
    expect(waiting.get_by_role("row")).to_have_count(2)  # its head, and the own access
    assert waiting.get_by_role("button").count() == 0


def test_a_throttled_log_in_says_how_long_and_the_administrator_sees_who(
    ward: Archive, visit: Visitor
) -> None:
    staff, root = hire(ward, "clinician"), hire(ward, "administrator")
    visited, office = visit(), visit()
    page = visited.page
    visited.go("/app/")
    page.get_by_label("Username").fill(staff.name)
    page.get_by_label("Password").fill("wrong")
    for _ in range(5):
        with page.expect_response("**/api/login"):
            page.get_by_role("button", name="Log in", exact=True).click()
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_text("Too many wrong tries.").wait_for()
    expect(page.get_by_role("timer")).to_contain_text("4")
    expect(page.get_by_role("button", name="Log in", exact=True)).to_be_disabled()
    look_over(page, "login-throttled")
    log_in(office, root)
    office.go("/app/admin/persons")
    prove(office.page, root)
    waiting = office.page.get_by_role("table", name="Waiting after wrong tries")
    expect(waiting).to_contain_text(staff.name)
    look_over(office.page, "persons-waiting")


def test_two_administrators_reset_lost_factors_and_their_owner_enrols_anew(
    ward: Archive, visit: Visitor
) -> None:
    staff, first, second = hire(ward, "clinician"), hire(ward, "administrator"), hire(ward, "administrator")
    for root in (first, second):
        office = visit()
        page = office.page
        log_in(office, root)
        office.go("/app/admin/persons")
        prove(page, root)
        row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=staff.name, exact=True))
        if root is first:
            row.get_by_role("button", name="Reset factors").click()
            look_over_box(page, "reset-ask")
            page.get_by_role("dialog").get_by_role("button", name="Reset factors").click()
            row.get_by_text("Waits for another administrator").wait_for()
            assert row.get_by_role("button", name="Approve the reset").count() == 0
            continue
        row.get_by_role("button", name="Approve the reset").click()
        page.get_by_role("dialog").get_by_role("button", name="Approve the reset").click()
        code = page.get_by_role("dialog").locator(".secret").inner_text()
        look_over_box(page, "reset-code")
        page.get_by_role("button", name="Handed over").click()
        assert code not in page.content() + kept(page)
    visited = visit()
    page = visited.page
    log_in(visited, staff)
    page.get_by_role("link", name="Account").click()
    page.get_by_label("Code from the administrator").fill("AAAA")
    page.get_by_role("button", name="Set up the app anew").click()
    page.get_by_text("The code is wrong or was used.").wait_for()
    look_over(page, "enrol")
    page.get_by_label("Code from the administrator").fill(code)
    page.get_by_role("button", name="Set up the app anew").click()
    page.get_by_role("img", name="Scan with an authenticator app").wait_for()
    look_over_box(page, "enrolled")
    page.get_by_role("button", name="I have stored them").click()
    page.get_by_text("Set up.").wait_for()
