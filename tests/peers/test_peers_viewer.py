"""OHIF in Debian's Chromium against the running archive: the picture, the masked and the full name, and no trace.

Needs `make console` and Chromium. Screenshots go to RIBCAGE_SHOTS, where that names a folder.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyotp
import pytest
from openjpeg.utils import encode_buffer
from playwright.sync_api import BrowserContext, ConsoleMessage, Frame, Locator, Page, sync_playwright
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from helpers.archive import Archive, Browser, new_archive
from ribcage.cli.demo_browser import PICTURE
from ribcage.console.routes import STATIC
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study
from system.senders import SUCCESS, instance_of, send

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        (CHROMIUM is None or not (STATIC / "manifest.json").is_file()) and not os.environ.get("CI"),
        reason="needs Chromium and make console",
    ),
]
ARGUMENTS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
AGENT = "Ribcage-Test/1"  # as `Browser`: a session belongs to the client that logged in
PATIENCE = 60_000  # milliseconds, for a machine that is busy
FILM = make_study(47, 1, rows=512, columns=448)
STARTED = "() => window.ribcageViewer !== undefined && window.services !== undefined"
WAITS = "() => window.ribcageViewer.waits()"
_numbers = itertools.count(1)


@dataclass
class Seen:
    """What a browser asked for and said while it was watched."""

    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # by a Content-Security-Policy

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.console.append(str(error)))

    def _said(self, message: ConsoleMessage) -> None:
        text = message.text
        self.console.append(text)
        if "Content Security Policy" in text:
            self.refused.append(text)


@dataclass
class Ward:
    """A running archive with one film, and its reader."""

    archive: Archive
    film: Study
    doctor: Browser
    username: str
    password: str
    grant: int

    @property
    def viewer(self) -> str:
        return f"{self.doctor.base}/viewer/viewer?StudyInstanceUIDs={self.film.study_uid}"

    def aside(self, work: Callable[[], object]) -> None:
        """Run what needs an event loop of its own, which Playwright's thread cannot have."""
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("archive")) as running:
        station = running.device("cr1", "CR1", "store")
        assert send(running, station, instance_of(FILM.file)) == SUCCESS
        yield running


@pytest.fixture(scope="module")
def compressed(archive: Archive) -> dict[UID, Study]:
    """The same film in other transfer syntaxes, stored."""
    films = {}
    for number, syntax in enumerate((JPEG2000Lossless, JPEGLSLossless, RLELossless), 2):
        film = make_study(47, number, rows=512, columns=448)
        data = dcmread(BytesIO(film.file))
        if syntax == JPEG2000Lossless:  # pydicom would want one more package for it
            data.PixelData = encapsulate([encode_buffer(data.PixelData, 448, 512, 1, 12, False)])
            data["PixelData"].VR, data.file_meta.TransferSyntaxUID = "OB", syntax
        else:
            data.compress(syntax, generate_instance_uid=False)
        packed = BytesIO()
        data.save_as(packed)
        films[syntax] = replace(film, file=packed.getvalue())
    station = archive.device("cr2", "CR2", "store")
    stored = [send(archive, station, instance_of(film.file)) for film in films.values()]
    assert stored == [SUCCESS] * len(films)
    return films


@pytest.fixture
def ward(archive: Archive, compressed: dict[UID, Study]) -> Ward:
    """A doctor of this test's own: no code is used twice."""
    name = f"li{next(_numbers)}"
    request = p.AddPerson(username=name, display_name="Li Ming", roles=["radiologist"])
    added = archive.ask(request, p.PersonAdded)
    doctor = Browser(archive, pyotp.parse_uri(added.totp_uri))
    assert doctor.log_in(name, added.password).status == 200
    grant = archive.grant(f"person:{name}", f"study:{FILM.study_uid}", "full")
    for number in (2, 3, 4):
        archive.grant(f"person:{name}", f"study:{make_study(47, number).study_uid}", "full")
    return Ward(archive, FILM, doctor, name, added.password, grant)


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser with a profile of its own. It does not know the archive's authority; that is not the subject here."""
    with sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, args=ARGUMENTS, ignore_https_errors=True,
            viewport={"width": 1440, "height": 900}, locale="en-US",
            user_agent=AGENT,
        )  # fmt: skip
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


def enter(context: BrowserContext, doctor: Browser) -> Page:
    """A page with the doctor's session."""
    name, _, value = doctor.cookie.partition("=")
    context.add_cookies([
        {"name": name, "value": value, "url": doctor.base, "secure": True, "httpOnly": True, "sameSite": "Strict"}
    ])  # fmt: skip
    return context.new_page()


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("RIBCAGE_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def patient(page: Page) -> Locator:
    """What OHIF's head says of the patient."""
    return page.locator("#root")


def wait_for_picture(page: Page | Frame) -> None:
    """Until the viewport holds a picture that is neither empty nor of one grey."""
    page.wait_for_function(PICTURE)


def started(page: Page) -> Frame:
    """The viewer behind the list, started; marked, so that another document would show."""
    page.locator("iframe.viewer").wait_for(state="attached")
    frame = page.frames[-1]
    frame.wait_for_function(STARTED)
    frame.evaluate("() => { window.marked = true; }")
    return frame


def needles(film: Study) -> tuple[str, ...]:
    return film.identity.needles()


def traces(film: Study, text: str) -> list[str]:
    """Which of the patient's identifying texts stand in `text`."""
    plain = unquote(text.replace("+", " "))
    return [needle for needle in needles(film) if needle in plain or needle in text]


def kept(page: Page) -> str:
    """Everything the page keeps: storages, readable cookies, caches, databases, history state."""
    return str(
        page.evaluate(
            """async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state,
                await caches.keys(), (await indexedDB.databases()).map((each) => each.name),
                (await navigator.serviceWorker.getRegistrations()).length])"""
        )
    )


def test_a_film_is_shown_masked_then_full_and_leaves_no_trace(ward: Ward, chromium: BrowserContext) -> None:
    seen = Seen()
    page = enter(chromium, ward.doctor)
    seen.watch(page)
    started = time.perf_counter()
    page.goto(ward.viewer)
    wait_for_picture(page)
    print(f"address to picture, cold: {time.perf_counter() - started:.2f} s")
    page.get_by_text("Masked", exact=True).wait_for()
    shoot(page, "masked")
    masked = patient(page).inner_text()
    assert traces(ward.film, masked) == []
    assert traces(ward.film, page.content()) == []
    assert [url for url in seen.requests if traces(ward.film, url)] == []

    page.get_by_role("button", name="Show full record").click()
    page.locator(".rc-code").fill("000000")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("The code is wrong or was used.").wait_for()
    page.locator(".rc-code").fill(ward.doctor.totp.now())
    shoot(page, "dialog")
    started = time.perf_counter()
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Full record, 1").wait_for()
    family, given = ward.film.identity.latin_name.split("^")
    page.get_by_text(f"{family}, {given}").first.wait_for()
    wait_for_picture(page)
    print(f"code to full record with picture, warm: {time.perf_counter() - started:.2f} s")
    shoot(page, "full")

    own = urlsplit(ward.doctor.base).netloc
    foreign = {urlsplit(url).netloc for url in seen.requests if not url.startswith(("data:", "blob:"))} - {
        own
    }
    assert foreign == set()
    for url in seen.requests:  # QIDO's query strings are the exception that the protocol forces
        if not urlsplit(url).path.startswith("/dicom-web/studies"):
            assert traces(ward.film, url) == [], url
    assert traces(ward.film, page.url + page.title()) == []
    assert traces(ward.film, kept(page)) == []
    assert [line for line in seen.console if traces(ward.film, line)] == []
    assert seen.refused == []


def test_the_watermark_and_the_bar_take_no_click(ward: Ward, chromium: BrowserContext) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(ward.viewer)
    wait_for_picture(page)
    marks = page.locator(".rc-mark")
    assert f"Li Ming ({ward.username})" in marks.first.inner_text()
    box = page.locator("#root canvas").first.bounding_box()
    assert box is not None
    for across in (0.2, 0.5, 0.8):
        hit = page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y).closest('#root') !== null",
            [box["x"] + box["width"] * across, box["y"] + box["height"] * 0.5],
        )
        assert hit
    # A name in the title, wherever it came from, does not get there.
    page.evaluate("document.title = 'Wang^Wangshu'")
    assert page.title() == "Ribcage 阅片 Viewer"


def test_a_session_that_ends_covers_the_picture(ward: Ward, chromium: BrowserContext) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(ward.viewer)
    wait_for_picture(page)
    assert ward.doctor.request("/api/logout", b"{}", Content_Type="application/json").status == 204
    page.get_by_text("Your session has ended.").wait_for()
    assert not page.locator("#root canvas").first.is_visible()
    shoot(page, "ended")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").wait_for()
    page.goto(ward.viewer)
    assert urlsplit(page.url).path == "/app/login"


def test_a_withdrawn_right_covers_the_picture_at_the_next_question(
    ward: Ward, chromium: BrowserContext
) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(ward.viewer)
    wait_for_picture(page)
    ward.aside(lambda: ward.archive.revoke(ward.grant))
    page.evaluate("path => fetch(path)", f"/dicom-web/studies/{ward.film.study_uid}/metadata")
    page.get_by_text("Your right to see this study was withdrawn.").wait_for()
    assert not page.locator("#root canvas").first.is_visible()
    shoot(page, "revoked")


def test_from_log_in_by_search_to_the_picture(ward: Ward, chromium: BrowserContext) -> None:
    seen = Seen()
    page = chromium.new_page()
    seen.watch(page)
    page.goto(f"{ward.doctor.base}/app/")
    page.get_by_label("Username").fill(ward.username)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_text("Username or password is wrong.").wait_for()
    page.get_by_label("Password").fill(ward.password)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Open").first.wait_for()
    assert traces(ward.film, page.content()) == []  # masked before the second factor
    shoot(page, "list")
    page.get_by_role("button", name="中文").click()
    page.get_by_role("button", name="查询").wait_for()
    shoot(page, "list-zh")
    page.get_by_label("姓名").fill(ward.film.identity.chinese_name)
    page.get_by_role("button", name="查询").click()
    page.get_by_text("未找到，或您无权查看。").wait_for()  # whoever may not see a name cannot ask for it
    page.get_by_label("动态口令").fill(ward.doctor.totp.now())
    page.get_by_role("button", name="确认").click()
    page.get_by_label("动态口令").wait_for(state="detached")
    page.get_by_role("button", name="查询").click()
    page.get_by_role("link", name="阅片").wait_for()
    assert ward.film.identity.patient_id in page.content()
    assert traces(ward.film, page.url + page.title()) == []
    viewer = started(page)
    clicked = time.perf_counter()
    page.get_by_role("link", name="阅片").click()
    wait_for_picture(viewer)
    print(f"click to picture, the viewer waits: {time.perf_counter() - clicked:.2f} s")
    viewer.get_by_text("完整信息").first.wait_for()
    assert traces(ward.film, kept(page)) == []
    assert seen.refused == []


@pytest.mark.parametrize(
    "syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda each: each.name
)
def test_a_compressed_film_is_decoded_in_the_worker_that_may(
    ward: Ward, compressed: dict[UID, Study], chromium: BrowserContext, syntax: UID
) -> None:
    seen = Seen()
    page = enter(chromium, ward.doctor)
    seen.watch(page)
    page.goto(f"{ward.doctor.base}/viewer/viewer?StudyInstanceUIDs={compressed[syntax].study_uid}")
    wait_for_picture(page)
    shoot(page, f"compressed-{syntax}")
    assert seen.refused == []


def test_the_disk_of_the_browser_keeps_no_identity(
    ward: Ward, chromium: BrowserContext, tmp_path: Path
) -> None:
    page = enter(chromium, ward.doctor)
    assert ward.doctor.step_up().status == 200
    page.goto(ward.viewer)
    wait_for_picture(page)
    page.get_by_text("Full record").first.wait_for()
    chromium.close()
    found = [
        needle
        for needle in needles(ward.film)
        if subprocess.run(
            ["grep", "-rqaF", needle, str(tmp_path / "profile")], check=False
        ).returncode == 0
    ]  # fmt: skip
    assert found == []
