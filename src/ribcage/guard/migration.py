"""The guard's part of a migration: it looks itself whether what was carried here is held, and signs what it saw.

Rules, in order:
1. An instance counts as held when its row has the data set hash that arrived from the old PACS; as parked when a
   conflict with that hash is kept apart. What the carrier says is believed only where nothing came.
2. Studies come in ascending order of UID, so do the instances of each: none counts twice.
3. The report names the lines by the hash that was taken here while they were made; it is signed after its entry is
   durable.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from ribcage.database.schema import filed, instance, parked
from ribcage.evidence.audit_event import MigrationReported
from ribcage.evidence.errors import EvidenceError
from ribcage.evidence.migration_report import (
    MigrationReport,
    Totals,
    Verdict,
    instance_line,
    sign_report,
    study_line,
)
from ribcage.guard import protocol as p
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

_REMEMBERED = 4
_HASH_BYTES = 32
_MOST_INSTANCES = 1 << 31
_REFUSED = "status-"  # the archive's own answers; `no-rule-…` stands beside them
_NO_RULE = "no-rule-"


@dataclass
class _Draft:
    """One report in the making; of its lines only hash and numbers are kept."""

    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    octets: int = 0
    totals: Totals = field(default_factory=Totals)
    study: str = ""
    instance: str = ""
    due: int = 0  # of the study, announced and not yet come by


class Migrations:
    """Reports for operators."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._drafts: OrderedDict[bytes, _Draft] = OrderedDict()

    def page(self, request: p.MigrationPage) -> p.MigrationLines:
        """Judge the next items; b"" begins a report. Raises GuardRefused('invalid' | 'not_found')."""
        if len(request.items) > self._core.limits.verify_page_items:
            raise GuardRefused("invalid")
        report = request.report or os.urandom(16)
        draft = _Draft() if not request.report else self._found(report)
        try:
            lines = list(self._lines(draft, request.items))
        except EvidenceError as failure:
            raise GuardRefused("invalid") from failure
        for line in lines:
            data = line.encode() + b"\n"
            draft.digest.update(data)
            draft.octets += len(data)
        self._drafts[report] = draft
        while len(self._drafts) > _REMEMBERED:
            self._drafts.popitem(last=False)
        return p.MigrationLines(report, lines)

    async def seal(self, actor: Actor, request: p.MigrationSeal) -> p.MigrationSealed:
        """Sign the report. Raises GuardRefused('invalid' | 'not_found' | 'unavailable')."""
        core, draft = self._core, self._found(request.report)
        core.witness.check_not_behind()
        _close_study(draft)
        if not 0 <= request.unreadable < _MOST_INSTANCES:
            raise GuardRefused("invalid")
        totals = replace(draft.totals, unreadable=request.unreadable)
        report = MigrationReport(
            core.hospital,
            int(core.clock() * 1000),
            request.source,
            totals,
            draft.octets,
            draft.digest.digest(),
        )
        try:
            digest = hashlib.sha256(report.text().encode()).digest()
        except EvidenceError as failure:
            raise GuardRefused("invalid") from failure
        index = await core.note(MigrationReported(actor.evidence, request.source, digest, totals))
        del self._drafts[request.report]
        return p.MigrationSealed(sign_report(report, core.log.signer), index)

    # --- inside -----------------------------------------------------------------------------------------

    def _found(self, report: bytes) -> _Draft:
        draft = self._drafts.get(report)
        if draft is None:
            raise GuardRefused("not_found")
        return draft

    def _lines(self, draft: _Draft, items: list[p.MigrationItem]) -> Iterable[str]:
        held, conflicts = self._known(items)
        for item in items:
            if not item.instance:
                _open_study(draft, item)
                yield study_line(item.study, item.announced)
                continue
            if item.study != draft.study or item.instance <= draft.instance:
                raise GuardRefused("invalid")  # rule 2
            draft.instance = item.instance
            verdict, reason = _judge(item, held.get(item.instance), conflicts)
            _count(draft, verdict)
            yield instance_line(item.instance, item.sha256, verdict, reason)

    def _known(self, items: list[p.MigrationItem]) -> tuple[dict[str, bytes], dict[bytes, str]]:
        """Data set hashes of held instances by UID; reasons of parked ones by data set hash."""
        came = [item for item in items if item.sha256]
        if any(len(item.sha256) != _HASH_BYTES for item in came):
            raise GuardRefused("invalid")
        rows = sa.select(instance.c.uid, instance.c.data_set_sha256).where(
            instance.c.uid.in_([item.instance for item in came])
        )
        filed_by_hash = sa.select(filed.c.data_set_sha256).where(
            filed.c.data_set_sha256.in_([item.sha256 for item in came])
        )
        apart = sa.select(parked.c.data_set_sha256, parked.c.reason).where(
            parked.c.data_set_sha256.in_([item.sha256 for item in came])
        )
        with self._core.engine.connect() as connection:
            held = {str(row.uid): bytes(row.data_set_sha256) for row in connection.execute(rows)}
            filed_too = {bytes(row.data_set_sha256) for row in connection.execute(filed_by_hash)}
            held |= {item.instance: item.sha256 for item in came if item.sha256 in filed_too}
            conflicts = {bytes(row.data_set_sha256): str(row.reason) for row in connection.execute(apart)}
        return held, conflicts


def _judge(item: p.MigrationItem, held: bytes | None, conflicts: dict[bytes, str]) -> tuple[Verdict, str]:
    """Rule 1."""
    if item.sha256 and held == item.sha256:
        return "held", ""
    if item.sha256 and item.sha256 in conflicts:
        return "parked", conflicts[item.sha256]
    if item.sha256 and item.reason.startswith((_REFUSED, _NO_RULE)):
        return "refused", item.reason
    return "missing", item.reason or "not-in-the-archive"


def _open_study(draft: _Draft, item: p.MigrationItem) -> None:
    if item.study <= draft.study or not 0 <= item.announced < _MOST_INSTANCES:
        raise GuardRefused("invalid")  # rule 2
    _close_study(draft)
    draft.study, draft.instance, draft.due = item.study, "", item.announced
    draft.totals = replace(draft.totals, studies=draft.totals.studies + 1)


def _close_study(draft: _Draft) -> None:
    """What was announced and never listed is missing."""
    totals = draft.totals
    draft.totals = replace(totals, announced=totals.announced + draft.due, missing=totals.missing + draft.due)
    draft.due = 0


def _count(draft: _Draft, verdict: Verdict) -> None:
    numbers = draft.totals.numbers()
    numbers[verdict] += 1
    numbers["announced"] += 1
    draft.totals = Totals(**numbers)
    draft.due = max(draft.due - 1, 0)
