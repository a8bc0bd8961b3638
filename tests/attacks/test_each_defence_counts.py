"""Every defence, removed once in the test tree, makes its attack succeed; with it the attack fails."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from attacks.catalogue import GUARD_ROWS, Row


def _id(row: Row) -> str:
    return row.name


def _ready(row: Row) -> None:
    if row.needs_root and os.geteuid() != 0:
        pytest.skip("plays another user: needs root")


@pytest.mark.parametrize("row", GUARD_ROWS, ids=_id)
def test_the_guard_withstands(row: Row, tmp_path: Path) -> None:
    _ready(row)
    assert not row.attack(tmp_path)


@pytest.mark.parametrize("row", GUARD_ROWS, ids=_id)
def test_without_its_defence_the_guard_falls(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ready(row)
    for name in row.patches:
        importlib.import_module(f"attacks.patches.{name}").apply(monkeypatch.setattr)
    assert row.attack(tmp_path), f"without {row.patches} expected: {row.success}"
