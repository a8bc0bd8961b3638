"""Releases of studies to a research project: begun by its officer, sealed study by study, or withdrawn.

Rules, in order:
1. The project's officer begins it with password and code, and nobody else; so long as the project lasts.
2. The images leave by a disclosure like all others (`guard.disclosure`), for the purpose research: it needs a grant
   to the project and the patient's consent, and is cut when either falls.
3. What was made of a study is sealed after it was found clean: the contract is asked once more, then entry and links
   to the pseudonyms are durable together, then each file gets its signed report.
4. A finding withdraws the whole: an entry, an alarm, no report.
5. Pseudonyms are kept as keyed tokens, and in clear under the study's key: they die with it.
"""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage import __version__
from ribcage.crypto.columns import column_context, seal_column
from ribcage.database.research import project, release_link
from ribcage.database.schema import study
from ribcage.evidence.audit_event import ReleaseChanged, StudyReleased
from ribcage.evidence.errors import EvidenceError
from ribcage.evidence.release_report import ReleaseReport, Rules, files_root, sign_report
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.approvals import Approvals
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import Denied, decide
from ribcage.guard.errors import GuardRefused
from ribcage.guard.projects import find_row, key_of, profile_of
from ribcage.guard.protocol import Alarm
from ribcage.guard.running_releases import RunningRelease

_ID_BYTES, _HASH_BYTES = 16, 32
_MOST_NAMED = 10_000
_PSEUDONYM = re.compile(r"P[A-Z2-7]{16}")
_UID = re.compile(r"2\.25\.[0-9]{1,39}|[0-9.]{1,64}")
Row = dict[str, Any]


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed of a link: the pseudonyms in clear, and the release that gave them."""

    pseudonym: str
    study: str
    release: int


class Releases:
    """Begins, seals, ends."""

    def __init__(self, core: Core, approvals: Approvals) -> None:
        self._core = core
        self._approvals = approvals

    async def begin(self, _: Actor, request: p.BeginRelease) -> p.ReleaseBegun:
        """Rule 1. Raises GuardRefused('not_found' | 'not_permitted' | 'invalid' and what `Approvals` raises)."""
        core = self._core
        by = await self._approvals.verify(request.by)
        if len(request.studies) + len(request.patients) > _MOST_NAMED:
            raise GuardRefused("invalid")
        studies = [*request.studies, *self._studies_of(request.patients)]
        now = core.clock_watch.trusted()

        def write(tx: Transaction) -> Row:
            row = find_row(core, tx.connection, request.project)
            if bytes(row["officer"]) != by.person or row["ended_at"] or now >= float(row["until"]):
                raise GuardRefused("not_permitted")
            row = core.rows.update(tx.connection, project, dict(row, releases=int(row["releases"]) + 1))
            core.append(tx, ReleaseChanged(by, bytes(row["id"]), int(row["releases"]), "begun"))
            return row

        row = await core.committer.run(write)
        until = min(float(row["until"]), now + core.limits.release_seconds)
        running = RunningRelease(bytes(row["id"]), by.person, int(row["releases"]), until)
        return p.ReleaseBegun(
            number=running.number,
            project=running.project,
            ticket=core.releases.begin(running, now),
            project_key=key_of(core, row),
            profile=profile_of(row),
            until=until,
            studies=list(dict.fromkeys(studies)),
            page_files=core.limits.release_page_files,
        )

    def _studies_of(self, patients: list[str]) -> list[str]:
        found = list[str]()
        for written in patients:
            patient_id, _ = catalogue.find_patient(self._core, written)
            query = sa.select(study.c.uid).where(study.c.patient_id == patient_id)
            with self._core.engine.connect() as connection:
                found += connection.execute(query.order_by(study.c.study_date, study.c.pk)).scalars()
        return found

    # --- what was made ----------------------------------------------------------------------------------

    async def seal(self, _: Actor, request: p.SealRelease) -> p.ReleaseSealed:
        """Rule 3. Raises GuardRefused('not_authenticated' | 'not_permitted' | 'invalid' | 'unavailable')."""
        core, running = self._core, self._core.releases.find(request.ticket, self._core.clock_watch.trusted())
        core.witness.check_not_behind()
        actor, held = self._allowed(request)
        with core.engine.connect() as connection:
            query = sa.select(project).where(project.c.id == running.project)
            row = core.rows.check(project, connection.execute(query).mappings().one())
        profile = profile_of(row)
        rules = Rules(
            profile.name,
            profile.digest,
            request.edition.replace(" ", "-"),
            request.checker.replace(" ", "-"),
            __version__,
        )
        self._check(request)
        root = files_root(each.sha256 for each in request.files)

        def write(tx: Transaction) -> int:
            self._link(tx, running, held, request)
            event = StudyReleased(
                actor=actor.evidence,
                project=running.project,
                number=running.number,
                study=held.key_id,
                patient=held.patient_id,
                instances=len(request.files),
                files=root,
                profile=f"{profile.name}/{profile.digest}",
            )
            return core.append(tx, event)

        try:
            report = ReleaseReport(
                running.project, running.number, int(core.clock() * 1000), rules, root, 0, root, 0
            )
            report.text()  # what cannot be signed is refused before it is written down
        except EvidenceError as failure:
            raise GuardRefused("invalid") from failure
        index = await core.committer.run(write)
        notes = [
            sign_report(
                ReleaseReport(
                    report.project,
                    report.number,
                    report.time_ms,
                    rules,
                    each.sha256,
                    each.octets,
                    root,
                    index,
                ),
                core.log.signer,
            )
            for each in request.files
        ]
        return p.ReleaseSealed(notes, index, core.log.signer.verifier_key)

    def _allowed(self, request: p.SealRelease) -> tuple[Actor, HeldStudy]:
        """Asks the contract again. Raises GuardRefused."""
        core = self._core
        actor = core.actor(p.Release(request.ticket))
        with core.engine.connect() as connection:
            held = catalogue.hold(core, connection, request.study_instance_uid)
        if held is None:
            raise GuardRefused("not_permitted")
        try:
            decide(core, actor, held, "full", "HRESCH", "retrieve")
        except Denied as denied:
            raise GuardRefused(denied.reason) from denied
        return actor, held

    def _check(self, request: p.SealRelease) -> None:
        """Form and number. Raises GuardRefused('invalid')."""
        sound = (
            0 < len(request.files) <= self._core.limits.release_page_files
            and all(len(each.sha256) == _HASH_BYTES and each.octets > 0 for each in request.files)
            and _PSEUDONYM.fullmatch(request.pseudonym)
            and _UID.fullmatch(request.study_pseudonym)
        )
        if not sound:
            raise GuardRefused("invalid")

    def _link(
        self, tx: Transaction, running: RunningRelease, held: HeldStudy, request: p.SealRelease
    ) -> None:
        """One row for each project and study: a later release of the same changes nothing."""
        core = self._core
        known = sa.select(release_link.c.id).where(
            release_link.c.project_id == running.project,
            release_link.c.study_key_id == held.key_id,
            release_link.c.study_token == pseudonym_token(core, running.project, request.study_pseudonym),
        )
        if tx.connection.execute(known).first() is not None:
            return
        identifier = os.urandom(_ID_BYTES)
        link = Link(request.pseudonym, request.study_pseudonym, running.number)
        context = column_context("release_link", "sealed", identifier)
        values: Row = {
            "id": identifier,
            "project_id": running.project,
            "patient_token": pseudonym_token(core, running.project, request.pseudonym),
            "study_token": pseudonym_token(core, running.project, request.study_pseudonym),
            "study_key_id": held.key_id,
            "sealed": seal_column(held.key, context, msgspec.json.encode(link)),
        }
        core.rows.insert(tx.connection, release_link, values)

    async def end(self, _: Actor, request: p.EndRelease) -> p.Noted:
        """Rule 4. Raises GuardRefused('not_authenticated' | 'invalid')."""
        core = self._core
        actor = core.actor(p.Release(request.ticket))
        running = core.releases.find(request.ticket, core.clock_watch.trusted())
        core.releases.end(request.ticket)
        if request.findings < 0:
            raise GuardRefused("invalid")
        if request.findings:
            event = ReleaseChanged(
                actor.evidence, running.project, running.number, "withdrawn", request.findings
            )
            await core.note(event)
            core.alarms.sound(Alarm("release-withdrawn", core.clock()))
        return p.Noted()


def pseudonym_token(core: Core, project_id: bytes, pseudonym: str) -> bytes:
    """By what a pseudonym of a project is found: a keyed token."""
    return core.blind.exact("pseudonym", project_id + pseudonym.encode())
