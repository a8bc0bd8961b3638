"""Prior studies: what a routing rule sends along when a new study of the same patient arrives.

Rules, in order:
1. A rule's priors are asked for when a series begins in a study that came within a day. They are the patient's other
   studies that are dated no later: the latest first, as many as the rule says, no older than it says, of the same
   modality or body part. Merged patients are one (`guard.catalogue`, rule 4).
2. A placeholder ID has no priors, sent now or before. A study that says another birth date than the new one does is
   no prior: an ID typed wrongly at a modality brings nobody else's films.
3. An instance is queued once for a destination while it waits there, was sent or failed within a day, and never for
   the device that it came from. What was to be sent and failed earlier is queued anew in place of the failed job.
4. A prior gives no right: `guard.sending`, rule 1. What is closed, rejected or on its way to another patient is not
   even queued.
5. What a study pulled is an entry in the name of who sent it. A sender pulls at most `priors_per_hour`: what comes
   then pulls nothing, and that is an entry and an alarm, once an hour.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import instance, patient, series, study
from ribcage.evidence.audit_event import RoutingChange, RoutingChanged
from ribcage.guard import _jobs, catalogue
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.destinations import Destinations
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Alarm, Attributes, Priors
from ribcage.guard.rejections import shown

_YOUNG_SECONDS, _HOUR_SECONDS = 86_400.0, 3600.0
_LOOKED_AT = 100  # the patient's latest studies
_MOST_YEARS = 150


class Pull(NamedTuple):
    """One rule that holds for what arrived."""

    rule: int
    destination: str
    priors: Priors


class PriorStudies:
    """Queues priors, inside the transaction that makes the new instance durable. On the committer's thread."""

    def __init__(self, core: Core, destinations: Destinations) -> None:
        self._core = core
        self._destinations = destinations
        self._pulled: dict[str, deque[float]] = {}  # when, by who sent the new study
        self._refused: dict[str, float] = {}
        self._alarm = False

    def sound(self, priors: Priors | None) -> bool:
        """Whether a rule may say this."""
        most = self._core.limits.route_priors
        return priors is None or (0 < priors.count <= most and 0 <= priors.years <= _MOST_YEARS)

    def pull(
        self, tx: Transaction, actor: Actor, attributes: Attributes, begun: HeldStudy, pull: Pull
    ) -> None:
        """Queue the priors of a study in which a series begins."""
        new = _New(self._core, tx.connection, attributes, begun)
        try:
            fingerprint = self._destinations.known(pull.destination).fingerprint
        except GuardRefused:
            return
        queued = 0
        for held in new.priors(pull.priors):
            uids = self._fresh(tx.connection, pull.destination, held)
            if not uids:
                continue
            if not self._within_limit(actor):
                self._refuse(tx, actor, pull, fingerprint)
                break
            queued += self._put(tx.connection, pull.destination, held, uids)
        if queued:
            self._note(tx, actor, "priors-queued", pull, fingerprint)

    def took(self) -> None:
        """After the commit, on the guard's loop: a person hears of a sender that pulls too much."""
        if self._alarm:
            self._alarm = False
            self._core.alarms.sound(Alarm("priors-too-many", self._core.clock()))

    def _fresh(self, connection: sa.Connection, title: str, held: HeldStudy) -> list[str]:
        """What of a prior is to be sent (rule 3)."""
        own = f"device:{self._destinations.device_of(title).hex()}"
        query = sa.select(instance.c.uid).where(
            instance.c.study_pk == held.pk, instance.c.source != own, *shown(self._core, None)
        )
        known = _jobs.known(connection, title, held.uid, self._core.clock() - _jobs.PRIOR_SECONDS)
        uids = connection.execute(query.order_by(instance.c.pk)).scalars()
        return [str(uid) for uid in uids if uid not in known]

    def _put(self, connection: sa.Connection, title: str, held: HeldStudy, uids: list[str]) -> bool:
        core, order = self._core, _jobs.Order(title, held.uid, "prior")
        _jobs.forget_failed(connection, order)
        return bool(_jobs.put(connection, core.limits, core.clock(), order, uids))

    def _within_limit(self, actor: Actor) -> bool:
        """Rule 5: count one more, unless there were too many."""
        now, most = self._core.clock(), self._core.limits.priors_per_hour
        pulled = self._pulled.setdefault(actor.source, deque(maxlen=most))
        if len(pulled) == most and pulled[0] > now - _HOUR_SECONDS:
            return False
        pulled.append(now)
        return True

    def _refuse(self, tx: Transaction, actor: Actor, pull: Pull, fingerprint: bytes) -> None:
        now = self._core.clock()
        if self._refused.get(actor.source, 0.0) > now - _HOUR_SECONDS:
            return
        self._refused[actor.source] = now
        self._alarm = True
        self._note(tx, actor, "priors-refused", pull, fingerprint)

    def _note(
        self, tx: Transaction, actor: Actor, change: RoutingChange, pull: Pull, fingerprint: bytes
    ) -> None:
        tx.append(self._core.entry(RoutingChanged(actor.evidence, change, pull.rule, fingerprint)))


class _New:
    """The new study, and what came before it."""

    def __init__(
        self, core: Core, connection: sa.Connection, attributes: Attributes, begun: HeldStudy
    ) -> None:
        self._core = core
        self._connection = connection
        self._modality = _plain(attributes.modality)
        self._body_part = _plain(attributes.body_part_examined)
        self._row = self._rows(study.c.pk == begun.pk).one_or_none()
        self._placeholder = catalogue.patient_token(core, attributes) is None

    def priors(self, wanted: Priors) -> Iterator[HeldStudy]:
        """Rules 1, 2 and 4, the latest first."""
        row, oldest, left = self._row, self._core.clock() - _YOUNG_SECONDS, wanted.count
        if row is None or self._placeholder or float(row["created_at"]) < oldest:
            return
        own = self._open(row)
        birth_date = _birth_date(own, row) if own is not None else ""
        for pk in self._alike(own, self._before(row, wanted), wanted) if own is not None else ():
            other = self._rows(study.c.pk == pk).one()
            held = self._open(other)
            if held is None:
                continue
            said = _birth_date(held, other)
            if not said or not birth_date or said == birth_date:
                left -= 1
                yield held
            if not left:
                return

    def _before(self, row: sa.RowMapping, wanted: Priors) -> list[int]:
        """Studies of the same patient by their dates. A study without a date has no age."""
        date = str(row["study_date"]).strip()
        if len(date) != 8 or not date.isdigit():
            date = time.strftime("%Y%m%d", time.gmtime(self._core.clock()))
        where = [
            study.c.patient_id == row["patient_id"],
            study.c.pk != row["pk"],
            study.c.study_date <= date,
        ]
        if wanted.years:
            where.append(study.c.study_date >= f"{max(int(date[:4]) - wanted.years, 0):04d}{date[4:]}")
        latest = (study.c.study_date.desc(), study.c.study_time.desc(), study.c.pk.desc())
        query = sa.select(study.c.pk).where(*where).order_by(*latest).limit(_LOOKED_AT)
        return [int(pk) for pk in self._connection.execute(query).scalars()]

    def _rows(self, *where: sa.ColumnElement[bool]) -> sa.MappingResult:
        query = catalogue.JOINED.where(patient.c.id_token.is_not(None), *where)
        return self._connection.execute(query).mappings()

    def _open(self, row: sa.RowMapping) -> HeldStudy | None:
        """Rule 4."""
        if self._core.closed.closes(bytes(row["key_id"])):
            return None
        try:
            return catalogue.open_row(self._core, row)
        except GuardRefused:
            return None

    def _alike(self, own: HeldStudy, pks: list[int], wanted: Priors) -> Iterator[int]:
        """Those of the same modality or body part, in what may be shown of them."""
        seen = sa.exists().where(instance.c.series_pk == series.c.pk, *shown(self._core, None))
        query = sa.select(series.c.study_pk, series.c.uid, series.c.modality, series.c.sealed)
        below = dict[int, list[Any]]()
        for row in self._connection.execute(query.where(series.c.study_pk.in_(pks), seen)):
            below.setdefault(int(row.study_pk), []).append(row)
        for pk in pks:
            if self._fits(own, below.get(pk, []), wanted):
                yield pk

    def _fits(self, own: HeldStudy, below: list[Any], wanted: Priors) -> bool:
        same_modality = bool(self._modality) and any(_plain(row.modality) == self._modality for row in below)
        if wanted.same == "modality" or (wanted.same == "both" and not same_modality):
            return same_modality
        if wanted.same == "either" and same_modality:
            return True
        return bool(self._body_part) and any(
            _body_part(own.patient_key, str(row.uid), bytes(row.sealed)) == self._body_part for row in below
        )


def _plain(text: str) -> str:
    return text.strip().upper()


def _birth_date(held: HeldStudy, row: sa.RowMapping) -> str:
    return catalogue.facts_of(held, bytes(row["sealed"])).patient_birth_date.strip()


def _body_part(patient_key: bytes, series_uid: str, sealed: bytes) -> str:
    """As the series has it; "" where its seal does not hold, for what arrives now must be kept all the same."""
    try:
        return _plain(catalogue.open_series(patient_key, series_uid, sealed).body_part_examined)
    except CryptoError:
        return ""
