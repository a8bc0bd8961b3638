"""The Patient Root and Study Root information models (PS3.4 C.6.1, C.6.2): an identifier in, a question out.

Rules, in order:
1. Query/Retrieve Level is one of the model's; the Study Root has no PATIENT level and holds the patient's attributes
   at STUDY level.
2. Hierarchical: each level above has its unique key, as a single value (PS3.4 C.4.1.2.1). Relational, where
   negotiated: none is needed (C.4.1.2.2).
3. Keys of the level and of those above are answered, and matched where they are matching keys. A key below, a
   sequence, or one that the index does not hold is not returned, and makes the answers FF01 (PS3.4 C.2.2.1.3).
4. A value for a key that is only returned is not matched; that is FF01 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from ribcage.dicom.dictionary import TAG_BY_KEYWORD, keyword_of
from ribcage.dicom.errors import IdentifierMismatch
from ribcage.dicom.identifier import Identifier
from ribcage.dicom.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND

Level = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]

LEVEL: Final = TAG_BY_KEYWORD["QueryRetrieveLevel"]
LEVELS: Final[Mapping[str, tuple[Level, ...]]] = MappingProxyType({
    PATIENT_ROOT_FIND: ("PATIENT", "STUDY", "SERIES", "IMAGE"),
    STUDY_ROOT_FIND: ("STUDY", "SERIES", "IMAGE"),
})  # fmt: skip
UNIQUE: Final[Mapping[Level, str]] = MappingProxyType({
    "PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID",
})  # fmt: skip
# Matched and returned.
MATCHED: Final[Mapping[Level, tuple[str, ...]]] = MappingProxyType({
    "PATIENT": ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    "STUDY": (
        "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyInstanceUID", "ReferringPhysicianName",
        "StudyDescription", "ModalitiesInStudy",
    ),
    "SERIES": ("Modality", "SeriesNumber", "SeriesInstanceUID", "SeriesDescription", "BodyPartExamined"),
    "IMAGE": ("InstanceNumber", "SOPInstanceUID", "SOPClassUID", "Rows", "Columns"),
})  # fmt: skip
# Returned only.
RETURNED: Final[Mapping[Level, tuple[str, ...]]] = MappingProxyType({
    "PATIENT": (
        "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
    ),
    "STUDY": ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    "SERIES": ("NumberOfSeriesRelatedInstances",),
    "IMAGE": ("BitsAllocated", "NumberOfFrames", "AvailableTransferSyntaxUID"),
})  # fmt: skip
# Answered from what is known without the index (PS3.4 C.4.1.1.3.2).
ALWAYS: Final = frozenset({"QueryRetrieveLevel", "RetrieveAETitle", "InstanceAvailability"})
# They say how the request is written (PS3.4 C.2.2.2), and are no keys.
_ABOUT: Final = frozenset({"SpecificCharacterSet", "TimezoneOffsetFromUTC"})
_LIST_FORBIDDEN: Final = ("\\", "*", "?")


@dataclass(frozen=True, slots=True)
class Question:
    """What one C-FIND asks: filters by keyword, the keys to return by tag, and whether some are not supported."""

    level: Level
    filters: Mapping[str, str]
    returned: Mapping[int, str]
    unsupported: bool


def question(model: str, identifier: Identifier, *, relational: bool) -> Question:
    """The question of an identifier under a FIND SOP class. Raises IdentifierMismatch naming the key."""
    levels = LEVELS[model]
    level = next((each for each in levels if each == identifier.keys.get(LEVEL)), None)
    if level is None:
        raise IdentifierMismatch("expected a Query/Retrieve Level of this model", LEVEL)
    above = levels[: levels.index(level)]
    for each in () if relational else above:
        tag = TAG_BY_KEYWORD[UNIQUE[each]]
        value = identifier.keys.get(tag, "")
        if not value or any(mark in value for mark in _LIST_FORBIDDEN):
            raise IdentifierMismatch(f"expected a single {UNIQUE[each]}", tag)
    known = _known(levels, level)
    filters, returned, unsupported = dict[str, str](), dict[int, str](), bool(identifier.sequences)
    for tag, value in identifier.keys.items():
        keyword = keyword_of(tag)
        if keyword in ALWAYS or keyword in _ABOUT:
            continue
        if keyword not in known:
            unsupported = True
            continue
        returned[tag] = keyword
        if value.strip("*"):  # else universal matching (PS3.4 C.2.2.2.3, C.2.2.2.4)
            if known[keyword]:
                filters[keyword] = value
            else:
                unsupported = True
    unique = UNIQUE[level]  # returned whether asked for or not: without it nothing can be retrieved
    returned.setdefault(TAG_BY_KEYWORD[unique], unique)
    return Question(level, filters, returned, unsupported)


def _known(levels: tuple[Level, ...], level: Level) -> dict[str, bool]:
    """Keywords that are answered at this level; True: matched as well."""
    reached: list[Level] = [*levels[: levels.index(level) + 1]]
    if "PATIENT" not in levels:
        reached.append("PATIENT")
    known = {keyword: True for each in reached for keyword in MATCHED[each]}
    counts = reached if level == "PATIENT" else [each for each in reached if each != "PATIENT"]
    return known | {keyword: False for each in counts for keyword in RETURNED[each]}
