"""Decoding: every way of encoding a frame against the samples it was made of, and every public sample file."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import jpeg_ls
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import dcmread

from helpers.frames import SAMPLES, describe, first_frame, header, source
from ribcage.cage import (
    Cage,
    CageFailed,
    CageLimits,
    FrameSource,
    NativeFrame,
    Picture,
    PixelsUnreadable,
    RenderWish,
    WishInvalid,
)
from ribcage.cage.decode import decode
from ribcage.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

LIMITS = CageLimits()
IMPLICIT, EXPLICIT, DEFLATED, BIG = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
RLE = "1.2.840.10008.1.2.5"
JPEG, JPEG_LS, J2K = (f"1.2.840.10008.1.2.4.{last}" for last in (50, 80, 90))
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
RANDOM = np.random.default_rng(1)


def made(kind: str, *shape: int, bits: int = 0) -> NDArray[Any]:
    dtype = np.dtype(kind)
    bits = bits or 8 * dtype.itemsize
    low, high = (-(1 << bits - 1), 1 << bits - 1) if dtype.kind == "i" else (0, 1 << bits)
    return RANDOM.integers(low, high, shape or (6, 10)).astype(dtype)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED, BIG])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_native_frames_come_out_little_endian(syntax: str, kind: str) -> None:
    samples = made(kind)
    frame = decode(source(samples, syntax), LIMITS)
    assert frame.data == samples.astype(f"<{kind}").tobytes()
    assert (frame.rows, frame.columns, frame.bits_allocated) == (6, 10, 8 * samples.dtype.itemsize)


def test_a_deflated_header_is_inflated_up_to_its_pixels() -> None:
    samples = made("u2")
    whole = describe(samples)
    whole.add_new(0x7FE00010, "OW", samples.tobytes())
    engine = zlib.compressobj(wbits=-15)
    deflated = engine.compress(header(whole)) + engine.flush()
    assert decode(FrameSource(deflated, DEFLATED, samples.tobytes()), LIMITS).data == samples.tobytes()


def test_deflated_frames_are_inflated_within_their_size() -> None:
    samples = made("u2")
    engine = zlib.compressobj(wbits=-15)
    raw = engine.compress(samples.tobytes() + bytes(10**6)) + engine.flush()
    assert decode(source(samples, DEFLATED_FRAMES, raw), LIMITS).data == samples.tobytes()


@pytest.mark.parametrize("planar", [0, 1])
def test_native_colour_keeps_its_planar_configuration(planar: int) -> None:
    samples = made("u1", 4, 6, 3)
    frame = decode(source(samples, PlanarConfiguration=planar), LIMITS)
    assert (frame.data, frame.planar_configuration) == (samples.tobytes(), planar)


@given(st.integers(0, 6), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_bits_are_moved_to_the_first_bit_of_their_frame(index: int, rows: int, columns: int) -> None:
    bits = RANDOM.integers(0, 2, (7, rows * columns)).astype(np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    first, last = index * rows * columns, (index + 1) * rows * columns
    shape = describe(
        bits[0].reshape(rows, columns), BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=7
    )
    one = FrameSource(header(shape), EXPLICIT, packed[first // 8 : (last + 7) // 8], index)
    assert decode(one, LIMITS).data == np.packbits(bits[index], bitorder="little").tobytes()


@pytest.mark.parametrize(
    ("kind", "shape"), [("u1", (6, 10)), ("u2", (6, 10)), ("i2", (6, 10)), ("u1", (6, 10, 3))]
)
def test_rle(kind: str, shape: tuple[int, ...]) -> None:
    samples = made(kind, *shape)
    assert decode(source(samples, RLE, encode_rle_frame(samples)), LIMITS).data == samples.tobytes()


def encode_rle_frame(samples: NDArray[Any]) -> bytes:
    """RLE Lossless (PS3.5 G) by its definition: literal runs only."""
    many = samples[:, :, None] if samples.ndim == 2 else samples
    planes = [
        many[:, :, sample]
        .astype(f">u{many.dtype.itemsize}")
        .view("u1")
        .reshape(-1, many.dtype.itemsize)[:, byte]
        for sample in range(many.shape[2])
        for byte in range(many.dtype.itemsize)
    ]
    segments = []
    for plane in planes:
        flat = plane.tobytes()
        runs = [flat[at : at + 128] for at in range(0, len(flat), 128)]
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    head = np.array([len(segments), *offsets, *[0] * (15 - len(segments))], "<u4").tobytes()
    return head + b"".join(segments)


def jpeg(samples: NDArray[Any], *, marked: bool = True, ycc: bool = True) -> bytes:
    """Baseline JPEG; without its JFIF marker, or with red, green and blue as they are, where asked."""
    target = BytesIO()
    options = {} if samples.ndim == 2 else {"subsampling": 0, "keep_rgb": not ycc}
    Image.fromarray(samples).save(target, "JPEG", quality=98, **options)
    raw = target.getvalue()
    return raw if marked else raw[:2] + raw[4 + int.from_bytes(raw[4:6], "big") :]


def smooth(*shape: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = [rows * 3 % 256, columns * 2 % 256, 255 - (rows + columns) % 256]
    return np.stack(planes[: shape[2]], axis=2).astype("u1") if len(shape) == 3 else planes[0].astype("u1")


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL"])
@pytest.mark.parametrize("marked", [True, False])
def test_colour_of_baseline_jpeg_comes_out_as_rgb(photometric: str, marked: bool) -> None:
    samples = smooth(64, 80, 3)
    one = source(samples, JPEG, jpeg(samples, marked=marked), PhotometricInterpretation=photometric)
    frame = decode(one, LIMITS)
    assert frame.photometric_interpretation == "RGB"
    assert np.abs(np.frombuffer(frame.data, "u1").astype(int) - samples.reshape(-1)).mean() < 4


@pytest.mark.parametrize("named", [True, False])
def test_jpeg_of_red_green_and_blue_is_not_converted(named: bool) -> None:
    """Pillow calls the components R, G and B; called 1, 2 and 3 only the header says so."""
    samples = smooth(64, 80, 3)
    raw = jpeg(samples, ycc=False)
    if not named:
        raw = _renamed(raw)
    frame = decode(source(samples, JPEG, raw), LIMITS)
    assert np.abs(np.frombuffer(frame.data, "u1").astype(int) - samples.reshape(-1)).mean() < 4


def _renamed(raw: bytes) -> bytes:
    """The components of a JPEG called 1, 2 and 3 in its frame and scan header, its marker of colours taken away."""
    for number, name in enumerate(b"RGB", 1):
        for before, behind in ((b"", b"\x11"), (b"", b"\x00"), (b"", b"\x01")):
            head = raw[: raw.index(b"\xff\xda") + 14]
            raw = (
                head.replace(before + bytes([name]) + behind, before + bytes([number]) + behind)
                + raw[len(head) :]
            )
    return raw


def test_grey_baseline_jpeg() -> None:
    samples = smooth(64, 80)
    frame = decode(source(samples, JPEG, jpeg(samples)), LIMITS)
    assert np.abs(np.frombuffer(frame.data, "u1").astype(int) - samples.reshape(-1)).mean() < 2


@pytest.mark.parametrize(("kind", "bits"), [("u1", 8), ("u2", 12), ("u2", 16)])
def test_jpeg_ls(kind: str, bits: int) -> None:
    samples = made(kind, 16, 20, bits=bits)
    raw = bytes(jpeg_ls.encode_array(samples))
    assert decode(source(samples, JPEG_LS, raw, BitsStored=bits), LIMITS).data == samples.tobytes()


def test_jpeg_ls_of_signed_samples_gets_its_signs_back() -> None:
    samples = made("i2", 16, 20, bits=12)
    raw = bytes(jpeg_ls.encode_array((samples & 0xFFF).astype("u2")))
    assert decode(source(samples, JPEG_LS, raw, BitsStored=12), LIMITS).data == samples.tobytes()


@pytest.mark.parametrize(
    ("kind", "bits"), [("u1", 8), ("i1", 8), ("u2", 12), ("i2", 12), ("i2", 16), ("u2", 16)]
)
def test_jpeg_2000(kind: str, bits: int) -> None:
    samples = made(kind, 64, 80, bits=bits)
    raw = bytes(encode_array(samples, bits_stored=bits, photometric_interpretation=2))
    assert decode(source(samples, J2K, raw, BitsStored=bits), LIMITS).data == samples.tobytes()


def test_jpeg_2000_that_does_not_know_of_signs_gets_them_from_the_header() -> None:
    samples = made("i2", 64, 80, bits=12)
    raw = bytes(encode_array((samples & 0xFFF).astype("u2"), bits_stored=12, photometric_interpretation=2))
    assert decode(source(samples, J2K, raw, BitsStored=12), LIMITS).data == samples.tobytes()


def test_colour_of_jpeg_2000_comes_out_as_rgb() -> None:
    samples = made("u1", 64, 80, 3)
    raw = bytes(encode_array(samples, photometric_interpretation=1, use_mct=True))
    frame = decode(source(samples, J2K, raw, PhotometricInterpretation="YBR_RCT"), LIMITS)
    assert (frame.data, frame.photometric_interpretation) == (samples.tobytes(), "RGB")


@pytest.mark.parametrize("uid", sorted(TRANSFER_SYNTAXES))
def test_each_transfer_syntax_decodes_or_says_why_not(uid: str) -> None:
    samples = made("u1")
    try:
        assert decode(source(samples, uid), LIMITS).data == samples.tobytes()
    except PixelsUnreadable as error:
        assert str(error)
    except Exception as error:  # what a codec raises of its own on bytes that are not its own
        assert TRANSFER_SYNTAXES[uid].encapsulated, error


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"Rows": 7}, "expected a frame of 70 bytes, got 60"),
        ({"Rows": 0}, "rows and columns"),
        ({"Rows": None}, "expected Rows"),
        ({"BitsStored": 9}, "bits stored"),
        ({"BitsAllocated": 12}, "bits allocated"),
        ({"HighBit": 8}, "high bit"),
        ({"SamplesPerPixel": 4}, "4 samples"),
        ({"PhotometricInterpretation": "CMYK"}, "photometric"),
        ({"Rows": 65535, "Columns": 65535}, "pixels, got more"),
        ({"NumberOfFrames": "0"}, ""),
    ],
)
def test_a_header_that_contradicts_itself_is_unreadable(others: dict[str, Any], said: str) -> None:
    if not said:
        assert decode(source(made("u1"), **others), LIMITS).rows == 6
        return
    with pytest.raises(PixelsUnreadable, match=said):
        decode(source(made("u1"), **others), LIMITS)


def test_a_codestream_of_another_size_is_not_decoded() -> None:
    samples = made("u1", 64, 80)
    raw = bytes(encode_array(samples, photometric_interpretation=2))
    for rows in (63, 640):
        with pytest.raises(PixelsUnreadable, match="codestream"):
            decode(source(samples, J2K, raw, Rows=rows), LIMITS)


def test_tags_out_of_order_are_read_all_the_same() -> None:
    samples = made("u2")
    private = b"\x29\x00\x10\x00LO\x04\x00TEST"
    one = source(samples)
    assert decode(FrameSource(private + one.header, EXPLICIT, one.frame), LIMITS).data == samples.tobytes()


def test_the_front_imports_no_codec() -> None:
    code = "import sys, ribcage.cage; print({'numpy', 'PIL', 'gdcm', 'pydicom'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


UNREADABLE = {
    "dcm4che__Tag-0040-A170-VR-CS.dcm": "without pixels",
    "dcm4che__no_preamble_dicm_in_data.dcm": "without pixels",
    "dcm4che__report_dfl.dcm": "without pixels",
    "dcm4che__will-jxl.dcm": "JPEG XL",
    "dicom-test-files__reportsi.dcm": "without pixels",
    "dicom-test-files__test-SR.dcm": "without pixels",
    "fo-dicom__chrJapMulti.dcm": "got 0",
    "fo-dicom__chrKoreanMulti.dcm": "got 0",
    "highdicom__sr_document.dcm": "without pixels",
    "presidio__0_ORIGINAL_no_pixels.dcm": "got 0",
    "pydicom__waveform_ecg.dcm": "without pixels",
}
NOT_SCANNED = {
    "fo-dicom__GH364.dcm"
}  # refused by the scanner at the door, so that no frame of it is ever found


def sample_files() -> list[Path]:
    found = sorted(SAMPLES.glob("*.dcm")) if SAMPLES.is_dir() else []
    return [path for path in found if path.name not in NOT_SCANNED]


def test_every_sample_file_decodes_or_is_unreadable() -> None:
    if not sample_files():
        pytest.skip("the public sample files are not here")

    async def run() -> dict[str, str]:
        cage, refused = Cage(CageLimits(workers=2)), {}

        async def both(path: Path) -> None:
            one = first_frame(path)
            try:
                frame = await cage.decode(one)
                picture = await cage.render(one, RenderWish("image/png"))
            except PixelsUnreadable as error:
                refused[path.name] = str(error)
                return
            assert isinstance(frame, NativeFrame)
            assert isinstance(picture, Picture)
            assert (picture.width, picture.height) == (frame.columns, frame.rows)

        await asyncio.gather(*map(both, sample_files()))
        await cage.close()
        return refused

    refused = asyncio.run(run())
    assert set(refused) == set(UNREADABLE)
    assert not [name for name, said in UNREADABLE.items() if said not in refused[name]]


@pytest.mark.parametrize("twins", [("RG3_J2KR", "RG3_JPLL", "RG3_RLE")])
def test_one_image_in_three_codecs_is_one_image(twins: tuple[str, ...]) -> None:
    paths = [SAMPLES / f"dicom-test-files__{name}.dcm" for name in twins]
    if not all(path.exists() for path in paths):
        pytest.skip("the public sample files are not here")
    assert len({decode(first_frame(path), LIMITS).data for path in paths}) == 1


def test_jpeg_of_12_bits_is_the_lossless_image_within_its_loss() -> None:
    lossy, lossless = (SAMPLES / f"dicom-test-files__{name}.dcm" for name in ("RG2_JPLY", "RG2_JLSL"))
    if not lossy.exists():
        pytest.skip("the public sample files are not here")
    one, other = (
        np.frombuffer(decode(first_frame(path), LIMITS).data, "<u2").astype(int) for path in (lossy, lossless)
    )
    assert abs(one - other).mean() < 4  # of 1,024 levels


@pytest.mark.parametrize("name", ["emri_small_big_endian", "emri_small_jpeg_2k_lossless"])
def test_samples_are_those_that_pydicom_reads(name: str) -> None:
    path = SAMPLES / f"dicom-test-files__{name}.dcm"
    if not path.exists():
        pytest.skip("the public sample files are not here")
    reference = SAMPLES / "dicom-test-files__emri_small_big_endian.dcm"
    expected = dcmread(reference).pixel_array[0].astype("<u2").tobytes()
    assert decode(first_frame(path), LIMITS).data == expected


@given(st.binary(max_size=200), st.sampled_from(sorted(TRANSFER_SYNTAXES)), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_random_frames_end_in_an_error_of_the_cage_or_of_the_codec(raw: bytes, uid: str, index: int) -> None:
    """In-process: a codec may raise anything here; a crash would end the test run."""
    begun = source(made("u2"), uid, raw)
    try:
        frame = decode(FrameSource(begun.header, uid, raw, index), LIMITS)
    except Exception as error:
        assert not isinstance(error, MemoryError | AssertionError)
    else:
        assert len(frame.data) == 120


def test_damaged_frames_and_headers_never_hang_and_never_end_the_cage() -> None:
    """Bytes changed, cut or doubled: a frame, PixelsUnreadable, or a worker that died for it (CageFailed)."""
    samples = smooth(64, 80)
    sound = [
        source(samples, JPEG, jpeg(samples)),
        source(samples, JPEG_LS, bytes(jpeg_ls.encode_array(samples))),
        source(samples, J2K, bytes(encode_array(samples, photometric_interpretation=2))),
        source(samples, RLE, encode_rle_frame(samples)),
        source(samples),
    ]
    dice = random.Random(7)

    def damaged(raw: bytes) -> bytes:
        some = bytearray(raw)
        for _ in range(dice.randint(1, 8)):
            some[dice.randrange(len(some))] = dice.randrange(256)
        return bytes(some[: dice.randrange(len(some))] if dice.random() < 0.2 else some)

    async def run() -> int:
        cage, answers = Cage(CageLimits(workers=2, job_seconds=3.0)), 0

        async def one(number: int) -> None:
            nonlocal answers
            good = sound[number % len(sound)]
            header, frame = good.header, good.frame
            bad = FrameSource(damaged(header), good.transfer_syntax_uid, frame)
            if number % 2:
                bad = FrameSource(header, good.transfer_syntax_uid, damaged(frame))
            for job in (cage.decode(bad), cage.render(bad, RenderWish())):
                with contextlib.suppress(PixelsUnreadable, CageFailed, WishInvalid):
                    await job
                answers += 1

        for start in range(0, 100, 20):
            await asyncio.gather(*(one(number) for number in range(start, start + 20)))
        await cage.close()
        return answers

    assert asyncio.run(run()) == 200
