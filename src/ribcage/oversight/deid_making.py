"""One study's files without the identity, made by one program and judged by another, in a process of its own.

Rules, in order:
1. Nothing here holds a stored key or speaks with the guard: it gets the project's key, originals, and where to write.
2. The check follows in the same step: what is answered was judged, or there is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ribcage.oversight.deid_check.checking import check
from ribcage.oversight.deid_check.table import EDITION as CHECKER
from ribcage.usage.deid.batch import BatchLimits, Job, Outcome, entries, run
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.tables import EDITION, Option

_NOT_CLAIMED: Final = frozenset({Option.PIXELS, Option.VISUAL})  # carried out only where pixels were read


@dataclass(frozen=True)
class Work:
    """What is asked: originals of one study in a folder, outputs below `out`."""

    profile: Profile
    key: bytes = field(repr=False)
    originals: Path
    out: Path
    processes: int = 1


@dataclass(frozen=True)
class Made:
    """What came of it. `findings`: one line each, of the check; with any, no file may be handed over."""

    outcomes: list[Outcome]
    findings: list[str]
    edition: str = EDITION
    checker: str = CHECKER

    @property
    def released(self) -> list[Outcome]:
        """What may leave."""
        return [each for each in self.outcomes if each.reason is None]


def make(work: Work) -> Made:
    """De-identify and check. Raises OSError, ProjectInvalid."""
    limits = BatchLimits()
    found = entries(work.originals, limits)
    job = Job(work.profile, work.key, work.out, limits=limits)
    journal = work.originals.with_name(f"{work.originals.name}.journal")
    outcomes = run(job, found, journal, work.processes)
    journal.unlink(missing_ok=True)
    return Made(outcomes, judged(work, outcomes))


def judged(work: Work, outcomes: list[Outcome]) -> list[str]:
    """What the check finds in these outputs (rule 2)."""
    findings = list[str]()
    for folder in sorted({Path(each.output).parents[1] for each in outcomes if each.reason is None}):
        chosen = frozenset(each.value for each in work.profile.options - _NOT_CLAIMED)
        report = check(work.out / folder, work.originals, options=chosen, processes=work.processes)
        findings += [f"{each.kind}: {folder}/{each.file}: {each.place}" for each in report.findings]
    return findings
