"""Tiles: paths as C2SP tlog-tiles writes them, and every node from tiles alone."""

import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.evidence.errors import TreeRange
from ribcage.evidence.merkle import (
    CompactRange,
    consistency_path,
    inclusion_path,
    tree_root,
    verify_inclusion,
)
from ribcage.evidence.tiles import TileBuilder, entries_path, tile_nodes, tile_path, tiles_of

SIZE = 256 * 256 + 256 * 3 + 7
LEAVES = [sha256(number.to_bytes(4)).digest() for number in range(SIZE)]


@pytest.fixture(scope="module")
def built():
    builder, tiles = TileBuilder(), {}
    for leaf in LEAVES:
        builder.append(leaf)
    for level, index, data in [*builder.take_full(), *builder.partials()]:
        tiles[level, index, len(data) // 32] = data
    return builder, tiles


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("tile/0/000", (0, 0)),
        ("tile/0/x001/234", (0, 1234)),
        ("tile/3/x001/x234/067", (3, 1234067)),
        ("tile/1/005.p/112", (1, 5, 112)),
        ("tile/0/x001/234.p/1", (0, 1234, 1)),
    ],
)
def test_tile_path_is_the_specifications(path, arguments):
    assert tile_path(*arguments) == path
    assert entries_path(*arguments[1:]) == path.replace(f"tile/{arguments[0]}", "tile/entries")


@pytest.mark.parametrize("arguments", [(-1, 0), (8, 0), (0, -1), (0, 0, 0), (0, 0, 257)])
def test_tile_path_outside_the_limits_is_refused(arguments):
    with pytest.raises(TreeRange):
        tile_path(*arguments)


def test_builder_writes_exactly_the_tiles_of_the_tree(built):
    _, tiles = built
    assert set(tiles) == set(tiles_of(SIZE))
    assert tiles[1, 1, 3] == b"".join(CompactRange(1, [node]).root() for node in _roots(256, 259))
    assert {level for level, _, _ in tiles} == {0, 1, 2}


def test_proofs_from_tiles_verify(built):
    builder, tiles = built
    nodes = tile_nodes(lambda level, index, width: tiles[level, index, width], SIZE)
    assert tree_root(nodes, SIZE) == builder.root()
    chance = random.Random(1)
    for index in [0, 255, 256, 65535, 65536, SIZE - 1, *(chance.randrange(SIZE) for _ in range(20))]:
        verify_inclusion(LEAVES[index], index, SIZE, inclusion_path(nodes, index, SIZE), builder.root())
    assert len(consistency_path(nodes, 65537, SIZE)) > 3


def test_builder_hands_out_each_full_tile_once(built):
    builder, _ = built
    assert builder.take_full() == []


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1200), st.integers(0, 600))
def test_resumed_builder_continues_as_if_never_stopped(before, after):
    straight, stopped, tiles = TileBuilder(), TileBuilder(), {}
    for leaf in LEAVES[: before + after]:
        straight.append(leaf)
    for leaf in LEAVES[:before]:
        stopped.append(leaf)
    for level, index, data in [*stopped.take_full(), *stopped.partials()]:
        tiles[level, index] = data
    resumed = TileBuilder.resume(lambda level, index, width: tiles[level, index], before)
    for leaf in LEAVES[before : before + after]:
        resumed.append(leaf)
    assert resumed.root() == straight.root()
    assert resumed.partials() == straight.partials()
    assert resumed.size == before + after


def test_short_or_missing_tile_is_refused(built):
    _, tiles = built
    nodes = tile_nodes(lambda level, index, width: tiles[level, index, width][:-1], SIZE)
    with pytest.raises(TreeRange):
        nodes(0, 0)
    with pytest.raises(TreeRange):
        TileBuilder.resume(lambda level, index, width: tiles[level, index, width][:-1], SIZE)


def test_node_beyond_the_tree_is_refused(built):
    _, tiles = built
    nodes = tile_nodes(lambda level, index, width: tiles[level, index, width], SIZE)
    for level, index in [(0, SIZE), (1, SIZE // 2), (17, 0), (-1, 0), (0, -1)]:
        with pytest.raises(TreeRange):
            nodes(level, index)


def _roots(start, end):
    for tile in range(start, end):
        tree = CompactRange()
        tree.extend(LEAVES[tile * 256 : tile * 256 + 256])
        yield tree.root()
