"""A study with a report, key objects and a presentation state beside its film opens in OHIF, masked and full.

Needs `make console` and Chromium.
"""

from __future__ import annotations

from io import BytesIO

import pytest
from playwright.sync_api import Page
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from helpers.archive import Archive
from helpers.reports import code
from peers.visits import AXE, BUILT, FILM, Visitor, aside, hire, log_in, prove, shoot
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not BUILT, reason="needs Chromium and make console"),
]
SR, KEY_OBJECTS, PRESENTATION = (f"1.2.840.10008.5.1.4.1.1.{each}" for each in ("88.11", "88.59", "11.1"))
ALONE = make_study(48, 2, rows=8, columns=8)  # the study that holds a report and no film
VIEWER = "/viewer/viewer?StudyInstanceUIDs="
SENTENCE = "No nodule in either lung."


def _film_of(film: Dataset) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = film.SOPClassUID, film.SOPInstanceUID
    return made


def _series_of(film: Dataset) -> Dataset:
    made = Dataset()
    made.SeriesInstanceUID, made.ReferencedSOPSequence = film.SeriesInstanceUID, [_film_of(film)]
    made.ReferencedImageSequence = [_film_of(film)]
    return made


def _beside(film: Dataset, sop_class: str, modality: str) -> Dataset:
    """An object of another series of the film's study."""
    made = Dataset()
    made.file_meta, made.SpecificCharacterSet = film.file_meta, film.SpecificCharacterSet
    for name in (
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
    ):
        if name in film:
            setattr(made, name, film[name].value)
    made.StudyInstanceUID, made.StudyDate, made.StudyTime = film.StudyInstanceUID, "20260101", "120000"
    made.AccessionNumber, made.ReferringPhysicianName = film.get("AccessionNumber", ""), ""
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid(None)
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = generate_uid(None), 9, 1
    made.Modality, made.ContentDate, made.ContentTime = modality, "20260101", "120000"
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = (
        sop_class,
        made.SOPInstanceUID,
    )
    return made


def report(film: Dataset) -> Dataset:
    """A Basic Text SR of one sentence."""
    made = _beside(film, SR, "SR")
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic imaging report")]
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", SENTENCE
    text.ConceptNameCodeSequence = [code("121071", "DCM", "Finding")]
    made.ContentSequence = [text]
    return made


def key_objects(film: Dataset) -> Dataset:
    """A Key Object Selection that names the film."""
    made = _beside(film, KEY_OBJECTS, "KO")
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [code("113000", "DCM", "Of Interest")]
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = film.StudyInstanceUID, [_series_of(film)]
    made.CurrentRequestedProcedureEvidenceSequence = [study]
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ReferencedSOPSequence = "CONTAINS", "IMAGE", [_film_of(film)]
    made.ContentSequence = [item]
    return made


def presentation(film: Dataset) -> Dataset:
    """A Grayscale Softcopy Presentation State of the whole film."""
    made = _beside(film, PRESENTATION, "PR")
    made.ContentLabel, made.ContentDescription, made.ContentCreatorName = "SOFT", "", ""
    made.PresentationCreationDate, made.PresentationCreationTime = "20260101", "120000"
    made.ReferencedSeriesSequence = [_series_of(film)]
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = (
        [1, 1],
        [film.Columns, film.Rows],
    )
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", [1, 1]
    made.DisplayedAreaSelectionSequence = [area]
    window = Dataset()
    window.WindowCenter, window.WindowWidth = 1024, 2048
    made.SoftcopyVOILUTSequence = [window]
    made.PresentationLUTShape = "IDENTITY"
    return made


def store(archive: Archive) -> list[int]:
    """The three objects beside the film, and a report in a study of its own."""
    station = archive.device("ws1", "WS1", "store")
    statuses = []
    for make, study in ((report, FILM), (key_objects, FILM), (presentation, FILM), (report, ALONE)):
        packed = BytesIO()
        make(dcmread(BytesIO(study.file))).save_as(packed, enforce_file_format=True)
        statuses.append(send(archive, station, instance_of(packed.getvalue())))
    return statuses


@pytest.fixture(scope="module")
def stored(ward: Archive) -> Archive:
    assert aside(lambda: store(ward)) == [SUCCESS] * 4
    return ward


def wait_for_film(page: Page) -> None:
    page.locator("#root canvas").first.wait_for()
    page.locator(".rc-first").wait_for(state="detached")


def test_objects_beside_a_film_do_not_keep_it_from_opening(stored: Archive, visit: Visitor) -> None:
    staff = hire(stored, "clinician", granted=True)
    visited = visit()
    log_in(visited, staff)
    for view in ("masked", "full"):
        if view == "full":
            visited.go("/app/")
            prove(visited.page, staff)
        visited.go(VIEWER + FILM.study_uid)
        visited.page.locator(f".rc-bar[data-view={view}]").wait_for()
        wait_for_film(visited.page)
        shoot(visited.page, f"objects-{view}")
        assert visited.page.locator(".rc-failed").inner_text() == ""
    for kind in ("SR", "PR", "KO"):  # listed; the masked view has the film alone
        visited.page.get_by_text(kind, exact=True).first.wait_for()
    visited.forgive()


def test_a_report_alone_is_refused_masked_with_the_way_to_the_full_record(
    stored: Archive, visit: Visitor
) -> None:
    staff = hire(stored, "clinician")
    aside(lambda: stored.grant(f"person:{staff.name}", f"study:{ALONE.study_uid}", "full"))
    visited = visit()
    log_in(visited, staff)
    visited.go(VIEWER + ALONE.study_uid)
    page = visited.page
    said = page.get_by_role("alert").filter(has_text="refused in the masked view")
    said.wait_for()
    shoot(page, "refused-masked")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate("async () => (await axe.run('.rc-failed')).violations.map((each) => each.id)") == []
    said.get_by_role("button", name="Close this message").press("Enter")
    said.wait_for(state="detached")
    page.reload()
    said.wait_for()
    said.get_by_role("button", name="Show full record").press("Enter")
    page.locator(".rc-code").fill(staff.totp.now())
    page.get_by_role("button", name="Confirm").click()
    page.locator(".rc-bar[data-view=full]").wait_for()
    page.get_by_text(SENTENCE).wait_for()
    shoot(page, "report")
    assert page.locator(".rc-failed").inner_text() == ""
    visited.forgive()
