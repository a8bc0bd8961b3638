"""Who is due to see whom, from what the hospital's system told: relations and shifts in, grants due out.

Rules, in order:
1. A relation has a state and facts, each with the time of the event that set it. A later event wins, whatever order
   messages arrive in; of two at one moment the one further right in `_RANKS`.
2. Facts come from events that carry them; the state from those that open, end or cancel. An update reopens nothing.
3. A visit's relation ends with its discharge and a time of grace, an order's with its report and some days; a
   cancelled one at once. One that nobody ends, ends some days after its last message.
4. Due are the persons whom a relation names, and those on shift on its ward, the latter no longer than the shift.
5. Nobody is due who has no role that treats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import msgspec

from ribcage.guard.limits import GuardLimits
from ribcage.guard.protocol import CareOrder

State = Literal["open", "over", "cancelled"]
HOUR, DAY = 3600.0, 86_400.0
# What an event does to the state; None leaves it.
STATES: Final = MappingProxyType[str, State | None](
    {
        "A01": "open",
        "A02": None,
        "A03": "over",
        "A04": "open",
        "A08": None,
        "A11": "cancelled",
        "A12": None,
        "A13": "open",
        "ordered": "open",
        "changed": None,
        "reported": "over",
        "cancelled": "cancelled",
    }
)
_FACTS: Final = frozenset({"A01", "A02", "A04", "A08", "A12", "A13", "ordered", "changed"})
_RANKS: Final = ("", "A01", "A04", "ordered", "A03", "reported", "A13", "A11", "cancelled")


class Facts(msgspec.Struct, frozen=True):
    """The sealed part of a relation. `number`, `identifier`, `issuer`: as the message wrote them."""

    number: str
    identifier: str
    issuer: str
    places: list[str]
    staff: list[str]
    inpatient: bool
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    order: CareOrder | None = None


class Standing(NamedTuple):
    """The part of a relation's row that events move."""

    state: State
    state_at: float
    state_by: str
    facts_at: float


@dataclass(frozen=True)
class Relation:
    """One relation as the guard remembers it."""

    identifier: bytes
    sort: str
    patient_id: bytes
    standing: Standing
    heard_at: float
    message: int
    facts: Facts


class Shift(NamedTuple):
    """Who works where, when. `ends_at` 0: without end."""

    staff: str
    ward: str
    begins_at: float
    ends_at: float

    def on(self, now: float) -> bool:
        """Whether it is running."""
        return self.begins_at <= now and (not self.ends_at or now < self.ends_at)


class Cause(NamedTuple):
    """Why somebody is due to see a patient, and until when (Unix seconds)."""

    relation: bytes
    message: int
    until: float


Pair = tuple[bytes, bytes]  # person, patient
NOTHING: Final = Standing("open", 0.0, "", 0.0)


def after(held: Standing, event: str, at: float) -> tuple[Standing, bool]:
    """Rules 1 and 2: the standing after an event, and whether its facts count."""
    state, facts = STATES[event], False
    if event in _FACTS and at >= held.facts_at:
        held, facts = held._replace(facts_at=at), True
    if state is not None and (at, _RANKS.index(event)) >= (held.state_at, _RANKS.index(held.state_by)):
        held = held._replace(state=state, state_at=at, state_by=event)
    return held, facts


def ends(relation: Relation, limits: GuardLimits) -> float:
    """Rule 3: when a relation is no ground any more."""
    state, at = relation.standing.state, min(relation.standing.state_at, relation.heard_at)
    if state == "cancelled":
        return 0.0
    visit = relation.sort == "visit"
    days = limits.care_inpatient_days if relation.facts.inpatient else limits.care_outpatient_days
    silent = relation.heard_at + (days if visit else limits.care_order_days) * DAY
    if state == "over":
        grace = limits.care_grace_hours * HOUR if visit else limits.care_report_days * DAY
        return min(at + grace, silent)
    return silent


def due(
    relations: Iterable[Relation],
    shifts: Mapping[str, Iterable[Shift]],
    persons: Mapping[str, bytes],
    limits: GuardLimits,
    now: float,
) -> dict[Pair, list[Cause]]:
    """Rules 4 and 5. `shifts` by ward; `persons` by staff number, those alone who treat."""
    found: dict[Pair, list[Cause]] = {}

    def add(relation: Relation, staff: str, until: float) -> None:
        person = persons.get(staff)
        if person is not None:
            cause = Cause(relation.identifier, relation.message, until)
            found.setdefault((person, relation.patient_id), []).append(cause)

    for relation in relations:
        end = ends(relation, limits)
        if end <= now:
            continue
        for staff in relation.facts.staff:
            add(relation, staff, end)
        for place in relation.facts.places:
            for each in shifts.get(place, ()):
                if each.on(now):
                    add(relation, each.staff, min(end, each.ends_at or end))
    return found


class Held(NamedTuple):
    """A grant that a message made and nothing ended yet."""

    grant_id: int
    relation: bytes
    until: float


class Change(NamedTuple):
    """What is to be done for one pair: a grant to give, or none, and grants to end afterwards."""

    pair: Pair
    give: Cause | None
    end: tuple[int, ...]


def changes(
    wanted: Mapping[Pair, list[Cause]], held: Mapping[Pair, list[Held]], longest: float, now: float
) -> list[Change]:
    """The difference, endings without a successor first. `longest` seconds: then a grant is given anew.

    A grant stays while its own relation still stands for the pair and ends when the grant does.
    """
    found = []
    for pair in held.keys() | wanted.keys():
        causes, grants = wanted.get(pair, []), held.get(pair, [])
        kept = next((each for each in grants if _still(each, causes, longest, now)), None)
        rest = tuple(each.grant_id for each in grants if each is not kept)
        if kept is None and causes:
            best = max(causes, key=lambda each: each.until)
            found.append(Change(pair, best._replace(until=min(best.until, now + longest)), rest))
        elif rest:
            found.append(Change(pair, None, rest))
    return sorted(found, key=lambda each: (each.give is not None, each.pair))


def _still(grant: Held, causes: Iterable[Cause], longest: float, now: float) -> bool:
    untils = [each.until for each in causes if each.relation == grant.relation]
    if not untils or grant.until <= now:
        return False
    until = max(untils)
    lasting = grant.until >= until - 1 or grant.until > now + longest / 2
    return grant.until <= until + 1 and lasting
