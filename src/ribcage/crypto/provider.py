"""Key providers: whatever holds the keys that wrap epoch and service keys, and can destroy one of them.

Rules, in order:
1. A provider holds key-encryption keys in named slots; they never leave it. It wraps with a context.
2. Destroying a slot makes everything wrapped in it unreadable, also from an old copy of the key store.
   The provider's state must therefore never enter a backup of the data.
3. The file provider derives a key from the passphrase by Argon2id (RFC 9106) and keeps the slots wrapped
   under it in one file of mode 0600. Whoever holds an old copy of that file and the passphrase still opens
   a destroyed slot: its evidence says so. A hardware provider has no such copy.
4. A recovery record (`recovery`) in the same file lets k of n shares open it too. Every change of passphrase or
   record makes a new salt, hence a new root, and replaces the file in one step: it is the old one or the new one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import secrets
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from argon2.low_level import Type, hash_secret_raw

from ribcage.crypto import recovery, wraps
from ribcage.crypto._encode import KEY_BYTES
from ribcage.crypto.derive import derive
from ribcage.crypto.errors import (
    FormatNewer,
    KeyProviderFailure,
    SharesRefused,
    WrapBroken,
    WrongPassphrase,
)
from ribcage.crypto.recovery import RecoveryKey, RecoveryRecord

PLAIN_FORMAT, RECOVERY_FORMAT = 1, 2  # without and with a recovery record
MIN_PASSPHRASE_BYTES = 8
_SALT_BYTES = 16
_PARAMETERS = struct.Struct(">III")
_DESTROYED = "removed and overwritten; an old copy of the file opens with the passphrase"
_DESTROYED_SHARED = f"{_DESTROYED} or the shares of its day"


@dataclass(frozen=True)
class SlotDestroyed:
    """What a provider states about a destroyed slot; goes into destruction certificates."""

    provider: str
    slot: str
    method: str


class KeyProvider(Protocol):
    """Holds key-encryption keys. Methods raise WrapBroken or KeyProviderFailure."""

    @property
    def name(self) -> str:
        """Kind of provider for `status` and certificates, for example 'file'."""

    def generate(self) -> str:
        """Make a random key-encryption key durably and return its slot's name."""

    def wrap(self, slot: str, key: bytes, context: bytes) -> bytes:
        """Wrap `key` in this slot, bound to `context`."""

    def unwrap(self, slot: str, wrapped: bytes, context: bytes) -> bytes:
        """Unwrap; raises WrapBroken in another slot or context."""

    def rewrap(self, slot: str, new_slot: str, wrapped: bytes, context: bytes) -> bytes:
        """Move a wrap from one slot to another without changing the key or its context."""

    def destroy(self, slot: str) -> SlotDestroyed:
        """Destroy the slot durably. Destroying it again is allowed and says the same."""


@dataclass(frozen=True)
class Argon2Parameters:
    """Cost of one guess at the passphrase. The default takes about a second on a small server."""

    memory_kib: int = 256 * 1024
    iterations: int = 3
    lanes: int = 2

    def __post_init__(self) -> None:
        if not (
            1 <= self.lanes <= 64
            and 8 * self.lanes <= self.memory_kib <= 4 << 20
            and 1 <= self.iterations <= 64
        ):
            raise ValueError("Argon2id: 1-64 lanes, 8 KiB a lane to 4 GiB of memory, 1-64 iterations")

    def stretch(self, passphrase: bytes, salt: bytes) -> bytes:
        """Argon2id of the passphrase: 32 bytes."""
        return hash_secret_raw(
            passphrase, salt, self.iterations, self.memory_kib, self.lanes, KEY_BYTES, Type.ID
        )


def operator_key(passphrase: bytes, challenge_salt: bytes) -> bytes:
    """The key that proves knowledge of the passphrase to the guard (`FileKeyProvider.operator_key`).

    `challenge_salt` is the guard's: `memory KiB ‖ iterations ‖ lanes` (u32 big-endian each) ‖ `salt[16]`.
    """
    if len(challenge_salt) != _PARAMETERS.size + _SALT_BYTES:
        raise KeyProviderFailure(f"expected a challenge salt of {_PARAMETERS.size + _SALT_BYTES} bytes")
    try:
        parameters = Argon2Parameters(*_PARAMETERS.unpack_from(challenge_salt))
    except ValueError as error:
        raise KeyProviderFailure(f"the challenge asks for impossible parameters: {error}") from None
    return derive(parameters.stretch(passphrase, challenge_salt[_PARAMETERS.size :]), "operator")


@dataclass(frozen=True)
class ProviderFacts:
    """What the provider's file tells without the passphrase."""

    cost: Argon2Parameters
    slots: int
    recovery: RecoveryKey | None  # whose shares the file says open it, unverified


def provider_facts(path: Path) -> ProviderFacts:
    """Read without opening: KeyProviderFailure (missing, damaged, readable by others) or FormatNewer."""
    state = _load(path)
    recovery_key = None if state.record is None else state.record.key
    return ProviderFacts(state.parameters, len(state.slots), recovery_key)


class _State(NamedTuple):
    """What the file holds."""

    parameters: Argon2Parameters
    salt: bytes
    check: bytes
    slots: dict[str, bytes]
    record: RecoveryRecord | None

    def verify(self, root: bytes) -> None:
        """Raises WrapBroken unless `root` is this file's."""
        wraps.unwrap(root, self.check, _check_context(self.parameters, self.salt, self.record))


class FileKeyProvider:
    """Slots in one JSON file, wrapped under a key that only the passphrase gives, or the shares of a recovery record.

    One process at a time; its threads may share it.
    """

    def __init__(
        self,
        path: Path,
        parameters: Argon2Parameters,
        salt: bytes,
        root: bytes,
        slots: dict[str, bytes],
        record: RecoveryRecord | None = None,
    ) -> None:
        self._path = path
        self._parameters = parameters
        self._salt = salt
        self._root = root
        self._slots = slots
        self._record = record
        self._lock = threading.RLock()

    @classmethod
    def create(
        cls, path: Path, passphrase: bytes, parameters: Argon2Parameters | None = None
    ) -> FileKeyProvider:
        """Make a new provider file; KeyProviderFailure when it exists or the passphrase is too short."""
        check_passphrase(passphrase)
        if path.exists():
            raise KeyProviderFailure(f"{path.name} exists: a provider is never overwritten")
        parameters = parameters or Argon2Parameters()
        salt = os.urandom(_SALT_BYTES)
        made = cls(path, parameters, salt, parameters.stretch(passphrase, salt), {})
        made._save()
        return made

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> FileKeyProvider:
        """Open with the passphrase: WrongPassphrase, KeyProviderFailure (missing, damaged) or FormatNewer."""
        state = _load(path)
        root = state.parameters.stretch(passphrase, state.salt)
        try:
            state.verify(root)
        except WrapBroken:
            raise WrongPassphrase(f"the passphrase does not open {path.name}, or it was changed") from None
        return cls(path, state.parameters, state.salt, root, state.slots, state.record)

    @classmethod
    def recover(cls, path: Path, private_key: bytes) -> FileKeyProvider:
        """Open with what the shares give; changes nothing. SharesRefused, KeyProviderFailure or FormatNewer."""
        state = _load(path)
        if state.record is None:
            raise SharesRefused(f"{path.name} holds no recovery record: no shares open it")
        circumstances = _circumstances(state.parameters, state.salt)
        root = recovery.open_root(private_key, state.record, circumstances)
        try:
            state.verify(root)
        except WrapBroken:
            raise KeyProviderFailure(
                f"{path.name} is not what its recovery record was made for: restore the provider's own backup"
            ) from None
        return cls(path, state.parameters, state.salt, root, state.slots, state.record)

    @property
    def name(self) -> str:
        """'file'."""
        return "file"

    @property
    def challenge_salt(self) -> bytes:
        """What a caller needs, besides the passphrase, to compute `operator_key`."""
        p = self._parameters
        return _PARAMETERS.pack(p.memory_kib, p.iterations, p.lanes) + self._salt

    @property
    def operator_key(self) -> bytes:
        """Equal to `operator_key(passphrase, challenge_salt)`: checks an operator's proof."""
        return derive(self._root, "operator")

    @property
    def recovery(self) -> RecoveryKey | None:
        """Whose shares open this file; None where there are none. Raises RecoveryTampered."""
        with self._lock:
            if self._record is None:
                return None
            circumstances = _circumstances(self._parameters, self._salt)
            recovery.verify_record(self._root, self._record, circumstances)
            return self._record.key

    def generate(self) -> str:
        """Make a slot with a random key, durably."""
        slot = f"kek-{secrets.token_hex(8)}"
        with self._lock:
            self._slots[slot] = wraps.wrap(self._root, os.urandom(KEY_BYTES), _slot_context(slot))
            self._save()
        return slot

    def wrap(self, slot: str, key: bytes, context: bytes) -> bytes:
        """Wrap `key` in this slot, bound to `context`."""
        return wraps.wrap(self._kek(slot), key, context)

    def unwrap(self, slot: str, wrapped: bytes, context: bytes) -> bytes:
        """Unwrap; raises WrapBroken in another slot or context."""
        return wraps.unwrap(self._kek(slot), wrapped, context)

    def rewrap(self, slot: str, new_slot: str, wrapped: bytes, context: bytes) -> bytes:
        """Move a wrap from one slot to another."""
        return self.wrap(new_slot, self.unwrap(slot, wrapped, context), context)

    def destroy(self, slot: str) -> SlotDestroyed:
        """Remove the slot from the file and overwrite the old file's bytes in place (best effort on SSDs)."""
        with self._lock:
            if self._slots.pop(slot, None) is not None:
                self._save()
            return SlotDestroyed("file", slot, _DESTROYED if self._record is None else _DESTROYED_SHARED)

    def check_passphrase(self, passphrase: bytes) -> None:
        """Raises WrongPassphrase unless it is today's."""
        with self._lock:
            parameters, salt, root = self._parameters, self._salt, self._root
        if not hmac.compare_digest(parameters.stretch(passphrase, salt), root):
            raise WrongPassphrase(f"that is not the passphrase of {self._path.name}")

    def change_passphrase(self, passphrase: bytes) -> None:
        """Wrap everything under a new passphrase; the old one stops opening this file, the shares go on.

        Raises RecoveryTampered: nothing is sealed to a key that somebody else may have put there.
        """
        check_passphrase(passphrase)
        self._renew(passphrase, self.recovery)

    def set_recovery(self, passphrase: bytes, key: RecoveryKey | None) -> None:
        """Let the shares of `key` open this file from now on, those of before no more; None: no shares.

        `passphrase` is today's and stays. Raises WrongPassphrase, SharesRefused.
        """
        self.check_passphrase(passphrase)
        self._renew(passphrase, key)

    def _renew(self, passphrase: bytes, key: RecoveryKey | None) -> None:
        """A new salt and root for everything: written first, then believed."""
        salt, root = self._new_root(passphrase)
        with self._lock:
            moved = {
                slot: wraps.wrap(
                    root, wraps.unwrap(self._root, sealed, _slot_context(slot)), _slot_context(slot)
                )
                for slot, sealed in self._slots.items()
            }
            circumstances = _circumstances(self._parameters, salt)
            record = None if key is None else recovery.seal_root(root, key, circumstances)
            FileKeyProvider(self._path, self._parameters, salt, root, moved, record)._save()
            self._salt, self._root, self._slots, self._record = salt, root, moved, record

    def _new_root(self, passphrase: bytes) -> tuple[bytes, bytes]:
        salt = os.urandom(_SALT_BYTES)
        return salt, self._parameters.stretch(passphrase, salt)

    def _kek(self, slot: str) -> bytes:
        with self._lock:
            sealed = self._slots.get(slot)
            if sealed is None:
                raise KeyProviderFailure(
                    "the provider has no such slot: it was destroyed or belongs elsewhere"
                )
            return wraps.unwrap(self._root, sealed, _slot_context(slot))

    def _save(self) -> None:
        bound = _check_context(self._parameters, self._salt, self._record)
        p = self._parameters
        state = {
            "format": PLAIN_FORMAT if self._record is None else RECOVERY_FORMAT,
            "argon2id": {"memory_kib": p.memory_kib, "iterations": p.iterations, "lanes": p.lanes},
            "salt": _text(self._salt),
            "check": _text(wraps.wrap(self._root, b"check", bound)),
            "slots": {name: _text(sealed) for name, sealed in sorted(self._slots.items())},
            **({} if self._record is None else {"recovery": _record_state(self._record)}),
        }
        try:
            _replace(self._path, json.dumps(state, indent=1).encode())
        except OSError as error:
            raise KeyProviderFailure(f"cannot write {self._path.name}: {error.strerror}") from error


def check_passphrase(passphrase: bytes) -> None:
    """Raises KeyProviderFailure for a passphrase that is too short."""
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise KeyProviderFailure(f"the passphrase has fewer than {MIN_PASSPHRASE_BYTES} bytes")


def _circumstances(parameters: Argon2Parameters, salt: bytes) -> bytes:
    return wraps.context(parameters.memory_kib, parameters.iterations, parameters.lanes, salt)


def _check_context(parameters: Argon2Parameters, salt: bytes, record: RecoveryRecord | None) -> bytes:
    """With a record the context says so: a record that was cut out is noticed."""
    cost = (parameters.memory_kib, parameters.iterations, parameters.lanes)
    return wraps.context("provider-check", *cost, salt, *(() if record is None else ("recovery",)))


def _slot_context(slot: str) -> bytes:
    return wraps.context("provider-slot", slot)


def _record_state(record: RecoveryRecord) -> dict[str, Any]:
    return {
        "public_key": _text(record.key.public_key),
        "need": record.key.need,
        "of": record.key.of,
        "made_ms": record.key.made_ms,
        "sealed": _text(record.sealed),
        "mac": _text(record.mac),
    }


def _record(state: dict[str, Any]) -> RecoveryRecord:
    """Raises KeyError, TypeError, ValueError or SharesRefused for anything else than `_record_state` made."""
    numbers = [state[name] for name in ("need", "of", "made_ms")]
    if not all(type(number) is int for number in numbers):
        raise ValueError("expected integers")
    key = RecoveryKey(_octets(state["public_key"]), *numbers)
    key.check()
    return RecoveryRecord(key, _octets(state["sealed"]), _octets(state["mac"]))


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _octets(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _load(path: Path) -> _State:
    content = _read(path)
    try:
        record = _record(content["recovery"]) if content["format"] == RECOVERY_FORMAT else None
        return _State(
            Argon2Parameters(**content["argon2id"]),
            _octets(content["salt"]),
            _octets(content["check"]),
            {str(name): _octets(sealed) for name, sealed in content["slots"].items()},
            record,
        )
    except (KeyError, TypeError, ValueError, AttributeError, SharesRefused):
        raise KeyProviderFailure(f"{path.name} is damaged: restore the provider's own backup") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_mode & 0o077:
            raise KeyProviderFailure(f"others may read {path.name}: chmod 600 it, then change the passphrase")
        state = json.loads(path.read_bytes())
    except OSError as error:
        raise KeyProviderFailure(f"cannot read {path.name}: {error.strerror}") from error
    except ValueError:
        raise KeyProviderFailure(f"{path.name} is damaged: restore the provider's own backup") from None
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise KeyProviderFailure(f"{path.name} is no key provider file")
    if state["format"] not in (PLAIN_FORMAT, RECOVERY_FORMAT):
        raise FormatNewer(
            f"{path.name} has format {state['format']}, expected {RECOVERY_FORMAT} at most: use the newer Ribcage"
        )
    return state


def _replace(path: Path, content: bytes) -> None:
    """Write a new file durably in place of the old one, then overwrite the old file's bytes."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    old = os.open(path, os.O_WRONLY | os.O_CLOEXEC) if path.exists() else -1
    try:
        fresh.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if old >= 0:
            os.pwrite(old, bytes(os.fstat(old).st_size), 0)
            os.fsync(old)
    finally:
        if old >= 0:
            os.close(old)
