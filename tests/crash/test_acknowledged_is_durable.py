"""Acknowledged is durable (DESIGN rule 2): twenty kills, twenty power losses; each planted fault is found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from crash.ground import Ground
from crash.power import check_recorder, power_losses, record, whole_archive
from crash.soak import Tally, kill_soak

ROUNDS = 20
ROUNDS_TO_FIND = 12
PLANTS = (
    "objects_not_synced",
    "objects_folder_not_synced",
    "database_not_synced",
    "key_store_not_synced",
    "answers_before_commit",
)


@pytest.mark.slow
def test_kill_nine_of_any_process_loses_nothing_acknowledged(ground: Ground, place: Path) -> None:
    tally = kill_soak(ground, place, ROUNDS, 20_260_101, print)
    assert tally.losses == []
    assert tally.rounds == ROUNDS and tally.acknowledged > ROUNDS and tally.changes_of_rights > 0


@pytest.mark.slow
def test_power_loss_loses_nothing_acknowledged(ground: Ground, library: Path, place: Path) -> None:
    recording = record(library, ground, place / "power", 1, kill=True)
    check_recorder(recording)
    tally, dice = Tally(), random.Random(1)
    for each in power_losses(recording, ground, ROUNDS, dice):
        tally.add(f"power {each.number} at {each.position}", each.verdict, print)
    assert tally.losses == []
    assert tally.acknowledged > 20 * ROUNDS and tally.changes_of_rights > ROUNDS
    assert whole_archive(recording, ground, dice).losses == []


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS)
def test_planted_fault_is_found(plant: str, ground: Ground, library: Path, place: Path) -> None:
    recording = record(library, ground, place / plant, 2, patch=f"crash.plants.{plant}")
    rounds = power_losses(recording, ground, ROUNDS_TO_FIND, random.Random(2))
    assert any(each.verdict.losses for each in rounds), f"{ROUNDS_TO_FIND} power losses did not show {plant}"
