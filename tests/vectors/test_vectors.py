"""Frozen formats stay frozen: every vector rebuilds byte for byte, and none is left without a maker."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent


def _driver() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ribcage_vectors_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRIVER = _driver()


@pytest.mark.parametrize("name", list(DRIVER.makers()))
def test_a_vector_rebuilds_byte_for_byte(name: str) -> None:
    stored = FOLDER / f"{name}.json"
    assert stored.exists(), "run 'make vectors' and commit the file"
    assert DRIVER.build(name) == stored.read_bytes()


def test_every_stored_vector_has_a_maker() -> None:
    names = list(DRIVER.makers())
    assert "sealing" in names
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == names
