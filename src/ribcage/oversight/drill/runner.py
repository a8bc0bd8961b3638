"""The drill: every attack against the archive and against its twin, compared with what was promised.

Rules, in order:
1. An attack whose control fails, or that lacks what it starts from, is `broken`: it proves nothing.
2. Failed: `prevented`. Succeeded and named by `verify`: `detected`. Succeeded unnoticed: `not_defended`.
3. The drill is passed when every outcome is the promised one of this configuration (`promises.toml`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ribcage.oversight.drill.procedures import PROCEDURES, Execution
from ribcage.oversight.drill.promises import Promise, load_promises
from ribcage.oversight.drill.target import Target

Outcome = Literal["prevented", "detected", "not_defended", "broken"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class AttackReport:
    """One line of the report. `evidence` holds counts and statuses, never personal data."""

    name: str
    tried: str
    control: Literal["succeeded", "failed"]
    control_on: str  # the twin's name
    control_evidence: str
    outcome: Outcome
    promised: str
    stopped_by: str
    evidence: str

    @property
    def kept(self) -> bool:
        """The outcome is the promised one."""
        return self.outcome == self.promised


@dataclass(frozen=True)
class DrillReport:
    """The whole drill of one configuration."""

    configuration: str
    attacks: tuple[AttackReport, ...]

    @property
    def exit_status(self) -> int:
        """0 when every promise was kept, else 1."""
        return 0 if self.attacks and all(attack.kept for attack in self.attacks) else 1

    def as_json(self) -> dict[str, Any]:
        """The documented form: `{"configuration", "attacks": [...]}`."""
        return {"configuration": self.configuration, "attacks": [asdict(one) for one in self.attacks]}


def run_drill(
    target: Target,
    twins: dict[str, Target],
    only: Sequence[str] = (),
    progress: Progress | None = None,
    controls: Mapping[str, str] | None = None,
) -> DrillReport:
    """Drill `target` with the controls `twins` ('archive' and 'open', see `twin`). `only` names attacks to run.

    `controls`: attacks whose control is another twin than the promised one.
    """
    say = progress or _to_stderr
    reports = []
    promises = [one for one in load_promises().attacks if not only or one.name in only]
    for number, promise in enumerate(promises, 1):
        say(f"[{number}/{len(promises)}] {promise.name}: {promise.tried}")
        twin = twins[(controls or {}).get(promise.name, promise.control)]
        control = PROCEDURES[promise.name](promise.name, twin)
        mine = PROCEDURES[promise.name](promise.name, target)
        report = judge(promise, target.configuration, control, mine, twin.name)
        say(f"    {report.outcome} (promised {report.promised}): {report.evidence}")
        reports.append(report)
    return DrillReport(target.configuration, tuple(reports))


def judge(
    promise: Promise, configuration: str, control: Execution, mine: Execution, control_on: str = ""
) -> AttackReport:
    """Outcome by the rules above. `control_on`: the twin's name."""
    control_works = control.succeeded and not control.broken and not control.findings
    outcome: Outcome
    if not control_works or mine.broken:
        outcome = "broken"
    elif not mine.succeeded:
        outcome = "prevented"
    else:
        outcome = "detected" if mine.findings else "not_defended"
    evidence = mine.evidence
    if mine.findings:
        evidence += f"; verify: {'; '.join(mine.findings[:3])}"
    return AttackReport(
        name=promise.name,
        tried=promise.tried,
        control="succeeded" if control_works else "failed",
        control_on=control_on,
        control_evidence=control.evidence,
        outcome=outcome,
        promised=promise.outcomes.get(configuration, "not promised"),
        stopped_by=promise.stopped_by if outcome in ("prevented", "detected") else "",
        evidence=evidence,
    )


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
