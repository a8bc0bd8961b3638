"""Every stored syntax against every accepted one: pydicom reads the same data set and the same pixels."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path

import jpeg_ls
import numpy as np
import pytest
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicom.data_builders import BIG, DEFLATED, EXPLICIT, IMPLICIT, decode, encode, film
from dicom.test_data_convert import bare
from helpers.fake_guard import FakeGuard
from helpers.frames import SAMPLES
from ribcage.cage import Cage
from ribcage.capture.admit import WayIn, admit_file, admit_instance
from ribcage.capture.disarm import Expected
from ribcage.capture.errors import AdmissionError
from ribcage.guard.protocol import Device, DisclosureClosed
from ribcage.storage.objects import ObjectStore
from ribcage.usage.disclose import WayOut, open_disclosure
from ribcage.usage.errors import DisclosureCut, DisclosureError, NotConvertible
from ribcage.usage.transcode import can_transcode, transcoded

DEVICE = Device(b"f" * 32, "WS1", "127.0.0.1")
RLE, JPEG_LS, J2K = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
TARGETS = (EXPLICIT, IMPLICIT, DEFLATED)
FRAMES, ROWS, COLUMNS = 3, 33, 65


def samples() -> NDArray[np.uint8]:
    rows = np.random.default_rng(7).integers(0, 256, (FRAMES, ROWS, COLUMNS))
    return rows.astype(np.uint8)


def stored(syntax: str) -> bytes:
    """Three frames of an odd number of bytes, in this syntax, with something behind the pixels."""
    ds: Dataset = film(pixels=False)
    ds.NumberOfFrames, ds.Rows, ds.Columns = FRAMES, ROWS, COLUMNS
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    frames = samples()
    encoders = {
        JPEG_LS: lambda one: bytes(jpeg_ls.encode_array(one)),
        J2K: lambda one: bytes(encode_array(one, photometric_interpretation=2)),
    }
    if syntax == RLE:
        encoded = [_rle(one) for one in frames]
    elif syntax in encoders:
        encoded = [encoders[syntax](one) for one in frames]
    else:
        ds.PixelData = frames.tobytes() + b"\0"
        ds["PixelData"].VR = "OB"
        encoded = []
    if encoded:
        ds.PixelData = encapsulate(encoded)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    ds.add_new(0xFFFCFFFC, "OB", b"padding.")
    return encode(ds, syntax)


def _rle(one: NDArray[np.uint8]) -> bytes:
    """PackBits of one segment, literal runs only (PS3.5 G.3)."""
    raw = one.tobytes()
    runs = b"".join(bytes([len(raw[n : n + 128]) - 1]) + raw[n : n + 128] for n in range(0, len(raw), 128))
    head = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    return head + runs + b"\0" * (len(runs) % 2)


class Shelf:
    """A fake guard, one stored instance, and what leaves of it."""

    def __init__(self, folder: Path, cage: Cage) -> None:
        self.guard = FakeGuard()
        self.objects = ObjectStore(folder)
        self.cage = cage

    async def keep(self, data: bytes, syntax: str) -> None:
        way = WayIn(self.guard, self.objects)
        await admit_instance(way, DEVICE, "dimse", "RIBCAGE", data, syntax, Expected())

    async def take(self, target: str) -> bytes:
        way = WayOut(self.guard, self.objects)
        async with await open_disclosure(way, DEVICE, "dimse", "1.2.3") as out:
            stream = await out.instance_stream(out.instances[0])
            return b"".join([part async for part in transcoded(stream, target, self.cage)])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _with_shelf(folder: Path, work) -> None:  # type: ignore[no-untyped-def]  # an async function of the test
    async def main() -> None:
        cage = Cage()
        try:
            await work(Shelf(folder, cage))
        finally:
            await cage.close()

    asyncio.run(main())


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED, BIG, RLE, JPEG_LS, J2K])
def test_every_stored_syntax_leaves_in_every_accepted_one(syntax: str, tmp_path: Path) -> None:
    async def work(shelf: Shelf) -> None:
        raw = stored(syntax)
        await shelf.keep(raw, syntax)
        assert await shelf.take(syntax) == raw
        before = decode(raw, syntax)
        for target in TARGETS:
            out = await shelf.take(target)
            after = decode(out, target)
            assert np.array_equal(after.pixel_array, samples())
            unlike = {0x7FE00010} if syntax in (RLE, JPEG_LS, J2K) else set()
            assert [e for e in bare(after) if e[0] not in unlike] == [
                e for e in bare(before, syntax) if e[0] not in unlike
            ]
            assert after[0xFFFCFFFC].value == b"padding."
            assert not len(out) % 2
            closing = shelf.guard.requests[-1]
            assert isinstance(closing, DisclosureClosed)
            assert (closing.octets, closing.outcome) == (len(out), "complete")

    _with_shelf(tmp_path, work)


def test_table_of_what_can_leave_in_what() -> None:
    video, jpip = "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.94"
    for syntax in (EXPLICIT, IMPLICIT, DEFLATED, BIG, RLE, JPEG_LS, J2K):
        assert all(can_transcode(syntax, target) for target in (*TARGETS, syntax))
        for other in {BIG, RLE, J2K} - {syntax}:
            assert not can_transcode(syntax, other)
    assert not can_transcode(video, EXPLICIT)
    assert not can_transcode(jpip, EXPLICIT)


def test_damaged_frame_fails_before_the_first_byte(tmp_path: Path) -> None:
    async def work(shelf: Shelf) -> None:
        ds = film(pixels=False)
        ds.PixelData = encapsulate([b"no codestream at all"])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        await shelf.keep(encode(ds, J2K), J2K)
        with pytest.raises(NotConvertible):
            await shelf.take(EXPLICIT)
        closing = shelf.guard.requests[-1]
        assert isinstance(closing, DisclosureClosed)
        assert (closing.instances, closing.octets, closing.outcome) == (0, 0, "aborted")

    _with_shelf(tmp_path, work)


def test_masked_view_is_never_transcoded(tmp_path: Path) -> None:
    async def work(shelf: Shelf) -> None:
        shelf.guard.view = "masked"
        await shelf.keep(stored(EXPLICIT), EXPLICIT)
        with pytest.raises(NotConvertible):
            await shelf.take(IMPLICIT)

    _with_shelf(tmp_path, work)


def test_cut_disclosure_stops_a_conversion(tmp_path: Path) -> None:
    async def work(shelf: Shelf) -> None:
        ds = film(pixels=False)
        ds.Rows, ds.Columns = 2048, 2048
        ds.PixelData = bytes(2048 * 2048 * 2)
        ds["PixelData"].VR = "OW"
        await shelf.keep(encode(ds, EXPLICIT), EXPLICIT)
        way = WayOut(shelf.guard, shelf.objects)
        async with await open_disclosure(way, DEVICE, "dimse", "1.2.3") as out:
            parts = transcoded(await out.instance_stream(out.instances[0]), IMPLICIT, shelf.cage)
            await anext(parts)
            out.cut("revoked")
            with pytest.raises(DisclosureCut):
                await anext(parts)

    _with_shelf(tmp_path, work)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the public sample files are not here")
def test_public_files_leave_with_the_same_pixels(tmp_path: Path) -> None:
    """What the door takes and the cage reads, leaves in each syntax; pydicom sees the same pixels in all of them."""

    async def work(shelf: Shelf) -> None:
        done = 0
        for number, path in enumerate(sorted(SAMPLES.glob("*.dcm"))):
            one = Shelf(tmp_path / str(number), shelf.cage)
            try:
                way = WayIn(one.guard, one.objects)
                await admit_file(way, DEVICE, "import", path.read_bytes())
                outs = {target: await one.take(target) for target in TARGETS}
            except (AdmissionError, DisclosureError):
                continue
            found = [decode(out, target) for target, out in outs.items()]
            explicit, deflated = ([e for e in bare(ds) if e[0] & 0xFFFF] for ds in (found[0], found[2]))
            assert explicit == deflated, path.name
            if "PixelData" in found[0]:
                before = dcmread(path)
                pixels = [one.pixel_array for one in found]
                assert all(np.array_equal(pixels[0], other) for other in pixels[1:]), path.name
                if not before.file_meta.TransferSyntaxUID.is_encapsulated:
                    assert np.array_equal(pixels[0], before.pixel_array), path.name
            done += 1
        assert done >= 30

    _with_shelf(tmp_path, work)
