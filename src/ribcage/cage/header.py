"""What a frame's header says of its pixels (PS3.3 C.7.6.3), read by pydicom, inside the cage only.

Rules, in order:
1. Everything before the bulk element is read, and of it only what rendering needs; text is never decoded.
2. A deflated header is inflated within the scanner's limits; one that was inflated already is taken as it is.
3. What describes the frame stands in its own item of the functional groups, else in the shared one, else at the top
   (PS3.3 C.7.6.16.1.1).
4. Attributes that contradict each other or PS3.5 8.1.1 are `PixelsUnreadable`; nothing is repaired by guessing.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from ribcage.cage.errors import PixelsUnreadable
from ribcage.cage.messages import CageLimits, FrameSource
from ribcage.dicom.errors import DataSetMalformed, DicomError
from ribcage.dicom.scan import BULK_TAGS, inflate
from ribcage.dicom.transfer_syntaxes import lookup

_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
_ONE_SAMPLE: Final = _GREY | {"PALETTE COLOR"}
_THREE_SAMPLES: Final = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230
_FIRST_BULK: Final = min(BULK_TAGS)
_BEHIND_SHAPE: Final = 0x00290000


@dataclass(frozen=True, slots=True)
class Shape:
    """The image pixel description of one frame. `floating`: (7FE0,0008) or (7FE0,0009), without Bits Stored."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    floating: bool
    photometric: str
    planar: int

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.rows * self.columns

    @property
    def grey(self) -> bool:
        """MONOCHROME1 or MONOCHROME2."""
        return self.photometric in _GREY

    @property
    def subsampled(self) -> bool:
        """Two bytes for each pixel: Y Y Cb Cr (PS3.3 C.7.6.3.1.2)."""
        return self.photometric == "YBR_FULL_422"

    @property
    def native_bits(self) -> int:
        """Bits of one uncompressed frame."""
        return self.pixels * (2 if self.subsampled else self.samples) * self.bits_allocated


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header and the shape of its frames."""

    data_set: Dataset
    shape: Shape
    index: int

    def group(self, sequence: int, wanted: int) -> Dataset | None:
        """The item of the functional group `sequence` for this frame, else the data set itself where it holds
        the attribute `wanted` (rule 3), else None."""
        for groups, number in ((_FRAME_GROUPS, self.index), (_SHARED_GROUPS, 0)):
            found = first_item(first_item(self.data_set, groups, number), sequence)
            if found is not None and wanted in found:
                return found
        return self.data_set if wanted in self.data_set else None


def read_header(source: FrameSource, limits: CageLimits) -> Header:
    """Parse and check a header. Raises PixelsUnreadable."""
    return _read(source, limits, _FIRST_BULK)


def read_shape(source: FrameSource, limits: CageLimits) -> Shape:
    """The shape alone: functional groups, which may be long, stand behind group 0028. Raises PixelsUnreadable."""
    try:
        return _read(source, limits, _BEHIND_SHAPE).shape
    except PixelsUnreadable:  # also of a data set whose tags are out of order
        return _read(source, limits, _FIRST_BULK).shape


def _read(source: FrameSource, limits: CageLimits, stop: int) -> Header:
    try:
        syntax = lookup(source.transfer_syntax_uid)
        raw = _inflated(source.header) if syntax.deflated else source.header
    except DicomError as error:
        raise PixelsUnreadable(str(error)) from None
    data_set = read_dataset(
        BytesIO(raw), syntax.implicit, syntax.little, stop_when=lambda tag, vr, length: tag >= stop
    )
    shape = _shape(data_set)
    if shape.pixels > limits.max_frame_pixels or shape.native_bits > 8 * limits.max_frame_bytes:
        raise PixelsUnreadable(f"expected a frame of at most {limits.max_frame_pixels} pixels, got more")
    frames = _number(data_set, "NumberOfFrames", 1)
    if not 0 <= source.index < max(frames, 1):
        raise PixelsUnreadable(f"expected a frame number below {frames}, got {source.index}")
    return Header(data_set, shape, source.index)


def first_item(data_set: Dataset | None, tag: int, number: int = 0) -> Dataset | None:
    """Item `number` of a sequence, None where there is none."""
    if data_set is None or tag not in data_set:
        return None
    value = data_set[tag].value
    return value[number] if isinstance(value, Sequence) and 0 <= number < len(value) else None


def numbers(data_set: Dataset, keyword: str) -> tuple[float, ...]:
    """All values of a DS, IS, FD or US attribute, () where absent or empty."""
    value = data_set.get(keyword)
    if value is None or value == "":
        return ()
    many = value if isinstance(value, list | MultiValue) else (value,)
    return tuple(float(one) for one in many)


def raw_value(data_set: Dataset, tag: int) -> tuple[bytes, bool]:
    """The bytes of a value of ambiguous VR (US, SS or OW) and whether they are little endian; b"" where absent."""
    if tag not in data_set:
        return b"", True
    element = data_set.get_item(tag)
    if not isinstance(element, RawDataElement) or element.value is None:
        raise PixelsUnreadable("expected a value of 16-bit words, got something else")
    return bytes(element.value), element.is_little_endian


def words(data_set: Dataset, tag: int) -> NDArray[np.uint16]:
    """A value of ambiguous VR as unsigned 16-bit words."""
    raw, little = raw_value(data_set, tag)
    return np.frombuffer(raw[: len(raw) & ~1], "<u2" if little else ">u2").astype(np.uint16)


def _inflated(header: bytes) -> bytes:
    try:
        return inflate(header)
    except DataSetMalformed:
        return header  # rule 2


def _shape(data_set: Dataset) -> Shape:
    photometric = str(data_set.get("PhotometricInterpretation", "")).strip()
    allocated = _number(data_set, "BitsAllocated")
    floating = "BitsStored" not in data_set and allocated in (32, 64)
    stored = allocated if floating else _number(data_set, "BitsStored")
    shape = Shape(
        rows=_number(data_set, "Rows"),
        columns=_number(data_set, "Columns"),
        samples=_number(data_set, "SamplesPerPixel", 1),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_number(data_set, "HighBit", stored - 1),
        signed=not floating and _number(data_set, "PixelRepresentation", 0) == 1,
        floating=floating,
        photometric=photometric,
        planar=_number(data_set, "PlanarConfiguration", 0),
    )
    _check(shape)
    return shape


def _check(shape: Shape) -> None:
    """Rule 4. Raises PixelsUnreadable."""
    if shape.rows < 1 or shape.columns < 1:
        raise PixelsUnreadable("expected rows and columns, got an object without pixels")
    if not shape.floating and shape.bits_allocated not in (1, 8, 16, 32):
        raise PixelsUnreadable(f"expected 1, 8, 16 or 32 bits allocated, got {shape.bits_allocated}")
    if not 1 <= shape.bits_stored <= shape.bits_allocated:
        raise PixelsUnreadable(f"expected 1 to {shape.bits_allocated} bits stored, got {shape.bits_stored}")
    if not shape.bits_stored - 1 <= shape.high_bit < shape.bits_allocated:
        raise PixelsUnreadable(f"expected a high bit within the bits allocated, got {shape.high_bit}")
    expected = {1: _ONE_SAMPLE, 3: _THREE_SAMPLES}.get(shape.samples, frozenset())
    if shape.photometric not in expected:
        raise PixelsUnreadable(
            f"expected a photometric interpretation for {shape.samples} samples per pixel, got another"
        )
    if shape.samples == 3 and shape.bits_allocated not in (8, 16):
        raise PixelsUnreadable(f"expected colour of 8 or 16 bits allocated, got {shape.bits_allocated}")
    if shape.subsampled and shape.columns % 2:
        raise PixelsUnreadable("expected an even number of columns for YBR_FULL_422, got an odd one")


def _number(data_set: Dataset, keyword: str, default: int | None = None) -> int:
    found = numbers(data_set, keyword)
    if not found and default is None:
        raise PixelsUnreadable(f"expected {keyword}, got an object without pixels")
    return int(found[0]) if found else int(default or 0)
