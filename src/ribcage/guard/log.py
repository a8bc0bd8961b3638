"""The audit log as the guard keeps it: leaves and tiles in the database, the tree's edge in memory.

Rules, in order:
1. A number is given to an entry inside the transaction that makes it durable.
2. The tree advances only after that transaction has committed.
3. Salt and body are sealed; the leaf data is public (`docs/formats.md`, log leaf).
4. Tiles are a cache of the leaves: written one transaction late, rebuilt at the start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.database.schema import checkpoint, log_leaf, log_tile
from ribcage.evidence import merkle, tiles
from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.errors import TreeRange
from ribcage.evidence.leaf import SALT_BYTES, make_leaf

_RELOAD_ROWS = 50_000


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

    def __init__(self, engine: sa.Engine, key: bytes, signer: CheckpointSigner) -> None:
        self._key = key
        self._signer = signer
        self._unwritten: list[tuple[int, int, bytes]] = []
        with engine.connect() as connection:
            self._builder = self._reload(connection)
            signed = connection.execute(sa.select(sa.func.max(checkpoint.c.size))).scalar()
        self._signed_size = int(signed or 0)

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
        return self.size > self._signed_size

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
        if self._unwritten:
            above = [tile for tile in self._builder.partials() if tile[0] > 0]
            rows = [{"level": lv, "number": n, "hashes": h} for lv, n, h in [*self._unwritten, *above]]
            connection.execute(sa.insert(log_tile).prefix_with("OR REPLACE"), rows)

    def advance(self, leaves: Iterable[bytes]) -> None:
        """Add committed leaf data to the tree; tiles written by that transaction are forgotten."""
        self._unwritten.clear()
        for data in leaves:
            self._builder.append(merkle.leaf_hash(data))
        self._unwritten.extend(self._builder.take_full())

    @property
    def verifier_key(self) -> str:
        """What a stranger needs to check this log's checkpoints."""
        return self._signer.verifier_key

    def checkpoint_row(self) -> dict[str, object]:
        """A signed checkpoint of the present tree (C2SP tlog-checkpoint), as a row."""
        return {"size": self.size, "note": self._signer.sign(self.size, self.root)}

    def signed(self, size: int) -> None:
        """A checkpoint of `size` is durable."""
        self._signed_size = max(self._signed_size, size)

    def prove(self, connection: sa.Connection, index: int, size: int) -> list[bytes]:
        """Inclusion path of entry `index` in the tree of `size` (RFC 9162 2.1.3.1)."""
        return merkle.inclusion_path(tiles.tile_nodes(self._tile_reader(connection), size), index, size)

    def _tile_reader(self, connection: sa.Connection) -> tiles.ReadTile:
        def read(level: int, number: int, width: int) -> bytes:
            query = sa.select(log_tile.c.hashes).where(log_tile.c.level == level, log_tile.c.number == number)
            stored = connection.execute(query).scalar()
            if stored is None or len(stored) < 32 * width:
                stored = self._edge(level, number)
            return bytes(stored)[: 32 * width]

        return read

    def _edge(self, level: int, number: int) -> bytes:
        for at, n, hashes in [*self._unwritten, *self._builder.partials()]:
            if (at, n) == (level, number):
                return hashes
        raise TreeRange(f"tile {level}/{number} is not there: run `ribcage verify`")

    def _reload(self, connection: sa.Connection) -> tiles.TileBuilder:
        full = connection.execute(
            sa.select(sa.func.count()).select_from(log_tile).where(log_tile.c.level == 0)
        ).scalar_one()

        def read(level: int, number: int, width: int) -> bytes:
            query = sa.select(log_tile.c.hashes).where(log_tile.c.level == level, log_tile.c.number == number)
            return bytes(connection.execute(query).scalar_one())[: 32 * width]

        builder = tiles.TileBuilder.resume(read, full * tiles.TILE_WIDTH)
        rows = connection.execute(
            sa.select(log_leaf.c.leaf_data)
            .where(log_leaf.c.number >= builder.size)
            .order_by(log_leaf.c.number)
        )
        for batch in rows.partitions(_RELOAD_ROWS):
            for (data,) in batch:
                builder.append(merkle.leaf_hash(data))
        self._unwritten.extend(builder.take_full())
        return builder
