"""Which request is answered by whom. A request without an entry here is refused.

Each function is one topic's literal table. `front_table` is open to every process of our user, `admin_table` to a
connection that proved the passphrase. `tests/system/test_sys_doors.py` holds the reviewed list of both.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from ribcage.evidence.audit_event import AssociationRefused, DeviceActor, StrangerActor
from ribcage.guard import protocol as p
from ribcage.guard.admin import sign_checkpoint
from ribcage.guard.administrators import Act, Administrators, reads, reads_on_thread
from ribcage.guard.care_lists import CareLists
from ribcage.guard.connection import Connection
from ribcage.guard.core import Actor
from ribcage.guard.devices import RIGHTS
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import tls_identity
from ribcage.guard.rooms import Rooms
from ribcage.guard.worklist import Worklist

Handler = Callable[[Connection, Any], Awaitable[p.Response]]
Table = dict[type, Handler]
_NONCE_BYTES = 32
_STOP_SECONDS = 0.05  # so that the answer leaves first


def front_table(rooms: Rooms) -> Table:
    """What every front may ask."""
    return {
        **_doors(rooms),
        **_images(rooms),
        **_senders(rooms),
        **_edges(rooms),
        **_people(rooms),
        **_patients(rooms),
        **_proof_of_operator(rooms),
    }


def admin_table(rooms: Rooms) -> Table:
    """What an operator may ask besides."""
    return {
        **_house(rooms),
        **_rights(rooms),
        **_routing(rooms),
        **_evidence(rooms),
        **_destruction(rooms),
        **_identity(rooms),
        **_witness(rooms),
        **_backup(rooms),
        **_migration(rooms),
        **_research(rooms),
        **_recovery(rooms),
    }


def by_operator(rooms: Rooms, method: Callable[[Actor, Any], Awaitable[p.Response]]) -> Handler:
    """`method(operator, request)` as a handler."""

    async def handler(connection: Connection, request: Any) -> p.Response:
        return await method(rooms.operator(connection), request)

    return handler


def by_principal(rooms: Rooms, method: Callable[[Actor, Any], Awaitable[p.Response]]) -> Handler:
    """`method(actor, request)` for a request that names its principal."""

    async def handler(connection: Connection, request: Any) -> p.Response:
        return await method(rooms.actor(connection, request.principal), request)

    return handler


def by_anyone(method: Callable[[Any], Awaitable[p.Response]]) -> Handler:
    """`method(request)` for a request that carries its own proof, or needs none."""

    async def handler(_: Connection, request: Any) -> p.Response:
        return await method(request)

    return handler


def on_thread(method: Callable[[Any], p.Response]) -> Handler:
    """A blocking `method(request)`, run on a thread."""

    async def handler(_: Connection, request: Any) -> p.Response:
        return await asyncio.to_thread(method, request)

    return handler


# --- fronts ---------------------------------------------------------------------------------------------


def _doors(rooms: Rooms) -> Table:
    core = rooms.core

    async def hello(_: p.Hello) -> p.Response:
        return tls_identity(core)

    async def ping(_: p.Ping) -> p.Response:
        return p.Noted()

    async def readiness(_: p.GetReadiness) -> p.Response:
        core.clock_watch.look()
        states: tuple[tuple[Literal["ledger", "clock", "disk", "witness"], bool], ...] = (
            ("ledger", core.ledger_behind),
            ("clock", bool(core.clock_watch.stepped)),
            ("disk", core.disk.closed),
            ("witness", core.witness.closed),
        )
        closed = [name for name, is_closed in states if is_closed]
        return p.Readiness(closed=closed, configuration=list(core.witness.words))

    async def check_device(request: p.CheckDevice) -> p.Response:
        device = request.device
        title = device.ae_title if request.action == "associate" else None
        try:
            known = core.devices.identify(device.fingerprint, title, core.clock())
        except GuardRefused as refused:
            actor = DeviceActor(device.fingerprint, device.address, device.ae_title)
            listener = {"associate": "dicom", "http": "https", "hl7": "hl7"}[request.action]
            event = AssociationRefused(actor, listener, "unregistered-or-wrong-ae-title")
            index = await core.note(event)
            raise GuardRefused(refused.reason, index) from refused
        await rooms.renewals.used(device, known)
        may = [right for right in RIGHTS if right in known.may]
        charset, overrides = core.devices.charset_of(known.device_id)
        return p.DeviceKnown(known.name, may, charset, overrides)

    async def refusal(request: p.Refusal) -> p.Response:
        reason = request.kind.replace("_", "-")
        actor = StrangerActor(request.address)
        event = AssociationRefused(actor, request.listener, reason, max(request.count, 1))
        await core.note(event)
        return p.Noted()

    return {
        p.Hello: by_anyone(hello),
        p.Ping: by_anyone(ping),
        p.GetReadiness: by_anyone(readiness),
        p.CheckDevice: by_anyone(check_device),
        p.Refusal: by_anyone(refusal),
        p.ReportExposure: by_anyone(rooms.exposure.report),
        p.RenewDevice: by_principal(rooms, rooms.renewals.renew),
        p.GetMetrics: by_principal(rooms, rooms.observation.metrics),
    }


def _images(rooms: Rooms) -> Table:
    worklist = Worklist(rooms.core, rooms.care)

    async def open_(connection: Connection, request: p.Open) -> p.Response:
        return rooms.disclosures.open(rooms.actor(connection, request.principal), request)

    async def check(connection: Connection, request: p.CheckDisclosure) -> p.Response:
        return rooms.disclosures.check(rooms.actor(connection, request.principal), request)

    async def commit(connection: Connection, request: p.Commit) -> p.Response:
        if request.admit is None:
            return await rooms.ingest.commit(request, None)
        actor = rooms.actor(connection, request.admit.principal)
        rooms.edges.check(actor, request.admit.data_set_sha256)
        return await rooms.ingest.commit(request, actor)

    async def admit(actor: Actor, request: p.Admit) -> p.Response:
        rooms.edges.check(actor, request.data_set_sha256)
        return await rooms.ingest.admit(actor, request)

    return {
        p.Derive: by_principal(rooms, rooms.derivations.derive),
        p.Admit: by_principal(rooms, admit),
        p.Commit: commit,
        p.IngestClosed: by_principal(rooms, rooms.ingest.closed),
        p.CheckCommitment: by_principal(rooms, rooms.commitments.check),
        p.ListOwedReports: by_principal(rooms, rooms.commitments.owed),
        p.ReportHeard: by_principal(rooms, rooms.commitments.heard),
        p.Query: by_principal(rooms, rooms.queries.answer),
        p.Disclose: by_principal(rooms, rooms.disclosures.disclose),
        p.Open: open_,
        p.CheckDisclosure: check,
        p.DisclosureClosed: by_anyone(rooms.disclosures.closed),
        p.FindDestination: by_principal(rooms, rooms.destinations.find),
        p.BreakGlass: by_principal(rooms, rooms.glass.ask),
        p.ListElsewhere: by_principal(rooms, rooms.elsewhere.list),
        p.AdmitElsewhere: by_principal(rooms, rooms.elsewhere.admit),
        p.PassedElsewhere: by_principal(rooms, rooms.elsewhere.passed),
        p.TakeCare: by_principal(rooms, rooms.care.take),
        p.AskWorklist: by_principal(rooms, worklist.answer),
        p.ReportStep: by_principal(rooms, worklist.performed),
    }


def _senders(rooms: Rooms) -> Table:
    queue = rooms.queue
    return {
        p.TakeJob: by_anyone(queue.take),
        p.HoldJob: by_anyone(queue.hold),
        p.JobItem: by_anyone(queue.item),
        p.JobOver: by_anyone(queue.over),
        p.QueueMove: by_principal(rooms, queue.move),
        p.TakeReport: by_anyone(rooms.commitments.take),
        p.ReportOver: by_anyone(rooms.commitments.over),
    }


def _edges(rooms: Rooms) -> Table:
    edges = rooms.edges
    return {
        p.OpenEdgeEntry: by_principal(rooms, edges.open),
        p.EdgeEntryOver: by_principal(rooms, edges.over),
        p.EdgeReport: by_principal(rooms, edges.report),
    }


def _people(rooms: Rooms) -> Table:
    accounts, sessions, passkeys = rooms.accounts, rooms.own_sessions, rooms.passkeys
    administrators = Administrators(rooms.core, _acts(rooms))
    return {
        p.LogIn: by_anyone(accounts.log_in),
        p.StepUp: by_anyone(accounts.step_up),
        p.WhoAmI: by_anyone(accounts.who),
        p.LogOut: by_anyone(sessions.log_out),
        p.ListSessions: by_anyone(sessions.page),
        p.EndSessions: by_anyone(sessions.end),
        p.BeginPasskey: by_anyone(passkeys.begin),
        p.BeginPasskeyLogIn: by_anyone(passkeys.begin_log_in),
        p.PasskeyStepUp: by_anyone(passkeys.step_up),
        p.PasskeyLogIn: by_anyone(passkeys.log_in),
        p.AddPasskey: by_anyone(passkeys.add),
        p.ListPasskeys: by_anyone(passkeys.page),
        p.RemovePasskey: by_anyone(passkeys.remove),
        p.MakeRecoveryCodes: by_anyone(passkeys.make_codes),
        p.EnrolFactor: by_anyone(rooms.resets.enrol),
        p.AsAdministrator: by_anyone(administrators.act),
    }


def _patients(rooms: Rooms) -> Table:
    access, listed, passkeys = rooms.patients, rooms.patient_list, rooms.patient_passkeys
    return {
        p.EnterPatient: by_anyone(access.enter),
        p.DescribePatient: by_anyone(access.describe),
        p.LeavePatient: by_anyone(access.leave),
        p.ListPatientEntries: by_anyone(listed.page),
        p.ProvePatientEntry: by_anyone(listed.prove),
        p.ListPatientRights: by_anyone(rooms.patient_rights.page),
        p.PatientObjects: by_anyone(rooms.patient_rights.object),
        p.BeginPatientPasskey: by_anyone(passkeys.begin),
        p.AddPatientPasskey: by_anyone(passkeys.add),
        p.ListPatientPasskeys: by_anyone(passkeys.page),
        p.RemovePatientPasskey: by_anyone(passkeys.remove),
        p.BeginPatientLogIn: by_anyone(passkeys.begin_log_in),
        p.PatientLogIn: by_anyone(passkeys.log_in),
    }


def _proof_of_operator(rooms: Rooms) -> Table:
    provider = rooms.provider

    async def challenge(connection: Connection, _: p.AdminChallenge) -> p.Response:
        connection.nonce = os.urandom(_NONCE_BYTES)
        return p.AdminNonce(nonce=connection.nonce, salt=provider.challenge_salt)

    async def prove(connection: Connection, request: p.AdminProof) -> p.Response:
        nonce, connection.nonce = connection.nonce, b""
        due = hmac.digest(provider.operator_key, nonce, "sha256")
        if not nonce or not hmac.compare_digest(due, request.mac):
            raise GuardRefused("not_authenticated")
        connection.operator = p.Operator(name=request.name)
        return p.Noted()

    return {p.AdminChallenge: challenge, p.AdminProof: prove}


# --- operators ------------------------------------------------------------------------------------------


def _acts(rooms: Rooms) -> dict[type, Act]:
    """What operators do and administrators may do too, with whoever asks as actor."""
    administration, lists = rooms.administration, rooms.lists

    async def add_device(actor: Actor, request: p.AddDevice) -> p.Response:
        answer = await administration.add_device(actor, request)
        rooms.push(tls_identity(rooms.core))
        return answer

    async def suspend_device(actor: Actor, request: p.SuspendDevice) -> p.Response:
        answer = await administration.suspend_device(actor, request)
        rooms.push(tls_identity(rooms.core))
        return answer

    async def suspend_person(actor: Actor, request: p.SuspendPerson) -> p.Response:
        answer = await administration.suspend_person(actor, request)
        if request.suspended:
            rooms.own_sessions.ended(bytes(rooms.core.people.find(request.username)["id"]))
        return answer

    return {
        p.AddPerson: administration.add_person,
        p.SuspendPerson: suspend_person,
        p.InvitePatient: rooms.patients.invite,
        p.ListPersons: reads(lists.persons),
        p.AddDevice: add_device,
        p.SuspendDevice: suspend_device,
        p.ListDevices: reads(lists.devices),
        p.AddGrant: rooms.rights.grant,
        p.RevokeGrant: rooms.rights.revoke,
        p.ListGrants: reads(lists.grants),
        p.GetStatus: reads_on_thread(
            lambda _: msgspec.structs.replace(administration.status(), edges=rooms.edges.seen())
        ),
        p.ParkedPage: reads_on_thread(administration.parked_page),
        p.ListThrottled: reads(rooms.waiting.page),
        p.BreakGlassPage: reads_on_thread(rooms.reviews.page),
        p.ShowBreakGlass: rooms.reviews.show,
        p.AskFactorReset: rooms.resets.ask,
        p.ApproveFactorReset: rooms.resets.approve,
        p.ReviewBreakGlass: rooms.reviews.review,
    }


def _house(rooms: Rooms) -> Table:
    async def stop(_: p.Stop) -> p.Response:
        asyncio.get_running_loop().call_later(_STOP_SECONDS, rooms.stop)
        return p.Noted()

    return {
        p.SetDeviceCharset: by_operator(rooms, rooms.administration.set_device_charset),
        p.DescribeDevice: by_operator(rooms, rooms.administration.describe_device),
        **{kind: by_operator(rooms, act) for kind, act in _acts(rooms).items()},
        p.TrustEdge: by_operator(rooms, rooms.edges.trust),
        p.AddDestination: by_operator(rooms, rooms.destinations.add),
        p.RemoveDestination: by_operator(rooms, rooms.destinations.remove),
        p.ListDestinations: on_thread(lambda _: rooms.destinations.page()),
        p.ShowDestination: on_thread(lambda asked: rooms.destinations.known(asked.ae_title)),
        p.GetHealth: on_thread(rooms.examination.health),
        p.RenewCertificate: by_operator(rooms, rooms.listener.renew),
        p.AcceptClock: by_operator(rooms, rooms.administration.accept_clock),
        p.Stop: by_anyone(stop),
    }


def _rights(rooms: Rooms) -> Table:
    lists = CareLists(rooms.core, rooms.care)
    return {
        p.SetStaffNumber: by_operator(rooms, lists.set_number),
        p.SetShift: by_operator(rooms, lists.set_shift),
        p.EndShift: by_operator(rooms, lists.end_shift),
        p.ListCare: by_operator(rooms, lists.page),
        p.Object: by_operator(rooms, rooms.rights.objection),
        p.EndBreakGlass: by_operator(rooms, rooms.reviews.end),
        p.GetAlarms: by_operator(rooms, rooms.reviews.alarms),
    }


def _routing(rooms: Rooms) -> Table:
    queue = rooms.queue
    return {
        p.SetDestinationRetry: by_operator(rooms, rooms.destinations.set_retry),
        p.QueueStudy: by_operator(rooms, queue.send),
        p.QueuePage: on_thread(queue.page),
        p.ShowJob: on_thread(queue.show),
        p.RetryJob: by_operator(rooms, queue.retry),
        p.DropJob: by_operator(rooms, queue.drop),
        p.ReportPage: on_thread(rooms.commitments.page),
        p.RetryReport: by_operator(rooms, rooms.commitments.retry),
        p.DropReport: by_operator(rooms, rooms.commitments.drop),
        p.AddRoute: by_operator(rooms, rooms.routing.add),
        p.RemoveRoute: by_operator(rooms, rooms.routing.remove),
        p.ListRoutes: on_thread(rooms.routing.page),
    }


def _evidence(rooms: Rooms) -> Table:
    async def verify(actor: Actor, request: p.VerifyRequest) -> p.Response:
        if request.part == "log":
            await sign_checkpoint(rooms.core)
        answer = await asyncio.to_thread(rooms.upkeep.verify, request)
        if answer.cursor < 0 or answer.differences:
            await rooms.upkeep.note(actor, request.part, answer)
        return answer

    return {
        p.AuditPage: by_operator(rooms, rooms.administration.audit_page),
        p.ProveEntry: by_operator(rooms, rooms.administration.prove),
        p.BeginExport: by_operator(rooms, rooms.log_export.begin),
        p.ExportPage: by_operator(rooms, rooms.log_export.page),
        p.VerifyRequest: by_operator(rooms, verify),
    }


def _destruction(rooms: Rooms) -> Table:
    destructions = rooms.destructions
    return {
        p.AskDestruction: by_operator(rooms, destructions.ask),
        p.ApproveDestruction: by_operator(rooms, destructions.approve),
        p.CancelDestruction: by_operator(rooms, destructions.cancel),
        p.RunDestructions: by_operator(rooms, rooms.destroyer.run),
        p.DestructionPage: on_thread(destructions.page),
        p.GetCertificate: on_thread(destructions.certificate),
    }


def _identity(rooms: Rooms) -> Table:
    changes = rooms.identity_changes
    return {
        p.ShowConflict: by_operator(rooms, rooms.conflicts.show),
        p.DiscardConflict: by_operator(rooms, rooms.conflicts.discard),
        p.FileConflict: by_operator(rooms, rooms.conflicts.file),
        p.RejectionPage: on_thread(rooms.rejections.page),
        p.UndoRejection: by_operator(rooms, rooms.rejections.undo),
        p.AskIdentityChange: by_operator(rooms, changes.ask),
        p.ApproveIdentityChange: by_operator(rooms, changes.approve),
        p.CancelIdentityChange: by_operator(rooms, changes.cancel),
        p.IdentityChangePage: on_thread(changes.page),
    }


def _backup(rooms: Rooms) -> Table:
    backups = rooms.backups
    return {
        p.BackupSnapshot: by_operator(rooms, backups.snapshot),
        p.BackupObjects: on_thread(backups.objects),
        p.BackupSeal: by_operator(rooms, backups.seal),
        p.BackupKeys: by_operator(rooms, backups.keys),
    }


def _migration(rooms: Rooms) -> Table:
    return {
        p.MigrationPage: on_thread(rooms.migrations.page),
        p.MigrationSeal: by_operator(rooms, rooms.migrations.seal),
    }


def _research(rooms: Rooms) -> Table:
    room = rooms.research
    projects, releases, names = room.projects, room.releases, room.reidentifications
    return {
        p.SetConsent: by_operator(rooms, room.consents.set),
        p.GetConsent: on_thread(room.consents.show),
        p.AddProject: by_operator(rooms, projects.add),
        p.EndProject: by_operator(rooms, projects.end),
        p.ListProjects: on_thread(projects.page),
        p.BeginRelease: by_operator(rooms, releases.begin),
        p.SealRelease: by_operator(rooms, releases.seal),
        p.EndRelease: by_operator(rooms, releases.end),
        p.AskReidentification: by_operator(rooms, names.ask),
        p.ApproveReidentification: by_operator(rooms, names.approve),
        p.CancelReidentification: by_operator(rooms, names.cancel),
        p.ReidentificationPage: on_thread(names.page),
    }


def _recovery(rooms: Rooms) -> Table:
    recoveries = rooms.recoveries
    return {
        p.MakeRecovery: by_operator(rooms, recoveries.make),
        p.ForgetRecovery: by_operator(rooms, recoveries.forget),
        p.GetRecovery: on_thread(lambda _: recoveries.state()),
    }


def _witness(rooms: Rooms) -> Table:
    return {
        p.TrustWitness: by_operator(rooms, rooms.witness_link.trust),
        p.ForgetWitness: by_operator(rooms, rooms.witness_link.forget),
    }
