"""The edge in drill and demonstration: what its thieves get, what the audience is told, and when neither counts."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import pytest

from oversight.drill_ground import open_ground as open_twins
from ribcage.cli.demo import DemoStage
from ribcage.cli.drill import SEED, Ground, open_ground
from ribcage.crypto import hybrid
from ribcage.crypto.signing import Signer
from ribcage.evidence.edge_entry import EntryContext
from ribcage.oversight.drill.attackers import loot
from ribcage.oversight.drill.runner import AttackReport
from ribcage.oversight.drill.scripts import run_script
from ribcage.oversight.drill.twin import Twin
from ribcage.oversight.story import Brought, Stage, Teller, tell_edge
from ribcage.oversight.studies import make_study
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.edge.spool import Spool, SpoolKeys

FILM = make_study(SEED, 1)
ATTACKS = ["stolen_edge_disk", "stolen_edge_credential"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with open_ground([FILM, make_study(SEED, 2)]) as running:
        yield running


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Twin]]:
    with open_twins(tmp_path_factory.mktemp("twins")) as running:
        yield running


def test_the_edge_is_told_and_its_thieves_get_nothing(ground: Ground, twins: dict[str, Twin]) -> None:
    said, reports = io.StringIO(), list[AttackReport]()
    teller = Teller(said)
    tell_edge(DemoStage(ground, FILM, [], dict(twins)), teller, reports)
    assert teller.failures == [], said.getvalue()
    assert [(one.name, one.control, one.outcome) for one in reports] == [
        (name, "succeeded", "prevented") for name in ATTACKS
    ]
    assert "0 of 3 identities" in reports[0].evidence
    assert "HTTP 403/403/403/403/404; image not delivered" in reports[1].evidence
    assert "image delivered; 8 identities told" in reports[1].control_evidence
    assert "PROVEN: the edge took these bytes" in said.getvalue()


def test_a_name_on_the_line_or_a_receipt_for_anything_fails_the_act() -> None:
    class Careless:
        def edge_takes(self) -> float:
            return 1.0

        def attack(self, names: Sequence[str]) -> tuple[AttackReport, ...]:
            return ()

        def edge_brings(self) -> Brought:
            return Brought(1.0, 100, named=True, verdict="", proven=False, refused_when_changed=False)

    teller = Teller(io.StringIO())
    tell_edge(cast(Stage, Careless()), teller, [])
    assert len(teller.failures) == 3


def test_a_certificate_that_is_no_edges_proves_nothing(ground: Ground) -> None:
    holdings = ground.holdings()
    for pair in (asdict(holdings.own), asdict(replace(holdings.device, ae="X"))):
        done = run_script(ATTACKS[1], holdings.brief("study", "seeds", device={"ae": "X", **pair}))
        assert done.broken, done.evidence


def test_an_edge_without_a_film_proves_nothing(ground: Ground, tmp_path: Path) -> None:
    done = run_script(ATTACKS[0], ground.holdings().brief("files", "seeds", folder=str(tmp_path)))
    assert done.broken
    assert done.evidence == "not armed: no film waits on this disk"


def test_the_films_key_left_beside_it_would_be_found_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[bytes] = []

    def remembered(count: int) -> bytes:
        keys.append(random(count))
        return keys[-1]

    random = os.urandom
    home = tmp_path / "edge"
    for name in ("spool", "refused"):
        (home / name).mkdir(parents=True)
    archive = hybrid.HybridPrivate(hybrid.new_seed())
    made = SpoolKeys(bytes(16), bytes(16), archive.public_key, Signer(bytes(32)), bytes(32))
    spool = Spool(home, made, EdgeLimits(min_free_bytes=1))
    monkeypatch.setattr("ribcage.transfer.edge.spool.os.urandom", remembered)
    entry = spool.begin(
        bytes(16), EntryContext("OLD", "EDGE", "127.0.0.1", "1.2", "1.3", "1.2.840.10008.1.2")
    )
    monkeypatch.undo()
    entry.add(memoryview(make_study(3, 0).file))
    entry.finish()
    spool.close()
    assert loot.open_objects(home, loot.candidates(home)) == []
    (home / "notes").write_text(next(key for key in keys if len(key) == 32).hex())
    assert len(loot.open_objects(home, loot.candidates(home))) == 1
