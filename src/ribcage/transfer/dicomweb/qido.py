"""QIDO-RS as values: query string in, guard's filters out; guard's records in, DICOM JSON out (PS3.18 10.6).

Rules, in order:
1. An attribute is named by keyword or by eight hexadecimal digits. One that is unknown, or that the index does
   not match, is refused: to ignore a filter would answer more than was asked (DESIGN rule 7).
2. Each filter once; UIDs in the path are filters that the query string may not repeat.
3. Returned are the required attributes of the level (PS3.18 10.6.3.3), the UIDs above it and what
   `includefield` names; nothing else of what the guard answered.
4. Values are never repeated in an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl

from ribcage.dicom.dictionary import TAG_BY_KEYWORD, keyword_of, vr_of
from ribcage.guard.protocol import Record
from ribcage.transfer.dicomweb.errors import BadRequest
from ribcage.transfer.dicomweb.limits import WebLimits

Level = Literal["study", "series", "instance"]
Json = dict[str, object]

_STUDY_MATCHES: Final = frozenset({
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "StudyID",
    "StudyDescription", "ReferringPhysicianName", "PatientName", "PatientID", "IssuerOfPatientID",
    "PatientBirthDate", "PatientSex",
})  # fmt: skip
_SERIES_MATCHES: Final = _STUDY_MATCHES | {
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined",
}  # fmt: skip
_INSTANCE_MATCHES: Final = _SERIES_MATCHES | {
    "SOPInstanceUID",
    "SOPClassUID",
    "InstanceNumber",
    "Rows",
    "Columns",
}
MATCHES: Final[Mapping[Level, frozenset[str]]] = {
    "study": _STUDY_MATCHES, "series": _SERIES_MATCHES, "instance": _INSTANCE_MATCHES,
}  # fmt: skip

_STUDY_RETURNS: Final = (
    "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName", "PatientName",
    "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
_SERIES_RETURNS: Final = (
    "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "NumberOfSeriesRelatedInstances",
)  # fmt: skip
_INSTANCE_RETURNS: Final = (
    "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated", "NumberOfFrames",
    "AvailableTransferSyntaxUID",
)  # fmt: skip
_IF_PRESENT: Final = frozenset({  # PS3.18 10.6.3.3: only where known; the index says 0 or "" where it is not
    "Rows", "Columns", "BitsAllocated", "NumberOfFrames", "SeriesDescription", "AvailableTransferSyntaxUID",
})  # fmt: skip

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_NUMERIC_VRS: Final = frozenset({"IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_SINGLE_TEXT_VRS: Final = frozenset({"LT", "ST", "UT"})


@dataclass(frozen=True, slots=True)
class Search:
    """One parsed search. `fields` None means all; `fuzzy` was asked for and is not done."""

    level: Level
    filters: Mapping[str, str]
    fields: frozenset[str] | None
    limit: int
    offset: int
    fuzzy: bool


def check_uid(text: str) -> str:
    """`text` as a UID of PS3.5 9.1 (leading zeros are tolerated). Raises BadRequest."""
    if len(text) > 64 or _UID.fullmatch(text) is None:
        raise BadRequest("expected a UID of digits and dots, at most 64 characters")
    return text


def parse_search(level: Level, above: Mapping[str, str], query: bytes, limits: WebLimits) -> Search:
    """Parse a query string; `above` holds the UIDs of the path by keyword. Raises BadRequest."""
    filters = {keyword: check_uid(uid) for keyword, uid in above.items()}
    wanted = set(_required(level, nested=bool(above))) | set(above)
    everything = False
    special: dict[str, str] = {}
    for name, value in _pairs(query, limits):
        if name == "includefield":
            for field in value.split(","):
                if field.strip().lower() == "all":
                    everything = True
                else:
                    wanted.add(_field(field.strip()))
        elif name in ("limit", "offset", "fuzzymatching", "accept", "charset"):
            if name in special:
                raise BadRequest(f"expected {name} once")
            special[name] = value
        else:
            keyword = _keyword(name)
            if keyword not in MATCHES[level]:
                raise BadRequest("expected an attribute that this level matches")
            if keyword in filters:
                raise BadRequest("expected each attribute once")
            if value:  # universal matching, PS3.4 C.2.2.2.3
                filters[keyword] = value
            wanted.add(keyword)
    fuzzy = special.get("fuzzymatching", "false").lower()
    if fuzzy not in ("true", "false"):
        raise BadRequest("expected fuzzymatching true or false")
    return Search(
        level=level,
        filters=filters,
        fields=None if everything else frozenset(wanted),
        limit=min(_count(special, "limit", limits.default_results), limits.max_results),
        offset=_count(special, "offset", 0),
        fuzzy=fuzzy == "true",
    )


def encode_record(search: Search, record: Record, base: str) -> Json:
    """One result as DICOM JSON Model (PS3.18 F); `base` is the service's URL for RetrieveURL."""
    values = record.attributes
    result: Json = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
    }
    url = retrieve_url(search, values, base)
    if url:
        result["00081190"] = {"vr": "UR", "Value": [url]}
    names = set(values) if search.fields is None else search.fields
    for keyword in names:
        tag = TAG_BY_KEYWORD.get(keyword)
        if tag is None or (keyword in _IF_PRESENT and not values.get(keyword)):
            continue
        result[f"{tag:08X}"] = _element(vr_of(tag), values.get(keyword, ""))
    return dict(sorted(result.items()))


def retrieve_url(search: Search, values: Mapping[str, str | int | list[str]], base: str) -> str:
    """Where the result is retrieved (PS3.18 10.6.3.3), "" where a UID is missing."""
    steps = [
        ("studies", "StudyInstanceUID"),
        ("series", "SeriesInstanceUID"),
        ("instances", "SOPInstanceUID"),
    ]
    depth = {"study": 1, "series": 2, "instance": 3}[search.level]
    url = base
    for step, keyword in steps[:depth]:
        uid = values.get(keyword) or search.filters.get(keyword, "")
        if not isinstance(uid, str) or _UID.fullmatch(uid) is None:
            return ""
        url += f"/{step}/{uid}"
    return url


def _required(level: Level, *, nested: bool) -> tuple[str, ...]:
    """Required return attributes; without UIDs in the path those of the levels above too."""
    study = ("StudyInstanceUID",) if nested else _STUDY_RETURNS
    if level == "study":
        return _STUDY_RETURNS
    if level == "series":
        return study + _SERIES_RETURNS
    return (*study, *(("SeriesInstanceUID",) if nested else _SERIES_RETURNS), *_INSTANCE_RETURNS)


def _pairs(query: bytes, limits: WebLimits) -> list[tuple[str, str]]:
    if len(query) > limits.max_query_bytes:
        raise BadRequest(f"expected a query string of at most {limits.max_query_bytes} bytes")
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict",
            max_num_fields=64,
        )  # fmt: skip
    except ValueError as failure:
        raise BadRequest("expected name=value pairs in UTF-8, percent-encoded") from failure
    for _, value in pairs:
        if len(value) > limits.max_query_value_chars or _CONTROL.search(value):
            raise BadRequest("expected query values without control characters and within their limit")
    return pairs


def _keyword(name: str) -> str:
    """The keyword of an attribute named by keyword or tag (PS3.18 8.3.4)."""
    keyword = keyword_of(int(name, 16)) if _TAG.fullmatch(name) else name
    if keyword not in TAG_BY_KEYWORD:
        raise BadRequest("expected an attribute by PS3.6 keyword or tag")
    return keyword


def _field(name: str) -> str:
    """An includefield: known to PS3.6, or a well-formed path into a sequence, which is then never present."""
    first, _, rest = name.partition(".")
    keyword = _keyword(first)
    return keyword if not rest else f"{keyword}.{'.'.join(_keyword(part) for part in rest.split('.'))}"


def _count(special: Mapping[str, str], name: str, default: int) -> int:
    text = special.get(name)
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None:
        raise BadRequest(f"expected {name} as a number")
    return int(text)


def _element(vr: str, value: str | int | list[str]) -> Json:
    """One element of the JSON model; no `Value` where empty (PS3.18 F.2.5)."""
    texts: list[str] | list[int]
    if isinstance(value, int):
        texts = [value]
    elif isinstance(value, list):
        texts = value
    elif not value:
        return {"vr": vr}
    else:
        texts = [value] if vr in _SINGLE_TEXT_VRS else value.split("\\")
    return {"vr": vr, "Value": [_single(vr, text) for text in texts]} if texts else {"vr": vr}


def _single(vr: str, value: str | int) -> object:
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(value).split("="), strict=False)
        return {name: text for name, text in groups if text} or None
    if vr in _NUMERIC_VRS:
        try:
            return int(value)
        except ValueError:
            return str(value)
    return value if value != "" else None
