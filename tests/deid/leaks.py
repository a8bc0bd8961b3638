"""Leaks to be planted in a clean film: one identity, written in many ways, in many places."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)

NAME, LATIN, HAN = "Wang^Xiaoming=王^小明", "Wang Xiaoming", "王小明"
IDENTITY = {
    "PatientName": NAME,
    "PatientID": "RC0259-987654-01",
    "PatientBirthDate": "19631107",
    "PatientAddress": "Xicheng Qianmen 104, Building Zeta",
    "PatientTelephoneNumbers": "+86 10023456789",
    "OtherPatientIDs": "991978196311070014",
    "AccessionNumber": "ACC-77120934",
    "InstitutionName": "Hospital of the Ninth Pavilion",
    "ReferringPhysicianName": "Müller-Lüdenscheidt^Jürgen",
    "OperatorsName": "Yamamoto^Kenichirou=山本^健一郎=やまもと^けんいちろう",
    "DeviceSerialNumber": "SN-48829915",
    "StudyDate": "20210314",
    "StudyInstanceUID": "1.2.826.0.1.3680043.10.999.8820017744",
}
NAMES = (
    *("WANG XIAOMING", "wang, xiaoming", "Xiaoming Wang", "XIAOMING^WANG", "WangXiaoming", "Wang_Xiao_Ming"),
    *(
        "Wáng Xiǎomíng",
        "Ｗａｎｇ　Ｘｉａｏｍｉｎｇ",
        "W.X.M.",
        "Wang X.M.",
        "xiaoming",
        "王小明",
        "王 小明",
        "小明王",
    ),
    *(
        "Jurgen Mueller-Luedenscheidt",
        "MULLER LUDENSCHEIDT",
        "山本健一郎",
        "やまもと けんいちろう",
        "ﾔﾏﾓﾄ 山本 健一郎",
    ),
)
NUMBERS = (
    *(
        "RC0259-987654-01",
        "rc025998765401",
        "RC 0259 987654 01",
        "0259.987654.01",
        "991978 19631107 0014",
        "acc77120934",
    ),
    *(
        "+86-100-2345-6789",
        "100 2345 6789",
        "(100)23456789",
        "sn48829915",
        "Building Zeta",
        "xicheng-QIANMEN/104",
    ),
    *("hospital-of-the-ninth-pavilion", "1.2.826.0.1.3680043.10.999.8820017744"),
)
DATES = (
    *(
        "19631107",
        "1963-11-07",
        "1963.11.7",
        "1963/11/07",
        "1963年11月7日",
        "07.11.1963",
        "11/07/1963",
        "7-Nov-1963",
    ),
    *("November 7, 1963", "一九六三年十一月七日", "19631107101500", "2021-03-14"),
)
ENCODINGS = ("utf-8", "gb18030", "gbk", "big5", "cp932", "euc_jp", "utf-16-le", "utf-16-be", "iso2022_jp")
STRANGERS = (
    *("mail li.lei@radiology-example.cn today", "call 13912345678", "Tel 010-65123456", "+44 20 7946 0958"),
    *("ID 11010119491001001X", "ID 11010519491231002X", "old 130503670401001", "(212) 555-0142"),
    *(
        "+39.9042+116.4074/",
        "39.90420 N 116.40740 E",
        "GPSLatitude=39",
        "39°54'15\"N",
        "geo:39.9042,116.4074",
    ),
)
Plant = Callable[[Dataset], bytes | None]


@dataclass(frozen=True)
class Leak:
    """A name for the test, and what makes the leaking file from the released one."""

    name: str
    make: Callable[[bytes], bytes]
    file: str = ""


def original(number: int) -> bytes:
    """One CT film of the identity."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in IDENTITY.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.2", "CT"
    dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.10.999.88.{number + 1}"
    dataset.SeriesInstanceUID, dataset.StudyID = "1.2.826.0.1.3680043.10.999.87.1", "1"
    dataset.StudyTime, dataset.PatientSex, dataset.PatientAge = "101112", "M", "057Y"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Example Works", "Model 3"
    dataset.InstanceNumber, dataset.SeriesNumber = number + 1, 2
    dataset.Rows = dataset.Columns = 32
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation, dataset.PixelSpacing = "MONOCHROME2", ["0.123456", "0.987654"]
    dataset.ImagePositionPatient = ["-120.25", "14.987654", str(number)]
    dataset.PixelData = b"".join((1000 + (7 * at + number) % 97).to_bytes(2, "little") for at in range(1024))
    dataset["PixelData"].VR = "OW"
    return written(dataset)


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The film as a file."""
    dataset.file_meta = meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    meta.TransferSyntaxUID = syntax
    target = io.BytesIO()
    dcmwrite(target, dataset, enforce_file_format=True)
    return target.getvalue()


def _changed(
    change: Callable[[Dataset], object], syntax: str = ExplicitVRLittleEndian
) -> Callable[[bytes], bytes]:
    def make(data: bytes) -> bytes:
        dataset = dcmread(io.BytesIO(data))
        change(dataset)
        return written(dataset, syntax)

    return make


def _says(text: str, keyword: str = "ManufacturerModelName") -> Callable[[bytes], bytes]:
    def change(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        setattr(dataset, keyword, text)

    return _changed(change)


def _holds(data: bytes, *, tag: int = 0x00189510, vr: str = "OB") -> Callable[[bytes], bytes]:
    return _changed(lambda dataset: dataset.add_new(tag, vr, data + b"\0" * (len(data) % 2)))


def _pixels(frame: bytes, syntax: str) -> Callable[[bytes], bytes]:
    def change(dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    return _changed(change, syntax)


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _jpeg(*segments: bytes, tail: bytes = b"") -> bytes:
    scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + bytes(range(1, 200))
    return b"\xff\xd8" + b"".join(segments) + scan + b"\xff\xd9" + tail


def _box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def _pdf(body: bytes, *, flate: bool = False) -> bytes:
    data, filters = (zlib.compress(body), b"/Filter /FlateDecode") if flate else (body, b"")
    return b"%PDF-1.7\n1 0 obj <<" + filters + b">>\nstream\n" + data + b"\nendstream\nendobj\n%%EOF"


def _zip(name: str, body: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, body)
    return target.getvalue()


def _deep(dataset: Dataset) -> None:
    inner = dataset
    for _ in range(4):
        item = Dataset()
        inner.AnatomicRegionSequence = Sequence([item])
        inner = item
    inner.CodeMeaning = "chest of Wang Xiaoming"


def _preamble(data: bytes) -> bytes:
    return b"II*\0 Wang Xiaoming".ljust(128, b"\0") + data[128:]


def _in_pixels(text: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:-1024] + text + data[-1024 + len(text) :]


def leaks() -> Iterator[Leak]:
    """All leaks; each stands alone in one file."""
    for text in (*NAMES, *NUMBERS, *DATES, *STRANGERS):
        yield Leak(f"text {text}", _says(f"scan of {text} today" if len(text) > 5 or "." in text else text))
    for encoding in ENCODINGS:
        yield Leak(f"bytes {encoding}", _holds(b"\x01\x02" + HAN.encode(encoding) + b"\x03\0"))
        yield Leak(f"bytes with ^ {encoding}", _holds("王^小明".encode(encoding)))
    for encoding in ("utf-8", "gb18030", "utf-16-le"):
        yield Leak(f"operator {encoding}", _holds("山本健一郎".encode(encoding)))
    yield Leak("latin-1 umlauts", _holds("Müller-Lüdenscheidt".encode("latin-1")))
    yield Leak("utf-16 number", _holds("RC0259-987654-01".encode("utf-16-le")))
    yield from _places()
    yield from _pictures()
    yield from _documents()


def _places() -> Iterator[Leak]:
    name = LATIN.encode()
    yield Leak("preamble", _preamble)
    yield Leak("after the end", lambda data: data + b"\0\0" + name)
    yield Leak("trailing padding", _holds(name, tag=0xFFFCFFFC))
    yield Leak("native pixels", _in_pixels(name))
    yield Leak("native pixels, utf-8", _in_pixels(HAN.encode()))
    yield Leak("native pixels, gb18030", _in_pixels(HAN.encode("gb18030")))
    yield Leak("five levels deep", _changed(_deep))
    yield Leak("private", _changed(lambda d: d.private_block(0x11, "X", create=True).add_new(1, "LO", LATIN)))
    yield Leak(
        "private UN",
        _changed(lambda d: d.private_block(0x11, "X", create=True).add_new(1, "UN", name + b" ")),
    )
    yield Leak("overlay", _holds(name, tag=0x60003000))
    yield Leak(
        "unlisted UI", _changed(lambda d: setattr(d, "RelatedGeneralSOPClassUID", "1.2.3.25.19631107.4"))
    )
    yield Leak("UID of the original", _holds(b"see 1.2.826.0.1.3680043.10.999.8820017744."))
    yield Leak("code string", _changed(lambda d: setattr(d, "BodyPartExamined", "WANG XIAOMING")))
    yield Leak("file name", lambda data: data, "Wang_Xiaoming_CT.dcm")
    yield Leak("folder name", lambda data: data, "王小明/1.dcm")
    yield Leak(
        "deflated", _changed(lambda d: setattr(d, "Manufacturer", LATIN), DeflatedExplicitVRLittleEndian)
    )
    yield Leak("method text", _says("by Xiaoming Wang", "DeidentificationMethod"))


def _pictures() -> Iterator[Leak]:
    name = LATIN.encode()
    tiff = b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0"
    for title, frame in (
        ("COM", _jpeg(_segment(0xFE, name))),
        ("APP1 EXIF", _jpeg(_segment(0xE1, b"Exif\0\0" + tiff))),
        ("APP1 XMP", _jpeg(_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>"))),
        ("APP13", _jpeg(_segment(0xED, b"Photoshop 3.0\x008BIM" + name))),
        ("APP9, gb18030", _jpeg(_segment(0xE9, HAN.encode("gb18030")))),
        ("after EOI", _jpeg(tail=b"  " + name)),
    ):
        yield Leak(f"JPEG {title}", _pixels(frame, JPEGBaseline8Bit))
    signature = _box(b"jP  ", b"\r\n\x87\n") + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    stream = (
        b"\xff\x4f\xff\x51\0\x04\0\0\xff\x64"
        + (len(name) + 4).to_bytes(2, "big")
        + b"\0\x01"
        + name
        + b"\xff\x90"
    )
    for title, frame in (
        ("uuid box", signature + _box(b"uuid", bytes(16) + name)),
        ("xml box", signature + _box(b"xml ", b"<p>" + HAN.encode() + b"</p>")),
        ("box in a box", signature + _box(b"asoc", _box(b"lbl ", name))),
        ("comment", stream),
    ):
        yield Leak(f"JPEG 2000 {title}", _pixels(frame, JPEG2000Lossless))


def _documents() -> Iterator[Leak]:
    name = LATIN.encode()
    utf16 = HAN.encode("utf-16-be")
    nested = original(500)
    for title, data in (
        ("PDF", _pdf(b"BT (" + name + b") Tj ET")),
        ("PDF, flate", _pdf(b"BT (" + name + b") Tj ET", flate=True)),
        ("PDF, in pieces", _pdf(b"[(Wa) -20 (ng Xi) 3 (aoming)] TJ", flate=True)),
        ("PDF, UTF-16 in hexadecimal", _pdf(b"<feff" + utf16.hex().encode() + b"> Tj", flate=True)),
        ("PDF, escapes", _pdf(b"(\\127ang \\130iaoming) Tj")),
        ("base64", base64.b64encode(b"patient: " + name + b", ward 4, bed 2")),
        ("base64, gb18030", base64.b64encode(b"patient number: " + HAN.encode("gb18030"))),
        ("gzip", gzip.compress(name)),
        ("zlib", zlib.compress(HAN.encode())),
        ("ZIP", _zip("a.txt", name)),
        ("name in a ZIP", _zip("Wang Xiaoming.txt", b"nothing")),
        ("nested DICOM", nested),
        ("deflated DICOM in base64", base64.b64encode(zlib.compress(nested))),
        ("XMP of a PDF", _pdf(b"<x:xmpmeta><dc:creator>somebody</dc:creator>")),
    ):
        yield Leak(title, _holds(data, tag=0x00420011) if "PDF" in title else _holds(data))
    yield Leak("base64 in a text", _says(base64.b64encode(b"Xiaoming Wang, bed 2").decode()))
