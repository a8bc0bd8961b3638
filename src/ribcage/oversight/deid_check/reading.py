"""One file read twice: as a data set by pydicom, and as bytes.

Rules, in order:
1. What pydicom cannot read stays bytes; the bytes are searched all the same.
2. A deflated data set is inflated, within a bound, and stands in for its file.
3. Elements are walked at every level; a value that cannot be converted is given as its bytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from ribcage.oversight.deid_check.table import teach_pydicom

MAX_INFLATED_BYTES: Final = 1 << 30
MAX_DEPTH: Final = 32
PIXEL_TAGS: Final = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_PREAMBLE: Final = 132


@dataclass
class Film:
    """`raw` is what is searched; `opaque` the span of the pixels in it; `dataset` is None for what is not DICOM."""

    raw: bytes
    dataset: Dataset | None = None
    trouble: str = ""
    opaque: tuple[int, int] = (0, 0)
    encapsulated: bool = False
    blobs: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def meta(self) -> Dataset:
        """File meta information; empty where there is none."""
        return getattr(self.dataset, "file_meta", None) or Dataset()


@dataclass(frozen=True)
class Element:
    """One element on its path: `(0008,1140)[0](0008,1155)`."""

    path: str
    tag: int
    vr: str
    value: Any
    creator: str = ""
    depth: int = 0

    @property
    def texts(self) -> list[str]:
        """The values as text; of numbers too, none for bytes and sequences."""
        if self.value is None or isinstance(self.value, bytes) or self.vr == "SQ":
            return []
        values = self.value if isinstance(self.value, (list, tuple)) else [self.value]
        if hasattr(self.value, "append") and not isinstance(self.value, (str, list)):
            values = list(self.value)
        return [str(each) for each in values if each is not None]


def read(raw: bytes) -> Film:
    """A file's bytes as a film."""
    teach_pydicom()
    marked = raw[128:132] == b"DICM"
    try:
        dataset = dcmread(io.BytesIO(raw), force=not marked)
    except Exception as failure:  # noqa: BLE001 - pydicom raises whatever it likes on foreign bytes; rule 1
        return Film(raw, None, type(failure).__name__ if marked else "")
    if not marked and not _plausible(dataset):
        return Film(raw)
    film = Film(raw, dataset)
    syntax = str(film.meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
    film.encapsulated = syntax not in _NATIVE
    if syntax == DeflatedExplicitVRLittleEndian:
        _inflate(film)
    for tag in PIXEL_TAGS:
        if tag in dataset:
            film.opaque = _pixel_span(film.raw, dataset, tag)
    if marked and len(dataset) == 0:
        film.trouble = "no data set"
    elif any(True for _ in _broken(dataset)):
        film.trouble = "an element cannot be read"
    elif marked and "SOPClassUID" not in dataset and "DirectoryRecordSequence" not in dataset:
        film.trouble = "no SOP Class UID"
    return film


_NATIVE: Final = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}


def _plausible(dataset: Dataset) -> bool:
    """Bytes without the mark are taken for a data set when they name a class or a patient."""
    try:
        return "SOPClassUID" in dataset or "PatientID" in dataset or "StudyInstanceUID" in dataset
    except Exception:  # noqa: BLE001 - as above
        return False


def _inflate(film: Film) -> None:
    start = _PREAMBLE + int(film.meta.get("FileMetaInformationGroupLength", 0) or 0) + 12
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = machine.decompress(film.raw[start:], MAX_INFLATED_BYTES)
    except zlib.error:
        film.trouble = "deflated data cannot be inflated"
        return
    film.raw = film.raw[:start] + inflated + machine.unused_data


def _pixel_span(raw: bytes, dataset: Dataset, tag: int) -> tuple[int, int]:
    """Where the value of the pixels lies, found by its own bytes."""
    value = getattr(dataset.get_item(tag), "value", None)
    if not isinstance(value, bytes) or len(value) < 64:
        return (0, 0)
    name = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    start = raw.find(value[:4096], max(0, raw.rfind(name, 0, raw.find(value[:64]) + 1)))
    return (start, start + len(value)) if start >= 0 else (0, 0)


def _broken(dataset: Dataset) -> Iterator[str]:
    """Elements at the top whose bytes end before their length does."""
    for tag in list(dataset.keys()):
        item = dataset.get_item(tag)
        length = getattr(item, "length", None)
        value = getattr(item, "value", None)
        if (
            isinstance(length, int)
            and isinstance(value, bytes)
            and length != 0xFFFFFFFF
            and len(value) < length
        ):
            yield str(tag)


def walk(dataset: Dataset, path: str = "", depth: int = 0) -> Iterator[Element]:
    """Every element at every level, sequences before their items."""
    for tag in sorted(dataset.keys()):
        here = f"{path}({tag.group:04X},{tag.element:04X})"
        creator = _creator(dataset, int(tag))
        try:
            element = dataset[tag]
            vr, value = str(element.VR), element.value
        except Exception:  # noqa: BLE001 - a value that pydicom refuses is bytes; rule 3
            vr, value = "UN", _raw_value(dataset, tag)
        yield Element(here, int(tag), vr, value, creator, depth)
        if vr == "SQ" and depth < MAX_DEPTH and not isinstance(value, bytes):
            for number, item in enumerate(value or []):
                yield from walk(item, f"{here}[{number}]", depth + 1)


def _raw_value(dataset: Dataset, tag: Any) -> bytes:
    value = getattr(dataset.get_item(tag), "value", b"")
    return value if isinstance(value, bytes) else b""


def _creator(dataset: Dataset, tag: int) -> str:
    group, block = tag >> 16, (tag >> 8) & 0xFF
    if not group & 1 or block < 0x10:
        return ""
    try:
        return str(dataset[(group << 16) | block].value or "").strip()
    except Exception:  # noqa: BLE001 - no creator, or one that cannot be read
        return ""
