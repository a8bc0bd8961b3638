"""PS3.15 Table E.1-1 and the safe private attributes, as data of the checker's own (2026d, © NEMA).

Rules, in order:
1. An option's cell overrides the basic profile (PS3.15 E.1.1).
2. The clean private option is a cell of private attributes only; the list decides which of them.
3. A date moves with Modified Dates also where Device Identity would keep it: beside moved dates a kept one tells by
   how much they moved.
4. Masked tags: even groups of curves and overlays, odd groups private.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from pydicom.datadict import add_dict_entries, dictionary_has_tag

EDITION: Final = "DICOM PS3.15 2026d"
BASIC_CODE: Final = "113100"
# CID 7050: code of a method, and the column of the table that it stands for.
METHODS: Final[Mapping[str, str]] = {
    BASIC_CODE: "basic",
    "113101": "clean_pixel_data",
    "113102": "clean_recognizable_visual_features",
    "113103": "clean_graphics",
    "113104": "clean_structured_content",
    "113105": "clean_descriptors",
    "113106": "retain_longitudinal_full_dates",
    "113107": "retain_longitudinal_modified_dates",
    "113108": "retain_patient_characteristics",
    "113109": "retain_device_identity",
    "113110": "retain_uids",
    "113111": "retain_safe_private",
    "113112": "retain_institution_identity",
}
OPTIONS: Final = tuple(name for name in METHODS.values() if name != "basic")
FULL_DATES, MODIFIED_DATES = "retain_longitudinal_full_dates", "retain_longitudinal_modified_dates"

_DATE_VRS: Final = frozenset(("DA", "DT", "TM"))


@dataclass(frozen=True)
class Row:
    """One row; `cells` are the columns that are not empty."""

    tag: str
    keyword: str
    vr: str
    cells: Mapping[str, str]

    def action(self, options: Iterable[str]) -> str:
        """The action under these options; K prevails over C, C over the basic one, but for dates (rule 3)."""
        options = frozenset(options)
        if self.vr in _DATE_VRS and MODIFIED_DATES in options and self.cells.get(MODIFIED_DATES) == "C":
            return "C"
        given = {self.cells[option] for option in options if option in self.cells}
        return next((code for code in ("K", "C") if code in given), self.cells["basic"])


@functools.cache
def rows() -> Mapping[str, Row]:
    """All rows by their tag as printed, `(0010,0010)`."""
    text = resources.files(__package__).joinpath("e1_1.csv").read_text(encoding="utf-8")
    columns = ("basic", *OPTIONS)
    return {
        line["tag"]: Row(
            line["tag"], line["keyword"], line["vr"], {each: line[each] for each in columns if line.get(each)}
        )
        for line in csv.DictReader(text.splitlines())
    }


@functools.cache
def row_of(tag: int) -> Row | None:
    """The row of a tag, masks included; None for an attribute that the table does not name."""
    group, element = tag >> 16, tag & 0xFFFF
    if group & 1:
        return rows()["(gggg,eeee) gggg odd"]
    exact = rows().get(f"({group:04X},{element:04X})")
    if exact is None and 0x5000 <= group <= 0x501E:
        return rows()["(50xx,xxxx)"]
    if exact is None and 0x6000 <= group <= 0x601E:
        return rows().get(f"(60xx,{element:04X})")
    return exact


@functools.cache
def safe_private() -> frozenset[tuple[str, int, int]]:
    """`(creator, group, low byte of the element)` of PS3.15 Table E.3.10-1."""
    text = resources.files(__package__).joinpath("safe_private.csv").read_text(encoding="utf-8")
    found = set()
    for line in csv.DictReader(text.splitlines()):
        match = re.match(r"\((\w{4}),xx(\w{2})\)", line["Data Element"])
        if match:
            found.add((line["Private Creator"].strip(), int(match[1], 16), int(match[2], 16)))
    return frozenset(found)


@functools.cache
def teach_pydicom() -> None:
    """Attributes of the table that pydicom does not know; unknown, their sequences would not be walked."""
    missing = {}
    for row in rows().values():
        match = re.fullmatch(r"\(([0-9A-F]{4}),([0-9A-F]{4})\)", row.tag)
        if match and row.vr:
            tag = int(match[1] + match[2], 16)
            if not dictionary_has_tag(tag):
                missing[tag] = (row.vr, "1-n", row.keyword, "", row.keyword)
    if missing:
        add_dict_entries(missing)
