"""A day on the wards: random events with their messages, and a plain model of who may then see whom.

The model knows no HL7 and none of our code: it replays the events in the order in which they happened.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from helpers.his import Writer

STEP_SECONDS = 5.0


@dataclass
class Stay:
    patient: str
    ward: str
    doctors: list[str]
    state: str = "open"
    before: str = ""  # the ward before the last transfer


@dataclass
class Order:
    patient: str
    department: str
    staff: list[str]
    state: str = "open"


@dataclass
class Day:
    """What really happened, and the messages about it. No time of grace: what ends, ends."""

    patients: int
    staff: int
    wards: int
    start: float
    dice: random.Random
    his: Writer = field(default_factory=Writer)
    now: float = 0.0
    stays: dict[str, Stay] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    shifts: dict[str, set[str]] = field(default_factory=dict)  # staff -> wards now
    merged: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = self.start

    # --- the model --------------------------------------------------------------------------------------

    def is_now(self, patient: str) -> str:
        while patient in self.merged:
            patient = self.merged[patient]
        return patient

    def expected(self) -> set[tuple[str, str]]:
        """(staff, patient) for every access that is due."""
        people: dict[str, set[str]] = {}
        for stay in self.stays.values():
            if stay.state == "open":
                who = {s for s, wards in self.shifts.items() if stay.ward in wards}
                people.setdefault(self.is_now(stay.patient), set()).update(who, stay.doctors)
        for order in self.orders.values():
            if order.state == "open":
                who = {s for s, wards in self.shifts.items() if order.department in wards}
                people.setdefault(self.is_now(order.patient), set()).update(who, order.staff)
        everybody = [f"P{n}" for n in range(self.patients)]
        return {(staff, patient) for patient in everybody for staff in people.get(self.is_now(patient), ())}

    # --- what happens -----------------------------------------------------------------------------------

    def begin(self) -> None:
        for number in range(self.staff):
            self._work(f"S{number}")

    def happen(self, count: int) -> None:
        """So many events."""
        what = [self._admit] * 6 + [self._transfer] * 4 + [self._discharge] * 2 + [self._update] * 3
        what += [self._order] * 3 + [self._end_order] * 2 + [self._cancel_admission, self._cancel_transfer]
        what += [self._cancel_discharge, self._shift_change, self._merge]
        for _ in range(count):
            self.dice.choice(what)()

    def delivered(self) -> list[str]:
        """The messages since the last time, some twice and out of order."""
        messages, self.messages = self.messages, []
        messages += self.dice.sample(messages, len(messages) // 4)
        keyed = sorted((at + self.dice.uniform(0, 12), text) for at, text in enumerate(messages))
        return [text for _, text in keyed]

    def _tick(self) -> float:
        self.now += STEP_SECONDS
        return self.now

    def _ward(self) -> str:
        return f"W{self.dice.randrange(self.wards)}"

    def _doctors(self) -> list[str]:
        return [f"S{self.dice.randrange(self.staff)}" for _ in range(self.dice.randrange(3))]

    def _patient(self) -> str:
        return f"P{self.dice.randrange(self.patients)}"

    def _some(self, *states: str) -> str:
        found = [number for number, stay in self.stays.items() if stay.state in states]
        return self.dice.choice(found) if found else ""

    def _tell(self, event: str, number: str, **more: str) -> None:
        stay = self.stays[number]
        text = self.his.adt(
            event, stay.patient, number, self._tick(), ward=stay.ward, staff=stay.doctors, **more
        )
        self.messages.append(text)

    def _work(self, staff: str) -> None:
        wards = {self._ward() for _ in range(self.dice.randrange(1, 3))}
        if self.dice.random() < 0.3:
            wards = {"CT"}
        self.shifts[staff] = wards
        at = self._tick()
        told = [(ward, at - 60, self.start + 86_400) for ward in sorted(wards)]
        self.messages.append(self.his.staff(staff, told, at))

    def _shift_change(self) -> None:
        self._work(f"S{self.dice.randrange(self.staff)}")

    def _admit(self) -> None:
        number = f"V{len(self.stays)}"
        self.stays[number] = Stay(self._patient(), self._ward(), self._doctors())
        self._tell(self.dice.choice(("A01", "A04")), number)

    def _transfer(self) -> None:
        if number := self._some("open"):
            stay = self.stays[number]
            stay.before, stay.ward = stay.ward, self._ward()
            self._tell("A02", number)

    def _cancel_transfer(self) -> None:
        found = [n for n, stay in self.stays.items() if stay.state == "open" and stay.before]
        if found:
            stay = self.stays[number := self.dice.choice(found)]
            stay.ward, stay.before = stay.before, ""
            self._tell("A12", number)

    def _update(self) -> None:
        if number := self._some("open", "over"):
            self.stays[number].doctors = self._doctors()
            self._tell("A08", number)

    def _discharge(self) -> None:
        if number := self._some("open"):
            self.stays[number].state = "over"
            self._tell("A03", number)

    def _cancel_discharge(self) -> None:
        if number := self._some("over"):
            self.stays[number].state = "open"
            self._tell("A13", number)

    def _cancel_admission(self) -> None:
        if number := self._some("open"):
            self.stays[number].state = "cancelled"
            self._tell("A11", number)

    def _order(self) -> None:
        number, reader, by = (
            f"O{len(self.orders)}",
            *(f"S{self.dice.randrange(self.staff)}" for _ in range(2)),
        )
        order = Order(self._patient(), self.dice.choice(("CT", "MR")), [reader, by])
        self.orders[number] = order
        text = self.his.order(
            "NW", order.patient, number, self._tick(), department=order.department, reader=reader, by=by
        )
        self.messages.append(text)

    def _end_order(self) -> None:
        found = [number for number, order in self.orders.items() if order.state == "open"]
        if found:
            order = self.orders[number := self.dice.choice(found)]
            order.state = "over"
            more = self.dice.choice(({"control": "CA"}, {"control": "SC", "status": "CM"}))
            control = more.pop("control")
            self.messages.append(
                self.his.order(
                    control, order.patient, number, self._tick(), department=order.department, **more
                )
            )

    def _merge(self) -> None:
        former, into = self._patient(), self._patient()
        if self.is_now(former) != self.is_now(into) and former not in self.merged and into not in self.merged:
            self.merged[former] = into
            self.messages.append(self.his.merge(former, into, self._tick()))
