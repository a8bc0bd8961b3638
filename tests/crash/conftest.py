"""One prepared archive and one compiled recorder for all crash tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.ground import Ground, prepare, scratch
from crash.recorder import NoCompiler, compile_recorder


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
    try:
        return compile_recorder(place)
    except NoCompiler as failure:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(failure))
