"""Profiles: what of PS3.15 E a project wants. Readable TOML files beside this module, or the caller's own.

Rules, in order:
1. The Basic Profile always holds; options only add (PS3.15 E.2, E.3). An unknown name stops the run.
2. Full dates and modified dates exclude each other (PS3.15 E.3.6).
3. Pixels that may carry text and were not read are refused. `unread = "release"` lets them out unread, and then
   nothing is marked clean. No profile lets out pixels that were read and carry text.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Final

from ribcage.usage.deid.errors import ProfileInvalid
from ribcage.usage.deid.tables import EDITION, Option

PACKAGED: Final = ("research-basic", "research-longitudinal", "teaching", "ai-training")
_KEYS: Final = frozenset({"name", "description", "options", "unread"})
_NAME: Final = re.compile(r"[a-z0-9-]{1,40}")
_NAMES: Final = {option.value.replace("_", "-"): option for option in Option}


@dataclass(frozen=True, slots=True)
class Profile:
    """One choice. `unread` is "refuse" or "release" (rule 3)."""

    name: str
    options: frozenset[Option] = frozenset()
    unread: str = "refuse"
    description: str = ""

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raises ProfileInvalid for what excludes each other or is unknown."""
        if {Option.FULL_DATES, Option.MODIFIED_DATES} <= self.options:
            raise ProfileInvalid(
                "expected full dates or modified dates, got both options", "leave one of them out"
            )
        if _NAME.fullmatch(self.name) is None:
            raise ProfileInvalid("expected a profile name of small letters, digits and hyphens, got another")
        if self.unread not in ("refuse", "release"):
            raise ProfileInvalid('expected unread = "refuse" or "release", got another word')

    def also(self, names: Iterable[str]) -> Profile:
        """This profile with further options. Raises ProfileInvalid."""
        return replace(self, options=self.options | {option_of(name) for name in names})

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of what the profile does, edition included: written into every output."""
        told = "\n".join([EDITION, self.unread, *sorted(option.value for option in self.options)])
        return hashlib.sha256(told.encode()).hexdigest()[:8]


def option_of(name: str) -> Option:
    """The option of this name, written with hyphens. Raises ProfileInvalid."""
    option = _NAMES.get(name)
    if option is None:
        raise ProfileInvalid(
            "expected an option of PS3.15 E.3, got another word", f"one of: {', '.join(_NAMES)}"
        )
    return option


def packaged(name: str) -> Profile:
    """A profile that is shipped. Raises ProfileInvalid."""
    if name not in PACKAGED:
        raise ProfileInvalid(
            "expected the name of a profile or a file, got neither", f"shipped: {', '.join(PACKAGED)}"
        )
    return parse(files(__package__).joinpath("profiles", f"{name}.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Profile:
    """A profile file. Raises ProfileInvalid."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise ProfileInvalid("expected a TOML file, got another text", str(failure)) from failure
    if not set(table) <= _KEYS or not isinstance(table.get("name"), str):
        raise ProfileInvalid(f"expected the keys {', '.join(sorted(_KEYS))}, got others")
    options = table.get("options", [])
    if not isinstance(options, list) or not all(isinstance(name, str) for name in options):
        raise ProfileInvalid("expected options as a list of names, got something else")
    return Profile(
        name=table["name"],
        options=frozenset(option_of(name) for name in options),
        unread=str(table.get("unread", "refuse")),
        description=str(table.get("description", "")),
    )
