"""Which original a released file came from: by content, never by name.

Rules, in order:
1. The same SOP Instance UID, where UIDs are kept.
2. The same pixels, waveform or document, class and geometry, where only one original has them.
3. Among equals: the one whose study, series and patient go where the sure pairs of the set went. Who fits no better
   than another is paired, but unsure: nothing about the set is concluded from it.
4. Else whoever shares most of what the table never touches, if no other shares as much.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from ribcage.oversight.deid_check.reading import Element, Film, walk
from ribcage.oversight.deid_check.table import row_of

_BULK: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "WaveformData")
_GEOMETRY: Final = (
    *("SOPClassUID", "Rows", "Columns", "NumberOfFrames", "BitsStored", "InstanceNumber", "SeriesNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceLocation"),
)
_HIGHER: Final = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "FrameOfReferenceUID",
    "SOPInstanceUID",
)
_MARKERS: Final = frozenset((0x00120062, 0x00280301, 0x00280302, 0x00280303))
_LEAST_SHARED: Final = 0.6
_PLACE: Final = re.compile(r"\[\d+\]")  # removed items move those behind them
_UNTOUCHED_VRS: Final = frozenset(["CS", "DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "AT"])


@dataclass(frozen=True)
class Signature:
    """What is compared: digests only, and the UIDs that map to each other."""

    instance: str
    sop_class: str
    bulk: str
    geometry: str
    kept: frozenset[int]
    higher: tuple[tuple[str, str], ...]


def signature(film: Film) -> Signature | None:
    """The signature of a film; None for what is not DICOM."""
    dataset = film.dataset
    if dataset is None:
        return None
    bulk = hashlib.sha256()
    there = False
    for name in _BULK:
        value = _value(dataset, name)
        if isinstance(value, bytes) and value:
            bulk.update(value)
            there = True
    kept = frozenset(
        zlib.crc32(repr((_PLACE.sub("", each.path), each.texts)).encode())
        for each in walk(dataset)
        if _untouched(each)
    )
    return Signature(
        str(_value(dataset, "SOPInstanceUID") or ""),
        str(_value(dataset, "SOPClassUID") or ""),
        bulk.hexdigest() if there else "",
        hashlib.sha256(repr([str(_value(dataset, each)) for each in _GEOMETRY]).encode()).hexdigest(),
        kept,
        tuple((name, str(_value(dataset, name) or "")) for name in _HIGHER),
    )


def _untouched(element: Element) -> bool:
    if element.tag >> 16 & 1 or element.tag in _MARKERS or element.path.startswith("(0012,0064)"):
        return False
    return element.vr in _UNTOUCHED_VRS and row_of(element.tag) is None


def _value(dataset: Dataset, name: str) -> object:
    try:
        return dataset.get(name)
    except Exception:  # noqa: BLE001 - a value that pydicom refuses takes no part
        return None


@dataclass(frozen=True)
class Pairs:
    """`found` is released index to original index; `unsure` are released ones that others fit as well."""

    found: Mapping[int, int]
    unsure: frozenset[int]


def pair(originals: Sequence[Signature | None], released: Sequence[Signature | None]) -> Pairs:
    """An original for every released film that has one."""
    matcher = _Matcher(originals, released)
    matcher.same_instances()
    for names in (("sop_class", "bulk", "geometry"), ("sop_class", "bulk"), ("sop_class", "geometry")):
        matcher.by_key(names)
    matcher.by_likeness()
    return Pairs(matcher.found, frozenset(matcher.unsure))


class _Matcher:
    def __init__(self, originals: Sequence[Signature | None], released: Sequence[Signature | None]) -> None:
        self._originals = {number: each for number, each in enumerate(originals) if each is not None}
        self._released = {number: each for number, each in enumerate(released) if each is not None}
        self.found: dict[int, int] = {}
        self.unsure: set[int] = set()
        self._map: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def _take(self, released: int, original: int) -> None:
        self.found[released] = original
        there, here = self._released.pop(released), self._originals.pop(original)
        for (name, new), (_, old) in zip(there.higher, here.higher, strict=True):
            self._map[name, old][new] += 1

    def same_instances(self) -> None:
        """Rule 1."""
        known = {each.instance: number for number, each in self._originals.items() if each.instance}
        for number, each in list(self._released.items()):
            original = known.get(each.instance)
            if original in self._originals and original is not None:
                self._take(number, original)

    def by_key(self, names: tuple[str, ...]) -> None:
        """Rules 2 and 3."""
        groups = self._groups(names)
        for olds, news in groups:
            if len(olds) == len(news) == 1 and "bulk" in names:
                self._take(news[0], olds[0])
        for olds, news in self._groups(names):
            self._by_map(list(olds), list(news), bulk="bulk" in names)

    def _groups(self, names: tuple[str, ...]) -> list[tuple[list[int], list[int]]]:
        olds, news = _grouped(self._originals, names), _grouped(self._released, names)
        return [(olds[key], news[key]) for key in sorted(olds.keys() & news.keys())]

    def _by_map(self, olds: list[int], news: list[int], *, bulk: bool) -> None:
        doubtful = False
        for new in news:
            scored = sorted(((-self._agreement(new, old), rank, old) for rank, old in enumerate(olds)))
            if not scored:
                return
            if not bulk and _likeness(self._released[new], self._originals[scored[0][2]]) < _LEAST_SHARED:
                continue
            doubtful = doubtful or (len(scored) > 1 and scored[0][0] == scored[1][0])
            if doubtful:
                self.unsure.add(new)
            self._take(new, scored[0][2])
            olds.remove(scored[0][2])

    def _agreement(self, new: int, old: int) -> float:
        there, here = self._released[new], self._originals[old]
        score = 0.0
        for (name, after), (_, before) in zip(there.higher, here.higher, strict=True):
            seen = self._map.get((name, before))
            score += 0 if not seen else 2 if after in seen else -2
        return score + _likeness(there, here)

    def by_likeness(self) -> None:
        """Rule 4."""
        for new, there in list(self._released.items()):
            scored = sorted(
                (
                    (_likeness(there, here) + self._agreement(new, old) / 10, old)
                    for old, here in self._originals.items()
                    if here.sop_class == there.sop_class
                ),
                reverse=True,
            )
            if scored and scored[0][0] >= _LEAST_SHARED and (len(scored) < 2 or scored[0][0] > scored[1][0]):
                self._take(new, scored[0][1])


def _grouped(signatures: Mapping[int, Signature], names: tuple[str, ...]) -> dict[tuple[str, ...], list[int]]:
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, each in signatures.items():
        key = tuple(str(getattr(each, name)) for name in names)
        if "bulk" not in names or each.bulk:
            groups[key].append(number)
    return groups


def _likeness(one: Signature, other: Signature) -> float:
    """The share of the released film's values that the original has too: what was removed does not count."""
    return len(one.kept & other.kept) / len(one.kept) if one.kept else 0.0
