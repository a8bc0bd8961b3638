"""What a person saves about a study: whether they may, and the patient for what the masked view made.

Rules, in order (docs/adr/0012):
1. Only treating roles save, only `SAVED_CLASSES`, only into a study that exists and that the contract lets them see.
2. Whatever the object refers to must lie in studies that they may see; unknown and forbidden are refused alike.
3. In the masked view only an object under the study's pseudonym is taken. One that names a patient would be compared
   with the study, and whether it then appears there would tell who the patient is.
4. The entry is durable before the answer (receipt kind `derive`). Patient and study are given for an object under the
   pseudonym alone; the front writes them into it and shows them to nobody.
5. A receipt serves one `Admit` of the same principal, class, instance and study; the contract is asked again then.
6. Viewers leave the Issuer of Patient ID out: an object without one is compared by its Patient ID (`guard.ingest`).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import instance, study
from ribcage.evidence import receipt as receipts
from ribcage.evidence.audit_event import DerivationAllowed, DerivationRefused
from ribcage.evidence.errors import ReceiptRefused
from ribcage.evidence.merkle import leaf_hash
from ribcage.guard import catalogue
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import TREATING_ROLES, Denied, ask_about_nothing, decide
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import MAX_REFERENCES, SAVED_CLASSES, Admit, Derive, Derived, PatientModule, View

_ID_BYTES = 16
_STUDIES = 64  # that one object may refer to
_UIDS_AT_ONCE = 500
_UNUSED_OF_ONE = 16  # receipts of one session that wait for their `Admit`


@dataclass(frozen=True)
class _Allowed:
    actor: Actor
    request: Derive
    study: HeldStudy
    expires_at: float


class Derivations:
    """Receipts not yet used; lost with the process, so that after a restart everything is asked anew."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._allowed: dict[bytes, _Allowed] = {}
        self._receipt_key = core.keyring.service("session")

    async def derive(self, actor: Actor, request: Derive) -> Derived:
        """Decide, write the entry, answer. Raises GuardRefused (its entry is durable too)."""
        core = self._core
        self._forget_expired()
        if len(self._allowed) >= core.limits.pending_admissions:
            raise GuardRefused("throttled")
        if request.sop_class_uid not in SAVED_CLASSES:
            raise GuardRefused("invalid")
        if len(request.instances) + len(request.studies) > MAX_REFERENCES:
            raise GuardRefused("invalid")
        with core.engine.connect() as connection:
            held = catalogue.hold(core, connection, request.study_instance_uid)
        try:
            if held is None:
                raise Denied("not_permitted", "unknown-study", ask_about_nothing(core, actor, "TREAT"))
            view = self._view(actor, request, held)
            await self._check_references(actor, request, held)
        except Denied as denied:
            raise await self._refuse(actor, request, held, denied) from denied
        return await self._allow(actor, request, held, view)

    def _view(self, actor: Actor, request: Derive, held: HeldStudy) -> View:
        """The view of the study to save into (rules 1 and 3). Raises Denied."""
        _check_role(actor)
        view = decide(self._core, actor, held, "best", "TREAT", "retrieve").view
        _check_named(view, masked=request.masked)
        return view

    async def _check_references(self, actor: Actor, request: Derive, held: HeldStudy) -> None:
        """Every study and instance that is referred to is seen by this person (rule 2). Raises Denied."""
        core = self._core
        instances = sorted(set(request.instances))
        holders, found = await asyncio.to_thread(self._holders, instances)
        others = (holders | set(request.studies)) - {held.uid}
        if found != len(instances) or len(others) > _STUDIES:
            raise Denied("not_permitted", "unseen-reference")
        for uid in sorted(others):
            with core.engine.connect() as connection:
                other = catalogue.hold(core, connection, uid)
            try:
                if other is None:
                    raise Denied("not_permitted", "unknown-study", ask_about_nothing(core, actor, "TREAT"))
                decide(core, actor, other, "best", "TREAT", "retrieve")
            except Denied as denied:
                if denied.reason == "unavailable":
                    raise
                raise Denied("not_permitted", "unseen-reference", denied.microseconds) from denied

    def _holders(self, instances: list[str]) -> tuple[set[str], int]:
        """The studies that hold these instances, and how many of them are held at all."""
        uids: set[str] = set()
        found = 0
        with self._core.engine.connect() as connection:
            for start in range(0, len(instances), _UIDS_AT_ONCE):
                query = (
                    sa.select(study.c.uid, sa.func.count())
                    .join(instance, instance.c.study_pk == study.c.pk)
                    .where(instance.c.uid.in_(instances[start : start + _UIDS_AT_ONCE]))
                    .group_by(study.c.uid)
                )
                for uid, count in connection.execute(query):
                    uids.add(str(uid))
                    found += int(count)
        return uids, found

    def issuer(self, held: HeldStudy) -> str:
        """The Issuer of Patient ID of the study (rule 6). Raises GuardRefused('unavailable')."""
        return self._patient(held).issuer_of_patient_id

    def _patient(self, held: HeldStudy) -> PatientModule:
        """What the index has of the study (rule 4). Raises GuardRefused('unavailable')."""
        chosen = sa.select(study.c.sealed, study.c.study_date, study.c.study_time)
        with self._core.engine.connect() as connection:
            row = connection.execute(chosen.where(study.c.pk == held.pk)).one()
        try:
            facts = catalogue.facts_of(held, bytes(row.sealed))
        except CryptoError as failure:
            raise GuardRefused("unavailable") from failure
        named = {name: getattr(facts, name) for name in catalogue.StudyFacts.__struct_fields__}
        return PatientModule(**named, study_date=str(row.study_date), study_time=str(row.study_time))

    async def _refuse(
        self, actor: Actor, request: Derive, held: HeldStudy | None, denied: Denied
    ) -> GuardRefused:
        event = DerivationRefused(
            actor=actor.evidence,
            study=held.key_id if held else None,
            patient=held.patient_id if held else None,
            channel=request.channel,
            reason=denied.cause,
        )
        index = await self._core.note(event)
        return GuardRefused(denied.reason, index, denied.microseconds)

    async def _allow(self, actor: Actor, request: Derive, held: HeldStudy, view: View) -> Derived:
        core, now = self._core, self._core.clock()
        patient = self._patient(held) if request.masked else None
        event = DerivationAllowed(
            actor=actor.evidence,
            study=held.key_id,
            patient=held.patient_id,
            view=view,
            channel=request.channel,
            references=len(request.instances),
            patient_given=patient is not None,
        )

        def write(tx: Transaction) -> tuple[int, bytes]:
            index = tx.append(core.entry(event))
            return index, leaf_hash(tx.leaf_data(index))

        index, leaf = await core.committer.run(write)
        expires_at = now + core.limits.admission_lease_seconds
        receipt = receipts.issue(
            self._receipt_key,
            receipts.Receipt(
                kind="derive",
                disclosure=os.urandom(_ID_BYTES),
                principal=actor.digest,
                resource=held.key_id,
                view=view,
                purpose="TREAT",
                issued_at_ms=int(now * 1000),
                expires_at_ms=int(expires_at * 1000),
                log_index=index,
                leaf=leaf,
            ),
        )
        self._keep(receipt, _Allowed(actor, request, held, expires_at))
        return Derived(receipt=receipt, log_index=index, patient=patient)

    def _keep(self, receipt: bytes, allowed: _Allowed) -> None:
        """Remember it; of one session the newest alone, so that nobody takes the room of the others."""
        own = [each for each, other in self._allowed.items() if other.actor.digest == allowed.actor.digest]
        for each in own[: 1 - _UNUSED_OF_ONE]:
            del self._allowed[each]
        self._allowed[receipt] = allowed

    def use(self, actor: Actor, admit: Admit) -> None:
        """Spend the receipt of an `Admit` (rule 5). Raises GuardRefused."""
        core = self._core
        allowed = self._allowed.pop(admit.derivation, None)
        try:
            checked = receipts.check(self._receipt_key, admit.derivation, int(core.clock() * 1000))
        except ReceiptRefused as failure:
            raise GuardRefused("not_permitted") from failure
        if allowed is None or checked.kind != "derive" or allowed.actor.digest != actor.digest:
            raise GuardRefused("not_permitted")
        asked, got = allowed.request, admit.attributes
        if (asked.sop_class_uid, asked.sop_instance_uid, asked.study_instance_uid) != (
            got.sop_class_uid,
            got.sop_instance_uid,
            got.study_instance_uid,
        ):
            raise GuardRefused("not_permitted")
        self._ask_again(actor, allowed)

    def _ask_again(self, actor: Actor, allowed: _Allowed) -> None:
        try:
            self._view(actor, allowed.request, allowed.study)
        except Denied as denied:
            raise GuardRefused(denied.reason) from denied

    def _forget_expired(self) -> None:
        now = self._core.clock()
        for receipt, allowed in list(self._allowed.items()):
            if now < allowed.expires_at:
                break  # in order of opening
            del self._allowed[receipt]


def _check_role(actor: Actor) -> None:
    """Rule 1. Raises Denied."""
    if actor.visitor is None or not actor.visitor.roles & TREATING_ROLES:
        raise Denied("not_permitted", "role-saves-nothing")


def _check_named(view: View, *, masked: bool) -> None:
    """Rule 3. Raises Denied."""
    if view == "masked" and not masked:
        raise Denied("second_factor_needed", "patient-named-in-the-masked-view")
