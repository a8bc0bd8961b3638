"""What an archive must offer to be drilled, and what of it an attacker is given.

The archive under drill is one made for it (a throw-away home of the same build and configuration): attackers
edit its database and put back old copies of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol


class TargetDown(Exception):
    """The archive refused to start, or does not answer; the text says what it said."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM files."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Modality:
    """A device's pair and its AE title."""

    certificate: str
    key: str
    ae: str


@dataclass(frozen=True)
class Login:
    """A person. `totp_secret` in base32, '' where the attack needs none."""

    username: str
    password: str
    totp_secret: str = ""


@dataclass(frozen=True)
class Cookie:
    """A session as a browser holds it."""

    name: str
    value: str


@dataclass(frozen=True)
class StudyRef:
    """One stored instance."""

    study_uid: str
    series_uid: str
    instance_uid: str


@dataclass(frozen=True)
class WaitingEdge:
    """A gateway beside a plain modality. `folder`: its disk, where the film of `files` waits for the archive.

    `credential`: what it shows to the archive.
    """

    folder: Path
    credential: Modality


@dataclass(frozen=True)
class Database:
    """The database file and its key in hex, '' when it is not encrypted: what its administrator holds."""

    path: str
    key: str


@dataclass(frozen=True)
class Listener:
    """Where one protocol listens."""

    host: str
    port: int
    tls: bool
    called_ae: str = ""


@dataclass(frozen=True)
class Holdings:
    """Everything attackers may be given; each attack gets its own part (`procedures`)."""

    dicom: Listener
    web: Listener
    ca: str  # PEM file of the archive's authority, '' without TLS
    own: Pair  # of a foreign authority
    device: Modality  # registered
    innocent: Modality  # registered, another
    known_ae: str  # an AE title that the archive knows
    intruder: Login  # a doctor without any grant
    doctor: Login  # a doctor with a grant on `study`: masked without second factor
    forgetful: Login  # a person whose one-time codes nobody else uses during the drill
    study: StudyRef  # stored, granted to `doctor`
    other: StudyRef  # stored, granted to nobody in this list
    seeds: str  # JSON list of lists of texts: the identities stored there, those of `files` included
    files: tuple[str, ...]  # DICOM files not stored yet, for attacks that send
    seconds: float = 8.0  # how long an attacker waits for one answer

    def brief(self, *names: str, **more: Any) -> dict[str, Any]:
        """The JSON object of one attacker: addresses, authority, the named parts, and `more`."""
        whole = asdict(self)
        chosen = {name: whole[name] for name in ("dicom", "web", "ca", "seconds", *names)}
        return {**chosen, **more}


class Target(Protocol):
    """One archive under attack: the harness of the composition root, or a twin."""

    name: str
    configuration: str

    def holdings(self) -> Holdings:
        """Addresses and credentials as they are now: a restart may change ports."""

    def steal_disk(self, into: Path) -> Path:
        """Copy the home as a thief would, logs and temporary files included, below `into`."""

    def open_session(self) -> Cookie:
        """A live session of `doctor` that may see `study`."""

    def granted_session(self) -> Cookie:
        """A live session of a person whose grant on `study` was given for this call."""

    def revoke(self) -> None:
        """Take back the grant of the last `granted_session`."""

    def stop(self) -> None:
        """Stop gracefully."""

    def start(self) -> None:
        """Start again on the same home. Raises TargetDown."""

    def waiting_edge(self) -> WaitingEdge:
        """A gateway that took the film of `files` in plain while it could not reach the archive; gone at `stop`."""

    def home(self) -> Path:
        """The folder that an insider may write while the archive is down."""

    def outside(self) -> list[Path]:
        """Folders that belong to the archive's configuration and that no insider of it may write: its witness's."""

    def database(self) -> Database:
        """The database in `home()`."""

    def verify(self) -> list[str]:
        """What the archive's own verification names, one line each; empty when all is well."""
