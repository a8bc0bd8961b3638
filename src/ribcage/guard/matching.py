"""Matching of query values against opened attributes (PS3.4 C.2.2.2): single value, list of UID, wildcard, range.

Rules, in order:
1. The guard matches already decoded text; it parses no data set.
2. Integers are compared as numbers. A time matches all that it begins: 10 matches 1030; zeros behind count for
   nothing: 103000 matches 1030.
3. A range holds its ends as far as they are written: -1030 ends with 10:30:59.
4. Combined (PS3.4 C.2.2.2.5): a range of Study Date with one of Study Time is one range of moments; an unknown time
   counts as midnight.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from ribcage.crypto.blind import name_matches
from ribcage.guard.errors import GuardRefused

PATIENT_KEYWORDS = frozenset(
    {"PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"}
)
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
_DATES = frozenset({"StudyDate", "PatientBirthDate"})
_INTEGERS = frozenset({"SeriesNumber", "InstanceNumber", "Rows", "Columns"})
_INTEGER = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_DATE = re.compile(r"\d{8}", re.ASCII)
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", re.ASCII)
_TIME_DIGITS = 12
_UID = re.compile(r"[0-9.]{1,64}")
_MAX_VALUE = 256
_MAX_UIDS = 512


def check(filters: Mapping[str, str], level: str) -> None:
    """Refuse keys that this level does not know and values out of form. Raises GuardRefused('invalid')."""
    known = PATIENT_KEYWORDS if level == "patient" else STUDY_KEYWORDS
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
        if keyword in _DATES and value:
            date_range(value)
        elif keyword == "StudyTime" and value:
            time_range(value)


def uid_list(value: str) -> list[str]:
    """UIDs separated by comma or backslash. Raises GuardRefused('invalid')."""
    uids = [uid for uid in re.split(r"[,\\]", value) if uid]
    if len(uids) > _MAX_UIDS or not all(_UID.fullmatch(uid) for uid in uids):
        raise GuardRefused("invalid")
    return uids


def date_range(value: str) -> tuple[str, str]:
    """`(low, high)` of 'D', 'D-', '-D' or 'D-D'; '' is open. Raises GuardRefused('invalid')."""
    return _range(value.strip(), _DATE)


def time_range(value: str) -> tuple[str, str]:
    """`(low, high)` as digits, of times with or without their colons. Raises GuardRefused('invalid')."""
    low, high = _range(value.replace(":", "").strip(), _TIME)
    return low.replace(".", ""), high.replace(".", "")


def _range(value: str, form: re.Pattern[str]) -> tuple[str, str]:
    low, dash, high = (each.strip() for each in value.partition("-"))
    if not dash:
        high = low
    if not (low or high) or any(end and not form.fullmatch(end) for end in (low, high)):
        raise GuardRefused("invalid")
    return low, high


def has_wildcard(value: str) -> bool:
    """True for values with '*' or '?'."""
    return "*" in value or "?" in value


def matches(
    filters: Mapping[str, str],
    values: Mapping[str, str | int | list[str]],
    *,
    masked: bool,
    combined: bool = False,
) -> bool:
    """True when every filter matches. A masked study never matches on what its view hides (rule 3 of `query`)."""
    moments = _moments(filters) if combined else None
    for keyword, wanted in filters.items():
        if wanted in ("", "*"):
            continue
        if masked and keyword not in UNMASKED:
            return False
        if keyword not in values:
            return False
        if moments is not None and keyword in ("StudyDate", "StudyTime"):
            continue
        if not _one(keyword, wanted, values[keyword]):
            return False
    return moments is None or _at(moments, str(values["StudyDate"]), str(values["StudyTime"]))


def _moments(filters: Mapping[str, str]) -> tuple[str, str] | None:
    """`(low, high)` of a combined range, as digits; None where the filters hold none (rule 4)."""
    dates, times = filters.get("StudyDate", ""), filters.get("StudyTime", "")
    if "-" not in dates or "-" not in times:
        return None
    (first, last), (early, late) = date_range(dates), time_range(times)
    return (first and first + early, last and last + late)


def _at(moments: tuple[str, str], date: str, time: str) -> bool:
    low, high = moments
    moment = date + time.replace(".", "").ljust(_TIME_DIGITS, "0")
    return bool(date) and moment >= low and (not high or moment[: len(high)] <= high)


def _one(keyword: str, wanted: str, value: str | int | list[str]) -> bool:
    if isinstance(value, list):
        return any(_text(each, one) for each in re.split(r"[,\\]", wanted) for one in value)
    text = str(value)
    if keyword.endswith("UID"):
        return text in uid_list(wanted)
    if keyword in _NAMES:
        return name_matches(wanted, text)
    if keyword in _DATES:
        low, high = date_range(wanted)
        return bool(text) and text >= low and (not high or text <= high)
    if keyword == "StudyTime":
        return _in_times(wanted, text.replace(".", ""))
    if keyword in _INTEGERS and _INTEGER.fullmatch(wanted.strip()) and _INTEGER.fullmatch(text.strip()):
        return int(wanted) == int(text)
    return _text(wanted, text)


def _in_times(wanted: str, text: str) -> bool:
    low, high = time_range(wanted)
    if not text:
        return False
    if "-" not in wanted:
        written = min(len(low), len(text))
        return text[:written] == low[:written] and not low[written:].strip("0")
    full = text.ljust(_TIME_DIGITS, "0")
    return full >= low.ljust(_TIME_DIGITS, "0") and (not high or full[: len(high)] <= high)


def _text(wanted: str, text: str) -> bool:
    if has_wildcard(wanted):
        return re.fullmatch(_glob(wanted), text, re.DOTALL) is not None
    return text.strip() == wanted.strip()


def _glob(pattern: str) -> str:
    """A regular expression of '*' and '?' alone; brackets are ordinary characters in DICOM."""
    return fnmatch.translate(pattern.replace("[", "[[]"))
