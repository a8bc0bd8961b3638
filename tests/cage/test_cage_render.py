"""Rendering: each step of PS3.3 C.11 and C.7.6.3 against pydicom's own computation or one made by hand."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, convert_color_space

from helpers.frames import SAMPLES, describe, first_frame, header, source
from ribcage.cage import CageLimits, FrameSource, PixelsUnreadable, RenderWish, WishInvalid
from ribcage.cage.colour import expand_segments
from ribcage.cage.render import render

LIMITS = CageLimits()
EXPLICIT, BIG, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"
RAMP = np.arange(4096, dtype="u2").reshape(64, 64)
SIGNED = (np.arange(4096) - 2048).astype("i2").reshape(64, 64)


def shown(one: FrameSource, **wish: Any) -> NDArray[Any]:
    """The picture's samples, by PNG, which loses nothing."""
    return opened(render(one, RenderWish("image/png", **wish), LIMITS).data)


def opened(picture: bytes) -> NDArray[Any]:
    return np.asarray(Image.open(BytesIO(picture))).astype(int)


def expected(shares: NDArray[Any]) -> NDArray[Any]:
    return np.rint(np.clip(shares, 0, 1) * 255).astype(int)


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def lut(descriptor: list[int], data: list[int], first_vr: str = "US") -> Dataset:
    made = Dataset()
    made.add_new(0x00283002, first_vr, descriptor)
    made.add_new(0x00283006, "US", data)
    return made


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("samples", [RAMP, SIGNED], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", [EXPLICIT, BIG, IMPLICIT])
def test_window_and_rescale_of_the_header_are_pydicoms(
    function: str, samples: NDArray[Any], syntax: str
) -> None:
    about = {
        "RescaleSlope": "1.5",
        "RescaleIntercept": "-1024",
        "WindowCenter": ["40", "300"],
        "WindowWidth": ["400", "1500"],
        "VOILUTFunction": function,
        "BitsStored": 12,
    }
    described = describe(samples, **about)
    by_pydicom = apply_voi_lut(apply_modality_lut(samples, described), described)
    low, high = apply_modality_lut(np.array([-2048, 2047] if samples is SIGNED else [0, 4095]), described)
    shares = (by_pydicom - low) / (high - low)
    assert np.abs(shown(source(samples, syntax, **about)) - expected(shares)).max() <= 1


def test_a_window_that_was_asked_for_is_a_ramp_made_by_hand() -> None:
    """PS3.3 C.11.2.1.2: centre 1000, width 101 is black to 949.5, white from 1049.5 on, a straight line between."""
    line = shown(source(RAMP), window=(1000.0, 101.0, "linear")).reshape(-1)
    assert (line[:950] == 0).all()
    assert (line[1050:] == 255).all()
    assert list(line[950:1050]) == [round(255 * (value - 949.5) / 100) for value in range(950, 1050)]


def test_a_window_of_width_one_is_a_threshold() -> None:
    line = shown(source(RAMP), window=(1000.0, 1.0, "linear")).reshape(-1)
    assert (line[999], line[1000]) == (0, 255)


def test_sigmoid_and_linear_exact_by_hand() -> None:
    for function, value in (
        ("sigmoid", lambda x: 1 / (1 + math.exp(-4 * (x - 1000) / 500))),
        ("linear-exact", lambda x: min(max((x - 1000) / 500 + 0.5, 0), 1)),
    ):
        line = shown(source(RAMP), window=(1000.0, 500.0, function)).reshape(-1)
        assert list(line) == [round(255 * value(x)) for x in range(4096)]


@pytest.mark.parametrize("window", [(0.0, 0.5, "linear"), (0.0, 0.0, "sigmoid"), (math.nan, 9.0, "linear")])
def test_a_window_that_the_standard_forbids_is_no_wish(window: Any) -> None:
    with pytest.raises(WishInvalid, match="window"):
        shown(source(RAMP), window=window)


def test_a_forbidden_window_of_the_header_is_passed_over() -> None:
    about = {"WindowCenter": "100", "WindowWidth": "0"}
    assert (shown(source(RAMP, **about)) == shown(source(RAMP))).all()


def test_without_a_window_the_frames_own_range_is_shown() -> None:
    samples = (RAMP // 4 + 1000).astype("u2")
    assert (shown(source(samples)) == expected((samples - 1000.0) / 1023)).all()
    assert shown(source(np.full((8, 8), 7, "u2"))).max() == 0


@pytest.mark.parametrize("kind", ["u4", "i4"])
def test_wide_integers_and_floats_are_shown_by_their_range(kind: str) -> None:
    samples = (RAMP.astype("i8") * 1000 - (2_000_000 if kind == "i4" else 0)).astype(kind)
    assert (shown(source(samples)) == expected(RAMP / 4095)).all()


def test_floats_are_shown_and_what_is_no_number_is_black() -> None:
    samples = RAMP.astype("f4") / 7
    samples[0, 5] = np.nan
    about = {"BitsStored": None, "HighBit": None, "PixelRepresentation": None}
    made = describe(samples)
    for keyword in about:
        delattr(made, keyword)
    picture = shown(FrameSource(header(made), EXPLICIT, samples.tobytes()))
    wanted = expected(RAMP / 4095)
    wanted[0, 5] = 0
    assert (picture == wanted).all()


def test_modality_lut_and_voi_lut_are_pydicoms() -> None:
    modality = lut([4096, 0, 16], [int(40000 * math.sqrt(i / 4095)) for i in range(4096)])
    voi = lut([20001, 10000, 12], [int(4095 * (i / 20000) ** 2) for i in range(20001)])
    about = {"ModalityLUTSequence": [modality], "VOILUTSequence": [voi]}
    described = describe(RAMP, **about)
    by_pydicom = apply_voi_lut(apply_modality_lut(RAMP, described), described)
    assert (shown(source(RAMP, **about)) == expected(by_pydicom / 4095)).all()


def test_a_voi_lut_that_begins_below_zero() -> None:
    voi = lut([4096, -2048 & 0xFFFF, 8], [i % 256 for i in range(4096)])
    picture = shown(source(SIGNED, VOILUTSequence=[voi]))
    assert (picture.reshape(-1) == np.arange(4096) % 256).all()


def test_a_broken_lut_is_unreadable() -> None:
    with pytest.raises(PixelsUnreadable, match="LUT"):
        shown(source(RAMP, VOILUTSequence=[lut([4096, 0, 12], [1, 2, 3])]))


def test_monochrome1_is_white_where_monochrome2_is_black() -> None:
    inverted = shown(source(RAMP, PhotometricInterpretation="MONOCHROME1"))
    assert (inverted == expected(1 - RAMP / 4095)).all()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_sets_no_range(photometric: str) -> None:
    samples = RAMP.copy()
    samples[:8] = 60000
    made = describe(samples, PhotometricInterpretation=photometric)
    made.add_new(0x00280120, "US", 60000)
    picture = shown(FrameSource(header(made), EXPLICIT, samples.tobytes()))
    shares = (samples[8:] - 512.0) / (4095 - 512)
    assert (picture[:8] == 0).all()
    assert (picture[8:] == expected(1 - shares if photometric == "MONOCHROME1" else shares)).all()


def test_a_range_of_signed_padding() -> None:
    made = describe(SIGNED)
    made.add_new(0x00280120, "SS", -2048)
    made.add_new(0x00280121, "SS", -1)
    picture = shown(FrameSource(header(made, IMPLICIT), IMPLICIT, SIGNED.tobytes()))
    assert (picture[:32] == 0).all()
    assert (picture[32:] == expected(SIGNED[32:] / 2047)).all()


def test_bits_that_are_not_stored_are_no_part_of_the_picture() -> None:
    dirty = (RAMP << 2) | 0xC003
    about = {"BitsStored": 12, "HighBit": 13}
    assert (shown(source(dirty.astype("u2"), **about)) == expected(RAMP / 4095)).all()
    signed = ((SIGNED.astype("u2") & 0xFFF) | 0x5000).astype("i2")
    assert (shown(source(signed, BitsStored=12)) == expected(RAMP / 4095)).all()


def test_one_bit_is_black_and_white() -> None:
    bits = (np.arange(256).reshape(16, 16) % 3 == 0).astype("u1")
    made = describe(bits, BitsAllocated=1, BitsStored=1, HighBit=0)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    assert (shown(FrameSource(header(made), EXPLICIT, packed)) == bits * 255).all()


def test_each_frame_has_its_own_window_in_its_functional_groups() -> None:
    def groups(center: str, intercept: str) -> Dataset:
        return item(
            FrameVOILUTSequence=[item(WindowCenter=center, WindowWidth="1024")],
            PixelValueTransformationSequence=[
                item(RescaleSlope="1", RescaleIntercept=intercept, RescaleType="US")
            ],
        )

    made = describe(RAMP, NumberOfFrames=2)
    made.SharedFunctionalGroupsSequence = [groups("9999", "0")]
    made.PerFrameFunctionalGroupsSequence = [groups("600", "0"), groups("600", "-1000")]
    for index, shift in ((0, 0), (1, 1000)):
        picture = shown(FrameSource(header(made), EXPLICIT, RAMP.tobytes(), index))
        assert (picture == expected((RAMP.astype(float) - shift - 599.5) / 1023 + 0.5)).all()


COLOURS = np.random.default_rng(2).integers(0, 256, (8, 12, 3)).astype("u1")


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_by_pixel_and_by_plane(planar: int) -> None:
    raw = COLOURS.transpose(2, 0, 1).tobytes() if planar else COLOURS.tobytes()
    assert (shown(source(COLOURS, frame=raw, PlanarConfiguration=planar)) == COLOURS).all()


def test_rgb_of_16_bits_keeps_its_upper_8() -> None:
    wide = COLOURS.astype("u2") << 4 | 0xF
    assert (shown(source(wide, BitsStored=12)) == COLOURS).all()


def test_ybr_full_is_pydicoms_rgb() -> None:
    picture = shown(source(COLOURS, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(picture - convert_color_space(COLOURS, "YBR_FULL", "RGB").astype(int)).max() <= 2


def test_ybr_full_422_shares_its_colours_in_pairs() -> None:
    full = COLOURS.copy()
    full[:, 1::2, 1:] = full[:, ::2, 1:]
    pairs = np.concatenate([full[:, ::2, :1], full[:, 1::2, :1], full[:, ::2, 1:]], axis=2)
    halved = source(full, frame=pairs.tobytes(), PhotometricInterpretation="YBR_FULL_422")
    assert (shown(halved) == shown(source(full, PhotometricInterpretation="YBR_FULL"))).all()


def palette(bits: int = 16, first: int = 0, **others: Any) -> Dataset:
    indices = np.arange(256, dtype="u1").reshape(16, 16)
    made = describe(indices, PhotometricInterpretation="PALETTE COLOR", **others)
    for number, factor in enumerate((1, 2, 3)):
        made.add_new(0x00281101 + number, "US", [256, first, bits])
        words = (np.arange(256) * factor % 256).astype("<u2") << (bits - 8)
        made.add_new(0x00281201 + number, "OW", words.tobytes())
    return made


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_pydicoms(bits: int) -> None:
    made, indices = palette(bits), np.arange(256, dtype="u1").reshape(16, 16)
    by_pydicom = apply_color_lut(indices, made).astype(int) >> (bits - 8)
    assert (shown(FrameSource(header(made), EXPLICIT, indices.tobytes())) == by_pydicom).all()


def test_an_index_outside_its_palette_takes_the_nearest_entry() -> None:
    indices = np.arange(256, dtype="u1").reshape(16, 16)
    picture = shown(FrameSource(header(palette(first=100)), EXPLICIT, indices.tobytes())).reshape(-1, 3)
    assert (picture[:101, 0] == 0).all()
    assert list(picture[100:, 0]) == list(range(156))


def test_segmented_palettes_are_expanded_by_hand() -> None:
    """PS3.3 C.7.9.2: discrete 0 10 20, linear to 60 in four steps, then both once more by an indirect segment."""
    direct = [0, 3, 0, 10, 20, 1, 4, 60]
    segments = np.array([*direct, 2, 2, 0, 0], np.int64)
    once = [0, 10, 20, 30, 40, 50, 60]
    assert list(expand_segments(segments, 14)) == once * 2


@pytest.mark.parametrize(
    "segments",
    [[1, 4, 60], [0, 9, 1], [2, 1, 0, 0], [2, 65535, 0, 0], [7, 1, 1], [0, 1, 1, 2, 1, 65535, 65535], []],
)
def test_segments_that_lead_nowhere_are_unreadable(segments: list[int]) -> None:
    with pytest.raises(PixelsUnreadable):
        expand_segments(np.array(segments, np.int64), 300)


def test_segmented_palettes_are_shown() -> None:
    made = palette()
    for number in range(3):
        del made[0x00281201 + number]
        made.add_new(0x00281221 + number, "OW", np.array([0, 1, 0, 1, 255, 255 << 8], "<u2").tobytes())
    indices = np.arange(256, dtype="u1").reshape(16, 16)
    picture = shown(FrameSource(header(made), EXPLICIT, indices.tobytes()))
    assert (picture[:, :, 1] == indices).all()


def test_a_viewport_is_never_larger_than_the_frame() -> None:
    assert shown(source(RAMP), viewport=(1000, 1000)).shape == (64, 64)
    assert shown(source(RAMP), viewport=(16, 1000)).shape == (16, 16)
    assert shown(source(RAMP), thumbnail_pixels=10).shape == (10, 10)


def test_a_region_is_cut_out_exactly_and_mirrored_by_its_sign() -> None:
    whole = shown(source(RAMP))
    cut = whole[10:30, 5:45]
    assert (shown(source(RAMP), viewport=(40, 20, 5, 10, 40, 20)) == cut).all()
    assert (shown(source(RAMP), viewport=(40, 20, 5, 10, -40, 20)) == cut[:, ::-1]).all()
    assert (shown(source(RAMP), viewport=(40, 20, 5, 10, 40, -20)) == cut[::-1]).all()


def test_scaling_down_is_an_average() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = shown(source(checks.astype("u1"), WindowCenter="128", WindowWidth="256"), viewport=(16, 16))
    assert np.abs(small[1:-1, 1:-1] - 127.5).max() < 12


@pytest.mark.parametrize(
    "viewport",
    [(0, 9), (9, 9, 0, 0, 65, 1), (9, 9, -1, 0, 5, 5), (9, 9, 0, 0, 0, 5), (math.inf, 9), (9, 9, 0)],
)
def test_a_viewport_outside_is_no_wish(viewport: Any) -> None:
    with pytest.raises(WishInvalid):
        shown(source(RAMP), viewport=viewport)


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [
        ({"PixelAspectRatio": ["2", "1"]}, (64, 32)),
        ({"PixelAspectRatio": ["1", "2"]}, (32, 64)),
        ({"PixelSpacing": ["0.4", "0.1"]}, (64, 16)),
        ({"PixelSpacing": ["0", "0"]}, (64, 64)),
    ],
)
def test_pixels_that_are_not_square_become_so(spacing: dict[str, Any], shape: tuple[int, int]) -> None:
    assert shown(source(RAMP, **spacing)).shape == shape


def test_the_picture_may_not_be_larger_than_the_limit() -> None:
    with pytest.raises(WishInvalid, match="viewport"):
        render(source(RAMP), RenderWish(), CageLimits(max_output_pixels=4095))


def test_quality_of_jpeg_makes_it_smaller_and_worse() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64)).astype("u1")
    sizes, losses = [], []
    for quality in (10, 50, 100):
        picture = render(source(noise), RenderWish("image/jpeg", quality=quality), LIMITS)
        sizes.append(len(picture.data))
        losses.append(np.abs(opened(picture.data) - shown(source(noise))).mean())
    assert sizes == sorted(sizes)
    assert losses == sorted(losses, reverse=True)
    for quality in (0, 101):
        with pytest.raises(WishInvalid, match="quality"):
            render(source(noise), RenderWish("image/jpeg", quality=quality), LIMITS)


@pytest.mark.parametrize("samples", [RAMP, COLOURS], ids=["grey", "colour"])
@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/gif"])
def test_each_media_type_is_itself_and_carries_no_metadata(samples: NDArray[Any], media_type: Any) -> None:
    picture = render(source(samples, PatientName="Wang^Wangshu"), RenderWish(media_type), LIMITS)
    image = Image.open(BytesIO(picture.data))
    assert (Image.MIME[image.format or ""], image.size) == (media_type, (picture.width, picture.height))
    assert b"Wang" not in picture.data
    assert not image.getexif()


def test_annotation_is_seen_at_the_lower_left_and_nowhere_else() -> None:
    grey = np.full((400, 600), 1000, "u2")
    about = {"WindowCenter": "1000", "WindowWidth": "2000"}
    plain = shown(source(grey, **about))
    noted = shown(source(grey, **about), annotation=("reader li", "2026-11-28 10:00"))
    changed = np.argwhere(plain != noted)
    assert len(changed) > 200
    assert changed[:, 0].min() > 340
    assert changed[:, 1].max() < 300
    seen = noted[plain != noted]
    assert (seen.min(), seen.max() > 230) == (0, True)


def test_annotation_beyond_latin_is_drawn_as_question_marks() -> None:
    wide = np.full((200, 400), 100, "u1")
    assert (shown(source(wide), annotation=("王\n",)) == shown(source(wide), annotation=("??",))).all()


def test_too_much_annotation_is_no_wish() -> None:
    for lines in (("x",) * 9, ("x" * 201,)):
        with pytest.raises(WishInvalid, match="lines"):
            shown(source(RAMP), annotation=lines)


def test_annotation_on_a_tiny_picture_stays_within_it() -> None:
    assert shown(source(RAMP), viewport=(8, 8), annotation=("reader li",) * 8).shape == (8, 8)


def test_a_real_film_is_what_pydicom_makes_of_it() -> None:
    path = SAMPLES / "fo-dicom__CR-ModalitySequenceLUT.dcm"
    if not path.exists():
        pytest.skip("the public sample files are not here")
    film = dcmread(path)
    with_lut = apply_modality_lut(film.pixel_array, film)
    by_pydicom = apply_voi_lut(with_lut, film, prefer_lut=False).astype(float)
    wanted = expected(1 - (by_pydicom - by_pydicom.min()) / (by_pydicom.max() - by_pydicom.min()))
    assert np.abs(shown(first_frame(path)) - wanted).mean() < 1
