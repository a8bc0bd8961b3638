"""Routing rules: which new instances are queued for which destination.

Rules, in order:
1. A rule names a registered destination, asked when it is added; one that is removed later ends its jobs, not others.
2. A rule is asked when a new instance is committed, in the transaction that makes it durable: what is acknowledged
   stands in the queue once for each destination, and what is not leaves nothing there. Parked instances and those
   held already are not sent on. A conflict that is filed is asked about then, as if its sender sent it now; any AE
   title of the sender's holds, since the one it used is not kept.
3. All conditions of a rule must hold; text is compared without case and without surrounding spaces.
4. Nothing goes back to the device that it came from.
5. A rule gives no right: `guard.sending`, rule 1. Its row carries the guard's MAC; one that does not hold is ignored
   and named.
6. A rule may send the patient's earlier studies along (`guard.priors`).
7. A change of rules is an entry.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import instance, route_rule, series
from ribcage.evidence.audit_event import DeviceActor, PersonActor, RoutingChanged
from ribcage.guard import _jobs
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.destinations import Destinations
from ribcage.guard.errors import GuardRefused
from ribcage.guard.priors import PriorStudies, Pull
from ribcage.guard.protocol import (
    AddRoute,
    Attributes,
    ListRoutes,
    Noted,
    Priors,
    RemoveRoute,
    RouteAdded,
    RouteConditions,
    RouteItem,
    RouteItems,
)

_ID_BYTES = 16
_MOST_CHARACTERS = 64
_MOST_STARS = 4
_WILD = ("study_description", "station")


class _Written(RouteConditions, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule as its row has it."""

    priors: Priors | None = None


@dataclass(frozen=True)
class _Rule:
    """One rule: its checked row, and what it says."""

    row: dict[str, Any]
    destination: str
    conditions: RouteConditions
    priors: Priors | None


class Routing:
    """The rules, in memory, with their durable copy in the database."""

    def __init__(self, core: Core, destinations: Destinations) -> None:
        self._core = core
        self._destinations = destinations
        self._priors = PriorStudies(core, destinations)
        self._rules: dict[int, _Rule] = {}  # those that stand
        with core.engine.connect() as connection:
            for row in core.rows.all(connection, route_rule):
                self._keep(row)

    def _keep(self, row: sa.RowMapping) -> None:
        number = int(row["number"])
        self._rules.pop(number, None)
        try:
            held = self._core.rows.check(route_rule, row)
        except RowTampered:
            self._core.findings.append(
                f"routing rule {number} does not carry the guard's MAC: ignored; remove and add it"
            )
            return
        if not held["removed"]:
            written = msgspec.json.decode(str(held["conditions"]), type=_Written)
            conditions = RouteConditions(**_fields(written))
            self._rules[number] = _Rule(held, str(held["destination"]), conditions, written.priors)

    # --- what operators do ------------------------------------------------------------------------------

    async def add(self, actor: Actor, request: AddRoute) -> RouteAdded:
        """A new rule. Raises GuardRefused('not_found' | 'invalid' | 'conflict')."""
        core = self._core
        fingerprint = self._destinations.known(request.ae_title).fingerprint
        if not all(_sound(name, value) for name, value in _fields(request.conditions).items()):
            raise GuardRefused("invalid")
        if not self._priors.sound(request.priors):
            raise GuardRefused("invalid")
        if request.conditions.device:
            core.devices.find(request.conditions.device)
        if len(self._rules) >= core.limits.route_rules:
            raise GuardRefused("conflict")
        written = _Written(**_fields(request.conditions), priors=request.priors)

        def write(tx: Transaction) -> int:
            newest = tx.connection.execute(sa.select(sa.func.max(route_rule.c.number))).scalar()
            number = int(newest or 0) + 1
            values = {
                "id": os.urandom(_ID_BYTES),
                "number": number,
                "destination": request.ae_title,
                "conditions": msgspec.json.encode(written).decode(),
                "removed": 0,
            }
            core.rows.insert(tx.connection, route_rule, values)
            tx.append(core.entry(RoutingChanged(actor.evidence, "rule-added", number, fingerprint)))
            return number

        return RouteAdded(self._refresh(await core.committer.run(write)))

    async def remove(self, actor: Actor, request: RemoveRoute) -> Noted:
        """End one. Raises GuardRefused('not_found')."""
        core, rule = self._core, self._rules.get(request.number)
        if rule is None:
            raise GuardRefused("not_found")

        def write(tx: Transaction) -> int:
            core.rows.update(tx.connection, route_rule, rule.row | {"removed": 1})
            tx.append(core.entry(RoutingChanged(actor.evidence, "rule-removed", request.number)))
            return request.number

        self._refresh(await core.committer.run(write))
        return Noted()

    def page(self, _: ListRoutes) -> RouteItems:
        """All that stand, by number."""
        rules = sorted(self._rules.items())
        return RouteItems([RouteItem(n, each.destination, each.conditions, each.priors) for n, each in rules])

    def _refresh(self, number: int) -> int:
        with self._core.engine.connect() as connection:
            query = sa.select(route_rule).where(route_rule.c.number == number)
            self._keep(connection.execute(query).mappings().one())
        return number

    # --- at each commit ---------------------------------------------------------------------------------

    def arrived(
        self,
        tx: Transaction,
        actor: Actor,
        attributes: Attributes,
        begun: HeldStudy | None = None,
        titles: Sequence[str] = (),
    ) -> None:
        """Queue a new instance where rules say so (rule 2); `begun`: its study, where it begins a series there.

        `titles`: AE titles of its sender, any of which may hold. On the committer's thread.
        """
        rules = list(self._rules.items())
        if not rules:
            return
        facts = _facts(actor, attributes)
        known = [facts | {"calling_ae_title": title.strip().upper()} for title in titles] or [facts]
        met = [
            (n, each)
            for n, each in rules
            if any(_holds(each.conditions, one) for one in known) and self._away(actor, each)
        ]
        for title in sorted({each.destination for _, each in met}):
            core, uid = self._core, attributes.sop_instance_uid
            order = _jobs.Order(title, attributes.study_instance_uid, "rule")
            _jobs.put(tx.connection, core.limits, core.clock(), order, [uid])
        for number, each in met:
            if begun is not None and each.priors is not None:
                pull = Pull(number, each.destination, each.priors)
                self._priors.pull(tx, actor, attributes, begun, pull)

    def filed(
        self, tx: Transaction, row: sa.RowMapping, by: PersonActor, said: Attributes, study: HeldStudy
    ) -> None:
        """Queue a parked instance that was filed as `said` (rule 2) by a person. On the committer's thread."""
        kind, _, identifier = str(row["source"]).partition(":")
        device = self._core.devices.of_id(bytes.fromhex(identifier)) if kind == "device" else None
        known = device.device_id if device is not None else b""
        sender = Actor(kind, known, b"", b"", "", "", by, device)
        titles = sorted(device.ae_titles) if device is not None else []
        began = tx.connection.execute(
            sa.select(sa.func.count())
            .select_from(instance)
            .join(series, series.c.pk == instance.c.series_pk)
            .where(series.c.uid == said.series_instance_uid)
        ).scalar_one()
        self.arrived(tx, sender, said, study if began == 1 else None, titles)

    def _away(self, actor: Actor, rule: _Rule) -> bool:
        """Rule 4."""
        device = self._destinations.device_of(rule.destination)
        return not device or device != actor.identifier

    def took(self) -> None:
        """After the commit of what arrived, on the guard's loop."""
        self._priors.took()


def _fields(conditions: RouteConditions) -> dict[str, str]:
    return {name: getattr(conditions, name) for name in RouteConditions.__struct_fields__}


def _sound(name: str, value: str) -> bool:
    wild = value.count("*") <= _MOST_STARS and name in _WILD
    return len(value) <= _MOST_CHARACTERS and value.isprintable() and (wild or "*" not in value)


def _facts(actor: Actor, attributes: Attributes) -> dict[str, str]:
    """What the conditions of rules are held against, as they compare it."""
    title = actor.evidence.ae_title if isinstance(actor.evidence, DeviceActor) else ""
    told = {
        "modality": attributes.modality,
        "calling_ae_title": title,
        "device": actor.device.name if actor.device is not None else "",
        "station": attributes.station_name,
        "study_description": attributes.study_description,
        "sop_class_uid": attributes.sop_class_uid,
        "body_part": attributes.body_part_examined,
    }
    return {name: value.strip().upper() for name, value in told.items()}


def _holds(conditions: RouteConditions, facts: dict[str, str]) -> bool:
    """Rule 3."""
    return all(_matches(name, value, facts[name]) for name, value in _fields(conditions).items() if value)


def _matches(name: str, wanted: str, fact: str) -> bool:
    wanted = wanted.strip().upper()
    if name in _WILD:
        return _pattern(wanted).fullmatch(fact) is not None
    return wanted == fact


@functools.lru_cache(maxsize=512)
def _pattern(wanted: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(wanted.replace("[", "[[]")), re.DOTALL)
