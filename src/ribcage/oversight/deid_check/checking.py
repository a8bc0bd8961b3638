"""The whole check: read both sides, collect, pair, search, compare, judge.

Rules, in order:
1. Nothing is believed: pairs come from content, options from the files' own codes unless the caller names them.
2. Whatever a file does to its reader is a finding of that file, and the check goes on.
3. A released file without an original is searched for everybody's identities.
4. Identities live in this process and its workers, in memory, for as long as the check runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from ribcage.oversight.deid_check import comparing, markers, whole_set
from ribcage.oversight.deid_check.comparing import Compared
from ribcage.oversight.deid_check.finding import Finding, Masker
from ribcage.oversight.deid_check.identities import Collected, Identities, collect, merge
from ribcage.oversight.deid_check.pairing import Signature, pair, signature
from ribcage.oversight.deid_check.reading import Element, Film, read
from ribcage.oversight.deid_check.scanning import Scan
from ribcage.oversight.deid_check.search import Searcher
from ribcage.oversight.deid_check.sources import Item, Unreadable, items
from ribcage.oversight.deid_check.table import EDITION

FORMAT: Final = "ribcage-deid-check/1"
_B = TypeVar("_B")


@dataclass
class Original:
    """What the check remembers of one original."""

    item: Item
    signature: Signature | None
    collected: Collected
    trouble: str = ""


@dataclass
class Judged:
    """What came of one released file."""

    findings: list[Finding]
    compared: Compared
    person: whole_set.Person | None = None
    dicom: bool = False


@dataclass
class Report:
    """The outcome; `passed` is the only thing that releases."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    anonymity: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether anything was released, and nothing found."""
        return not self.findings

    def json(self) -> dict[str, Any]:
        """The report as written by `--json`."""
        return {
            "format": FORMAT,
            "edition": EDITION,
            "passed": self.passed,
            "pixels": "not read",
            "counts": self.counts,
            "findings": [asdict(each) for each in self.findings],
            "notes": self.notes,
            "anonymity": self.anonymity,
        }


@dataclass(frozen=True)
class _Job:
    """One released file for a worker; `patient` is None where it could be anybody's."""

    item: Item
    name: str
    original: Item | None
    patient: str | None


@dataclass
class _Worker:
    """What each worker process holds; built once."""

    identities: Identities
    masker: Masker
    options: frozenset[str] | None

    @cached_property
    def searcher(self) -> Searcher:
        """The search structure, compiled where it is used."""
        return Searcher(self.identities)


def check(
    released: Path, originals: Path, *, options: frozenset[str] | None = None, processes: int = 1
) -> Report:
    """Released files against their originals. Raises OSError for a path that is not there."""
    report, masker = Report(), Masker()
    befores, afters = items(originals), items(released)
    if not afters:
        report.findings.append(Finding("unreadable", ".", "", "nothing was released: there is no file"))
    signed = _each(_sign, afters, processes)
    chosen = options if options is not None else _said(signed)
    known = _each(_Remember(chosen), befores, processes)
    pairs = pair([each.signature for each in known], [each for each, _ in signed])
    found = pairs.found
    worker = _Worker(merge((each.collected for each in known), masker), masker, options)
    jobs = [
        _Job(
            item,
            _shown(item, worker),
            known[found[number]].item if number in found else None,
            known[found[number]].collected.patient
            if number in found and number not in pairs.unsure
            else None,
        )
        for number, item in enumerate(afters)
    ]
    judged = _each(_judge, jobs, processes, worker)
    _collect_findings(report, jobs, judged, masker, known, signed, found)
    report.counts |= {"originals": len(befores), "released": len(afters), "pairs": len(found)}
    report.notes += [f"original {n + 1}: {each.trouble}" for n, each in enumerate(known) if each.trouble]
    if pairs.unsure:
        report.notes.append(
            f"{len(pairs.unsure)} released files fit several originals: searched for everybody"
        )
    unreleased = len(known) - len(set(found.values()))
    if unreleased:
        report.notes.append(f"{unreleased} originals have no released file")
    report.notes.append("pixels not read: burned-in text is not looked for here")
    return report


def _each(
    work: Callable[..., _B], over: Sequence[Any], processes: int, worker: _Worker | None = None
) -> list[_B]:
    if processes <= 1 or len(over) < 8:
        return [work(each, worker) for each in over]
    with ProcessPoolExecutor(processes, initializer=_Held.hold, initargs=(worker,)) as pool:
        return list(pool.map(_Run(work), over, chunksize=max(1, min(16, len(over) // (4 * processes)))))


class _Held:
    """What a worker process was given at its start."""

    worker: _Worker | None = None

    @classmethod
    def hold(cls, worker: _Worker | None) -> None:
        cls.worker = worker


@dataclass(frozen=True)
class _Run:
    work: Callable[..., Any]

    def __call__(self, item: Any) -> Any:
        return self.work(item, _Held.worker)


def _film(item: Item) -> Film:
    try:
        return read(item.read())
    except Unreadable as failure:
        return Film(b"", None, f"cannot be read: {failure}")


def _sign(item: Item, _: _Worker | None) -> tuple[Signature | None, frozenset[str] | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        film = _film(item)
        return signature(film), comparing.options_of(film)


@dataclass(frozen=True)
class _Remember:
    options: frozenset[str]

    def __call__(self, item: Item, _: _Worker | None) -> Original:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            film = _film(item)
            return Original(item, signature(film), collect(film, item.name, self.options), film.trouble)


def _said(signed: Iterable[tuple[Signature | None, frozenset[str] | None]]) -> frozenset[str]:
    """What all files of the set claim to keep: an option that one of them does not name keeps nothing."""
    named = [options for sign, options in signed if sign is not None]
    if not named or any(options is None for options in named):
        return frozenset()
    return frozenset.intersection(*[each for each in named if each is not None])


def _shown(item: Item, worker: _Worker) -> str:
    """The file's name, or a digest where the name itself tells who it is."""
    hits = any(True for _ in worker.searcher.text(item.name, patient=None, dates=False))
    return worker.masker.mask("file", item.name) if hits else item.name


def _judge(job: _Job, worker: _Worker | None) -> Judged:
    if worker is None:
        raise RuntimeError("a worker without identities")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _judged(job, worker)
        except (MemoryError, RecursionError) as failure:
            name = type(failure).__name__
            return Judged(
                [Finding("unreadable", job.name, "", f"more than the check can hold: {name}")], Compared()
            )


def _judged(job: _Job, worker: _Worker) -> Judged:
    film = _film(job.item)
    original = _film(job.original) if job.original is not None else None
    said = comparing.options_of(film)
    options = worker.options if worker.options is not None else said or frozenset()
    before = comparing.values(original) if original is not None else {}
    after = comparing.values(film)

    def unchanged(element: Element) -> bool:
        old = before.get(comparing.key(element))
        return old is not None and old.texts == element.texts

    scan = Scan(worker.searcher, worker.masker, job.name, job.patient, options, unchanged)
    findings = scan.name(job.item.name) + scan.film(film)
    compared = Compared()
    if film.trouble:
        findings.append(Finding("unreadable", job.name, "", film.trouble))
    if film.dataset is None:
        return Judged(findings, compared)
    findings += markers.look(job.name, film, original, options)
    if original is None:
        findings.append(Finding("unpaired", job.name, "", "no original belongs to it"))
        findings += [
            Finding("private", job.name, each.path, "a private attribute, and no original to compare with")
            for each in after.values()
            if each.creator and not comparing.is_safe(each)
        ]
    else:
        compared = comparing.compare(job.name, before, after, options)
        if job.patient is None:
            compared.uids, compared.shifts, compared.days = set(), set(), set()
        findings += compared.findings
    return Judged(findings, compared, whole_set.person(film), dicom=True)


def _collect_findings(
    report: Report,
    jobs: Sequence[_Job],
    judged: Sequence[Judged],
    masker: Masker,
    known: Sequence[Original],
    signed: Sequence[tuple[Signature | None, frozenset[str] | None]],
    found: Mapping[int, int],
) -> None:
    compared = {
        job.name: each.compared for job, each in zip(jobs, judged, strict=True) if job.original is not None
    }
    patients = {job.name: job.patient or "" for job in jobs}
    instances = dict(_instances(jobs, known, signed, found))
    kept = all("retain_uids" in (options or ()) for sign, options in signed if sign is not None)
    for each in judged:
        report.findings.extend(each.findings)
    report.findings.extend(whole_set.references(compared, instances, masker, kept=kept))
    report.findings.extend(whole_set.shifts(compared, patients, masker))
    report.anonymity = whole_set.anonymity(each.person for each in judged if each.person is not None)
    report.counts |= {
        "dicom": sum(each.dicom for each in judged),
        "attributes": sum(each.compared.checked for each in judged),
        "kept": sum(each.compared.kept for each in judged),
        "unlisted_gone": sum(each.compared.notes for each in judged),
        "findings": len(report.findings),
    }


def _instances(
    jobs: Sequence[_Job],
    known: Sequence[Original],
    signed: Sequence[tuple[Signature | None, frozenset[str] | None]],
    found: Mapping[int, int],
) -> Iterator[tuple[str, tuple[str, str]]]:
    for number, original in found.items():
        before, after = known[original].signature, signed[number][0]
        if before is not None and after is not None:
            yield before.instance, (after.instance, jobs[number].name)
