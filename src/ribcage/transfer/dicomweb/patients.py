"""A patient's routes as JSON (`/api/patient/…`, `docs/api.md`). Who the patient is says the session, in the guard.

Rules, in order:
1. The patient's cookie alone is read here, and here alone; a token is read from the body alone.
2. Nothing of a request stands in an answer.
"""

from __future__ import annotations

import re
import time
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.proof_file import bundle_of
from ribcage.transfer.dicomweb.bodies import read_json
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest, NotFound, Unauthenticated
from ribcage.transfer.dicomweb.events import opened
from ribcage.transfer.dicomweb.headers import PATIENT_COOKIE
from ribcage.transfer.dicomweb.own_factors import (
    CredentialBody,
    Empty,
    IdBody,
    NewPasskeyBody,
    options,
    passkey,
    read_id,
)
from ribcage.transfer.dicomweb.people import answer_json, language
from ribcage.transfer.dicomweb.principal import (
    client_of,
    dead_cookie,
    peer_of,
    require_patient,
    session_cookie,
)

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,14}")
_BIRTH_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_SESSION_ID: Final = slice(1, 17)
_STANDING: Final = {
    "zh": "异议已生效，正在打开的影像立即关闭。在您撤回之前，为您诊疗的医生也看不到这些影像；"
    "如需就诊请先撤回，或只反对某一位。紧急情况下医生仍可紧急调阅：本页立即提示，列表中标明，并须事后审查。",
    "en": "Your objection is in force; open pictures were closed at once. Until you withdraw it, doctors who treat "
    "you cannot see these films either: withdraw it before a visit, or object to one person only. In an emergency "
    "a doctor can still break the glass: this page tells you at once, your list marks it, and it is reviewed.",
}
_WITHDRAWN: Final = {
    "zh": "异议已撤回。有授权的医生可以再次查看。",
    "en": "Your objection is withdrawn. Doctors with a grant can see the films again.",
}


class EnterBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/patient/enter."""

    token: str
    birth_date: str


class ObjectionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/patient/objection."""

    subject: str
    standing: bool


class PatientResources:
    """Handlers of a patient's routes."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    # --- in and out -------------------------------------------------------------------------------------

    async def enter(self, request: Request) -> Response:
        """POST /api/patient/enter: sets the cookie."""
        body = await read_json(request, self._context.limits, EnterBody)
        written = _BIRTH_DATE.fullmatch(body.birth_date)
        if written is None:
            raise BadRequest("expected birth_date as YYYY-MM-DD")
        asked = p.EnterPatient(
            body.token, "".join(written.groups()), peer_of(request).address, client_of(request)
        )
        return _described(request, await self._context.guard().call(asked, p.PatientState))

    async def session(self, request: Request) -> Response:
        """GET /api/patient/session."""
        asked = p.DescribePatient(require_patient(request))
        return _described(request, await self._context.guard().call(asked, p.PatientState))

    async def leave(self, request: Request) -> Response:
        """POST /api/patient/logout: ends the session and removes the cookie; harmless without one."""
        try:
            await self._context.guard().call(p.LeavePatient(require_patient(request)), p.Noted)
        except Unauthenticated:
            pass
        except GuardRefused as refused:
            if refused.reason != "not_authenticated":
                raise
        return Response(status_code=204, headers={"Set-Cookie": dead_cookie(PATIENT_COOKIE)})

    # --- passkeys ---------------------------------------------------------------------------------------

    async def passkeys(self, request: Request) -> Response:
        """GET /api/patient/passkeys."""
        asked = p.ListPatientPasskeys(require_patient(request))
        answer = await self._context.guard().call(asked, p.PasskeyItems)
        return answer_json({"passkeys": [passkey(each) for each in answer.items]})

    async def begin(self, request: Request) -> Response:
        """POST /api/patient/passkey/begin."""
        session = require_patient(request)
        await read_json(request, self._context.limits, Empty)
        return options(await self._context.guard().call(p.BeginPatientPasskey(session), p.PasskeyOptions))

    async def add(self, request: Request) -> Response:
        """POST /api/patient/passkey."""
        session = require_patient(request)
        body = await read_json(request, self._context.limits, NewPasskeyBody)
        asked = p.AddPatientPasskey(session, body.label, bytes(body.credential).decode())
        return answer_json(passkey(await self._context.guard().call(asked, p.PasskeyItem)))

    async def remove(self, request: Request) -> Response:
        """POST /api/patient/passkey/remove."""
        session = require_patient(request)
        body = await read_json(request, self._context.limits, IdBody)
        await self._context.guard().call(p.RemovePatientPasskey(session, read_id(body.id)), p.Noted)
        return Response(status_code=204)

    async def begin_log_in(self, request: Request) -> Response:
        """POST /api/patient/passkey/login/begin."""
        await read_json(request, self._context.limits, Empty)
        asked = p.BeginPatientLogIn(peer_of(request).address)
        return options(await self._context.guard().call(asked, p.PasskeyOptions))

    async def log_in(self, request: Request) -> Response:
        """POST /api/patient/passkey/login: sets the cookie."""
        body = await read_json(request, self._context.limits, CredentialBody)
        asked = p.PatientLogIn(bytes(body.credential).decode(), peer_of(request).address, client_of(request))
        return _described(request, await self._context.guard().call(asked, p.PatientState))

    # --- who looked -------------------------------------------------------------------------------------

    async def disclosures(self, request: Request) -> Response:
        """GET /api/patient/disclosures."""
        asked = p.ListPatientEntries(
            require_patient(request), _number(request.query_params.get("before", "0"))
        )
        answer = await self._context.guard().call(asked, p.PatientEntries)
        return answer_json(
            {
                "disclosures": [_row(each) for each in answer.items],
                "next": answer.next_before or None,
                "complete": answer.complete,
            }
        )

    async def proof(self, request: Request) -> Response:
        """GET /api/patient/proof/{n}: a file."""
        session = require_patient(request)
        if _NUMBER.fullmatch(request.path_params["n"]) is None:
            raise NotFound("expected the number of an entry")
        index = int(request.path_params["n"])
        proof = await self._context.guard().call(p.ProvePatientEntry(session, index), p.EntryProof)
        bundle = bundle_of(proof)
        name = f'attachment; filename="ribcage-proof-{index}.json"'
        return Response(bundle, headers={"Content-Type": "application/json", "Content-Disposition": name})

    async def events(self, request: Request) -> Response:
        """GET /api/patient/events: as `/api/events`, opened before the guard is asked."""
        hub, session = self._context.events, require_patient(request)
        stream = hub.open(session.proof[_SESSION_ID])
        try:
            state = await self._context.guard().call(p.DescribePatient(session), p.PatientState)
        except BaseException:
            hub.close(session.proof[_SESSION_ID], stream)
            raise
        return opened(self._context, session.proof, stream, state.expires_at)

    # --- and stop it ------------------------------------------------------------------------------------

    async def rights(self, request: Request) -> Response:
        """GET /api/patient/rights."""
        answer = await self._context.guard().call(
            p.ListPatientRights(require_patient(request)), p.PatientRights
        )
        grants = [
            {
                **_somebody(each.who),
                "view": each.view,
                "purpose": each.purpose,
                "valid_until": each.valid_until,
                "of": each.of,
            }
            for each in answer.grants
        ]
        return answer_json({"objections": _objections(answer), "grants": grants})

    async def object(self, request: Request) -> Response:
        """POST /api/patient/objection."""
        session = require_patient(request)
        body = await read_json(request, self._context.limits, ObjectionBody)
        asked = p.PatientObjects(session, body.subject, body.standing)
        answer = await self._context.guard().call(asked, p.PatientRights)
        note = _STANDING if body.standing else _WITHDRAWN
        return answer_json({"objections": _objections(answer), "note": note})


def _described(request: Request, state: p.PatientState) -> Response:
    body = {
        "expires_at": state.expires_at,
        "passkeys": state.passkeys,
        "hospital": state.hospital,
        "language": language(request),
    }
    seconds = int(state.expires_at - time.time())
    return answer_json(body, session_cookie(state.proof, seconds, PATIENT_COOKIE) if state.proof else "")


def _somebody(who: p.Somebody) -> dict[str, object]:
    return {"by": who.by, "label": who.label, "role": who.role, "department": who.department}


def _row(each: p.PatientEntry) -> dict[str, object]:
    end = {"n": each.end_entry, "at": each.end_at, "how": each.end_how, "instances": each.end_instances}
    return {
        "n": each.number,
        "at": each.at,
        "kind": each.kind,
        **_somebody(each.who),
        "purpose": each.purpose,
        "view": each.view,
        "channel": each.channel,
        "study_date": each.study_date,
        "modality": each.modality,
        "break_glass": each.break_glass,
        "instances": each.instances,
        "end": end if each.end_entry >= 0 else None,
        "reason": each.reason,
        "review": each.review,
    }


def _objections(answer: p.PatientRights) -> list[dict[str, object]]:
    return [
        {
            "subject": each.subject,
            "by": each.who.by,
            "role": each.who.role,
            "department": each.who.department,
            "since": each.since,
        }
        for each in answer.objections
    ]


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise BadRequest("expected the number of an entry")
    return int(text)
