"""Data sets for the tests of the data set half: built by pydicom, in every encoding."""

from __future__ import annotations

import io
import zlib
from struct import pack

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG)
CR = "1.2.840.10008.5.1.4.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def encode(data_set: Dataset, transfer_syntax: str) -> bytes:
    """The data set as it travels by DIMSE."""
    target = DicomBytesIO()
    target.is_little_endian = transfer_syntax != BIG
    target.is_implicit_VR = transfer_syntax == IMPLICIT
    write_dataset(target, data_set)
    raw = target.getvalue()
    if transfer_syntax == DEFLATED:
        engine = zlib.compressobj(wbits=-15)
        raw = engine.compress(raw) + engine.flush()
        raw += b"\0" * (len(raw) & 1)
    return raw


def decode(raw: bytes, transfer_syntax: str) -> Dataset:
    """What pydicom reads back."""
    from pydicom.filereader import dcmread

    from ribcage.dicom.part10 import file_prefix

    return dcmread(io.BytesIO(file_prefix(CR, "1.2.3", transfer_syntax) + raw))


def film(*, pixels: bool = True) -> Dataset:
    """A small CR film without anything personal."""
    ds = Dataset()
    ds.SOPClassUID = CR
    ds.SOPInstanceUID = "1.2.3.4"
    ds.StudyInstanceUID = "1.2.3"
    ds.SeriesInstanceUID = "1.2.3.1"
    ds.Modality = "CR"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientName = "DOE^JANE"
    ds.PatientID = "P1"
    ds.PatientBirthDate = "19700101"
    ds.StudyDate = "20260102"
    ds.StudyTime = "101500"
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "PA"
    ds.SeriesNumber = 1
    ds.InstanceNumber = 7
    ds.Rows = 4
    ds.Columns = 4
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = 16
    ds.BitsStored = 12
    ds.HighBit = 11
    ds.PixelRepresentation = 0
    ds.PixelSpacing = [0.15, 0.15]
    if pixels:
        ds.PixelData = bytes(range(32))
        ds["PixelData"].VR = "OW"
    return ds


def item(**values: object) -> Dataset:
    """A sequence item."""
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def with_undefined_lengths(ds: Dataset) -> Dataset:
    """Every sequence and item of undefined length."""
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for inner in element.value:
                inner.is_undefined_length_sequence_item = True
                with_undefined_lengths(inner)
    return ds


def sequence(*items: Dataset) -> Sequence:
    """A sequence of these items."""
    return Sequence(items)


def explicit_element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """One explicit little endian element, with a false length if asked."""
    size = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV"):
        return pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, size) + value
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, size) + value
