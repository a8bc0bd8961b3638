"""The console's pages for staff in Debian's Chromium against the running archive: no trace, no foreign host, axe.

Needs `make console` and Chromium. Screenshots go to RIBCAGE_SHOTS, where that names a folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import expect

from helpers.archive import Archive
from peers.visits import (
    BUILT,
    FILM,
    PHONE,
    Visitor,
    authenticator,
    hire,
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


def test_log_in_search_and_step_up_leave_no_trace(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "radiologist", granted=True)
    visited = visit()
    page = visited.page
    visited.go("/app/")
    page.get_by_label("Username").fill(staff.name)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_text("Username or password is wrong.").wait_for()
    look_over(page, "login")
    log_in(visited, staff)
    page.get_by_role("link", name="Open").wait_for()
    assert traces(page.content()) == []  # masked before the second factor
    look_over(page, "list-masked")
    page.get_by_label("One-time code").fill("000000")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("The code is wrong or was used.").wait_for()
    prove(page, staff)
    expect(page.get_by_role("table")).to_contain_text(FILM.identity.patient_id)
    page.get_by_label("Patient name").fill(FILM.identity.chinese_name)
    page.get_by_role("button", name="Search").click()
    page.get_by_role("button", name="Earlier studies").click()
    page.get_by_text("No other study of this patient").wait_for()
    look_over(page, "list-full")
    page.get_by_label("Patient ID").fill("nobody")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("You see only studies that somebody granted to you.").wait_for()
    look_over(page, "list-nothing")
    assert traces(kept(page)) == []
    assert [each for each in visited.said if traces(each)] == []
    for url in visited.asked:  # QIDO's query strings are the exception that the protocol forces
        if urlsplit(url).path != "/dicom-web/studies":
            assert traces(url) == [], url


def test_log_out_in_one_tab_empties_all_and_a_stolen_cookie_opens_nothing(
    ward: Archive, visit: Visitor
) -> None:
    staff = hire(ward, "radiologist", granted=True)
    visited, thief = visit(), visit(user_agent="Thief/1")
    log_in(visited, staff)
    other = visited.another()
    other.goto(f"{visited.base}/app/")
    other.get_by_role("link", name="Open").wait_for()
    thief.context.add_cookies(visited.context.cookies())
    thief.go("/app/")
    thief.page.get_by_label("Username").wait_for()
    assert "Open" not in thief.page.content()
    visited.page.reload()  # the theft ended nothing of the owner's
    visited.page.get_by_role("button", name="Log out").click()
    visited.page.get_by_label("Username").wait_for()
    other.get_by_label("Username").wait_for()
    assert other.get_by_role("link", name="Open").count() == 0


def test_a_click_for_another_tab_opens_the_viewer_there(ward: Archive, visit: Visitor) -> None:
    visited = visit()
    log_in(visited, hire(ward, "radiologist", granted=True))
    page = visited.page
    page.locator("iframe.viewer").wait_for(state="attached")
    with visited.context.expect_page() as opening:
        page.get_by_role("link", name="Open").click(modifiers=["ControlOrMeta"])
    opening.value.wait_for_url(f"{visited.base}/viewer/viewer?StudyInstanceUIDs={FILM.study_uid}")
    opening.value.get_by_text("Masked", exact=True).wait_for()
    assert page.url == f"{visited.base}/app/"


def test_a_passkey_is_added_and_logs_in_and_codes_are_shown_once(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "clinician", granted=True)
    visited = visit()
    page = visited.page
    authenticator(page)
    log_in(visited, staff)
    page.get_by_role("link", name="Account").click()
    page.get_by_text("No passkey yet.").wait_for()
    look_over(page, "account-empty")
    page.get_by_label("Name for this passkey").fill("Desk")
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("dialog").wait_for()  # the second factor is asked on the way
    look_over_box(page, "step-up")
    prove(page, staff)
    page.get_by_role("cell", name="Desk").wait_for()
    page.get_by_role("button", name="Make new codes").click()
    page.get_by_role("dialog").get_by_role("button", name="Make new codes").click()
    codes = page.locator(".codes li")
    codes.first.wait_for()
    assert codes.count() == 10
    code = codes.first.inner_text()
    look_over_box(page, "codes")
    page.get_by_role("button", name="I have stored them").click()
    assert code not in page.content() + kept(page)
    look_over(page, "account")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Log in with a passkey").click()
    page.get_by_text("Second factor 1").wait_for()  # a verified passkey is both factors
    page.get_by_role("button", name="Log out").click()
    log_in(visited, staff)
    page.get_by_role("button", name="Use a passkey").wait_for()
    page.get_by_label("One-time code").fill(code.replace("-", " ").lower())
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Second factor 1").wait_for()
    page.get_by_role("link", name="Account").click()
    page.get_by_text("A recovery code was used.").wait_for()


def request_of(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return asked.public_bytes(serialization.Encoding.PEM).decode()


def test_an_administrator_adds_people_devices_and_grants(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "administrator")
    visited = visit()
    page = visited.page
    log_in(visited, staff)
    page.get_by_role("link", name="Administration").click()
    prove(page, staff)
    page.get_by_text("Log entries").wait_for()
    look_over(page, "status")

    page.get_by_role("link", name="People").click()
    page.locator("summary", has_text="Add a person").click()
    page.get_by_label("Username").fill("wu")
    page.get_by_label("Full name").fill("Wu Fang 吴芳")
    look_over(page, "persons")
    page.get_by_role("button", name="Add a person").click()
    page.get_by_role("img", name="Scan with an authenticator app").wait_for()
    look_over_box(page, "person-added")
    secret = page.locator(".secret").first.inner_text()
    page.get_by_role("button", name="Handed over").click()
    assert secret not in page.content() + kept(page)
    page.get_by_role("cell", name="wu", exact=True).wait_for()

    page.get_by_role("link", name="Devices").click()
    page.locator("summary", has_text="Add a device").click()
    page.get_by_label("Name", exact=True).fill("dx-7")
    page.get_by_label("AE titles").fill("DX7")
    page.get_by_label("Certificate request (PEM)").fill(request_of("dx-7"))
    look_over(page, "devices")
    page.get_by_role("button", name="Add a device").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Certificate").click()
    assert download.value.suggested_filename == "dx-7.crt"
    assert "BEGIN CERTIFICATE" in Path(download.value.path()).read_text()
    look_over_box(page, "device-added")
    page.get_by_role("button", name="Close").click()

    page.get_by_role("link", name="Grants").click()
    page.locator("summary", has_text="Add a grant").click()
    page.get_by_label("Who").fill("person:wu")
    page.get_by_label("What").fill(f"study:{FILM.study_uid}")
    look_over(page, "grants")
    page.get_by_role("button", name="Add a grant").click()
    mine = page.get_by_role("row").filter(has_text="person:wu")
    mine.get_by_role("button", name="Revoke").click()
    look_over_box(page, "revoke")
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    mine.wait_for(state="detached")

    page.get_by_role("link", name="Parked").click()
    page.get_by_text("Nothing is parked.").wait_for()
    look_over(page, "parked")

    assert traces(kept(page)) == []


def test_an_officer_reads_and_is_offered_no_change(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "officer")
    visited = visit(PHONE)
    page = visited.page
    log_in(visited, staff)
    visited.go("/app/admin/persons")
    prove(page, staff)
    page.get_by_role("cell", name=staff.name, exact=True).wait_for()
    page.get_by_text("You may read here and change nothing.").wait_for()
    assert page.get_by_role("button", name="Suspend").count() == 0
    assert page.get_by_text("Add a person").count() == 0
    look_over(page, "officer-phone")


def test_emergency_access_says_that_it_is_reviewed(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "clinician")
    visited = visit()
    page = visited.page
    log_in(visited, staff)
    visited.go(f"/app/emergency#{FILM.study_uid}")
    page.get_by_text("Every use is reviewed by another person").wait_for()
    page.get_by_text("The study you came from").wait_for()
    assert page.url == f"{visited.base}/app/emergency"
    visited.go("/app/")
    page.get_by_text("You see only studies that somebody granted to you.").wait_for()
    page.get_by_role("link", name="Emergency access").click()
    page.get_by_label("Patient ID").fill(FILM.identity.patient_id)
    look_over(page, "emergency")
    page.route("**/api/break-glass", lambda route: route.fulfill(status=429, json={"error": "too_many"}))
    page.get_by_role("button", name="Open in an emergency").click()
    page.get_by_text("Ask the officer for a grant.").wait_for()
    page.unroute("**/api/break-glass")
    page.get_by_label("Patient ID").fill("nobody")
    page.get_by_role("button", name="Open in an emergency").click()
    page.get_by_role("dialog").wait_for()  # the page has a field of that name itself
    prove(page, staff)
    page.get_by_text("Not opened").wait_for()
    page.get_by_label("Patient ID").fill(named())
    page.get_by_label("Reason").select_option("On call, no grant in time")
    page.get_by_role("button", name="Open in an emergency").click()
    page.get_by_text("It will be reviewed.").wait_for()
    expect(page.get_by_role("table")).to_contain_text(FILM.identity.patient_id)
    look_over(page, "emergency-open")
    assert traces(kept(page)) == []
