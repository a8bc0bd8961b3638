"""The report of a released file: what was handed to a project, by which rules (docs/formats.md 5.13).

Rules, in order:
1. It is a signed note by the log's key: a title line, then canonical JSON on one line. No identity, no UID.
2. One for each file, named by its SHA-256. The log's entry of the study names the Merkle root over all files that
   were sealed with it, so that none can be added later; `entry` is that entry's number.
3. `checker` is the edition by which the other program judged the file; it is there only when nothing was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ribcage.evidence import merkle
from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.document import read_document
from ribcage.evidence.entry import ENTRY_VERSION, Json, canonical, identity, instant, token
from ribcage.evidence.note import VerifierKey

TITLE = "ribcage release report v1"


@dataclass(frozen=True)
class Rules:
    """How a project's files are made: profile and digest of what it does, edition of the table, program."""

    profile: str
    digest: str
    edition: str
    checker: str
    tool: str


@dataclass(frozen=True)
class ReleaseReport:
    """What is signed for one file. `time_ms`: Unix milliseconds; `files`: the root that the entry names."""

    project: bytes
    number: int
    time_ms: int
    rules: Rules
    file_sha256: bytes
    file_octets: int
    files: bytes
    entry: int

    def text(self) -> str:
        """The note's text. Raises `EntryInvalid`."""
        instant(self.time_ms)
        document: Json = {
            "checker": token(self.rules.checker),
            "edition": token(self.rules.edition),
            "entry": self.entry,
            "file": {"octets": self.file_octets, "sha256": identity(self.file_sha256)},
            "files": identity(self.files),
            "ms": self.time_ms,
            "profile": {"digest": token(self.rules.digest), "name": token(self.rules.profile)},
            "project": identity(self.project),
            "release": self.number,
            "tool": token(self.rules.tool),
            "version": ENTRY_VERSION,
        }
        return f"{TITLE}\n{canonical(document).decode()}\n"


def files_root(hashes: Iterable[bytes]) -> bytes:
    """RFC 9162 Merkle root over the files' SHA-256, ascending."""
    tree = merkle.CompactRange()
    for each in sorted(hashes):
        tree.append(merkle.leaf_hash(each))
    return tree.root()


def sign_report(report: ReleaseReport, signer: CheckpointSigner) -> bytes:
    """The signed note."""
    return signer.sign_text(report.text())


def read_report(note: bytes, key: VerifierKey | str) -> Json:
    """The document of a report signed by `key`. Raises NoteMalformed, CheckpointForged, EntryInvalid."""
    return read_document(note, key, TITLE, ("report", "report of a release"))
