"""A home that is a shield: the images are an old PACS's, the decision about them is ours (docs/adr/0019).

Rules, in order (DESIGN rules 1, 2 and 5):
1. A study is named as the archive names its own: patient and study get identity and keys when the old PACS first
   names them, so that grants, objections, broken glass and the patient's list work as everywhere.
2. Whose study it is stays what was first seen, or what two persons changed since (`guard.identity_changes`):
   where the old PACS says another patient, nobody gets it.
3. A page of a query is decided study by study, and its entry is durable before the answer.
4. What is passed on to it has an entry with its hash, durable before the sender is answered.
5. A home that is no shield refuses all of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ribcage.database.schema import study
from ribcage.evidence.audit_event import InstanceForwarded, QueryAnswered, QueryRefused, SealingLeased
from ribcage.guard import catalogue, matching
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import Denied, decide, fault
from ribcage.guard.errors import GuardRefused
from ribcage.guard.people import STORING_ROLES
from ribcage.guard.protocol import (
    AdmitElsewhere,
    Attributes,
    ListedElsewhere,
    ListElsewhere,
    Noted,
    PassedElsewhere,
    View,
)

_HASH_BYTES = 32
MOST_STUDIES = 400  # of one page, and of one entry


async def introduce(
    core: Core, studies: Sequence[Attributes], department: str = ""
) -> dict[str, HeldStudy | None]:
    """The studies by UID, made where they are new; None for one that is nobody's to have (rule 2).

    Raises GuardRefused('invalid') where this home is no shield.
    """
    if not core.limits.shield_department:
        raise GuardRefused("invalid")
    found = _held(core, studies)
    new = [each for each in studies if each.study_instance_uid not in found]

    def write(tx: Transaction) -> dict[str, HeldStudy | None]:
        made: dict[str, HeldStudy | None] = {}
        for each in new:
            held = catalogue.hold(core, tx.connection, each.study_instance_uid)
            where = department or core.limits.shield_department
            made[each.study_instance_uid] = held or catalogue.make_study(core, tx, each, where)
        return made

    if new:
        found |= await core.committer.run(write)
    return {each.study_instance_uid: _same(core, found[each.study_instance_uid], each) for each in studies}


def _held(core: Core, studies: Sequence[Attributes]) -> dict[str, HeldStudy | None]:
    """Those that are known; None for what cannot be opened, or was destroyed."""
    found: dict[str, HeldStudy | None] = {}
    with core.engine.connect() as connection:
        for each in studies:
            uid = each.study_instance_uid
            if len(core.closed) and core.closed.find(core.blind.exact("study", uid)) is not None:
                found[uid] = None
                continue
            try:
                held = catalogue.hold(core, connection, uid)
            except GuardRefused:
                found[uid] = None
                continue
            if held is not None:
                found[uid] = held
    return found


def _same(core: Core, held: HeldStudy | None, said: Attributes) -> HeldStudy | None:
    return held if held is not None and is_theirs(core, held, said) else None


def is_theirs(core: Core, held: HeldStudy, said: Attributes) -> bool:
    """Rule 2. A PACS that tells no issuer is held against the Patient ID alone."""
    if catalogue.may_carry(core, held, said):
        return True
    if said.issuer_of_patient_id.strip() or not said.patient_id.strip():
        return False
    if held.named is not None:
        return held.named.patient_id.strip() == said.patient_id.strip()
    with core.engine.connect() as connection:
        sealed = connection.execute(sa.select(study.c.sealed).where(study.c.pk == held.pk)).scalar_one()
    return catalogue.facts_of(held, bytes(sealed)).patient_id.strip() == said.patient_id.strip()


class Elsewhere:
    """Lists and admits for one guard; disclosures are `guard.disclosure`'s."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._leases: dict[tuple[bytes, str], tuple[float, HeldStudy]] = {}

    # --- queries ----------------------------------------------------------------------------------------

    async def list(self, actor: Actor, request: ListElsewhere) -> ListedElsewhere:
        """Which of these studies the actor may be named, in which view, until `limit` are. Raises GuardRefused."""
        core = self._core
        if len(request.studies) > MOST_STUDIES:
            raise GuardRefused("invalid")
        if actor.kind == "operator" or (actor.device is not None and "query" not in actor.device.may):
            event = QueryRefused(
                actor.evidence, request.channel, request.level, f"{actor.kind}-without-query"
            )
            raise GuardRefused("not_permitted", await core.note(event))
        if fault(core):
            raise GuardRefused("unavailable")
        held = await introduce(core, request.studies)
        views, looked = self._decide(actor, request, held)
        shown = [held[uid] for uid in views]
        entry = QueryAnswered(
            actor=actor.evidence,
            channel=request.channel,
            level=request.level,
            keywords=tuple(request.keywords),
            studies=tuple(each.key_id for each in shown if each is not None),
            records=len(views),
            more=looked < len(request.studies) or request.more,
            purpose=request.purpose,
        )
        return ListedElsewhere(views, looked, await core.note(entry), core.log.promise())

    def _decide(
        self, actor: Actor, request: ListElsewhere, held: Mapping[str, HeldStudy | None]
    ) -> tuple[dict[str, View], int]:
        """Views by UID, and how many studies were looked at."""
        views: dict[str, View] = {}
        blind = not set(request.keywords) <= matching.UNMASKED
        for number, each in enumerate(request.studies):
            if len(views) >= request.limit:
                return views, number
            found = held[each.study_instance_uid]
            if found is None:
                continue
            with contextlib.suppress(Denied):
                view = decide(self._core, actor, found, "best", request.purpose, "query").view
                if view != "masked" or not blind:  # who may not see a name cannot probe for it
                    views[found.uid] = view
        return views, len(request.studies)

    # --- the way in -------------------------------------------------------------------------------------

    async def admit(self, actor: Actor, request: AdmitElsewhere) -> Noted:
        """May this go to the old PACS? Raises GuardRefused."""
        await self._lease(actor, request.attributes, request.channel)
        return Noted()

    async def passed(self, actor: Actor, request: PassedElsewhere) -> Noted:
        """It is on its way to the old PACS: the entry is durable when this returns. Raises GuardRefused."""
        core = self._core
        if len(request.data_set_sha256) != _HASH_BYTES:
            raise GuardRefused("invalid")
        held = await self._lease(actor, request.attributes, request.channel)
        event = InstanceForwarded(
            actor.evidence, request.data_set_sha256, held.key_id, max(request.data_set_bytes, 0)
        )

        def write(tx: Transaction) -> None:
            core.equipment.saw(tx, actor.device, request.attributes, core.clock())
            tx.append(core.entry(event))

        await core.committer.run(write)
        return Noted()

    async def _lease(self, actor: Actor, attributes: Attributes, channel: str) -> HeldStudy:
        """The study, with the entry that opens it to this sender. Raises GuardRefused."""
        core, now = self._core, self._core.clock()
        self._check_permission(actor)
        core.witness.check_not_behind()
        core.disk.check_may_store()
        name = (actor.digest, attributes.study_instance_uid)
        until, held = self._leases.get(name, (0.0, None))
        if held is not None and now < until:
            if not is_theirs(core, held, attributes):
                raise GuardRefused("conflict")
            return held
        held = (await introduce(core, [attributes], actor.department))[attributes.study_instance_uid]
        if held is None:
            raise GuardRefused("conflict")
        await core.note(SealingLeased(actor.evidence, held.key_id, held.patient_id, channel))
        for key in [key for key, (over, _) in self._leases.items() if over <= now]:
            del self._leases[key]
        self._leases[name] = (now + core.limits.admission_lease_seconds, held)
        return held

    def forget(self, key_ids: set[bytes]) -> None:
        """These studies are another patient's now, or closed."""
        self._leases = {k: v for k, v in self._leases.items() if v[1].key_id not in key_ids}

    @staticmethod
    def _check_permission(actor: Actor) -> None:
        if actor.device is not None and "store" in actor.device.may:
            return
        if actor.visitor is not None and actor.visitor.roles & STORING_ROLES:
            return
        raise GuardRefused("not_permitted")
