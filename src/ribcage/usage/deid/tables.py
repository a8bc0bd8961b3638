"""What PS3.15 and PS3.3 say, as literal tables: read once from the CSV files beside this module.

| file | content |
|---|---|
| `ps315_2026d_actions.csv` | Table E.1-1, edition 2026d: one action for each attribute and option |
| `ps315_2026c_concepts.csv` | Table E.3.4-1, edition 2026c: actions for content items by concept |
| `ps315_2026c_safe_private.csv` | Table E.3.10-1, edition 2026c: private elements known to be safe |
| `iod_classes.csv`, `iod_attributes.csv` | PS3.3: modules of a class, types of the attributes in them |
| `terms.csv` | PS3.3: enumerated values of code strings beside those of the masked view's allow-list |
| `words.csv` | reviewed vocabulary of the imaging department: words that are no names |

DICOM PS3.15 2026d, © NEMA. The conditional types 1C and 2C count as 1 and 2: an attribute that is there was needed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from ribcage.dicom.dictionary import KEYWORD_BY_TAG

EDITION: Final = "PS3.15 2026d"


class Option(Enum):
    """The options of PS3.15 E.3, by their column in the tables."""

    SAFE_PRIVATE = "retain_safe_private"
    UIDS = "retain_uids"
    DEVICE = "retain_device_identity"
    INSTITUTION = "retain_institution_identity"
    PATIENT = "retain_patient_characteristics"
    FULL_DATES = "retain_longitudinal_full_dates"
    MODIFIED_DATES = "retain_longitudinal_modified_dates"
    DESCRIPTORS = "clean_descriptors"
    STRUCTURED = "clean_structured_content"
    GRAPHICS = "clean_graphics"
    PIXELS = "clean_pixel_data"
    VISUAL = "clean_recognizable_visual_features"


# CID 7050 (DCM), and the meaning to write.
METHOD_CODES: Final[Mapping[Option | None, tuple[str, str]]] = MappingProxyType(
    {
        None: ("113100", "Basic Application Confidentiality Profile"),
        Option.PIXELS: ("113101", "Clean Pixel Data Option"),
        Option.VISUAL: ("113102", "Clean Recognizable Visual Features Option"),
        Option.GRAPHICS: ("113103", "Clean Graphics Option"),
        Option.STRUCTURED: ("113104", "Clean Structured Content Option"),
        Option.DESCRIPTORS: ("113105", "Clean Descriptors Option"),
        Option.FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
        Option.MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
        Option.PATIENT: ("113108", "Retain Patient Characteristics Option"),
        Option.DEVICE: ("113109", "Retain Device Identity Option"),
        Option.UIDS: ("113110", "Retain UIDs Option"),
        Option.SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
        Option.INSTITUTION: ("113112", "Retain Institution Identity Option"),
    }
)
_CONCEPT_COLUMNS: Final = {
    "Rtn. UIDs Opt.": Option.UIDS,
    "Rtn. Dev. Id. Opt.": Option.DEVICE,
    "Rtn. Inst. Id. Opt.": Option.INSTITUTION,
    "Rtn. Pat. Chars. Opt.": Option.PATIENT,
    "Rtn. Long. Full Dates Opt.": Option.FULL_DATES,
    "Rtn. Long. Modif. Dates Opt.": Option.MODIFIED_DATES,
    "Clean Desc. Opt.": Option.DESCRIPTORS,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of Table E.1-1 or E.3.4-1: the basic action and what options say instead."""

    vr: str
    basic: str
    options: Mapping[Option, str]


@dataclass(frozen=True, slots=True)
class Iod:
    """Which attributes a storage class has: at the top by tag, in sequences by (sequence, tag). Types 1, 2, 3."""

    top: Mapping[int, int]
    nested: Mapping[tuple[int, int], int]

    def type_of(self, parent: int, tag: int) -> int:
        """The attribute's type at the top (`parent` 0) or in a sequence; 0 when it is not there."""
        return self.nested.get((parent, tag), 0) if parent else self.top.get(tag, 0)


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    head, *rows = csv.reader(io.StringIO(text))
    return [dict(zip(head, row, strict=True)) for row in rows if row]


@cache
def actions() -> Mapping[int, Row]:
    """Table E.1-1 by tag; the four rows of repeating and private groups are rules of `plan`."""
    table = {}
    for row in _rows("ps315_2026d_actions.csv"):
        text = row["tag"]
        if "x" in text or "gggg" in text:
            continue
        options = {option: row[option.value] for option in Option if row.get(option.value)}
        table[int(text[1:5] + text[6:10], 16)] = Row(row["vr"], row["basic"], MappingProxyType(options))
    return MappingProxyType(table)


@cache
def concepts() -> Mapping[tuple[str, str, str], Row]:
    """Table E.3.4-1 by (coding scheme, code value, value type); the value type stands as VR.

    With "" as value type: what holds for another value type than the table's, removal where any row says so.
    """
    table: dict[tuple[str, str, str], Row] = {}
    for row in _rows("ps315_2026c_concepts.csv"):
        options = {option: row[name] for name, option in _CONCEPT_COLUMNS.items() if row[name]}
        scheme, code, value_type = row["Coding Scheme Designator"], row["Code Value"], row["Value Type"]
        made = Row(value_type, row["Basic Prof."], MappingProxyType(options))
        table[scheme, code, value_type] = made
        if made.basic == "X" or (scheme, code, "") not in table:
            table[scheme, code, ""] = Row("", made.basic, MappingProxyType({}))
    return MappingProxyType(table)


@cache
def safe_private() -> Mapping[tuple[str, int, int], str]:
    """VR by (private creator, group, low byte of the element number)."""
    table = {}
    for row in _rows("ps315_2026c_safe_private.csv"):
        text = row["Data Element"]
        table[row["Private Creator"], int(text[1:5], 16), int(text[8:10], 16)] = row["VR"].split("/")[0]
    return MappingProxyType(table)


@cache
def iod_of(sop_class_uid: str) -> Iod | None:
    """The attributes of this storage class, None for a class without a table."""
    modules = _classes().get(sop_class_uid)
    if modules is None:
        return None
    by_module, nested = _attributes()
    top: dict[int, int] = {}
    for module in modules:
        for tag, kind in by_module.get(module, {}).items():
            top[tag] = min(kind, top.get(tag, 3))
    return Iod(MappingProxyType(top), nested)


@cache
def _classes() -> Mapping[str, tuple[str, ...]]:
    return {row["sop_class_uid"]: tuple(row["modules"].split("|")) for row in _rows("iod_classes.csv")}


@cache
def _attributes() -> tuple[Mapping[str, Mapping[int, int]], Mapping[tuple[int, int], int]]:
    modules: dict[str, dict[int, int]] = {}
    nested: dict[tuple[int, int], int] = {}
    for row in _rows("iod_attributes.csv"):
        kind, within = int(row["type"]), row["within"]
        tags = [int(tag, 16) for tag in row["tags"].split()]
        if len(within) == 8 and within.isalnum() and not within.islower():
            nested.update({(int(within, 16), tag): kind for tag in tags})
        else:
            modules.setdefault(within, {}).update(dict.fromkeys(tags, kind))
    return modules, nested


@cache
def enumerated() -> Mapping[int, frozenset[str]]:
    """Values that PS3.3 lists for a code string, by tag."""
    tags = {keyword: tag for tag, keyword in KEYWORD_BY_TAG.items()}
    return {tags[row["keyword"]]: frozenset(row["terms"].split("|")) for row in _rows("terms.csv")}


@cache
def words() -> frozenset[str]:
    """The vocabulary: Latin words in lower case, and Chinese terms."""
    return frozenset(row["word"] for row in _rows("words.csv"))


@cache
def listed_codes() -> Mapping[tuple[str, str], str]:
    """Meaning by (coding scheme, code value) of the reviewed coded terms."""
    text = files("ribcage.usage.masking").joinpath("codes.csv").read_text(encoding="utf-8")
    return {(row["scheme"], row["code"]): row["meaning"] for row in csv.DictReader(io.StringIO(text))}
