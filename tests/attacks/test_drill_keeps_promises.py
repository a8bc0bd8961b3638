"""The whole drill against the real archive of this build: every outcome is the promised one."""

from __future__ import annotations

import pytest

from ribcage.cli.drill import drill
from ribcage.oversight.drill.promises import load_promises
from ribcage.oversight.drill.runner import DrillReport


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_every_outcome_is_the_promised_one() -> None:
    report = drill(studies=30)
    assert [one.name for one in report.attacks] == [one.name for one in load_promises().attacks]
    assert_kept(report)


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_with_a_witness_a_rollback_is_detected() -> None:
    """The one attack whose outcome is the witness's; `make soak` runs all of them with one."""
    report = drill(only=["home_rollback"], studies=5, witness=True)
    assert [one.outcome for one in report.attacks] == ["detected"]
    assert "behind its witness" in report.attacks[0].evidence
    assert_kept(report)


@pytest.mark.soak
@pytest.mark.timeout(1000)
def test_with_a_witness_every_outcome_is_the_promised_one() -> None:
    report = drill(studies=30, witness=True)
    assert len(report.attacks) == len(load_promises().attacks)
    assert_kept(report)


def assert_kept(report: DrillReport) -> None:
    broken = {
        one.name: (one.outcome, one.promised, one.evidence, one.control_evidence)
        for one in report.attacks
        if not one.kept
    }
    assert broken == {}
    assert report.exit_status == 0
