"""A small de-identifier of the tests' own, on pydicom: slow, simple, and right on the truth set. Not the engine."""

from __future__ import annotations

import datetime
import hashlib
import io
import re
from dataclasses import dataclass

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence

from deid import truth

CODES = {
    "clean_graphics": "113103",
    "clean_structured_content": "113104",
    "clean_descriptors": "113105",
    "retain_longitudinal_full_dates": "113106",
    "retain_longitudinal_modified_dates": "113107",
    "retain_patient_characteristics": "113108",
    "retain_device_identity": "113109",
    "retain_uids": "113110",
    "retain_safe_private": "113111",
    "retain_institution_identity": "113112",
}
_CLASS_UIDS = (0x00080016, 0x00081150, 0x00081115, 0x0008010C, 0x0008010D, 0x0008001A)


@dataclass
class Model:
    """One project: its key, and the options it keeps to."""

    key: bytes
    options: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._rows = {row.tag: row for row in truth.table()}
        self._safe = {(creator, group, low) for creator, group, low, _ in truth.safe_private()}

    def film(self, data: bytes) -> bytes:
        """One film, released."""
        dataset = dcmread(io.BytesIO(data))
        self._days = 1 + self._number("days", str(dataset.get("PatientID"))) % 3000
        self._walk(dataset)
        self._mark(dataset)
        self._pixels(dataset)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            dataset.SOPClassUID,
            dataset.SOPInstanceUID,
        )
        meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
        dataset.file_meta, dataset.preamble = meta, b"\0" * 128
        target = io.BytesIO()
        dcmwrite(target, dataset, enforce_file_format=True)
        return target.getvalue()

    def _number(self, *what: str) -> int:
        return int.from_bytes(hashlib.blake2b(repr(what).encode(), key=self.key).digest()[:12], "big")

    def _walk(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            element = dataset[tag]
            if tag.is_private:
                self._private(dataset, element)
                continue
            row = self._rows.get(int(tag))
            if 0x5000 <= tag.group <= 0x501E or (
                0x6000 <= tag.group <= 0x601E and tag.element in (0x3000, 0x4000)
            ):
                del dataset[tag]
            elif row is None:
                self._unlisted(dataset, element)
            else:
                self._act(dataset, element, row.action(self.options).split("/"))

    def _private(self, dataset: Dataset, element: DataElement) -> None:
        tag, lows = element.tag, [element.tag.element & 0xFF]
        creator = element.private_creator
        if tag.is_private_creator:
            creator, lows = str(element.value).strip(), list(range(256))
        safe = any((creator, tag.group, low) in self._safe for low in lows)
        if not safe or "retain_safe_private" not in self.options:
            del dataset[tag]

    def _unlisted(self, dataset: Dataset, element: DataElement) -> None:
        tag = element.tag
        if element.VR in ("PN", "UR", "DA", "DT", "TM", "UN") or tag.group == 4:
            del dataset[tag]
        elif element.VR == "SQ":
            for item in element.value:
                self._walk(item)
        elif element.VR == "UI" and int(tag) not in _CLASS_UIDS and "retain_uids" not in self.options:
            self._map(element)

    def _act(self, dataset: Dataset, element: DataElement, action: list[str]) -> None:
        keep_present = element.keyword in truth.TYPE_2
        if action == ["K"]:
            for item in element.value if element.VR == "SQ" else ():
                self._walk(item)
        elif action == ["C"] and element.VR in ("DA", "DT"):
            self._shift(element)
        elif action == ["C"] and element.VR == "TM":
            return
        elif action == ["C"] and element.keyword == "ContentSequence":
            for item in element.value:  # PS3.15 E.3.4: the tree stays, cleaned
                self._walk(item)
        elif ("X" in action and not keep_present) or action == ["C"]:
            del dataset[element.tag]
        elif "U" in action:
            self._map(element)
        elif "Z" in action and element.keyword != "PatientID":
            element.value = (
                Sequence() if element.VR == "SQ" else b"" if isinstance(element.value, bytes) else ""
            )
        else:
            self._replace(element)

    def _map(self, element: DataElement) -> None:
        values = [element.value] if isinstance(element.value, str) else list(element.value)
        mapped = [
            each if each.startswith("1.2.840.10008.") else f"2.25.{self._number('uid', each)}"
            for each in values
        ]
        element.value = mapped[0] if len(mapped) == 1 else mapped

    def _uid(self, value: str) -> str:
        return f"2.25.{self._number('uid', value)}"

    def _shift(self, element: DataElement) -> None:
        text = str(element.value)
        if re.match(r"\d{8}", text):
            day = datetime.date(int(text[:4]), int(text[4:6]), int(text[6:8])) - datetime.timedelta(
                self._days
            )
            element.value = f"{day:%Y%m%d}{text[8:]}"

    def _replace(self, element: DataElement) -> None:
        if element.VR == "SQ":
            item = Dataset()
            item.TextValue = "REMOVED"
            element.value = Sequence([item])
            return
        alias = f"P{self._number('alias', str(element.value)):x}"
        fixed = {
            "PN": f"{alias[:12]}^",
            "DA": "19000101",
            "TM": "000000",
            "DT": "19000101000000",
            "AS": "000Y",
            "UI": self._uid(str(element.value)),
            "UR": "urn:removed",
            "CS": "REMOVED",
            "DS": "0",
            "IS": "0",
            "US": 0,
            "OB": b"REMOVED ",
            "OW": b"REMOVED ",
            "UN": b"REMOVED ",
        }
        element.value = fixed.get(element.VR, alias[:14])

    def _mark(self, dataset: Dataset) -> None:
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "model"
        full = "retain_longitudinal_full_dates" in self.options
        shifted = "retain_longitudinal_modified_dates" in self.options
        dataset.LongitudinalTemporalInformationModified = (
            "UNMODIFIED" if full else "MODIFIED" if shifted else "REMOVED"
        )
        items = []
        for code in ["113100", *sorted(CODES[option] for option in self.options)]:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", "de-identification"
            items.append(item)
        dataset.DeidentificationMethodCodeSequence = Sequence(items)

    def _pixels(self, dataset: Dataset) -> None:
        if "PixelData" in dataset and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            frames = [
                re.sub(rb"\xff\xe1..Exif.*?(?=\xff\xda)", b"", frame, flags=re.DOTALL)
                for frame in generate_frames(dataset.PixelData, number_of_frames=1)
            ]
            dataset.PixelData = encapsulate(frames)
            dataset["PixelData"].is_undefined_length = True
