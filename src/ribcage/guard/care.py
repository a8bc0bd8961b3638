"""What the hospital's information system tells becomes grants, and ends them (docs/adr/0020).

Rules, in order:
1. Only a registered certificate with the right `his` is heard. A relation belongs to the certificate that told of it:
   no other changes or ends it (`guard.care_told`).
2. Each message counts once: certificate, sender and control id are remembered with what it said. The same again gets
   the same answer; another message under a used id is refused.
3. A message is answered when its rows are durable and the grants it leads to are on the ledger, or ended there. Where
   the ledger cannot, the answer is no; the rows stand, and the next look, start or repetition makes up for it.
4. Grants follow from the rows alone (`guard.care_plan`), so that order and repetition of messages change nothing.
5. Only grants that messages made are ended by messages. One of those that a person took back is not given again for
   the same relation.
6. A grant says which message made it: its token on the ledger and in the log, its control id to operators.
7. A staff number that no registered person has gets nothing; it is listed (`guard.care_lists`).
"""

from __future__ import annotations

import asyncio
import contextlib

from ribcage.crypto.errors import CryptoError, RowTampered
from ribcage.database.care_tables import care_grant, care_relation, shift
from ribcage.evidence.audit_event import Actor as Evidence
from ribcage.evidence.audit_event import AssociationRefused, CareTold, SystemActor
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.care_plan import DAY, HOUR, Cause, Change, Pair, changes, due
from ribcage.guard.care_rows import CareRows, Row
from ribcage.guard.care_told import NotItsPatient, joined, label, sound, whose, write
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import TREATING_ROLES
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.identities import Named
from ribcage.guard.identity_changes import IdentityChanges
from ribcage.guard.rights import Rights, Terms
from ribcage.ledger.client import Prepared
from ribcage.ledger.errors import LedgerError

_SYSTEM = SystemActor("guard")
_EVERYBODY = None


def may_tell(actor: Actor) -> bool:
    """Rule 1."""
    return actor.device is not None and "his" in actor.device.may


class Care:
    """Takes messages one at a time and keeps the ledger's grants as the rows say."""

    def __init__(self, core: Core, rights: Rights, identities: IdentityChanges) -> None:
        self._core = core
        self._rights = rights
        self._identities = identities
        self.rows = CareRows(core)
        self._one_at_a_time = asyncio.Lock()
        self._behind = True  # grants may be due that no message of now leads to
        self._look_at = 0.0
        self._refused: dict[Pair, bytes] = {}  # what the ledger refused, by the relation it was for
        self.waiting = 0

    # --- messages ---------------------------------------------------------------------------------------

    async def take(self, actor: Actor, request: p.TakeCare) -> p.CareTaken:
        """Rules 1 to 3. Raises GuardRefused('not_permitted' | 'unavailable')."""
        core = self._core
        if not may_tell(actor):
            index = await core.note(AssociationRefused(actor.evidence, "hl7", "device-without-his"))
            raise GuardRefused("not_permitted", index)
        token = core.blind.exact("his-message", joined(actor.identifier, request.sender, request.control))
        content = core.blind.exact("his-content", request.content)
        async with self._one_at_a_time:
            now, limits = core.clock(), core.limits
            earliest = now - limits.care_message_days * DAY  # older messages are not known again
            code = sound(request, earliest, now + limits.care_ahead_hours * HOUR)
            known = None if code else self._known(token)
            if known is not None and bytes(known["content"]) != content:
                code = 205
            if not code and known is None:
                code = await self._take_new(actor, request, (token, content))
            if code:
                await core.note(CareTold(actor.evidence, label(request), token, reason=f"error-{code}"))
                return p.CareTaken(code)
            if self._behind:
                await self._carry_out(actor.evidence, _EVERYBODY)
        return p.CareTaken(again=known is not None)

    def _known(self, token: bytes) -> Row | None:
        try:
            with self._core.engine.connect() as connection:
                return self.rows.known_message(connection, token)
        except RowTampered as failure:
            raise GuardRefused("unavailable") from failure

    async def _take_new(self, actor: Actor, request: p.TakeCare, known: tuple[bytes, bytes]) -> p.CareCode:
        core, rows, behind = self._core, self.rows, self._behind
        if request.former is not None and request.patient is not None:
            try:
                await self._merge(actor, request.former, request.patient)
            except GuardRefused as refused:
                if refused.reason != "conflict":
                    raise
                return 206  # a study is closed for destruction, or there are too many: for two persons
        try:
            written = await core.committer.run(lambda tx: write(core, rows, tx, actor, request, known))
        except NotItsPatient:
            return 204
        except RowTampered as failure:
            raise GuardRefused("unavailable") from failure
        rows.take(care_relation, written.relations)
        rows.take(shift, written.shifts)
        self._behind = True  # until what follows is done
        self._refused.clear()
        if not behind and not written.shifts and request.former is None:
            touched = {core.identities.into(bytes(row["patient_id"])) for row in written.relations}
            await self._carry_out(actor.evidence, touched)
        return 0

    async def _merge(self, actor: Actor, former: p.CarePatient, patient: p.CarePatient) -> None:
        """A40: the existing merge of identities; one that stands is not made twice."""
        core = self._core

        def make(tx: Transaction) -> tuple[bytes, bytes]:
            first, second = (whose(core, tx.connection, each) for each in (former, patient))
            return first.patient_id, second.patient_id

        made = await core.committer.run(make)
        merged, into = (core.identities.into(each) for each in made)
        if merged != into:
            named = Named(patient.identifier, patient.issuer, patient.name, patient.birth_date, patient.sex)
            await self._identities.merge_as_told(actor, merged, into, named)

    # --- grants -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed that grants follow from: look again at the next tick."""
        self._behind = True

    async def tick(self) -> None:
        """Shifts begin, relations end, grants are given anew: some changes at each tick."""
        core = self._core
        now = core.clock_watch.trusted()
        if not self._behind and now < self._look_at:
            return
        self._look_at = now + core.limits.care_look_seconds
        if not self.rows.relations and not self.rows.grants:
            self._behind = False
            return
        with contextlib.suppress(GuardError):  # the ledger cannot: `_look_at` says when it is asked again
            async with self._one_at_a_time:
                self.rows.forget_ended(now, await asyncio.to_thread(self.rows.kept_ids))
                await self._carry_out(_SYSTEM, _EVERYBODY, core.limits.care_changes)
        self._look_at = now if self.waiting else self._look_at

    def _persons(self) -> dict[str, bytes]:
        """Registered persons who treat, by staff number; a number that two persons have is nobody's."""
        found: dict[str, bytes] = {}
        twice = set[str]()
        for person_id, number in self.rows.numbers.items():
            row = self._core.people.get(person_id)
            if not number or row is None:
                continue
            if number in found:
                twice.add(number)
            if self._core.people.active(person_id) and TREATING_ROLES & set(str(row["roles"]).split()):
                found[number] = person_id
        return {number: person for number, person in found.items() if number not in twice}

    async def _carry_out(self, by: Evidence, patients: set[bytes] | None, most: int = 1 << 31) -> None:
        """Make the ledger's grants what they are due to be, for these patients or all. Raises GuardRefused."""
        core, now = self._core, self._core.clock_watch.trusted()
        relations = [
            each for each in self.rows.now_relations() if patients is None or each.patient_id in patients
        ]
        wanted = due(relations, self.rows.by_ward(), self._persons(), core.limits, now)
        held = {
            pair: grants
            for pair, grants in self.rows.held().items()
            if patients is None or core.identities.into(pair[1]) in patients
        }
        todo = changes(wanted, held, core.limits.care_grant_days * DAY, now)
        for each in todo[:most]:
            await self._change(by, each)
        self.waiting = max(len(todo) - most, 0)
        self._behind = bool(self.waiting)

    async def _change(self, by: Evidence, change: Change) -> None:
        """Give first, so that a right that goes on has no gap; then end."""
        cause = change.give
        if cause is not None and self._refused.get(change.pair) != cause.relation:
            taken_back = any(
                bytes(self.rows.grants[number]["relation_id"]) == cause.relation and self._revoked(number)
                for number in change.end
            )
            if taken_back:
                return  # rule 5
            await self._give(by, change.pair, cause)
        for number in change.end:
            await self._end(by, number, cause)

    def _revoked(self, number: int) -> bool:
        try:
            return self._core.ledger.grant(number).revoked
        except LedgerError as failure:
            raise GuardRefused("unavailable") from failure

    async def _give(self, by: Evidence, pair: Pair, cause: Cause) -> None:
        core, now = self._core, self._core.clock_watch.trusted()
        core.witness.check_open()
        core.clock_watch.check()
        relation = self.rows.relations[cause.relation]
        with core.engine.connect() as connection:
            key = catalogue.patient_by_id(core, connection, pair[1]).key
        token, said = self._said(relation.message)
        facts = relation.facts
        number = f"{facts.identifier}|{facts.issuer}" if facts.issuer else facts.identifier
        written = (f"person:{core.people.name_of(pair[0])}", f"patient:{number}")
        begin, until = int(now), int(cause.until)
        if until <= begin:
            return
        who, what = core.subject("person", pair[0]), core.patient_resource(key)
        terms = Terms(who, what, "full", "TREAT", begin, until, written, token, said)
        made: list[Row] = []

        def extra(tx: Transaction, prepared: Prepared) -> None:
            values = {
                "grant_id": prepared.outcome,
                "person_id": pair[0],
                "patient_id": pair[1],
                "relation_id": cause.relation,
                "message": relation.message,
                "until": float(until),
            }
            made.append(self.rows.write_grant(tx.connection, values))

        try:
            await self._rights.give(by, terms, extra, lambda: self.rows.take(care_grant, made[-1:]))
        except GuardRefused as refused:
            if refused.reason != "invalid":
                raise
            self._refused[pair] = cause.relation  # a destroyed patient, or eight grants by hand

    async def _end(self, by: Evidence, number: int, cause: Cause | None) -> None:
        """End a grant that a message made; one that is over already is only remembered as such."""
        row, ended = self.rows.grants[number], list[Row]()
        relation = self.rows.relations.get(bytes(row["relation_id"]))
        token, _ = self._said(relation.message if relation is not None else int(row["message"]))

        def write_end(tx: Transaction) -> None:
            ended.append(self.rows.end_grant(tx.connection, number))

        def stored() -> None:
            self.rows.take(care_grant, ended[-1:])

        if float(row["until"]) <= self._core.clock_watch.trusted() or self._revoked(number):
            await self._core.committer.run(write_end)
            stored()
        else:
            await self._rights.end(by, number, token, lambda tx, _prepared: write_end(tx), stored)

    def _said(self, number: int) -> tuple[bytes, str]:
        try:
            return self.rows.said(number)
        except CryptoError as failure:
            raise GuardRefused("unavailable") from failure
