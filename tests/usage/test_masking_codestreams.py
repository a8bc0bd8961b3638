"""Text inside compressed frames does not leave; pixels do, bit for bit, in the same number of bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path
from struct import pack

import numpy
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openjpeg import decode as decode_jpeg_2000
from PIL import Image
from pydicom.encaps import generate_frames

from ribcage.usage.masking import NoMaskingRule
from ribcage.usage.masking.codestreams import blank_text, has_rule

SAMPLES = Path(os.environ.get("RIBCAGE_DICOM_FILES", Path(__file__).parents[3] / "shared" / "data" / "dicom"))
BASELINE, LS, J2K, RLE = (f"1.2.840.10008.1.2.{end}" for end in ("4.50", "4.80", "4.90", "5"))
NAME = b"Wang^Xiaodong ID-4711"


def jpeg(**more: object) -> bytes:
    picture = Image.fromarray(numpy.arange(64 * 64 * 3, dtype="uint8").reshape(64, 64, 3))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **more)
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def pixels(frame: bytes) -> bytes:
    return Image.open(io.BytesIO(frame)).tobytes()


@pytest.mark.parametrize("marker", [*range(0xE0, 0xF0), 0xFE])
def test_text_in_application_and_comment_segments_is_blanked(marker: int) -> None:
    frame = jpeg()
    seeded = frame[:2] + segment(marker, b"Exif\0\0" + NAME) + frame[2:] + NAME
    shown = blank_text(seeded, BASELINE)
    assert len(shown) == len(seeded)
    assert NAME[:4] not in shown
    assert pixels(shown) == pixels(frame)


def test_text_between_scans_and_behind_fill_bytes_is_found() -> None:
    frame = jpeg(progressive=True)
    second = frame.index(b"\xff\xda", frame.index(b"\xff\xda") + 2)
    seeded = frame[:second] + b"\xff\xff" + segment(0xFE, NAME) + frame[second:]
    shown = blank_text(seeded, BASELINE)
    assert NAME[:4] not in shown
    assert pixels(shown) == pixels(frame)


def test_what_decides_colours_is_kept_without_what_else_it_says() -> None:
    frame = jpeg(exif=b"Exif\0\0" + NAME)
    adobe = segment(0xEE, b"Adobe\0\x64" + NAME[:4] + b"\x01" + NAME)
    seeded = frame[:2] + adobe + frame[2:]
    shown = blank_text(seeded, BASELINE)
    assert NAME[:4] not in shown
    assert shown.index(b"Adobe") == 6
    assert pixels(shown) == pixels(seeded)
    assert b"JFIF" in blank_text(jpeg(dpi=(300, 300)), BASELINE)


def sample(name: str) -> list[bytes]:
    path = SAMPLES / name
    if not path.is_file():
        pytest.skip("the public sample files are not here")
    data_set = pydicom.dcmread(path)
    return list(
        generate_frames(data_set.PixelData, number_of_frames=int(data_set.get("NumberOfFrames", 1) or 1))
    )


@pytest.mark.parametrize(
    "name", ["dicom-test-files__RG3_J2KR.dcm", "dicom-test-files__emri_small_jpeg_2k_lossless.dcm"]
)
def test_jpeg_2000_comments_are_blanked_in_main_and_tile_headers(name: str) -> None:
    frame = sample(name)[0]
    comment = b"\xff\x64" + (len(NAME) + 4).to_bytes(2, "big") + b"\0\x01" + NAME
    tile = frame.index(b"\xff\x90\0\x0a")
    length = int.from_bytes(frame[tile + 6 : tile + 10], "big")
    longer = (length + len(comment) if length else 0).to_bytes(4, "big")
    seeded = (
        frame[:tile] + comment + frame[tile : tile + 6] + longer + frame[tile + 10 : tile + 12] + comment
        + frame[tile + 12 :] + NAME
    )  # fmt: skip
    shown = blank_text(seeded, J2K)
    assert NAME[:4] not in shown
    assert numpy.array_equal(decode_jpeg_2000(shown), decode_jpeg_2000(frame))


def test_unknown_boxes_of_a_jp2_file_are_blanked_and_a_colour_profile_is_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(numpy.zeros((32, 32), "uint8")).save(buffer, "JPEG2000")
    frame = buffer.getvalue()
    box = pack(">I4s", 8 + len(NAME), b"xml ") + NAME
    shown = blank_text(frame + box, J2K)
    assert NAME[:4] not in shown
    assert pixels(shown[: len(frame)]) == pixels(frame)
    with pytest.raises(NoMaskingRule):
        blank_text(frame.replace(b"colr\x01", b"colr\x02"), J2K)


@pytest.mark.parametrize(
    "name",
    [
        "dicom-test-files__RG2_JLSL.dcm", "dicom-test-files__RG2_JPLY.dcm", "dicom-test-files__RG3_JPLL.dcm",
        "dicom-test-files__RG1_J2KI.dcm", "dcm4che__YBR_FULL-RLE.dcm", "dicom-test-files__RG3_RLE.dcm",
        "cornerstoneWADOImageLoader__CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm",
    ],
)  # fmt: skip
def test_public_frames_pass_with_their_pixels(name: str) -> None:
    syntax = pydicom.dcmread(SAMPLES / name).file_meta.TransferSyntaxUID if (SAMPLES / name).is_file() else ""
    for frame in sample(name):
        shown = blank_text(frame, syntax)
        assert len(shown) == len(frame)
        changed = sum(a != b for a, b in zip(frame, shown, strict=True))
        assert changed < 2000  # segments of text, never entropy-coded data
        assert blank_text(shown, syntax) == shown


def test_unused_rle_offsets_are_blanked() -> None:
    frame = pack("<16I", 1, 64, *([0x676E6157] * 14)) + b"\x00\x01"
    assert b"Wang" not in blank_text(frame, RLE)


@pytest.mark.parametrize("end", ["4.102", "4.107", "4.110", "4.112"])
def test_video_and_jpeg_xl_have_no_masked_view(end: str) -> None:
    syntax = f"1.2.840.10008.1.2.{end}"
    assert not has_rule(syntax)
    with pytest.raises(NoMaskingRule):
        blank_text(bytes(100), syntax)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([BASELINE, LS, J2K, RLE]), st.booleans())
def test_any_bytes_are_shown_in_their_length_or_refused(data: bytes, syntax: str, begun: bool) -> None:
    start = {BASELINE: b"\xff\xd8", LS: b"\xff\xd8", J2K: b"\xff\x4f"}.get(syntax, b"") if begun else b""
    try:
        shown = blank_text(start + data, syntax)
    except NoMaskingRule:
        return
    assert len(shown) == len(start + data)
