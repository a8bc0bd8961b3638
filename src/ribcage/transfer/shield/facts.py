"""Between the old PACS's answers and the guard's words: tags and keywords, whose study it is, one record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from ribcage.dicom.dictionary import TAG_BY_KEYWORD
from ribcage.dicom.query_models import MATCHED, RETURNED
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from ribcage.guard.matching import UNMASKED
from ribcage.guard.protocol import Attributes, InstanceRef, Record, View

GuardLevel = Literal["patient", "study", "series", "instance"]
LEVELS: Final[Mapping[GuardLevel, str]] = {
    "patient": "STUDY",  # a patient is who has studies that may be named
    "study": "STUDY",
    "series": "SERIES",
    "instance": "IMAGE",
}
_FACTS: Final = {  # of `Attributes`, by keyword
    "study_instance_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "accession_number": "AccessionNumber",
    "study_id": "StudyID",
    "study_description": "StudyDescription",
    "referring_physician_name": "ReferringPhysicianName",
}
_COUNTS: Final = frozenset(
    {"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"}
)
_INTEGERS: Final = _COUNTS | {"Rows", "Columns", "BitsAllocated"}
_LISTS: Final = frozenset({"ModalitiesInStudy"})
STUDY_KEYWORDS: Final = (
    *_FACTS.values(), "ModalitiesInStudy", *RETURNED["STUDY"],
)  # fmt: skip
_SERIES_KEYWORDS: Final = ("StudyInstanceUID", *MATCHED["SERIES"], *RETURNED["SERIES"])
_IMAGE_KEYWORDS: Final = (
    "StudyInstanceUID", "SeriesInstanceUID", *MATCHED["IMAGE"], "BitsAllocated", "NumberOfFrames",
)  # fmt: skip
KEYWORDS: Final = {"STUDY": STUDY_KEYWORDS, "SERIES": _SERIES_KEYWORDS, "IMAGE": _IMAGE_KEYWORDS}
_ID_BYTES = 16


def keys_of(level: str, filters: Mapping[str, str]) -> dict[int, str]:
    """What is asked at this level: everything that an answer may hold, and the filters."""
    keys = {TAG_BY_KEYWORD[keyword]: "" for keyword in KEYWORDS[level]}
    return keys | {TAG_BY_KEYWORD[keyword]: value for keyword, value in filters.items()}


def text(answer: Mapping[int, str], keyword: str) -> str:
    """One value of an answer, '' where there is none."""
    return answer.get(TAG_BY_KEYWORD[keyword], "").strip("\0 ")


def study_facts(answer: Mapping[int, str]) -> Attributes:
    """Whose study an answer of level STUDY names."""
    said = {name: text(answer, keyword) for name, keyword in _FACTS.items()}
    return Attributes("", "", said.pop("study_instance_uid"), "", **said)  # type: ignore[arg-type]  # all of them text


def record_of(
    answers: Iterable[Mapping[int, str]], level: str, view: View, position: str, called: Mapping[str, int]
) -> Record:
    """One row: `answers` from the study downwards, `called` counts that are ours. Masked where the view is."""
    values: dict[str, str | int | list[str]] = {}
    for answer in answers:
        for keyword in KEYWORDS["STUDY"] + KEYWORDS["SERIES"] + KEYWORDS["IMAGE"]:
            value = text(answer, keyword)
            if not value or (level == "patient" and keyword not in MATCHED["PATIENT"]):
                continue
            if view == "masked" and keyword not in UNMASKED | _COUNTS:
                continue
            values[keyword] = _typed(keyword, value)
    return Record(view, values | dict(called), position)


def _typed(keyword: str, value: str) -> str | int | list[str]:
    if keyword in _LISTS:
        return value.split("\\")
    if keyword in _INTEGERS and value.isdigit():
        return int(value)
    return value


def reference(answer: Mapping[int, str]) -> InstanceRef:
    """An instance as the PACS lists it. Its transfer syntax is seen when it comes; till then the commonest stands."""
    uid = text(answer, "SOPInstanceUID")
    return InstanceRef(
        object_id=os.urandom(_ID_BYTES),
        sop_class_uid=text(answer, "SOPClassUID"),
        sop_instance_uid=uid,
        series_instance_uid=text(answer, "SeriesInstanceUID"),
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        data_set_bytes=0,
        prefix_bytes=0,
    )
