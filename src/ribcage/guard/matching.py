"""Matching of query values against opened attributes (PS3.4 C.2.2.2): single value, list of UID, wildcard, range.

The guard matches already decoded text; it parses no data set.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from ribcage.crypto.blind import name_matches
from ribcage.guard.errors import GuardRefused

STUDY_KEYWORDS = frozenset(
    {
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "StudyDescription",
        "ReferringPhysicianName",
    }
)
SERIES_KEYWORDS = frozenset(
    {"SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined"}
)
INSTANCE_KEYWORDS = frozenset({"SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "Columns"})

# What the masked view still answers and matches: addresses and what kind of picture it is.
UNMASKED = frozenset(
    {
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "SOPClassUID",
        "Modality",
        "ModalitiesInStudy",
    }
)
_NAMES = frozenset({"PatientName", "ReferringPhysicianName"})
_RANGES = frozenset({"StudyDate", "StudyTime", "PatientBirthDate"})
_DATE = re.compile(r"\d{8}")
_UID = re.compile(r"[0-9.]{1,64}")
_MAX_VALUE = 256
_MAX_UIDS = 512


def check(filters: Mapping[str, str], level: str) -> None:
    """Refuse keys that this level does not know and values out of form. Raises GuardRefused('invalid')."""
    known = STUDY_KEYWORDS
    if level in ("series", "instance"):
        known = known | SERIES_KEYWORDS
    if level == "instance":
        known = known | INSTANCE_KEYWORDS
    for keyword, value in filters.items():
        if keyword not in known:
            raise GuardRefused("invalid")
        if keyword.endswith("InstanceUID") or keyword == "SOPClassUID":
            uid_list(value)
        elif len(value) > _MAX_VALUE:
            raise GuardRefused("invalid")
        if keyword in ("StudyDate", "PatientBirthDate") and value:
            date_range(value)


def uid_list(value: str) -> list[str]:
    """UIDs separated by comma or backslash. Raises GuardRefused('invalid')."""
    uids = [uid for uid in re.split(r"[,\\]", value) if uid]
    if len(uids) > _MAX_UIDS or not all(_UID.fullmatch(uid) for uid in uids):
        raise GuardRefused("invalid")
    return uids


def date_range(value: str) -> tuple[str, str]:
    """`(low, high)` of 'D', 'D-', '-D' or 'D-D'; '' is open. Raises GuardRefused('invalid')."""
    low, dash, high = value.partition("-")
    if not dash:
        high = low
    if (low and not _DATE.fullmatch(low)) or (high and not _DATE.fullmatch(high)) or not (low or high):
        raise GuardRefused("invalid")
    return low, high


def has_wildcard(value: str) -> bool:
    """True for values with '*' or '?'."""
    return "*" in value or "?" in value


def matches(filters: Mapping[str, str], values: Mapping[str, str | int | list[str]], *, masked: bool) -> bool:
    """True when every filter matches. A masked study never matches on what its view hides (rule 3 of `query`)."""
    for keyword, wanted in filters.items():
        if wanted in ("", "*"):
            continue
        if masked and keyword not in UNMASKED:
            return False
        if keyword not in values or not _one(keyword, wanted, values[keyword]):
            return False
    return True


def _one(keyword: str, wanted: str, value: str | int | list[str]) -> bool:
    if isinstance(value, list):
        return any(each in value for each in re.split(r"[,\\]", wanted))
    text = str(value)
    if keyword.endswith("UID"):
        return text in uid_list(wanted)
    if keyword in _NAMES:
        return name_matches(wanted, text)
    if keyword in _RANGES:
        return _in_range(wanted, text)
    if has_wildcard(wanted):
        return re.fullmatch(_glob(wanted), text, re.DOTALL) is not None
    return text.strip() == wanted.strip()


def _in_range(wanted: str, text: str) -> bool:
    low, dash, high = wanted.partition("-")
    if not dash:
        return text[: len(low)] == low if low else True
    return bool(text) and (not low or text >= low) and (not high or text[: len(high)] <= high)


def _glob(pattern: str) -> str:
    """A regular expression of '*' and '?' alone; brackets are ordinary characters in DICOM."""
    return fnmatch.translate(pattern.replace("[", "[[]"))
