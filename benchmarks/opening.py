"""From the click on a row of the worklist to the picture in OHIF, in Chromium, and from the address alone.

Rules, in order:
1. Each round has a profile, a reader with the second factor and four openings: by the address with an empty cache
   (`cold`), so again (`cached`), by a click on the list whose viewer waits (`warm`), then of another film from the
   same list (`next`). Films are made up.
2. `open` ends with OHIF's own picture: a viewport's canvas shows more than sixteen greys; `seen` with that or with
   the archive's preview, whichever stands first. Both are looked at twenty times a second.
3. Figures are medians; `spread` is (largest - smallest) / median. Beside each stands the work of the page's main
   thread in seconds, for machines that have other things to do.

Needs `make console`, Chromium and Playwright. `--quick` opens fewer times, `--json` prints one JSON object.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import os
import platform
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyotp
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import BrowserContext, CDPSession, Frame, Page, Playwright, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.archive import Archive, Browser, new_archive  # noqa: E402 - the tests' own harness
from ribcage.cli.demo_browser import PICTURE  # noqa: E402 - as above
from ribcage.guard import protocol as p  # noqa: E402 - as above
from ribcage.oversight.studies import Study, make_study  # noqa: E402 - as above
from system.senders import SUCCESS, instance_of, send  # noqa: E402 - as above

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]
SIZES = {"small": (512, 448), "dx": (2560, 1954)}
SEEN = f"() => document.querySelector('.rc-first img') !== null || ({PICTURE})()"
WAITS = "() => window.ribcageViewer !== undefined && window.ribcageViewer.waits()"
AGENT = "Ribcage-Test/1"  # as `Browser`: a session belongs to the client that logged in
FRESH_MILLISECONDS = (
    1500  # after the viewer's last question, before the click: a person finds a row no faster
)

Opening = dict[str, Any]


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trace", action="store_true", help="each opening on a line of its own")
    options = parser.parse_args()
    figures: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="ribcage-bench-") as name,
        new_archive(Path(name), fronts=2) as archive,
    ):
        stored = {size: _store(archive, size) for size in SIZES}
        for size, films in stored.items():
            found = _rounds(archive, size, films, Path(name), 2 if options.quick else 5)
            if options.trace:
                print(*(json.dumps({"size": size, **each}) for each in found), sep="\n", flush=True)
            figures += _figures(size, found)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    if options.json:
        print(json.dumps({"machine": machine, "figures": figures}))
        return 0
    print(machine)
    for each in figures:
        work = f"main thread {each['work']:.2f} s"
        print(f"{each['name']:24} {each['ours']:6.2f} s  spread {each['spread']:.0%}  {work}")
    return 0


def _store(archive: Archive, size: str) -> list[Study]:
    rows, columns = SIZES[size]
    films = [make_study(59, rows + each, rows, columns) for each in (1, 2)]
    sender = archive.device(f"dx-{size}", f"DX{size.upper()}", "store")
    for film in films:
        if send(archive, sender, instance_of(film.file)) != SUCCESS:
            raise SystemExit("the film was not stored")
    return films


def _rounds(archive: Archive, size: str, films: list[Study], folder: Path, times: int) -> list[Opening]:
    with sync_playwright() as driver:
        return [
            {"kind": kind, "load": round(os.getloadavg()[0], 1), **opening}
            for turn in range(times)
            for kind, opening in _round(
                driver, archive, f"{size}{turn}", films, folder / f"profile-{size}-{turn}"
            ).items()
        ]


def _round(
    driver: Playwright, archive: Archive, reader: str, films: list[Study], profile: Path
) -> dict[str, Opening]:
    """One opening of each kind (rule 1)."""
    request = p.AddPerson(username=reader, display_name=reader, roles=["radiologist"])
    context = driver.chromium.launch_persistent_context(
        profile, executable_path=shutil.which("chromium"), args=[*ARGUMENTS, _trusting(archive)],
        viewport={"width": 1440, "height": 900}, locale="en-US", user_agent=AGENT,
    )  # fmt: skip
    context.set_default_timeout(60_000)
    base = _enter(archive, context, reader, request, films)
    try:
        address = f"{base}/viewer/viewer?StudyInstanceUIDs={films[0].study_uid}"
        cold, cached = (_by_address(context.new_page(), address) for _ in range(2))
        page = context.new_page()
        page.goto(f"{base}/app/")
        warm, following = (_by_click(page, film) for film in films)
        return {"cold": cold, "cached": cached, "warm": warm, "next": following}
    finally:
        context.close()


def _trusting(archive: Archive) -> str:
    """The archive's key as one that the browser trusts; what it only tolerates it never caches."""
    pem = ssl.get_server_certificate(archive.https)
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(der).digest()).decode()}"


def _enter(
    archive: Archive, context: BrowserContext, reader: str, request: p.AddPerson, films: list[Study]
) -> str:
    """A reader of these films with the second factor, whose session the browser has; the archive's address."""
    with ThreadPoolExecutor(1) as aside:  # Playwright's thread can have no event loop of its own
        added = aside.submit(archive.ask, request, p.PersonAdded).result()
        for film in films:
            aside.submit(archive.grant, f"person:{reader}", f"study:{film.study_uid}", "full").result()
    browser = Browser(archive, pyotp.parse_uri(added.totp_uri))
    if browser.log_in(reader, added.password).status != 200 or browser.step_up().status != 200:
        raise SystemExit("the reader did not get in")
    name, _, value = browser.cookie.partition("=")
    context.add_cookies([
        {"name": name, "value": value, "url": browser.base, "secure": True, "httpOnly": True, "sameSite": "Strict"}
    ])  # fmt: skip
    return browser.base


def _by_address(page: Page, address: str) -> Opening:
    opening = _timed(page, lambda: page.goto(address, wait_until="commit") and page.main_frame)
    page.close()
    return opening


def _by_click(page: Page, film: Study) -> Opening:
    """From the list to the picture and back."""
    link = page.locator(f'a[href$="{film.study_uid}"]')
    link.wait_for()
    page.locator("iframe").wait_for(state="attached")
    viewer = page.frames[-1]
    viewer.wait_for_function(WAITS)
    page.wait_for_timeout(FRESH_MILLISECONDS)

    def click() -> Frame:
        link.click()
        return viewer

    opening = _timed(page, click)
    viewer.get_by_role("link", name="Back to the list").click()
    return opening


def _timed(page: Page, act: Callable[[], Frame]) -> Opening:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    before, start = _work(devtools), time.perf_counter()
    viewer = act()
    viewer.wait_for_function(SEEN, polling=50)
    seen = time.perf_counter() - start
    viewer.wait_for_function(PICTURE, polling=50)
    seconds = time.perf_counter() - start
    return {"seen": round(seen, 2), "open": round(seconds, 2), "work": round(_work(devtools) - before, 2)}


def _work(devtools: CDPSession) -> float:
    """Seconds that the page's main thread has worked."""
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def _figures(size: str, found: list[Opening]) -> list[dict[str, Any]]:
    figures = []
    for what, kind in itertools.product(("seen", "open"), dict.fromkeys(each["kind"] for each in found)):
        openings = [each for each in found if each["kind"] == kind]
        values = [each[what] for each in openings]
        middle = statistics.median(values)
        figures.append({
            "name": f"{what}.{size}.{kind}", "ours": middle, "unit": "s", "peer": 0.0, "peer_name": "", "ratio": 0.0,
            "spread": (max(values) - min(values)) / middle, "rounds": len(values),
            "work": statistics.median(each["work"] for each in openings),
        })  # fmt: skip
    return figures


if __name__ == "__main__":
    sys.exit(main())
