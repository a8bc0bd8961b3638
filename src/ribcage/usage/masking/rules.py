"""The reviewed allow-list: `allowed.csv` (attributes), `codes.csv` (coded terms), `classes.csv` (SOP classes).

The files are the rule; this module only reads them, once. A row that cannot be understood stops the start.

| rule | the value is kept when |
|---|---|
| number | its VR is the listed one and every value is a number of that VR |
| terms | every value is a listed term; otherwise the leading listed ones |
| orientation | every value is made of the letters A F H L P R |
| uid | it is a UID or empty |
| pointer, table | its VR is the listed one; a table is at most 128 KiB |
| items | always; its items are walked by the same list |
| codes | always; of its items only those whose code stands in `codes.csv`, without their meaning |
| empty | never: the element stays with no value |
| fixed | never: it becomes the listed text in classes of functional groups (type 1 there); elsewhere it goes |
| name, id | never: replaced by the caller's pseudonym, at the top level only |
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

from ribcage.dicom.dictionary import tag_of


class Rule(Enum):
    """How the value of an allowed attribute is treated."""

    NUMBER = "number"
    TERMS = "terms"
    ORIENTATION = "orientation"
    UID = "uid"
    POINTER = "pointer"
    TABLE = "table"
    ITEMS = "items"
    CODES = "codes"
    EMPTY = "empty"
    FIXED = "fixed"
    NAME = "name"
    ID = "id"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One row of `allowed.csv`."""

    tag: int
    vrs: frozenset[str]
    rule: Rule
    terms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The three lists."""

    attributes: Mapping[int, Allowed]
    codes: frozenset[tuple[str, str]]  # scheme, code value
    classes: frozenset[str]
    grouped: frozenset[str]  # of them: those of functional groups


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


@cache
def rules() -> Rules:
    """The lists, read once. Raises KeyError or ValueError when a shipped file was damaged."""
    attributes = {}
    for row in _rows("allowed.csv"):
        tag = tag_of(row["keyword"])
        if row["tag"] != f"({tag >> 16:04X},{tag & 0xFFFF:04X})" or tag in attributes or not row["reason"]:
            raise ValueError(f"expected one complete row for {row['keyword']} in allowed.csv, got another")
        attributes[tag] = Allowed(
            tag=tag,
            vrs=frozenset(row["vr"].split("|")),
            rule=Rule(row["rule"]),
            terms=frozenset(row["terms"].split("|")) if row["terms"] else frozenset(),
        )
    classes = _rows("classes.csv")
    return Rules(
        attributes=MappingProxyType(attributes),
        codes=frozenset((row["scheme"], row["code"]) for row in _rows("codes.csv")),
        classes=frozenset(row["sop_class_uid"] for row in classes),
        grouped=frozenset(row["sop_class_uid"] for row in classes if row["functional_groups"] == "yes"),
    )
