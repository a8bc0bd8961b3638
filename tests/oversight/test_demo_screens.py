"""The demonstration's last acts: over HTTPS wherever they run, in Chromium where it is."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.cli.demo_browser import show, viewer_is_built
from ribcage.cli.demo_screens import ISSUER, Cast, SpokenScreens
from ribcage.cli.drill import SEED, Ground, open_ground
from ribcage.oversight.story import Teller
from ribcage.oversight.story_screens import Seen, tell_screens
from ribcage.oversight.studies import make_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FILM = make_study(SEED, 5000, rows=512, columns=448)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with open_ground([FILM, make_study(SEED, 5001)]) as running:
        yield running


def test_the_acts_hold_over_https(ground: Ground) -> None:
    said = io.StringIO()
    teller = Teller(said)
    tell_screens(SpokenScreens(Cast(ground, FILM), "this is a test"), teller)
    assert teller.failures == [], said.getvalue()
    assert "this is a test" in said.getvalue()


def test_without_playwright_the_demo_says_so_and_goes_on(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with show(Cast(ground, FILM, "reader2"), tmp_path) as screens:
        assert "playwright is not installed" in screens.missing


def test_an_act_that_shows_a_name_too_early_fails(ground: Ground) -> None:
    class Careless(SpokenScreens):
        def open_film(self) -> Seen:
            seen = super().open_film()
            return Seen(seen.picture, True, seen.seconds)

        def withdraw(self) -> Seen:
            return Seen(True, True, 0.0)

    teller = Teller(io.StringIO())
    tell_screens(Careless(Cast(ground, FILM, "reader3"), "a test"), teller)
    assert len(teller.failures) == 2


@pytest.mark.peers
@pytest.mark.skipif(
    shutil.which("chromium") is None or not viewer_is_built(), reason="needs Chromium and make console"
)
def test_the_acts_hold_in_chromium(ground: Ground, tmp_path: Path) -> None:
    said = io.StringIO()
    teller = Teller(said)
    with show(Cast(ground, FILM, "reader4"), tmp_path) as screens:
        tell_screens(screens, teller)
    assert teller.failures == [], said.getvalue()
    print(said.getvalue())


def test_the_invitation_names_the_patient_as_the_film_does() -> None:
    assert ISSUER.encode() in FILM.file
