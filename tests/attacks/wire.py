"""The drill's attackers against the real archive as processes, with defences patched out by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ribcage.cli.drill import open_ground
from ribcage.oversight.drill.procedures import PROCEDURES, Execution
from ribcage.oversight.studies import generate

TESTS = Path(__file__).resolve().parent.parent
_PROGRAM = (str(TESTS / "helpers" / "patched_serve.py"),)
_SEED, _STUDIES = 77, 6


def attack(name: str, patches: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Execution:
    """Run one attacker of the drill on a fresh archive without these defences."""
    monkeypatch.setenv("RIBCAGE_TEST_PATCH", " ".join(patches))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    with open_ground(list(generate(_SEED, _STUDIES)), _PROGRAM) as ground:
        ground.open_session()  # the doctor is at work while the attacker tries
        if "no_tls" in patches:
            ground.dicom = replace(ground.dicom, tls=False)
        return PROCEDURES[name](name, ground)
