"""A lawful restore: yesterday's data under today's rights, with a log that says so (docs/adr/0007).

Rules, in order:
1. The home is marked unfinished from the first byte on: nothing serves it. Every step may be repeated after a crash.
2. The key store decides what is newer: changes of rights that the database lacks are put back before the ledger is
   replayed; keys that were destroyed stay destroyed, and their studies leave database and disk.
3. A key store that may itself be older (a copy, or behind data or witness) knows not every revocation: then all
   standing grants are revoked, or nothing is restored.
4. Two persons of the restored home approve, after suspensions were put back.
5. Sessions end. The log goes on in a new epoch, under a new origin and key, and its first entry names what is lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ribcage.crypto.errors import KeyProviderFailure
from ribcage.database.engine import open_engine
from ribcage.database.migrate import migrate
from ribcage.database.schema import ledger_transaction
from ribcage.evidence.backup_manifest import Manifest
from ribcage.evidence.checkpoint import Checkpoint, verify_checkpoint, verify_cosignatures
from ribcage.evidence.errors import EvidenceError
from ribcage.evidence.fork import split_origin
from ribcage.guard import _keystore as files
from ribcage.guard.durable import make_folder, sync_folder, write_file
from ribcage.guard.home import RESTORING, SUPERSEDED, Unlock, open_provider
from ribcage.guard.keyring import Keyring
from ribcage.guard.log_epochs import LogEpochs, begin_epoch, load_epochs
from ribcage.guard.place import HomeError
from ribcage.guard.second_journal import SecondJournal
from ribcage.guard.witness_trust import load_trust

_KEY_STORE, _PROVIDER = "keystore.db", "provider.json"
_COPIED = "restoring.copied"


class RestoreRefused(HomeError):
    """The restore cannot go on like this; the message says what is needed."""


@dataclass(frozen=True)
class Plan:
    """What is restored, decided once and kept in the home's mark.

    Heads: the newest that anybody knows, the one that the fork statement names as old (the witness's, where there is
    one), and the restored one.
    """

    manifest: str
    log_epoch: int
    known: Checkpoint
    old: Checkpoint
    restored: Checkpoint
    replayed: int
    rights_lost: bool

    def save(self, home: Path) -> None:
        """Durably, in the home's mark."""
        facts = {
            "manifest": self.manifest,
            "log_epoch": self.log_epoch,
            "known": self.known.text(),
            "old": self.old.text(),
            "restored": self.restored.text(),
            "replayed": self.replayed,
            "rights_lost": self.rights_lost,
        }
        write_file(home / RESTORING, json.dumps(facts, indent=1).encode() + b"\n", 0o600)


def begin_home(home: Path, keys: Path, provider: Path) -> None:
    """Mark a new home as unfinished and bring the keys into it; again after a crash it changes nothing.

    `keys`: the file of a key store, live or a copy; `provider`: today's `provider.json`. Raises RestoreRefused.
    """
    if not (home / RESTORING).exists():
        if home.exists() and any(home.iterdir()):
            raise RestoreRefused(f"{home} is not empty: restore into a new folder, never over a home")
        make_folder(home)
        write_file(home / RESTORING, b"{}\n", 0o600)
    make_folder(home / "keys")
    target = home / "keys" / _KEY_STORE
    if not target.exists():
        if (keys.parent.parent / SUPERSEDED).exists():
            raise RestoreRefused("these keys went on in another home by a restore: give that home's keys")
        fresh = target.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        files.copy_file(keys, fresh)
        fresh.rename(target)
        sync_folder(target.parent)
    if not (home / "keys" / _PROVIDER).exists():
        try:
            write_file(home / "keys" / _PROVIDER, provider.read_bytes(), 0o600)
        except OSError as failure:
            raise RestoreRefused(f"{provider} cannot be read: {failure.strerror}") from failure


def open_keys(home: Path, passphrase: bytes | Unlock, hospital: bytes) -> Keyring:
    """The keyring of a home. Raises RestoreRefused where its provider lacks the epoch, WrongPassphrase."""
    provider = open_provider(home / "keys" / _PROVIDER, passphrase)
    try:
        return Keyring.open(home / "keys" / _KEY_STORE, provider, hospital)
    except KeyProviderFailure as failure:
        raise RestoreRefused(
            "the key provider has no slot for this key store: it is a copy from before the last destruction, and "
            "opens nothing any more; use the live key store or a copy made since"
        ) from failure


def make_plan(
    home: Path,
    keyring: Keyring,
    manifest: Manifest,
    digest: str,
    *,
    rights_lost: bool,
    witnessed: bytes | None = None,
    witness_gone: bool = False,
) -> Plan:
    """Decide what is known to be newer, and begin the log's new epoch; once. Raises RestoreRefused.

    `witnessed`: the newest checkpoint that the trusted witness cosigned; `witness_gone`: nobody can ask it.
    """
    held = _held_plan(home)
    if held is not None:
        if held.manifest != digest:
            raise RestoreRefused("this home is being restored from another backup: go on with that one")
        _begin(keyring, held, manifest)
        return held
    epochs, second = load_epochs(keyring, manifest.hospital), SecondJournal(home / "keys" / _KEY_STORE)
    try:
        restored = _head(manifest.checkpoint, epochs)
        kept = second.head()
        ours = _head(kept[1], epochs) if kept else None
        if witnessed is None and not witness_gone and load_trust(keyring) is not None:
            raise RestoreRefused(
                "this archive has a witness: bring what `ribcage witness show --origin O --note` prints as "
                "--witnessed FILE, or say --witness-gone; then nobody but you vouches for these keys"
            )
        seen = _witnessed(witnessed, keyring, epochs) if witnessed is not None else None
        doubts = list(_doubts(second, manifest, ours, seen))
        replayed = max(second.height - manifest.ledger_height, 0)
    finally:
        second.close()
    if doubts and not rights_lost:
        raise RestoreRefused(
            "rights changed since then may be unknown: " + "; ".join(doubts) + ". Use the live key store, or "
            "--rights-lost, which revokes every standing grant; objections of patients since then cannot be known"
        )
    heads = [each for each in (restored, ours, seen) if each is not None]
    known = max(heads, key=lambda head: (split_origin(head.origin)[1], head.size))
    number = max(split_origin(known.origin)[1], epochs.highest) + 1
    plan = Plan(digest, number, known, seen or known, restored, replayed, bool(doubts))
    plan.save(home)
    _begin(keyring, plan, manifest)
    return plan


def _begin(keyring: Keyring, plan: Plan, manifest: Manifest) -> None:
    begin_epoch(keyring, plan.log_epoch, plan.restored.size, manifest.log_epoch)


def _doubts(
    second: SecondJournal, manifest: Manifest, ours: Checkpoint | None, seen: Checkpoint | None
) -> list[str]:
    """Why this key store may not know every change (rule 3)."""
    found, size = list[str](), ours.size if ours else 0
    current = ours is not None and seen is not None and (seen.origin, seen.size) == (ours.origin, ours.size)
    if second.copied_at() is not None and not current:
        found.append("the key store is a copy, and nothing tells that no right changed after it")
    if second.height < manifest.ledger_height or size < manifest.log_size:
        found.append("the key store is older than the backup of the data")
    if seen is not None and (ours is None or _rank(seen) > _rank(ours)):
        found.append(f"the witness saw {seen.size} entries, the key store knows {size}")
    return found


def _rank(head: Checkpoint) -> tuple[int, int]:
    return split_origin(head.origin)[1], head.size


def _head(note: bytes, epochs: LogEpochs) -> Checkpoint:
    """A head signed by one of our keys. Raises RestoreRefused."""
    for key in epochs.verifier_keys:
        try:
            return verify_checkpoint(note, key)
        except EvidenceError:
            continue
    raise RestoreRefused("a checkpoint is not signed by this archive's log: it belongs to another one")


def _witnessed(note: bytes, keyring: Keyring, epochs: LogEpochs) -> Checkpoint:
    """The head that the witness remembers, with its cosignature where the key store knows a witness."""
    trust = load_trust(keyring)
    head = _head(note, epochs)
    if trust is not None:
        try:
            verify_cosignatures(note, [trust.key], 1)
        except EvidenceError as failure:
            raise RestoreRefused(f"the witness's checkpoint: {failure}") from failure
    return head


def _held_plan(home: Path) -> Plan | None:
    try:
        facts = json.loads((home / RESTORING).read_text())
        if not facts:
            return None
        return Plan(
            str(facts["manifest"]),
            int(facts["log_epoch"]),
            Checkpoint.parse(facts["known"]),
            Checkpoint.parse(facts["old"]),
            Checkpoint.parse(facts["restored"]),
            int(facts["replayed"]),
            bool(facts["rights_lost"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EvidenceError) as failure:
        raise RestoreRefused(f"{home}/{RESTORING} is damaged: begin again in a new folder") from failure


def files_are_back(home: Path) -> bool:
    """Whether every file was copied: then none is copied again, since the database goes on from there."""
    return (home / _COPIED).exists()


def note_files_back(home: Path) -> None:
    """All files are copied and checked."""
    write_file(home / _COPIED, b"", 0o600)


def put_back_rights(home: Path, keyring: Keyring) -> int:
    """Changes of rights that the key store knows and the database lacks; how many (rule 2).

    Raises RestoreRefused where the two tell different stories. The ledger's replay checks each afterwards.
    """
    engine = open_engine(home / "database" / "ribcage.db", keyring.service("database"))
    second = SecondJournal(home / "keys" / _KEY_STORE)
    try:
        migrate(engine)
        with engine.begin() as connection:
            query = sa.select(ledger_transaction).order_by(ledger_transaction.c.height)
            stored = [(int(r.height), int(r.block_time), bytes(r.raw)) for r in connection.execute(query)]
            kept = second.rows()
            common = min(len(stored), len(kept))
            if stored[:common] != kept[:common]:
                raise RestoreRefused(
                    "backup and key store have different ledgers: they are of different archives"
                )
            newer = [
                {"height": height, "block_time": moment, "raw": raw} for height, moment, raw in kept[common:]
            ]
            if newer:
                connection.execute(sa.insert(ledger_transaction), newer)
        return len(newer)
    finally:
        second.close()
        engine.dispose()


def finish_home(home: Path, old_home: Path | None) -> None:
    """The home may serve; the one whose keys it took may not any more. Durable in this order."""
    if old_home is not None and (old_home / "home.json").is_file():
        text = {"restored_to": str(home.resolve())}
        write_file(old_home / SUPERSEDED, json.dumps(text).encode() + b"\n", 0o600)
    (home / RESTORING).unlink()
    (home / _COPIED).unlink(missing_ok=True)
    sync_folder(home)
