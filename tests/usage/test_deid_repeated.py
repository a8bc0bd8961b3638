"""What a series repeats is decided once, and never otherwise than for the instance alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom.data_builders import BIG, DEFLATED, EXPLICIT, IMPLICIT
from helpers.deid_objects import NUMBER, ct, engine, file_of, leaks
from ribcage.dicom.part10 import FileMeta, split
from ribcage.dicom.scan import Buffer, Element, Scan, scan
from ribcage.usage.deid import pixels, repeated
from ribcage.usage.deid.engine import _BIRTH, _NUMBERS, _ONCE, Engine
from ribcage.usage.deid.errors import NotReleased
from ribcage.usage.deid.pixels import ASKED
from ribcage.usage.deid.repeated import Fitted, Repeated
from ribcage.usage.deid.tables import Option

CHOICES = [
    (),
    (Option.DESCRIPTORS, Option.STRUCTURED),
    (Option.MODIFIED_DATES, Option.PATIENT),
    (Option.UIDS, Option.SAFE_PRIVATE, Option.FULL_DATES),
]


def _slice(number: int, **values: object) -> Dataset:
    told: dict[str, object] = {
        "SOPInstanceUID": f"1.2.3.4.{number}",
        "InstanceNumber": number,
        "SliceLocation": str(number * 1.25),
        "ContentTime": f"1010{number % 60:02}",
        "AcquisitionDate": f"201001{1 + number % 28:02}",
        "XRayTubeCurrent": 100 + number,
        "ImageComments": f"abdomen {number % 10}",
        "SeriesDescription": "Head axial",
    }
    return ct(**{**told, **values})


def _alone(data: bytes, *options: Option) -> object:
    return _told(engine(*options), data)


def _told(chosen: Engine, data: Buffer) -> object:
    try:
        released = chosen.release(data)
    except NotReleased as refusal:
        return refusal.reason
    return (
        bytes(released),
        released.sop_instance_uid,
        released.series_instance_uid,
        released.names,
        released.birth,
    )


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Of each instance, whether it fitted a pattern."""
    seen: list[bool] = []
    real = Repeated.fitted

    def noted(self: Repeated, data: Buffer, meta: FileMeta) -> Fitted | None:
        found = real(self, data, meta)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(Repeated, "fitted", noted)
    yield seen


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
@pytest.mark.parametrize("options", CHOICES, ids=lambda one: "-".join(each.value for each in one) or "basic")
def test_a_series_leaves_as_each_of_its_instances_alone(
    fits: list[bool], syntax: str, options: tuple[Option, ...]
) -> None:
    warm = engine(*options)
    for number in range(8):
        data = file_of(_slice(number), syntax)
        told = _told(warm, data)
        del fits[number + 1 :]
        assert told == _alone(data, *options)
        del fits[number + 1 :]
        assert isinstance(told, tuple)
        assert not leaks(told[0])
    assert fits == [False, False] + [True] * 6


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # a time that is none
@pytest.mark.parametrize("options", CHOICES, ids=lambda one: "-".join(each.value for each in one) or "basic")
@pytest.mark.parametrize(
    "values",
    [
        {"ImageComments": "head of ZHANGWEI"},
        {"ImageComments": NUMBER},
        {"SliceLocation": NUMBER[2:]},
        {"XRayTubeCurrent": int(NUMBER[2:])},
        {"ContentTime": "ZHANG"},
        {"AcquisitionDate": "19660616"},
        {"ImageComments": "张小明"},
        {"SOPInstanceUID": "1.2.3.4"},
    ],
    ids=lambda one: "-".join(one),
)
def test_what_a_slot_says_is_judged_for_each_instance(
    fits: list[bool], values: dict[str, object], options: tuple[Option, ...]
) -> None:
    warm = engine(*options)
    for number in range(4):
        warm.release(file_of(_slice(number)))
    data = file_of(_slice(9, **values))
    told = _told(warm, data)
    assert fits == [False, False, True, True, True]
    assert told == _alone(data, *options)
    if Option.FULL_DATES not in options:
        assert isinstance(told, tuple)
        assert not leaks(told[0])


@pytest.mark.parametrize(
    "values",
    [
        {"PatientName": "LI^NA"},
        {"PatientID": "OTHER9"},
        {"PatientBirthDate": "19700101"},
        {"StudyInstanceUID": "1.2.77"},
        {"SeriesInstanceUID": "1.2.77.1"},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "ZHANGWEI"},
        {"BurnedInAnnotation": "YES"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"BitsStored": 8, "HighBit": 7},
        {"Rows": 2},
        {"OperatorsName": "HEAD^AXIAL"},
        {"KVP": "80"},
    ],
    ids=lambda one: "-".join(one),
)
def test_what_more_rests_on_goes_the_ordinary_way(fits: list[bool], values: dict[str, object]) -> None:
    warm = engine(Option.DESCRIPTORS)
    for number in range(4):
        warm.release(file_of(_slice(number)))
    data = file_of(_slice(9, **values))
    told = _told(warm, data)
    assert fits == [False, False, True, True, False]
    assert told == _alone(data, Option.DESCRIPTORS)


def test_damage_behind_the_header_is_found_in_an_instance_that_fits() -> None:
    warm = engine()
    for number in range(4):
        warm.release(file_of(_slice(number)))
    whole = file_of(_slice(9))
    for data in (whole[:-1], whole + b"behind it", whole + b"\0" * 8, whole[:-32]):
        assert _told(warm, data) == _alone(data)
    other = file_of(_slice(9)).replace(b"1.2.3.4.9", b"1.2.3.4.8", 1)  # file meta of another instance
    assert _told(warm, other) == _alone(other)


def test_deflated_instances_and_a_pattern_that_is_wrong_are_left_alone(
    fits: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = engine()
    for number in range(4):
        warm.release(file_of(_slice(number), DEFLATED))
    monkeypatch.setattr(repeated, "_outputs", lambda *_: [b"something else"])
    for number in range(4):
        warm.release(file_of(_slice(number)))
    assert fits == [False] * 8


@settings(max_examples=80, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(132, 1200), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 40),
    choice=st.sampled_from(CHOICES),
)
def test_a_changed_instance_leaves_as_it_leaves_alone(
    places: list[tuple[int, int]], cut: int, choice: tuple[Option, ...]
) -> None:
    warm = engine(*choice)
    for number in range(3):
        warm.release(file_of(_slice(number)))
    data = bytearray(file_of(_slice(7)))
    for at, value in places:
        data[at % len(data)] = value
    changed = bytes(data[: len(data) - (cut if cut > 30 else 0)])
    assert _told(warm, changed) == _alone(changed, *choice)


def test_no_slot_is_an_attribute_that_the_engine_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: set[int] = set()
    real = Scan.find

    def noted(self: Scan, tag: int) -> Element | None:
        looked.add(tag)
        return real(self, tag)

    monkeypatch.setattr(Scan, "find", noted)
    for options in CHOICES:
        engine(*options).release(file_of(_slice(1)))
        engine(*options).release(
            file_of(_slice(1, EncapsulatedDocument=b"x", PhotometricInterpretation="RGB"), BIG)
        )
    assert looked
    assert looked <= ASKED | _ONCE | _NUMBERS | {_BIRTH}


@given(
    raw=st.binary(min_size=2, max_size=48),
    allocated=st.sampled_from([8, 16]),
    unused=st.integers(1, 7),
    signed=st.booleans(),
    little=st.booleans(),
)
def test_unused_bits_are_cleared_in_every_piece(
    raw: bytes, allocated: int, unused: int, signed: bool, little: bool
) -> None:
    stored, size = allocated - unused, allocated // 8
    raw = raw[: len(raw) // 2 * 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "_PIECE", 4)
        cleared = bytes(pixels._clear(memoryview(raw), allocated, stored, signed, little))
    order: Literal["little", "big"] = "little" if little else "big"
    for at in range(0, len(raw), size):
        was, now = (int.from_bytes(one[at : at + size], order) for one in (raw, cleared))
        low = was & (1 << stored) - 1
        sign = ((1 << allocated) - 1) ^ ((1 << stored) - 1) if low >> (stored - 1) else 0
        assert now in ({low, low | sign} if signed else {low})


def test_parts_of_a_pattern_are_those_of_the_file() -> None:
    warm = engine()
    for number in range(3):
        warm.release(file_of(_slice(number)))
    (pattern,) = warm._repeated._patterns.values()
    data = file_of(_slice(1))
    scanned = scan(data, EXPLICIT, start=split(data).prefix_bytes)
    slots = {piece.tag for piece in pattern.pieces if isinstance(piece, repeated._Slot)}
    assert slots == {0x00080018, 0x00080022, 0x00080033, 0x00181151, 0x00200013, 0x00201041, 0x00204000}
    assert pattern.size == scanned.header_end - scanned.start
