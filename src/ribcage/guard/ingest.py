"""The way in, as the guard sees it: sealing keys against an admission, rows and entry against the sealed file.

Rules, in order:
1. A sealing key is given under a lease whose entry is durable (receipt kind `admit`); one lease for each principal
   and study, at most 15 minutes. What a person saves about a study needs a receipt of `guard.derivation` besides.
2. The same SOP Instance UID with the same data set hash is held already: success, no second copy; a parked one too.
3. The same UID with another hash, a patient or a series that contradicts the study: parked under a key of its own.
   The peer is answered as if it were new; nothing tells what exists.
4. What belongs to a study that was approved for destruction, or destroyed, is parked too: it adds nothing there.
5. A rejection note hides what it names in the commit that keeps it (`guard.rejections`).
6. `Commit` is answered after row and leaf are durable, and with them what routing rules queue (`guard.routing`). To
   an association it brings the keys for the study's next instance under the same lease: what is sealed with them is
   checked like any other when it is committed, and what contradicts what is held is refused there, and has to be
   admitted by itself. The same holds for keys given for an instance of which the header alone has come.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec

from ribcage.crypto.sealing import Algorithm
from ribcage.evidence.audit_event import (
    InstancesTransferred,
    SealingLeased,
)
from ribcage.guard import catalogue, ingest_rows
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.derivation import Derivations
from ribcage.guard.errors import GuardRefused
from ribcage.guard.ingest_rows import NOTHING_HELD, Admission, Held
from ribcage.guard.objects import stream_keys
from ribcage.guard.people import STORING_ROLES
from ribcage.guard.protocol import (
    SAVED_CLASSES,
    Admit,
    Admitted,
    AlreadyHeld,
    Commit,
    Committed,
    IngestClosed,
    IngestNoted,
)
from ribcage.guard.rejections import Rejections
from ribcage.guard.routing import Routing

_ID_BYTES = 16
_HASH_BYTES = 32
_REMEMBERED = 65_536  # instances that were sent again


class Ingest:
    """Pending admissions and leases."""

    def __init__(
        self, core: Core, derivations: Derivations, routing: Routing, rejections: Rejections
    ) -> None:
        self._core = core
        self._routing = routing
        self._rejections = rejections
        self._derivations = derivations
        self._leases: dict[tuple[bytes, str], tuple[float, HeldStudy]] = {}
        self._admissions: dict[bytes, Admission] = {}
        self._sent_again: dict[tuple[str, str], None] = {}

    # --- admit ------------------------------------------------------------------------------------------

    async def admit(self, actor: Actor, request: Admit) -> Admitted | AlreadyHeld:
        """Keys for one new object. Raises GuardRefused."""
        self._check_open(actor, request)
        self._forget_abandoned()
        if len(self._admissions) >= self._core.limits.pending_admissions:
            raise GuardRefused("throttled")
        early = not request.data_set_sha256
        if not early and len(request.data_set_sha256) != _HASH_BYTES:
            raise GuardRefused("invalid")
        with self._core.engine.connect() as connection:
            held = ingest_rows.look(connection, request)
        if early:
            held = replace(held, data_set_sha256=None)  # whether it is the same is seen when it is committed
        elif held.data_set_sha256 == request.data_set_sha256 or held.parked_twin:
            self._note_sent_again(actor, request.attributes.sop_instance_uid)
            return AlreadyHeld()
        await self._rejections.check(actor, request)
        study = await self._lease(actor, request)
        reason = self._closed(study) or self._contradiction(study, request, held)
        return self._give(replace(self._open_admission(actor, request, study, reason), ahead=early))

    def was_sent_again(self, actor: Actor, uid: str) -> bool:
        """Whether this principal sent what was held already, of those remembered."""
        return (actor.source, uid) in self._sent_again

    def _note_sent_again(self, actor: Actor, uid: str) -> None:
        self._sent_again[actor.source, uid] = None
        if len(self._sent_again) > _REMEMBERED:
            del self._sent_again[next(iter(self._sent_again))]

    def _forget_abandoned(self) -> None:
        """Admissions that nobody committed in time; a parked one's fresh key goes with it."""
        oldest = self._core.clock() - self._core.limits.admission_lease_seconds
        for token, admission in list(self._admissions.items()):
            if admission.opened_at >= oldest:
                break  # in order of opening
            del self._admissions[token]
            if admission.parked:
                self._core.keyring.discard([admission.key_id])

    def _check_open(self, actor: Actor, request: Admit) -> None:
        """Whether this may be stored, and anything may now. Raises GuardRefused."""
        self._check_permission(actor, request)
        self._core.witness.check_not_behind()
        self._core.disk.check_may_store()

    def _check_permission(self, actor: Actor, request: Admit) -> None:
        if self._core.limits.shield_department:
            raise GuardRefused("not_permitted")  # a shield keeps no image (`guard.elsewhere`)
        if actor.visitor is not None and request.attributes.sop_class_uid in SAVED_CLASSES:
            self._derivations.use(actor, request)
            return
        if actor.kind == "operator":
            return
        if actor.device is not None and "store" in actor.device.may:
            return
        if actor.visitor is not None and actor.visitor.roles & STORING_ROLES:
            return
        raise GuardRefused("not_permitted")

    async def _lease(self, actor: Actor, request: Admit) -> HeldStudy:
        core, now = self._core, self._core.clock()
        lease = self._leases.get((actor.digest, request.attributes.study_instance_uid))
        if lease is not None and now < lease[0]:
            return lease[1]

        def write(tx: Transaction) -> HeldStudy:
            held = self._destroyed(request.attributes.study_instance_uid)
            held = held or catalogue.hold(core, tx.connection, request.attributes.study_instance_uid)
            if held is None:
                department = actor.department or "radiology"
                held = catalogue.make_study(core, tx, request.attributes, department)
            event = SealingLeased(actor.evidence, held.key_id, held.patient_id, request.channel)
            tx.append(core.entry(event))
            return held

        held = await core.committer.run(write)
        expired = [key for key, (until, _) in self._leases.items() if until <= now]
        for key in expired:
            del self._leases[key]
        until = now + core.limits.admission_lease_seconds
        self._leases[(actor.digest, request.attributes.study_instance_uid)] = (until, held)
        return held

    def _destroyed(self, uid: str) -> HeldStudy | None:
        """A destroyed study, by name only: it has no keys and no row."""
        closed = self._core.closed
        found = closed.find(self._core.blind.exact("study", uid)) if len(closed) else None
        if found is None or not found.destroyed:
            return None
        return HeldStudy(-1, uid, found.patient_id, b"", found.key_id, b"", None, "")

    def _closed(self, study: HeldStudy) -> str:
        if not study.key:
            return "study_destroyed"
        return "study_closed" if self._core.closed.closes(study.key_id) else ""

    def forget_study(self, key_id: bytes) -> None:
        """Drop leases and open admissions of a study that was closed: their peers send again, and are parked."""
        for name, (_, held) in list(self._leases.items()):
            if held.key_id == key_id:
                del self._leases[name]
        for token, admission in list(self._admissions.items()):
            if admission.key_id == key_id:
                del self._admissions[token]

    def _forget_ahead(self, actor: Actor, uid: str) -> None:
        """The association that was given keys ahead has ended."""
        for token, admission in list(self._admissions.items()):
            if admission.ahead and admission.study.uid == uid and admission.actor.digest == actor.digest:
                del self._admissions[token]

    def _contradiction(self, study: HeldStudy, request: Admit, held: Held) -> str:
        if held.data_set_sha256 is not None:
            return "hash_mismatch"
        attributes = request.attributes
        if request.derivation and not attributes.issuer_of_patient_id.strip():
            issuer = self._derivations.issuer(study)
            attributes = msgspec.structs.replace(attributes, issuer_of_patient_id=issuer)
        if not catalogue.may_carry(self._core, study, attributes):
            return "patient_mismatch"
        return "series_mismatch" if held.series_owner not in (None, study.pk) else ""

    def _open_admission(self, actor: Actor, request: Admit, study: HeldStudy, reason: str) -> Admission:
        object_id, epoch, now = os.urandom(_ID_BYTES), self._core.keyring.epoch, self._core.clock()
        if not reason:
            return Admission(actor, request, object_id, study.key_id, study.key, study, epoch, now, "", b"")
        context = catalogue.parked_context(self._core, object_id)
        key_id, key = self._core.keyring.new_key("parked", context)
        return Admission(actor, request, object_id, key_id, key, study, epoch, now, reason, context)

    def _give(self, admission: Admission) -> Admitted:
        """Remember it, and hand out its keys."""
        core, token = self._core, os.urandom(_ID_BYTES)
        self._admissions[token] = admission
        header, bulk = stream_keys(core, admission.key, admission.key_id, admission.object_id)
        return Admitted(
            admission=token,
            object_id=admission.object_id,
            key_id=admission.key_id,
            epoch=admission.epoch,
            hospital=core.hospital,
            header_key=header,
            bulk_key=bulk,
            algorithm=int(Algorithm.AES_256_GCM),
        )

    # --- commit -----------------------------------------------------------------------------------------

    async def commit(self, request: Commit, actor: Actor | None = None) -> Committed:
        """Row and leaf for a sealed file; `actor` with `request.admit`. Raises GuardRefused('invalid') for what was
        not admitted, and for what was sealed with keys given ahead and contradicts what is held."""
        admission = self._admissions.pop(request.admission, None)
        if admission is None or admission.ahead != (request.admit is not None):
            raise GuardRefused("invalid")
        if not _safe_location(request.location, admission.object_id):
            raise GuardRefused("invalid")
        if request.admit is not None and actor is not None:
            admission = self._admit_late(actor, request.admit, admission)

        def write(tx: Transaction) -> Committed:
            self._core.disk.check_may_keep()
            return self._write(tx, admission, request)

        committed = await self._core.committer.run(write)
        if admission.key_context and not committed.kept:
            self._core.keyring.discard([admission.key_id])  # the key of what is held apart already
        if committed.kept and not committed.parked:
            self._rejections.took(admission.request)
            self._routing.took()
        if committed.parked or not committed.kept or admission.request.channel != "dimse":
            return committed
        return msgspec.structs.replace(committed, ahead=self._next(admission))

    def _admit_late(self, actor: Actor, request: Admit, given: Admission) -> Admission:
        """What `admit` looks at, for an instance that is sealed already (rule 6). Raises GuardRefused."""
        self._check_open(actor, request)
        fits = (
            actor.digest == given.actor.digest
            and request.rejection is None
            and request.attributes.study_instance_uid == given.study.uid
            and len(request.data_set_sha256) == _HASH_BYTES
        )
        if not given.parked:
            fits = fits and not self._closed(given.study)
            fits = fits and not self._contradiction(given.study, request, NOTHING_HELD)
        if not fits:
            raise GuardRefused("invalid")
        return replace(given, actor=actor, request=request)

    def _next(self, admission: Admission) -> Admitted | None:
        """Keys for the next instance of a study whose lease goes on; none where many are out."""
        core, study = self._core, admission.study
        now = core.clock()
        lease = self._leases.get((admission.actor.digest, study.uid))
        crowded = len(self._admissions) >= core.limits.pending_admissions // 2
        if lease is None or now >= lease[0] or crowded or self._closed(study):
            return None
        given = self._open_admission(admission.actor, admission.request, lease[1], "")
        return self._give(replace(given, ahead=True))

    def _write(self, tx: Transaction, admission: Admission, request: Commit) -> Committed:
        core, asked = self._core, admission.request
        held = NOTHING_HELD
        if admission.parked and admission.ahead:
            if ingest_rows.look(tx.connection, asked).parked_twin:
                self._note_sent_again(admission.actor, asked.attributes.sop_instance_uid)
                index = ingest_rows.log_index_apart(tx, asked)
                return Committed(log_index=index, parked=True, kept=False)
        elif not admission.parked:
            held = ingest_rows.look(tx.connection, asked, admission.study.pk)
            if held.patient != admission.study.patient_id:
                raise GuardRefused("invalid")  # another patient's meanwhile: it is admitted anew
            if held.data_set_sha256 == asked.data_set_sha256:
                self._note_sent_again(admission.actor, asked.attributes.sop_instance_uid)
                return Committed(log_index=ingest_rows.log_index(tx, asked), parked=False, kept=False)
            self._check_late(admission, held)
            if admission.ahead and (admission.parked or held.parked_twin):
                raise GuardRefused("invalid")
        index = tx.append(core.entry(ingest_rows.event_of(admission, request)))
        row = ingest_rows.object_row(core.clock(), admission, request, index)
        if admission.parked:
            ingest_rows.park(tx, admission, row)
        else:
            ingest_rows.index(tx, asked.attributes, admission.study, held, row)
            begun = admission.study if held.series_pk is None else None
            self._routing.arrived(tx, admission.actor, asked.attributes, begun)
            self._rejections.write(tx, admission.actor, asked, admission.study, admission.object_id)
            core.equipment.saw(tx, admission.actor.device, asked.attributes, core.clock())
        return Committed(log_index=index, parked=bool(admission.parked))

    def _check_late(self, admission: Admission, held: Held) -> None:
        """Another association was faster with what contradicts this: parked, though sealed under the study's key."""
        if held.data_set_sha256 is not None:
            admission.parked = "hash_mismatch"
        elif held.series_owner not in (None, admission.study.pk):
            admission.parked = "series_mismatch"
        if admission.parked:
            study = admission.study
            admission.key_context = catalogue.study_context(self._core, study.patient_id, study.uid)

    async def closed(self, actor: Actor, request: IngestClosed) -> IngestNoted:
        """One AuditEvent for each study of an association (PS3.15 A.5.3.7)."""
        core = self._core

        def write(tx: Transaction) -> None:
            for uid, count in request.studies.items():
                held = catalogue.hold(core, tx.connection, uid)
                if held is not None:
                    event = InstancesTransferred(
                        actor=actor.evidence,
                        study=held.key_id,
                        instances=count,
                        failed=request.failed,
                        channel=request.channel,
                        patient=held.patient_id,
                    )
                    tx.append(core.entry(event))

        for uid in request.studies:
            self._forget_ahead(actor, uid)
        await core.committer.run(write)
        # C-STORE-RSP has no room for a promise (PS3.7 9.3.1.2).
        return IngestNoted(core.log.promise() if request.channel == "dicomweb" else b"")


def _safe_location(location: str, object_id: bytes) -> bool:
    path = Path(location)
    return not path.is_absolute() and ".." not in path.parts and object_id.hex() in path.name
