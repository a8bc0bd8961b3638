"""Administrators on the web: the operator's own calls, asked by a person (ARCHITECTURE: one code path for both).

Rules, in order:
1. The calls are those of `HouseRequest` and run in the same rooms as the operator's, with the person as actor.
2. An administrator needs a second factor that is fresh right now; so does an officer, who may read and judge broken
   glass, and a technologist, who may invite patients.
3. Every call is durable with the person's name before its answer: changes by their own entry, lists and refusals by
   `AdministrationUsed`.
4. A device is registered by a CSR alone: no private key passes a front. A second person's password neither.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import grant_note
from ribcage.evidence.audit_event import AdministrationUsed
from ribcage.guard import protocol as p
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.factor_resets import asked_of
from ribcage.ledger.errors import LedgerError

Act = Callable[[Actor, Any], Awaitable[p.Response]]
READING = frozenset(
    {p.ListPersons, p.ListDevices, p.ListGrants, p.GetStatus, p.ParkedPage, p.ListThrottled, p.BreakGlassPage}
)
JUDGING = frozenset({p.ShowBreakGlass, p.ReviewBreakGlass})
INVITING = frozenset({p.InvitePatient})
BY_THEMSELVES = (p.ShowBreakGlass, p.ReviewBreakGlass, p.AskFactorReset, p.ApproveFactorReset)
_GRANTS = 1000
_GRANTS_LOOKED_AT = 20_000
_FRESH = 2


class Administrators:
    """Lets persons make the calls in `acts`."""

    def __init__(self, core: Core, acts: Mapping[type, Act]) -> None:
        self._core = core
        self._acts = acts

    async def act(self, request: p.AsAdministrator) -> p.Response:
        """Check the person, run the operator's call. Raises GuardRefused."""
        actor = self._core.actor(request.session)
        kind = type(request.request)
        try:
            self._check(actor, request.request)
            answer = await self._acts[kind](actor, request.request)
        except GuardRefused as refused:
            index = await self._note(actor, kind, refused.reason.replace("_", "-"))
            raise GuardRefused(refused.reason, index) from refused
        if kind in READING:
            await self._note(actor, kind)
        return answer

    def _check(self, actor: Actor, request: p.HouseRequest) -> None:
        """Rules 2 and 4."""
        roles = actor.visitor.roles if actor.visitor is not None else frozenset()
        also = (("officer", READING | JUDGING), ("technologist", INVITING))
        if "administrator" not in roles and not any(r in roles and type(request) in may for r, may in also):
            raise GuardRefused("not_permitted")
        if actor.visitor is None or actor.visitor.assurance(self._core.clock()) < _FRESH:
            raise GuardRefused("second_factor_needed")
        if isinstance(request, p.AddDevice) and (not request.csr_pem or request.certificate_pem):
            raise GuardRefused("invalid")
        if isinstance(request, p.AddPerson) and request.password:
            raise GuardRefused("invalid")  # made here, shown once
        if isinstance(request, BY_THEMSELVES) and request.by is not None:
            raise GuardRefused("invalid")
        self._core.people.used(actor.visitor, self._core.clock())

    async def _note(self, actor: Actor, kind: type, failure: str = "") -> int:
        words = re.findall("[A-Z][a-z]+", kind.__name__)
        return await self._core.note(AdministrationUsed(actor.evidence, "-".join(words).lower(), failure))


class Lists:
    """What an administrator reads: persons, devices, live grants."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def persons(self) -> p.PersonItems:
        """All persons, by user name, without secrets."""
        people = self._core.people
        return p.PersonItems(
            items=[
                p.PersonItem(
                    username=str(row["username"]),
                    display_name=str(row["display_name"]),
                    roles=str(row["roles"]).split(),
                    department=str(row["department"]),
                    suspended=bool(row["suspended"]),
                    passkeys=len(people.factors.passkeys(bytes(row["id"]))),
                    recovery_codes=people.factors.codes_left(bytes(row["id"])),
                    totp=people.factors.has_totp(bytes(row["id"])),
                    reset_asked_by=self._asked_by(bytes(row["id"])),
                )
                for row in people.all()
            ]
        )

    def _asked_by(self, person_id: bytes) -> str:
        asked = asked_of(self._core, person_id)
        return self._core.people.name_of(asked.by) if asked is not None else ""

    def devices(self) -> p.DeviceItems:
        """All devices, by name."""
        return p.DeviceItems(
            items=[
                p.DeviceItem(
                    name=str(row["name"]),
                    ae_titles=str(row["ae_titles"]).split("\\"),
                    may=str(row["may"]).split(),
                    department=str(row["department"]),
                    fingerprint=bytes(row["fingerprint"]),
                    not_after=float(row["not_after"]),
                    suspended=bool(row["suspended"]),
                    **asdict(self._core.equipment.of(bytes(row["id"]))),
                )
                for row in self._core.devices.all()
            ]
        )

    def grants(self) -> p.GrantItems:
        """Grants in force, newest first, as they were written. Raises GuardRefused('unavailable')."""
        core, now = self._core, self._core.clock()
        query = sa.select(grant_note).order_by(grant_note.c.grant_id.desc()).limit(_GRANTS_LOOKED_AT)
        with core.engine.connect() as connection:
            rows = [(int(row.grant_id), bytes(row.sealed)) for row in connection.execute(query)]
        items: list[p.GrantItem] = []
        for number, sealed in rows:
            try:
                terms = core.ledger.grant(number)
                if terms.revoked or now >= terms.valid_until:
                    continue
                items.append(_grant(core, number, sealed, float(terms.valid_until)))
            except (LedgerError, CryptoError, ValueError, msgspec.ValidationError) as failure:
                raise GuardRefused("unavailable") from failure
            if len(items) == _GRANTS:
                break
        return p.GrantItems(items=items)


def _grant(core: Core, number: int, sealed: bytes, valid_until: float) -> p.GrantItem:
    context = column_context("grant_note", "sealed", number)
    text = json.loads(open_column(core.keyring.service("log"), context, sealed))
    subject, resource, view, purpose, _, *said = text
    cause = str(said[0]) if said else ""
    return p.GrantItem(number, str(subject), str(resource), str(view), str(purpose), valid_until, cause)


def reads(method: Callable[[], p.Response]) -> Act:
    """A blocking list as an act."""

    async def act(_: Actor, request: Any) -> p.Response:
        return method()

    return act


def reads_on_thread(method: Callable[[Any], p.Response]) -> Act:
    """A blocking `method(request)` as an act, run on a thread."""

    async def act(_: Actor, request: Any) -> p.Response:
        return await asyncio.to_thread(method, request)

    return act
