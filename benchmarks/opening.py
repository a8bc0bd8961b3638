"""From the click on a row of the worklist to the picture in OHIF, in Chromium: first with an empty cache, then warm.

Rules, in order:
1. A fresh page of the worklist each time, in one profile, by a reader with the second factor; the film is made up.
2. The film is seen with the preview or OHIF's own picture, whichever stands first; OHIF's picture is there when a
   viewport's canvas shows more than sixteen greys. Both are looked at ten times a second.
3. Beside it stands what the browser says it waited for: bytes, requests, the time to OHIF's first question.

Needs `make console`, Chromium and Playwright. `--quick` opens fewer times, `--json` prints one JSON object.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import platform
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyotp
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.archive import Archive, Browser, new_archive  # noqa: E402 - the tests' own harness
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
PICTURE = """() => [...document.querySelectorAll('#root canvas')].some((canvas) => {
    if (canvas.width < 200 || canvas.height < 200) return false;
    const copy = document.createElement('canvas');
    copy.width = copy.height = 64;
    const pen = copy.getContext('2d');
    pen.drawImage(canvas, 0, 0, 64, 64);
    return new Set(pen.getImageData(0, 0, 64, 64).data.filter((_, place) => place % 4 === 0)).size > 16;
})"""
SEEN = f"() => document.querySelector('.rc-first img') !== null || ({PICTURE})()"
WAITED = """() => {
    const seen = performance.getEntriesByType('resource');
    const own = seen.filter((each) => each.name.includes('/dicom-web/'));
    const ends = (part) => seen.filter((each) => each.name.includes(part)).map((each) => each.responseEnd);
    const at = (part) => Math.round(Math.max(0, ...ends(part)));
    const asked = Math.round(Math.min(...own.map((each) => each.startTime)));
    return {page: Math.round(performance.getEntriesByType('navigation')[0].responseEnd), app: at('app.bundle.'),
        asked, metadata: at('/metadata'), frame: at('/frames/'),
        requests: seen.length, octets: seen.reduce((sum, each) => sum + each.transferSize, 0),
        files: seen.filter((each) => !own.includes(each) && each.transferSize > 300).length};
}"""


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
        for size, (rows, columns) in SIZES.items():
            film = make_study(59, rows, rows, columns)
            times = 3 if options.quick else 6
            found = _openings(archive, size, film, Path(name) / f"profile-{size}", times)
            if options.trace:
                print(*(json.dumps(each) for each in found), sep="\n")
            figures += _figures(size, found)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    if options.json:
        print(json.dumps({"machine": machine, "figures": figures}))
        return 0
    print(machine)
    for each in figures:
        print(f"{each['name']:24} {each['ours']:6.2f} s  spread {each['spread']:.0%}")
    return 0


def _openings(archive: Archive, size: str, film: Study, profile: Path, times: int) -> list[dict[str, Any]]:
    sender = archive.device(f"dx-{size}", f"DX{size.upper()}", "store")
    if send(archive, sender, instance_of(film.file)) != SUCCESS:
        raise SystemExit("the film was not stored")
    request = p.AddPerson(username=size, display_name=size, roles=["radiologist"])
    added = archive.ask(request, p.PersonAdded)
    archive.grant(f"person:{size}", f"study:{film.study_uid}", "full")
    with sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            profile, executable_path=shutil.which("chromium"), args=[*ARGUMENTS, _trusting(archive)],
            viewport={"width": 1440, "height": 900}, locale="en-US",
        )  # fmt: skip
        context.set_default_timeout(60_000)
        _enter(context, Browser(archive, pyotp.parse_uri(added.totp_uri)), size, added.password)
        found = [_open(context.new_page(), archive) for _ in range(times)]
        context.close()
    return found


def _trusting(archive: Archive) -> str:
    """The archive's key as one that the browser trusts; what it only tolerates it never caches."""
    pem = ssl.get_server_certificate(archive.https)
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(der).digest()).decode()}"


def _enter(context: BrowserContext, browser: Browser, name: str, password: str) -> None:
    page = context.new_page()
    page.goto(f"{browser.base}/app/login")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_label("One-time code").fill(browser.totp.now())
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("One-time code").wait_for(state="detached")
    page.close()


def _open(page: Page, archive: Archive) -> dict[str, Any]:
    page.goto(f"https://localhost:{archive.https[1]}/app/")
    page.get_by_role("link", name="Open").wait_for()
    page.wait_for_load_state("networkidle")
    start = time.perf_counter()
    page.get_by_role("link", name="Open").click()
    page.wait_for_function(SEEN, polling=100)
    first = time.perf_counter() - start
    page.wait_for_function(PICTURE, polling=100)
    seconds = time.perf_counter() - start
    waited: dict[str, Any] = page.evaluate(WAITED)
    page.close()
    return {"first": round(first, 2), "seconds": round(seconds, 2), **waited}


def _figures(size: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cold is the first opening, warm the others."""
    figures = []
    for what, key in (("seen", "first"), ("open", "seconds")):
        warm = [each[key] for each in found[1:]]
        middle = statistics.median(warm)
        figures += [
            _figure(f"{what}.{size}.cold", found[0][key], 0.0),
            _figure(f"{what}.{size}.warm", middle, (max(warm) - min(warm)) / middle),
        ]
    return figures


def _figure(name: str, seconds: float, spread: float) -> dict[str, Any]:
    return {
        "name": name, "ours": seconds, "peer": 0.0, "peer_name": "", "unit": "s", "ratio": 0.0, "spread": spread,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
