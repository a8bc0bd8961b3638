"""Every door is on a list: guard handlers, DIMSE services, HTTP routes.

None returns stored data without a receipt.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from helpers.archive import new_archive
from helpers.guard_house import new_house
from ribcage.dicom.negotiation import Offer
from ribcage.guard import protocol as p
from ribcage.guard.server import GuardServer
from ribcage.oversight.studies import make_study
from ribcage.transfer.dicomweb.app import make_app
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dimse import services
from system.senders import SUCCESS, instance_of, send

# Handlers whose answer follows from a durable decision: admission, query or disclosure.
WITH_RECEIPT = {p.Admit, p.Commit, p.Query, p.Disclose, p.Open}
# Reviewed: they return nothing that was stored.
WITHOUT_DATA = {
    p.Hello,  # the listener's own TLS identity
    p.Ping,
    p.CheckDevice,  # the asker's own rights
    p.Refusal,
    p.IngestClosed,
    p.DisclosureClosed,
    p.LogIn,
    p.StepUp,
    p.LogOut,
    p.WhoAmI,  # the asker's own name and roles
    p.AdminChallenge,
    p.AdminProof,
}
# Behind a proof of the passphrase; counts, hashes, verdicts and pseudonymous entries, never images.
FOR_OPERATORS = {
    p.AddPerson,
    p.SuspendPerson,
    p.AddDevice,
    p.SuspendDevice,
    p.AddGrant,
    p.RevokeGrant,
    p.Object,
    p.AuditPage,
    p.ProveEntry,
    p.GetStatus,
    p.VerifyRequest,
    p.ParkedPage,
    p.Stop,
}


def unlisted(server: GuardServer) -> set[type]:
    """Handlers that nobody reviewed."""
    return (set(server._front_table) - WITH_RECEIPT - WITHOUT_DATA) | (
        set(server._admin_table) - FOR_OPERATORS
    )


def test_every_guard_handler_is_reviewed(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            assert unlisted(house.server) == set()
            assert set(house.server._front_table) == WITH_RECEIPT | WITHOUT_DATA
            assert set(house.server._admin_table) == FOR_OPERATORS
            house.server._front_table[p.GetStatus] = house.server._admin_table[p.GetStatus]
            assert unlisted(house.server) == {p.GetStatus}  # a planted handler is found

    asyncio.run(run())


def test_every_request_of_the_protocol_has_a_handler() -> None:
    assert set(p.Request.__args__) == WITH_RECEIPT | WITHOUT_DATA | FOR_OPERATORS


def test_keys_leave_in_three_messages_only() -> None:
    with_keys = {
        kind.__name__
        for kind in p.Response.__args__
        if any(name.endswith("_key") or "private_key" in name for name in kind.__struct_fields__)
    }
    # DeviceAdded carries the pair made for a new device; EntryProof names a public verifier key.
    assert with_keys == {"Admitted", "TlsIdentity", "DeviceAdded", "EntryProof"}
    assert {name for name in p.OpenedObject.__struct_fields__ if name.endswith("_key")} == {
        "header_key",
        "bulk_key",
    }


def test_dimse_answers_echo_and_store_only() -> None:
    handled = {
        name for name in ("CEchoRq", "CStoreRq", "CFindRq", "CGetRq", "CMoveRq") if name in vars(services)
    }
    assert handled == {"CEchoRq", "CStoreRq"}
    assert not Offer().query
    assert not Offer().retrieve


def test_no_call_of_operators_is_open_to_fronts() -> None:
    assert not FOR_OPERATORS & (WITH_RECEIPT | WITHOUT_DATA)


# --- HTTP ---------------------------------------------------------------------------------------------------

_STUDY = "/dicom-web/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
# Answers about stored images: by admission, query or disclosure.
HTTP_WITH_RECEIPT = {
    ("POST", "/dicom-web/studies"),
    ("POST", _STUDY),
    ("POST", "/search"),
    *(("GET", f"/dicom-web/{level}") for level in ("studies", "series", "instances")),
    *(("GET", _STUDY + each) for each in ("", "/metadata", "/series", "/instances")),
    *(("GET", _SERIES + each) for each in ("", "/metadata", "/instances")),
    *(("GET", _INSTANCE + each) for each in ("", "/metadata")),
    ("GET", "/studies/{study}/download"),
}
# Reviewed: pages without data, and what a session may know of itself.
HTTP_WITHOUT_DATA = {
    ("GET", "/healthz"),
    ("GET", "/"),
    *((method, path) for path in ("/login", "/step-up") for method in ("GET", "POST")),
    ("POST", "/logout"),
    *(("POST", f"/api/{verb}") for verb in ("login", "step-up", "logout")),
    ("GET", "/api/session"),
}


def unlisted_routes(app: Starlette) -> set[tuple[str, str]]:
    """Routes that nobody reviewed."""
    there = {
        (method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods
    }
    assert len(app.routes) == len(there)  # no mount, no socket, no second method
    return there - HTTP_WITH_RECEIPT - HTTP_WITHOUT_DATA


def _nobody() -> None:
    raise AssertionError("no request is made here")


def test_every_http_route_is_reviewed() -> None:
    app = make_app(WebContext(way_in=_nobody, way_out=_nobody))
    assert unlisted_routes(app) == set()
    app.router.routes.append(Route("/planted", lambda _: PlainTextResponse("x"), methods=["PUT"]))
    assert unlisted_routes(app) == {("PUT", "/planted")}


def test_routes_with_data_answer_after_an_entry_and_nobody_else(tmp_path: Path) -> None:
    study = make_study(31, 1)
    one = instance_of(study.file)
    with new_archive(tmp_path) as archive:
        assert send(archive, archive.device("cr1", "CR1", "store"), one) == SUCCESS
        doctor, stranger = archive.person("li", "clinician"), archive.person("wu", "clinician")
        archive.grant("person:li", f"study:{study.study_uid}", "full")
        assert doctor.step_up().status == 200
        for method, template in sorted(HTTP_WITH_RECEIPT):
            if method != "GET":
                continue
            path = template.format(study=one.study, series=one.series, instance=one.uid)
            before = archive.ask(p.GetStatus(), p.Status).log_size
            assert doctor.request(path).status == 200, path
            assert archive.ask(p.GetStatus(), p.Status).log_size > before, path
            refused = stranger.request(path)
            assert refused.status in (204, 403) or refused.body == b"[]", path
            cookie, stranger.cookie = stranger.cookie, ""
            assert stranger.request(path).status == 401, path
            stranger.cookie = cookie
