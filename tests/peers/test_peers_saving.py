"""OHIF in Chromium saves a measurement: from the masked view too, under the patient of its study, and reads it again.

Needs `make console` and Chromium.
"""

from __future__ import annotations

import itertools
from io import BytesIO

import pyotp
import pytest
from playwright.sync_api import BrowserContext, Page
from pydicom import Dataset, dcmread

from helpers.archive import Archive, Browser, parts
from peers.test_peers_viewer import (
    FILM,
    Seen,
    Ward,
    archive,
    chromium,
    enter,
    pytestmark,
    shoot,
    wait_for_picture,
)
from ribcage.guard import protocol as p

_numbers = itertools.count(1)

__all__ = ["archive", "chromium", "pytestmark"]  # fixtures and marks of the viewer's tests


@pytest.fixture
def ward(archive: Archive) -> Ward:
    """A clinician with a right to the film alone."""
    name = f"wang{next(_numbers)}"
    request = p.AddPerson(username=name, display_name="Wang Li", roles=["clinician"])
    added = archive.ask(request, p.PersonAdded)
    doctor = Browser(archive, pyotp.parse_uri(added.totp_uri))
    assert doctor.log_in(name, added.password).status == 200
    grant = archive.grant(f"person:{name}", f"study:{FILM.study_uid}", "full")
    return Ward(archive, FILM, doctor, name, added.password, grant)


def measure(page: Page) -> None:
    """Draw one length on the picture."""
    page.locator('[data-cy="MeasurementTools-split-button-primary"]').click()
    box = page.locator("#root canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=8)
    page.mouse.move(x + 120, y + 60, steps=8)
    page.mouse.up()


def reports(doctor: Browser) -> list[Dataset]:
    """The structured reports of the film, in the session's view."""
    listed = doctor.request(f"/dicom-web/studies/{FILM.study_uid}/series?Modality=SR").json()
    assert isinstance(listed, list)
    found = []
    for each in listed:
        series = each["0020000E"]["Value"][0]
        reply = doctor.retrieve(f"studies/{FILM.study_uid}/series/{series}")
        found += [dcmread(BytesIO(part)) for part in parts(reply)]
    return found


def test_explore(ward: Ward, chromium: BrowserContext) -> None:
    seen = Seen()
    page = enter(chromium, ward.doctor)
    seen.watch(page)
    answers = []
    page.on(
        "response",
        lambda r: answers.append((r.request.method, r.status, r.url)) if r.request.method == "POST" else None,
    )
    page.goto(ward.viewer)
    try:
        page.set_default_timeout(45000)
        wait_for_picture(page)
    except Exception:
        shoot(page, "s0")
        print("CONSOLE", seen.console[-10:], page.url)
        raise
    page.get_by_text("Masked", exact=True).wait_for()

    try:
        page.set_default_timeout(8000)
        shoot(page, "s1")
        print("BUTTONS", page.evaluate("[...document.querySelectorAll('[data-cy]')].map(e => e.dataset.cy)"))
        measure(page)
        page.wait_for_timeout(2500)
        shoot(page, "s2")
        print("TEXT", page.locator("#root").inner_text()[-800:])
        print("BUTTONS", page.evaluate("[...document.querySelectorAll('[data-cy]')].map(e => e.dataset.cy)"))
    finally:
        print("ANSWERS", answers)
        print("CONSOLE", seen.console[-10:])
        shoot(page, "s9")
    raise AssertionError
