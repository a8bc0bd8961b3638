"""The completeness report of a migration: what an old PACS announced, and what this archive holds of it
(docs/formats.md 5.12).

Rules, in order:
1. It is a signed note by the log's key: a title line, then canonical JSON on one line.
2. Studies and instances stand in a file of lines beside it, which it names by size and SHA-256. UIDs appear there as
   SHA-256 alone: who has the old PACS's list finds each, who has not reads none.
3. The verdict of a line is the archive's own look at its rows, not the word of whoever carried the instances.
4. `complete` follows from the numbers: all that was announced is held.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Literal

from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.document import read_document
from ribcage.evidence.entry import ENTRY_VERSION, Json, canonical, identity, instant, token
from ribcage.evidence.note import VerifierKey

TITLE = "ribcage migration report v1"
Verdict = Literal["held", "parked", "refused", "missing"]
_NOTHING = "-"


@dataclass(frozen=True)
class Totals:
    """Numbers of a report. `announced`: instances, of each study what it announced or what came, the larger.

    held + parked + refused + missing = announced. `unreadable`: answers of the old PACS that named no study.
    """

    studies: int = 0
    announced: int = 0
    held: int = 0
    parked: int = 0
    refused: int = 0
    missing: int = 0
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Rule 4."""
        return self.held == self.announced and not self.unreadable

    def numbers(self) -> dict[str, int]:
        """By name."""
        return {each.name: int(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True)
class MigrationReport:
    """What is signed. `source`: the protocol, a label; `time_ms`: Unix milliseconds; `lines_*`: the file of lines."""

    hospital: bytes
    time_ms: int
    source: str
    totals: Totals
    lines_octets: int
    lines_sha256: bytes

    def text(self) -> str:
        """The note's text. Raises `EntryInvalid`."""
        instant(self.time_ms)
        document: Json = {
            "complete": self.totals.complete,
            "hospital": identity(self.hospital),
            "lines": {"octets": self.lines_octets, "sha256": identity(self.lines_sha256)},
            "ms": self.time_ms,
            "source": token(self.source),
            "totals": {**self.totals.numbers()},
            "version": ENTRY_VERSION,
        }
        return f"{TITLE}\n{canonical(document).decode()}\n"


def study_line(study_uid: str, announced: int) -> str:
    """The line of a study; those of its instances follow it."""
    return f"S {_hashed(study_uid)} {announced}"


def instance_line(instance_uid: str, data_set_sha256: bytes, verdict: Verdict, reason: str) -> str:
    """The line of an instance. `data_set_sha256` b"": nothing came. Raises `EntryInvalid`: no label."""
    digest = identity(data_set_sha256) if data_set_sha256 else _NOTHING
    return f"I {_hashed(instance_uid)} {digest} {verdict} {token(reason) if reason else _NOTHING}"


def sign_report(report: MigrationReport, signer: CheckpointSigner) -> bytes:
    """The signed note."""
    return signer.sign_text(report.text())


def read_report(note: bytes, key: VerifierKey | str) -> Json:
    """The document of a report signed by `key`. Raises NoteMalformed, CheckpointForged, EntryInvalid."""
    return read_document(note, key, TITLE, ("report", "report of a migration"))


def _hashed(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()
