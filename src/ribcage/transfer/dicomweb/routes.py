"""Every route of the HTTP room, each with what it gives. A reviewed list: a test compares it with the application.

`receipt` routes answer about instances; their handlers go through `capture.admit`, `usage.disclose` or the
guard's `Query`, each of which leaves a durable entry first. `person` routes speak of the asking session alone.
`patient` routes speak of the log's entries that concern the asking patient, by the patient's own cookie. `house`
routes speak of persons, devices and grants to administrators, each call an entry. `nothing` routes hold no data of
the archive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ribcage.guard.errors import GuardError
from ribcage.guard.protocol import GetReadiness, Readiness
from ribcage.transfer.dicomweb.administration import AdministrationResources
from ribcage.transfer.dicomweb.break_glass import BreakGlassResource
from ribcage.transfer.dicomweb.bulk import BulkResources
from ribcage.transfer.dicomweb.capabilities import CapabilitiesResource, Method, method_of
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.edges import EdgeResources
from ribcage.transfer.dicomweb.events import EventResources
from ribcage.transfer.dicomweb.forms import FormResources
from ribcage.transfer.dicomweb.frames import FrameResources
from ribcage.transfer.dicomweb.observe import metrics
from ribcage.transfer.dicomweb.own_factors import OwnFactorResources
from ribcage.transfer.dicomweb.patients import PatientResources
from ribcage.transfer.dicomweb.people import PeopleResources
from ribcage.transfer.dicomweb.places import SERVICE
from ribcage.transfer.dicomweb.rendered import RenderedResources
from ribcage.transfer.dicomweb.renewal import renewal
from ribcage.transfer.dicomweb.retrieve import RetrieveResources
from ribcage.transfer.dicomweb.search import SearchResources
from ribcage.transfer.dicomweb.store import StoreResources

Gives = Literal["receipt", "house", "person", "patient", "nothing"]
Handler = Callable[[Request], Awaitable[Response]]

_ROOT: Final = f"{SERVICE}/"
_TELLING: Final = ("OPTIONS", "GET")
_STUDY: Final = f"{SERVICE}/studies/{{study}}"
_SERIES: Final = f"{_STUDY}/series/{{series}}"
_INSTANCE: Final = f"{_SERIES}/instances/{{instance}}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One reviewed route."""

    route: Route
    gives: Gives
    through: str  # the door or message that leaves the entry; "" where none is due


def routes(context: WebContext) -> list[Entry]:
    """All routes, in order of matching."""
    return [
        *_service(context),
        *_edges(context),
        *_people(context),
        *_own_factors(context),
        *_administration(context),
        *_patients(context),
    ]


def _service(context: WebContext) -> list[Entry]:
    """The DICOMweb service, and what it says of itself."""
    dicom = _dicom(context)
    tell = CapabilitiesResource(methods_of(dicom)).tell
    return [*dicom, *(entry(name, _ROOT, tell, "nothing") for name in _TELLING)]


def methods_of(entries: Iterable[Entry]) -> list[Method]:
    """The methods of the DICOMweb service, as its capabilities tell them."""
    told = [each for each in entries if each.route.path.startswith(_ROOT)]
    dicom = [
        method_of(name, each.route.path, each.through) for each in told for name in each.route.methods or ()
    ]
    return [*dicom, *(method_of(name, _ROOT, "") for name in _TELLING)]


def _dicom(context: WebContext) -> list[Entry]:
    search, store, retrieve = SearchResources(context), StoreResources(context), RetrieveResources(context)
    frames, bulk, rendered = FrameResources(context), BulkResources(context), RenderedResources(context)
    return [
        entry("POST", f"{SERVICE}/studies", store.store, "receipt", "capture.admit"),
        entry("POST", _STUDY, store.store, "receipt", "capture.admit"),
        entry("GET", f"{SERVICE}/studies", search.studies, "receipt", "Query"),
        entry("GET", f"{SERVICE}/series", search.series, "receipt", "Query"),
        entry("GET", f"{SERVICE}/instances", search.instances, "receipt", "Query"),
        entry("GET", f"{_STUDY}/series", search.series, "receipt", "Query"),
        entry("GET", f"{_STUDY}/instances", search.instances, "receipt", "Query"),
        entry("GET", f"{_SERIES}/instances", search.instances, "receipt", "Query"),
        *(
            entry("GET", path + suffix, handler, "receipt", "usage.disclose")
            for path in (_STUDY, _SERIES, _INSTANCE)
            for suffix, handler in (("", retrieve.instances), ("/metadata", retrieve.metadata))
        ),
        entry("GET", f"{_INSTANCE}/frames/{{frames}}", frames.frames, "receipt", "usage.disclose"),
        entry("GET", f"{_INSTANCE}/bulkdata/{{path:path}}", bulk.bulk, "receipt", "usage.disclose"),
        entry("GET", f"{_STUDY}/rendered", rendered.first, "receipt", "usage.disclose"),
        entry("GET", f"{_SERIES}/rendered", rendered.first, "receipt", "usage.disclose"),
        entry("GET", f"{_INSTANCE}/rendered", rendered.instance, "receipt", "usage.disclose"),
        entry("GET", f"{_INSTANCE}/frames/{{frames}}/rendered", rendered.frame, "receipt", "usage.disclose"),
        *(
            entry("GET", f"{path}/thumbnail", rendered.thumbnail, "receipt", "usage.disclose")
            for path in (_STUDY, _SERIES, _INSTANCE, f"{_INSTANCE}/frames/{{frames}}")
        ),
        entry("GET", "/studies/{study}/download", retrieve.download, "receipt", "usage.disclose"),
    ]


def _edges(context: WebContext) -> list[Entry]:
    edges = EdgeResources(context)
    return [
        entry("POST", "/edge/entries", edges.take, "receipt", "capture.admit"),
        entry("POST", "/edge/state", edges.report, "nothing"),
    ]


def _people(context: WebContext) -> list[Entry]:
    people, forms = PeopleResources(context), FormResources(context)
    return [
        entry("POST", "/api/login", people.log_in, "person"),
        entry("POST", "/api/step-up", people.step_up, "person"),
        entry("POST", "/api/step-up/recovery", people.recover, "person"),
        entry("GET", "/api/events", EventResources(context).events, "person"),
        entry("POST", "/api/logout", people.log_out, "person"),
        entry("GET", "/api/session", people.session, "person"),
        entry("POST", "/api/break-glass", BreakGlassResource(context).ask, "person"),
        entry("GET", "/", forms.home, "person"),
        entry("GET", "/login", forms.login_form, "nothing"),
        entry("POST", "/login", forms.log_in, "person"),
        entry("GET", "/step-up", forms.step_up_form, "nothing"),
        entry("POST", "/step-up", forms.step_up, "person"),
        entry("POST", "/logout", forms.log_out, "person"),
        entry("POST", "/search", forms.search, "receipt", "Query"),
        entry("GET", "/healthz", _health, "nothing"),
        entry("GET", "/metrics", metrics(context), "nothing"),
        entry("POST", "/api/device/certificate", renewal(context), "nothing"),
        entry("GET", "/readyz", _readiness(context), "nothing"),
    ]


def _own_factors(context: WebContext) -> list[Entry]:
    own = OwnFactorResources(context)
    return [
        entry("POST", "/api/login/passkey/begin", own.begin_log_in, "nothing"),
        entry("POST", "/api/login/passkey", own.log_in, "person"),
        entry("POST", "/api/step-up/passkey/begin", own.begin_step_up, "person"),
        entry("POST", "/api/step-up/passkey", own.step_up, "person"),
        entry("GET", "/api/passkeys", own.passkeys, "person"),
        entry("POST", "/api/passkeys/begin", own.begin, "person"),
        entry("POST", "/api/passkeys", own.add, "person"),
        entry("POST", "/api/passkeys/remove", own.remove, "person"),
        entry("POST", "/api/recovery-codes", own.make_codes, "person"),
        entry("POST", "/api/enrol", own.enrol, "person"),
        entry("GET", "/api/sessions", own.sessions, "person"),
        entry("POST", "/api/sessions/end", own.end_session, "person"),
        entry("POST", "/api/sessions/end-others", own.end_others, "person"),
    ]


def _administration(context: WebContext) -> list[Entry]:
    house = AdministrationResources(context)
    lists = {
        "persons": house.persons,
        "devices": house.devices,
        "grants": house.grants,
        "status": house.status,
        "parked": house.parked,
        "throttled": house.throttled,
        "break-glass": house.broken_glass,
    }
    acts = {
        "persons": house.add_person,
        "persons/suspend": house.suspend_person,
        "persons/reset": house.ask_reset,
        "persons/reset-approve": house.approve_reset,
        "devices": house.add_device,
        "devices/suspend": house.suspend_device,
        "grants": house.add_grant,
        "grants/revoke": house.revoke_grant,
        "invitations": house.invite,
        "break-glass/show": house.show_glass,
        "break-glass/review": house.review_glass,
    }
    return [
        *(
            entry("GET", f"/api/admin/{name}", each, "house", "AsAdministrator")
            for name, each in lists.items()
        ),
        *(
            entry("POST", f"/api/admin/{name}", each, "house", "AsAdministrator")
            for name, each in acts.items()
        ),
    ]


def _patients(context: WebContext) -> list[Entry]:
    patients = PatientResources(context)
    answers = {
        "session": patients.session,
        "passkeys": patients.passkeys,
        "disclosures": patients.disclosures,
        "proof/{n}": patients.proof,
        "rights": patients.rights,
        "events": patients.events,
    }
    acts = {
        "enter": patients.enter,
        "logout": patients.leave,
        "passkey/begin": patients.begin,
        "passkey": patients.add,
        "passkey/remove": patients.remove,
        "passkey/login/begin": patients.begin_log_in,
        "passkey/login": patients.log_in,
        "objection": patients.object,
    }
    return [
        *(entry("GET", f"/api/patient/{name}", each, "patient") for name, each in answers.items()),
        *(entry("POST", f"/api/patient/{name}", each, "patient") for name, each in acts.items()),
    ]


def entry(method: str, path: str, handler: Handler, gives: Gives, through: str = "") -> Entry:
    """One reviewed route that answers `method` alone."""
    route = Route(path, handler, methods=[method])
    route.methods = {method}  # Starlette adds HEAD to GET: it would disclose without a body
    return Entry(route, gives, through)


def _readiness(context: WebContext) -> Handler:
    async def ready(request: Request) -> Response:
        """GET /readyz: 200, or 503 with what is closed (guard, ledger, clock, disk, witness) and no more."""
        closed: list[str] = []
        try:
            closed.extend((await context.guard().call(GetReadiness(), Readiness)).closed)
        except GuardError:
            closed.append("guard")
        text = f"closed: {' '.join(closed)}\n" if closed else "ready\n"
        return Response(text, 503 if closed else 200, headers={"Content-Type": "text/plain"})

    return ready


async def _health(request: Request) -> Response:
    """GET /healthz: this front answers. No data, no question to the guard."""
    return Response(b"ok\n", headers={"Content-Type": "text/plain"})
