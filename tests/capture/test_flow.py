"""What is admitted while it arrives: the same bytes, the same refusals, bounded memory, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack

import pytest

from helpers.fake_guard import FakeGuard
from helpers.front_house import CT, EXPLICIT_LE, ct_slice
from ribcage.capture import flow as flow_module
from ribcage.capture.admit import Admission, Ahead, WayIn
from ribcage.capture.disarm import Expected
from ribcage.capture.errors import (
    AdmissionError,
    IdentityMismatch,
    NotAuthorized,
    NotStored,
    NotUnderstood,
    OutOfResources,
    TooLarge,
)
from ribcage.capture.flow import Course, Flow
from ribcage.crypto.sealing import SEGMENT_BYTES, segment_room
from ribcage.dicom.scan import ScanLimits
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.protocol import Admit, Admitted, AlreadyHeld, Commit, Committed, Device
from ribcage.storage.objects import ObjectStore
from ribcage.storage.retrieve import ObjectReader

DEVICE = Device(b"f" * 32, "CT1", "127.0.0.1")
JPEG = "1.2.840.10008.1.2.4.50"
PIECE = 200_000


@dataclass
class Bench:
    """A way in with a fake guard, and what the transport counted."""

    way: WayIn
    ahead: Ahead = field(default_factory=Ahead)
    held: int = 0
    most: int = 0
    bound: int = 1 << 40
    moved: int = 0

    def flow(self, expected: Expected | None = None, syntax: str = EXPLICIT_LE) -> Flow:
        course = Course(
            self.way,
            DEVICE,
            "dimse",
            "RIBCAGE",
            syntax,
            expected or Expected(),
            self.ahead,
            self._hold,
            self._moved,
        )
        return Flow(course)

    def _hold(self, change: int) -> bool:
        self.held += change
        self.most = max(self.most, self.held)
        return change <= 0 or self.held <= self.bound

    def _moved(self) -> None:
        self.moved += 1

    @property
    def guard(self) -> FakeGuard:
        guard = self.way.guard
        assert isinstance(guard, FakeGuard)
        return guard

    def files(self) -> list[str]:
        return list(self.way.objects.list_files())

    def read_back(self) -> list[bytes]:
        found = []
        for object_id in self.guard.committed:
            with ObjectReader(self.way.objects, self.guard._opened(object_id)) as reader:
                found.append(reader.header() + reader.bulk(0, reader.bulk_bytes))
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    store = ObjectStore(tmp_path)
    store.prepare()
    return Bench(WayIn(FakeGuard(), store))


async def feed(flow: Flow, data: bytes, piece: int = PIECE) -> None:
    """As a transport does: it waits while the flow is full."""
    for at in range(0, len(data), piece):
        flow.take(memoryview(data)[at : at + piece])
        async with asyncio.timeout(20):
            while flow.full:
                await asyncio.sleep(0)


async def admit(flow: Flow, data: bytes, piece: int = PIECE) -> Admission:
    await feed(flow, data, piece)
    try:
        return await flow.admit()
    finally:
        flow.release()


def ct_of(pixel_bytes: int, number: int = 1) -> tuple[str, bytes]:
    """A slice whose pixel data has this many bytes."""
    uid, data = ct_slice(number, 2)
    start = data.rindex(b"\xe0\x7f\x10\x00")
    return uid, data[: start + 8] + pack("<I", pixel_bytes) + os.urandom(pixel_bytes)


FIRST = segment_room(0)
EDGES = [
    FIRST - 13,
    FIRST - 12,
    FIRST - 11,
    FIRST + SEGMENT_BYTES - 28,
    FIRST + SEGMENT_BYTES - 27,
    5_000_001,
]


@pytest.mark.parametrize("pixel_bytes", [100, *EDGES])
@pytest.mark.parametrize("piece", [1_000_003, 65_536])
def test_what_was_taken_in_pieces_comes_back_bit_for_bit(bench: Bench, pixel_bytes: int, piece: int) -> None:
    uid, data = ct_of(pixel_bytes)
    admission = asyncio.run(admit(bench.flow(Expected(CT, uid)), data, piece))
    assert isinstance(admission.outcome, Committed)
    assert admission.sop_instance_uid == uid
    assert bench.read_back() == [data]
    (kept, _, commit) = next(iter(bench.guard.committed.values()))
    assert kept.data_set_sha256 == commit.file_sha256 == hashlib.sha256(data).digest()
    assert kept.data_set_bytes == len(data)
    assert bench.held == 0


def test_a_long_instance_is_held_in_part_alone(bench: Bench) -> None:
    _, data = ct_of(24_000_000)
    asyncio.run(admit(bench.flow(), data))
    assert bench.most <= 4 * SEGMENT_BYTES
    assert bench.moved > 5
    assert bench.read_back() == [data]


def test_nothing_is_committed_before_the_last_byte_was_inspected(bench: Bench) -> None:
    _, data = ct_of(3_000_000)
    steps: list[str] = []
    bench.guard.observe = lambda request: steps.append(type(request).__name__)

    async def main() -> None:
        flow = bench.flow()
        await feed(flow, data[:-1])
        async with asyncio.timeout(10):
            while not bench.files():
                await asyncio.sleep(0)
        assert steps == ["Admit"]
        with pytest.raises(NotUnderstood):
            await flow.admit()

    asyncio.run(main())
    assert steps == ["Admit"]
    assert bench.files() == []


@pytest.mark.parametrize("tail", [b"\xfe\xff\x00\xe0\x00\x00\x00\x00", b"\x10\x00\x10\x00PN\x04\x00A^B "])
def test_what_stands_behind_the_pixels_is_inspected_too(bench: Bench, tail: bytes) -> None:
    _, data = ct_of(3_000_000)
    with pytest.raises(NotUnderstood):
        asyncio.run(admit(bench.flow(), data + tail))
    assert bench.files() == []


def test_two_patients_in_one_data_set_are_refused_when_the_second_comes_behind_the_pixels(
    bench: Bench,
) -> None:
    _, data = ct_of(2_000_000)
    with pytest.raises(NotUnderstood):
        asyncio.run(admit(bench.flow(), data + b"\x10\x00\x20\x00LO\x04\x00P2  "))
    assert bench.guard.committed == {}
    assert bench.files() == []


def test_another_instance_than_announced_is_refused_at_its_header(bench: Bench) -> None:
    _, data = ct_of(3_000_000)
    with pytest.raises(IdentityMismatch):
        asyncio.run(admit(bench.flow(Expected(CT, "1.2.3")), data))
    assert bench.guard.requests == []
    assert bench.files() == []


def test_limits_hold_while_it_arrives(bench: Bench) -> None:
    bench.way = WayIn(bench.guard, bench.way.objects, ScanLimits(max_data_set_bytes=2_500_000))
    with pytest.raises(TooLarge):
        asyncio.run(admit(bench.flow(), ct_of(3_000_000)[1]))
    assert bench.files() == []


def test_the_transports_bound_is_told(bench: Bench) -> None:
    bench.bound = SEGMENT_BYTES
    flow = bench.flow()

    async def main() -> None:
        await feed(flow, ct_of(3_000_000)[1])
        flow.drop()

    asyncio.run(main())
    assert flow.over


@pytest.mark.parametrize("arrived", [100, 500_000, 1_500_000, 4_000_000])
def test_a_dropped_one_leaves_no_file_and_holds_nothing(bench: Bench, arrived: int) -> None:
    async def main() -> None:
        flow = bench.flow()
        await feed(flow, ct_of(4_500_000)[1][:arrived])
        flow.drop()
        flow.drop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=10)

    asyncio.run(main())
    assert bench.files() == []
    assert bench.held == 0
    assert not any(isinstance(request, Commit) for request in bench.guard.requests)


@pytest.mark.parametrize(
    ("asked", "answer", "error"),
    [
        (Admit, GuardRefused("not_permitted"), NotAuthorized),
        (Admit, GuardUnavailable("gone"), NotStored),
        (Commit, GuardRefused("no_space"), OutOfResources),
        (Commit, GuardUnavailable("gone"), NotStored),
    ],
)
def test_a_guard_that_does_not_take_it_is_answered_after_the_data_set(
    bench: Bench, asked: type, answer: Exception, error: type[AdmissionError]
) -> None:
    bench.guard.answer(asked, answer)
    with pytest.raises(error):
        asyncio.run(admit(bench.flow(), ct_of(3_000_000)[1]))
    doubtful = asked is Commit and isinstance(
        answer, GuardUnavailable
    )  # nobody knows whether it was committed
    assert len(bench.files()) == doubtful
    assert bench.held == 0


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_full_disk_leaves_nothing_and_is_out_of_resources(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    real, calls = os.write, []

    def full(descriptor: int, data: memoryview) -> int:
        calls.append(1)
        if len(calls) >= at:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data)

    async def main() -> None:
        flow = bench.flow()
        with monkeypatch.context() as patch:
            patch.setattr("ribcage.storage.objects.os.write", full)
            with pytest.raises(OutOfResources):
                await admit(flow, ct_of(5_000_000)[1])

    asyncio.run(main())
    assert bench.files() == []
    assert bench.held == 0


def test_keys_given_ahead_spare_the_question(bench: Bench) -> None:
    uid, data = ct_of(3_000_000)
    study = "1.2.826.0.1.3680043.10.2.1"
    bench.ahead.keep(study, bench.guard.give_ahead())
    asyncio.run(admit(bench.flow(Expected(CT, uid)), data))
    assert [type(request) for request in bench.guard.requests] == [Commit]
    assert bench.read_back() == [data]


def test_keys_that_do_not_count_any_more_have_it_sealed_again_under_others(bench: Bench) -> None:
    uid, data = ct_of(5_000_000)
    bench.ahead.keep("1.2.826.0.1.3680043.10.2.1", bench.guard.give_ahead())
    bench.guard.forget_ahead()
    asyncio.run(admit(bench.flow(Expected(CT, uid)), data))
    assert [type(request) for request in bench.guard.requests] == [Commit, Admit, Commit]
    assert bench.read_back() == [data]
    assert len(bench.files()) == 1


def test_what_is_held_already_is_acknowledged_without_a_second_file(bench: Bench) -> None:
    def observe(request: object) -> None:
        if isinstance(request, Commit):
            bench.guard.answer(Admit, AlreadyHeld())

    bench.guard.observe = observe  # the commit is refused, then the instance turns out to be held
    bench.guard.answer(Commit, GuardRefused("invalid"))
    admission = asyncio.run(admit(bench.flow(), ct_of(3_000_000)[1]))
    assert isinstance(admission.outcome, AlreadyHeld)
    assert bench.files() == []


def test_a_large_header_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "_LOOK_BYTES", 50)
    uid, data = ct_of(3_000_000)
    asyncio.run(admit(bench.flow(Expected(CT, uid)), data, 64))
    assert bench.read_back() == [data]


def test_fragments_flow_as_well(bench: Bench) -> None:
    _, data = ct_of(0)
    head = data[: data.rindex(b"\xe0\x7f\x10\x00")] + pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)

    def item(value: bytes) -> bytes:
        return pack("<HHI", 0xFFFE, 0xE000, len(value)) + value

    end = pack("<HHI", 0xFFFE, 0xE0DD, 0)
    whole = head + item(b"") + item(os.urandom(1_700_000)) + item(os.urandom(900_000)) + end
    asyncio.run(admit(bench.flow(syntax=JPEG), whole))
    assert bench.read_back() == [whole]
    with pytest.raises(NotUnderstood):
        asyncio.run(admit(bench.flow(syntax=JPEG), whole[: -len(end)]))
    assert len(bench.files()) == 1


def test_two_at_once_do_not_mix(bench: Bench) -> None:
    made = [ct_of(3_000_000, number) for number in range(4)]

    async def main() -> None:
        flows = [bench.flow(Expected(CT, uid)) for uid, _ in made]
        await asyncio.gather(
            *(admit(each, data, 333_333) for each, (_, data) in zip(flows, made, strict=True))
        )

    asyncio.run(main())
    assert sorted(bench.read_back()) == sorted(data for _, data in made)


def test_answer_of_the_wrong_kind_stores_nothing(bench: Bench) -> None:
    bench.guard.answer(Admit, AlreadyHeld())  # to a request without a hash
    with pytest.raises(AdmissionError):
        asyncio.run(admit(bench.flow(), ct_of(3_000_000)[1]))
    assert bench.files() == []
    assert not isinstance(bench.guard.requests[0], Admitted)
