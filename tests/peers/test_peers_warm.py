"""The viewer that the console keeps warm, in Chromium: one OHIF for many studies, and nothing left between them.

Needs `make console` and Chromium.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Frame, Locator, Page, Route, expect
from pydicom.uid import UID, JPEG2000Lossless

from peers.test_peers_viewer import (
    FILM,
    STARTED,
    WAITS,
    Seen,
    Ward,
    archive,
    chromium,
    compressed,
    enter,
    kept,
    pytestmark,
    shoot,
    started,
    traces,
    wait_for_picture,
    ward,
)
from ribcage.oversight.studies import Study

__all__ = [
    "archive",
    "chromium",
    "compressed",
    "pytestmark",
    "ward",
]  # fixtures and marks of the viewer's tests

EMPTY = "() => document.querySelector('#root canvas') === null && cornerstone.cache.getCacheSize() === 0"
MARKED = "() => window.marked === true"
TITLE = "Ribcage 阅片 Viewer"


@pytest.fixture
def other(compressed: dict[UID, Study]) -> Study:
    """Another patient's film."""
    return compressed[JPEG2000Lossless]


def row(page: Page, film: Study) -> Locator:
    return page.locator(f'a[href="{address(film)}"]')


def address(film: Study) -> str:
    return f"/viewer/viewer?StudyInstanceUIDs={film.study_uid}"


def at(page: Page) -> str:
    """What the address bar says, without the host."""
    parts = urlsplit(page.url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def shown(film: Study) -> str:
    """The name as OHIF writes it."""
    family, given = film.identity.latin_name.split("^")
    return f"{family}, {given}"


def read(page: Page, frame: Frame, film: Study) -> None:
    """Open it from the list, in the viewer that waits, and see whose it is."""
    row(page, film).click()
    wait_for_picture(frame)
    frame.get_by_text(shown(film)).first.wait_for()
    assert at(page) == address(film)
    assert frame.evaluate(MARKED)


def back(page: Page, frame: Frame) -> None:
    frame.get_by_role("link", name="Back to the list").click()
    expect(page.locator("iframe.viewer")).to_be_hidden()
    assert at(page) == "/app/"


def asked(seen: Seen, film: Study, what: str) -> int:
    return sum(film.study_uid in url and urlsplit(url).path.endswith(what) for url in seen.requests)


def scripts(seen: Seen) -> list[str]:
    """OHIF's, but for those of its workers."""
    return [url for url in seen.requests if "/viewer/" in url and url.endswith(".js")]


def test_one_viewer_shows_one_study_after_the_other(
    ward: Ward, other: Study, chromium: BrowserContext
) -> None:
    seen, page = Seen(), enter(chromium, ward.doctor)
    seen.watch(page)
    assert ward.doctor.step_up().status == 200
    page = enter(chromium, ward.doctor)
    seen.watch(page)
    page.goto(f"{ward.doctor.base}/app/")
    frame = started(page)
    frame.wait_for_function(WAITS)
    frame.wait_for_function(EMPTY)
    assert [url for url in seen.requests if "/dicom-web/studies/" in url] == []  # its rehearsal is its own
    loaded: list[str] = []
    for film, another in ((FILM, other), (other, FILM), (FILM, other), (other, FILM)):
        before = asked(seen, film, "/metadata")
        read(page, frame, film)
        frame.get_by_text("Full record").first.wait_for()
        assert f"Li Ming ({ward.username})" in frame.locator(".rc-mark").first.inner_text()
        assert shown(another) not in frame.locator("#root").inner_text()
        assert asked(seen, film, "/metadata") == before + 1  # the archive decides anew
        assert page.title() == TITLE
        assert traces(film, page.url + kept(page) + kept(frame)) == []
        back(page, frame)
        frame.wait_for_function(EMPTY)
        assert shown(film) not in frame.locator("body").inner_text()
        if film is FILM:
            loaded = loaded or scripts(seen)
    shoot(page, "warm")
    assert scripts(seen) == loaded
    assert sum("app.bundle." in url for url in scripts(seen)) == 1
    assert seen.refused == []
    assert [line for line in seen.console if "Too many active WebGL contexts" in line] == []
    assert [line for line in seen.console if traces(FILM, line) or traces(other, line)] == []


def test_the_address_is_the_viewers_own(ward: Ward, chromium: BrowserContext) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(f"{ward.doctor.base}/app/")
    frame = started(page)
    row(page, FILM).click()
    wait_for_picture(frame)
    page.go_back()
    expect(page.locator("iframe.viewer")).to_be_hidden()
    assert at(page) == "/app/"
    page.go_forward()
    wait_for_picture(frame)
    assert at(page) == address(FILM)
    page.reload()
    wait_for_picture(page)
    page.get_by_text("Masked", exact=True).wait_for()
    assert page.locator("iframe").count() == 0


def test_the_keyboard_goes_to_the_viewer_and_back(ward: Ward, chromium: BrowserContext) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(f"{ward.doctor.base}/app/")
    frame = started(page)
    row(page, FILM).focus()
    page.keyboard.press("Enter")
    wait_for_picture(frame)
    assert frame.evaluate("() => document.activeElement.className") == "rc-bar"
    assert page.locator("iframe.viewer").get_attribute("title") == "Viewer"
    assert page.evaluate(
        "() => [...document.querySelectorAll('#root > :not(iframe)')].every((each) => each.inert)"
    )
    page.keyboard.press("Escape")
    assert at(page) == address(FILM)  # a measurement may be half drawn
    frame.wait_for_function("() => document.activeElement.textContent === 'Back to the list'")
    page.keyboard.press("Escape")
    expect(row(page, FILM)).to_be_focused()
    assert at(page) == "/app/"


def test_the_second_factor_is_proved_in_the_frame(ward: Ward, chromium: BrowserContext) -> None:
    seen, page = Seen(), enter(chromium, ward.doctor)
    seen.watch(page)
    page.goto(f"{ward.doctor.base}/app/")
    frame = started(page)
    row(page, FILM).click()
    wait_for_picture(frame)
    frame.get_by_text("Masked", exact=True).wait_for()
    assert traces(FILM, frame.content()) == []
    frame.get_by_role("button", name="Show full record").click()
    frame.locator(".rc-code").fill(ward.doctor.totp.now())
    frame.get_by_role("button", name="Confirm").click()
    frame.get_by_text("Full record, 1").wait_for()
    frame.get_by_text(shown(FILM)).first.wait_for()
    wait_for_picture(frame)
    assert at(page) == address(FILM)
    back(page, frame)
    expect(page.get_by_role("table")).to_contain_text(FILM.identity.patient_id)
    assert seen.refused == []


def test_a_right_that_fell_between_two_openings_is_not_served_from_memory(
    ward: Ward, chromium: BrowserContext
) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(f"{ward.doctor.base}/app/")
    frame = started(page)
    row(page, FILM).click()
    wait_for_picture(frame)
    back(page, frame)
    ward.aside(lambda: ward.archive.revoke(ward.grant))
    row(page, FILM).click()
    frame.get_by_text("You may not see this study.").wait_for()
    assert not frame.locator("#root canvas").first.is_visible()
    frame.locator(".rc-cover").get_by_role("link", name="Back to the list").click()
    expect(page.locator("iframe.viewer")).to_be_hidden()
    page.frames[-1].wait_for_function(STARTED)
    assert not page.frames[-1].evaluate(MARKED)  # what stood covered is not used again


def test_the_frame_ends_with_the_session(ward: Ward, chromium: BrowserContext) -> None:
    page = enter(chromium, ward.doctor)
    page.goto(f"{ward.doctor.base}/app/")
    frame = started(page)
    row(page, FILM).click()
    wait_for_picture(frame)
    assert ward.doctor.request("/api/logout", b"{}", Content_Type="application/json").status == 204
    page.get_by_label("Username").wait_for()
    assert page.locator("iframe").count() == 0
    assert len(page.frames) == 1
    assert at(page) == "/app/login"


def test_a_viewer_that_knows_full_records_does_not_outlive_the_second_factor(
    ward: Ward, chromium: BrowserContext
) -> None:
    page = enter(chromium, ward.doctor)
    assert ward.doctor.step_up().status == 200
    page = enter(chromium, ward.doctor)
    page.goto(f"{ward.doctor.base}/app/")
    read(page, started(page), FILM)
    back(page, page.frames[-1])

    def lapse(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer, body=json.dumps(answer.json() | {"assurance": 1, "second_factor_until": 0})
        )

    page.route("**/api/session", lapse)
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_label("One-time code").wait_for()
    page.frames[-1].wait_for_function(STARTED)
    assert not page.frames[-1].evaluate(MARKED)


@pytest.mark.parametrize(
    ("framer", "framed", "stands"),
    [
        ("/app/account", "/viewer/viewer", True),
        ("/app/account", "/app/account", False),
        ("/app/account", "/patient", False),
        ("https://localhost:1/", "/viewer/viewer", False),  # of the same site: the cookie goes along
        ("https://localhost:1/", "/app/", False),
        ("https://elsewhere.example/", "/viewer/viewer", False),
    ],
)
def test_only_the_console_frames_and_only_the_viewer(
    ward: Ward, chromium: BrowserContext, framer: str, framed: str, stands: bool
) -> None:
    page = enter(chromium, ward.doctor)
    if framer.startswith("https://"):
        page.route(
            f"{framer}**", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html")
        )
    page.goto(framer if framer.startswith("https://") else ward.doctor.base + framer)
    page.evaluate(
        """(address) => new Promise((done) => {
            const frame = document.createElement('iframe');
            frame.onload = done;
            frame.src = address;
            document.body.append(frame);
        })""",
        ward.doctor.base + framed,
    )
    assert (page.frames[-1].url == ward.doctor.base + framed) == stands
