"""How many patients of a released set look alike: k-anonymity over what the outputs themselves still say.

Rules, in order:
1. Age band of ten years, sex, site, body part and modality are read from the outputs, one instance of each series.
2. Findings are the codes of structured reports (value and scheme, at any level) and the words of study and series
   descriptions. One that fewer than five patients share is rare, and sets its patients apart; others do not.
3. A patient's class is the set of these over all their studies; k is the size of the smallest class.
4. Small classes are told by what is in the outputs, never by a pseudonym or a file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final, NamedTuple

from ribcage.dicom.errors import DicomError
from ribcage.dicom.part10 import split
from ribcage.dicom.scan import Element, Scan, scan
from ribcage.dicom.values import DEFAULT_CHARSET, charset_of, text_values
from ribcage.usage.deid.batch import Outcome

_AGE, _SEX, _MODALITY, _INSTITUTION, _BODY_PART = 0x00101010, 0x00100040, 0x00080060, 0x00080080, 0x00180015
_DESCRIPTIONS: Final = (0x00081030, 0x0008103E)
_CHARSET, _CODE, _SCHEME, _CONTENT = 0x00080005, 0x00080100, 0x00080102, 0x0040A730
_FEW: Final = 5
_SHOWN: Final = 10
_YEARS: Final = {"Y": 1.0, "M": 1 / 12, "W": 1 / 52.18, "D": 1 / 365.25}
_OVER: Final = ("age band", "sex", "site", "body part", "modality", "rare findings")


class Facts(NamedTuple):
    """What one series says of its patient."""

    age_band: str = ""
    sex: str = ""
    site: str = ""
    body_part: str = ""
    modality: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Patients who look alike: how many, their facts, and the rare findings that set them apart."""

    size: int
    facts: tuple[Facts, ...]
    rare: tuple[str, ...]

    def __str__(self) -> str:
        told = "; ".join(" ".join(part or "-" for part in each) for each in self.facts)
        return f"{self.size} alike: {told}" + (f"; rare: {', '.join(self.rare)}" if self.rare else "")


@dataclass(frozen=True, slots=True)
class Anonymity:
    """Patients of the set, size of the smallest class, patients in classes of fewer than five, number of classes.

    `rare`: findings that fewer than five patients share; `small`: the smallest classes, smallest first.
    """

    patients: int
    smallest: int
    in_small_classes: int
    classes: int
    rare: int = 0
    small: tuple[Group, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return {
            "patients": self.patients,
            "k": self.smallest,
            "classes": self.classes,
            "patients_in_classes_below_5": self.in_small_classes,
            "rare_findings": self.rare,
            "over": [*_OVER],
            "smallest": [
                {"patients": each.size, "facts": [one._asdict() for one in each.facts], "rare": [*each.rare]}
                for each in self.small
            ],
        }

    def small_lines(self) -> list[str]:
        """The smallest classes (rule 4)."""
        return [str(each) for each in self.small]

    def lines(self) -> list[str]:
        """For people."""
        if not self.patients:
            return []
        return [
            f"k = {self.smallest} over {', '.join(_OVER[:-1])} and {self.rare} {_OVER[-1]}: {self.patients} patients "
            f"in {self.classes} classes, {self.in_small_classes} of them in classes below {_FEW}",
            *self.small_lines(),
        ]


@dataclass
class _Patient:
    facts: set[Facts] = field(default_factory=set)
    findings: set[str] = field(default_factory=set)


def anonymity(out: Path, outcomes: Iterable[Outcome]) -> Anonymity:
    """Of a set that was just released. Raises OSError."""
    patients: dict[str, _Patient] = {}
    seen: set[str] = set()
    for outcome in outcomes:
        if outcome.reason is None and outcome.series not in seen:
            seen.add(outcome.series)
            _look(out / outcome.output, patients.setdefault(outcome.patient, _Patient()))
    shared = Counter(each for patient in patients.values() for each in patient.findings)
    rare = {each for each, count in shared.items() if count < _FEW} if len(patients) >= _FEW else set[str]()
    classes = Counter(
        (tuple(sorted(each.facts)), tuple(sorted(each.findings & rare))) for each in patients.values()
    )
    groups = sorted(Group(size, facts, found) for (facts, found), size in classes.items() if size < _FEW)
    return Anonymity(
        patients=len(patients),
        smallest=min(classes.values(), default=0),
        in_small_classes=sum(each.size for each in groups),
        classes=len(classes),
        rare=len(rare),
        small=tuple(groups[:_SHOWN]),
    )


def _look(path: Path, patient: _Patient) -> None:
    """Rules 1 and 2 of one instance."""
    with (
        path.open("rb") as file,
        mmap(file.fileno(), 0, access=ACCESS_READ) as mapped,  # so that pixels are not read
        memoryview(mapped) as data,
    ):
        try:
            meta = split(data)
            scanned = scan(data, meta.transfer_syntax_uid, start=meta.prefix_bytes)
        except DicomError:
            patient.facts.add(Facts("unreadable"))
            return
        age, *others = (
            _value(scanned, scanned.elements, tag)
            for tag in (_AGE, _SEX, _INSTITUTION, _BODY_PART, _MODALITY)
        )
        patient.facts.add(Facts(_band(age), *others))
        patient.findings.update(_words(scanned), _codes(scanned))


def _words(scanned: Scan) -> Iterator[str]:
    told = scanned.find(_CHARSET)
    charset = DEFAULT_CHARSET if told is None else charset_of(scanned.value(told))
    for tag in _DESCRIPTIONS:
        element = scanned.find(tag)
        for value in text_values(scanned.value(element), "LO", charset) if element is not None else ():
            yield from re.findall(r"[^\W\d_]+", value.casefold())


def _codes(scanned: Scan) -> Iterator[str]:
    """Of a structured report; of other objects, codes say how the picture was made."""
    if scanned.find(_CONTENT) is None:
        return
    for items in scanned.nested.values():
        for item in items:
            code, scheme = (_value(scanned, item.elements, tag) for tag in (_CODE, _SCHEME))
            if code:
                yield f"{code} {scheme}".strip()


def _value(scanned: Scan, elements: Iterable[Element], tag: int) -> str:
    found = next((each for each in elements if each.tag == tag), None)
    return "" if found is None else scanned.value(found).strip(b" \0").decode("latin-1")


def _band(age: str) -> str:
    """`50-59` of `056Y`."""
    if len(age) != 4 or not age[:3].isdigit() or age[3] not in _YEARS:
        return ""
    decade = int(int(age[:3]) * _YEARS[age[3]]) // 10 * 10
    return f"{decade}-{decade + 9}"
