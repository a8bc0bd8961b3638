"""The whole drill against the real archive of this build: every outcome is the promised one."""

from __future__ import annotations

import pytest

from ribcage.cli.drill import drill
from ribcage.oversight.drill.promises import load_promises


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_outcome_is_the_promised_one() -> None:
    report = drill(studies=30)
    assert [one.name for one in report.attacks] == [one.name for one in load_promises().attacks]
    broken = {
        one.name: (one.outcome, one.promised, one.evidence, one.control_evidence)
        for one in report.attacks
        if not one.kept
    }
    assert broken == {}
    assert report.exit_status == 0
