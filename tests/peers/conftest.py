"""One archive with a film for each file of console tests, one Chromium, and browsers that visit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import sync_playwright

from helpers.archive import Archive
from peers.visits import ARGUMENTS, CHROMIUM, DESKTOP, PATIENCE, Visit, Visitor, archive_with_film


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A running archive that holds the film."""
    with archive_with_film(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(ward: Archive, browser: Chromium) -> Iterator[Visitor]:
    """Makes browsers, each with a jar of its own. They do not know the archive's authority: not the subject."""
    opened: list[Visit] = []

    def make(viewport: dict[str, int] = DESKTOP, **given: object) -> Visit:
        options = {"locale": "en-US", **given}
        context = browser.new_context(ignore_https_errors=True, viewport=viewport, **options)
        context.set_default_timeout(PATIENCE)
        made = Visit(context, context.new_page(), f"https://localhost:{ward.https[1]}")
        made.watch(made.page)
        opened.append(made)
        return made

    yield make
    for each in opened:
        assert each.foreign() == set()
        assert each.faults() == []
        each.context.close()
