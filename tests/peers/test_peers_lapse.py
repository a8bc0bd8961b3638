"""What ends an open record in OHIF while nobody touches it: second factor run out, log-out, revocation; and a theft.

Needs `make console` and Chromium.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from helpers.archive import Archive
from peers.visits import BUILT, FILM, Staff, Visitor, archive_with_film, aside, hire, log_in, shoot, traces

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not BUILT, reason="needs Chromium and make console"),
]
FACTOR_SECONDS = 45  # longer than OHIF takes to load on a busy machine: the full record must have been seen
VIEWER = f"/viewer/viewer?StudyInstanceUIDs={FILM.study_uid}"
FAMILY, GIVEN = FILM.identity.latin_name.split("^")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The same archive, on a home where the full record lasts a moment."""
    folder = tmp_path_factory.mktemp("archive")
    with archive_with_film(folder, second_factor_seconds=FACTOR_SECONDS) as running:
        yield running


def open_full(page: Page, staff: Staff) -> None:
    """From the masked record to the full one, as a clinician does it."""
    page.get_by_text("Masked", exact=True).wait_for()
    page.get_by_role("button", name="Show full record").click()
    page.locator(".rc-code").fill(staff.totp.now())
    page.get_by_role("button", name="Confirm").click()
    page.locator(".rc-bar[data-view=full]").wait_for()


# The page leaves as soon as it is covered, so it is asked from within, in the moment in which it leaves.
WATCH = """() => addEventListener('pagehide', () => sessionStorage.setItem('left', JSON.stringify([
    document.querySelector('.rc-why')?.textContent,
    getComputedStyle(document.querySelector('#root')).visibility,
])))"""
LEFT = ["Your second factor has run out; the masked view follows.", "hidden"]


def test_a_second_factor_that_ran_out_leaves_the_masked_record(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "clinician", granted=True)  # a radiologist's second factor holds for a shift
    visited = visit()
    log_in(visited, staff)
    page = visited.page
    visited.go(VIEWER)
    open_full(page, staff)
    page.get_by_text("Full record, 0:").wait_for()  # counts down
    page.get_by_text(f"{FAMILY}, {GIVEN}").first.wait_for()
    page.locator("#root canvas").first.wait_for()
    loaded = page.evaluate("performance.timeOrigin")
    page.evaluate(WATCH)
    # Nobody does anything from here.
    page.locator(".rc-bar[data-view=masked]").wait_for(timeout=(FACTOR_SECONDS + 60) * 1000)
    assert json.loads(page.evaluate("sessionStorage.getItem('left')")) == LEFT
    page.get_by_text("Masked", exact=True).wait_for()
    page.locator("#root canvas").first.wait_for()
    assert page.evaluate("performance.timeOrigin") != loaded  # nothing of the full record stays in the page
    assert traces(page.content()) == []
    assert FAMILY not in page.locator("#root").inner_text()
    assert page.get_by_role("button", name="Show full record").is_visible()
    shoot(page, "lapsed")


def test_a_log_out_elsewhere_covers_every_viewer_of_the_session(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "clinician", granted=True)
    visited = visit()
    log_in(visited, staff)
    viewers = [visited.another(), visited.another()]
    for viewer in viewers:
        viewer.goto(visited.base + VIEWER)
        viewer.locator("#root canvas").first.wait_for()
    visited.page.get_by_role("button", name="Log out").click()
    for viewer in viewers:
        viewer.get_by_text("Your session has ended.").wait_for()
        assert not viewer.locator("#root canvas").first.is_visible()


def test_a_revocation_covers_a_viewer_that_asks_nothing(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "clinician")
    grant = aside(lambda: ward.grant(f"person:{staff.name}", f"study:{FILM.study_uid}", "full"))
    visited = visit()
    log_in(visited, staff)
    visited.go(VIEWER)
    visited.page.locator("#root canvas").first.wait_for()
    aside(lambda: ward.revoke(grant))
    visited.page.get_by_text("Your right to see this study was withdrawn.").wait_for()
    assert not visited.page.locator("#root canvas").first.is_visible()


def test_a_stolen_cookie_opens_no_viewer_elsewhere(ward: Archive, visit: Visitor) -> None:
    staff = hire(ward, "clinician", granted=True)
    visited, thief = visit(), visit(user_agent="Thief/1")
    log_in(visited, staff)
    thief.context.add_cookies(visited.context.cookies())
    thief.go(VIEWER)
    thief.page.get_by_label("Username").wait_for()  # the log-in page in the viewer's place
    answer = thief.context.request.get(f"{thief.base}/dicom-web/studies/{FILM.study_uid}/metadata")
    assert answer.status == 401
    visited.go(VIEWER)  # the theft ended nothing of the owner's
    visited.page.locator("#root canvas").first.wait_for()
