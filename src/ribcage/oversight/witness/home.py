"""The witness's own home: never on the archive's disk, best on another machine, at least of another user.

WHOME/witness.json       format, name, public key and certificate's fingerprint, where it listens
WHOME/certificate.pem    self-signed; archives pin its fingerprint
WHOME/keys/              provider.json and keys.json: signing key and TLS key, sealed under the passphrase
WHOME/memory.db          what it saw: plain, for auditors
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ribcage.crypto import authority, wraps
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider
from ribcage.evidence.checkpoint import Cosigner
from ribcage.evidence.errors import NoteMalformed
from ribcage.evidence.note import check_name
from ribcage.guard.durable import sync_folder
from ribcage.oversight.witness.errors import WitnessHomeUnusable
from ribcage.oversight.witness.memory import WitnessMemory
from ribcage.transfer.errors import SettingsRefused
from ribcage.transfer.limits import ListenAddress, check_addresses

HOME_FORMAT = 1
DEFAULT_PORT = 8444
_SEED_BYTES = 32
_SEALED = ("cosign", "tls")


@dataclass(frozen=True)
class WitnessPlan:
    """What `ribcage witness init` decides. `name` '' makes one; `public` permits a globally routable address."""

    name: str = ""
    address: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public: bool = False
    cost: Argon2Parameters | None = None


@dataclass(frozen=True)
class WitnessHome:
    """An opened home: where to listen, certificate and keys."""

    folder: Path
    address: str
    port: int
    certificate_pem: bytes
    cosigner: Cosigner
    tls_key_pem: bytes = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate, which archives pin."""
        return authority.fingerprint(self.certificate_pem)


def create_witness(folder: Path, passphrase: bytes, plan: WitnessPlan) -> WitnessHome:
    """Make a new witness. Raises WitnessHomeUnusable, or CryptoError for a passphrase that is too short."""
    if folder.exists() and any(folder.iterdir()):
        raise WitnessHomeUnusable(f"{folder} is not empty: choose another folder")
    try:
        check_addresses(
            (ListenAddress("https", plan.address, plan.port),),
            frozenset([plan.address] if plan.public else []),
        )
        name = check_name(plan.name or f"witness.local/{os.urandom(8).hex()}")
    except (SettingsRefused, NoteMalformed) as refused:
        raise WitnessHomeUnusable(str(refused)) from refused
    (folder / "keys").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    seed = os.urandom(_SEED_BYTES)
    issued = authority.make_self_signed("Ribcage witness", now=datetime.now(UTC), addresses=[plan.address])
    provider = FileKeyProvider.create(folder / "keys" / "provider.json", passphrase, plan.cost)
    slot = provider.generate()
    secrets = dict(zip(_SEALED, (seed, issued.private_key_pem), strict=True))
    sealed = {
        each: base64.b64encode(provider.wrap(slot, secret, wraps.context("witness", name, each))).decode()
        for each, secret in secrets.items()
    }
    _write(folder / "keys" / "keys.json", json.dumps({"slot": slot, **sealed}).encode())
    _write(folder / "certificate.pem", issued.certificate_pem)
    WitnessMemory.create(folder / "memory.db").close()
    facts = {
        "format": HOME_FORMAT,
        "name": name,
        "key": Cosigner(name, seed).key.encode(),
        "certificate": authority.fingerprint(issued.certificate_pem).hex(),
        "address": plan.address,
        "port": plan.port,
        "public": plan.public,
    }
    _write(folder / "witness.json", json.dumps(facts, indent=1).encode())  # last: complete
    return open_witness(folder, passphrase)


def open_witness(folder: Path, passphrase: bytes) -> WitnessHome:
    """Open with the passphrase. Raises WitnessHomeUnusable, WrongPassphrase, CryptoError."""
    try:
        facts = json.loads((folder / "witness.json").read_bytes())
        keys = json.loads((folder / "keys" / "keys.json").read_bytes())
        certificate = (folder / "certificate.pem").read_bytes()
        version, name = int(facts["format"]), str(facts["name"])
        address, port = str(facts["address"]), int(facts["port"])
        slot, sealed = str(keys["slot"]), [base64.b64decode(keys[each], validate=True) for each in _SEALED]
        public = frozenset([address] if facts["public"] is True else [])
        check_addresses((ListenAddress("https", address, port),), public)
    except FileNotFoundError:
        raise WitnessHomeUnusable(
            f"{folder} is no witness's home: run `ribcage witness init --home {folder}`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, SettingsRefused) as failure:
        raise WitnessHomeUnusable(f"{folder} is damaged: {type(failure).__name__}") from failure
    if version != HOME_FORMAT:
        raise WitnessHomeUnusable(f"{folder} has format {version}, this program knows {HOME_FORMAT}")
    provider = FileKeyProvider.open(folder / "keys" / "provider.json", passphrase)
    seed, tls_key = (
        provider.unwrap(slot, secret, wraps.context("witness", name, each))
        for each, secret in zip(_SEALED, sealed, strict=True)
    )
    return WitnessHome(folder, address, port, certificate, Cosigner(name, seed), tls_key)


def public_key(folder: Path) -> str:
    """The witness's verifier key, without its passphrase. Raises WitnessHomeUnusable."""
    try:
        return str(json.loads((folder / "witness.json").read_bytes())["key"])
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise WitnessHomeUnusable(f"{folder} is no witness's home: {type(failure).__name__}") from failure


def _write(path: Path, content: bytes) -> None:
    """A new file, durable with its name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
