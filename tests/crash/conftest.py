"""One prepared archive and one compiled recorder for all crash tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.ground import Ground, prepare, scratch
from crash.recorder import SOURCE
from helpers.c_library import library_or_skip


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    with scratch() as folder:
        yield folder


@pytest.fixture(scope="session")
def ground(place: Path) -> Ground:
    folder = place / "ground"
    folder.mkdir()
    return prepare(folder)


@pytest.fixture(scope="session")
def library(place: Path) -> Path:
    return library_or_skip(SOURCE, place)
