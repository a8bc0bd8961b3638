"""The emergency journal by itself: power loss at any byte, tampering, a full ring, and its vectors' layout."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ribcage.guard import emergency
from ribcage.guard.emergency import HEADS, MOST_PAYLOAD_BYTES, RECORDS, SLOT_BYTES, EmergencyJournal
from ribcage.guard.errors import GuardUnavailable

KEY, HOSPITAL = bytes(range(32)), bytes(range(16))
NAME = "emergency.journal"


def journal(folder: Path, submitted: int = 0, *, expected: bool = True) -> EmergencyJournal:
    return EmergencyJournal(folder, KEY, HOSPITAL, submitted, expected=expected)


def filled(folder: Path, count: int = 5) -> EmergencyJournal:
    made = journal(folder, expected=False)
    for number in range(count):
        assert made.append(b"record %d" % number) == number
    return made


def slot(number: int) -> slice:
    at = (HEADS + number % RECORDS) * SLOT_BYTES
    return slice(at, at + SLOT_BYTES)


def test_records_are_there_after_a_restart_and_go_when_the_log_has_them(tmp_path: Path) -> None:
    filled(tmp_path).close()
    again = journal(tmp_path, 2)
    assert again.pending == {2: b"record 2", 3: b"record 3", 4: b"record 4"}
    again.forget(5)
    assert again.room == RECORDS
    again.close()
    assert journal(tmp_path, 5).pending == {}


def test_slots_are_used_again_and_numbers_are_not(tmp_path: Path) -> None:
    made = journal(tmp_path, expected=False)
    for round_ in range(3):
        for _ in range(RECORDS - 4):
            made.append(os.urandom(900))
        made.close()
        made = journal(tmp_path, round_ * (RECORDS - 4))
        assert len(made.pending) == RECORDS - 4
        made.forget((round_ + 1) * (RECORDS - 4))
        made.pending.clear()
    assert made.append(b"x") == 3 * (RECORDS - 4)
    assert (tmp_path / NAME).stat().st_size == 256 * 1024


def test_a_full_journal_and_a_long_record_are_refused(tmp_path: Path) -> None:
    made = filled(tmp_path, RECORDS - 1)
    with pytest.raises(GuardUnavailable):
        made.append(bytes(MOST_PAYLOAD_BYTES + 1))
    made.append(bytes(MOST_PAYLOAD_BYTES))
    with pytest.raises(GuardUnavailable):
        made.append(b"one more")
    made.close()
    assert len(journal(tmp_path).pending) == RECORDS


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_after_a_failed_write_nothing_more_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    made = filled(tmp_path)

    def fails(*_: object) -> int:
        raise OSError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(emergency.os, call, fails)
        with pytest.raises(GuardUnavailable):
            made.append(b"lost")
    with pytest.raises(GuardUnavailable):
        made.append(b"after")
    assert any("cannot be written" in each for each in made.findings())


Tamper = Callable[[bytearray, bytes], None]


def edited(content: bytearray, _: bytes) -> None:
    content[slot(2).start + 100] ^= 1


def removed(content: bytearray, _: bytes) -> None:
    content[slot(2)] = bytes(SLOT_BYTES)


def newest_removed(content: bytearray, before: bytes) -> None:
    content[slot(4)] = before[slot(4)]


def reordered(content: bytearray, _: bytes) -> None:
    content[slot(1)], content[slot(3)] = content[slot(3)], content[slot(1)]


def copied_over(content: bytearray, _: bytes) -> None:
    content[slot(3)] = content[slot(2)]


def newest_and_a_head_removed(content: bytearray, before: bytes) -> None:
    content[slot(4)] = before[slot(4)]
    newest = 6 % HEADS  # counter 1 when it was made, one more for each record
    content[newest * SLOT_BYTES : (newest + 1) * SLOT_BYTES] = bytes(SLOT_BYTES)


def heads_swapped(content: bytearray, _: bytes) -> None:
    content[:SLOT_BYTES], content[SLOT_BYTES : 2 * SLOT_BYTES] = (
        content[SLOT_BYTES : 2 * SLOT_BYTES],
        content[:SLOT_BYTES],
    )


def cut_short(content: bytearray, _: bytes) -> None:
    del content[-1:]


@pytest.mark.parametrize(
    ("tamper", "kept"),
    [
        (edited, 2),
        (removed, 2),
        (newest_removed, 4),
        (reordered, 1),
        (copied_over, 3),
        (newest_and_a_head_removed, 4),
        (heads_swapped, 0),
        (cut_short, 0),
    ],
)
def test_tampering_is_found_and_what_stands_before_it_is_kept(
    tmp_path: Path, tamper: Tamper, kept: int
) -> None:
    journal(tmp_path, expected=False).close()
    path = tmp_path / NAME
    before = path.read_bytes()
    made = journal(tmp_path)
    for number in range(5):
        made.append(b"record %d" % number)
    made.close()
    content = bytearray(path.read_bytes())
    tamper(content, before)
    path.write_bytes(content)
    again = journal(tmp_path)
    assert again.broken_at >= 0
    assert list(again.pending) == list(range(kept))
    with pytest.raises(GuardUnavailable):
        again.append(b"more")
    again.replace(kept)
    assert again.append(b"new") == kept
    assert any("broken-" in each for each in again.findings())
    again.close()
    assert journal(tmp_path, kept).pending == {kept: b"new"}


def test_an_older_copy_of_the_file_is_found_by_the_mark_and_a_newer_one_too(tmp_path: Path) -> None:
    made = filled(tmp_path)
    old = (tmp_path / NAME).read_bytes()
    made.append(b"record 5")
    made.forget(6)
    made.close()
    newer = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(old)
    assert journal(tmp_path, 6).broken_at >= 0
    (tmp_path / NAME).write_bytes(newer)
    assert journal(tmp_path, 3).broken_at >= 0  # the database is the older one


def test_a_removed_file_is_missed_and_a_foreign_one_does_not_open(tmp_path: Path) -> None:
    assert journal(tmp_path).broken_at == 0
    assert not (tmp_path / NAME).exists()
    EmergencyJournal(tmp_path, KEY, bytes(16), 0, expected=False).close()
    assert journal(tmp_path).broken_at == 0


class Disk:
    """Records what was written and synced, then builds what a power loss may leave: the last write torn or lost."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.start = path.read_bytes()
        self.writes: list[tuple[int, bytes]] = []
        self.acknowledged: list[tuple[int, str, int]] = []  # writes done, what, number
        pwrite = os.pwrite

        def recording(descriptor: int, data: bytes, offset: int) -> int:
            self.writes.append((offset, bytes(data)))
            return pwrite(descriptor, data, offset)

        monkeypatch.setattr(emergency.os, "pwrite", recording)

    def images(self, seed: int) -> list[tuple[int, bytes]]:
        """`(writes that are durable, content)`: every write is synced before the next one begins."""
        chance = random.Random(seed)
        content, images = bytearray(self.start), [(0, self.start)]
        for number, (offset, data) in enumerate(self.writes):
            torn = bytearray(content)
            cut = chance.randrange(1, len(data))
            torn[offset : offset + cut] = data[:cut]
            images.append((number, bytes(torn)))
            content[offset : offset + len(data)] = data
            images.append((number + 1, bytes(content)))
        return images


def test_power_loss_at_any_write_loses_nothing_acknowledged_and_is_no_tampering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(tmp_path, expected=False).close()
    disk = Disk(tmp_path / NAME, monkeypatch)
    made = journal(tmp_path)
    marks = [(0, 0)]  # writes done, records that the log has by then
    acknowledged = [(0, 0)]
    for round_ in range(4):
        for _ in range(3):
            number = made.append(b"record")
            acknowledged.append((len(disk.writes), number + 1))
        marks.append((len(disk.writes), 3 * round_ + 2))  # committed before the journal hears of it
        made.forget(3 * round_ + 2)
    made.close()
    monkeypatch.undo()
    for number, (durable, image) in enumerate(disk.images(7)):
        (tmp_path / NAME).write_bytes(image)
        at_least = max(count for writes, count in acknowledged if writes <= durable)
        submitted = max(count for writes, count in marks if writes <= durable)
        for _ in range(2):  # opening mends, and opens again
            again = journal(tmp_path, submitted)
            assert again.broken_at < 0, (number, durable, submitted)
            assert (
                set(range(submitted, at_least)) <= set(again.pending) <= set(range(submitted, at_least + 1))
            )
            again.close()
