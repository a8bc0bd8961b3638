"""The home on disk, as far as the guard owns it: create it, open it, refuse what is newer.

HOME/home.json            format version, hospital id and name
HOME/keys/                key store: provider.json, keystore.db (never in a backup of the data)
HOME/database/ribcage.db  everything else the guard writes
HOME/objects/             sealed files, written by fronts
HOME/run/                 sockets and the lock: one guard for one home
ROOT/                     the certificate authority's root key, sealed apart: take it offline
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from ribcage.crypto import authority
from ribcage.crypto.blind import BlindIndex
from ribcage.crypto.derive import derive
from ribcage.crypto.errors import CryptoError, KeyStoreFailure, KeyUnknown, RecoveryTampered, RowTampered
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider
from ribcage.database.engine import open_engine
from ribcage.database.migrate import migrate
from ribcage.database.schema import FORMAT_VERSION, checkpoint, ledger_transaction, log_leaf, meta
from ribcage.evidence.errors import EvidenceError
from ribcage.guard.clock import ClockWatch, boot_seconds
from ribcage.guard.closed import ClosedStudies
from ribcage.guard.committer import Committer
from ribcage.guard.core import Core, JournalCheck
from ribcage.guard.devices import Devices
from ribcage.guard.disk import DiskWatch
from ribcage.guard.durable import make_folder, write_file
from ribcage.guard.emergency import EmergencyJournal
from ribcage.guard.emergency_records import read_mark
from ribcage.guard.equipment import Equipment
from ribcage.guard.filing import finish_all
from ribcage.guard.identities import Identities
from ribcage.guard.identity_changes import settle_all
from ribcage.guard.keyring import Keyring
from ribcage.guard.limits import GuardLimits
from ribcage.guard.log import AuditLog
from ribcage.guard.log_epochs import load_epochs
from ribcage.guard.people import People
from ribcage.guard.permits import Permits
from ribcage.guard.place import HOME_FORMAT, HomeError, HomeFacts, read_facts
from ribcage.guard.protocol import TlsIdentity
from ribcage.guard.rejections import any_rejected
from ribcage.guard.rows import MacRows
from ribcage.guard.second_journal import SecondJournal, older_than_key_store
from ribcage.guard.witness_trust import load_trust, log_knows_a_witness
from ribcage.guard.witness_watch import WitnessWatch
from ribcage.ledger import calls
from ribcage.ledger.embedded import EmbeddedLedger, verify_journal
from ribcage.ledger.transactions import transaction_hash

RESTORING = "restoring.json"  # a restore into this home is not finished
SUPERSEDED = "superseded.json"  # a restore went on elsewhere with these keys
AUTHORITY_BLOB = "authority-chain"
_AUTHORITY_KEY_BLOB = "authority-key"
TLS_CHAIN_BLOB = "tls-chain"
TLS_KEY_BLOB = "tls-key"
_EMERGENCY_BLOB = "emergency-journal"
_ROOT_KEY_BLOB = "root-key"
_RECORDED = re.compile(rb'"recorded":"([0-9TZ:.-]{20,24})"')
_TRANSACTION = re.compile(rb'"type":"transaction","valueString":"([0-9a-f]{64})"')
Unlock = Callable[[Path], FileKeyProvider]
_FOLDERS = ("keys", "database", "objects", "run")


@dataclass(frozen=True)
class HomePlan:
    """What `ribcage init` decides. `cost` None takes the default of the passphrase's Argon2id."""

    hospital_name: str
    hostnames: Sequence[str] = ()
    addresses: Sequence[str] = ("127.0.0.1", "::1")
    cost: Argon2Parameters | None = None


def create_home(home: Path, root: Path, passphrase: bytes, plan: HomePlan) -> None:
    """Make a new home and its offline root, durably. Raises HomeError when either exists with content."""
    for folder in (home, root):
        if folder.exists() and any(each.name != "settings.toml" for each in folder.iterdir()):
            raise HomeError(f"{folder} is not empty: choose another folder")
        make_folder(folder)
    for name in _FOLDERS:
        make_folder(home / name)
    hospital = os.urandom(16)
    _write_facts(home, HomeFacts(hospital, plan.hospital_name))
    provider = FileKeyProvider.create(home / "keys" / "provider.json", passphrase, plan.cost)
    keyring = Keyring.create(home / "keys" / "keystore.db", provider, hospital)
    try:
        _make_authority(keyring, root, passphrase, hospital, plan)
        engine = open_engine(home / "database" / "ribcage.db", keyring.service("database"))
        migrate(engine)
        rows = [
            {"name": "format", "value": str(FORMAT_VERSION)},
            {"name": "hospital", "value": hospital.hex()},
        ]
        with engine.begin() as connection:
            connection.execute(sa.insert(meta), rows)
        _first_block(engine, keyring, hospital)
        engine.dispose()
    finally:
        keyring.close()


def _make_authority(keyring: Keyring, root: Path, passphrase: bytes, hospital: bytes, plan: HomePlan) -> None:
    now = datetime.now(UTC)
    top = authority.make_root(plan.hospital_name, now=now)
    provider = FileKeyProvider.create(root / "provider.json", passphrase, plan.cost)
    apart = Keyring.create(root / "keystore.db", provider, hospital)
    apart.store_blob(_ROOT_KEY_BLOB, top.private_key_pem)
    apart.close()
    write_file(root / "root.pem", top.certificate_pem)
    issuer = authority.make_intermediate(
        top, plan.hospital_name, now=now, dns_names=("localhost", *plan.hostnames)
    )
    chain = issuer.certificate_pem + top.certificate_pem
    keyring.store_blob(AUTHORITY_BLOB, chain)
    keyring.store_blob(_AUTHORITY_KEY_BLOB, issuer.private_key_pem)
    leaf = authority.issue_server(issuer, now=now, hostnames=plan.hostnames, addresses=plan.addresses)
    keyring.store_blob(TLS_CHAIN_BLOB, leaf.certificate_pem + issuer.certificate_pem)
    keyring.store_blob(TLS_KEY_BLOB, leaf.private_key_pem)


def _first_block(engine: sa.Engine, keyring: Keyring, hospital: bytes) -> None:
    """Genesis: the contract exists from the first moment."""
    ledger = _ledger(keyring, hospital)
    prepared = ledger.prepare(calls.genesis(_institution(hospital)), time.time())
    row = {"height": prepared.height, "block_time": prepared.block_time, "raw": prepared.raw}
    with engine.begin() as connection:
        connection.execute(sa.insert(ledger_transaction), row)
    ledger.apply(prepared)


def open_core(
    home: Path,
    passphrase: bytes | Unlock,
    limits: GuardLimits,
    clock: Callable[[], float] = time.time,
    *,
    boot: Callable[[], float] = boot_seconds,
    restoring: bool = False,
) -> tuple[Core, FileKeyProvider]:
    """Open the home for one guard. Raises HomeError, WrongPassphrase, DatabaseError, LedgerError.

    `clock` in Unix seconds, `boot` in seconds since boot: they are held against each other (`guard.clock`).
    `passphrase`, or what else opens the provider's file (recovery shares).
    `restoring`: for the restore itself, whose database is older than its key store by intention.
    """
    facts = read_facts(home)
    _check_marks(home, restoring)
    with contextlib.ExitStack() as undo:
        lock = lock_home(home)
        undo.callback(os.close, lock)
        provider = open_provider(home / "keys" / "provider.json", passphrase)
        keyring = Keyring.open(home / "keys" / "keystore.db", provider, facts.hospital)
        undo.callback(keyring.close)
        second = SecondJournal(home / "keys" / "keystore.db")
        undo.callback(second.close)
        engine = open_engine(home / "database" / "ribcage.db", keyring.service("database"))
        undo.callback(engine.dispose)
        migrate(engine)
        core = _core(home, facts, keyring, second, engine, limits, (clock, boot), lock, restoring)
        settle_all(core)
        with engine.connect() as connection:
            core.any_rejected = any_rejected(connection)
        if not restoring:
            finish_all(core)
        core.findings.extend(_changed_recovery(provider))
        undo.pop_all()
    return core, provider


def open_provider(path: Path, passphrase: bytes | Unlock) -> FileKeyProvider:
    """By the passphrase, or by what else opens it. Raises CryptoError."""
    return passphrase(path) if callable(passphrase) else FileKeyProvider.open(path, passphrase)


def _changed_recovery(provider: FileKeyProvider) -> list[str]:
    try:
        _ = provider.recovery
    except RecoveryTampered as changed:
        return [str(changed)]
    return []


def _core(
    home: Path,
    facts: HomeFacts,
    keyring: Keyring,
    second: SecondJournal,
    engine: sa.Engine,
    limits: GuardLimits,
    clocks: tuple[Callable[[], float], Callable[[], float]],
    lock: int,
    restoring: bool,
) -> Core:
    rows = MacRows(keyring.service("rowmac"))
    log = AuditLog(engine, keyring.service("log"), load_epochs(keyring, facts.hospital))
    ledger = _ledger(keyring, facts.hospital)
    with engine.connect() as connection:
        query = sa.select(ledger_transaction).order_by(ledger_transaction.c.height)
        ledger.replay((int(r.height), int(r.block_time), bytes(r.raw)) for r in connection.execute(query))
    other = older_ledger(engine, second) if restoring else older_database(engine, log, second)
    behind = ledger_behind_log(engine, log) + other
    witness = WitnessWatch(
        load_trust(keyring),
        log_knows=log_knows_a_witness(engine, log),
        silent_seconds=limits.witness_silent_seconds,
    )
    disk = DiskWatch(home, limits.disk_stop_mib << 20, limits.disk_reserve_mib << 20)
    return Core(
        limits=limits,
        clock=clocks[0],
        hospital=facts.hospital,
        hospital_name=facts.hospital_name,
        keyring=keyring,
        engine=engine,
        rows=rows,
        log=log,
        committer=Committer(engine, log, keyring.flush, disk.give_up_reserve, disk.committed),
        people=People(engine, rows, keyring.service("session"), limits),
        devices=Devices(engine, rows),
        equipment=Equipment(engine, rows),
        closed=ClosedStudies(engine, rows),
        identities=Identities(engine, rows),
        ledger=ledger,
        check_journal=_journal_check(ledger, facts.hospital),
        blind=BlindIndex(keyring.service("blind")),
        objects_root=str(home / "objects"),
        started_at=clocks[0](),
        witness=witness,
        clock_watch=ClockWatch(*clocks, newest_entry(engine, log)),
        disk=disk,
        lock=lock,
        second=second,
        emergency=open_emergency(home, keyring, facts.hospital, engine, rows, restoring=restoring),
        permits=Permits(engine, rows, ledger.break_glass_count),
        ledger_behind=bool(behind),
        findings=behind,
    )


def open_emergency(
    home: Path, keyring: Keyring, hospital: bytes, engine: sa.Engine, rows: MacRows, *, restoring: bool
) -> EmergencyJournal:
    """The emergency journal. The key store knows that there is one: it cannot be taken away unnoticed."""
    try:
        keyring.load_blob(_EMERGENCY_BLOB)
        expected = not restoring
    except KeyUnknown:
        expected = False
    try:
        with engine.connect() as connection:
            submitted: int | None = read_mark(connection, rows)
    except RowTampered:
        submitted = None
    key = derive(keyring.service("log"), "emergency-journal")
    journal = EmergencyJournal(home / "database", key, hospital, submitted, expected=expected)
    if not expected:
        with contextlib.suppress(KeyStoreFailure):  # no room: at the next start
            keyring.store_blob(_EMERGENCY_BLOB, b"\x01")
    return journal


def newest_entry(engine: sa.Engine, log: AuditLog) -> float:
    """When the log's newest readable entry was recorded, in Unix seconds; 0 where there is none."""
    with engine.connect() as connection:
        query = sa.select(log_leaf.c.number, log_leaf.c.sealed).order_by(log_leaf.c.number.desc()).limit(1)
        row = connection.execute(query).first()
    try:
        recorded = _RECORDED.search(log.open(int(row.number), bytes(row.sealed))[1]) if row else None
    except CryptoError:
        return 0.0
    return datetime.fromisoformat(recorded[1].decode()).timestamp() if recorded else 0.0


def ledger_behind_log(engine: sa.Engine, log: AuditLog) -> list[str]:
    """Findings, empty when the journal holds the newest change of rights that the log knows of.

    A row missing inside the journal stops the replay; a row cut from its end would bring a revoked grant back to
    life. The log is read backwards to the newest entry that names a transaction; one on the way that is missing or
    does not open may have been it: closed by default (DESIGN rule 5). Rows cut from ledger, log and checkpoints alike
    are a rollback, which only a witness notices.
    """
    with engine.connect() as connection:
        rows = connection.execute(sa.select(ledger_transaction.c.raw))
        held = {transaction_hash(bytes(row.raw)).hex().encode() for row in rows}
        signed = connection.execute(sa.select(sa.func.max(checkpoint.c.size))).scalar() or 0
        entries = sa.select(log_leaf.c.number, log_leaf.c.sealed).order_by(log_leaf.c.number.desc())
        expected = -1
        for row in connection.execute(entries):
            number = int(row.number)
            if expected < 0 and number + 1 < signed:
                return [f"the log ends at entry {number}, a checkpoint knows {signed}: no image is disclosed"]
            if 0 <= expected != number:
                return [f"log entry {expected} is missing: no image is disclosed; run `ribcage verify`"]
            try:
                body = log.open(number, bytes(row.sealed))[1]
            except CryptoError:
                return [f"log entry {number} does not open: no image is disclosed; run `ribcage verify`"]
            named = _TRANSACTION.search(body)
            if named is not None:
                if named[1] in held:
                    return []
                return [f"the ledger lacks the change of log entry {number}: no image is disclosed"]
            expected = number - 1
    return []


def older_database(engine: sa.Engine, log: AuditLog, second: SecondJournal) -> list[str]:
    """Findings, empty when ledger and log of the database continue what the key store remembers of them."""
    head, found = second.head(), list[str]()
    if head is not None and head[0] > log.size:
        found.append(
            f"the log has {log.size} entries, the key store knows {head[0]}: the database is an older copy, "
            "no image is disclosed; run `ribcage restore`"
        )
    with engine.connect() as connection:
        if head is not None and not found:
            try:
                log.check_continues(connection, head[1], head[0])
            except EvidenceError:
                found.append("the log is not the one that the key store remembers: no image is disclosed")
    return found + older_ledger(engine, second)


def older_ledger(engine: sa.Engine, second: SecondJournal) -> list[str]:
    """The same of the ledger alone; what the key store lacks is added to it."""
    with engine.connect() as connection:
        query = sa.select(ledger_transaction).order_by(ledger_transaction.c.height)
        rows = ((int(r.height), int(r.block_time), bytes(r.raw)) for r in connection.execute(query))
        return older_than_key_store(rows, second)


def _check_marks(home: Path, restoring: bool) -> None:
    if (home / SUPERSEDED).exists():
        raise HomeError(
            f"{home} went on in another home by a restore: use that one; this one stays closed", "superseded"
        )
    if (home / RESTORING).exists() and not restoring:
        raise HomeError(
            f"the restore into {home} is not finished: run the same `ribcage restore` again", "restoring"
        )


def _write_facts(home: Path, facts: HomeFacts) -> None:
    text = json.dumps({"format": HOME_FORMAT, "hospital": facts.hospital.hex(), "name": facts.hospital_name})
    write_file(home / "home.json", (text + "\n").encode())


def lock_home(home: Path) -> int:
    """One guard for one home: a descriptor that holds the lock. Raises HomeError."""
    descriptor = os.open(home / "run" / "guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise HomeError(
            "another process has this home open: use the running server, or stop it first", "locked"
        ) from None
    return descriptor


def _institution(hospital: bytes) -> int:
    return int.from_bytes(hospital[:4], "big") or 1


def _ledger(keyring: Keyring, hospital: bytes) -> EmbeddedLedger:
    return EmbeddedLedger(keyring.service("ledger-signer"), _institution(hospital), _chain_id(hospital))


def _journal_check(ledger: EmbeddedLedger, hospital: bytes) -> JournalCheck:
    def check(rows: Iterable[tuple[int, int, bytes]]) -> tuple[int, bytes]:
        return verify_journal(
            rows, founder=ledger.address, institution=_institution(hospital), chain_id=_chain_id(hospital)
        )

    return check


def _chain_id(hospital: bytes) -> int:
    return int.from_bytes(hospital[4:8], "big") or 1


def load_issuer(keyring: Keyring) -> authority.Issued:
    """The constrained intermediate that signs devices."""
    chain = keyring.load_blob(AUTHORITY_BLOB)
    marker = b"-----END CERTIFICATE-----\n"
    first = chain[: chain.index(marker) + len(marker)]
    return authority.Issued(first, keyring.load_blob(_AUTHORITY_KEY_BLOB))


def tls_identity(core: Core) -> TlsIdentity:
    """What a front needs to speak TLS."""
    return TlsIdentity(
        certificate_chain_pem=core.keyring.load_blob(TLS_CHAIN_BLOB),
        private_key_pem=core.keyring.load_blob(TLS_KEY_BLOB),
        client_authorities_pem=core.keyring.load_blob(AUTHORITY_BLOB),
        registered_leaves_pem=core.devices.foreign_leaves_pem(),
        registry_version=core.devices.version,
    )


def authority_pem(core: Core) -> bytes:
    """Certificates a peer needs to trust our listeners."""
    return core.keyring.load_blob(AUTHORITY_BLOB)
