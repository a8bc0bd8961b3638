"""One finding of the doctor: how bad, one sentence, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "note", "warning", "bad"]
LEVELS: Final[tuple[Level, ...]] = ("ok", "note", "warning", "bad")


@dataclass(frozen=True)
class Finding:
    """`check` names the part that was looked at. `remedy` is empty where there is nothing to do."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def unasked(check: str, what: str) -> Finding:
    """A check that could not be made without the passphrase or the guard."""
    return Finding(check, "note", f"not checked: {what}", "run it with the passphrase")


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level; 'ok' for no finding."""
    return max((each.level for each in findings), key=LEVELS.index, default="ok")


def needs_a_person(findings: Iterable[Finding]) -> bool:
    """Whether anything is a warning or bad: the exit status."""
    return worst(findings) in ("warning", "bad")
