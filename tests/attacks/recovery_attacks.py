"""Attacks on the way back by shares, by whoever may write `HOME/keys` but does not know the passphrase.

Each plays against a fresh home and tells whether it succeeded: at the end its own shares open the keys.
"""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from helpers.guard_house import PASSPHRASE, new_home, running
from ribcage.crypto.errors import CryptoError
from ribcage.crypto.provider import FileKeyProvider
from ribcage.crypto.recovery import new_pair
from ribcage.crypto.shares import join, split
from ribcage.guard import protocol as p
from ribcage.guard.keyring import Keyring
from ribcage.guard.limits import GuardLimits
from ribcage.guard.place import read_facts
from ribcage.guard.recovery import passphrase_changed, renew_passphrase

_NEW = b"a passphrase that nobody was told"


def _make(home: Path) -> list[str]:
    """The operator makes shares, 2 of 3."""

    async def run() -> list[str]:
        private, public = new_pair()
        async with running(home) as house:
            await house.admin.call(p.MakeRecovery(public, 2, 3, PASSPHRASE), p.RecoveryState)
        return split(private, 2, 3)

    return asyncio.run(run())


def _put_record(home: Path, **values: Any) -> None:
    """The intruder edits the recovery record."""
    path = home / "keys" / "provider.json"
    state = json.loads(path.read_text())
    state["recovery"] |= values
    path.write_text(json.dumps(state))


def _change_passphrase(home: Path) -> None:
    """The operator changes the passphrase; a refusal is noticed and changes nothing."""

    async def run() -> None:
        await renew_passphrase(
            home,
            lambda path: FileKeyProvider.open(path, PASSPHRASE),
            _NEW,
            GuardLimits(),
            passphrase_changed("operator"),
        )

    asyncio.run(run())


def _opens(home: Path, private: bytes) -> bool:
    try:
        provider = FileKeyProvider.recover(home / "keys" / "provider.json", private)
        Keyring.open(home / "keys" / "keystore.db", provider, read_facts(home).hospital).close()
    except CryptoError:
        return False
    return True


def swapped_recovery_key(folder: Path) -> bool:
    """The intruder puts in a public key of their own and waits for the next passphrase."""
    home = new_home(folder)
    _make(home)
    private, public = new_pair()
    _put_record(home, public_key=base64.b64encode(public).decode())
    try:
        _change_passphrase(home)
    except CryptoError:
        return False
    return _opens(home, private)


def former_holders(folder: Path) -> bool:
    """Keepers whose shares were replaced put back the record of an old copy and wait for the next passphrase."""
    home = new_home(folder)
    old = _make(home)
    record = json.loads((home / "keys" / "provider.json").read_text())["recovery"]
    _make(home)
    _put_record(home, **record)
    try:
        _change_passphrase(home)
    except CryptoError:
        return False
    return _opens(home, join(old[:2]))
