"""VR and keyword by tag: PS3.6 as pydicom knows it, plus the tags of PS3.15 2026d that pydicom 3.0.2 lacks.

Rules, in order:
1. Private tags (odd group) and unknown tags are UN (PS3.5 6.2.2 note 3); a private creator is LO.
2. Repeating groups (50xx, 60xx, 7Fxx and the few 0020,31xx style) are looked up by their mask.
3. A VR that depends on other elements is written as in DCMTK: "xs" US or SS, "ox" OB or OW, "lt" US, SS or OW.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from ribcage.dicom.pydicom_tables import pydicom_table

_PYDICOM: Final = pydicom_table("_dicom_dict")

_AMBIGUOUS: Final = {
    "US or SS": "xs",
    "OB or OW": "ox",
    "US or OW": "lt",
    "US or SS or OW": "lt",
    "NONE": "UN",
    "": "UN",
}

# DICOM PS3.15 2026d, © NEMA; VR and keyword from PS3.6 2026b. (3004,007F) has no published VR there: UN.
_ADDED: Final = (
    (0x00081301, "SQ", "PrincipalDiagnosisCodeSequence"),
    (0x00081302, "SQ", "PrimaryDiagnosisCodeSequence"),
    (0x00081303, "SQ", "SecondaryDiagnosesCodeSequence"),
    (0x00081304, "SQ", "HistologicalDiagnosesCodeSequence"),
    (0x00100011, "SQ", "PersonNamesToUseSequence"),
    (0x00100012, "LT", "NameToUse"),
    (0x00100013, "UT", "NameToUseComment"),
    (0x00100014, "SQ", "ThirdPersonPronounsSequence"),
    (0x00100015, "SQ", "PronounCodeSequence"),
    (0x00100016, "UT", "PronounComment"),
    (0x00100041, "SQ", "GenderIdentitySequence"),
    (0x00100042, "UT", "SexParametersForClinicalUseCategoryComment"),
    (0x00100043, "SQ", "SexParametersForClinicalUseCategorySequence"),
    (0x00100044, "SQ", "GenderIdentityCodeSequence"),
    (0x00100045, "UT", "GenderIdentityComment"),
    (0x00100046, "SQ", "SexParametersForClinicalUseCategoryCodeSequence"),
    (0x00100047, "UR", "SexParametersForClinicalUseCategoryReference"),
    (0x00102162, "UC", "EthnicGroups"),
    (0x0040A034, "DT", "EffectiveStartDateTime"),
    (0x0040A035, "DT", "EffectiveStopDateTime"),
    (0x0040B034, "DT", "AnnotationDateTime"),
    (0x0040B036, "DT", "SegmentDefinitionDateTime"),
    (0x0040B03B, "LT", "MontageName"),
    (0x0040B03F, "LO", "MontageChannelLabel"),
    (0x0040E012, "UR", "DisplayURI"),
    (0x3004007F, "UN", "DoseCalculationModelName"),
)


def _vr_table() -> dict[int, str]:
    rows = cast("Mapping[int, tuple[str, str, str, str, str]]", _PYDICOM.DicomDictionary)
    table = {tag: _AMBIGUOUS.get(row[0], row[0]) for tag, row in rows.items()}
    for tag, vr, _ in _ADDED:
        table.setdefault(tag, vr)
    return table


def _keyword_table() -> dict[int, str]:
    rows = cast("Mapping[int, tuple[str, str, str, str, str]]", _PYDICOM.DicomDictionary)
    table = {tag: row[4] for tag, row in rows.items() if row[4]}
    for tag, _, keyword in _ADDED:
        table.setdefault(tag, keyword)
    return table


def _repeater_table() -> tuple[tuple[int, int, str, str], ...]:
    rows = cast("Mapping[str, tuple[str, str, str, str, str]]", _PYDICOM.RepeatersDictionary)
    table = []
    for pattern, row in rows.items():
        mask = int("".join("0" if digit == "x" else "F" for digit in pattern), 16)
        value = int(pattern.replace("x", "0"), 16)
        table.append((mask, value, _AMBIGUOUS.get(row[0], row[0]), row[4]))
    return tuple(table)


VR_BY_TAG: Final[Mapping[int, str]] = MappingProxyType(_vr_table())
KEYWORD_BY_TAG: Final[Mapping[int, str]] = MappingProxyType(_keyword_table())
TAG_BY_KEYWORD: Final[Mapping[str, int]] = MappingProxyType({k: t for t, k in KEYWORD_BY_TAG.items()})
_REPEATERS: Final = _repeater_table()


def is_private(tag: int) -> bool:
    """Whether the group is odd (PS3.5 7.8)."""
    return bool(tag & 0x10000)


def vr_of(tag: int) -> str:
    """The VR of this tag, "UN" when unknown; "xs", "ox", "lt" where it depends on other elements."""
    vr = VR_BY_TAG.get(tag)
    if vr is not None:
        return vr
    if tag & 0x10000:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    if tag & 0xFFFF == 0:
        return "UL"  # group length, PS3.5 7.2
    for mask, value, repeated, _ in _REPEATERS:
        if tag & mask == value:
            return repeated
    return "UN"


def keyword_of(tag: int) -> str:
    """The keyword of PS3.6, "" for private and unknown tags."""
    keyword = KEYWORD_BY_TAG.get(tag)
    if keyword is not None:
        return keyword
    if not tag & 0x10000:
        for mask, value, _, repeated in _REPEATERS:
            if tag & mask == value:
                return repeated
    return ""


def tag_of(keyword: str) -> int:
    """The tag of this keyword. Raises KeyError when PS3.6 has none."""
    return TAG_BY_KEYWORD[keyword]
