"""One archive whose processes can be made to ail while they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.ailing import Ailing, ailing_archive
from faults.inject import SOURCE
from helpers.c_library import library_or_skip


@pytest.fixture(scope="session")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library_or_skip(SOURCE, tmp_path_factory.mktemp("injector"))


@pytest.fixture(scope="session")
def house(injector: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ailing]:
    with ailing_archive(injector, tmp_path_factory.mktemp("ailing")) as running:
        yield running


@pytest.fixture
def ailing(house: Ailing) -> Iterator[Ailing]:
    """The archive, well at the beginning; after each test it must be well again by itself, and nothing lost."""
    house.faults.clear()
    house.until_ready()
    yield house
    house.faults.clear()
    house.until_ready()
    house.judge()
