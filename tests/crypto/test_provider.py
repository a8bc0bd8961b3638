"""The file provider: the passphrase opens it, nothing else does, and what is destroyed stays destroyed."""

from __future__ import annotations

import json
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ribcage.crypto.errors import FormatNewer, KeyProviderFailure, WrapBroken, WrongPassphrase
from ribcage.crypto.memory import SecretFile
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider, operator_key

CHEAP = Argon2Parameters(memory_kib=64, iterations=1, lanes=1)
PASSPHRASE = b"correct horse battery"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "provider.json"


@pytest.fixture
def provider(path: Path) -> FileKeyProvider:
    return FileKeyProvider.create(path, PASSPHRASE, CHEAP)


def test_slots_survive_reopening_and_the_file_is_private(provider: FileKeyProvider, path: Path) -> None:
    slot = provider.generate()
    wrapped = provider.wrap(slot, b"k" * 32, b"here")
    again = FileKeyProvider.open(path, PASSPHRASE)
    assert again.unwrap(slot, wrapped, b"here") == b"k" * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(WrapBroken):
        again.unwrap(slot, wrapped, b"there")
    with pytest.raises(WrapBroken):
        again.unwrap(again.generate(), wrapped, b"here")


def test_a_wrong_passphrase_is_refused(provider: FileKeyProvider, path: Path) -> None:
    with pytest.raises(WrongPassphrase):
        FileKeyProvider.open(path, b"Correct horse battery")


def test_weakened_parameters_do_not_open(provider: FileKeyProvider, path: Path) -> None:
    state = json.loads(path.read_bytes())
    state["argon2id"]["iterations"] = 2
    path.write_text(json.dumps(state))
    with pytest.raises(WrongPassphrase):
        FileKeyProvider.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        {"argon2id": {"memory_kib": 1 << 40, "iterations": 1, "lanes": 1}},
        {"argon2id": {"memory_kib": "64", "iterations": 1, "lanes": 1}},
        {"argon2id": []},
        {"salt": "!"},
        {"slots": []},
        {"check": None},
        {"format": "1"},
    ],
)
def test_a_damaged_file_is_named_damaged(provider: FileKeyProvider, path: Path, change: dict) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(KeyProviderFailure) as caught:
        FileKeyProvider.open(path, PASSPHRASE)
    assert not isinstance(caught.value, WrongPassphrase)


def test_a_newer_format_says_so(provider: FileKeyProvider, path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 3}))
    with pytest.raises(FormatNewer):
        FileKeyProvider.open(path, PASSPHRASE)


def test_a_file_that_others_may_read_is_refused(provider: FileKeyProvider, path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(KeyProviderFailure, match="chmod 600"):
        FileKeyProvider.open(path, PASSPHRASE)


def test_short_passphrases_and_second_creations_are_refused(provider: FileKeyProvider, path: Path) -> None:
    with pytest.raises(KeyProviderFailure, match="exists"):
        FileKeyProvider.create(path, PASSPHRASE, CHEAP)
    with pytest.raises(KeyProviderFailure, match="fewer"):
        FileKeyProvider.create(path.with_name("other.json"), b"short", CHEAP)


def test_a_destroyed_slot_opens_nothing_and_its_old_bytes_are_overwritten(
    provider: FileKeyProvider, path: Path
) -> None:
    slot, kept = provider.generate(), provider.generate()
    wrapped, other = provider.wrap(slot, b"k" * 32, b""), provider.wrap(kept, b"o" * 32, b"")
    with path.open("rb") as old:
        before = old.read()
        evidence = provider.destroy(slot)
        old.seek(0)
        assert old.read() == bytes(len(before))
    assert (evidence.provider, evidence.slot) == ("file", slot)
    assert provider.destroy(slot) == evidence
    reopened = FileKeyProvider.open(path, PASSPHRASE)
    for each in (provider, reopened):
        assert each.unwrap(kept, other, b"") == b"o" * 32
        with pytest.raises(KeyProviderFailure):
            each.unwrap(slot, wrapped, b"")
    assert slot.encode() not in path.read_bytes()


def test_rewrapping_keeps_key_and_context(provider: FileKeyProvider) -> None:
    old, new = provider.generate(), provider.generate()
    moved = provider.rewrap(old, new, provider.wrap(old, b"k" * 32, b"c"), b"c")
    assert provider.unwrap(new, moved, b"c") == b"k" * 32


def test_a_changed_passphrase_replaces_the_old_one(provider: FileKeyProvider, path: Path) -> None:
    slot = provider.generate()
    wrapped = provider.wrap(slot, b"k" * 32, b"")
    provider.change_passphrase(b"another passphrase")
    with pytest.raises(WrongPassphrase):
        FileKeyProvider.open(path, PASSPHRASE)
    assert FileKeyProvider.open(path, b"another passphrase").unwrap(slot, wrapped, b"") == b"k" * 32


def test_the_operator_proves_the_passphrase_with_the_guards_salt(provider: FileKeyProvider) -> None:
    assert operator_key(PASSPHRASE, provider.challenge_salt) == provider.operator_key
    assert operator_key(b"something else", provider.challenge_salt) != provider.operator_key
    for asked in (b"", b"\xff" * 28, provider.challenge_salt + b"x"):
        with pytest.raises(KeyProviderFailure):
            operator_key(PASSPHRASE, asked)


def test_the_passphrase_is_not_in_the_file(provider: FileKeyProvider, path: Path) -> None:
    provider.generate()
    assert PASSPHRASE not in path.read_bytes()
    assert {each.name for each in path.parent.iterdir()} == {path.name}


def test_a_secret_file_is_readable_by_path_immutable_and_gone_after() -> None:
    with SecretFile(b"-----BEGIN") as secret:
        path = Path(secret.path)
        assert path.read_bytes() == b"-----BEGIN"
        with pytest.raises(OSError, match="Operation not permitted"):
            os.write(secret.fd, b"x")
        with pytest.raises(ssl.SSLError):
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(secret.path)
    with pytest.raises(ValueError, match="closed"):
        _ = secret.path


def test_core_dumps_are_off_and_the_process_still_reads_its_secret_files() -> None:
    program = (
        "import resource\n"
        "from pathlib import Path\n"
        "from ribcage.crypto.memory import *\n"
        "forbid_core_dumps()\n"
        "lock_memory()\n"
        "with SecretFile(b'x') as f: print(Path(f.path).read_text(), end=' ')\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), Path('/proc/self/status').exists())\n"
        "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "x (0, 0) True\n0\n"
