"""What only the whole set shows: references, one offset per patient, how many people look alike.

Rules, in order:
1. A UID of the originals has one successor in the whole set, and no two have the same (PS3.15 E.1.1, action U).
2. A reference that met its instance before meets it now: its successor is the SOP Instance UID of that instance.
3. All dates of one patient moved by the same time, and moved (PS3.15 E.3.6).
4. People alike: age band, sex, modality and site; counted by patient, told, not judged.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ribcage.oversight.deid_check.comparing import Compared, day_of
from ribcage.oversight.deid_check.finding import Finding, Masker
from ribcage.oversight.deid_check.reading import Film

_DAY: Final = 86400


@dataclass(frozen=True)
class Person:
    """What a stranger could know of somebody: the output's own values."""

    patient: str
    age: str
    sex: str
    modality: str
    site: str


def person(film: Film) -> Person:
    """The figures of one released film."""
    dataset = film.dataset

    def said(name: str) -> str:
        try:
            return str(dataset.get(name) or "").strip() if dataset is not None else ""
        except Exception:  # noqa: BLE001 - a value that pydicom refuses says nothing
            return ""

    site = said("ClinicalTrialSiteID") or said("InstitutionName")
    patient = said("PatientID") or said("StudyInstanceUID")
    return Person(patient, _band(said("PatientAge")), said("PatientSex"), said("Modality"), site)


def _band(age: str) -> str:
    match = re.fullmatch(r"(\d{3})([DWMY])", age)
    if not match:
        return ""
    years = int(match[1]) if match[2] == "Y" else 0
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def anonymity(people: Iterable[Person]) -> dict[str, Any]:
    """k for the set: the smallest class, how many patients stand alone, and the classes by size."""
    classes: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for each in people:
        classes[each.age, each.sex, each.modality, each.site].add(each.patient)
    sizes = Counter(len(each) for each in classes.values())
    alone = {next(iter(each)) for each in classes.values() if len(each) == 1}
    patients = {each for members in classes.values() for each in members}
    return {
        "by": ["age band", "sex", "modality", "site"],
        "k": min(sizes, default=0),
        "patients": len(patients),
        "alone": len(alone),
        "classes": {str(size): count for size, count in sorted(sizes.items())},
    }


def references(
    compared: Mapping[str, Compared], instances: Mapping[str, tuple[str, str]], masker: Masker, *, kept: bool
) -> Iterator[Finding]:
    """Rules 1 and 2. `instances` is `original UID -> (released UID, file)`; `kept` that the option keeps UIDs."""
    forward: dict[str, str] = {}
    backward: dict[str, str] = {}
    for file, each in compared.items():
        for before, after, place in sorted(each.uids):
            if kept:
                continue
            masked = masker.mask("uid", before)
            if forward.setdefault(before, after) != after:
                yield Finding("reference", file, place, "one UID has two successors in the set", -1, masked)
            elif backward.setdefault(after, before) != before:
                yield Finding("reference", file, place, "two UIDs have the same successor", -1, masked)
            elif before in instances and instances[before][0] != after:
                yield Finding("reference", file, place, "it met an instance of the set before", -1, masked)


def shifts(
    compared: Mapping[str, Compared], patients: Mapping[str, str], masker: Masker
) -> Iterator[Finding]:
    """Rule 3, for released files by name; `patients` tells whose originals they were."""
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    days: dict[str, Counter[int]] = defaultdict(Counter)
    for file, each in compared.items():
        seen[patients[file]].update(seconds for _, seconds in each.shifts)
        days[patients[file]].update(seconds for _, seconds in each.days)
    for file, each in compared.items():
        patient = patients[file]
        usual = _usual(seen[patient] or days[patient])
        if usual is None:
            continue
        masked = masker.mask("patient", patient)
        if usual == 0:
            yield Finding("dates", file, "dates", "expected shifted dates, they are the same", -1, masked)
            continue
        for place, seconds in sorted(each.shifts):
            if seconds != usual:
                yield Finding("dates", file, place, "not shifted as the patient's other dates", -1, masked)
        for place, seconds in sorted(each.days):
            if day_of(seconds) not in (day_of(usual), day_of(usual + _DAY - 1)):
                yield Finding("dates", file, place, "not shifted as the patient's other dates", -1, masked)


def _usual(seen: Counter[int]) -> int | None:
    return seen.most_common(1)[0][0] if seen else None
