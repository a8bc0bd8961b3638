"""The log across tiles and restarts, and a tile cache that somebody changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ribcage.crypto.errors import WrapBroken
from ribcage.database.engine import open_engine
from ribcage.database.schema import checkpoint, log_leaf, log_tile, metadata
from ribcage.evidence import merkle
from ribcage.evidence.checkpoint import verify_checkpoint
from ribcage.evidence.errors import EvidenceError
from ribcage.guard.log import ABSENT_LEAF, AuditLog
from ribcage.guard.log_epochs import LogEpochs

KEY = bytes(range(32))
EPOCHS = LogEpochs(bytes(16), bytes(32))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(tmp_path / "log.db", KEY)
    sa.event.listen(engine, "checkout", lambda link, *_: link.execute("PRAGMA synchronous = OFF"))
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def reopened(engine: sa.Engine) -> AuditLog:
    return AuditLog(engine, KEY, EPOCHS)


def grow(engine: sa.Engine, log: AuditLog, count: int) -> None:
    """One transaction of `count` entries, as the committer writes it."""
    drafts = [log.draft(log.size + n, b'{"n":%d}' % n) for n in range(count)]
    with engine.begin() as connection:
        connection.execute(sa.insert(log_leaf), [draft.row() for draft in drafts])
        log.write_tiles(connection)
    log.advance(draft.leaf_data for draft in drafts)


def sign(engine: sa.Engine, log: AuditLog) -> None:
    with engine.begin() as connection:
        size, note = log.checkpoint_row()
        connection.execute(sa.insert(checkpoint), {"size": size, "note": note})
    log.signed(log.size)


def stored_root(engine: sa.Engine) -> bytes:
    """The root by the leaves alone."""
    tree = merkle.CompactRange()
    with engine.connect() as connection:
        rows = connection.execute(sa.select(log_leaf.c.leaf_data).order_by(log_leaf.c.number))
        tree.extend(merkle.leaf_hash(data) for (data,) in rows)
    return tree.root()


def check_proofs(engine: sa.Engine, log: AuditLog) -> None:
    indices = {0, 255, 256, 257, 511, 65_535, 65_536, log.size // 2, log.size - 1}
    with engine.connect() as connection:
        for index in sorted(i for i in indices if i < log.size):
            data = connection.execute(
                sa.select(log_leaf.c.leaf_data).where(log_leaf.c.number == index)
            ).scalar_one()
            path = log.prove(connection, index, log.size)
            merkle.verify_inclusion(merkle.leaf_hash(data), index, log.size, path, log.root)


@pytest.mark.parametrize(
    "batches",
    [(1,), (255, 1), (256, 1, 1), (257, 255, 1), (513, 2, 300), (255, 1, 256, 256, 1)],
    ids=lambda batches: "+".join(map(str, batches)),
)
def test_the_log_resumes_after_every_transaction(engine: sa.Engine, batches: tuple[int, ...]) -> None:
    for count in batches:
        log = reopened(engine)
        grow(engine, log, count)
        after = reopened(engine)
        assert (after.size, after.root) == (log.size, log.root)
        assert log.root == stored_root(engine)
        check_proofs(engine, log)
        check_proofs(engine, after)
        assert after.findings == []


def test_the_log_resumes_beyond_the_second_level_of_tiles(engine: sa.Engine) -> None:
    log = reopened(engine)
    for count in (65_536 + 300, 5, 260):
        grow(engine, log, count)
    sign(engine, log)
    after = reopened(engine)
    assert (after.size, after.root) == (66_101, log.root)
    assert after.root == stored_root(engine)
    with engine.connect() as connection:
        levels = {r.level for r in connection.execute(sa.select(log_tile.c.level))}
    assert levels == {0, 1, 2}
    grow(engine, after, 200)
    check_proofs(engine, after)
    assert reopened(engine).root == after.root == stored_root(engine)


def change(engine: sa.Engine, statement: sa.Executable) -> None:
    with engine.begin() as connection:
        assert connection.execute(statement).rowcount == 1


SECOND = (log_tile.c.level == 0) & (log_tile.c.number == 1)
ABOVE = (log_tile.c.level == 1) & (log_tile.c.number == 0)
AT_THE_START: dict[str, sa.Executable] = {
    "tile above changed": sa.update(log_tile).where(ABOVE).values(hashes=bytes(3 * 32)),
    "tile above cut": sa.update(log_tile).where(ABOVE).values(hashes=bytes(32)),
    "tile above removed": sa.delete(log_tile).where(ABOVE),
    "tile invented": sa.insert(log_tile).values(level=0, number=9, hashes=bytes(256 * 32)),
}
AT_A_PROOF: dict[str, sa.Executable] = {
    "tile removed": sa.delete(log_tile).where(SECOND),
    "tile changed": sa.update(log_tile).where(SECOND).values(hashes=bytes(256 * 32)),
}


def tampered(engine: sa.Engine, statement: sa.Executable) -> tuple[AuditLog, AuditLog]:
    """The log before and after a restart with a change between."""
    log = reopened(engine)
    for count in (600, 200, 1):
        grow(engine, log, count)
    sign(engine, log)
    change(engine, statement)
    return log, reopened(engine)


@pytest.mark.parametrize("name", AT_THE_START)
def test_a_changed_tile_is_found_at_the_start_and_made_again(engine: sa.Engine, name: str) -> None:
    log, after = tampered(engine, AT_THE_START[name])
    assert after.root == log.root
    assert after.findings == ["the log's tiles were changed: made again from its entries"]
    check_proofs(engine, after)
    grow(engine, after, 1)
    check_proofs(engine, after)
    last = reopened(engine)
    assert (last.root, last.findings) == (after.root, [])


@pytest.mark.parametrize("name", AT_A_PROOF)
def test_a_changed_tile_gives_no_false_proof_and_can_be_made_again(engine: sa.Engine, name: str) -> None:
    log, after = tampered(engine, AT_A_PROOF[name])
    assert (after.root, after.findings) == (log.root, [])
    with pytest.raises(EvidenceError):
        check_proofs(engine, after)
    with engine.begin() as connection:
        after.remake_tiles(connection)
    check_proofs(engine, after)
    grow(engine, after, 1)
    check_proofs(engine, reopened(engine))


@pytest.mark.parametrize("number", [0, 300, 790, 800], ids=["first", "in a tile", "at the edge", "last"])
def test_a_removed_entry_leaves_its_place_and_a_finding(engine: sa.Engine, number: int) -> None:
    log = reopened(engine)
    for count in (600, 200, 1):
        grow(engine, log, count)
    sign(engine, log)
    change(engine, sa.delete(log_leaf).where(log_leaf.c.number == number))
    after = reopened(engine)
    if number in (0, 300):  # the tile still holds the hash: `verify` names the entry
        assert (after.root, after.findings) == (log.root, [])
    else:
        assert after.findings == ["the log is not the one its newest checkpoint signs: run `ribcage verify`"]
        assert after.size == (800 if number == 800 else 801)
    grow(engine, after, 1)  # and the log goes on, so that somebody can ask it


def test_a_changed_leaf_is_a_finding_at_the_start(engine: sa.Engine) -> None:
    log = reopened(engine)
    grow(engine, log, 3)
    sign(engine, log)
    change(engine, sa.update(log_leaf).where(log_leaf.c.number == 1).values(leaf_data=ABSENT_LEAF))
    assert len(reopened(engine).findings) == 1


def test_checkpoints_are_signed_over_the_stored_leaves(engine: sa.Engine) -> None:
    log = reopened(engine)
    assert not log.unsigned
    grow(engine, log, 300)
    assert log.unsigned
    sign(engine, log)
    assert not log.unsigned
    with engine.connect() as connection:
        note = connection.execute(sa.select(checkpoint.c.note)).scalar_one()
    head = verify_checkpoint(note, log.verifier_key)
    assert (head.size, head.root) == (300, stored_root(engine))


def test_an_entry_opens_only_in_its_own_row(engine: sa.Engine) -> None:
    log = reopened(engine)
    first, second = log.draft(0, b"{}"), log.draft(1, b"{}")
    assert log.open(0, first.sealed)[1] == b"{}"
    for number, sealed in (
        (1, first.sealed),
        (0, second.sealed),
        (0, first.sealed[:-1] + bytes((first.sealed[-1] ^ 1,))),
    ):
        with pytest.raises(WrapBroken):
            log.open(number, sealed)
