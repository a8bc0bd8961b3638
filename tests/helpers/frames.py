"""Frames for the cage: made-up ones, and those of the public sample files."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from ribcage.cage import FrameSource
from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.part10 import split
from ribcage.dicom.scan import UNDEFINED, scan
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup

SAMPLES = Path(os.environ.get("RIBCAGE_DICOM_FILES", Path(__file__).parents[3] / "shared" / "data" / "dicom"))


def header(data_set: Dataset, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    """The data set's bytes; deflated ones are given inflated, as the cage permits."""
    syntax = lookup(transfer_syntax)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax.little, syntax.implicit
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def describe(samples: NDArray[Any], **others: Any) -> Dataset:
    """The image pixel module of an array; `others` by keyword, None takes one away."""
    made = Dataset()
    made.SamplesPerPixel = samples.shape[2] if samples.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if samples.ndim == 3 else "MONOCHROME2"
    made.Rows, made.Columns = samples.shape[:2]
    made.BitsAllocated = 8 * samples.dtype.itemsize
    made.BitsStored = others.get("BitsStored", made.BitsAllocated)
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(samples.dtype.kind == "i")
    if samples.ndim == 3:
        made.PlanarConfiguration = 0
    for keyword, value in others.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def source(
    samples: NDArray[Any],
    transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    frame: bytes | None = None,
    **others: Any,
) -> FrameSource:
    """A frame of these samples: native, or `frame` where it is encoded."""
    order = "<" if lookup(transfer_syntax).little else ">"
    raw = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    made = header(describe(samples, **others), transfer_syntax)
    return FrameSource(made, transfer_syntax, raw if frame is None else frame)


def first_frame(path: Path) -> FrameSource:
    """The first frame of a file, as the archive's scanner finds it; of an object without pixels an empty one. What
    the scanner refuses at the door goes to the cage as pydicom finds it."""
    raw = path.read_bytes()
    meta = split(raw)
    try:
        scanned = scan(raw, meta.transfer_syntax_uid, start=meta.prefix_bytes)
    except DataSetMalformed:
        return FrameSource(
            raw[meta.prefix_bytes :], meta.transfer_syntax_uid, _first(dcmread(path).PixelData)
        )
    frame = b""
    if scanned.bulk is not None:
        frame = bytes(scanned.data[scanned.bulk.value : scanned.bulk.value_end])
        if scanned.bulk.length == UNDEFINED:
            frame = _first(frame)
    return FrameSource(raw[meta.prefix_bytes : scanned.header_end], meta.transfer_syntax_uid, frame)


def _first(encapsulated: bytes) -> bytes:
    return next(generate_frames(BytesIO(encapsulated), number_of_frames=1))
