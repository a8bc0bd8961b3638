"""Routing rules: which new instances are queued for which destination.

Rules, in order:
1. A rule names a registered destination, asked when it is added; one that is removed later ends its jobs, not others.
2. A rule is asked when a new instance is committed, in the transaction that makes it durable: what is acknowledged
   stands in the queue once for each destination, and what is not leaves nothing there. Parked instances and those
   held already are not sent on.
3. All conditions of a rule must hold; text is compared without case and without surrounding spaces.
4. Nothing goes back to the device that it came from.
5. A rule gives no right: `guard.sending`, rule 1. Its row carries the guard's MAC; one that does not hold is ignored
   and named.
6. A change of rules is an entry.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import re
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import route_rule
from ribcage.evidence.audit_event import DeviceActor, RoutingChanged
from ribcage.guard import _jobs
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.destinations import Destinations
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import (
    AddRoute,
    Attributes,
    ListRoutes,
    Noted,
    RemoveRoute,
    RouteAdded,
    RouteConditions,
    RouteItem,
    RouteItems,
)

_ID_BYTES = 16
_MOST_CHARACTERS = 64
_MOST_STARS = 4


class Routing:
    """The rules, in memory, with their durable copy in the database."""

    def __init__(self, core: Core, destinations: Destinations) -> None:
        self._core = core
        self._destinations = destinations
        self._rules: dict[int, dict[str, Any]] = {}
        self._conditions: dict[int, RouteConditions] = {}
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
        self._conditions[number] = msgspec.json.decode(str(held["conditions"]), type=RouteConditions)
        self._rules[number] = held

    # --- what operators do ------------------------------------------------------------------------------

    async def add(self, actor: Actor, request: AddRoute) -> RouteAdded:
        """A new rule. Raises GuardRefused('not_found' | 'invalid' | 'conflict')."""
        core = self._core
        fingerprint = self._destinations.known(request.ae_title).fingerprint
        if not all(_sound(name, value) for name, value in _fields(request.conditions).items()):
            raise GuardRefused("invalid")
        if request.conditions.device:
            core.devices.find(request.conditions.device)
        if sum(not row["removed"] for row in self._rules.values()) >= core.limits.route_rules:
            raise GuardRefused("conflict")

        def write(tx: Transaction) -> int:
            newest = tx.connection.execute(sa.select(sa.func.max(route_rule.c.number))).scalar()
            number = int(newest or 0) + 1
            values = {
                "id": os.urandom(_ID_BYTES),
                "number": number,
                "destination": request.ae_title,
                "conditions": msgspec.json.encode(request.conditions).decode(),
                "removed": 0,
            }
            core.rows.insert(tx.connection, route_rule, values)
            tx.append(core.entry(RoutingChanged(actor.evidence, "rule-added", number, fingerprint)))
            return number

        return RouteAdded(self._refresh(await core.committer.run(write)))

    async def remove(self, actor: Actor, request: RemoveRoute) -> Noted:
        """End one. Raises GuardRefused('not_found')."""
        core, row = self._core, self._rules.get(request.number)
        if row is None or row["removed"]:
            raise GuardRefused("not_found")

        def write(tx: Transaction) -> int:
            core.rows.update(tx.connection, route_rule, row | {"removed": 1})
            tx.append(core.entry(RoutingChanged(actor.evidence, "rule-removed", request.number)))
            return request.number

        self._refresh(await core.committer.run(write))
        return Noted()

    def page(self, _: ListRoutes) -> RouteItems:
        """All that stand, by number."""
        return RouteItems(
            [
                RouteItem(number, str(row["destination"]), self._conditions[number])
                for number, row in sorted(self._rules.items())
                if not row["removed"]
            ]
        )

    def _refresh(self, number: int) -> int:
        with self._core.engine.connect() as connection:
            query = sa.select(route_rule).where(route_rule.c.number == number)
            self._keep(connection.execute(query).mappings().one())
        return number

    # --- at each commit ---------------------------------------------------------------------------------

    def arrived(self, tx: Transaction, actor: Actor, attributes: Attributes) -> None:
        """Queue a new instance where rules say so (rule 2). On the committer's thread."""
        titles = {
            str(row["destination"])
            for number, row in list(self._rules.items())
            if not row["removed"] and _holds(self._conditions[number], actor, attributes)
        }
        for title in sorted(titles):
            device = self._destinations.device_of(title)
            if device and device == actor.identifier:
                continue
            core, uid = self._core, attributes.sop_instance_uid
            order = (title, attributes.study_instance_uid, "rule")
            _jobs.put(tx.connection, core.limits, core.clock(), order, [uid])  # type: ignore[arg-type]  # one of the words


def _fields(conditions: RouteConditions) -> dict[str, str]:
    return {name: getattr(conditions, name) for name in RouteConditions.__struct_fields__}


def _sound(name: str, value: str) -> bool:
    wild = value.count("*") <= _MOST_STARS and name in ("study_description", "station")
    return len(value) <= _MOST_CHARACTERS and value.isprintable() and (wild or "*" not in value)


def _holds(conditions: RouteConditions, actor: Actor, attributes: Attributes) -> bool:
    """Rule 3."""
    title = actor.evidence.ae_title if isinstance(actor.evidence, DeviceActor) else ""
    have = {
        "modality": attributes.modality,
        "calling_ae_title": title,
        "device": actor.device.name if actor.device is not None else "",
        "station": attributes.station_name,
        "study_description": attributes.study_description,
        "sop_class_uid": attributes.sop_class_uid,
        "body_part": attributes.body_part_examined,
    }
    return all(_matches(name, value, have[name]) for name, value in _fields(conditions).items() if value)


def _matches(name: str, wanted: str, value: str) -> bool:
    if name in ("study_description", "station"):
        return _pattern(wanted.strip().upper()).fullmatch(value.strip().upper()) is not None
    return wanted.strip().upper() == value.strip().upper()


@functools.lru_cache(maxsize=512)
def _pattern(wanted: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(wanted.replace("[", "[[]")), re.DOTALL)
