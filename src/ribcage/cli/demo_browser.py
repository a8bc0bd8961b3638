"""The demonstration's last acts in Chromium, driven by Playwright where both are there and the console is built.

Rules, in order:
1. Playwright is no dependency: without it, Chromium or the build, `show` says what is missing, and nothing fails.
2. The browser is headless, has a profile in the given folder, knows no proxy and ends with the acts.
3. It trusts this archive's key and no other. What a browser merely tolerates it neither caches nor lets use passkeys.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ribcage.cli.demo_screens import Cast, SpokenScreens
from ribcage.cli.errors import UsageError
from ribcage.console.errors import NotBuilt
from ribcage.console.library import Library
from ribcage.console.routes import STATIC
from ribcage.crypto import authority
from ribcage.oversight.story_screens import Screens, Seen, Told

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Frame, Locator

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS: Final = (
    *("--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_MOST_MILLISECONDS: Final = 60_000  # for one thing to be on the screen
_PHONE: Final = (390, 844)
_DESK: Final = (1440, 900)
_STARTED: Final = "() => frames[0]?.ribcageViewer !== undefined && frames[0].services !== undefined"
# A picture that is neither empty nor of one grey.
PICTURE: Final = """() => [...document.querySelectorAll('#root canvas')].some((canvas) => {
    if (canvas.width < 200 || canvas.height < 200) return false;
    const copy = document.createElement('canvas');
    copy.width = copy.height = 64;
    const pen = copy.getContext('2d');
    pen.drawImage(canvas, 0, 0, 64, 64);
    return new Set(pen.getImageData(0, 0, 64, 64).data.filter((_, place) => place % 4 === 0)).size > 16;
})"""


@contextlib.contextmanager
def show(cast: Cast, folder: Path) -> Iterator[Screens]:
    """Screens in a browser, else over HTTPS (rule 1)."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        yield SpokenScreens(cast, "the Python package playwright is not installed")
        return
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), "")
    if not program:
        yield SpokenScreens(cast, "Chromium is not installed")
        return
    if not viewer_is_built():
        yield SpokenScreens(cast, "the viewer is not built (make console)")
        return
    arguments = [*_ARGUMENTS, f"--ignore-certificate-errors-spki-list={_key_hash(cast)}"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium has none for root
    with sync_playwright() as driver:
        contexts = []
        for name, size in (("desk", _DESK), ("phone", _PHONE)):
            one = driver.chromium.launch_persistent_context(
                folder / name,
                executable_path=program,
                args=arguments,
                viewport={"width": size[0], "height": size[1]},
                is_mobile=name == "phone",
                locale="en-US",
            )
            contexts.append(one)
        try:
            yield BrowserScreens(cast, *contexts)
        except Error as failure:
            what = str(failure).partition("\n")[0]
            raise UsageError(f"the browser did not get on: {what}", "is the machine very busy?") from failure
        finally:
            for context in contexts:
                context.close()


def viewer_is_built() -> bool:
    """Whether there are pages to show."""
    try:
        return Library.read(STATIC).get("viewer/index.html") is not None
    except NotBuilt:
        return False


def _key_hash(cast: Cast) -> str:
    """What Chromium calls a key."""
    pem = ssl.get_server_certificate((cast.ground.web.host, cast.ground.web.port))
    return base64.b64encode(authority.key_fingerprint(pem.encode())).decode()


class BrowserScreens:
    """The doctor's and the patient's pages. What does not appear in time counts as not there."""

    missing = ""

    def __init__(self, cast: Cast, desk: BrowserContext, phone: BrowserContext) -> None:
        self._cast = cast
        for context in (desk, phone):
            context.set_default_timeout(_MOST_MILLISECONDS)
        self.desk, self.phone = desk.new_page(), phone.new_page()

    def open_film(self) -> Seen:
        """Log in and follow the worklist's link."""
        self._cast.grant()
        page = self.desk
        page.goto(f"{self._cast.base}/app/login")
        page.get_by_label("Username").fill(self._cast.doctor.username)
        page.get_by_label("Password").fill(self._cast.doctor.password)
        page.get_by_role("button", name="Log in", exact=True).click()
        link = page.get_by_role("link", name="Open")
        link.wait_for()
        with contextlib.suppress(_timeout()):
            page.wait_for_function(_STARTED)  # a person reads the list first
        started = time.perf_counter()
        link.click()
        self._wait_for_picture()
        _there(self._viewer.get_by_text("Masked", exact=True))
        return self._seen(started)

    def prove(self) -> Seen:
        """Through the bar over the film."""
        page = self._viewer
        page.get_by_role("button", name="Show full record").click()
        page.locator(".rc-code").fill(self._cast.code())
        started = time.perf_counter()
        page.get_by_role("button", name="Confirm").click()
        _there(page.get_by_text("Full record").first)
        _there(page.get_by_text(self._name()).first)
        self._wait_for_picture()
        return self._seen(started)

    def withdraw(self) -> Seen:
        """Revoke; the page hears of it by itself."""
        started = time.perf_counter()
        self._cast.revoke()
        return self._covered(started)

    def open_again(self) -> Seen:
        """Grant and reload."""
        self._cast.grant()
        started = time.perf_counter()
        self.desk.reload()
        self._wait_for_picture()
        return self._seen(started)

    def patient_enters(self) -> Told:
        """The invitation's link, the birth date, the list."""
        invitation, page = self._cast.invite(), self.phone
        page.goto(invitation.address)
        page.get_by_label("Your date of birth").fill(invitation.birth_date.replace("-", ""))
        page.get_by_role("button", name="Continue").click()
        entries = page.get_by_role("listitem").filter(has_text="saw your")
        there = _there(entries.filter(has_text=self._cast.doctor.username).first)
        return Told(entries.count(), there)

    def patient_stops(self) -> Seen:
        """Stop everyone, after what it means was read."""
        page = self.phone
        page.get_by_role("button", name="Stop everyone").click()
        started = time.perf_counter()
        page.get_by_role("button", name="Yes, stop").click()
        return self._covered(started)

    def patient_allows(self) -> None:
        """The button that takes it back."""
        self.phone.get_by_role("button", name="Allow again").first.click()
        self.phone.get_by_text("Who may look now").wait_for()

    @property
    def _viewer(self) -> Frame:
        """The frame over the list, or the page itself where the viewer has it alone."""
        return self.desk.frames[-1]

    def _name(self) -> str:
        """As OHIF writes it."""
        family, given = self._cast.film.identity.latin_name.split("^")
        return f"{family}, {given}"

    def _covered(self, started: float) -> Seen:
        _there(self._viewer.locator(".rc-cover").filter(visible=True))
        return self._seen(started)

    def _seen(self, started: float) -> Seen:
        seconds = time.perf_counter() - started
        picture = self._viewer.locator("#root canvas").first.is_visible() and self._viewer.evaluate(PICTURE)
        text = self._viewer.locator("body").inner_text()
        identity = self._cast.film.identity
        named = any(each in text for each in (*identity.needles(), self._name()))
        return Seen(bool(picture), named, seconds)

    def _wait_for_picture(self) -> None:
        with contextlib.suppress(_timeout()):
            self._viewer.wait_for_function(PICTURE, polling=100)


def _timeout() -> type[Exception]:
    from playwright.sync_api import TimeoutError as Late

    return Late


def _there(place: Locator) -> bool:
    """Whether it appears in time."""
    with contextlib.suppress(_timeout()):
        place.wait_for()
        return True
    return False
