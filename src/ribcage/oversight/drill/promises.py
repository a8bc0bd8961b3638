"""What `docs/threat-model.md` promises, as data: `promises.toml`, which a test holds equal to the document."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CONFIGURATIONS = ("embedded", "witness", "hsm", "network")
OUTCOMES = ("prevented", "detected", "not_defended", "not_yet")
_FILE = Path(__file__).parent.parent / "promises.toml"


class PromisesBroken(Exception):
    """`promises.toml` is not what this program expects."""


@dataclass(frozen=True)
class Promise:
    """One attack. `control` names the twin; `outcomes` maps a configuration to the promised outcome."""

    name: str
    title: str
    title_zh: str
    tried: str
    control: str
    stopped_by: str
    outcomes: dict[str, str]


@dataclass(frozen=True)
class NotYet:
    """Something that nothing stands against yet; `unless` names the configuration that answers it."""

    text: str
    text_zh: str
    unless: str = ""


@dataclass(frozen=True)
class Promises:
    """All of it, in the document's order."""

    attacks: tuple[Promise, ...]
    not_yet: tuple[NotYet, ...]

    def open_in(self, configuration: Collection[str]) -> list[NotYet]:
        """What is not defended where these words describe the configuration."""
        return [one for one in self.not_yet if one.unless not in configuration]


@cache
def load_promises() -> Promises:
    """Read the file. Raises PromisesBroken."""
    told = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    try:
        promises = Promises(
            tuple(Promise(**one) for one in told["attack"]), tuple(NotYet(**one) for one in told["not_yet"])
        )
    except (KeyError, TypeError) as failure:
        raise PromisesBroken(f"{_FILE.name}: expected tables attack and not_yet with known keys") from failure
    for one in promises.attacks:
        if set(one.outcomes) != set(CONFIGURATIONS) or not set(one.outcomes.values()) <= set(OUTCOMES):
            raise PromisesBroken(f"{_FILE.name}: {one.name}: expected one known outcome per configuration")
    return promises
