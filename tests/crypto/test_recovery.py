"""The recovery record: shares open the file as the passphrase does, and nobody puts in a key of their own."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hpke

from helpers import rfc9180
from ribcage.crypto import recovery
from ribcage.crypto.errors import (
    CryptoError,
    FormatNewer,
    KeyProviderFailure,
    RecoveryTampered,
    SharesRefused,
    WrongPassphrase,
)
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider, operator_key, provider_facts
from ribcage.crypto.recovery import RecoveryKey, new_pair
from ribcage.crypto.shares import join, split

CHEAP = Argon2Parameters(memory_kib=64, iterations=1, lanes=1)
PASSPHRASE, NEW = b"correct horse battery", b"another passphrase"
CONTEXT = b"here"


class Home:
    """One provider file with a slot, and what it wrapped."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.path = folder / "provider.json"
        self.provider = FileKeyProvider.create(self.path, PASSPHRASE, CHEAP)
        self.slot = self.provider.generate()
        self.wrapped = self.provider.wrap(self.slot, b"k" * 32, CONTEXT)

    def make(self, need: int = 2, of: int = 3) -> list[str]:
        private, public = new_pair()
        self.provider.set_recovery(PASSPHRASE, RecoveryKey(public, need, of, 1_700_000_000_000))
        return split(private, need, of)

    def opens(self, provider: FileKeyProvider) -> bool:
        return provider.unwrap(self.slot, self.wrapped, CONTEXT) == b"k" * 32

    def state(self) -> dict[str, Any]:
        return json.loads(self.path.read_bytes())

    def put(self, state: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(state))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_shares_open_what_the_passphrase_opens(home: Home) -> None:
    shares = home.make()
    back = FileKeyProvider.recover(home.path, join(shares[1:]))
    assert home.opens(back)
    assert home.opens(FileKeyProvider.open(home.path, PASSPHRASE))
    assert back.operator_key == home.provider.operator_key
    assert operator_key(PASSPHRASE, home.provider.challenge_salt) == home.provider.operator_key


def test_a_new_passphrase_by_shares_ends_the_old_one_and_keeps_the_shares(home: Home) -> None:
    shares = home.make()
    FileKeyProvider.recover(home.path, join(shares[:2])).change_passphrase(NEW)
    with pytest.raises(WrongPassphrase):
        FileKeyProvider.open(home.path, PASSPHRASE)
    again = FileKeyProvider.open(home.path, NEW)
    assert home.opens(again)
    again.change_passphrase(PASSPHRASE)
    assert home.opens(FileKeyProvider.recover(home.path, join(shares[1:])))


def test_new_slots_and_destroyed_ones_are_the_same_by_shares(home: Home) -> None:
    shares = home.make()
    slot = home.provider.generate()
    evidence = home.provider.destroy(home.slot)
    assert "shares of its day" in evidence.method
    back = FileKeyProvider.recover(home.path, join(shares[:2]))
    back.wrap(slot, b"", b"")
    with pytest.raises(KeyProviderFailure):
        home.opens(back)


def test_new_shares_make_the_old_ones_worthless(home: Home) -> None:
    old = home.make()
    old_file = home.path.read_bytes()
    new = home.make(3, 5)
    with pytest.raises(SharesRefused, match="replaced"):
        FileKeyProvider.recover(home.path, join(old[:2]))
    assert home.opens(FileKeyProvider.recover(home.path, join(new[2:])))
    # an old copy of the file with the old shares still opens what that copy wrapped: operations.md says so
    home.path.write_bytes(old_file)
    assert home.opens(FileKeyProvider.recover(home.path, join(old[:2])))


def test_forgotten_shares_open_nothing_and_the_file_is_of_format_1_again(home: Home) -> None:
    shares = home.make()
    assert home.state()["format"] == 2
    home.provider.set_recovery(PASSPHRASE, None)
    assert home.state()["format"] == 1
    assert set(home.state()) == {"format", "argon2id", "salt", "check", "slots"}
    with pytest.raises(SharesRefused, match="no recovery record"):
        FileKeyProvider.recover(home.path, join(shares[:2]))
    assert home.opens(FileKeyProvider.open(home.path, PASSPHRASE))


def test_shares_of_another_home_are_refused(home: Home, tmp_path: Path) -> None:
    home.make()
    theirs = Home(tmp_path / "other").make()
    before = home.path.read_bytes()
    with pytest.raises(SharesRefused, match="another home"):
        FileKeyProvider.recover(home.path, join(theirs[:2]))
    assert home.path.read_bytes() == before


@pytest.mark.parametrize("field", ["public_key", "need", "of", "made_ms", "sealed", "mac"])
def test_a_changed_record_is_told_and_nothing_is_sealed_to_it(home: Home, field: str) -> None:
    shares = home.make(2, 4)
    state = home.state()
    old = state["recovery"][field]
    state["recovery"][field] = "A" * 8 + old[8:] if isinstance(old, str) else 3
    home.put(state)
    opened = FileKeyProvider.open(home.path, PASSPHRASE)
    assert home.opens(opened)  # the passphrase opens, so that it can be mended
    with pytest.raises(RecoveryTampered):
        _ = opened.recovery
    before = home.path.read_bytes()
    with pytest.raises(RecoveryTampered):
        opened.change_passphrase(NEW)
    assert home.path.read_bytes() == before
    with pytest.raises(CryptoError):
        FileKeyProvider.recover(home.path, join(shares[:2]))
    opened.set_recovery(PASSPHRASE, None)
    assert FileKeyProvider.open(home.path, PASSPHRASE).recovery is None


def test_a_record_cut_out_is_noticed(home: Home) -> None:
    home.make()
    state = home.state()
    del state["recovery"]
    home.put(state)
    with pytest.raises(KeyProviderFailure, match="damaged"):
        FileKeyProvider.open(home.path, PASSPHRASE)
    home.put(state | {"format": 1})
    with pytest.raises(WrongPassphrase, match="or it was changed"):
        FileKeyProvider.open(home.path, PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": "!"},
        {"public_key": "AAAA"},
        {"need": 1},
        {"need": 9},
        {"of": 17},
        {"need": True},
        {"need": "2"},
        {"made_ms": -1},
        {"sealed": None},
        {"mac": []},
    ],
)
def test_a_damaged_record_is_named_damaged(home: Home, change: dict[str, Any]) -> None:
    home.make()
    state = home.state()
    home.put(state | {"recovery": state["recovery"] | change})
    with pytest.raises(KeyProviderFailure, match="damaged"):
        FileKeyProvider.open(home.path, PASSPHRASE)


def test_a_salt_of_another_file_does_not_open_with_the_shares(home: Home) -> None:
    shares = home.make()
    old = home.state()
    home.provider.change_passphrase(NEW)
    home.put(home.state() | {"recovery": old["recovery"]})
    with pytest.raises(SharesRefused, match="damaged"):
        FileKeyProvider.recover(home.path, join(shares[:2]))


def test_making_wants_todays_passphrase_and_possible_numbers(home: Home) -> None:
    before = home.path.read_bytes()
    _, public = new_pair()
    key = RecoveryKey(public, 2, 3, 0)
    with pytest.raises(WrongPassphrase):
        home.provider.set_recovery(NEW, key)
    for impossible in (
        RecoveryKey(public, 1, 3, 0),
        RecoveryKey(public, 2, 17, 0),
        RecoveryKey(public[:31], 2, 3, 0),
        RecoveryKey(bytes(32), 2, 3, 0),  # a point of low order
    ):
        with pytest.raises(SharesRefused):
            home.provider.set_recovery(PASSPHRASE, impossible)
    assert home.path.read_bytes() == before
    assert home.opens(home.provider)


def test_the_private_key_and_the_root_are_not_in_the_file(home: Home) -> None:
    private = join(home.make()[:2])
    text = home.path.read_bytes()
    assert private not in text
    assert recovery.hashlib.sha256(private).digest() not in text
    assert provider_facts(home.path).recovery == home.provider.recovery


def test_a_full_disk_changes_nothing_in_file_or_memory(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = home.make()
    before = home.path.read_bytes()

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("ribcage.crypto.provider._replace", full)
        with pytest.raises(KeyProviderFailure, match="No space"):
            home.provider.change_passphrase(NEW)
        with pytest.raises(KeyProviderFailure, match="No space"):
            home.provider.set_recovery(PASSPHRASE, None)
    assert home.path.read_bytes() == before
    home.provider.generate()  # writes what memory believes
    assert home.opens(FileKeyProvider.open(home.path, PASSPHRASE))
    assert home.opens(FileKeyProvider.recover(home.path, join(shares[:2])))


def test_slots_made_by_other_threads_meanwhile_are_kept(home: Home) -> None:
    made: list[str] = []
    thread = threading.Thread(target=lambda: made.extend(home.provider.generate() for _ in range(20)))
    thread.start()
    for _ in range(10):
        home.make()
        assert home.opens(home.provider)
    thread.join()
    again = FileKeyProvider.open(home.path, PASSPHRASE)
    for slot in made:
        again.wrap(slot, b"", b"")


# --- formats --------------------------------------------------------------------------------------------


def test_a_newer_format_is_refused_by_shares_too(home: Home) -> None:
    shares = home.make()
    home.put(home.state() | {"format": 3})
    for attempt in (
        lambda: FileKeyProvider.open(home.path, PASSPHRASE),
        lambda: FileKeyProvider.recover(home.path, join(shares[:2])),
        lambda: provider_facts(home.path),
    ):
        with pytest.raises(FormatNewer, match="newer Ribcage"):
            attempt()


VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "recovery.json").read_text())


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_frozen_files_open(tmp_path: Path, version: str) -> None:
    vector = VECTORS["2_provider"][version]
    path = tmp_path / "provider.json"
    path.touch(0o600)
    path.write_text(json.dumps(vector["file"]))
    opened = FileKeyProvider.open(path, vector["passphrase"].encode())
    context = bytes.fromhex(vector["context"])
    assert opened.unwrap(vector["slot"], bytes.fromhex(vector["wrapped"]), context).hex() == vector["key"]
    if version == "2":
        back = FileKeyProvider.recover(path, join(vector["shares"]))
        assert back.unwrap(vector["slot"], bytes.fromhex(vector["wrapped"]), context).hex() == vector["key"]
        assert back.recovery is not None
        assert back.recovery.fingerprint.hex() == vector["fingerprint"]


# --- HPKE -----------------------------------------------------------------------------------------------

# RFC 9180 A.1.1.1, sequence number 0 (AES-128-GCM; the RFC prints none with AES-256-GCM)
_SK_R = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
_PK_R = bytes.fromhex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d")
_SK_E = bytes.fromhex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
_ENC = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
_INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
_PLAIN = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
_SHARED = bytes.fromhex("fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc")
_SEALED = bytes.fromhex(
    "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
)


def test_the_second_implementation_gives_the_vector_of_the_rfc() -> None:
    sealed = rfc9180.seal(_PK_R, _INFO, _PLAIN, _SK_E, aead=1, aad=b"Count-0")
    assert sealed == _ENC + _SEALED
    assert rfc9180.open_(_SK_R, _INFO, sealed, aead=1, aad=b"Count-0") == _PLAIN
    key, nonce = rfc9180.key_schedule(_SHARED, _INFO, 1)
    assert (key.hex(), nonce.hex()) == ("4531685d41d65f03dc48f6b8302c05b0", "56d890e5accaaf011cff4b7d")


def test_both_implementations_open_what_the_other_sealed() -> None:
    private, public = new_pair()
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    key = recovery.X25519PublicKey.from_public_bytes(public)
    assert rfc9180.open_(private, _INFO, suite.encrypt(_PLAIN, key, _INFO)) == _PLAIN
    ours = rfc9180.seal(public, _INFO, _PLAIN, _SK_E)
    assert suite.decrypt(ours, recovery.X25519PrivateKey.from_private_bytes(private), _INFO) == _PLAIN
