"""The audit log as the guard keeps it: leaves and tiles in the database, the tree's edge in memory.

Rules, in order:
1. A number is given to an entry inside the transaction that makes it durable.
2. The tree advances only after that transaction has committed.
3. Salt and body are sealed; the leaf data is public (`docs/formats.md`, log leaf).
4. Tiles are a cache of the leaves: written one transaction late. At the start they must give the root that the
   newest checkpoint signs; if not, they are made again from the leaves.
5. What does not fit at the start is a finding, and the log goes on: `verify` must be able to name it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.database.schema import checkpoint, log_leaf, log_tile
from ribcage.evidence import merkle, tiles
from ribcage.evidence.checkpoint import CheckpointSigner, verify_checkpoint
from ribcage.evidence.errors import EvidenceError, TreeRange
from ribcage.evidence.leaf import SALT_BYTES, make_leaf
from ribcage.guard.log_epochs import LogEpochs

_RELOAD_ROWS = 50_000
ABSENT_LEAF = bytes(32)  # stands where an entry is missing


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry on its way into the log."""

    number: int
    leaf_data: bytes
    sealed: bytes

    def row(self) -> dict[str, object]:
        """As `log_leaf` has it."""
        return {"number": self.number, "leaf_data": self.leaf_data, "sealed": self.sealed}


class AuditLog:
    """Drafts entries for the committer, advances the tree, signs checkpoints and proves entries."""

    def __init__(self, engine: sa.Engine, key: bytes, epochs: LogEpochs) -> None:
        self._key = key
        self.epochs = epochs
        self._lock = threading.Lock()  # the committer advances while others prove
        self._builder = tiles.TileBuilder()
        self._unwritten: list[tuple[int, int, bytes]] = []
        self._rewrite = False
        self.findings: list[str] = []
        with engine.connect() as connection:
            signed = connection.execute(sa.select(sa.func.max(checkpoint.c.size))).scalar()
            self._signed_size, self._signed_at = int(signed or 0), 0.0
            self._load(connection)

    @property
    def size(self) -> int:
        """Entries in the tree."""
        return self._builder.size

    @property
    def root(self) -> bytes:
        """The tree's root hash."""
        return self._builder.root()

    @property
    def unsigned(self) -> bool:
        """True when entries came after the last checkpoint."""
        return self.unsigned_entries > 0

    @property
    def unsigned_entries(self) -> int:
        """Entries that came after the last checkpoint."""
        return max(self.size - self._signed_size, 0)

    def checkpoint_age(self) -> float:
        """Seconds since this process made a checkpoint durable; -1 before the first."""
        return time.monotonic() - self._signed_at if self._signed_at else -1.0

    def draft(self, number: int, body: bytes) -> Draft:
        """The row of entry `number`."""
        salt = os.urandom(SALT_BYTES)
        sealed = seal_column(self._key, column_context("log_leaf", "sealed", number), salt + body)
        return Draft(number, make_leaf(body, salt)[0], sealed)

    def open(self, number: int, sealed: bytes) -> tuple[bytes, bytes]:
        """`(salt, body)` of a stored entry. Raises `SealBroken` or `WrapBroken` for a changed row."""
        plain = open_column(self._key, column_context("log_leaf", "sealed", number), sealed)
        return plain[:SALT_BYTES], plain[SALT_BYTES:]

    def write_tiles(self, connection: sa.Connection) -> None:
        """Write tiles completed by earlier transactions, and the unfinished ones above them."""
        if self._rewrite:
            connection.execute(sa.delete(log_tile))
        if self._unwritten:
            above = [tile for tile in self._builder.partials() if tile[0] > 0]
            rows = [{"level": lv, "number": n, "hashes": h} for lv, n, h in [*self._unwritten, *above]]
            connection.execute(sa.insert(log_tile).prefix_with("OR REPLACE"), rows)

    def advance(self, leaves: Iterable[bytes]) -> None:
        """Add committed leaf data to the tree; tiles written by that transaction are forgotten."""
        with self._lock:
            self._rewrite = False
            self._unwritten.clear()
            for data in leaves:
                self._builder.append(merkle.leaf_hash(data))
            self._unwritten.extend(self._builder.take_full())

    @property
    def signer(self) -> CheckpointSigner:
        """Signs this log's statements."""
        return self.epochs.signer

    @property
    def verifier_key(self) -> str:
        """What a stranger needs to check this log's checkpoints of today (`epochs` has the older ones)."""
        return self.signer.verifier_key

    def checkpoint_row(self) -> tuple[int, bytes]:
        """`(size, note)`: a signed checkpoint of the present tree (C2SP tlog-checkpoint)."""
        with self._lock:
            size, root = self.size, self.root
        return size, self.signer.sign(size, root)

    def promise(self) -> bytes:
        """A signed checkpoint of what is durable now, for one peer to keep; witnesses and files get others."""
        return self.checkpoint_row()[1]

    def signed(self, size: int) -> None:
        """A checkpoint of `size` is durable."""
        self._signed_size, self._signed_at = max(self._signed_size, size), time.monotonic()

    def prove(self, connection: sa.Connection, index: int, size: int) -> list[bytes]:
        """Inclusion path of entry `index` in the tree of `size` (RFC 9162 2.1.3.1), checked before it is given.

        Raises EvidenceError where tiles or leaf were changed: `verify` names and repairs tiles.
        """
        nodes = tiles.tile_nodes(self._tile_reader(connection), size)
        path = merkle.inclusion_path(nodes, index, size)
        query = sa.select(log_leaf.c.leaf_data).where(log_leaf.c.number == index)
        leaf = merkle.leaf_hash(bytes(connection.execute(query).scalar_one()))
        merkle.verify_inclusion(leaf, index, size, path, merkle.tree_root(nodes, size))
        return path

    def prove_consistency(self, connection: sa.Connection, old: int, size: int) -> list[bytes]:
        """Path from the tree of `old` entries to the one of `size` (RFC 9162 2.1.4.1), checked before it is given.

        Raises EvidenceError where tiles were changed.
        """
        nodes = tiles.tile_nodes(self._tile_reader(connection), size)
        path = merkle.consistency_path(nodes, old, size)
        old_root, root = merkle.tree_root(nodes, old), merkle.tree_root(nodes, size)
        merkle.verify_consistency(old, old_root, size, root, path)
        return path

    def tiles_in_memory(self) -> set[tuple[int, int]]:
        """Tiles (level, number) that are complete and not yet in the file."""
        with self._lock:
            return {(level, number) for level, number, _ in self._unwritten}

    def remake_tiles(self, connection: sa.Connection) -> None:
        """Inside a transaction: make every tile again from the leaves, if they still give the same tree."""
        builder = tiles.TileBuilder()
        self._append_stored(connection, builder)
        if builder.root() == self.root:
            with self._lock:
                self._rewrite, self._unwritten = True, builder.take_full()

    def _tile_reader(self, connection: sa.Connection) -> tiles.ReadTile:
        def read(level: int, number: int, width: int) -> bytes:
            hashes = self._edge(
                level, number
            )  # first: a commit moves tiles from memory to the file, never back
            if hashes is None:
                at = (log_tile.c.level == level, log_tile.c.number == number)
                hashes = connection.execute(sa.select(log_tile.c.hashes).where(*at)).scalar()
            if hashes is None or len(hashes) < merkle.HASH_BYTES * width:
                raise TreeRange(f"tile {level}/{number} is not there: run `ribcage verify`")
            return bytes(hashes)[: merkle.HASH_BYTES * width]

        return read

    def _edge(self, level: int, number: int) -> bytes | None:
        with self._lock:
            for at, n, hashes in [*self._unwritten, *self._builder.partials()]:
                if (at, n) == (level, number):
                    return hashes
        return None

    # --- at the start -----------------------------------------------------------------------------------

    def _load(self, connection: sa.Connection) -> None:
        try:
            self._resume(connection)
            self._check_head(connection)
        except EvidenceError:
            self._rewrite, self._builder = True, tiles.TileBuilder()
            self._append_stored(connection, self._builder)
            self._unwritten = self._builder.take_full()
            try:
                self._check_head(connection)
            except EvidenceError:
                self.findings.append(
                    "the log is not the one its newest checkpoint signs: run `ribcage verify`"
                )
            else:
                self.findings.append("the log's tiles were changed: made again from its entries")

    def _resume(self, connection: sa.Connection) -> None:
        """Stored tiles, then the leaves after them. Raises TreeRange where a tile is missing."""
        level_0 = sa.select(sa.func.count()).select_from(log_tile).where(log_tile.c.level == 0)
        full = connection.execute(level_0).scalar_one()
        self._builder = tiles.TileBuilder.resume(self._tile_reader(connection), full * tiles.TILE_WIDTH)
        self._append_stored(connection, self._builder)
        self._unwritten = self._builder.take_full()

    @staticmethod
    def _append_stored(connection: sa.Connection, builder: tiles.TileBuilder) -> None:
        """Leaves from the builder's size on; a missing one leaves its place empty (rule 5)."""
        rows = connection.execute(
            sa.select(log_leaf.c.number, log_leaf.c.leaf_data)
            .where(log_leaf.c.number >= builder.size)
            .order_by(log_leaf.c.number)
        )
        for batch in rows.partitions(_RELOAD_ROWS):
            for number, data in batch:
                while builder.size < number:
                    builder.append(merkle.leaf_hash(ABSENT_LEAF))
                builder.append(merkle.leaf_hash(data))

    def _check_head(self, connection: sa.Connection) -> None:
        """The newest checkpoint signs this tree. Raises EvidenceError."""
        if not self._signed_size:
            return
        query = sa.select(checkpoint.c.note).where(checkpoint.c.size == self._signed_size)
        self.check_continues(connection, bytes(connection.execute(query).scalar_one()), self._signed_size)

    def check_continues(self, connection: sa.Connection, note: bytes, size: int) -> None:
        """This tree has the head that `note` signs at `size` entries. Raises EvidenceError."""
        head = verify_checkpoint(note, self.epochs.verifier_key(size))
        nodes = tiles.tile_nodes(self._tile_reader(connection), head.size)
        if head.size > self.size or merkle.tree_root(nodes, head.size) != head.root:
            raise TreeRange("the stored tree is not the signed one")


def newest_checkpoint(connection: sa.Connection) -> tuple[int, bytes] | None:
    """`(size, note)` of the newest stored checkpoint, None before the first."""
    query = sa.select(checkpoint.c.size, checkpoint.c.note).order_by(checkpoint.c.size.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else (int(row.size), bytes(row.note))
