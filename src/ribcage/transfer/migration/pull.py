"""The run: list what the old PACS has, then study by study fetch, store and note, with a few workers.

Rules, in order:
1. One instance of each worker is in memory at a time: the old PACS waits until the archive has answered.
2. A peer that is lost is tried again with growing pauses of together `patience_seconds`. Then, if it is the archive,
   the run ends; if it is the old PACS, the study stays open and the next one is tried, and after three in a row the
   run ends. The same command goes on where the journal stands.
3. A study is done when everything it lists was acknowledged, refused, or not sent by the old PACS though asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ribcage.transfer.migration.archive import ArchiveDoor
from ribcage.transfer.migration.errors import GivenUp, MigrationError, NotOffered, PeerLost
from ribcage.transfer.migration.journal import Journal, Listed, StudyTodo
from ribcage.transfer.migration.pace import Pace
from ribcage.transfer.migration.source import Arrived, Source

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_LISTED_AT_ONCE = 500
_FAILURES_IN_A_ROW = 3
_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """How to reach both ends, and how hard to try. `at_once`: workers."""

    open_source: Callable[[], Source]
    open_archive: Callable[[], ArchiveDoor]
    pace: Pace
    at_once: int = 2
    patience_seconds: float = 60.0


def pull(plan: Plan, journal: Journal) -> None:
    """List and fetch everything. Raises MigrationError, the first one of any worker."""
    list_studies(plan, journal)
    failures: list[MigrationError] = []

    def work() -> None:
        try:
            _Worker(plan, journal).run()
        except MigrationError as failure:
            failures.append(failure)

    with ThreadPoolExecutor(plan.at_once) as pool:
        workers = [pool.submit(work) for _ in range(plan.at_once)]
        try:
            for each in workers:
                each.result()
        except BaseException:
            plan.pace.stop.set()
            raise
    if failures:
        raise failures[0]


def list_studies(plan: Plan, journal: Journal) -> None:
    """Ask the old PACS for its studies and note them. Raises MigrationError."""

    def once() -> None:
        unreadable = 0
        page: list[tuple[str, int]] = []
        with contextlib.closing(plan.open_source()) as source:
            for uid, count in source.studies():
                unreadable += not uid
                if uid:
                    page.append((uid, count))
                if len(page) == _LISTED_AT_ONCE:
                    journal.announce(page)
                    page = []
        journal.announce(page)
        journal.unreadable(unreadable)

    patiently(plan, once)


def patiently(plan: Plan, attempt: Callable[[], _T]) -> _T:
    """Rule 2. Raises MigrationError."""
    pause, waited = _FIRST_PAUSE, 0.0
    while True:
        try:
            return attempt()
        except GivenUp:
            raise
        except PeerLost:
            if plan.pace.stop.is_set() or waited >= plan.patience_seconds:
                raise
        plan.pace.stop.wait(pause)
        waited += pause
        pause = min(2 * pause, _LONGEST_PAUSE)


class _Worker:
    """One thread: a connection to each end."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self._plan = plan
        self._journal = journal
        self._source: Source = plan.open_source()
        self._archive = plan.open_archive()

    def run(self) -> None:
        """Study after study until none is left or the run stops. Raises MigrationError."""
        failed: MigrationError | None = None
        in_a_row = 0
        try:
            while (study := self._next()) is not None:
                try:
                    patiently(self._plan, lambda study=study: self._study(study))  # type: ignore[misc]  # bound now
                    in_a_row = 0
                except MigrationError as failure:
                    failed, in_a_row = failure, in_a_row + 1
                    if in_a_row == _FAILURES_IN_A_ROW or isinstance(failure, NotOffered | GivenUp):
                        raise
        finally:
            with contextlib.suppress(MigrationError):
                self._source.close()
            self._archive.close()
        if failed is not None:
            raise failed

    def _next(self) -> StudyTodo | None:
        self._plan.pace.wait_for_hours()
        return None if self._plan.pace.stop.is_set() else self._journal.claim()

    def _study(self, study: StudyTodo) -> None:
        try:
            listed = self._source.instances(study.uid)
            due = self._journal.list_instances(study, listed)
            if due:
                self._fetch(study, due, whole=len(due) == len(listed))
            self._journal.finish(study, "not-sent")
        except PeerLost:
            with contextlib.suppress(MigrationError):
                self._source.close()
            raise

    def _fetch(self, study: StudyTodo, due: Sequence[Listed], *, whole: bool) -> None:
        def take(arrived: Arrived) -> int:
            digest, octets = hashlib.sha256(arrived.data).digest(), len(arrived.data)
            try:
                status, reason = patiently(self._plan, lambda: self._archive.store(arrived))
            except PeerLost as failure:
                raise GivenUp(str(failure), failure.hint) from failure
            self._journal.note(
                study, arrived.uid, "refused" if reason else "acknowledged", reason, digest, octets
            )
            self._plan.pace.take(octets)
            return status

        self._source.fetch(study.uid, due, whole, take)
