"""Instances with an identity in them, for the tests of de-identification, and the engine of a test project."""

from __future__ import annotations

import io
from collections.abc import Iterable

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom.data_builders import BIG, CT, EXPLICIT, encode, film
from ribcage.dicom.part10 import file_prefix
from ribcage.usage.deid.engine import Engine, Released
from ribcage.usage.deid.pixels import PixelReader, not_read
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.tables import Option

KEY, OTHER_KEY = b"\x01" * 32, b"\x02" * 32
NAME, NUMBER = "ZHANGWEI^XIAOMING=张^小明", "RB7734215"
SECRETS = ("ZHANGWEI", "XIAOMING", "小明", "RB7734215", "LEAKED", "19660616")
VALUES = {
    "AE": "LEAKED",
    "AS": "036Y",
    "CS": "LEAKED",
    "DA": "19660616",
    "DS": "771.25",
    "DT": "19660616101112",
    "IS": "77125",
    "LO": "LEAKED ZHANGWEI",
    "LT": "LEAKED ZHANGWEI",
    "PN": "LEAKED^ZHANGWEI",
    "SH": "LEAKED",
    "ST": "LEAKED ZHANGWEI",
    "TM": "101112",
    "UC": "LEAKED ZHANGWEI",
    "UI": "1.2.840.99.7734215",
    "UR": "http://LEAKED/",
    "UT": "LEAKED ZHANGWEI",
    "OB": b"LEAKED",
    "UN": b"LEAKED",
    "OW": b"LEAKED",
    "US": 7734,
    "FD": 77342.15,
}


def ct(**values: object) -> Dataset:
    """A small CT slice of a person, with more attributes if asked."""
    ds = film()
    ds.SOPClassUID, ds.Modality = CT, "CT"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = NAME, NUMBER, "19660616"
    ds.PatientSex, ds.PatientAge = "M", "059Y"
    ds.FrameOfReferenceUID = "1.2.3.9"
    ds.PixelData = bytes(value & (0x0F if place % 2 else 0xFF) for place, value in enumerate(range(32)))
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def file_of(ds: Dataset, syntax: str = EXPLICIT, *, behind: bytes = b"", preamble: bytes = b"") -> bytes:
    """The data set as a file."""
    if syntax == BIG and "BitsStored" in ds:
        ds.BitsStored, ds.HighBit = 16, 15  # the sample's bytes are words of either order
    prefix = file_prefix(str(ds.SOPClassUID), str(ds.SOPInstanceUID), syntax)
    return preamble.ljust(128, b"\0")[:128] + prefix[128:] + encode(ds, syntax) + behind


def engine(
    *options: Option, key: bytes = KEY, unread: str = "refuse", reader: PixelReader = not_read
) -> Engine:
    """The engine of a project with these options."""
    return Engine(Profile("test", frozenset(options), unread), Pseudonyms(key), reader=reader)


def released(ds: Dataset, *options: Option, syntax: str = EXPLICIT, key: bytes = KEY) -> Dataset:
    """What of this data set leaves, read back by pydicom."""
    return read(engine(*options, key=key).release(file_of(ds, syntax)))


def read(one: Released) -> Dataset:
    """An output as pydicom reads it, every element looked at."""
    ds = dcmread(io.BytesIO(bytes(one)))
    list(ds.iterall())
    return ds


def leaks(data: bytes, secrets: Iterable[str] = SECRETS) -> list[str]:
    """The secrets that stand in these bytes in some encoding."""
    return [
        secret
        for secret in secrets
        for codec in ("utf-8", "gb18030", "utf-16-le", "utf-16-be", "iso2022_jp_2", "euc_kr", "shift_jis")
        if (raw := secret.encode(codec, "ignore")) and len(raw) > 3 and raw in data
    ]
