"""The way out, as the guard sees it: receipts, keys under receipts, revocation inside them.

Rules, in order:
1. The entry of a decision is durable before its answer, a refusal's too (DESIGN rule 1). Under broken glass it stands
   in the emergency journal where the log cannot take it (DESIGN rule 5).
2. A receipt opens nothing by itself: it must be ours, alive, of this principal, and the disclosure must be live.
3. Every `Open` and `CheckDisclosure` asks the contract again; a lower verdict ends the disclosure.
4. After each change of rights every live disclosure is asked again, and what fell is pushed to all fronts. So is
   every study that a live session was shown before: its pages clear it (`guard.shown`).
5. Where images go to another device than the asker (C-MOVE), that device must be allowed the same view, and is asked
   for again with the asker.
6. A study whose identity changed is asked for under its new one at once; what is still allowed goes on, and names
   the patient as corrected from the next object on.
7. Of a shield no object is named here: the images are the old PACS's (`guard.elsewhere`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ribcage.database.schema import instance, series
from ribcage.evidence import receipt as receipts
from ribcage.evidence.audit_event import DisclosureAllowed, DisclosureClosed, DisclosureRefused
from ribcage.evidence.errors import ReceiptRefused
from ribcage.evidence.merkle import leaf_hash
from ribcage.guard import catalogue, protocol
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import Decision, Denied, ask_about_nothing, decide, decide_in_a_fault
from ribcage.guard.elsewhere import introduce, is_theirs
from ribcage.guard.emergency_records import ClosingRecord, OpeningRecord
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.glass_in_a_fault import GlassInAFault
from ribcage.guard.objects import stream_keys
from ribcage.guard.protocol import (
    CheckDisclosure,
    Disclose,
    Disclosed,
    DisclosureChecked,
    InstanceRef,
    Noted,
    Open,
    Opened,
    OpenedObject,
    Revoked,
    Told,
)
from ribcage.guard.rejections import shown
from ribcage.guard.shapes import Shape, shapes
from ribcage.guard.shown import ShownStudies

_ID_BYTES = 16
_OPEN_OBJECTS = 256
_IN_THE_JOURNAL = (1 << 64) - 1  # instead of a log index, in a receipt (docs/formats.md 5.4)
_NUMBERS, _WITH_SERIES = (
    sa.select(*columns).join(series, series.c.pk == instance.c.series_pk)
    for columns in ([instance.c.pk], [instance, series.c.uid.label("series_uid")])
)


@dataclass
class _Live:
    actor: Actor
    study: HeldStudy
    request: Disclose
    decision: Decision
    principal: protocol.Principal
    expires_at: float
    objects: frozenset[bytes]
    recipient: Actor | None = None
    opened: set[bytes] = field(default_factory=set)
    renamed: bool = False  # the study's identity was changed since
    patient_id: bytes = b""  # whose study it was when it opened: its closing entry is theirs too

    def __post_init__(self) -> None:
        self.patient_id = self.patient_id or self.study.patient_id

    @property
    def purpose(self) -> protocol.Purpose:
        """Broken glass serves emergency treatment, whatever was written."""
        return "ETREAT" if self.decision.permit is not None else self.request.purpose


class Disclosures:
    """Live disclosures; lost with the process, so that after a restart everything is asked anew."""

    def __init__(self, core: Core, in_a_fault: GlassInAFault, push: Callable[[Revoked | Told], None]) -> None:
        self._core = core
        self._in_a_fault = in_a_fault
        self._push = push
        self._shown = ShownStudies(core, push)
        self._live: dict[bytes, _Live] = {}
        self._by_receipt: dict[bytes, bytes] = {}
        self._receipt_key = core.keyring.service("session")

    @property
    def live(self) -> int:
        """How many are open now."""
        now = self._core.clock()
        return sum(live.expires_at > now for live in self._live.values())

    async def disclose(self, actor: Actor, request: Disclose) -> Disclosed:
        """Decide, write the entry, answer. Raises GuardRefused (its entry is durable too)."""
        core = self._core
        self._forget_expired()
        if len(self._live) >= core.limits.live_disclosures:
            raise GuardRefused("throttled")
        if request.elsewhere is not None:
            await introduce(core, [request.elsewhere])
        with core.engine.connect() as connection:
            study = catalogue.hold(core, connection, request.study_instance_uid)
            rows = [] if study is None else _rows(core, connection, actor, study, request)
        try:
            if study is None:
                raise Denied("not_found", "unknown-study", ask_about_nothing(core, actor, request.purpose))
            decision = decide(core, actor, study, request.want, request.purpose, "retrieve")
            recipient = self._recipient(request, study)
            if request.elsewhere is not None and not is_theirs(core, study, request.elsewhere):
                raise Denied("not_permitted", "another-patient-elsewhere")
            if not rows and request.elsewhere is None:
                raise Denied("not_found", "no-such-instance")
        except Denied as denied:
            raise await self._refuse(actor, request, study, denied) from denied
        try:
            return await self._allow(actor, request, study, decision, rows, recipient)
        except Denied as denied:
            raise GuardRefused(denied.reason) from denied

    def _recipient(self, request: Disclose, study: HeldStudy) -> tuple[Actor, Decision] | None:
        """The device that gets the images of a C-MOVE (rule 5). Raises Denied."""
        if request.recipient is None:
            return None
        try:
            recipient = self._core.actor(request.recipient)
        except GuardRefused as failure:
            raise Denied("not_permitted", "recipient-not-registered") from failure
        return recipient, decide(self._core, recipient, study, request.want, request.purpose, "retrieve")

    async def _refuse(
        self, actor: Actor, request: Disclose, study: HeldStudy | None, denied: Denied
    ) -> GuardRefused:
        event = DisclosureRefused(
            actor=actor.evidence,
            study=study.key_id if study else None,
            patient=study.patient_id if study else None,
            want=request.want,
            purpose=request.purpose,
            channel=request.channel,
            reason=denied.cause,
        )
        index = await self._core.note(event)
        # An unknown study and a forbidden one are answered alike: nothing tells what exists.
        reason = "not_permitted" if denied.cause == "unknown-study" else denied.reason
        return GuardRefused(reason, index, denied.microseconds)

    async def _allow(
        self,
        actor: Actor,
        request: Disclose,
        study: HeldStudy,
        decision: Decision,
        rows: list[sa.RowMapping],
        recipient: tuple[Actor, Decision] | None,
    ) -> Disclosed:
        core, now = self._core, self._core.clock()
        identifier = os.urandom(_ID_BYTES)
        live = _Live(
            actor=actor,
            study=study,
            request=request,
            decision=decision,
            principal=request.principal,
            expires_at=min(self._end_of(one, now) for one in (decision, *(recipient or ())[1:])),
            objects=frozenset(bytes(row["object_id"]) for row in rows),
            recipient=recipient[0] if recipient else None,
        )
        index, leaf = await self._begin(live, identifier, now)
        receipt = receipts.issue(
            self._receipt_key,
            receipts.Receipt(
                kind="disclose",
                disclosure=identifier,
                principal=actor.digest,
                resource=study.key_id,
                view=live.decision.view,
                purpose=live.purpose,
                issued_at_ms=int(now * 1000),
                expires_at_ms=int(live.expires_at * 1000),
                log_index=index if index >= 0 else _IN_THE_JOURNAL,
                leaf=leaf,
            ),
        )
        self._by_receipt[receipt] = identifier
        self._live[identifier] = live
        self._shown.add(actor, study, live.purpose, live.decision.view)
        return Disclosed(
            disclosure=identifier,
            receipt=receipt,
            view=live.decision.view,
            purpose=live.purpose,
            expires_at=live.expires_at,
            log_index=index,
            decided_microseconds=decision.microseconds,
            instances=[_reference(row) for row in rows],
            promise=core.log.promise() if index >= 0 else b"",
        )

    async def _begin(self, live: _Live, identifier: bytes, now: float) -> tuple[int, bytes]:
        """Make the opening durable: `(number, leaf hash)` in the log, or -1 and a hash in the emergency journal.

        Raises GuardUnavailable where neither takes it, Denied where a fault shows that broken glass opens nothing.
        """
        core = self._core

        def write(tx: Transaction) -> tuple[int, bytes]:
            index = core.append(tx, _opening(core, live, identifier))
            return index, leaf_hash(tx.leaf_data(index))

        try:
            return await core.committer.run(write)
        except GuardUnavailable:
            again = live.decision
            if again.permit is None:
                asked = live.request
                found = decide_in_a_fault(core, live.actor, live.study, asked.want, asked.purpose)
                if found is None:
                    raise
                again = found
        live.decision, live.expires_at = again, self._end_of(again, now)
        record = OpeningRecord(
            at=core.clock_watch.trusted(),
            person=live.actor.identifier,
            address=live.actor.address,
            disclosure=identifier,
            study=live.study.key_id,
            patient=live.study.patient_id,
            view=again.view,
            purpose=live.purpose,
            channel=live.request.channel,
            instances=len(live.objects),
            ledger_height=core.ledger.height,
            expires_at_ms=int(live.expires_at * 1000),
        )
        return -1, leaf_hash(await self._in_a_fault.opening(record))

    def _end_of(self, decision: Decision, now: float) -> float:
        """Unix seconds: the limit of a disclosure, or the end of what it rests on if that is earlier."""
        if decision.permit is not None:
            left = decision.permit.valid_until - self._core.clock_watch.trusted()
            return now + min(self._core.limits.disclosure_seconds, left)
        granted_until = self._core.ledger.grant(decision.grant_id).valid_until
        return min(now + self._core.limits.disclosure_seconds, float(granted_until))

    # --- keys under a receipt ---------------------------------------------------------------------------

    def open(self, actor: Actor, request: Open) -> Opened:
        """Keys for objects of a live disclosure. Raises GuardRefused."""
        live = self._check(actor, request.receipt)
        if not request.object_ids or len(request.object_ids) > _OPEN_OBJECTS:
            raise GuardRefused("invalid")
        if not live.objects.issuperset(request.object_ids):
            raise GuardRefused("not_permitted")
        with self._core.engine.connect() as connection:
            rows = _stored(connection, request.object_ids)
            shaped = shapes(self._core, connection, live.study, live.decision.view, rows)
        if len(rows) != len(set(request.object_ids)):
            raise GuardRefused("unavailable")
        wanted = ((rows[each], shaped[each]) for each in request.object_ids)
        return Opened(objects=[_opened(self._core, live, row, shape) for row, shape in wanted])

    def check(self, actor: Actor, request: CheckDisclosure) -> DisclosureChecked:
        """Whether a request may join a live disclosure, and whether a new one would equal it. Raises GuardRefused."""
        core, live = self._core, self._check(actor, request.receipt)
        try:
            view = decide(core, actor, live.study, live.request.want, live.request.purpose, "retrieve").view
        except Denied as denied:
            raise GuardRefused(denied.reason) from denied
        with core.engine.connect() as connection:
            rows = _asked(core, _NUMBERS, actor, live.study, live.request).subquery()
            count = connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()
        same = view == live.decision.view and count == len(live.objects)
        return DisclosureChecked(current=same and not live.renamed)

    def _check(self, actor: Actor, receipt: bytes) -> _Live:
        core = self._core
        try:
            checked = receipts.check(self._receipt_key, receipt, int(core.clock() * 1000))
        except ReceiptRefused as failure:
            raise GuardRefused("not_permitted") from failure
        live = self._live.get(checked.disclosure)
        if checked.kind != "disclose" or live is None or live.actor.digest != actor.digest:
            raise GuardRefused("not_permitted")
        if core.clock() >= live.expires_at or not self._still_allowed(actor, live):
            self._cut([checked.disclosure])
            raise GuardRefused("not_permitted")
        return live

    def _still_allowed(self, actor: Actor, live: _Live) -> bool:
        try:
            decide(self._core, actor, live.study, live.decision.view, live.request.purpose, "retrieve")
            self._recipient(live.request, live.study)
        except (Denied, GuardRefused):
            return False
        return True

    # --- the end of a disclosure ------------------------------------------------------------------------

    async def closed(self, request: protocol.DisclosureClosed) -> Noted:
        """The closing entry. The receipt alone names the disclosure: closing needs no rights."""
        core = self._core
        disclosure = self._by_receipt.pop(request.receipt, b"")
        live = self._live.pop(disclosure, None)
        if live is None:
            raise GuardRefused("invalid")
        event = DisclosureClosed(
            actor=live.actor.evidence,
            disclosure=disclosure,
            study=live.study.key_id,
            patient=live.patient_id,
            instances=request.instances,
            octets=request.octets,
            ending=request.outcome,
        )
        try:
            await core.note(event)
        except GuardUnavailable:
            if live.decision.permit is None:
                raise
            await self._in_a_fault.closing(_closing(core, live, event))
        self._in_a_fault.over(disclosure)
        return Noted()

    def rights_changed(self) -> None:
        """Ask the contract again for every live disclosure; cut what fell (rule 4)."""
        fallen = []
        for identifier, live in self._live.items():
            try:
                actor = self._core.again(live.actor, live.principal)
            except GuardRefused:
                fallen.append(identifier)
                continue
            if not self._still_allowed(actor, live):
                fallen.append(identifier)
        self._cut(fallen)
        self._shown.rights_changed()

    def identity_changed(self, uids: Collection[str]) -> None:
        """These studies are of another patient, or named otherwise: ask again under what they are now (rule 6)."""
        held = _held(self._core, uids)
        for live in (live for live in self._live.values() if live.study.uid in uids):
            live.study, live.renamed = held.get(live.study.uid, live.study), True
        self._cut([i for i, live in self._live.items() if live.study.uid in set(uids) - held.keys()])
        self._shown.identity_changed(held)
        self.rights_changed()

    def _cut(self, identifiers: list[bytes]) -> None:
        for identifier in identifiers:
            live = self._live.get(identifier)
            if live is not None:
                live.expires_at = 0.0  # kept for its closing entry
        if identifiers:
            self._push(Revoked(disclosures=identifiers))

    def _forget_expired(self) -> None:
        deadline = self._core.clock() - self._core.limits.disclosure_seconds
        expired = [i for i, live in self._live.items() if 0 < live.expires_at < deadline]
        self._cut(expired)  # a front whose clock is another's hears it
        for identifier in expired:
            del self._live[identifier]
            self._in_a_fault.over(identifier)
        self._by_receipt = {r: i for r, i in self._by_receipt.items() if i in self._live}


def _rows(
    core: Core, connection: sa.Connection, actor: Actor, held: HeldStudy, request: Disclose
) -> list[sa.RowMapping]:
    """What a disclosure would cover."""
    query = _asked(core, _WITH_SERIES, actor, held, request).order_by(instance.c.pk)
    return list(connection.execute(query).mappings())


def _asked(
    core: Core, wanted: sa.Select[Any], actor: Actor, held: HeldStudy, request: Disclose
) -> sa.Select[Any]:
    """Its query: of what was rejected, nothing."""
    query = wanted.where(instance.c.study_pk == held.pk, *shown(core, actor))
    if request.series_instance_uid:
        query = query.where(series.c.uid == request.series_instance_uid)
    if request.sop_instance_uid:
        query = query.where(instance.c.uid == request.sop_instance_uid)
    return query.limit(core.limits.disclosure_instances)


def _stored(connection: sa.Connection, object_ids: Collection[bytes]) -> dict[bytes, sa.RowMapping]:
    """Rows of instances with their series, by object id."""
    query = _WITH_SERIES.where(instance.c.object_id.in_(object_ids))
    return {bytes(row["object_id"]): row for row in connection.execute(query).mappings()}


def _held(core: Core, uids: Collection[str]) -> dict[str, HeldStudy]:
    """Those of these studies that can be opened."""
    held = dict[str, HeldStudy]()
    with core.engine.connect() as connection:
        for uid in uids:
            with contextlib.suppress(GuardRefused):
                study = catalogue.hold(core, connection, uid)
                if study is not None:
                    held[uid] = study
    return held


def _opening(core: Core, live: _Live, identifier: bytes) -> DisclosureAllowed:
    decision = live.decision
    return DisclosureAllowed(
        actor=live.actor.evidence,
        disclosure=identifier,
        study=live.study.key_id,
        patient=live.study.patient_id,
        view=decision.view,
        purpose=live.purpose,
        channel=live.request.channel,
        instances=len(live.objects),
        ground="break_glass" if decision.permit is not None else "grant",
        ledger_height=core.ledger.height,
        expires_at_ms=int(live.expires_at * 1000),
        grant=decision.grant_id,
        recipient=live.recipient.digest if live.recipient is not None else None,
    )


def _closing(core: Core, live: _Live, event: DisclosureClosed) -> ClosingRecord:
    return ClosingRecord(
        at=core.clock_watch.trusted(),
        person=live.actor.identifier,
        address=live.actor.address,
        disclosure=event.disclosure,
        study=live.study.key_id,
        patient=live.patient_id,
        instances=event.instances,
        octets=event.octets,
        ending=event.ending,
    )


def _opened(core: Core, live: _Live, row: sa.RowMapping, shape: Shape) -> OpenedObject:
    identifier = bytes(row["object_id"])
    header, bulk = stream_keys(core, live.study.key, live.study.key_id, identifier)
    return OpenedObject(
        object_id=identifier,
        location=str(row["location"]),
        header_key=header,
        bulk_key=bulk,
        algorithm=int(row["algorithm"]),
        key_id=live.study.key_id,
        epoch=int(row["epoch"]),
        hospital=core.hospital,
        header_plain_bytes=int(row["header_plain_bytes"]),
        bulk_plain_bytes=int(row["bulk_plain_bytes"]),
        header_sealed_bytes=int(row["header_sealed_bytes"]),
        bulk_sealed_bytes=int(row["bulk_sealed_bytes"]),
        prefix_bytes=int(row["prefix_bytes"]),
        data_set_sha256=bytes(row["data_set_sha256"]),
        sop_class_uid=str(row["sop_class_uid"]),
        sop_instance_uid=str(row["uid"]),
        transfer_syntax_uid=str(row["transfer_syntax_uid"]),
        named=shape.named,
        addressed=shape.addressed,
        charset=shape.charset,
        charset_overrides=shape.charset_overrides,
    )


def _reference(row: sa.RowMapping) -> InstanceRef:
    return InstanceRef(
        object_id=bytes(row["object_id"]),
        sop_class_uid=str(row["sop_class_uid"]),
        sop_instance_uid=str(row["uid"]),
        series_instance_uid=str(row["series_uid"]),
        transfer_syntax_uid=str(row["transfer_syntax_uid"]),
        data_set_bytes=int(row["header_plain_bytes"])
        + int(row["bulk_plain_bytes"])
        - int(row["prefix_bytes"]),
        prefix_bytes=int(row["prefix_bytes"]),
    )
