"""The keyring: contexts bind, flush is durable, destroyed keys stay destroyed, crashes are finished."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ribcage.crypto.errors import (
    CryptoError,
    KeyDestroyed,
    KeyProviderFailure,
    KeyStoreFailure,
    KeyStoreNewer,
    KeyUnknown,
    WrapBroken,
)
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider, SlotDestroyed
from ribcage.guard.keyring import SERVICES, Keyring

CHEAP = Argon2Parameters(memory_kib=64, iterations=1, lanes=1)
HOSPITAL = b"h" * 16
PASSPHRASE = b"a passphrase"


class Home:
    """A provider and a key store in one folder, opened as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "keystore.db"
        self.provider = FileKeyProvider.create(folder / "provider.json", PASSPHRASE, CHEAP)
        self._open: list[Keyring] = [Keyring.create(self.store, self.provider, HOSPITAL)]

    @property
    def ring(self) -> Keyring:
        return self._open[-1]

    def reopen(self) -> Keyring:
        self.ring.close()
        self.provider = FileKeyProvider.open(self.folder / "provider.json", PASSPHRASE)
        self._open.append(Keyring.open(self.store, self.provider, HOSPITAL))
        return self.ring

    def edit(self, statement: str, *values: object) -> None:
        """What an attacker with the file can do."""
        self.ring.close()
        link = sqlite3.connect(self.store)
        with link:
            link.execute(statement, values)
        link.close()


@pytest.fixture
def home(tmp_path: Path):
    made = Home(tmp_path)
    yield made
    made.ring.close()


def test_services_blobs_and_keys_survive_reopening(home: Home) -> None:
    services = {name: home.ring.service(name) for name in SERVICES}
    assert len(set(services.values())) == len(SERVICES)
    study, key = home.ring.new_key("study", b"owner")
    home.ring.store_blob("tls.key", b"first")
    home.ring.store_blob("tls.key", b"second")
    assert home.ring.flush() == 1
    assert home.ring.flush() == 0
    ring = home.reopen()
    assert {name: ring.service(name) for name in SERVICES} == services
    assert ring.key(study, "study", b"owner") == key
    assert ring.load_blob("tls.key") == b"second"
    assert ring.epoch == 1
    assert stat.S_IMODE(home.store.stat().st_mode) == 0o600


def test_nothing_secret_lies_in_the_file(home: Home) -> None:
    study, key = home.ring.new_key("study", b"owner")
    home.ring.store_blob("tls.key", b"-----BEGIN PRIVATE KEY-----")
    home.ring.flush()
    secrets = [key, b"BEGIN PRIVATE", *(home.ring.service(name) for name in SERVICES)]
    home.ring.close()
    content = b"".join(path.read_bytes() for path in home.folder.iterdir())
    assert study in content
    assert not [secret for secret in secrets if secret in content]


@pytest.mark.parametrize(("kind", "owner"), [("study", b"other"), ("patient", b"owner"), ("parked", b"")])
def test_a_key_is_not_given_for_another_owner_or_kind(home: Home, kind: str, owner: bytes) -> None:
    study, _ = home.ring.new_key("study", b"owner")
    for _ in range(2):  # while buffered, then from the file
        with pytest.raises(KeyUnknown):
            home.ring.key(study, kind, owner)  # type: ignore[arg-type]
        home.ring.flush()
        home.reopen()


def test_a_wrap_moved_to_another_row_does_not_open(home: Home) -> None:
    mine, _ = home.ring.new_key("study", b"mine")
    yours, _ = home.ring.new_key("study", b"yours")
    home.ring.flush()
    home.edit(
        "UPDATE wrap SET wrapped = (SELECT wrapped FROM wrap WHERE key_id = ?) WHERE key_id = ?", yours, mine
    )
    with pytest.raises(WrapBroken):
        home.reopen().key(mine, "study", b"mine")


def test_an_owner_rewritten_in_the_file_does_not_open(home: Home) -> None:
    yours, _ = home.ring.new_key("study", b"yours")
    home.ring.flush()
    home.edit("UPDATE wrap SET context = ? WHERE key_id = ?", b"mine", yours)
    with pytest.raises(WrapBroken):
        home.reopen().key(yours, "study", b"mine")


def test_swapped_services_and_blobs_do_not_open(home: Home) -> None:
    home.ring.store_blob("a", b"1")
    home.edit("UPDATE blob SET name = 'b'")
    with pytest.raises(WrapBroken):
        home.reopen().load_blob("b")
    home.edit(
        "UPDATE service SET wrapped = (SELECT wrapped FROM service WHERE name = 'log') WHERE name = 'blind'"
    )
    with pytest.raises(WrapBroken):
        home.reopen()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM service WHERE name = 'rowmac'",
        "DELETE FROM meta",
        "UPDATE epoch SET state = 'destroyed'",
        "UPDATE meta SET value = zeroblob(16) WHERE name = 'hospital'",
        "DROP TABLE wrap",
    ],
)
def test_a_mutilated_key_store_refuses_and_replaces_nothing(home: Home, statement: str) -> None:
    study, _ = home.ring.new_key("study", b"o")
    home.ring.flush()
    home.edit(statement)
    with pytest.raises(KeyStoreFailure):
        home.reopen().key(study, "study", b"o")


def test_another_homes_provider_or_hospital_is_refused(home: Home, tmp_path: Path) -> None:
    other = FileKeyProvider.create(tmp_path / "other.json", PASSPHRASE, CHEAP)
    with pytest.raises(CryptoError):
        Keyring.open(home.store, other, HOSPITAL)
    with pytest.raises(KeyStoreFailure, match="another hospital"):
        Keyring.open(home.store, home.provider, b"H" * 16)
    with pytest.raises(KeyStoreFailure, match="missing"):
        Keyring.open(tmp_path / "none.db", home.provider, HOSPITAL)
    with pytest.raises(KeyStoreFailure):
        Keyring.create(home.store, home.provider, HOSPITAL)


def test_a_newer_format_says_so(home: Home) -> None:
    home.edit("PRAGMA user_version = 3")
    with pytest.raises(KeyStoreNewer, match="newer"):
        home.reopen()


def test_flushed_keys_survive_kill_9_and_unflushed_ones_do_not(home: Home) -> None:
    home.ring.close()
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from ribcage.crypto.provider import FileKeyProvider\n"
        "from ribcage.guard.keyring import Keyring\n"
        "folder = Path(sys.argv[1])\n"
        "provider = FileKeyProvider.open(folder / 'provider.json', b'a passphrase')\n"
        "ring = Keyring.open(folder / 'keystore.db', provider, b'h' * 16)\n"
        "kept = ring.new_key('study', b'o'); ring.flush()\n"
        "lost = ring.new_key('study', b'o')\n"
        "print(kept[0].hex(), kept[1].hex(), lost[0].hex(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(home.folder)], capture_output=True, text=True, check=False
    )
    kept, key, lost = (bytes.fromhex(word) for word in done.stdout.split())
    ring = home.reopen()
    assert ring.key(kept, "study", b"o") == key
    with pytest.raises(KeyUnknown):
        ring.key(lost, "study", b"o")


def test_discarded_keys_are_never_written(home: Home) -> None:
    study, _ = home.ring.new_key("study", b"o")
    home.ring.discard([study])
    assert home.ring.flush() == 0
    with pytest.raises(KeyUnknown):
        home.ring.key(study, "study", b"o")


def test_a_full_disk_keeps_new_keys_buffered_for_the_next_flush(home: Home) -> None:
    study, key = home.ring.new_key("study", b"o")
    home.ring._write.execute("PRAGMA query_only = ON")
    with pytest.raises(KeyStoreFailure):
        home.ring.flush()
    home.ring._write.execute("PRAGMA query_only = OFF")
    assert home.ring.flush() == 1
    assert home.reopen().key(study, "study", b"o") == key


def test_destroyed_keys_do_not_open_here_or_from_an_older_copy_of_the_key_store(
    home: Home, tmp_path: Path
) -> None:
    gone, _ = home.ring.new_key("study", b"gone")
    kept, key = home.ring.new_key("study", b"kept")
    home.ring.flush()
    home.ring.close()
    backup = tmp_path / "backup.db"
    shutil.copy(home.store, backup)
    ring = home.reopen()
    unflushed, fresh = ring.new_key("patient", b"p")
    done = ring.new_epoch_and_destroy_old(lambda key_id, kind, owner: owner != b"gone")
    assert (done.epoch, done.new_epoch, done.survivors, done.removed) == (1, 2, 2, 1)
    for again in (False, True):
        ring = home.reopen() if again else ring
        assert ring.epoch == 2
        assert ring.key(kept, "study", b"kept") == key
        assert ring.key(unflushed, "patient", b"p") == fresh
        with pytest.raises(KeyDestroyed):
            ring.key(gone, "study", b"gone")
    with pytest.raises(KeyProviderFailure):
        Keyring.open(backup, home.provider, HOSPITAL)


def test_a_cached_key_is_not_served_after_its_destruction(home: Home) -> None:
    gone, _ = home.ring.new_key("study", b"gone")
    home.ring.flush()
    home.ring.key(gone, "study", b"gone")
    home.ring.new_epoch_and_destroy_old(lambda key_id, kind, owner: False)
    with pytest.raises(KeyDestroyed):
        home.ring.key(gone, "study", b"gone")


def test_a_destroyed_wrap_leaves_no_bytes_in_the_file(home: Home) -> None:
    gone, _ = home.ring.new_key("study", b"gone")
    home.ring.flush()
    wrapped = home.ring._read.execute("SELECT wrapped FROM wrap WHERE key_id = ?", (gone,)).fetchone()[0]
    home.ring.new_epoch_and_destroy_old(lambda key_id, kind, owner: False)
    content = b"".join(path.read_bytes() for path in home.folder.iterdir())
    assert wrapped not in content
    assert wrapped[20:40] not in content


class Crash(Exception):
    """The power goes."""


class CrashingProvider:
    """The file provider, losing power at the moment of destruction."""

    def __init__(self, inner: FileKeyProvider) -> None:
        self.generate, self.wrap, self.unwrap = inner.generate, inner.wrap, inner.unwrap
        self.rewrap, self.name = inner.rewrap, inner.name

    def destroy(self, slot: str) -> SlotDestroyed:
        raise Crash


def test_a_crash_before_the_provider_destroyed_the_slot_is_finished_by_open(
    home: Home, tmp_path: Path
) -> None:
    kept, key = home.ring.new_key("study", b"kept")
    home.ring.flush()
    home.ring.close()
    backup = tmp_path / "backup.db"
    shutil.copy(home.store, backup)
    crashing = Keyring.open(home.store, CrashingProvider(home.provider), HOSPITAL)  # type: ignore[arg-type]
    with pytest.raises(Crash):
        crashing.new_epoch_and_destroy_old(lambda key_id, kind, owner: True)
    crashing.close()
    assert home.reopen().key(kept, "study", b"kept") == key
    with pytest.raises(KeyProviderFailure):
        Keyring.open(backup, home.provider, HOSPITAL)


def test_a_crash_while_moving_survivors_changes_nothing(home: Home) -> None:
    kept, key = home.ring.new_key("study", b"kept")

    def keep(key_id: bytes, kind: str, owner: bytes) -> bool:
        raise Crash

    with pytest.raises(Crash):
        home.ring.new_epoch_and_destroy_old(keep)
    assert home.ring.epoch == 1
    late, late_key = home.ring.new_key("study", b"late")
    home.ring.flush()
    ring = home.reopen()
    assert (ring.key(kept, "study", b"kept"), ring.key(late, "study", b"late")) == (key, late_key)


def test_rebinding_moves_the_owner_and_can_be_repeated_after_a_crash(home: Home) -> None:
    study, key = home.ring.new_key("parked", b"?")
    for _ in range(2):
        home.ring.rebind(study, "parked", b"?", "study", b"owner")
        with pytest.raises(KeyUnknown):
            home.ring.key(study, "parked", b"?")
        assert home.ring.key(study, "study", b"owner") == key
        home.reopen()
    with pytest.raises(KeyUnknown):
        home.ring.rebind(study, "parked", b"other", "study", b"thief")


def test_the_cache_is_bounded_and_evicted_keys_are_read_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ribcage.guard.keyring._CACHED_KEYS", 10)
    made = [home.ring.new_key("study", b"o") for _ in range(50)]
    home.ring.flush()
    for key_id, key in made * 2:
        assert home.ring.key(key_id, "study", b"o") == key
    assert len(home.ring._cache) <= 10


def test_two_threads_make_flush_and_read_keys_while_an_epoch_ends(home: Home) -> None:
    made: dict[bytes, bytes] = {}
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            for _ in range(300):
                key_id, key = home.ring.new_key("study", b"o")
                made[key_id] = key
                assert home.ring.key(key_id, "study", b"o") == key
        except BaseException as error:
            failures.append(error)

    def committer() -> None:
        try:
            for round_ in range(15):
                home.ring.flush()
                if round_ % 5 == 0:
                    home.ring.new_epoch_and_destroy_old(lambda key_id, kind, owner: True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=loop), threading.Thread(target=committer)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    home.ring.flush()
    ring = home.reopen()
    assert ring.epoch == 4
    assert all(ring.key(key_id, "study", b"o") == key for key_id, key in made.items())


def test_an_unknown_service_or_file_is_named(home: Home) -> None:
    with pytest.raises(KeyUnknown, match="rowmac"):
        home.ring.service("row-mac")
    with pytest.raises(KeyUnknown, match=r"ca\.key"):
        home.ring.load_blob("ca.key")
