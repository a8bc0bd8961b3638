"""Where the passphrase comes from: a descriptor, a systemd credential, a prompt. Never a file in the home.

The environment is read for homes marked demo only, which listen on loopback alone (DESIGN, "Sealing").
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from ribcage.cli.errors import UsageError

ENVIRONMENT = "RIBCAGE_DEMO_PASSPHRASE"
_CREDENTIAL = "ribcage-passphrase"
_MAX_BYTES = 4096


def read_passphrase(descriptor: int | None, *, demo: bool = False, confirm: bool = False) -> bytes:
    """The passphrase. `confirm` asks twice. Raises UsageError when there is no way to ask."""
    if descriptor is not None:
        return _from_descriptor(descriptor)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / _CREDENTIAL).exists():
        return (Path(folder) / _CREDENTIAL).read_bytes().rstrip(b"\n")
    if demo and ENVIRONMENT in os.environ:
        return os.environ[ENVIRONMENT].encode()
    if not sys.stdin.isatty():
        raise UsageError("no passphrase: there is no terminal to ask on", "use --passphrase-fd N")
    passphrase = getpass.getpass("Passphrase of this home: ")
    if confirm and getpass.getpass("Again: ") != passphrase:
        raise UsageError("the two passphrases differ", "run the command again")
    return passphrase.encode()


def read_new_passphrase(descriptor: int | None) -> bytes:
    """A new passphrase, from a descriptor or asked twice. Raises UsageError."""
    if descriptor is not None:
        return _from_descriptor(descriptor)
    if not sys.stdin.isatty():
        raise UsageError("no new passphrase: there is no terminal to ask on", "use --new-passphrase-fd N")
    passphrase = getpass.getpass("New passphrase 新口令: ")
    if getpass.getpass("Again 再输一次: ") != passphrase:
        raise UsageError("the two passphrases differ", "nothing was changed; run the command again")
    return passphrase.encode()


def _from_descriptor(descriptor: int) -> bytes:
    try:
        with os.fdopen(os.dup(descriptor), "rb") as source:
            return source.read(_MAX_BYTES).rstrip(b"\n")
    except OSError as failure:
        raise UsageError(
            f"descriptor {descriptor} cannot be read", "open it in the calling shell"
        ) from failure
