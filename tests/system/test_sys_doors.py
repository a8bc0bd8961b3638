"""Every door is on a list: guard handlers, DIMSE services, HTTP routes.

None returns stored data without a receipt.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import os
import time
from pathlib import Path

import pyotp
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from helpers.archive import Archive, Browser, new_archive
from helpers.guard_house import edit, new_house
from helpers.raw_scu import RawAssociation
from ribcage.console.routes import console_routes
from ribcage.dicom import dimse
from ribcage.dicom.negotiation import Offer
from ribcage.dicom.sop_classes import (
    GET_CLASSES,
    MOVE_CLASSES,
    PATIENT_ROOT_FIND,
    STORAGE_COMMITMENT_PUSH,
    STUDY_ROOT_FIND,
    VERIFICATION,
)
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from ribcage.evidence import receipt
from ribcage.guard import handlers
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardRefused
from ribcage.guard.server import GuardServer
from ribcage.oversight.studies import make_study
from ribcage.transfer.dicomweb.app import make_app
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dimse import services
from system.senders import SUCCESS, Instance, instance_of, send

# Handlers whose answer follows from a durable decision: admission, query or disclosure.
# `Derived` names the patient to the front alone, for an object that the masked view made.
WITH_RECEIPT = {
    p.Derive,
    p.Admit,
    p.Commit,
    p.Query,
    p.Disclose,
    p.Open,
    p.OpenEdgeEntry,
    p.ListElsewhere,
    p.AskWorklist,
}
# Reviewed: they return nothing that was stored.
WITHOUT_DATA = {
    p.Hello,  # the listener's own TLS identity
    p.Ping,
    p.GetReadiness,  # words of a closed list
    p.CheckDevice,  # the asker's own rights
    p.Refusal,
    p.ReportExposure,
    p.RenewDevice,  # a certificate for the asker's own key
    p.AdmitElsewhere,
    p.PassedElsewhere,
    p.IngestClosed,
    p.EdgeEntryOver,  # a receipt for what the edge brought itself
    p.EdgeReport,
    p.CheckCommitment,  # one word for each instance the asker sent
    p.ListOwedReports,  # the same words, again
    p.ReportHeard,
    p.TakeReport,  # the same words, for a destination that an operator wrote
    p.ReportOver,
    p.CheckDisclosure,  # one bit of a receipt's own disclosure
    p.DisclosureClosed,
    p.FindDestination,  # an address that an operator wrote, for a device that may retrieve
    p.TakeJob,  # UIDs of one job, the destination that an operator wrote; keys only by `Disclose`
    p.HoldJob,
    p.JobItem,
    p.JobOver,
    p.QueueMove,  # a job's number
    p.BreakGlass,  # a number and a time
    p.TakeCare,  # a code
    p.ReportStep,
    p.LogIn,
    p.StepUp,
    p.LogOut,
    p.WhoAmI,  # the asker's own name and roles
    p.ListSessions,  # the asker's own
    p.EndSessions,
    p.BeginPasskey,  # a challenge, and the asker's own credential ids
    p.BeginPasskeyLogIn,  # a challenge that names nobody
    p.AddPasskey,
    p.PasskeyStepUp,
    p.PasskeyLogIn,
    p.ListPasskeys,  # the asker's own
    p.RemovePasskey,
    p.EnrolFactor,  # a secret made now, for the asker
    p.MakeRecoveryCodes,  # made now, for the asker
    p.AdminChallenge,
    p.AdminProof,
    p.GetMetrics,  # numbers under labels of a closed list
}
# By a patient's own session, or what opens one: entries that concern this patient, and no image.
BY_PATIENTS = {
    p.EnterPatient,
    p.DescribePatient,  # the asker's own
    p.LeavePatient,
    p.ListPatientEntries,
    p.ProvePatientEntry,
    p.ListPatientRights,
    p.PatientObjects,
    p.BeginPatientPasskey,
    p.AddPatientPasskey,
    p.ListPatientPasskeys,
    p.RemovePatientPasskey,
    p.BeginPatientLogIn,  # a challenge that names nobody
    p.PatientLogIn,
}
# What a person may ask as administrator: role and fresh second factor, each call an entry in the person's name.
FOR_ADMINISTRATORS = {
    p.AddPerson,
    p.SuspendPerson,
    p.InvitePatient,  # technologists too; a token for whoever knows the birth date
    p.ListPersons,
    p.AddDevice,
    p.SuspendDevice,
    p.ListDevices,
    p.AddGrant,
    p.RevokeGrant,
    p.ListGrants,
    p.GetStatus,
    p.ParkedPage,
    p.ListThrottled,  # user names and addresses
    p.BreakGlassPage,  # user names, reasons, times
    p.ShowBreakGlass,  # UIDs, a note and a comment, for an officer, an entry each time
    p.ReviewBreakGlass,
    p.AskFactorReset,
    p.ApproveFactorReset,  # a code made now
}
# The one message that carries them.
BY_ADMINISTRATORS = {p.AsAdministrator}
# Behind a proof of the passphrase; counts, hashes, verdicts and pseudonymous entries, never images.
FOR_OPERATORS = FOR_ADMINISTRATORS | {
    p.TrustEdge,  # public keys
    p.SetStaffNumber,
    p.SetShift,
    p.EndShift,
    p.ListCare,  # numbers of patients, visits and staff, as messages wrote them
    p.AddDestination,
    p.RemoveDestination,
    p.ListDestinations,  # addresses and names of devices
    p.ShowDestination,  # an address and a fingerprint
    p.SetDestinationRetry,
    p.QueueStudy,
    p.QueuePage,  # UIDs, AE titles, times
    p.ShowJob,
    p.RetryJob,
    p.DropJob,
    p.ReportPage,  # UIDs of transactions, AE titles, times
    p.RetryReport,
    p.DropReport,
    p.AddRoute,
    p.RemoveRoute,
    p.ListRoutes,  # conditions that operators wrote
    p.Object,
    p.AuditPage,
    p.ProveEntry,
    p.BeginExport,
    p.ExportPage,
    p.GetHealth,  # terms of certificates, names of devices
    p.TrustWitness,  # the log's public key
    p.ForgetWitness,
    p.VerifyRequest,
    p.SetDeviceCharset,
    p.DescribeDevice,
    p.ShowConflict,  # names a patient, to an officer or administrator, with an entry
    p.DiscardConflict,
    p.FileConflict,  # answers UIDs
    p.RejectionPage,  # numbers, codes and states
    p.UndoRejection,
    p.AskIdentityChange,
    p.ApproveIdentityChange,
    p.CancelIdentityChange,
    p.IdentityChangePage,  # numbers, kinds and states
    p.AskDestruction,
    p.ApproveDestruction,
    p.CancelDestruction,
    p.RunDestructions,
    p.DestructionPage,
    p.GetCertificate,  # counts and hashes
    p.EndBreakGlass,
    p.GetAlarms,
    p.BackupSnapshot,  # an encrypted copy, outside the home
    p.BackupObjects,  # locations and sizes of sealed files
    p.BackupSeal,
    p.MigrationPage,  # verdicts about UIDs that the operator names
    p.MigrationSeal,
    p.BackupKeys,  # wraps alone
    p.SetConsent,
    p.GetConsent,  # purposes and times, of a patient that the operator names
    p.AddProject,
    p.EndProject,
    p.ListProjects,  # names, profiles, numbers
    p.BeginRelease,  # a project's key and UIDs, to its officer, with an entry; images only by `Disclose`
    p.SealRelease,  # signatures
    p.EndRelease,
    p.AskReidentification,
    p.ApproveReidentification,  # names a patient, to the second of two persons, with an entry
    p.CancelReidentification,
    p.ReidentificationPage,  # numbers, reasons and states
    p.MakeRecovery,
    p.ForgetRecovery,
    p.GetRecovery,  # numbers and a public key's hash
    p.AcceptClock,
    p.RenewCertificate,  # names and a fingerprint
    p.Stop,
}


def unlisted(server: GuardServer) -> set[type]:
    """Handlers that nobody reviewed."""
    return (set(server._front_table) - WITH_RECEIPT - WITHOUT_DATA - BY_ADMINISTRATORS - BY_PATIENTS) | (
        set(server._admin_table) - FOR_OPERATORS
    )


def test_every_guard_handler_is_reviewed(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            assert unlisted(house.server) == set()
            assert (
                set(house.server._front_table)
                == WITH_RECEIPT | WITHOUT_DATA | BY_ADMINISTRATORS | BY_PATIENTS
            )
            assert set(handlers._acts(house.server._rooms)) == FOR_ADMINISTRATORS
            assert set(house.server._admin_table) == FOR_OPERATORS
            house.server._front_table[p.GetStatus] = house.server._admin_table[p.GetStatus]
            assert unlisted(house.server) == {p.GetStatus}  # a planted handler is found

    asyncio.run(run())


def test_every_request_of_the_protocol_has_a_handler() -> None:
    assert (
        set(p.Request.__args__)
        == WITH_RECEIPT | WITHOUT_DATA | BY_ADMINISTRATORS | BY_PATIENTS | FOR_OPERATORS
    )
    assert set(p.HouseRequest.__args__) == FOR_ADMINISTRATORS


def test_keys_leave_in_four_messages_only() -> None:
    with_keys = {
        kind.__name__
        for kind in p.Response.__args__
        if any(name.endswith("_key") or "private_key" in name for name in kind.__struct_fields__)
    }
    # DeviceAdded carries the pair made for a new device, ReleaseBegun the key of a project's pseudonyms, which opens
    # nothing that is stored; the others name public keys.
    public = {"EntryProof", "ExportBegun", "ReleaseSealed", "Certificate", "EdgeTrusted"}
    assert with_keys == {"Admitted", "EdgeEntryOpened", "TlsIdentity", "DeviceAdded", "ReleaseBegun"} | public
    assert {name for name in p.OpenedObject.__struct_fields__ if name.endswith("_key")} == {
        "header_key",
        "bulk_key",
    }


# Reviewed: a C-FIND is the guard's `Query`, answered under its entry; commitment tells a device about its own.
# OtherCommand for storage commitment alone; C-GET and C-MOVE leave through usage.disclose.
DIMSE = {"CEchoRq", "CStoreRq", "CFindRq", "CGetRq", "CMoveRq", "OtherCommand"}


def test_every_dimse_service_is_reviewed() -> None:
    handled = {
        name
        for name in ("CEchoRq", "CStoreRq", "CFindRq", "CGetRq", "CMoveRq", "OtherCommand")
        if name in vars(services)
    }
    assert handled == DIMSE
    assert not Offer().query
    assert not Offer().retrieve
    assert not Offer().commit


# Every DIMSE service that could ask for stored data, and the class it is proposed under (PS3.4 C.6, J.3).
_ASKING = (dimse.CFindRq, dimse.CGetRq, dimse.CMoveRq)
_ASKING_CLASSES = (
    *(f"1.2.840.10008.5.1.4.1.2.{level}.{service}" for level in (1, 2, 3) for service in (1, 2, 3)),
    "1.2.840.10008.5.1.4.31",  # modality worklist
    "1.2.840.10008.1.20.1",  # storage commitment
)


_ANSWERED_CLASSES = {
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
    STORAGE_COMMITMENT_PUSH,
    *GET_CLASSES,
    *MOVE_CLASSES,
}


def test_no_dimse_service_tells_what_was_stored_under_another_context(tmp_path: Path) -> None:
    one = instance_of(make_study(31, 2).file)
    with new_archive(tmp_path) as archive:
        station = archive.device("ws1", "WS1", "store", "query", "retrieve")
        archive.grant("device:ws1", "department:radiology", "full")
        assert send(archive, station, one) == SUCCESS
        asking = [(each, [EXPLICIT_VR_LITTLE_ENDIAN]) for each in _ASKING_CLASSES]
        proposals = [(VERIFICATION, [EXPLICIT_VR_LITTLE_ENDIAN]), *asking]
        with RawAssociation(
            archive.dicom, proposals, ssl_context=station.context(), calling="WS1"
        ) as association:
            accepted = {each.abstract_syntax for each in association.upper_layer.contexts.values()}
            assert accepted == {VERIFICATION} | _ANSWERED_CLASSES
            key = b"\x08\0\x52\0CS\6\0STUDY \x20\0\x0d\0UI" + len(one.study).to_bytes(2, "little")
            for service in _ASKING:
                more = {"move_destination": "WS1"} if service is dimse.CMoveRq else {}
                request = service(1, VERIFICATION, **more)
                context = association.context_for(VERIFICATION)
                answer = association.call(context, request, (key + one.study.encode(),))
                assert answer.command.status not in (SUCCESS, 0xFF00, 0xFF01)
                assert not answer.data_set


def test_a_front_with_a_forged_receipt_and_a_changed_database_open_nothing(tmp_path: Path) -> None:
    mine, theirs = instance_of(make_study(31, 3).file), instance_of(make_study(31, 4).file)
    with new_archive(tmp_path) as archive:
        modality = archive.device("cr1", "CR1", "store")
        assert [send(archive, modality, each) for each in (mine, theirs)] == [SUCCESS, SUCCESS]
        passwords = {name: added(archive, name) for name in ("wu", "li")}
        archive.grant("person:wu", f"study:{mine.study}", "full")
        archive.grant("person:li", f"study:{theirs.study}", "full")
        wu = log_in(archive, passwords["wu"])
        assert asyncio.run(forged(archive, wu, mine, theirs)) == ["not_permitted"] * 4
        archive.stop()
        assert edit(archive.home, _MOVE, mine=mine.uid, theirs=theirs.uid) == 1
        assert edit(archive.home, "UPDATE person SET roles = 'radiologist' WHERE username = 'li'") == 1
        archive.start()
        wu = log_in(archive, passwords["wu"])
        with pytest.raises(
            http.client.IncompleteRead
        ) as cut:  # the moved image does not open: the answer breaks off
            wu.retrieve(f"studies/{mine.study}")
        assert mine.uid.encode() in cut.value.partial
        assert theirs.uid.encode() not in cut.value.partial
        assert wu.retrieve(f"studies/{theirs.study}").status == 403
        li = log_in(archive, passwords["li"])
        assert not li.cookie
        assert li.retrieve(f"studies/{theirs.study}").status == 401
        places = {each.where for each in archive.verify().differences}
        assert any("person" in each for each in places)
        assert any("instance" in each or "object" in each for each in places), places


# The stranger's image is filed under the permitted study.
_MOVE = """
    UPDATE instance SET (study_pk, series_pk) =
        (SELECT study_pk, series_pk FROM instance WHERE uid = :mine) WHERE uid = :theirs
"""


def added(archive: Archive, name: str) -> p.PersonAdded:
    request = p.AddPerson(username=name, display_name=name, roles=["clinician"])
    return archive.ask(request, p.PersonAdded)


def log_in(archive: Archive, person: p.PersonAdded) -> Browser:
    totp = pyotp.parse_uri(person.totp_uri)
    browser = Browser(archive, totp)
    browser.log_in(str(totp.name), person.password)
    return browser


def _client(browser: Browser) -> bytes:
    return hashlib.sha256(browser.agent.encode()).digest()


async def forged(archive: Archive, wu: Browser, mine: Instance, theirs: Instance) -> list[str]:
    """A front on the guard's socket with a live session: why each of its tries at other keys was refused."""
    front = await GuardClient.connect(archive.home / "run" / "guard.sock")
    try:
        proof = base64.urlsafe_b64decode(wu.cookie.partition("=")[2] + "==")
        session = p.Session(proof, "127.0.0.1", _client(wu))
        ask = p.Disclose(principal=session, channel="dicomweb", study_instance_uid=mine.study)
        good = await front.call(ask, p.Disclosed)
        objects = [each.object_id for each in good.instances]
        assert isinstance(await front.ask(p.Open(good.receipt, session, objects)), p.Opened)
        flipped = bytes((*good.receipt[:60], good.receipt[60] ^ 1, *good.receipt[61:]))
        own = receipt.issue(os.urandom(32), receipt.Receipt(
            "disclose", good.disclosure, bytes(32), bytes(16), "full", "TREAT",
            int(time.time() * 1000), int(time.time() * 1000) + 60_000, 1, bytes(32),
        ))  # fmt: skip
        tries = [
            p.Open(flipped, session, objects),
            p.Open(own, session, objects),
            p.Open(good.receipt, session, [os.urandom(16)]),
            p.Disclose(principal=session, channel="dicomweb", study_instance_uid=theirs.study),
        ]
        reasons = []
        for each in tries:
            with pytest.raises(GuardRefused) as caught:
                await front.ask(each)
            reasons.append(caught.value.reason)
        return reasons
    finally:
        await front.close()


def test_no_call_of_operators_is_open_to_fronts() -> None:
    assert not FOR_OPERATORS & (WITH_RECEIPT | WITHOUT_DATA | BY_ADMINISTRATORS | BY_PATIENTS)


# --- HTTP ---------------------------------------------------------------------------------------------------

_STUDY = "/dicom-web/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
# Answers about stored images: by admission, query or disclosure.
HTTP_WITH_RECEIPT = {
    ("POST", "/edge/entries"),  # a film in, a receipt for it out
    ("POST", "/dicom-web/studies"),
    ("POST", _STUDY),
    ("POST", "/search"),
    *(("GET", f"/dicom-web/{level}") for level in ("studies", "series", "instances")),
    *(("GET", _STUDY + each) for each in ("", "/metadata", "/series", "/instances")),
    *(("GET", _SERIES + each) for each in ("", "/metadata", "/instances")),
    *(("GET", _INSTANCE + each) for each in ("", "/metadata", "/rendered", "/frames/{frames}")),
    *(("GET", each + "/rendered") for each in (_STUDY, _SERIES)),
    ("GET", _INSTANCE + "/frames/{frames}/rendered"),
    ("GET", _INSTANCE + "/bulkdata/{path:path}"),
    *(("GET", each + "/thumbnail") for each in (_STUDY, _SERIES, _INSTANCE, _INSTANCE + "/frames/{frames}")),
    ("GET", "/studies/{study}/download"),
}
# Reviewed: pages without data, and what a session may know of itself.
HTTP_WITHOUT_DATA = {
    ("POST", "/api/device/certificate"),  # a certificate for the asker's own key
    *((method, "/dicom-web/") for method in ("GET", "OPTIONS")),  # the route table itself
    ("POST", "/edge/state"),  # what an edge says of itself
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/"),
    *((method, path) for path in ("/login", "/step-up") for method in ("GET", "POST")),
    ("POST", "/logout"),
    *(("POST", f"/api/{verb}") for verb in ("login", "step-up", "logout", "break-glass")),
    ("GET", "/api/session"),
    ("POST", "/api/step-up/recovery"),
    *(("POST", f"/api/{way}/passkey{step}") for way in ("login", "step-up") for step in ("", "/begin")),
    ("GET", "/api/events"),  # the asker's own assurance, and UIDs of studies it was shown
    *((method, f"/api/{own}") for own in ("passkeys",) for method in ("GET", "POST")),
    *(("POST", f"/api/{act}") for act in ("passkeys/begin", "passkeys/remove", "recovery-codes", "enrol")),
    ("GET", "/api/sessions"),
    *(("POST", f"/api/sessions/{act}") for act in ("end", "end-others")),
}
# By the patient's cookie.
HTTP_BY_PATIENTS = {
    *(("GET", f"/api/patient/{each}") for each in ("session", "passkeys", "disclosures", "rights", "events")),
    ("GET", "/api/patient/proof/{n}"),
    *(("POST", f"/api/patient/{each}") for each in ("enter", "logout", "objection", "passkey")),
    *(("POST", f"/api/patient/passkey/{each}") for each in ("begin", "remove", "login/begin", "login")),
}
# By `AsAdministrator`: persons, devices, grants; no images.
HTTP_BY_ADMINISTRATORS = {
    *(
        ("GET", f"/api/admin/{each}")
        for each in ("persons", "devices", "grants", "status", "parked", "throttled", "break-glass")
    ),
    *(("POST", f"/api/admin/{each}") for each in ("persons", "devices", "grants", "invitations")),
    *(("POST", f"/api/admin/{each}/suspend") for each in ("persons", "devices")),
    ("POST", "/api/admin/grants/revoke"),
    *(("POST", f"/api/admin/break-glass/{each}") for each in ("show", "review")),
    *(("POST", f"/api/admin/persons/{each}") for each in ("reset", "reset-approve")),
}
# The console's files: the same for everybody, from the list that its build wrote.
HTTP_FILES = {
    ("GET", "/viewer/viewer"),
    ("GET", "/viewer/{name:path}"),
    ("GET", "/app/assets/{name:path}"),
    ("GET", "/app/{page:path}"),
    ("GET", "/patient"),
    ("GET", "/NOTICES.txt"),
}


def unlisted_routes(app: Starlette) -> set[tuple[str, str]]:
    """Routes that nobody reviewed."""
    there = {
        (method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods
    }
    assert len(app.routes) == len(there)  # no mount, no socket, no second method
    reviewed = HTTP_WITH_RECEIPT | HTTP_WITHOUT_DATA | HTTP_FILES | HTTP_BY_ADMINISTRATORS | HTTP_BY_PATIENTS
    return there - reviewed


def _nobody() -> None:
    raise AssertionError("no request is made here")


def test_every_http_route_is_reviewed() -> None:
    context = WebContext(way_in=_nobody, way_out=_nobody)
    console = console_routes(context)
    assert {(method, each.route.path) for each in console for method in each.route.methods} == HTTP_FILES
    assert {each.gives for each in console} == {"nothing"}
    app = make_app(context, console)
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
        cookie, stranger.cookie = stranger.cookie, ""
        assert stranger.request("/readyz").body == b"ready\n"
        stranger.cookie = cookie
        for method, template in sorted(HTTP_WITH_RECEIPT):
            if method != "GET":
                continue
            path = template.replace("{path:path}", "7FE00010").format(
                study=one.study, series=one.series, instance=one.uid, frames=1
            )
            answer = doctor.request(path)
            assert answer.status == 200, path
            page = p.AuditPage(start=int(answer.headers["x-ribcage-receipt"]), count=1)
            ((_, entry),) = archive.ask(
                page, p.AuditEntries
            ).entries  # of a viewing: the entry that opened it
            assert "disclosure-allowed" in entry or "query-answered" in entry, path
            refused = stranger.request(path)
            assert refused.status in (204, 403) or refused.body == b"[]", path
            cookie, stranger.cookie = stranger.cookie, ""
            assert stranger.request(path).status == 401, path
            stranger.cookie = cookie
