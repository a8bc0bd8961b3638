"""A whole set: folders and ZIP files through the engine in several processes, checked as a set, then published.

Rules, in order:
1. Every input is released or refused with a reason; nothing is skipped. Links are not followed. A ZIP file that
   `zipped` refuses is one refused input.
2. Outputs are written under a working name and get their own only when the whole set was seen: a study in
   which patients, names or birth dates contradict each other is withdrawn whole, so are two files of one SOP Instance
   UID that differ, byte by byte.
3. An output's folders and name are pseudonyms: patient, study, series, instance.
4. The journal remembers by keyed name what came of an input; a run that was cut goes on there. A changed input,
   profile or output is done again; changed is what has another size or time of change.
5. Same key, profile and input give the same bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, TextIO

from ribcage.dicom.scan import Buffer
from ribcage.guard.durable import make_folder
from ribcage.usage.deid.engine import Engine
from ribcage.usage.deid.errors import NotReleased, ProjectInvalid, Reason
from ribcage.usage.deid.inout import files, members_of, read, write
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.table import Behind, behind
from ribcage.usage.deid.walker import Traced
from ribcage.usage.deid.zipped import ArchiveRefused


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one run may cost."""

    max_file_bytes: int = 1024**3
    max_files: int = 5_000_000
    files_at_once: int = 32  # handed to a process together


@dataclass(frozen=True, slots=True)
class Job:
    """What a run works with. `out` gets the outputs."""

    profile: Profile
    key: bytes = field(repr=False)
    out: Path
    trace: bool = False
    limits: BatchLimits = BatchLimits()
    named: bool = False  # outcomes say who is behind them, for a sealed table


@dataclass(frozen=True, slots=True)
class Entry:
    """One input: its number, its name below what the user gave, its file, and the member when that is a ZIP."""

    index: int
    name: str
    path: Path
    member: str = ""
    refused: Reason | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one input. `output` is the path below the output folder, "" for a refusal; tokens are keyed."""

    index: int
    name: str
    reason: Reason | None
    output: str = ""
    part: str = ""
    size: int = 0
    changed_ns: int = 0  # the output's time of change
    study: str = ""
    series: str = ""
    patient: str = ""
    names: tuple[str, ...] = ()
    birth: str = ""
    trace: tuple[Traced, ...] = ()
    behind: Behind | None = field(default=None, repr=False)


_REMEMBERED = ("output", "part", "size", "changed_ns", "study", "series", "patient", "names", "birth")
_BUNDLES: Final = 4  # for each process, what is left at any time is divided into so many at least
Progress = Callable[[int, int], None]


def entries(source: Path, limits: BatchLimits) -> list[Entry]:
    """Every file of a folder, every member of a ZIP file, or the one file.

    Raises OSError, ProjectInvalid; ArchiveRefused where the ZIP file is all there is.
    """
    found: list[Entry] = []
    for path, name in files(source):
        try:
            inside = members_of(path, limits.max_files, limits.max_file_bytes)
        except ArchiveRefused:
            if path == source:
                raise
            found.append(Entry(len(found), name, path, refused=Reason.ARCHIVE))
            continue
        for member in inside:
            if len(found) >= limits.max_files:
                raise ProjectInvalid(
                    f"expected at most {limits.max_files} files, got more", "split the input"
                )
            found.append(Entry(len(found), f"{name}/{member}" if member else name, path, member))
    return found


def run(
    job: Job, found: list[Entry], journal: Path, processes: int, progress: Progress = lambda _, __: None
) -> list[Outcome]:
    """Release or refuse every entry; outcomes in the order of the entries. Raises OSError, ProjectInvalid."""
    make_folder(job.out, 0o755)
    done = _remembered(job, found, journal)
    outcomes = dict(done)
    waiting = [entry for entry in found if entry.index not in done]
    with journal.open("a", encoding="ascii") as memory:
        _alone(memory)
        for outcome, line in _worked(job, waiting, processes):
            outcomes[outcome.index] = outcome
            memory.write(line)
            progress(len(outcomes), len(found))
    judged = _judged(job.out, [outcomes[entry.index] for entry in found])
    for outcome in judged:
        _publish(job.out, outcomes[outcome.index], outcome)
    for folder, _, names in os.walk(job.out):
        for name in names:
            if name.startswith(".") and name.endswith(".part"):
                os.unlink(os.path.join(folder, name))
    return judged


def take_back(out: Path, outcomes: Iterable[Outcome]) -> None:
    """Remove what was published: the set as a whole may not leave. Raises OSError."""
    for outcome in outcomes:
        if outcome.reason is None:
            _withdraw(out, outcome)


def release_one(job: Job, entry: Entry) -> Outcome:
    """One input through the engine, its output under the working name."""
    try:
        if entry.refused is not None:
            raise NotReleased(entry.refused)
        data = _read(entry, job.limits)
        released = _engine(job.profile, job.key).release(data, trace=job.trace)
    except NotReleased as refusal:
        return Outcome(entry.index, entry.name, refusal.reason)
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return Outcome(entry.index, entry.name, Reason.UNREADABLE)
    except Exception:  # noqa: BLE001 - the edge of the process: one strange file must not end the run of the others
        return Outcome(entry.index, entry.name, Reason.MALFORMED)
    folder = f"{released.pseudonym}/{released.study_instance_uid}/{released.series_instance_uid}"
    output = f"{folder}/{released.sop_instance_uid}.dcm"
    part = f"{folder}/.{released.sop_instance_uid}.{entry.index}.part"
    size, changed_ns = write(job.out, part, released.parts)
    return Outcome(
        index=entry.index,
        name=entry.name,
        reason=None,
        output=output,
        part=part,
        size=size,
        changed_ns=changed_ns,
        study=released.study_instance_uid,
        series=released.series_instance_uid,
        patient=released.patient.hex(),
        names=tuple(sorted(token.hex() for token in released.names)),
        birth=released.birth.hex(),
        trace=released.trace,
        behind=behind(data) if job.named else None,
    )


@lru_cache(maxsize=2)
def _engine(profile: Profile, key: bytes) -> Engine:
    return Engine(profile, Pseudonyms(key))


def _read(entry: Entry, limits: BatchLimits) -> Buffer:
    return read(entry.path, entry.member, limits.max_file_bytes)


def _worked(job: Job, waiting: list[Entry], processes: int) -> Iterator[tuple[Outcome, str]]:
    """Outcomes as they come, each with its line of the journal; in this process when one is enough."""
    if processes <= 1 or len(waiting) <= job.limits.files_at_once:
        for entry in waiting:
            yield _done(job, entry)
        return
    _engine(job.profile, job.key).warm()
    yield from _pooled(job, _bundles(waiting, job.limits.files_at_once, processes), processes)


def _bundles(waiting: list[Entry], most: int, processes: int) -> Iterator[list[Entry]]:
    """What a process gets at once: less towards the end, where large files may come together."""
    at = 0
    while at < len(waiting):
        step = max(1, min(most, (len(waiting) - at) // (processes * _BUNDLES)))
        yield waiting[at : at + step]
        at += step


def _pooled(job: Job, left: Iterator[list[Entry]], processes: int) -> Iterator[tuple[Outcome, str]]:
    """The bundles in several processes, made from this one, which has read all tables."""
    from concurrent.futures import (
        FIRST_COMPLETED,
        Future,
        ProcessPoolExecutor,
        wait,
    )  # a few files need no pool
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        pending: set[Future[list[tuple[Outcome, str]]]] = set()
        try:
            while True:
                while len(pending) < 2 * processes and (bundle := next(left, None)) is not None:
                    pending.add(pool.submit(_bundle, job, bundle))
                if not pending:
                    return
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield from future.result()
        except BrokenProcessPool:
            raise ProjectInvalid(
                "a working process died, likely for want of memory", "run it again: it goes on where it was"
            ) from None


def _bundle(job: Job, bundle: list[Entry]) -> list[tuple[Outcome, str]]:
    return [_done(job, entry) for entry in bundle]


def _done(job: Job, entry: Entry) -> tuple[Outcome, str]:
    try:
        name = _name(job, entry)  # first: what is written to the input from here on is a change
    except OSError:
        return Outcome(entry.index, entry.name, Reason.UNREADABLE), ""
    outcome = release_one(job, entry)
    return outcome, _line(name, outcome)


def _judged(out: Path, outcomes: list[Outcome]) -> list[Outcome]:
    """The set as a whole (rule 2)."""
    studies: dict[str, list[Outcome]] = {}
    outputs: dict[str, list[Outcome]] = {}
    series: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.reason is None:
            studies.setdefault(outcome.study, []).append(outcome)
            outputs.setdefault(outcome.output.rpartition("/")[2], []).append(outcome)
            series.setdefault(outcome.series, set()).add(outcome.study)
    mixed = {study for study, members in studies.items() if _contradict(members)}
    mixed |= {study for shared in series.values() if len(shared) > 1 for study in shared}
    twice = {name for name, shared in outputs.items() if len(shared) > 1 and _differ(out, shared)}
    judged = []
    for outcome in outcomes:
        reason = outcome.reason
        if reason is None and outcome.study in mixed:
            reason = Reason.MIXED_PATIENTS
        elif reason is None and outcome.output.rpartition("/")[2] in twice:
            reason = Reason.DUPLICATE
        judged.append(
            outcome if reason is outcome.reason else replace(outcome, reason=reason, output="", trace=())
        )
    return judged


def _differ(out: Path, shared: list[Outcome]) -> bool:
    """Whether outputs of one SOP Instance UID are not the same bytes."""
    if len({outcome.size for outcome in shared}) > 1:
        return True
    first, *others = (_standing(out, outcome) for outcome in shared)
    return not all(filecmp.cmp(first, other, shallow=False) for other in others)


def _standing(out: Path, outcome: Outcome) -> Path:
    """Where an output stands: under its working name, or its own."""
    part = out / outcome.part
    return part if part.exists() else out / outcome.output


def _contradict(members: list[Outcome]) -> bool:
    if len({member.patient for member in members}) > 1:
        return True
    if len({member.birth for member in members if member.birth}) > 1:
        return True
    spellings = {frozenset(member.names) for member in members if member.names}
    return any(one.isdisjoint(other) for one in spellings for other in spellings)


def _publish(out: Path, worked: Outcome, judged: Outcome) -> None:
    """The working name becomes the output's own, or goes."""
    if not worked.part:
        return
    if judged.reason is None:
        with contextlib.suppress(FileNotFoundError):  # it has its own name from an earlier run
            os.replace(os.path.join(out, worked.part), os.path.join(out, judged.output))
        return
    _withdraw(out, worked)


def _withdraw(out: Path, worked: Outcome) -> None:
    """The output and its folders, as far as they are empty then."""
    part = out / worked.part
    part.unlink(missing_ok=True)
    (out / worked.output).unlink(missing_ok=True)
    for folder in part.relative_to(out).parents:
        if folder.parts and not any((out / folder).iterdir() if (out / folder).is_dir() else ["gone"]):
            (out / folder).rmdir()


# --- the journal ------------------------------------------------------------------------------------------


def _name(job: Job, entry: Entry) -> str:
    """The keyed name of an input in its present state, for this profile and output (rule 4)."""
    state = entry.path.stat()
    told = (os.path.abspath(entry.path), entry.member, str(state.st_size), str(state.st_mtime_ns))
    return _tokens(job.key).token("journal", _digest(job.profile), os.path.abspath(job.out), *told).hex()


@lru_cache(maxsize=2)
def _digest(profile: Profile) -> str:
    return profile.digest


@lru_cache(maxsize=2)
def _tokens(key: bytes) -> Pseudonyms:
    return Pseudonyms(key)


def _alone(memory: TextIO) -> None:
    """One run of a project at a time: two would take away each other's unfinished outputs."""
    try:
        fcntl.flock(memory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ProjectInvalid("another run of this project is at work", "wait for its end") from None


def _line(input_name: str, outcome: Outcome) -> str:
    row: dict[str, object] = {name: getattr(outcome, name) for name in _REMEMBERED}
    row |= {"input": input_name, "reason": outcome.reason.name if outcome.reason else ""}
    return json.dumps(row, separators=(",", ":")) + "\n"


def _remembered(job: Job, found: list[Entry], journal: Path) -> dict[int, Outcome]:
    """What an earlier run has done already and what still stands there unchanged."""
    if job.trace or job.named or not journal.exists():
        return {}
    rows: dict[str, dict[str, object]] = {}
    with journal.open(encoding="ascii", errors="replace") as memory:
        for line in memory:
            try:
                row = json.loads(line)
                rows[row.pop("input")] = row
            except (ValueError, KeyError, AttributeError):
                continue  # a line that was being written when the run ended
    done = {}
    for entry in found if rows else ():
        row = rows.get(_name(job, entry))
        if row is not None and (outcome := _again(job.out, entry, row)) is not None:
            done[entry.index] = outcome
    return done


def _again(out: Path, entry: Entry, row: dict[str, object]) -> Outcome | None:
    """The outcome of a journal's row when its output is what was written then."""
    try:
        told = str(row.pop("reason"))
        reason = Reason[told] if told else None
        names = row.pop("names")
        outcome = Outcome(
            entry.index,
            entry.name,
            reason,
            names=tuple(names) if isinstance(names, list) else (),
            **row,  # type: ignore[arg-type]  # rows of our own making
        )
    except (KeyError, TypeError):
        return None
    if reason is not None:
        return outcome
    for place in (outcome.output, outcome.part):
        path = out / place
        if path.is_file():
            state = path.stat()
            unchanged = (state.st_size, state.st_mtime_ns) == (outcome.size, outcome.changed_ns)
            return outcome if unchanged else None
    return None
