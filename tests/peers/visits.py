"""Browsers that visit the console: staff and patients in Debian's Chromium, watched, and looked over by axe."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

import pyotp
from playwright.sync_api import BrowserContext, ConsoleMessage, Page
from pydicom import dcmread

from helpers.archive import TESTS, Archive, new_archive
from ribcage.console.routes import STATIC
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send

CHROMIUM = shutil.which("chromium")
AXE = TESTS.parent / "console" / "node_modules" / "axe-core" / "axe.min.js"
BUILT = CHROMIUM is not None and (STATIC / "manifest.json").is_file() and AXE.is_file()
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 30_000  # milliseconds, for a machine that is busy
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

    def forgive(self) -> None:
        """OHIF writes what is refused or cannot be decoded to the console; what a policy refused stays a fault."""
        self.said = [each for each in self.said if "Content Security Policy" in each]


Visitor = Callable[..., Visit]


@contextmanager
def archive_with_film(folder: Path, **more: object) -> Iterator[Archive]:
    """A running archive that holds the film; `more` are settings."""
    with new_archive(folder, **more) as running:
        station = running.device("cr1", "CR1", "store")
        assert send(running, station, instance_of(FILM.file)) == SUCCESS
        yield running


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
