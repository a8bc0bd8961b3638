"""Every picture of the public sample files in OHIF: it shows, or the page says why it does not. None ends a process.

Needs `make console`, Chromium and the sample files. One archive, one session; a page for each file, a few at once.
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page
from pydicom import Dataset, dcmread

from helpers.archive import Archive
from helpers.frames import SAMPLES
from peers.visits import BUILT, Visitor, aside, hire, log_in, prove, shoot
from system.senders import SUCCESS, Instance, instance_of, send

FILES = sorted(SAMPLES.glob("*.dcm"))
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not BUILT, reason="needs Chromium and make console"),
    pytest.mark.skipif(not FILES, reason="needs the sample files (RIBCAGE_DICOM_FILES)"),
]
MOST_MS = 90_000  # for one page, on a machine that is busy
AT_ONCE = 2  # pages; much of their time is waiting
# What does not show, and the page's words for it; the archive's status for what it did not take.
SAID = {
    "dcm4che__will-jxl.dcm": "its compression is not known here",
    "fo-dicom__chrJapMulti.dcm": "Nothing here that the viewer can show",  # the file has no pixels
    "fo-dicom__chrKoreanMulti.dcm": "Nothing here that the viewer can show",
    "highdicom__seg_image_cr_binary.dcm": "Nothing here that the viewer can show",  # without what it refers to
}
REFUSED = {"fo-dicom__GH364.dcm": 0xC000, "pydicom-data__HTJ2K_08_RGB.dcm": 0xC000}
# Shown: a picture of several greys, and not the archive's preview. Said: by the overlay.
OUTCOME = """() => {
    const said = document.querySelector('.rc-failed')?.innerText;
    if (said) return 'said: ' + said;
    if (document.querySelector('.rc-first')) return null;
    const drawn = [...document.querySelectorAll('#root canvas')].some((canvas) => {
        if (canvas.width < 200 || canvas.height < 200) return false;
        const copy = document.createElement('canvas');
        copy.width = copy.height = 64;
        const pen = copy.getContext('2d');
        pen.drawImage(canvas, 0, 0, 64, 64);
        return new Set(pen.getImageData(0, 0, 64, 64).data.filter((_, place) => place % 4 === 0)).size > 8;
    });
    return drawn ? 'shown' : null;
}"""


@dataclass
class Sample:
    """A file that ought to be a picture."""

    name: str
    one: Instance

    @property
    def address(self) -> str:
        """Of a page that opens this instance and no other of its study."""
        series, uid = self.one.series, self.one.uid
        first = f"&initialSeriesInstanceUID={series}&initialSOPInstanceUID={uid}"
        return f"/viewer/viewer?StudyInstanceUIDs={self.one.study}{first}"


def pictures() -> list[Sample]:
    """The files that have rows and columns."""
    return [Sample(path.name, instance_of(path.read_bytes())) for path in FILES if "Rows" in _header(path)]


def _header(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom has much to say of these files
        return dcmread(path, force=True, stop_before_pixels=True)


def store(archive: Archive, samples: list[Sample]) -> tuple[list[Sample], dict[str, int]]:
    """What the archive took, and the status of what it did not."""
    station = archive.device("samples", "SAMPLES", "store")
    answers = {each.name: send(archive, station, each.one) for each in samples}
    refused = {name: status for name, status in answers.items() if status != SUCCESS}
    return [each for each in samples if each.name not in refused], refused


def outcome(page: Page, *, said: bool) -> str:
    """`shown`, or `said: …` where that is what is waited for; else what stands there when time is over."""
    wanted = f"wanted => (({OUTCOME})() ?? '').startsWith(wanted)"  # a function: the page evaluates no text
    with contextlib.suppress(Error):
        page.wait_for_function(wanted, arg="said" if said else "shown", timeout=MOST_MS)
    found = page.evaluate(OUTCOME)
    return str(found or f"silent: {page.locator('#root').inner_text()[-200:]!r}")


def test_each_sample_shows_or_says_why_not(ward: Archive, visit: Visitor) -> None:
    samples, refused = aside(lambda: store(ward, pictures()))
    assert len(samples) > 25
    staff = hire(ward, "radiologist")
    for study in {each.one.study for each in samples}:
        aside(lambda study=study: ward.grant(f"person:{staff.name}", f"study:{study}", "full"))
    visited = visit()
    log_in(visited, staff)
    prove(visited.page, staff)
    before = ward.children()
    outcomes: dict[str, str] = {}
    for place in range(0, len(samples), AT_ONCE):
        opened = [(each, visited.another()) for each in samples[place : place + AT_ONCE]]
        for each, page in opened:
            page.goto(visited.base + each.address, wait_until="commit")
        for each, page in opened:
            outcomes[each.name] = outcome(page, said=each.name in SAID)
            shoot(page, f"sample-{each.name}")
            page.close()
    visited.forgive()
    print(*(f"{name}: {text!r}" for name, text in outcomes.items()), sep="\n")
    assert refused == REFUSED
    assert {name for name, text in outcomes.items() if text != "shown"} == set(SAID)
    for name, words in SAID.items():
        assert words in outcomes[name], outcomes[name]
    assert ward.children() == before
    visited.page.reload()
    visited.page.get_by_role("link", name="Open").first.wait_for()  # the archive answers as before
