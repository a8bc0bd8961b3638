"""The edge's own home, beside the modality: everything that names somebody is sealed under its passphrase.

EHOME/edge.json        format, addresses and limits
EHOME/keys/            provider.json and keys.json: signing key, TLS key, AE title and what the archive said, sealed
EHOME/spool/           films that wait, sealed to the archive: this edge cannot open them
EHOME/refused/         films that the archive will never take
EHOME/receipts.db      what the archive answered
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from ribcage.crypto import authority, wraps
from ribcage.crypto.errors import CertificateRefused
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider
from ribcage.crypto.signing import Signer
from ribcage.evidence.errors import NoteMalformed
from ribcage.evidence.note import VerifierKey
from ribcage.guard.durable import make_folder, write_file
from ribcage.transfer.edge.errors import EdgeHomeUnusable
from ribcage.transfer.edge.limits import DEFAULT_PORT, STATUS_PORT, EdgeLimits, check_listen

HOME_FORMAT = 1
_SEED_BYTES = 32
_ID_BYTES = 16


class Behind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A modality behind the edge: who calls from where, and the archive's id of it."""

    ae_title: str
    address: str
    device: bytes


class Enrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the archive's operator hands over (`ribcage trust-edge --out`)."""

    url: str
    edge: bytes
    hospital: bytes
    certificate_pem: str
    authority_pem: str
    log_key: str
    seal_key: bytes
    modalities: list[Behind]
    version: int = 1

    def check(self) -> None:
        """Raises EdgeHomeUnusable for values that cannot be."""
        try:
            VerifierKey.parse(self.log_key)
            fits = (
                self.version == 1
                and self.url.startswith("https://")
                and all(len(each) == _ID_BYTES for each in (self.edge, self.hospital))
                and 0
                < len({(each.ae_title, each.address) for each in self.modalities})
                == len(self.modalities)
                and all(len(each.device) == _ID_BYTES for each in self.modalities)
            )
        except NoteMalformed as failure:
            raise EdgeHomeUnusable("the enrolment names a damaged key: bring it again") from failure
        if not fits:
            raise EdgeHomeUnusable("the enrolment is damaged, or of a newer Ribcage: bring it again")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is brought to the archive (`request.json`): public keys and a label."""

    ae_title: str
    csr_pem: str
    signing_key: bytes
    version: int = 1


class _Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ae_title: str
    seed: bytes
    tls_key_pem: bytes
    tag_key: bytes


@dataclass(frozen=True)
class EdgePlan:
    """What `ribcage edge init` decides."""

    ae_title: str
    address: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    isolated: str = ""
    status_port: int = STATUS_PORT
    limits: EdgeLimits = field(default_factory=EdgeLimits)
    cost: Argon2Parameters | None = None


@dataclass(frozen=True)
class EdgeHome:
    """An opened home."""

    folder: Path
    plan: EdgePlan
    enrolment: Enrolment
    signer: Signer = field(repr=False)
    tag_key: bytes = field(repr=False)
    tls_key_pem: bytes = field(repr=False)


def create_edge(folder: Path, passphrase: bytes, plan: EdgePlan) -> Request:
    """Make a new edge; what to bring to the archive. Raises EdgeError, CryptoError."""
    if folder.exists() and any(folder.iterdir()):
        raise EdgeHomeUnusable(f"{folder} is not empty: choose another folder")
    check_listen(plan.address, plan.isolated)
    if not 1 <= len(plan.ae_title) <= 16 or not plan.ae_title.isascii() or "\\" in plan.ae_title:
        raise EdgeHomeUnusable("an AE title has 1 to 16 ASCII characters")
    make_folder(folder)
    for name in ("keys", "spool", "refused"):
        make_folder(folder / name)
    try:
        asked = authority.make_request("Ribcage edge")
    except CertificateRefused as failure:
        raise EdgeHomeUnusable(str(failure)) from failure
    own = _Own(plan.ae_title, os.urandom(_SEED_BYTES), asked.private_key_pem, os.urandom(_SEED_BYTES))
    provider = FileKeyProvider.create(folder / "keys" / "provider.json", passphrase, plan.cost)
    _seal(folder, provider, provider.generate(), own, None)
    facts = {
        "format": HOME_FORMAT,
        "address": plan.address,
        "port": plan.port,
        "isolated": plan.isolated,
        "status_port": plan.status_port,
        "limits": asdict(plan.limits),
    }
    write_file(folder / "edge.json", json.dumps(facts, indent=1).encode() + b"\n", 0o600)  # last: complete
    signing_key = Signer(own.seed).public_key
    return Request(plan.ae_title, asked.certificate_pem.decode("ascii"), signing_key)


def enrol(folder: Path, passphrase: bytes, enrolment: Enrolment) -> None:
    """Keep what the archive said, instead of what it said before. Raises EdgeError, CryptoError."""
    enrolment.check()
    _facts(folder)
    provider, slot, own, before = _unseal(folder, passphrase)
    if before is not None and before.edge != enrolment.edge:
        raise EdgeHomeUnusable(
            "this home is another edge of that archive: make a new home for this enrolment"
        )
    _seal(folder, provider, slot, own, enrolment)


def open_edge(folder: Path, passphrase: bytes) -> EdgeHome:
    """Open with the passphrase. Raises EdgeHomeUnusable, ListenRefused, WrongPassphrase, CryptoError."""
    facts = _facts(folder)
    _, _, own, enrolment = _unseal(folder, passphrase)
    if enrolment is None:
        raise EdgeHomeUnusable(
            f"{folder} is not enrolled: bring request.json to the archive (`ribcage trust-edge`), "
            "then `ribcage edge enrol`"
        )
    plan = EdgePlan(
        own.ae_title, facts.address, facts.port, facts.isolated, facts.status_port, facts.edge_limits()
    )
    check_listen(plan.address, plan.isolated)
    return EdgeHome(folder, plan, enrolment, Signer(own.seed), own.tag_key, own.tls_key_pem)


def status_port(folder: Path) -> int:
    """Where the state page is, without the passphrase. Raises EdgeHomeUnusable."""
    return _facts(folder).status_port


def lock(folder: Path) -> int:
    """Be the only process on this home for as long as the descriptor is open. Raises EdgeHomeUnusable."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as failure:
        os.close(descriptor)
        raise EdgeHomeUnusable(f"{folder} is in use by another `ribcage edge run`") from failure
    return descriptor


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    address: str
    port: int
    isolated: str
    status_port: int
    limits: dict[str, int | float]

    def edge_limits(self) -> EdgeLimits:
        """Raises ValueError, TypeError."""
        return EdgeLimits(**self.limits)  # type: ignore[arg-type]  # numbers, checked there


def _facts(folder: Path) -> _Facts:
    try:
        facts = msgspec.json.decode((folder / "edge.json").read_bytes(), type=_Facts)
        facts.edge_limits()
    except FileNotFoundError:
        raise EdgeHomeUnusable(
            f"{folder} is no edge's home: run `ribcage edge init --home {folder}`"
        ) from None
    except (OSError, msgspec.DecodeError, ValueError, TypeError) as failure:
        raise EdgeHomeUnusable(f"{folder}/edge.json is damaged: {type(failure).__name__}") from failure
    if facts.format != HOME_FORMAT:
        raise EdgeHomeUnusable(f"{folder} has format {facts.format}, this program knows {HOME_FORMAT}")
    return facts


def _context(name: str) -> bytes:
    return wraps.context("edge", name)


def _seal(folder: Path, provider: FileKeyProvider, slot: str, own: _Own, enrolment: Enrolment | None) -> None:
    sealed = {"own": provider.wrap(slot, msgspec.json.encode(own), _context("own"))}
    if enrolment is not None:
        sealed["archive"] = provider.wrap(slot, msgspec.json.encode(enrolment), _context("archive"))
    text = {"slot": slot, **{name: base64.b64encode(value).decode() for name, value in sealed.items()}}
    write_file(folder / "keys" / "keys.json", json.dumps(text).encode() + b"\n", 0o600)


def _unseal(folder: Path, passphrase: bytes) -> tuple[FileKeyProvider, str, _Own, Enrolment | None]:
    try:
        kept = json.loads((folder / "keys" / "keys.json").read_bytes())
        slot = str(kept["slot"])
        sealed = {
            name: base64.b64decode(kept[name], validate=True) for name in ("own", "archive") if name in kept
        }
        first = sealed["own"]
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise EdgeHomeUnusable(f"{folder}/keys is damaged: {type(failure).__name__}") from failure
    provider = FileKeyProvider.open(folder / "keys" / "provider.json", passphrase)
    own = msgspec.json.decode(provider.unwrap(slot, first, _context("own")), type=_Own)
    if "archive" not in sealed:
        return provider, slot, own, None
    told = provider.unwrap(slot, sealed["archive"], _context("archive"))
    return provider, slot, own, msgspec.json.decode(told, type=Enrolment)
