"""Films with identities in every place that PS3.15 Table E.1-1 names, and what must become of each.

Rules, in order:
1. Made from the table and from nothing else: it shares no code with the engine or the checker.
2. Everything follows from the seed. No identity can be a living person's (region 99, prefix 100).
3. Each row stands at the top of one film and in an item of another; `NOT_IN_FILES` lists what no file holds.
4. Where the table leaves a choice (X/Z/D), each of its forms is right, but a type 2 attribute stays present. What is
   foreign to the class may go instead of being emptied or replaced; what an option keeps stays, in images everywhere.
   Directory records (group 0004, PS3.3 F) are foreign to every film.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import add_dict_entries, dictionary_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

DATA = resources.files("ribcage.oversight.deid_check")
OPTION_COLUMNS = (
    *("retain_safe_private", "retain_uids", "retain_device_identity", "retain_institution_identity"),
    *(
        "retain_patient_characteristics",
        "retain_longitudinal_full_dates",
        "retain_longitudinal_modified_dates",
    ),
    *("clean_descriptors", "clean_structured_content", "clean_graphics"),
)
NOT_IN_FILES = {
    "(0000,1000)": "an element of a command",
    "(0000,1001)": "an element of a command",
    "(0002,0003)": "stands in the file meta information of each film",
}
_RESEARCH = frozenset({"clean_descriptors", "clean_structured_content"})
PROFILES: dict[str, frozenset[str]] = {
    "basic": frozenset(),
    "longitudinal-full": frozenset({"retain_longitudinal_full_dates", "retain_patient_characteristics"}),
    "longitudinal-modified": frozenset(
        {"retain_longitudinal_modified_dates", "retain_patient_characteristics"}
    ),
    "safe-private": frozenset({"retain_safe_private"}),
    "device-and-institution": frozenset({"retain_device_identity", "retain_institution_identity"}),
    "same-uids": frozenset({"retain_uids"}),
    "descriptors": frozenset({"clean_descriptors", "clean_graphics"}),
    "research-basic": _RESEARCH,
    "research-longitudinal": _RESEARCH
    | {"retain_longitudinal_modified_dates", "retain_patient_characteristics"},
    "teaching": _RESEARCH | {"retain_patient_characteristics", "clean_graphics"},
    "ai-training": _RESEARCH
    | {"retain_longitudinal_modified_dates", "retain_patient_characteristics"}
    | {"retain_device_identity", "retain_safe_private"},
}
# PS3.3 C.7.1.1, C.7.2.2, C.7.1.4: code strings of which the standard enumerates the values.
ENUMERATED = {
    "PatientSex": ("F", "M", "O"),
    "PatientSexNeutered": ("ALTERED", "UNALTERED"),
    "SmokingStatus": ("YES", "NO", "UNKNOWN"),
}
CLASSES = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "SR": "1.2.840.10008.5.1.4.1.1.88.22",
    "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    "PDF": "1.2.840.10008.5.1.4.1.1.104.1",
    "KO": "1.2.840.10008.5.1.4.1.1.88.59",
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
}
IMAGES = ("CR", "DX", "CT", "MR", "US", "SEG")
MODALITY = {"PDF": "DOC"}
# Character set, and the person's name as it is written in it.
CHARACTER_SETS = {
    "latin": ("ISO_IR 100", "Quastenflößer{n}^Jürgen"),
    "gb18030": ("GB18030", "Ouyang{n}^Xiuying=欧阳^秀{c}英"),
    "utf8": ("ISO_IR 192", "Wangshu{n}^Wang=王^望{c}舒"),
    "ir58": (["", "ISO 2022 IR 58"], "Zhugeliang{n}^Ming=诸葛^明{c}亮"),
    "ir87": (["", "ISO 2022 IR 87"], "Yamadatarou{n}^Taro=山田^太{c}郎=やまだ^たろう"),
    "ir149": (["", "ISO 2022 IR 149"], "Honggildong{n}^Gildong=洪^吉洞=홍^길동"),
}
COMMON_CHARACTERS = "大中小山川日月水火木"
TYPE_2 = frozenset(
    (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
        *("AccessionNumber", "ReferringPhysicianName"),
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    )
)
HOLDER = "AnatomicRegionSequence"  # not in the table: kept, and walked
_ENCODINGS = ("utf-8", "gb18030", "big5", "cp932", "euc_kr", "latin-1", "utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class Row:
    """One row of the table as this generator reads it."""

    tag: int
    keyword: str
    vr: str
    cells: dict[str, str] = field(hash=False)

    def action(self, options: frozenset[str]) -> str:
        moved = "retain_longitudinal_modified_dates"
        if self.vr in ("DA", "DT", "TM") and moved in options and self.cells[moved]:
            return "C"  # a date kept with the device, beside moved ones, would tell by how much they moved
        chosen = [self.cells[option] for option in OPTION_COLUMNS if option in options and self.cells[option]]
        return "K" if "K" in chosen else "C" if "C" in chosen else self.cells["basic"]


@dataclass(frozen=True)
class Expected:
    """`outcomes`: any of removed, emptied, replaced, kept, mapped, shifted, cleaned."""

    outcomes: frozenset[str]
    value: str = ""


@dataclass
class Truth:
    """One film's truth, by path."""

    name: str
    options: frozenset[str]
    patient: int
    expected: dict[str, Expected] = field(default_factory=dict)
    rows: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    uid: str = ""
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deviation:
    """What should have become of one attribute, and what did."""

    path: str
    expected: str
    got: str


@functools.cache
def table() -> list[Row]:
    """Single tags of Table E.1-1 that pydicom can write, curves and overlays at their first group."""
    rows = []
    for line in csv.DictReader(DATA.joinpath("e1_1.csv").read_text("utf-8").splitlines()):
        number = re.sub(r"[(),]", "", line["tag"].replace("50xx,xxxx", "5000,3000").replace("60xx", "6000"))
        if not re.fullmatch(r"\w{8}", number):
            continue
        row = Row(int(number, 16), line["keyword"], line["vr"].split("/")[0] or "LO", dict(line))
        if row.tag >> 16 not in (0x5000, 0x6000) and not dictionary_has_tag(row.tag):
            add_dict_entries({row.tag: (row.vr, "1-n", row.keyword, "", row.keyword)})
        rows.append(row)
    return rows


@functools.cache
def safe_private() -> list[tuple[str, int, int, str]]:
    """`(creator, group, low byte, VR)` of the safe private attributes that hold one plain value."""
    found = []
    for line in csv.DictReader(DATA.joinpath("safe_private.csv").read_text("utf-8").splitlines()):
        match = re.match(r"\((\w{4}),xx(\w{2})\)", line["Data Element"])
        if match and line["VR"] in ("DS", "IS", "CS", "FL", "FD", "US", "SH", "LO") and line["VM"] == "1":
            found.append((line["Private Creator"].strip(), int(match[1], 16), int(match[2], 16), line["VR"]))
    return found


# --- values ---------------------------------------------------------------------------------------------


class People:
    """Made-up persons; `strings` are what must not be left of one."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def random(self, *what: object) -> random.Random:
        return random.Random(hashlib.sha256(repr((self._seed, *what)).encode()).digest())

    def name(self, patient: int) -> tuple[str, object, str]:
        """`(name of the character set, Specific Character Set, person's name)`."""
        key = list(CHARACTER_SETS)[patient % len(CHARACTER_SETS)]
        charset, form = CHARACTER_SETS[key]
        letters = "".join(chr(97 + int(digit)) for digit in str(patient))
        common = COMMON_CHARACTERS[patient % 10] if key != "ir149" else ""
        return key, charset, form.format(n=letters, c=common)

    def number(self, patient: int, what: str) -> str:
        return f"RC{self.random(patient, what).randrange(10**9, 10**10)}"

    def uid(self, *what: object) -> str:
        return f"1.2.826.0.1.3680043.10.999.{self.random('uid', *what).randrange(10**20, 10**21)}"

    def date(self, patient: int, what: str) -> str:
        chance = self.random(patient, what)
        return f"{chance.randrange(2003, 2024)}{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"

    def value(self, row: Row, patient: int, film: int) -> object:
        """A value of the row's VR that can be recognised."""
        chance, vr = self.random(patient, row.tag, film), row.vr
        text = f"{row.keyword[:20]} {self.number(patient, row.keyword)}"
        if row.keyword in ENUMERATED:
            return chance.choice(ENUMERATED[row.keyword])
        if vr == "PN":
            return f"Staffperson{chr(97 + patient % 26)}{chance.choice('bcdf')}ux^{row.keyword[:24]}"
        if vr in ("LO", "ST", "LT", "UT", "UC"):
            return text
        fixed = {
            "SH": self.number(patient, row.keyword),
            "AE": f"AE{chance.randrange(10**8, 10**9)}",
            "DA": self.date(patient, row.keyword),
            "TM": f"{chance.randrange(1, 24):02}{chance.randrange(60):02}{chance.randrange(60):02}",
            "DT": f"{self.date(patient, row.keyword)}{chance.randrange(10, 24)}{chance.randrange(10, 60)}17",
            "UI": self.uid(patient, row.keyword),
            "UR": f"https://pacs.example/{self.number(patient, row.keyword)}",
            "CS": f"CODE {chance.randrange(10**6)}",
            "AS": f"{chance.randrange(20, 89):03}Y",
            "DS": f"{chance.randrange(10**5)}.25",
            "IS": str(chance.randrange(10**3, 10**6)),
            "US": chance.randrange(2, 60000),
            "OB": text.encode() + b" " * (len(text) % 2),
            "OW": text.encode() + b" " * (len(text) % 2),
            "UN": text.encode() + b" " * (len(text) % 2),
        }
        return fixed[vr]


# --- films ----------------------------------------------------------------------------------------------


def films(profile: str = "basic", *, seed: int = 1, count: int = 330) -> Iterator[tuple[bytes, Truth]]:
    """`count` films under one profile; every row stands at the top of one and in an item of another."""
    rows = table()
    for number in range(count):
        yield _Maker(profile, seed, count, rows, number).film()


class _Maker:
    def __init__(self, profile: str, seed: int, count: int, rows: list[Row], number: int) -> None:
        self.people, self.rows, self.number = People(seed), rows, number
        self.kind = list(CLASSES)[number % len(CLASSES)]
        self.patient = number // len(CLASSES)
        self.truth = Truth(f"{number:04}.dcm", PROFILES[profile], self.patient)
        self._by_keyword = {row.keyword: row for row in rows}
        # The same film of every count carries the same share, and all shares together are all rows, twice.
        share = [row for at, row in enumerate(rows) if at % count == number]
        nested = [row for at, row in enumerate(rows) if (at + count // 2) % count == number]
        self.top, self.nested = [r for r in share if self._fits(r)], [r for r in nested if self._fits(r)]

    @staticmethod
    def _fits(row: Row) -> bool:
        return row.tag >> 16 not in (0x0000, 0x0002)

    def film(self) -> tuple[bytes, Truth]:
        dataset = self._base()
        for row in self.top:
            if row.tag not in dataset:
                self._plant(dataset, row, "")
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "51185008", "SCT", "Chest"
        setattr(dataset, HOLDER, Sequence([item]))
        foreign = frozenset() if self.kind in IMAGES else frozenset({"removed"})
        self.truth.expected["(0008,2218)"] = Expected(frozenset({"kept"}) | foreign)
        for row in self.nested:
            self._plant(item, row, "(0008,2218)[0]")
        self._private(dataset)
        for path, each in self.truth.expected.items():
            if path.startswith("(0008,2218)["):
                self.truth.expected[path] = Expected(each.outcomes | foreign, each.value)
        return self._bytes(dataset), self.truth

    def _base(self) -> Dataset:
        dataset, people, patient = Dataset(), self.people, self.patient
        _, charset, name = people.name(patient)
        dataset.SpecificCharacterSet = charset
        self._set(dataset, "PatientName", name)
        for keyword in ("PatientID", "AccessionNumber", "StudyID", "StationName", "InstitutionName"):
            self._set(dataset, keyword, people.value(self._by_keyword[keyword], patient, 0))
        self._set(dataset, "PatientBirthDate", people.date(patient, "birth"))
        self._set(dataset, "PatientSex", "FM"[patient % 2])
        self._set(dataset, "PatientAge", f"{30 + patient % 50:03}Y")
        self._set(dataset, "StudyDate", people.date(patient, "study"))
        self._set(dataset, "StudyTime", "101112")
        self._set(dataset, "ReferringPhysicianName", f"Referrer{chr(97 + patient % 26)}x^Konstantin")
        self._set(dataset, "StudyInstanceUID", people.uid(patient, "study"))
        self._set(dataset, "SeriesInstanceUID", people.uid(patient, self.kind))
        self.truth.uid = people.uid(self.number)
        self._set(dataset, "SOPInstanceUID", self.truth.uid)
        self._keep(dataset, "SOPClassUID", CLASSES[self.kind])
        self._keep(dataset, "Modality", MODALITY.get(self.kind, self.kind))
        self._keep(dataset, "InstanceNumber", str(self.number + 1))
        self._content(dataset)
        return dataset

    def _content(self, dataset: Dataset) -> None:
        first = self.patient * len(CLASSES)
        if self.kind in IMAGES:
            self._pixels(dataset)
        elif self.kind == "PDF":
            self._keep(dataset, "MIMETypeOfEncapsulatedDocument", "application/pdf")
            text = f"%PDF-1.4 ({self.people.number(self.patient, 'PatientID')})".encode()
            self._set(dataset, "EncapsulatedDocument", text + b" " * (len(text) % 2))
        elif self.kind in ("SR", "KO"):
            self._keep(dataset, "ValueType", "CONTAINER")
            item = Dataset()
            item.RelationshipType, item.ValueType = "CONTAINS", "PNAME"
            item.PersonName = self.people.name(self.patient)[2]
            self._set(dataset, "ContentSequence", Sequence([item]))
            if "clean_structured_content" in self.truth.options:  # PS3.15 E.3.4: the tree stays
                for element in (item["ValueType"], item["RelationshipType"]):
                    stays = Expected(frozenset({"kept"}), str(element.value))
                    self.truth.expected["(0040,A730)[0]" + _path(element.tag)] = stays
        if self.kind in ("SEG", "PR", "KO", "SR"):
            item = Dataset()
            item.ReferencedSOPClassUID = CLASSES["CR"]
            item.ReferencedSOPInstanceUID = self.people.uid(first)
            self.truth.references = (item.ReferencedSOPInstanceUID,)
            dataset.ReferencedInstanceSequence = Sequence([item])
            self.truth.expected["(0008,114A)[0](0008,1155)"] = self._expect(
                self._by_keyword["ReferencedSOPInstanceUID"], item.ReferencedSOPInstanceUID
            )

    def _pixels(self, dataset: Dataset) -> None:
        for keyword, value in (
            *(("Rows", 16), ("Columns", 16), ("BitsAllocated", 8), ("BitsStored", 8), ("HighBit", 7)),
            *(
                ("SamplesPerPixel", 1),
                ("PixelRepresentation", 0),
                ("PhotometricInterpretation", "MONOCHROME2"),
            ),
        ):
            self._keep(dataset, keyword, value)
        data = self.people.random("pixels", self.number).randbytes(256)
        if self.kind == "US":
            name = self.people.name(self.patient)[2].split("=")[0].encode("ascii", "replace")
            segment = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0" + name
            header = b"\xff\xd8\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
            data = header + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + data.replace(b"\xff", b"\0") + b"\xff\xd9"
            dataset.PixelData = encapsulate([data])
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
        else:
            dataset.PixelData = data
            dataset["PixelData"].VR = "OB"

    def _keep(self, dataset: Dataset, keyword: str, value: object) -> None:
        setattr(dataset, keyword, value)
        self.truth.expected[_path(dataset[keyword].tag)] = Expected(frozenset({"kept"}), str(value))

    def _set(self, dataset: Dataset, keyword: str, value: object) -> None:
        setattr(dataset, keyword, value)
        row = self._by_keyword[keyword]
        self.truth.expected[_path(row.tag)] = self._expect(row, value, top=True)
        self._note(row, value)

    def _plant(self, dataset: Dataset, row: Row, prefix: str) -> None:
        path = prefix + _path(row.tag)
        if row.vr == "SQ":
            item = Dataset()
            item.PatientID = self.people.number(self.patient, "PatientID")
            dataset.add(DataElement(row.tag, "SQ", Sequence([item])))
            self.truth.expected[path] = self._expect(row, dataset[row.tag].value)
            inner = self.truth.expected[path].outcomes
            if inner == {"kept"}:
                under = self._expect(self._by_keyword["PatientID"], item.PatientID)
                self.truth.expected[f"{path}[0](0010,0020)"] = under
            self.truth.rows.add(row.cells["tag"])
            return
        value = self.people.value(row, self.patient, self.number)
        dataset.add(DataElement(row.tag, row.vr if row.tag >> 16 != 0x5000 else "OW", _fit(row, value)))
        self.truth.expected[path] = self._expect(row, value)
        self._note(row, value)

    def _note(self, row: Row, value: object) -> None:
        self.truth.rows.add(row.cells["tag"])
        if row.action(self.truth.options) == "K" or row.vr in ("SQ", "CS", "AS", "DS", "IS", "US", "TM"):
            return
        if row.vr in ("DA", "DT"):
            if row.keyword in ("PatientBirthDate",) or "C" not in row.action(self.truth.options):
                self.truth.strings.add(str(value)[:8])
            return
        text = value.decode("latin-1").strip() if isinstance(value, bytes) else str(value)
        if row.vr == "PN":
            self.truth.strings |= {part for part in re.split("[=^]", text) if len(part) > 7}
            self.truth.strings |= {part.replace("^", "") for part in text.split("=")[1:2]}
        self.truth.strings.add(text)
        self.truth.strings |= set(re.findall(r"RC\d{10}", text))

    def _expect(self, row: Row, value: object, *, top: bool = False) -> Expected:
        action = row.action(self.truth.options)
        names = {"X": "removed", "Z": "emptied", "D": "replaced", "U": "mapped", "U*": "mapped", "K": "kept"}
        outcomes = {names[each] for each in action.split("/") if each in names}
        if "emptied" in outcomes:
            outcomes.add("replaced")
        if action == "C":
            outcomes = (
                {"shifted", "removed", "emptied"} if row.vr in ("DA", "DT", "TM") else {"cleaned", "removed"}
            )
            outcomes |= {"kept"} if row.vr == "TM" else set()  # a shift by whole days leaves the time of day
        if top and row.keyword in TYPE_2:
            outcomes.discard("removed")
        elif not top and (outcomes & {"emptied", "replaced"} or row.tag >> 16 == 0x0004):
            outcomes.add("removed")
        return Expected(frozenset(outcomes), _said(value))

    def _private(self, dataset: Dataset) -> None:
        safe = safe_private()
        creator, group, low, vr = safe[self.number % len(safe)]
        values = {"DS": "1.25", "IS": "7", "FL": 1.5, "FD": 2.5, "US": 3}
        block = dataset.private_block(group, creator, create=True)
        block.add_new(low, vr, values.get(vr, "SAFE"))
        kept = "retain_safe_private" in self.truth.options
        outcome = Expected(frozenset({"kept" if kept else "removed"}), str(values.get(vr, "SAFE")))
        self.truth.expected[f"({group:04X},[{creator}]{low:02X})"] = outcome
        vendor = f"VENDOR {self.number % 17}"
        block = dataset.private_block(0x0009 + 2 * (self.number % 5), vendor, create=True)
        name = self.people.name(self.patient)[2].split("=")[0]
        block.add_new(0x01, "LO", self.people.number(self.patient, "PatientID"))
        block.add_new(0x02, "UN", name.encode("latin-1", "replace") + b" " * (len(name) % 2))
        for low in (1, 2):
            key = f"({0x0009 + 2 * (self.number % 5):04X},[{vendor}]{low:02X})"
            self.truth.expected[key] = Expected(frozenset({"removed"}))
        self.truth.rows.add("(gggg,eeee) gggg odd")

    def _bytes(self, dataset: Dataset) -> bytes:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            dataset.SOPClassUID,
            dataset.SOPInstanceUID,
        )
        meta.TransferSyntaxUID = JPEGBaseline8Bit if self.kind == "US" else ExplicitVRLittleEndian
        meta.ImplementationClassUID = UID("1.2.826.0.1.3680043.10.999.1")
        meta.SourceApplicationEntityTitle = f"SRC{self.people.number(self.patient, 'ae')[2:10]}"
        self.truth.strings.add(str(meta.SourceApplicationEntityTitle))
        self.truth.rows.add("(0002,0003)")
        dataset.file_meta = meta
        name = self.people.name(self.patient)[2].split("=")[0].encode("ascii", "replace")
        dataset.preamble = (b"II*\0" + name).ljust(128, b"\0") if self.number % 3 == 0 else b"\0" * 128
        target = io.BytesIO()
        dcmwrite(target, dataset, enforce_file_format=True)
        data = target.getvalue()
        if self.number % 4 == 1 and "DataSetTrailingPadding" not in dataset:
            padding = name + b" " * (len(name) % 2)
            data += b"\xfc\xff\xfc\xffOB\0\0" + len(padding).to_bytes(4, "little") + padding
        return data


def _fit(row: Row, value: object) -> object:
    if row.tag >> 16 in (0x5000, 0x6000) and row.vr != "LT":
        text = str(value) if not isinstance(value, bytes) else value.decode()
        return text.encode() + b" " * (len(text) % 2)
    return value


def _path(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


# --- judgement ------------------------------------------------------------------------------------------


def compare(truth: Truth, output: Dataset) -> list[Deviation]:
    """Every attribute of the truth that did not become what it must."""
    found = []
    for path, expected in truth.expected.items():
        got = _outcome(output, path, expected)
        if not _right(got, expected.outcomes):
            found.append(Deviation(path, " or ".join(sorted(expected.outcomes)), got))
    if output.get("PatientIdentityRemoved") != "YES":
        found.append(Deviation("(0012,0062)", "YES", str(output.get("PatientIdentityRemoved"))))
    return found


def compare_references(pairs: list[tuple[Truth, Dataset]]) -> list[Deviation]:
    """References that led to a film of the set and no longer do."""
    successor = {truth.uid: str(output.SOPInstanceUID) for truth, output in pairs}
    found = []
    for truth, output in pairs:
        for uid in truth.references:
            for item in output.get("ReferencedInstanceSequence") or []:
                if uid in successor and str(item.ReferencedSOPInstanceUID) != successor[uid]:
                    found.append(Deviation(truth.name, "the successor of its target", "another UID"))
    return found


def left_in(truth: Truth, data: bytes) -> list[str]:
    """Strings of the identity that are still in the bytes, in any of the encodings."""
    lowered = data.lower()
    found = []
    for text in truth.strings:
        for encoding in _ENCODINGS:
            try:
                needle = text.encode(encoding).lower()
            except UnicodeEncodeError:
                continue
            if len(needle) >= 4 and needle in lowered:
                found.append(text)
                break
    return sorted(found)


def _right(got: str, outcomes: frozenset[str]) -> bool:
    if got in outcomes:
        return True
    if got == "replaced":
        return bool(outcomes & {"shifted", "cleaned"})
    return "cleaned" in outcomes and got in ("kept", "emptied")


def _outcome(output: Dataset, path: str, expected: Expected) -> str:
    element = find(output, path)
    if element is None:
        return "removed"
    if element.VR == "SQ":
        return _sequence_outcome(element, expected)
    if element.value in (None, "", b"") or str(element.value).strip() == "":
        return "emptied"
    if _text(element) == expected.value.strip():
        return "kept"
    if element.VR == "UI" and "mapped" in expected.outcomes:
        return "mapped" if UID(str(element.value)).is_valid else "an invalid UID"
    return "replaced"


def _sequence_outcome(element: DataElement, expected: Expected) -> str:
    if not element.value:
        return "emptied"
    if "kept" in expected.outcomes:
        return "kept"
    if _said(element.value) == expected.value:
        return "kept"
    return "mapped" if "mapped" in expected.outcomes else "replaced"


def _said(value: object) -> str:
    """A value as text; of a sequence, the values in its items."""
    if isinstance(value, Sequence):
        return " ".join(str(each.value) for item in value for each in item.iterall() if each.VR != "SQ")
    return str(value)


def _text(element: DataElement) -> str:
    if isinstance(element.value, bytes):
        return str(element.value)
    return str(element.value).strip()


def find(dataset: Dataset, path: str) -> DataElement | None:
    """The element on a path; a private one by its creator, in whatever block."""
    for part in re.findall(r"\([^)]*\)(?:\[\d+\])?", path):
        match = re.fullmatch(r"\((\w{4}),(?:\[(.*)\])?(\w+)\)(?:\[(\d+)\])?", part)
        if match is None:
            raise ValueError(path)
        group, creator, low, item = int(match[1], 16), match[2], int(match[3], 16), match[4]
        if creator is not None:
            try:
                return dataset.private_block(group, creator)[low]
            except KeyError:
                return None
        element = dataset.get((group, low))
        if element is None or item is None:
            return element
        if not element.value or len(element.value) <= int(item):
            return None
        dataset = element.value[int(item)]
    return None


def parse(data: bytes) -> Dataset:
    """A film as pydicom reads it, its own dictionary completed."""
    table()
    return dcmread(io.BytesIO(data))
