"""How many patients of a released set look alike: k-anonymity over what the outputs themselves still say.

Rules, in order:
1. Age band of ten years, sex, site and modality are read from the outputs, one instance of each study.
2. A patient's class is the set of these over all their studies; k is the size of the smallest class.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final

from ribcage.dicom.errors import DicomError
from ribcage.dicom.part10 import split
from ribcage.dicom.scan import Scan, scan
from ribcage.usage.deid.batch import Outcome

_AGE, _SEX, _MODALITY, _INSTITUTION, _BODY_PART = 0x00101010, 0x00100040, 0x00080060, 0x00080080, 0x00180015
_FEW: Final = 5
_YEARS: Final = {"Y": 1.0, "M": 1 / 12, "W": 1 / 52.18, "D": 1 / 365.25}


@dataclass(frozen=True, slots=True)
class Anonymity:
    """Patients of the set, size of the smallest class, patients in classes of fewer than five, number of classes."""

    patients: int
    smallest: int
    in_small_classes: int
    classes: int

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return {
            "patients": self.patients,
            "k": self.smallest,
            "classes": self.classes,
            "patients_in_classes_below_5": self.in_small_classes,
            "over": ["age band", "sex", "site", "body part", "modality"],
        }

    def lines(self) -> list[str]:
        """For people."""
        if not self.patients:
            return []
        return [
            f"k = {self.smallest} over age band, sex, site, body part and modality: {self.patients} patients in "
            f"{self.classes} classes, {self.in_small_classes} of them in classes below {_FEW}"
        ]


def anonymity(out: Path, outcomes: list[Outcome]) -> Anonymity:
    """Of a set that was just released. Raises OSError."""
    seen: dict[str, set[tuple[str, ...]]] = {}
    studies: set[str] = set()
    for outcome in outcomes:
        if outcome.reason is None and outcome.study not in studies:
            studies.add(outcome.study)
            seen.setdefault(outcome.patient, set()).add(_facts(out / outcome.output))
    classes = Counter(frozenset(facts) for facts in seen.values())
    return Anonymity(
        patients=len(seen),
        smallest=min(classes.values(), default=0),
        in_small_classes=sum(size for size in classes.values() if size < _FEW),
        classes=len(classes),
    )


def _facts(path: Path) -> tuple[str, ...]:
    with (
        path.open("rb") as file,
        mmap(file.fileno(), 0, access=ACCESS_READ) as mapped,  # so that pixels are not read
        memoryview(mapped) as data,
    ):
        try:
            meta = split(data)
            scanned = scan(data, meta.transfer_syntax_uid, start=meta.prefix_bytes)
        except DicomError:
            return ("unreadable",)
        age, *others = (_text(scanned, tag) for tag in (_AGE, _SEX, _INSTITUTION, _BODY_PART, _MODALITY))
        return (_band(age), *others)


def _text(scanned: Scan, tag: int) -> str:
    element = scanned.find(tag)
    return "" if element is None else scanned.value(element).strip(b" \0").decode("latin-1")


def _band(age: str) -> str:
    if len(age) != 4 or not age[:3].isdigit() or age[3] not in _YEARS:
        return ""
    return str(int(int(age[:3]) * _YEARS[age[3]]) // 10)
