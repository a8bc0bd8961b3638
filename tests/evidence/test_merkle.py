"""Merkle proofs against the RFC's own algorithms and the known roots of certificate transparency."""

import importlib.util
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.evidence.errors import ConsistencyBroken, InclusionBroken, TreeRange
from ribcage.evidence.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_path,
    full_subtrees,
    inclusion_path,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

_spec = importlib.util.spec_from_file_location("rfc9162", Path(__file__).with_name("_rfc9162.py"))
rfc = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rfc)

KNOWN_LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
DATA = [b"leaf %d" % number for number in range(70)]
HASHES = [leaf_hash(each) for each in DATA]
ROOTS = [rfc.mth(DATA[:size]) for size in range(71)]
FULL = {}
_range = CompactRange()
for _leaf in HASHES:
    FULL.update({(level, index): node for level, index, node in _range.append_nodes(_leaf)})


def nodes(level, index):
    return FULL[level, index]


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_roots_are_those_of_certificate_transparency():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    tree = CompactRange()
    found = []
    for data in KNOWN_LEAVES:
        tree.append(leaf_hash(data))
        found.append(tree.root().hex())
    assert found == KNOWN_ROOTS


def test_root_of_every_size_is_the_definitions():
    tree = CompactRange()
    assert tree.root() == ROOTS[0]
    for size in range(1, 71):
        tree.append(HASHES[size - 1])
        assert tree.root() == ROOTS[size] == tree_root(nodes, size)
        resumed = CompactRange(tree.size, tree.hashes)
        assert resumed.root() == ROOTS[size]


def test_inclusion_of_every_leaf_in_every_tree():
    for size in range(1, 71):
        for index in range(size):
            path = inclusion_path(nodes, index, size)
            assert rfc.inclusion_holds(HASHES[index], index, size, path, ROOTS[size])
            verify_inclusion(HASHES[index], index, size, path, ROOTS[size])


def test_consistency_of_every_pair_of_trees():
    for new in range(71):
        for old in range(new + 1):
            path = consistency_path(nodes, old, new)
            if 0 < old < new:
                assert rfc.consistency_holds(old, ROOTS[old], new, ROOTS[new], path)
            else:
                assert path == []
            verify_consistency(old, ROOTS[old], new, ROOTS[new], path)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_flipped_bit_of_an_inclusion_proof_is_refused(data):
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    parts = [HASHES[index], ROOTS[size], *inclusion_path(nodes, index, size)]
    which = data.draw(st.integers(0, len(parts) - 1))
    parts[which] = flipped(parts[which], data.draw(st.integers(0, 255)))
    with pytest.raises(InclusionBroken):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_flipped_bit_of_a_consistency_proof_is_refused(data):
    new = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, new))
    parts = [ROOTS[old], ROOTS[new], *consistency_path(nodes, old, new)]
    which = data.draw(st.integers(0, len(parts) - 1))
    parts[which] = flipped(parts[which], data.draw(st.integers(0, 255)))
    with pytest.raises(ConsistencyBroken):
        verify_consistency(old, parts[0], new, parts[1], parts[2:])


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_both_verifiers_agree_on_arbitrary_claims(data):
    """Paths mixed from true nodes and rubbish: ours accepts exactly what the RFC's algorithm accepts."""
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, 71))
    path = inclusion_path(nodes, data.draw(st.integers(0, size - 1)), size)
    path = data.draw(st.sampled_from([path, path[:-1], path[1:], [*path, bytes(32)], path[::-1]]))
    claimed = data.draw(st.integers(1, 72))
    leaf = HASHES[min(index, 69)]
    try:
        verify_inclusion(leaf, index, claimed, path, ROOTS[size])
        accepted = True
    except InclusionBroken:
        accepted = False
    assert accepted == rfc.inclusion_holds(leaf, index, claimed, path, ROOTS[size])


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_both_verifiers_agree_on_arbitrary_histories(data):
    new = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, new - 1))
    path = consistency_path(nodes, old, new)
    path = data.draw(st.sampled_from([path, path[:-1], path[1:], [*path, bytes(32)], path[::-1]]))
    claimed_new = data.draw(st.integers(2, 72))
    claimed_old = data.draw(st.integers(1, claimed_new - 1))
    try:
        verify_consistency(claimed_old, ROOTS[old], claimed_new, ROOTS[new], path)
        accepted = True
    except ConsistencyBroken:
        accepted = False
    assert accepted == rfc.consistency_holds(claimed_old, ROOTS[old], claimed_new, ROOTS[new], path)


def test_leaf_made_of_two_hashes_does_not_stand_for_their_node():
    forged = leaf_hash(HASHES[0] + HASHES[1])
    with pytest.raises(InclusionBroken):
        verify_inclusion(forged, 0, 1, [], ROOTS[2])
    verify_inclusion(FULL[1, 0], 0, 1, [], ROOTS[2])  # what an unseparated hash would have allowed


def test_forked_log_of_equal_size_is_refused():
    with pytest.raises(ConsistencyBroken, match="forked"):
        verify_consistency(5, ROOTS[5], 5, ROOTS[6], [])


def test_rolled_back_log_is_refused():
    with pytest.raises(ConsistencyBroken, match="old size <= new size"):
        verify_consistency(6, ROOTS[6], 5, ROOTS[5], [])


def test_rewritten_entry_breaks_consistency():
    changed = [*DATA[:3], b"rewritten", *DATA[4:10]]
    tree, stored = CompactRange(), {}
    for each in changed:
        stored.update({(a, b): node for a, b, node in tree.append_nodes(leaf_hash(each))})
    for old in range(4, 10):
        path = consistency_path(lambda level, index: stored[level, index], old, 10)
        with pytest.raises(ConsistencyBroken):
            verify_consistency(old, ROOTS[old], 10, tree.root(), path)


def test_empty_tree_has_one_root_only():
    with pytest.raises(ConsistencyBroken):
        verify_consistency(0, sha256(b"x").digest(), 5, ROOTS[5], [])
    with pytest.raises(ConsistencyBroken):
        verify_consistency(0, EMPTY_ROOT, 5, ROOTS[5], [HASHES[0]])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (0, 1 << 63)])
def test_proof_outside_the_tree_is_not_made(index, size):
    with pytest.raises(TreeRange):
        inclusion_path(nodes, index, size)
    with pytest.raises(InclusionBroken):
        verify_inclusion(HASHES[0], index, size, [], ROOTS[1])


def test_compact_range_refuses_hashes_that_do_not_fit_its_size():
    with pytest.raises(TreeRange):
        CompactRange(3, [HASHES[0]])
    with pytest.raises(TreeRange):
        CompactRange(1, [b"short"])
    with pytest.raises(TreeRange):
        CompactRange(-1)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 5000), st.integers(0, 5000))
def test_cover_is_aligned_gapless_and_minimal(one, other):
    start, end = sorted((one, other))
    cover = full_subtrees(start, end)
    at = start
    for level, index in cover:
        assert index << level == at
        at += 1 << level
    assert at == end
    if start == 0:
        assert len(cover) == end.bit_count()
    assert len(cover) <= 2 * max(1, (end - start).bit_length())
