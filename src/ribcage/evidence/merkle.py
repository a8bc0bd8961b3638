"""The Merkle tree of RFC 9162 2.1 over SHA-256.

Rules, in order:
1. A leaf hashes as SHA-256(0x00 ‖ data), a node as SHA-256(0x01 ‖ left ‖ right); the empty tree is SHA-256 of
   nothing (2.1.1).
2. Appending keeps one full subtree per set bit of the size (a compact range): amortised one hash a leaf.
3. Proofs are made from full subtrees only. `Nodes(level, index)` returns the root over the leaves
   [index << level, (index + 1) << level); it is asked for nothing that reaches beyond the tree.
4. Verification raises and takes nothing from the prover but the path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from ribcage.evidence.errors import ConsistencyBroken, InclusionBroken, TreeRange

HASH_BYTES = 32
MAX_TREE_SIZE = 1 << 62
EMPTY_ROOT = hashlib.sha256(b"").digest()

Nodes = Callable[[int, int], bytes]

_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """Hash one leaf's data (RFC 9162 2.1.1)."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees, each 32 bytes (RFC 9162 2.1.1)."""
    return _sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The right edge of a tree of `size` leaves: the roots of its full subtrees, largest first.

    `hashes` resumes a stored range; there must be one hash for each set bit of `size`, else `TreeRange`.
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._stack = [bytes(each) for each in hashes]
        self._size = size
        if not 0 <= size <= MAX_TREE_SIZE or len(self._stack) != size.bit_count():
            raise TreeRange(f"expected one hash for each set bit of size {size}, got {len(self._stack)}")
        if any(len(each) != HASH_BYTES for each in self._stack):
            raise TreeRange(f"expected hashes of {HASH_BYTES} bytes")

    @classmethod
    def resume(cls, nodes: Nodes, size: int) -> CompactRange:
        """Rebuild the right edge of a stored tree of `size` leaves."""
        return cls(size, [nodes(level, index) for level, index in full_subtrees(0, size)])

    @property
    def size(self) -> int:
        """Leaves appended so far."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Roots of the full subtrees, largest first; store them to resume."""
        return tuple(self._stack)

    def append(self, leaf: bytes) -> None:
        """Append one leaf hash (32 bytes)."""
        stack = self._stack
        size = self._size
        while size & 1:
            leaf = _sha256(b"\x01" + stack.pop() + leaf).digest()
            size >>= 1
        stack.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes in order."""
        for leaf in leaves:
            self.append(leaf)

    def append_nodes(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append one leaf hash; return the full subtrees it completed as (level, index, hash), leaf first.

        These are exactly the nodes that `Nodes` must answer later; each is final when returned.
        """
        stack = self._stack
        index = self._size
        level = 0
        done = [(0, index, leaf)]
        while index & 1:
            leaf = _sha256(b"\x01" + stack.pop() + leaf).digest()
            index >>= 1
            level += 1
            done.append((level, index, leaf))
        stack.append(leaf)
        self._size += 1
        return done

    def root(self) -> bytes:
        """Root of the tree so far (RFC 9162 2.1.1)."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root


def full_subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """Cover the leaves [start, end) with the fewest full subtrees (level, index), left to right."""
    if not 0 <= start <= end <= MAX_TREE_SIZE:
        raise TreeRange(f"expected 0 <= start <= end, got [{start}, {end})")
    cover = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        cover.append((level, start >> level))
        start += 1 << level
    return cover


def tree_root(nodes: Nodes, size: int) -> bytes:
    """Root of the first `size` leaves of a stored tree."""
    return CompactRange.resume(nodes, size).root()


def inclusion_path(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """PATH(index, D[0:size]) of RFC 9162 2.1.3.1, leaf side first; `TreeRange` when not inside."""
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise TreeRange(f"expected a leaf index below the tree size {size}, got {index}")
    return _path(nodes, index, 0, size)


def consistency_path(nodes: Nodes, old_size: int, new_size: int) -> list[bytes]:
    """PROOF(old_size, D[0:new_size]) of RFC 9162 2.1.4.1; empty for equal sizes or an empty old tree."""
    if not 0 <= old_size <= new_size <= MAX_TREE_SIZE:
        raise TreeRange(f"expected old size <= new size, got {old_size} and {new_size}")
    if old_size in (0, new_size):
        return []
    return _subproof(nodes, old_size, 0, new_size, whole=True)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash stands at `index` of the tree (`size`, `root`); raises `InclusionBroken`.

    The path has one hash for each level below the point where the leaf's and the last leaf's ways part, and
    above it one for each left sibling (RFC 9162 2.1.3.2 in closed form).
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise InclusionBroken(f"expected a leaf index below the tree size {size}, got {index}")
    inner, border = _path_shape(index, size)
    _check_hashes([leaf, root, *path], InclusionBroken)
    if len(path) != inner + border:
        raise InclusionBroken(f"expected a path of {inner + border} hashes, got {len(path)}")
    if _climb(leaf, index, path, inner) != root:
        raise InclusionBroken(f"the path of leaf {index} does not lead to the root of size {size}")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the tree (`old_size`, `old_root`) is a prefix of the new one; raises `ConsistencyBroken`.

    An empty old tree is a prefix of every tree; its root must still be `EMPTY_ROOT` (RFC 9162 2.1.4.2).
    """
    if not 0 <= old_size <= new_size <= MAX_TREE_SIZE:
        raise ConsistencyBroken(f"expected old size <= new size, got {old_size} and {new_size}")
    _check_hashes([old_root, new_root, *path], ConsistencyBroken)
    if old_size in (0, new_size):
        _check_trivial(old_size, old_root, new_size, new_root, path)
        return
    inner, border = _path_shape(old_size - 1, new_size)
    shift = (old_size & -old_size).bit_length() - 1  # levels inside the old tree's last full subtree
    inner -= shift
    seeded = old_size != 1 << shift  # a power of two is its own starting node
    if len(path) != inner + border + seeded:
        raise ConsistencyBroken(f"expected a path of {inner + border + seeded} hashes, got {len(path)}")
    seed, rest = (path[0], path[1:]) if seeded else (old_root, path)
    mask = (old_size - 1) >> shift
    old = seed
    for level, sibling in enumerate(rest):
        if level >= inner or mask >> level & 1:
            old = node_hash(sibling, old)
    if old != old_root:
        raise ConsistencyBroken(f"the path does not lead to the root of the old size {old_size}")
    if _climb(seed, mask, rest, inner) != new_root:
        raise ConsistencyBroken(f"the path does not lead to the root of the new size {new_size}")


def _path(nodes: Nodes, index: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(nodes, index, start, middle), _range_root(nodes, middle, end)]
    return [*_path(nodes, index, middle, end), _range_root(nodes, start, middle)]


def _subproof(nodes: Nodes, old_end: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162 2.1.4.1; `whole` says that the old tree's root is what the verifier holds."""
    if old_end == end:
        return [] if whole else [_range_root(nodes, start, end)]
    middle = start + _split(end - start)
    if old_end <= middle:
        return [*_subproof(nodes, old_end, start, middle, whole=whole), _range_root(nodes, middle, end)]
    return [*_subproof(nodes, old_end, middle, end, whole=False), _range_root(nodes, start, middle)]


def _range_root(nodes: Nodes, start: int, end: int) -> bytes:
    hashes = [nodes(level, index) for level, index in full_subtrees(start, end)]
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root


def _split(size: int) -> int:
    """The largest power of two smaller than `size`, for sizes above 1 (RFC 9162 2.1.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _path_shape(index: int, size: int) -> tuple[int, int]:
    inner = (index ^ (size - 1)).bit_length()
    return inner, (index >> inner).bit_count()


def _climb(node: bytes, index: int, path: Sequence[bytes], inner: int) -> bytes:
    for level, sibling in enumerate(path):
        left = level >= inner or index >> level & 1
        node = node_hash(sibling, node) if left else node_hash(node, sibling)
    return node


def _check_hashes(hashes: Sequence[bytes], error: type[InclusionBroken] | type[ConsistencyBroken]) -> None:
    for each in hashes:
        if len(each) != HASH_BYTES:
            raise error(f"expected hashes of {HASH_BYTES} bytes, got {len(each)}")


def _check_trivial(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    if path:
        raise ConsistencyBroken(f"expected an empty path, got {len(path)} hashes")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise ConsistencyBroken("the old root is not that of the empty tree")
    if old_size == new_size and old_root != new_root:
        raise ConsistencyBroken(f"two different roots of one size {new_size}: the log was forked")
