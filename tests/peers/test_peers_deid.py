"""dciodvfy on what de-identification released: no error that the input had not."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deid import truth
from peers.test_peers_every_file import DCIODVFY, FILES, FOLDER, findings, inflated, validator
from ribcage.usage.deid.engine import Engine
from ribcage.usage.deid.errors import NotReleased
from ribcage.usage.deid.profile import PACKAGED, packaged
from ribcage.usage.deid.pseudonyms import Pseudonyms
from system.senders import instance_of

pytestmark = pytest.mark.peers
__all__ = ["validator"]
# PS3.15 E.1-1 removes these (X); PS3.3 C.11.10 wants the date in every presentation state. The table prevails.
EXPECTED = r"Error - Missing attribute Type 1 Required Element=<PresentationCreation(Date|Time)> .*"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom on files that are as they are
        yield


def errors(folder: Path, file: bytes) -> Counter[str]:
    """Its errors; a UID that was replaced makes no other error."""
    found = findings(DCIODVFY, folder, inflated(instance_of(file)))
    return Counter(
        re.sub(r"UID [0-9.]+", "UID …", each) for each in found.elements() if each.startswith("Error")
    )


def new(folder: Path, engine: Engine, file: bytes) -> list[str]:
    after = errors(folder, bytes(engine.release(file))) - errors(folder, file)
    return [each for each in after if not re.fullmatch(EXPECTED, each)]


def engine(profile: str) -> Engine:
    return Engine(replace(packaged(profile), unread="release"), Pseudonyms(bytes(32)))


@pytest.mark.skipif(not FILES, reason=f"no sample files in {FOLDER.name}: set RIBCAGE_DICOM_FILES")
@pytest.mark.parametrize("profile", PACKAGED)
def test_a_released_sample_file_has_no_new_error(profile: str, validator: Path, tmp_path: Path) -> None:
    chosen, found, seen = engine(profile), [], 0
    for path in FILES:
        try:
            found += [(path.name, each) for each in new(tmp_path, chosen, path.read_bytes())]
            seen += 1
        except NotReleased:
            continue
    assert found == []
    assert seen > 30


@pytest.mark.parametrize("profile", PACKAGED)
def test_a_released_film_of_the_truth_set_has_no_new_error(
    profile: str, validator: Path, tmp_path: Path
) -> None:
    chosen = engine(profile)
    found = [
        (film.name, each)
        for data, film in truth.films(profile, count=60)
        for each in new(tmp_path, chosen, data)
    ]
    assert found == []
