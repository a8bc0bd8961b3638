"""A release from the archive to a research project: disclosed, de-identified, checked, sealed, handed over.

Rules, in order:
1. Every image comes through `usage.disclose`, for the purpose research: what is refused or cut is not released, and
   the study with it. Withdrawal of consent cuts at the next object.
2. Originals lie in a folder in memory while their study is worked on; outputs under a working name beside OUT.
3. Nothing is handed over before all of it was checked by the other program (`oversight.deid_check`). One finding
   withdraws the whole.
4. Then each study is sealed by the guard, which asks the contract once more; only what was sealed gets its own name.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ribcage.guard.client import GuardClient
from ribcage.guard.durable import make_folder, sync_folder
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import (
    EndRelease,
    Noted,
    Release,
    ReleaseBegun,
    ReleasedFile,
    ReleaseSealed,
    SealRelease,
)
from ribcage.oversight.deid_making import Made, Work
from ribcage.usage.deid.anonymity import Anonymity, anonymity
from ribcage.usage.deid.batch import Outcome
from ribcage.usage.deid.profile import Profile, option_of
from ribcage.usage.deid.zipped import write_new_archive
from ribcage.usage.disclose import WayOut, open_disclosure
from ribcage.usage.errors import DisclosureError

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a private folder below it, in memory by `_in_memory`
_MOUNTS: Final = Path("/proc/self/mounts")


class ReleaseFailed(Exception):
    """Nothing was handed over. `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Withdrawn(ReleaseFailed):
    """The check found something. `findings`: one line each."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__(
            f"WITHDRAWN 已撤回: the check has {len(findings)} findings; nothing was handed over",
            "the profile or the engine lets something through: report it, release nothing by it",
        )
        self.findings = findings


@dataclass
class Study:
    """One study's way. `refused`: why it was not released at all; `entry`: the log's entry of that, -1: none."""

    uid: str
    made: Made | None = None
    refused: str = ""
    entry: int = -1
    sealed: int = -1

    @property
    def released(self) -> list[Outcome]:
        """Its files that were or will be handed over."""
        return [] if self.made is None or self.refused else self.made.released

    @property
    def kept_back(self) -> list[Outcome]:
        """Its instances that the engine refused."""
        return [] if self.made is None else [each for each in self.made.outcomes if each.reason is not None]


@dataclass
class Result:
    """What was handed over, and how many patients of it look alike."""

    studies: list[Study]
    anonymity: Anonymity
    verifier_key: str = ""
    files: int = 0


@dataclass(frozen=True)
class Releasing:
    """What a release works with. `make` runs in `executor`: a process of its own."""

    client: GuardClient
    way: WayOut
    begun: ReleaseBegun
    out: Path
    executor: Executor
    make: Callable[[Work], Made]
    least: int = 1
    processes: int = 1


async def release(run: Releasing) -> Result:
    """Release all studies of `run.begun`. Raises ReleaseFailed, GuardError, OSError; then nothing was handed over."""
    profile = _profile(run.begun)
    if run.out.exists():
        raise ReleaseFailed(f"expected {run.out} to be new, it is there already", "name another place")
    work = run.out.with_name(f".{run.out.name}.unchecked")
    ended = False
    try:
        make_folder(work)
        studies = [await _made(run, profile, work, uid) for uid in run.begun.studies]
        findings = [line for study in studies if study.made for line in study.made.findings]
        if findings:
            ended = True
            await run.client.call(EndRelease(run.begun.ticket, len(findings)), Noted)
            raise Withdrawn(findings)
        _check_least(run, work, studies)
        result = Result(studies, anonymity(work, []))
        for study in studies:
            if study.released:
                await _sealed(run, work, study, result)
        handed = [each for study in studies for each in study.released]
        result.anonymity, result.files = anonymity(work, handed), len(handed)
        if handed:
            await asyncio.to_thread(_hand_over, work, run.out)
        return result
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        if not ended:
            with contextlib.suppress(GuardRefused):
                await run.client.call(EndRelease(run.begun.ticket), Noted)


def _profile(begun: ReleaseBegun) -> Profile:
    """The project's profile as this program carries it out. Raises ReleaseFailed."""
    told = begun.profile
    profile = Profile(told.name, frozenset(option_of(each) for each in told.options), told.unread)
    if profile.digest != told.digest:
        raise ReleaseFailed(
            "expected the rules that the project was added with, this program has others",
            "end the project and add one with today's edition",
        )
    return profile


async def _made(run: Releasing, profile: Profile, work: Path, uid: str) -> Study:
    """Rules 1 and 2."""
    with _in_memory() as folder:
        originals = folder / "originals"
        originals.mkdir(mode=0o700)
        try:
            await _fetch(run, uid, originals)
        except DisclosureError as failure:
            return Study(uid, refused=type(failure).__name__, entry=failure.entry)
        job = Work(profile, run.begun.project_key, originals, work, run.processes)
        made = await asyncio.get_running_loop().run_in_executor(run.executor, run.make, job)
    return Study(uid, made)


async def _fetch(run: Releasing, uid: str, originals: Path) -> None:
    """The study as it is stored, into a folder. Raises DisclosureError, OSError."""
    principal = Release(run.begun.ticket)
    asked = open_disclosure(run.way, principal, "release", uid, want="full", purpose="HRESCH")
    async with await asked as disclosure:
        for number, ref in enumerate(disclosure.instances, 1):
            stream = await disclosure.instance_stream(ref)
            with (originals / f"{number:06}.dcm").open("xb") as file:
                async for part in stream.parts():
                    await asyncio.to_thread(file.write, part)
        disclosure.check_alive()


def _check_least(run: Releasing, work: Path, studies: list[Study]) -> None:
    """Raises ReleaseFailed where too few patients look alike."""
    found = anonymity(work, [each for study in studies for each in study.released])
    if found.patients and found.smallest < run.least:
        raise ReleaseFailed(
            f"expected {run.least} patients or more in each class, got one of {found.smallest}",
            "\n".join(["take a coarser profile or more patients", *found.small_lines()]),
        )


async def _sealed(run: Releasing, work: Path, study: Study, result: Result) -> None:
    """Rule 4: the guard's word about each file, beside it."""
    made, released = study.made, study.released
    if made is None:
        return
    step = run.begun.page_files
    for at in range(0, len(released), step):
        page = released[at : at + step]
        files = [await asyncio.to_thread(_file, work / each.output) for each in page]
        first = Path(page[0].output)
        request = SealRelease(
            ticket=run.begun.ticket,
            study_instance_uid=study.uid,
            pseudonym=first.parts[0],
            study_pseudonym=first.parts[1],
            edition=made.edition,
            checker=made.checker,
            files=files,
        )
        try:
            answer = await run.client.call(request, ReleaseSealed)
        except GuardRefused as refused:
            study.refused, study.entry = "NotPermitted", refused.entry
            for place in (work, work / "reports"):
                shutil.rmtree(place / first.parents[1], ignore_errors=True)
            return
        study.sealed, result.verifier_key = answer.log_index, answer.verifier_key
        for each, note in zip(page, answer.notes, strict=True):
            place = (work / "reports" / each.output).with_suffix(".note")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(note)


def _file(path: Path) -> ReleasedFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return ReleasedFile(digest, path.stat().st_size)


def _hand_over(work: Path, out: Path) -> None:
    """The working name becomes OUT: a folder, or a ZIP file."""
    if out.suffix.lower() == ".zip":
        write_new_archive(out, work)
    else:
        work.replace(out)
    sync_folder(out.parent)


@contextlib.contextmanager
def _in_memory() -> Iterator[Path]:
    """A private folder that is no disk's (rule 2). Raises ReleaseFailed."""
    mounted = [line.split()[1:3] for line in _MOUNTS.read_text().splitlines()] if _MOUNTS.exists() else []
    if [str(_MEMORY), "tmpfs"] not in mounted:
        raise ReleaseFailed(
            f"expected a file system in memory at {_MEMORY}, found none",
            "mount a tmpfs there: originals are never written to a disk in clear",
        )
    with tempfile.TemporaryDirectory(prefix="ribcage-release-", dir=_MEMORY) as folder:
        yield Path(folder)
