"""What a patient reads of the log: every entry that concerns this patient and none that does not, and its proof.

Rules, in order:
1. The session decides the patient; no request names one. An entry is shown when the index has it for this patient and
   the sealed entry itself names this patient (`guard.patient_entries`).
2. Neither name nor number of a patient is in an answer, nor an address.
3. Pages and proofs are counted for each patient, and each is an entry of the log (PS3.15 A.5.3.2).
4. Entries older than the index are looked through in small steps, once; until then a page says so.
5. A page of the patient hears of a new entry within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import log_leaf, meta, patient_entry, series, study
from ribcage.evidence.audit_event import AuditLogUsed
from ribcage.evidence.entry import Json
from ribcage.guard import protocol as p
from ribcage.guard.accounts import Throttle
from ribcage.guard.admin import prove_entry
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.patient_access import PatientAccess, PatientVisitor
from ribcage.guard.patient_entries import (
    ALL,
    LOOKED_THROUGH,
    agent_of,
    coded,
    details_of,
    read_concern,
    row,
    value_of,
)
from ribcage.guard.patient_people import PatientPeople

_MINUTE = 60
_TOLD_AT_ONCE = 1000
_REASONS = {
    "objection": "objection",
    "no-grant": "no-grant",
    "view-above-grant": "no-grant",
    "consent-missing": "no-grant",
    "consent-withdrawn": "objection",
    "second-factor-needed": "second-factor",
    "suspended": "suspended",
    "closed-for-destruction": "closed",
    "legal-block": "closed",
    "resource-destroyed": "closed",
}


class PatientList:
    """The patient's pages of the log."""

    def __init__(self, core: Core, access: PatientAccess, push: Callable[[p.Told], None]) -> None:
        self._core = core
        self._access = access
        self._push = push
        self._told = core.log.size
        self._last = core.log.size  # entries that may be older than the index
        self._complete = False
        self._throttle = Throttle(core.limits.patient_calls_per_minute, _MINUTE)

    # --- pages ------------------------------------------------------------------------------------------

    async def page(self, request: p.ListPatientEntries) -> p.PatientEntries:
        """Newest first. Raises GuardRefused('not_authenticated' | 'throttled' | 'invalid')."""
        core, visitor = self._core, self._access.visitor(request.session)
        if request.before < 0:
            raise GuardRefused("invalid")
        self.count(visitor)
        complete = self._complete  # before the numbers are read
        numbers = self._numbers(visitor.patient_id, request.before)
        most = core.limits.patient_page_entries
        shown, more = numbers[:most], len(numbers) > most
        await core.note(AuditLogUsed(visitor.evidence, shown[-1] if shown else 0, len(shown)))
        items = self._items(visitor, shown)
        return p.PatientEntries(items, shown[-1] if more else 0, complete)

    def count(self, visitor: PatientVisitor) -> None:
        """Rule 3. Raises GuardRefused('throttled')."""
        key, now = visitor.patient_id.hex(), self._core.clock()
        self._throttle.check(key, now)
        self._throttle.failed(key, now)

    def _numbers(self, patient_id: bytes, before: int) -> list[int]:
        query = sa.select(patient_entry.c.number).where(
            patient_entry.c.patient_id == patient_id, patient_entry.c.kind != "closed"
        )
        if before:
            query = query.where(patient_entry.c.number < before)
        newest = query.order_by(patient_entry.c.number.desc()).limit(
            self._core.limits.patient_page_entries + 1
        )
        with self._core.engine.connect() as connection:
            return [int(number) for (number,) in connection.execute(newest)]

    def _items(self, visitor: PatientVisitor, numbers: list[int]) -> list[p.PatientEntry]:
        entries = self._entries(visitor.patient_id, numbers)
        disclosures = {details_of(entry).get("disclosure", "") for entry in entries.values()} - {""}
        ends = self._ends(visitor.patient_id, {bytes.fromhex(each) for each in disclosures})
        studies = self._studies({value_of(entry, "study") for entry in entries.values()})
        people = PatientPeople(self._core, visitor.key)
        items = []
        for number in sorted(entries, reverse=True):
            entry = entries[number]
            details, end = details_of(entry), ends.get(details_of(entry).get("disclosure", ""))
            date, modalities = studies.get(value_of(entry, "study"), ("", []))
            kind, reason = _kind_and_reason(entry)
            closing = details_of(end[1]) if end else {}
            items.append(
                p.PatientEntry(
                    number=number,
                    at=_time(entry),
                    kind=kind,
                    who=people.by_agent(*agent_of(entry)),
                    purpose=_purpose(entry),
                    view=details.get("view", ""),
                    channel=details.get("channel", ""),
                    study_date=date,
                    modality=modalities,
                    break_glass=_under_glass(entry),
                    instances=int(details.get("instances", "0")),
                    reason=reason,
                    end_entry=end[0] if end and kind == "disclosure" else -1,
                    end_at=_time(end[1]) if end and kind == "disclosure" else 0.0,
                    end_how=closing.get("ending", "") if kind == "disclosure" else "",
                    end_instances=int(closing.get("instances", "0")) if kind == "disclosure" else 0,
                    review=self._review(entry) if kind == "break-glass" else "",
                )
            )
        return items

    def _review(self, entry: Json) -> p.GlassVerdict:
        """The verdict from the access's own row; whose it is, no patient is told."""
        system, person = agent_of(entry)
        permit = details_of(entry).get("permit", "")
        if system != "person":
            return ""
        return self._core.permits.verdict(bytes.fromhex(person), bytes.fromhex(permit))

    def reviewed(self, patient_id: bytes, number: int) -> None:
        """A broken glass was judged: the patient's open pages ask again."""
        for session_id, _ in self._access.live_sessions({patient_id}):
            self._push(p.Told(session_id, "entry", entry=number, about="review"))

    def _entries(self, patient_id: bytes, numbers: list[int]) -> dict[int, Json]:
        """The entries that name this patient themselves (rule 1); one that does not open is left out."""
        query = sa.select(log_leaf.c.number, log_leaf.c.sealed).where(log_leaf.c.number.in_(numbers))
        with self._core.engine.connect() as connection:
            rows = [(int(r.number), bytes(r.sealed)) for r in connection.execute(query)]
        found = {}
        for number, sealed in rows:
            entry = self._named(number, sealed, patient_id)
            if entry is not None:
                found[number] = entry
        return found

    def _named(self, number: int, sealed: bytes, patient_id: bytes) -> Json | None:
        try:
            read = read_concern(self._core.log.open(number, sealed)[1])
        except CryptoError:
            return None
        return read[0] if read is not None and _names(read[1].patient_id, patient_id) else None

    def _ends(self, patient_id: bytes, disclosures: set[bytes]) -> dict[str, tuple[int, Json]]:
        """Closing entries by disclosure."""
        return {
            details_of(entry)["disclosure"]: (number, entry)
            for number, entry in self._of(patient_id, disclosures, "closed").items()
        }

    def _of(self, patient_id: bytes, disclosures: set[bytes], kind: str) -> dict[int, Json]:
        query = sa.select(patient_entry.c.number).where(
            patient_entry.c.patient_id == patient_id,
            patient_entry.c.kind == kind,
            patient_entry.c.disclosure.in_(disclosures),
        )
        with self._core.engine.connect() as connection:
            numbers = [int(number) for (number,) in connection.execute(query)]
        return self._entries(patient_id, numbers)

    def _studies(self, key_ids: set[str]) -> dict[str, tuple[str, list[str]]]:
        """Study date and modalities by key id; a destroyed study is absent."""
        wanted = [bytes.fromhex(each) for each in key_ids if each not in ("", "unknown", "all")]
        query = (
            sa.select(study.c.key_id, study.c.study_date, series.c.modality)
            .join(series, series.c.study_pk == study.c.pk)
            .where(study.c.key_id.in_(wanted))
            .distinct()
        )
        found: dict[str, tuple[str, list[str]]] = {}
        with self._core.engine.connect() as connection:
            for line in connection.execute(query):
                known = found.setdefault(bytes(line.key_id).hex(), (str(line.study_date), []))
                known[1].append(str(line.modality))
        return found

    # --- proofs -----------------------------------------------------------------------------------------

    async def prove(self, request: p.ProvePatientEntry) -> p.EntryProof:
        """A proof of one of the asker's entries. Raises GuardRefused('not_found') for every other."""
        visitor = self._access.visitor(request.session)
        self.count(visitor)
        if not 0 <= request.index < self._core.log.size:
            raise GuardRefused("not_found")
        self._check_owner(visitor, request.index)
        await self._core.note(AuditLogUsed(visitor.evidence, request.index, 1))
        return await prove_entry(self._core, request.index)

    def _check_owner(self, visitor: PatientVisitor, index: int) -> None:
        if not self._entries(visitor.patient_id, [index]):
            raise GuardRefused("not_found")

    # --- what happens by itself -------------------------------------------------------------------------

    def tick(self) -> None:
        """Called by the server's ticker: rule 5."""
        query = (
            sa.select(patient_entry.c.number, patient_entry.c.patient_id, patient_entry.c.kind)
            .where(patient_entry.c.number >= self._told, patient_entry.c.kind != "closed")
            .order_by(patient_entry.c.number)
            .limit(_TOLD_AT_ONCE)
        )
        with self._core.engine.connect() as connection:
            new = [(int(r.number), bytes(r.patient_id), str(r.kind)) for r in connection.execute(query)]
        if not new:
            return
        self._told = new[-1][0] + 1
        sessions = self._access.live_sessions({patient_id for _, patient_id, _ in new})
        for number, patient_id, kind in new:
            for session_id in (session for session, owner in sessions if owner == patient_id):
                self._push(p.Told(session_id, "entry", entry=number, about=kind))

    async def look_through(self) -> None:
        """Rule 4: one step."""
        if self._complete:
            return
        rows, done = await asyncio.to_thread(self._older)

        def write(tx: Transaction) -> None:
            if rows:
                tx.connection.execute(sa.insert(patient_entry).prefix_with("OR IGNORE"), rows)
            mark = {"name": LOOKED_THROUGH, "value": done}
            tx.connection.execute(sa.insert(meta).prefix_with("OR REPLACE"), mark)

        await self._core.committer.run(write)
        self._complete = done == ALL

    def _older(self) -> tuple[list[dict[str, object]], str]:
        """Blocking: rows for the next older entries, and how far that is."""
        with self._core.engine.connect() as connection:
            value = connection.execute(sa.select(meta.c.value).where(meta.c.name == LOOKED_THROUGH)).scalar()
            if value == ALL:
                return [], ALL
            query = sa.select(log_leaf.c.number, log_leaf.c.sealed).where(
                log_leaf.c.number >= int(value or 0), log_leaf.c.number < self._last
            )
            step = query.order_by(log_leaf.c.number).limit(self._core.limits.patient_index_entries)
            leaves = [(int(r.number), bytes(r.sealed)) for r in connection.execute(step)]
        rows = [found for number, sealed in leaves if (found := self._index_row(number, sealed))]
        done = not leaves or leaves[-1][0] + 1 >= self._last
        return rows, ALL if done else str(leaves[-1][0] + 1)

    def _index_row(self, number: int, sealed: bytes) -> dict[str, object] | None:
        try:
            read = read_concern(self._core.log.open(number, sealed)[1])
        except CryptoError:
            return None  # `verify` names it
        return row(number, read[1]) if read else None


def _names(named: bytes, patient_id: bytes) -> bool:
    """Rule 1: what the sealed entry says."""
    return named == patient_id


def _kind_and_reason(entry: Json) -> tuple[str, str]:
    """The row's kind and its word of the closed lists in docs/api.md."""
    code, details = coded(entry.get("subtype")), details_of(entry)
    if code in ("disclosure-refused", "break-glass-refused"):
        return "refused", _REASONS.get(str(entry.get("outcomeDesc", "")), "other")
    if code == "objection-changed":
        return "objection", "standing" if details.get("standing") == "yes" else "withdrawn"
    if code == "study-destroyed":
        return "destruction", "destroyed"
    if code == "destruction-changed":
        return "destruction", details.get("change", "")
    if code == "identity-changed":
        return "identity", "asked" if details.get("change") == "asked" else details.get("sort", "")
    if code == "conflict-resolved":
        return "identity", "filed"
    if code == "rejection-changed":
        return "identity", "hidden" if details.get("change") == "rejected" else "shown-again"
    if code == "consent-changed":
        return "consent", "withdrawn" if details.get("withdrawn") == "yes" else "given"
    if code == "study-released":
        return "research", "released"
    if code == "reidentification-changed":
        return "research", "named"
    if code == "patient-access":
        return "access", details.get("change", "")
    if code == "break-glass":
        return "break-glass", str(entry.get("outcomeDesc", ""))
    return "disclosure", ""


def _under_glass(entry: Json) -> bool:
    """Whether somebody broke the glass, tried to, or saw through it."""
    broken = coded(entry.get("subtype")).startswith("break-glass")
    return broken or details_of(entry).get("ground") == "break_glass"


def _purpose(entry: Json) -> str:
    purposes = entry.get("purposeOfEvent")
    first = purposes[0] if isinstance(purposes, list) and purposes else {}
    return coded(first.get("coding")) if isinstance(first, dict) else ""


def _time(entry: Json) -> float:
    return datetime.fromisoformat(str(entry.get("recorded"))).timestamp()
