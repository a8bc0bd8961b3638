"""Tiles of the tree, 256 hashes wide (C2SP tlog-tiles).

Rules, in order:
1. Tile (level L, index N) holds the roots over 256**L leaves each, number N * 256 to N * 256 + width - 1.
2. Its path is `tile/L/N`, N in groups of three digits, all but the last with an `x` before them; a tile that
   is not full ends with `.p/WIDTH`.
3. A full tile never changes. A partial tile of a given width never changes either.
4. Nodes between two tile levels are computed from the tile that holds their leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ribcage.evidence.errors import TreeRange
from ribcage.evidence.merkle import HASH_BYTES, MAX_TREE_SIZE, CompactRange, Nodes, node_hash

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_TILE_LEVEL = 7  # 256**8 exceeds MAX_TREE_SIZE

ReadTile = Callable[[int, int, int], bytes]


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Relative path of a tile, for example `tile/0/x001/234`; raises `TreeRange` outside the limits."""
    if not 0 <= level <= MAX_TILE_LEVEL:
        raise TreeRange(f"expected a tile level of 0 to {MAX_TILE_LEVEL}, got {level}")
    return f"tile/{level}/{_numbered(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Relative path of an entry bundle, for example `tile/entries/x001/234`."""
    return f"tile/entries/{_numbered(index, width)}"


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield every tile (level, index, width) of a tree of `size` leaves, lower levels first."""
    if not 0 <= size <= MAX_TREE_SIZE:
        raise TreeRange(f"expected a tree size of 0 to {MAX_TREE_SIZE}, got {size}")
    level, hashes = 0, size
    while hashes:
        full, rest = divmod(hashes, TILE_WIDTH)
        for index in range(full):
            yield level, index, TILE_WIDTH
        if rest:
            yield level, full, rest
        level, hashes = level + 1, full


def tile_nodes(read: ReadTile, size: int) -> Nodes:
    """Answer `Nodes` for the first `size` leaves from tiles.

    `read(level, index, width)` returns at least `width` hashes of that tile; more (a wider or full tile) are
    allowed. Raises `TreeRange` on a short tile or a node that reaches beyond `size`.
    """

    def node(level: int, index: int) -> bytes:
        if level < 0 or index < 0 or (index + 1) << level > size:
            raise TreeRange(f"node {level}/{index} reaches beyond the tree size {size}")
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height  # number of the leftmost hash at the tile's level
        tile_index, offset = divmod(first, TILE_WIDTH)
        width = min(TILE_WIDTH, (size >> (TILE_HEIGHT * tile_level)) - tile_index * TILE_WIDTH)
        tile = read(tile_level, tile_index, width)
        if len(tile) < width * HASH_BYTES:
            raise TreeRange(f"expected {width} hashes in {tile_path(tile_level, tile_index, width)}")
        return _fold(tile, offset, 1 << height)

    return node


class TileBuilder:
    """Append leaf hashes; collect finished tiles and keep the unfinished ones.

    `take_full()` hands over each full tile once; `partials()` shows the right edge. Together they are
    all tiles of the tree. Resume with `TileBuilder.resume`.
    """

    def __init__(self) -> None:
        self._range = CompactRange()
        self._edge: list[bytearray] = []
        self._first: list[int] = []  # index of the unfinished tile of each level
        self._full: list[tuple[int, int, bytes]] = []

    @classmethod
    def resume(cls, read: ReadTile, size: int) -> TileBuilder:
        """Rebuild the state at `size` leaves from stored tiles."""
        builder = cls()
        builder._range = CompactRange.resume(tile_nodes(read, size), size)
        level, hashes = 0, size
        while hashes:
            full, rest = divmod(hashes, TILE_WIDTH)
            tile = read(level, full, rest)[: rest * HASH_BYTES] if rest else b""
            if len(tile) != rest * HASH_BYTES:
                raise TreeRange(f"expected {rest} hashes in {tile_path(level, full, rest)}")
            builder._edge.append(bytearray(tile))
            builder._first.append(full)
            level, hashes = level + 1, full
        return builder

    @property
    def size(self) -> int:
        """Leaves appended so far."""
        return self._range.size

    @property
    def range(self) -> CompactRange:
        """The compact range at this size; do not append to it."""
        return self._range

    def root(self) -> bytes:
        """Root of the tree so far."""
        return self._range.root()

    def append(self, leaf: bytes) -> None:
        """Append one leaf hash (32 bytes)."""
        for level, _, node in self._range.append_nodes(leaf):
            if level % TILE_HEIGHT == 0:
                self._add(level // TILE_HEIGHT, node)

    def take_full(self) -> list[tuple[int, int, bytes]]:
        """Return and forget the tiles (level, index, bytes) filled since the last call."""
        full, self._full = self._full, []
        return full

    def partials(self) -> list[tuple[int, int, bytes]]:
        """Return the unfinished tiles (level, index, bytes); the width is the length over 32."""
        return [(level, self._first[level], bytes(tile)) for level, tile in enumerate(self._edge) if tile]

    def _add(self, level: int, node: bytes) -> None:
        if level == len(self._edge):
            self._edge.append(bytearray())
            self._first.append(0)
        tile = self._edge[level]
        tile += node
        if len(tile) == TILE_WIDTH * HASH_BYTES:
            self._full.append((level, self._first[level], bytes(tile)))
            self._first[level] += 1
            tile.clear()


def _fold(tile: bytes, offset: int, count: int) -> bytes:
    hashes = [
        bytes(tile[at : at + HASH_BYTES])
        for at in range(offset * HASH_BYTES, (offset + count) * HASH_BYTES, HASH_BYTES)
    ]
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def _numbered(index: int, width: int) -> str:
    if not 0 <= index <= MAX_TREE_SIZE or not 0 < width <= TILE_WIDTH:
        raise TreeRange(f"expected a tile index >= 0 and a width of 1 to {TILE_WIDTH}, got {index}, {width}")
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    path = "/".join(reversed(groups))
    return path if width == TILE_WIDTH else f"{path}.p/{width}"
