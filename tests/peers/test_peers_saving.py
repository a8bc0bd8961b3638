"""OHIF in Chromium saves a measurement: from the masked view too, under the patient of its study, and reads it again.

Needs `make console` and Chromium.
"""

from __future__ import annotations

import itertools
from io import BytesIO

import pyotp
import pytest
from playwright.sync_api import BrowserContext, Page, Response
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
    traces,
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
    """Draw one length on the picture and track it."""
    page.locator('[data-cy="MeasurementTools-split-button-primary"]').click()
    box = page.locator("#root canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=8)
    page.mouse.move(x + 120, y + 60, steps=8)
    page.mouse.up()
    page.locator('[data-cy="prompt-begin-tracking-yes-btn"]').click()


def save(page: Page) -> Response:
    """Press the buttons that save what was measured; the archive's answer."""
    page.locator('[data-cy="trackedMeasurements-btn"]').click()
    page.get_by_text("Create SR").first.click()
    with page.expect_response(
        lambda answer: answer.request.method == "POST" and "dicom-web" in answer.url
    ) as told:
        page.get_by_role("button", name="Save").click()
    page.locator('[data-cy="data-row"]').first.wait_for(state="detached")  # OHIF shows the report instead
    return told.value


def show_full_record(page: Page, doctor: Browser) -> None:
    """The second factor, in the viewer's own dialog."""
    page.get_by_role("button", name="Show full record").click()
    page.locator(".rc-code").fill(doctor.totp.now())
    page.get_by_role("button", name="Confirm").click()
    family, given = FILM.identity.latin_name.split("^")
    page.get_by_text(f"{family}, {given}").first.wait_for()  # the viewer has begun anew
    wait_for_picture(page)


def reports(page: Page, doctor: Browser) -> list[tuple[bytes, Dataset]]:
    """The reports of the film, as the page's session may see them."""
    cookie = next(each for each in page.context.cookies() if each["name"] == doctor.cookie.partition("=")[0])
    doctor.cookie = f"{cookie['name']}={cookie['value']}"
    listed = doctor.request(f"/dicom-web/studies/{FILM.study_uid}/series?Modality=SR").json()
    assert isinstance(listed, list)
    found = []
    for each in listed:
        series = each["0020000E"]["Value"][0]
        found += parts(doctor.retrieve(f"studies/{FILM.study_uid}/series/{series}"))
    return [(file, dcmread(BytesIO(file))) for file in found]


def test_a_length_measured_in_the_masked_view_is_saved_and_read_again(
    ward: Ward, chromium: BrowserContext
) -> None:
    seen = Seen()
    page = enter(chromium, ward.doctor)
    seen.watch(page)
    page.goto(ward.viewer)
    wait_for_picture(page)
    page.get_by_text("Masked", exact=True).wait_for()
    measure(page)
    answer = save(page)
    assert answer.status == 202
    assert traces(ward.film, answer.text()) == []
    shoot(page, "saved-masked")
    assert traces(ward.film, page.content()) == []

    show_full_record(page, ward.doctor)
    ((_, report),) = reports(page, ward.doctor)
    assert report.PatientName == ward.film.identity.person_name
    assert report.PatientID == ward.film.identity.patient_id
    assert report.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientID.startswith("MASKED-")
    page.get_by_text("Create Report").first.dblclick()  # the report, in the list of series
    page.locator('[data-cy="viewport-notification"], [data-cy="data-row"]').first.wait_for()
    shoot(page, "saved-read-again")
    assert seen.refused == []


def test_a_length_measured_in_the_full_view_is_stored_as_it_was_sent(
    ward: Ward, chromium: BrowserContext
) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(ward.viewer)
    wait_for_picture(page)
    show_full_record(page, ward.doctor)
    before = [file for file, _ in reports(page, ward.doctor)]
    measure(page)
    answer = save(page)
    assert answer.status == 200
    ((file, report),) = [each for each in reports(page, ward.doctor) if each[0] not in before]
    assert file in (answer.request.post_data_buffer or b"")
    assert report.PatientID == ward.film.identity.patient_id
    assert "OriginalAttributesSequence" not in report
