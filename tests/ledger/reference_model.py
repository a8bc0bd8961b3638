"""The access rules in plain Python, written from DESIGN rule 5 and not from the contract."""

from __future__ import annotations

from dataclasses import dataclass, field

from ribcage.ledger import Purpose, Reason, View


class Refused(Exception):
    """The change is not allowed; the first argument is the reason the contract must give."""


@dataclass
class Grant:
    subject: bytes
    resource: bytes
    purpose: Purpose
    view: View
    begin: int
    end: int
    revoked: bool = False

    def living(self, now: int) -> bool:
        return not self.revoked and self.begin <= now < self.end


@dataclass
class Model:
    grants: dict[int, Grant] = field(default_factory=dict)
    suspended: set[bytes] = field(default_factory=set)
    blocked: set[bytes] = field(default_factory=set)
    destroyed: set[bytes] = field(default_factory=set)
    objections: set[tuple[bytes, bytes]] = field(default_factory=set)
    needs_consent: set[Purpose] = field(default_factory=lambda: {Purpose.HRESCH})
    consents: dict[tuple[bytes, Purpose], bool] = field(default_factory=dict)

    def add_grant(self, grant: Grant, now: int) -> int:
        if grant.begin >= grant.end:
            raise Refused("grant ends before it begins")
        if grant.end <= now:
            raise Refused("grant is already over")
        if grant.resource in self.destroyed:
            raise Refused("resource is destroyed")
        key = (grant.subject, grant.resource, grant.purpose)
        same = [g for g in self.grants.values() if (g.subject, g.resource, g.purpose) == key]
        if sum(not g.revoked and now < g.end for g in same) >= 8:
            raise Refused("slot is full: revoke a grant first")
        number = len(self.grants) + 1
        self.grants[number] = grant
        return number

    def revoke(self, number: int) -> None:
        if number not in self.grants:
            raise Refused("no such grant")
        if self.grants[number].revoked:
            raise Refused("grant is revoked")
        self.grants[number].revoked = True

    def tombstone(self, resource: bytes) -> None:
        if resource in self.destroyed:
            raise Refused("resource is destroyed")
        self.destroyed.add(resource)

    def check(self, subject: bytes, resources: list[bytes], purpose: Purpose, now: int):
        denial = self._denial(subject, resources, purpose)
        if denial is not None:
            return View.NONE, denial, 0
        fitting = [
            (-g.view, number)
            for number, g in self.grants.items()
            if g.subject == subject and g.resource in resources and g.purpose == purpose and g.living(now)
        ]
        if not fitting:
            return View.NONE, Reason.NO_GRANT, 0
        view, number = min(fitting)
        return View(-view), Reason.GRANTED, number

    def _denial(self, subject: bytes, resources: list[bytes], purpose: Purpose) -> Reason | None:
        if subject in self.suspended:
            return Reason.SUSPENDED
        if self.destroyed & set(resources):
            return Reason.RESOURCE_DESTROYED
        if self.blocked & set(resources):
            return Reason.LEGAL_BLOCK
        if any((r, s) in self.objections for r in resources for s in (subject, bytes(32))):
            return Reason.OBJECTION
        if purpose not in self.needs_consent:
            return None
        answers = {self.consents.get((r, purpose)) for r in resources}
        if False in answers:
            return Reason.CONSENT_WITHDRAWN
        return None if True in answers else Reason.CONSENT_MISSING
