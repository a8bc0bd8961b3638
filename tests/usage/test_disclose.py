"""The way out: what leaves in each view, what ends it, and what the closing entry says."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from helpers.fake_guard import FakeGuard
from helpers.front_house import CT, EXPLICIT_LE, ct_slice
from ribcage.capture.admit import WayIn, admit_file, admit_instance
from ribcage.capture.disarm import Expected
from ribcage.dicom.part10 import file_prefix
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.protocol import Device, Disclose, DisclosureClosed, Open, Revoked
from ribcage.storage.objects import ObjectStore
from ribcage.usage.disclose import Disclosure, InstanceStream, WayOut, open_disclosure
from ribcage.usage.errors import (
    CannotDecide,
    DisclosureCut,
    DisclosureError,
    MaskedViewRefused,
    NotAuthenticated,
    NothingFound,
    NotPermitted,
    ObjectDamaged,
    RequestInvalid,
    SecondFactorNeeded,
    Throttled,
)

DEVICE = Device(b"f" * 32, "WS1", "127.0.0.1")
STUDY = "1.2.826.0.1.3680043.10.2.1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Archive:
    """A fake guard, a folder, and both doors."""

    def __init__(self, folder: Path) -> None:
        self.guard = FakeGuard()
        self.objects = ObjectStore(folder)
        self.clock = Clock()
        self.way = WayOut(self.guard, self.objects, self.clock)

    async def keep(self, *data_sets: bytes) -> None:
        for data in data_sets:
            way = WayIn(self.guard, self.objects)
            await admit_instance(way, DEVICE, "dimse", "RIBCAGE", data, EXPLICIT_LE, Expected())

    async def open(self) -> Disclosure:
        return await open_disclosure(self.way, DEVICE, "dicomweb", STUDY)

    @property
    def closing(self) -> DisclosureClosed:
        closing = self.guard.requests[-1]
        assert isinstance(closing, DisclosureClosed)
        return closing


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


async def _file(stream: InstanceStream) -> bytes:
    return b"".join([part async for part in stream.parts()])


def test_file_comes_back_bit_for_bit_with_its_own_prefix(archive: Archive) -> None:
    uid, data = ct_slice()
    prefix = bytearray(file_prefix(CT, uid, EXPLICIT_LE))
    prefix[:4] = b"II*\0"
    file = bytes(prefix) + data

    async def main() -> None:
        await admit_file(WayIn(archive.guard, archive.objects), DEVICE, "dicomweb", file)
        async with await archive.open() as out:
            stream = await out.instance_stream(out.instances[0])
            assert await _file(stream) == file
            assert stream.content_length == len(file)

    asyncio.run(main())
    assert archive.closing.octets == len(file)
    assert (archive.closing.instances, archive.closing.outcome) == (1, "complete")


def test_data_set_leaves_as_a_file_that_pydicom_reads(archive: Archive) -> None:
    uid, data = ct_slice()

    async def main() -> bytes:
        await archive.keep(data)
        async with await archive.open() as out:
            return await _file(await out.instance_stream(out.instances[0]))

    file = asyncio.run(main())
    assert file.endswith(data)
    read = pydicom.dcmread(BytesIO(file))
    assert (read.SOPInstanceUID, read.file_meta.TransferSyntaxUID) == (uid, EXPLICIT_LE)


def test_masked_view_has_pixels_and_no_identity_nor_what_follows_the_pixels(archive: Archive) -> None:
    _, data = ct_slice(1, 600)
    trailing = b"\xfc\xff\xfc\xffOB\x00\x00\x08\x00\x00\x00Muster\x00\x00"
    archive.guard.view = "masked"

    async def main() -> bytes:
        await archive.keep(data + trailing)
        async with await archive.open() as out:
            stream = await out.instance_stream(out.instances[0])
            assert stream.content_length is None
            assert not stream.pixels_checked
            return await _file(stream)

    file = asyncio.run(main())
    assert b"Muster" not in file and b"P-0001" not in file
    read, original = pydicom.dcmread(BytesIO(file)), pydicom.dcmread(BytesIO(data), force=True)
    assert read.PixelData == original.PixelData
    assert str(read.PatientName).startswith("Masked^")
    assert archive.closing.octets == len(file)


def test_class_without_masking_rule_is_refused_with_the_offer_of_a_step_up(archive: Archive) -> None:
    archive.guard.view = "masked"

    async def main() -> None:
        await archive.keep(ct_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")[1])
        async with await archive.open() as out:
            await out.instance_stream(out.instances[0])

    with pytest.raises(MaskedViewRefused) as refused:
        asyncio.run(main())
    assert isinstance(refused.value, SecondFactorNeeded)
    assert archive.closing.octets == 0
    assert archive.closing.instances == 0


def test_view_that_is_unknown_discloses_nothing(archive: Archive) -> None:
    archive.guard.view = "none"

    async def main() -> None:
        await archive.keep(ct_slice()[1])
        async with await archive.open() as out:
            await out.instance_stream(out.instances[0])

    with pytest.raises(MaskedViewRefused):
        asyncio.run(main())


@pytest.mark.parametrize("how", ["revoked", "expired", "guard lost"])
def test_stream_ends_at_the_next_segment(archive: Archive, how: str) -> None:
    archive.guard.expires_at = 2000.0

    async def main() -> int:
        await archive.keep(ct_slice(1, 1536)[1])
        got = 0
        with pytest.raises(DisclosureCut):
            async with await archive.open() as out:
                stream = await out.instance_stream(out.instances[0])
                async for part in stream.data_set():
                    got += len(part)
                    if got > 1_000_000:
                        if how == "revoked":
                            archive.way.on_push(Revoked([out.answer.disclosure]))
                        elif how == "expired":
                            archive.clock.now = 2000.0
                        else:
                            archive.way.guard_lost()
        return got

    got = asyncio.run(main())
    assert got < (1 << 20) + 1000  # the header and one segment of five
    assert (archive.closing.outcome, archive.closing.octets) == ("cut", got)


def test_revocation_of_another_disclosure_cuts_nothing(archive: Archive) -> None:
    async def main() -> None:
        await archive.keep(ct_slice()[1])
        async with await archive.open() as out:
            archive.way.on_push(Revoked([b"x" * 16]))
            await _file(await out.instance_stream(out.instances[0]))

    asyncio.run(main())
    assert archive.closing.outcome == "complete"


def test_keys_are_fetched_in_small_batches_and_refused_keys_cut(archive: Archive) -> None:
    async def main() -> None:
        await archive.keep(*(ct_slice(number, 16)[1] for number in range(20)))
        async with await archive.open() as out:
            for ref in out.instances[:16]:
                await _file(await out.instance_stream(ref))
            archive.guard.answer(Open, GuardRefused("not_permitted"))
            await out.instance_stream(out.instances[16])

    with pytest.raises(DisclosureCut):
        asyncio.run(main())
    batches = [len(request.object_ids) for request in archive.guard.requests if isinstance(request, Open)]
    assert batches == [16, 4]
    assert (archive.closing.outcome, archive.closing.instances) == ("cut", 16)


def test_abandoned_stream_is_closed_as_aborted_with_what_left(archive: Archive) -> None:
    async def main() -> int:
        await archive.keep(ct_slice(1, 1536)[1])
        async with await archive.open() as out:
            stream = await out.instance_stream(out.instances[0])
            parts = stream.data_set()
            first = await anext(parts)
            await parts.aclose()
            return len(first)

    sent = asyncio.run(main())
    assert (archive.closing.outcome, archive.closing.octets) == ("aborted", sent)


def test_cancelled_request_still_writes_its_closing_entry(archive: Archive) -> None:
    async def main() -> None:
        await archive.keep(ct_slice()[1])
        started = asyncio.Event()

        async def request() -> None:
            async with await archive.open() as out:
                await out.instance_stream(out.instances[0])
                started.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(request())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert archive.closing.outcome == "aborted"


def test_damaged_object_is_refused_before_a_byte_of_the_segment(archive: Archive) -> None:
    async def main() -> None:
        await archive.keep(ct_slice()[1])
        path = archive.objects._root / next(archive.objects.list_files())
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.chmod(0o640)
        path.write_bytes(data)
        async with await archive.open() as out:
            await _file(await out.instance_stream(out.instances[0]))

    with pytest.raises(ObjectDamaged):
        asyncio.run(main())


def test_instance_of_another_disclosure_is_refused(archive: Archive) -> None:
    async def main() -> None:
        await archive.keep(ct_slice(1)[1])
        async with await archive.open() as first:
            await archive.keep(ct_slice(2)[1])
            async with await archive.open() as second:
                await first.instance_stream(second.instances[1])

    with pytest.raises(RequestInvalid):
        asyncio.run(main())


def test_disclosure_gives_nothing_before_it_is_entered_and_after_it_is_closed(archive: Archive) -> None:
    async def main() -> None:
        await archive.keep(ct_slice()[1])
        out = await archive.open()
        with pytest.raises(DisclosureCut):
            await out.instance_stream(out.instances[0])
        async with out:
            stream = await out.instance_stream(out.instances[0])
        with pytest.raises(DisclosureCut):
            await _file(stream)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("failure", "error", "status"),
    [
        (GuardRefused("not_authenticated"), NotAuthenticated, 401),
        (GuardRefused("not_permitted", 5), NotPermitted, 403),
        (GuardRefused("second_factor_needed"), SecondFactorNeeded, 403),
        (GuardRefused("not_found"), NothingFound, 404),
        (GuardRefused("invalid"), RequestInvalid, 400),
        (GuardRefused("throttled"), Throttled, 429),
        (GuardRefused("unavailable"), CannotDecide, 503),
        (GuardUnavailable("gone"), CannotDecide, 503),
    ],
)
def test_refusal_is_told_by_its_class(
    archive: Archive, failure: Exception, error: type[DisclosureError], status: int
) -> None:
    archive.guard.answer(Disclose, failure)
    with pytest.raises(error) as refused:
        asyncio.run(archive.open())
    assert type(refused.value) is error
    assert refused.value.http_status == status
    assert refused.value.entry == getattr(failure, "entry", -1)
