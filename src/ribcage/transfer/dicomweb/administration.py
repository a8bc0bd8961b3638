"""An administrator's minimum as JSON (`/api/admin/…`, `docs/api.md`): the operator's calls, asked by a person.

Role and second factor are the guard's decision at each call; nothing is decided here.
"""

from __future__ import annotations

import time
from typing import Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard import protocol as p
from ribcage.transfer.dicomweb.bodies import read_json
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.people import answer_json
from ribcage.transfer.dicomweb.principal import require_session

_Answer = TypeVar("_Answer")
_PARKED = 1000


class NewPersonBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/persons."""

    username: str
    display_name: str
    roles: list[str]
    department: str = ""


class SuspendPersonBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/persons/suspend."""

    username: str
    suspended: bool


class PersonBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/persons/reset and /reset-approve."""

    username: str


class NewDeviceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/devices: by a CSR in PEM."""

    name: str
    ae_titles: list[str]
    may: list[p.DeviceRight]
    csr_pem: str
    department: str = "radiology"


class SuspendDeviceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/devices/suspend."""

    name: str
    suspended: bool


class NewGrantBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/grants."""

    subject: str
    resource: str
    view: p.View
    purpose: p.Purpose = "TREAT"
    valid_from: float = 0.0
    valid_until: float = 0.0


class GrantBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/grants/revoke."""

    grant_id: int


class InvitationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/invitations."""

    patient: str
    days: int = 7


class GlassBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/break-glass/show."""

    number: int


class ReviewBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/admin/break-glass/review."""

    number: int
    verdict: Literal["justified", "unjustified"]
    comment: str = ""


class AdministrationResources:
    """Handlers of the administrator's routes."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def _ask(self, session: p.Session, request: p.HouseRequest, expected: type[_Answer]) -> _Answer:
        return await self._context.guard().call(p.AsAdministrator(session, request), expected)

    async def persons(self, request: Request) -> Response:
        """GET /api/admin/persons."""
        answer = await self._ask(require_session(request), p.ListPersons(), p.PersonItems)
        return answer_json({"persons": [_plain(each) for each in answer.items]})

    async def add_person(self, request: Request) -> Response:
        """POST /api/admin/persons: password and second factor, shown once."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, NewPersonBody)
        asked = p.AddPerson(body.username, body.display_name, body.roles, "", body.department)
        answer = await self._ask(session, asked, p.PersonAdded)
        return answer_json({"password": answer.password, "totp_uri": answer.totp_uri})

    async def suspend_person(self, request: Request) -> Response:
        """POST /api/admin/persons/suspend."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, SuspendPersonBody)
        await self._ask(session, p.SuspendPerson(body.username, body.suspended), p.Noted)
        return Response(status_code=204)

    async def ask_reset(self, request: Request) -> Response:
        """POST /api/admin/persons/reset: the first administrator."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, PersonBody)
        await self._ask(session, p.AskFactorReset(body.username), p.Noted)
        return Response(status_code=204)

    async def approve_reset(self, request: Request) -> Response:
        """POST /api/admin/persons/reset-approve: another one; a code, shown once."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, PersonBody)
        answer = await self._ask(session, p.ApproveFactorReset(body.username), p.FactorResetCode)
        return answer_json(_plain(answer))

    async def devices(self, request: Request) -> Response:
        """GET /api/admin/devices."""
        answer = await self._ask(require_session(request), p.ListDevices(), p.DeviceItems)
        return answer_json(
            {"devices": [_plain(each) | {"fingerprint": each.fingerprint.hex()} for each in answer.items]}
        )

    async def add_device(self, request: Request) -> Response:
        """POST /api/admin/devices."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, NewDeviceBody)
        asked = p.AddDevice(
            body.name, body.ae_titles, body.may, body.department, csr_pem=body.csr_pem.encode()
        )
        answer = await self._ask(session, asked, p.DeviceAdded)
        return answer_json(
            {
                "fingerprint": answer.fingerprint.hex(),
                "certificate_pem": answer.certificate_pem.decode(),
                "authority_pem": answer.authority_pem.decode(),
            }
        )

    async def suspend_device(self, request: Request) -> Response:
        """POST /api/admin/devices/suspend."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, SuspendDeviceBody)
        await self._ask(session, p.SuspendDevice(body.name, body.suspended), p.Noted)
        return Response(status_code=204)

    async def grants(self, request: Request) -> Response:
        """GET /api/admin/grants: those in force."""
        answer = await self._ask(require_session(request), p.ListGrants(), p.GrantItems)
        return answer_json({"grants": [_plain(each) for each in answer.items]})

    async def add_grant(self, request: Request) -> Response:
        """POST /api/admin/grants."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, NewGrantBody)
        asked = p.AddGrant(
            body.subject, body.resource, body.view, body.purpose, body.valid_from, body.valid_until
        )
        answer = await self._ask(session, asked, p.GrantAdded)
        return answer_json({"grant_id": answer.grant_id})

    async def revoke_grant(self, request: Request) -> Response:
        """POST /api/admin/grants/revoke."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, GrantBody)
        await self._ask(session, p.RevokeGrant(body.grant_id), p.Noted)
        return Response(status_code=204)

    async def invite(self, request: Request) -> Response:
        """POST /api/admin/invitations: a token for the fragment of a link, shown once."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, InvitationBody)
        answer = await self._ask(session, p.InvitePatient(body.patient, body.days), p.PatientInvited)
        path = f"/patient#{answer.token}"
        return answer_json({"token": answer.token, "path": path, "expires_at": answer.expires_at})

    async def throttled(self, request: Request) -> Response:
        """GET /api/admin/throttled: who must wait."""
        answer = await self._ask(require_session(request), p.ListThrottled(), p.ThrottledItems)
        return answer_json({"throttled": [_plain(each) for each in answer.items]})

    async def broken_glass(self, request: Request) -> Response:
        """GET /api/admin/break-glass: those without a verdict first."""
        answer = await self._ask(require_session(request), p.BreakGlassPage(newest=True), p.BreakGlassItems)
        return answer_json({"accesses": [_access(each) for each in answer.items]})

    async def show_glass(self, request: Request) -> Response:
        """POST /api/admin/break-glass/show: what it was about, an entry of the log."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, GlassBody)
        answer = await self._ask(session, p.ShowBreakGlass(body.number), p.BreakGlassShown)
        return answer_json(_plain(answer))

    async def review_glass(self, request: Request) -> Response:
        """POST /api/admin/break-glass/review: the verdict, said once."""
        session = require_session(request)
        body = await read_json(request, self._context.limits, ReviewBody)
        asked = p.ReviewBreakGlass(body.number, body.verdict, comment=body.comment)
        return answer_json(_access(await self._ask(session, asked, p.BreakGlassItem)))

    async def status(self, request: Request) -> Response:
        """GET /api/admin/status: as `ribcage status`."""
        return answer_json(_plain(await self._ask(require_session(request), p.GetStatus(), p.Status)))

    async def parked(self, request: Request) -> Response:
        """GET /api/admin/parked."""
        asked = p.ParkedPage(start=0, count=_PARKED)
        answer = await self._ask(require_session(request), asked, p.ParkedItems)
        return answer_json({"parked": [_plain(each) for each in answer.items]})


def _access(item: p.BreakGlassItem) -> dict[str, object]:
    late = not item.verdict and time.time() >= item.due_at
    return _plain(item) | {"overdue": late}


def _plain(item: msgspec.Struct) -> dict[str, object]:
    """A message's fields as JSON has them; bytes are written by the caller."""
    fields = msgspec.structs.asdict(item)
    return {
        name: msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value
        for name, value in fields.items()
        if not isinstance(value, bytes)
    }
