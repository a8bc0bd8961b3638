"""The real archive as processes, started again and again on one home, each time without the named defences."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ribcage.cli.drill import Ground, open_ground
from ribcage.oversight.studies import generate

TESTS = Path(__file__).resolve().parent.parent
_PROGRAM = (str(TESTS / "helpers" / "patched_serve.py"),)
_PATCHES = "RIBCAGE_TEST_PATCH"
_SEED, _STUDIES = 77, 6


class Range:
    """One archive to be attacked, with defences or without."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._without: tuple[str, ...] = ()

    def without(self, patches: Sequence[str]) -> Ground:
        """The archive without these defences; started again where the last attack had others."""
        if tuple(patches) != self._without:
            os.environ[_PATCHES] = " ".join(patches)
            self._without = tuple(patches)
            self._ground.stop()
            self._ground.start()
        if "no_tls" in patches:
            self._ground.dicom = replace(self._ground.dicom, tls=False)
        return self._ground


@contextmanager
def open_range() -> Iterator[Range]:
    """A running archive with all its defences; the environment is put back afterwards."""
    before = {name: os.environ.get(name) for name in (_PATCHES, "PYTHONPATH")}
    os.environ[_PATCHES] = ""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), before["PYTHONPATH"] or ""])
    try:
        with open_ground(list(generate(_SEED, _STUDIES)), _PROGRAM) as ground:
            yield Range(ground)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
