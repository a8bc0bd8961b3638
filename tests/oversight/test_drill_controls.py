"""Each attack succeeds where nothing stands against it; an attack that cannot is no evidence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oversight.drill_ground import make_stock, open_ground
from ribcage.cli.drill import ON_ORTHANC, write_foreign_pair
from ribcage.oversight.drill import scripts
from ribcage.oversight.drill.procedures import PROCEDURES, Execution
from ribcage.oversight.drill.promises import load_promises
from ribcage.oversight.drill.runner import judge, run_drill
from ribcage.oversight.drill.target import Pair, Target, TargetDown
from ribcage.oversight.drill.twin import (
    OpenTarget,
    Twin,
    find_orthanc,
    running_orthanc_over_tls,
    running_twins,
)

PROMISES = {one.name: one for one in load_promises().attacks}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Twin]]:
    with open_ground(tmp_path_factory.mktemp("ground")) as running:
        yield running


@pytest.mark.parametrize("name", sorted(PROCEDURES))
def test_attack_succeeds_on_the_open_archive(name: str, twins: dict[str, Twin]) -> None:
    done = PROCEDURES[name](name, twins[PROMISES[name].control])
    assert done.succeeded, done.evidence
    assert not done.broken
    assert done.findings == ()


@pytest.mark.peers
@pytest.mark.parametrize("name", sorted(one.name for one in PROMISES.values() if one.control == "archive"))
def test_attack_succeeds_on_orthanc(name: str, tmp_path: Path) -> None:
    assert find_orthanc(), "Orthanc is not installed"
    with open_ground(tmp_path, orthanc=True) as running:
        assert running["archive"].name == "Orthanc"
        done = PROCEDURES[name](name, running["archive"])
    assert done.succeeded, done.evidence


@pytest.mark.peers
def test_attacks_at_the_door_succeed_on_orthanc_where_it_can_show_it(tmp_path: Path) -> None:
    assert find_orthanc(), "Orthanc is not installed"
    stock = make_stock(tmp_path)
    foreign = write_foreign_pair(tmp_path, "foreign")
    own = Pair(str(foreign.certificate), str(foreign.key))
    stock = replace(stock, holdings=replace(stock.holdings, own=own))
    with running_twins(stock) as twins, running_orthanc_over_tls(stock) as over_tls:
        on: dict[str, Target] = {**twins, "orthanc-tls": over_tls}
        done = {name: PROCEDURES[name](name, on[where]) for name, where in ON_ORTHANC.items()}
        refused = PROCEDURES["foreign_certificate"]("foreign_certificate", over_tls)
    assert {name for name, one in done.items() if one.succeeded and not one.broken} == set(ON_ORTHANC), done
    assert not refused.succeeded  # so its control stays the open archive


def test_every_attack_has_a_promise_a_procedure_and_a_script() -> None:
    folder = Path(scripts.__file__).parent / "attackers"
    runnable = {path.stem for path in folder.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    assert set(PROMISES) == set(PROCEDURES) == runnable


def test_an_attacker_loads_nothing_of_ribcage_and_nothing_installed() -> None:
    code = (
        "import sys, importlib, pathlib\n"
        "for path in sorted(pathlib.Path('attackers').glob('*.py')):\n"
        "    importlib.import_module('attackers.' + path.stem)\n"
        "installed = [n for n, m in sys.modules.items() if 'site-packages' in (getattr(m, '__file__', '') or '')]\n"
        "print([n for n in installed if not n.startswith('_')] + [n for n in sys.modules if n.startswith('ribcage')])"
    )
    folder = Path(scripts.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_target_that_is_down_does_not_count_as_defended(tmp_path: Path) -> None:
    stock = make_stock(tmp_path)
    twin = OpenTarget(tmp_path / "open", stock, tls=True)
    holdings = twin.holdings()
    twin.stop()
    done = scripts.run_script("no_certificate", holdings.brief("known_ae"))
    assert done.broken
    assert not done.succeeded


def test_a_masked_session_that_gets_no_image_proves_nothing(twins: dict[str, Twin]) -> None:
    holdings = twins["open"].holdings()
    nowhere = replace(holdings, study=replace(holdings.study, study_uid="2.25.1"))
    brief = nowhere.brief(
        "study", "seeds", person={"username": "doctor", "password": "wrong", "totp_secret": ""}
    )
    done = scripts.run_script("masked_leak", brief)
    assert done.broken


def test_every_piece_of_a_viewer_is_searched_for_names(twins: dict[str, Twin]) -> None:
    done = PROCEDURES["masked_leak"]("masked_leak", twins["open"])
    assert "(13 of 13 answers with HTTP 200)" in done.evidence


def test_a_crashed_script_is_broken_not_repelled() -> None:
    assert scripts.run_script("wire_tap", {}).broken
    assert scripts.run_script("no_such_attack", {}).broken


@pytest.mark.parametrize(
    ("control", "mine", "outcome"),
    [
        (Execution(True, ""), Execution(False, ""), "prevented"),
        (Execution(True, ""), Execution(True, ""), "not_defended"),
        (Execution(True, ""), Execution(True, "", findings=("log row 2",)), "detected"),
        (Execution(False, ""), Execution(False, ""), "broken"),
        (Execution(True, "", broken=True), Execution(False, ""), "broken"),
        (Execution(True, "", findings=("noticed",)), Execution(True, "", findings=("x",)), "broken"),
        (Execution(True, ""), Execution(False, "", broken=True), "broken"),
    ],
)
def test_outcome_follows_from_control_and_attack(control: Execution, mine: Execution, outcome: str) -> None:
    assert judge(PROMISES["wire_tap"], "embedded", control, mine).outcome == outcome


def test_an_open_archive_under_drill_breaks_every_promise_it_is_asked_for(twins: dict[str, Twin]) -> None:
    asked = ["retrieve_without_grant", "session_guess"]
    lines: list[str] = []
    report = run_drill(twins["open"], dict(twins), only=asked, progress=lines.append)
    assert report.exit_status == 1
    assert [one.outcome for one in report.attacks] == ["not_defended", "not_defended"]
    told = report.as_json()
    assert set(told) == {"configuration", "attacks"}
    assert {"name", "tried", "control", "outcome", "stopped_by", "evidence"} <= set(told["attacks"][0])
    assert len(lines) == 4


def test_no_report_quotes_an_identity(twins: dict[str, Twin]) -> None:
    seeds = json.loads(Path(twins["open"].holdings().seeds).read_text(encoding="utf-8"))
    told = json.dumps(run_drill(twins["open"], dict(twins), only=["wire_tap", "stolen_disk"]).as_json())
    assert not [text for texts in seeds for text in texts if text in told]


def test_an_empty_drill_is_no_passed_drill(twins: dict[str, Twin]) -> None:
    assert run_drill(twins["open"], dict(twins), only=["nothing"]).exit_status == 1


def test_a_stopped_twin_says_so(tmp_path: Path) -> None:
    twin = OpenTarget(tmp_path / "open", make_stock(tmp_path), tls=False)
    twin.stop()
    with pytest.raises(TargetDown):
        twin.holdings()
