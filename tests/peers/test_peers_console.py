"""The console's pages in Debian's Chromium against the running archive: staff and patients, no trace, axe.

Needs `make console` and Chromium. Screenshots go to RIBCAGE_SHOTS, where that names a folder.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

import pyotp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright
from pydicom import dcmread

from helpers.archive import TESTS, Archive, Browser, new_archive
from ribcage.console.routes import STATIC
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send

CHROMIUM = shutil.which("chromium")
AXE = TESTS.parent / "console" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        (CHROMIUM is None or not (STATIC / "manifest.json").is_file() or not AXE.is_file())
        and not os.environ.get("CI"),
        reason="needs Chromium and make console",
    ),
]
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 30_000  # milliseconds, for a machine that is busy
ACCESS_SEEN = 5_000
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 720}
FILM = make_study(48, 1, rows=256, columns=224)
_numbers = itertools.count(1)
_Given = TypeVar("_Given")


@dataclass
class Staff:
    """A person with a password and an app."""

    name: str
    password: str
    totp: pyotp.TOTP


@dataclass
class Visit:
    """A browser of its own, watched; the page is `page`."""

    context: BrowserContext
    page: Page
    base: str
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> Page:
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")

    def another(self) -> Page:
        """Another tab."""
        return self.watch(self.context.new_page())

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def foreign(self) -> set[str]:
        """Other hosts that were asked."""
        hosts = {urlsplit(each).netloc for each in self.asked if not each.startswith(("data:", "blob:"))}
        return hosts - {urlsplit(self.base).netloc}

    def faults(self) -> list[str]:
        """What no page may cause: script errors, and anything a policy refused. A refused question is no fault."""
        return [each for each in self.said if each.startswith("error: ") and "Failed to load" not in each]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("archive")) as running:
        station = running.device("cr1", "CR1", "store")
        assert send(running, station, instance_of(FILM.file)) == SUCCESS
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


Visitor = Callable[..., Visit]


@pytest.fixture
def visit(archive: Archive, chromium: Chromium) -> Iterator[Visitor]:
    """Makes browsers, each with a jar of its own. They do not know the archive's authority: not the subject."""
    opened: list[Visit] = []

    def make(viewport: dict[str, int] = DESKTOP, **given: object) -> Visit:
        options = {"locale": "en-US", **given}
        context = chromium.new_context(ignore_https_errors=True, viewport=viewport, **options)
        context.set_default_timeout(PATIENCE)
        made = Visit(context, context.new_page(), f"https://localhost:{archive.https[1]}")
        made.watch(made.page)
        opened.append(made)
        return made

    yield make
    for each in opened:
        assert each.foreign() == set()
        assert each.faults() == []
        each.context.close()


def aside(work: Callable[[], _Given]) -> _Given:
    """Run what needs an event loop of its own, which Playwright's thread cannot have."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def hire(archive: Archive, *roles: str, granted: bool = False) -> Staff:
    """A person of this test's own: no code is used twice."""
    name = f"p{next(_numbers)}"
    request = p.AddPerson(username=name, display_name="Li Ming", roles=list(roles))
    added = aside(lambda: archive.ask(request, p.PersonAdded))
    if granted:
        aside(lambda: archive.grant(f"person:{name}", f"study:{FILM.study_uid}", "full"))
    return Staff(name, added.password, pyotp.parse_uri(added.totp_uri))


def log_in(visited: Visit, staff: Staff) -> None:
    page = visited.page
    visited.go("/app/")
    page.get_by_label("Username").fill(staff.name)
    page.get_by_label("Password").fill(staff.password)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Log out").wait_for()


def prove(page: Page, staff: Staff) -> None:
    """The second factor, wherever it is asked for."""
    page.get_by_label("One-time code").last.fill(staff.totp.now())
    page.get_by_role("button", name="Confirm").last.click()
    page.get_by_text("Second factor 1").wait_for()


def authenticator(page: Page) -> None:
    """A phone's own authenticator, with a finger that is always there."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("RIBCAGE_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def traces(text: str, film: Study = FILM) -> list[str]:
    """Which of the patient's identifying texts stand in `text`."""
    plain = unquote(text.replace("+", " "))
    return [needle for needle in film.identity.needles() if needle in plain or needle in text]


def kept(page: Page) -> str:
    """Everything the page keeps: storages, readable cookies, caches, databases, history state, title, address."""
    found = page.evaluate(
        """async () => [{...localStorage}, {...sessionStorage}, document.cookie, history.state, location.href,
            document.title, await caches.keys(), (await indexedDB.databases()).map((each) => each.name)]"""
    )
    return json.dumps(found, ensure_ascii=False)


def look_over(page: Page, name: str) -> None:
    """Axe on the page in both languages and both colours, and once on a phone; a screenshot of each."""
    for language in ("en", "zh"):
        for colours in ("light", "dark"):
            look_at(page, f"{name}-{language}-{colours}", colours)
        page.get_by_role("button", name="中文" if language == "en" else "English").first.click()
    before = page.viewport_size
    if before == DESKTOP:
        page.set_viewport_size(PHONE)
        look_at(page, f"{name}-phone", "light")
        page.set_viewport_size(before)


def look_at(page: Page, name: str, colours: Literal["light", "dark"] = "light") -> None:
    """No serious finding of axe, and nothing wider than the screen; a screenshot."""
    page.emulate_media(color_scheme=colours)
    shoot(page, name)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    severe = [
        (each["id"], [node["html"][:160] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert severe == [], name
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0, name


def look_over_box(page: Page, name: str) -> None:
    """The same for a dialog, whose language is that of the page below."""
    for colours in ("dark", "light"):
        look_at(page, f"{name}-{colours}", colours)


def named() -> str:
    """The film's patient as staff name them: ID|ISSUER."""
    data = dcmread(BytesIO(FILM.file), specific_tags=["PatientID", "IssuerOfPatientID"])
    return "|".join(filter(None, (str(data.PatientID), str(data.get("IssuerOfPatientID", "")))))


def invite(archive: Archive) -> str:
    """A fresh invitation's token for the film's patient."""
    asked = p.InvitePatient(patient=named(), days=7)
    return aside(lambda: archive.ask(asked, p.PatientInvited)).token


def born() -> str:
    """The film's patient's date of birth, as typed."""
    return FILM.identity.birth_date


def test_log_in_search_and_step_up_leave_no_trace(archive: Archive, visit: Visitor) -> None:
    staff = hire(archive, "radiologist", granted=True)
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
    archive: Archive, visit: Visitor
) -> None:
    staff = hire(archive, "radiologist", granted=True)
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


def test_a_passkey_is_added_and_logs_in_and_codes_are_shown_once(archive: Archive, visit: Visitor) -> None:
    staff = hire(archive, "clinician", granted=True)
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


def test_an_administrator_adds_people_devices_grants_and_invitations(
    archive: Archive, visit: Visitor
) -> None:
    staff = hire(archive, "administrator")
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

    page.get_by_role("link", name="Patients").click()
    page.get_by_label("Patient ID").fill(named())
    look_over(page, "invite")
    page.get_by_role("button", name="Make the invitation").click()
    page.get_by_role("img", name="Invitation").wait_for()
    look_over_box(page, "invited")
    assert traces(kept(page)) == []


def test_an_officer_reads_and_is_offered_no_change(archive: Archive, visit: Visitor) -> None:
    staff = hire(archive, "officer")
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


def test_emergency_access_says_that_it_is_reviewed(archive: Archive, visit: Visitor) -> None:
    staff = hire(archive, "clinician")
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
    asked: list[dict[str, str]] = []
    answers = [
        (403, {"error": "second_factor_needed"}),
        (429, {"error": "too_many"}),
        (200, {"number": 1, "valid_until": time.time() + 14_400, "purpose": "ETREAT"}),
    ]

    def answer(route: Route) -> None:
        asked.append(route.request.post_data_json)
        status, body = answers[len(asked) - 1]
        route.fulfill(status=status, json=body)

    page.route("**/api/break-glass", answer)
    page.get_by_label("Reason").select_option("On call, no grant in time")
    page.get_by_role("button", name="Open in an emergency").click()
    prove(page, staff)
    page.get_by_text("Ask the officer for a grant.").wait_for()
    page.get_by_role("button", name="Open in an emergency").click()
    page.get_by_text("It will be reviewed.").wait_for()
    wanted = {"patient": FILM.identity.patient_id, "reason": "on-call", "note": "", "code": ""}
    assert asked == [wanted] * 3
    assert traces(kept(page)) == []


def test_a_patient_sees_an_access_at_once_and_stops_it(archive: Archive, visit: Visitor) -> None:
    staff = hire(archive, "radiologist", granted=True)
    token = invite(archive)
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

    doctor = Browser(archive, staff.totp)
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


def test_an_invitation_works_once(archive: Archive, visit: Visitor) -> None:
    token = invite(archive)
    first, second = visit(PHONE), visit(PHONE)
    for visited in (first, second):
        visited.go(f"/patient#{token}")
        visited.page.get_by_label("Your date of birth").fill(born())
        visited.page.get_by_role("button", name="Continue").click()
    first.page.get_by_role("heading", name="Who saw my images").wait_for()
    second.page.get_by_text("An invitation works once.").wait_for()
