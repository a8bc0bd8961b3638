"""Small studies with made-up identities, and a real film dressed in one: what drill and demo put at stake.

Rules, in order:
1. Everything follows from the seed: the same seed gives the same bytes, UIDs included.
2. No identity can be a living person's: the ID number has a valid check digit (GB 11643-1999, 6.2) under a
   region code that does not exist (99), the telephone number a prefix that is not given out (100).
3. A film keeps its pixels and its transfer syntax; only its header is dressed.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

FILM_NAME = "RG1_UNCI.dcm"
_CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
_IMPLEMENTATION_UID = "2.25.211309485711930470113487250411935221781"
_PRIVATE_GROUP = 0x0019
_PRIVATE_CREATOR = "RIBCAGE DRILL"
_FAMILIES = (
    *(
        ("赵", "Zhao"),
        ("钱", "Qian"),
        ("孙", "Sun"),
        ("李", "Li"),
        ("周", "Zhou"),
        ("吴", "Wu"),
        ("郑", "Zheng"),
    ),
    *(
        ("冯", "Feng"),
        ("陈", "Chen"),
        ("卫", "Wei"),
        ("蒋", "Jiang"),
        ("沈", "Shen"),
        ("韩", "Han"),
        ("杨", "Yang"),
    ),
    *(("朱", "Zhu"), ("秦", "Qin"), ("许", "Xu"), ("何", "He"), ("吕", "Lyu"), ("曹", "Cao")),
)
_GIVEN = (
    *(
        ("昊", "hao"),
        ("轩", "xuan"),
        ("梓", "zi"),
        ("涵", "han"),
        ("雨", "yu"),
        ("桐", "tong"),
        ("浩", "hao"),
    ),
    *(("欣", "xin"), ("怡", "yi"), ("博", "bo"), ("文", "wen"), ("思", "si"), ("远", "yuan"), ("晓", "xiao")),
    *(("峰", "feng"), ("静", "jing"), ("雯", "wen"), ("嘉", "jia"), ("懿", "yi"), ("宁", "ning")),
)
_STREETS = ("Linden Lane", "Harbour Road", "Orchard Hill", "Willow Street", "Station Square")


class StudyError(Exception):
    """The film of the demonstration cannot be used."""


@dataclass(frozen=True)
class Identity:
    """One made-up person. Coordinates are degrees as decimal text, the birth date is a DA string."""

    latin_name: str  # PN, family^given
    chinese_name: str  # as written, family and given joined
    patient_id: str
    id_number: str  # 18 characters, GB 11643
    telephone: str
    birth_date: str
    sex: str
    latitude: str
    longitude: str
    address: str

    @property
    def person_name(self) -> str:
        """The PN value: alphabetic and ideographic component groups (PS3.5 6.2.1.1)."""
        return f"{self.latin_name}={self.chinese_name[0]}^{self.chinese_name[1:]}"

    def needles(self) -> tuple[str, ...]:
        """The texts by which a thief would know this person, each of at least three characters."""
        return (
            self.latin_name,
            self.latin_name.replace("^", " "),
            self.chinese_name,
            f"{self.chinese_name[0]}^{self.chinese_name[1:]}",
            self.patient_id,
            self.id_number,
            self.telephone,
            self.latitude,
            self.longitude,
            self.address,
        )


@dataclass(frozen=True)
class Study:
    """One generated instance as a DICOM file, and whose it is."""

    identity: Identity
    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class_uid: str
    file: bytes


def check_digit(first_seventeen: str) -> str:
    """The ISO 7064 MOD 11-2 check character of an ID number (GB 11643-1999, 6.2)."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(first_seventeen))
    return "10X98765432"[total % 11]


def make_identity(seed: int, ordinal: int) -> Identity:
    """The `ordinal`-th person of `seed`; Latin names are distinct below 1,728, patient IDs below a million."""
    dice = _dice(seed, ordinal)
    family_hanzi, family = _FAMILIES[ordinal % len(_FAMILIES)]
    first_hanzi, first = _GIVEN[(ordinal // len(_FAMILIES) + seed) % len(_GIVEN)]
    second_hanzi, second = _GIVEN[dice.randrange(len(_GIVEN))]
    year = dice.randrange(1930, 2010)
    birth_date = f"{year}{dice.randrange(1, 13):02d}{dice.randrange(1, 29):02d}"
    number = f"99{dice.randrange(10_000):04d}{birth_date}{ordinal % 1000:03d}"
    return Identity(
        latin_name=f"{family}{_suffix(ordinal)}^{first.capitalize()}{second}",
        chinese_name=family_hanzi + first_hanzi + second_hanzi,
        patient_id=f"RC{seed % 1000:03d}{ordinal:06d}",
        id_number=number + check_digit(number),
        telephone=f"100{dice.randrange(10**8):08d}",
        birth_date=birth_date,
        sex=dice.choice("FM"),
        latitude=f"{dice.uniform(18, 53):.7f}",
        longitude=f"{dice.uniform(74, 134):.7f}",
        address=f"{dice.randrange(1, 999)} {dice.choice(_STREETS)} {ordinal:06d}",
    )


def film_identity(seed: int) -> Identity:
    """The person in whose name the film of the demonstration is shown; no generated name equals theirs."""
    return replace(make_identity(seed, 999_999), latin_name="Wang^Wangshu", chinese_name="王望舒")


def generate(seed: int, count: int, rows: int = 24, columns: int = 24) -> Iterator[Study]:
    """`count` CR studies of one instance each, `rows` x `columns` pixels of 16 bit, as DICOM files."""
    for ordinal in range(count):
        yield make_study(seed, ordinal, rows, columns)


def make_study(seed: int, ordinal: int, rows: int = 24, columns: int = 24) -> Study:
    """The `ordinal`-th study of `seed`."""
    identity = make_identity(seed, ordinal)
    data = Dataset()
    data.SOPClassUID = _CR_STORAGE
    data.StudyDate, data.StudyTime = "20250102", "101500"
    data.AccessionNumber = f"A{seed % 1000:03d}{ordinal:06d}"
    data.Modality = "CR"
    data.ConversionType = "WSD"
    data.StudyDescription = "Chest PA"
    data.BodyPartExamined = "CHEST"
    data.StudyID, data.SeriesNumber, data.InstanceNumber = "1", "1", "1"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = rows, columns
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    ramp = bytes(
        value for place in range(rows * columns) for value in ((place * 7) & 0xFF, (place >> 5) & 0x0F)
    )
    data.PixelData = ramp
    data["PixelData"].VR = "OW"
    return _finish(data, identity, f"{seed}/{ordinal}", UID(ExplicitVRLittleEndian))


def load_film() -> Dataset:
    """The real chest film of the `pydicom-data` package. Raises StudyError without the extra `demo`."""
    try:
        import data_store
    except ImportError as failure:
        raise StudyError(
            "the film is missing: expected the package pydicom-data; pip install 'ribcage[demo]'"
        ) from failure
    path = Path(data_store.__file__).parent / "data" / FILM_NAME
    if not path.is_file():
        raise StudyError(
            f"the film is missing: expected {FILM_NAME} in pydicom-data; reinstall 'ribcage[demo]'"
        )
    return dcmread(path)


def seed_film(film: Dataset, identity: Identity, salt: str = "film") -> Study:
    """Dress `film` in `identity` (header, GPS, private tags) under new UIDs made from `salt`.

    Pixels and transfer syntax stay (rule 3); `film` itself is changed.
    """
    for keyword in ("OtherPatientIDs", "ImageComments"):
        if keyword in film:
            delattr(film, keyword)
    syntax = UID(str(film.file_meta.TransferSyntaxUID))
    return _finish(film, identity, salt, syntax)


def _finish(data: Dataset, identity: Identity, salt: str, syntax: UID) -> Study:
    """Put identity and UIDs into `data` and write it as a file in `syntax`."""
    _dress(data, identity)
    data.StudyInstanceUID = _uid(salt, "study")
    data.SeriesInstanceUID = _uid(salt, "series")
    data.SOPInstanceUID = _uid(salt, "instance")
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(_IMPLEMENTATION_UID)
    data.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return Study(
        identity=identity,
        study_uid=str(data.StudyInstanceUID),
        series_uid=str(data.SeriesInstanceUID),
        instance_uid=str(data.SOPInstanceUID),
        sop_class_uid=str(data.SOPClassUID),
        file=buffer.getvalue(),
    )


def _dress(data: Dataset, identity: Identity) -> None:
    """Write the identity where real archives have it: patient module, GPS (0016), free text, private tags."""
    data.SpecificCharacterSet = "GB18030"
    data.PatientName = identity.person_name
    data.PatientID = identity.patient_id
    data.IssuerOfPatientID = "RIBCAGE DEMO"
    data.PatientBirthDate = identity.birth_date
    data.PatientSex = identity.sex
    data.OtherPatientNames = identity.latin_name
    data.PatientAddress = identity.address
    data.PatientTelephoneNumbers = identity.telephone
    data.PatientComments = f"ID {identity.id_number}, call {identity.telephone}"
    data.ReferringPhysicianName = "Referrer^Made^Up"
    data.GPSLatitudeRef, data.GPSLatitude = "N", identity.latitude
    data.GPSLongitudeRef, data.GPSLongitude = "E", identity.longitude
    block = data.private_block(_PRIVATE_GROUP, _PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "LO", identity.id_number)
    block.add_new(0x02, "PN", identity.person_name)


def _uid(salt: str, kind: str) -> str:
    """A UID under 2.25 (PS3.5 B.2) from the salt."""
    return (
        f"2.25.{int.from_bytes(hashlib.sha256(f'ribcage drill {salt} {kind}'.encode()).digest()[:16], 'big')}"
    )


def _dice(seed: int, ordinal: int) -> random.Random:
    """A repeatable source of made-up details; nothing secret comes from it."""
    return random.Random(seed * 1_000_003 + ordinal)  # noqa: S311 - repeatable, not secret


def _suffix(ordinal: int) -> str:
    """Letters that make a family name of its own for each ordinal, so that no needle fits two people."""
    letters = "bdfgklmnprst"
    text = ""
    for _ in range(3):
        ordinal, place = divmod(ordinal, len(letters))
        text += letters[place] + "aeiou"[place % 5]
    return text
