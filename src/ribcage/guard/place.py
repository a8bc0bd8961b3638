"""What a home's folder says before anything of it is opened: its facts, and where its guard listens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ribcage.guard.errors import GuardError

HOME_FORMAT = 1
HomeTrouble = Literal["other", "not_a_home", "newer", "superseded", "restoring", "locked"]


class HomeError(GuardError):
    """The home cannot be created or opened; the message says what to do, `trouble` which case it is."""

    def __init__(self, message: str, trouble: HomeTrouble = "other") -> None:
        super().__init__(message)
        self.trouble: HomeTrouble = trouble


@dataclass(frozen=True)
class HomeFacts:
    """`home.json`."""

    hospital: bytes
    hospital_name: str


def socket_path(home: Path) -> Path:
    """The guard's socket of a home."""
    return home / "run" / "guard.sock"


def read_facts(home: Path) -> HomeFacts:
    """`home.json`. Raises HomeError for a missing home or one of a newer format."""
    try:
        facts = json.loads((home / "home.json").read_text())
        version, hospital, name = int(facts["format"]), bytes.fromhex(facts["hospital"]), str(facts["name"])
    except FileNotFoundError:
        raise HomeError(
            f"{home} is not a Ribcage home: run `ribcage init --home {home}`", "not_a_home"
        ) from None
    except (ValueError, KeyError, TypeError) as failure:
        raise HomeError(
            f"{home}/home.json is damaged: restore it from your backup", "not_a_home"
        ) from failure
    if version > HOME_FORMAT:
        raise HomeError(
            f"this home has format {version}, this program knows {HOME_FORMAT}: install the newer Ribcage",
            "newer",
        )
    return HomeFacts(hospital, name)
