"""The guard's rooms, built once for one home: what the handlers of `guard.handlers` work with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ribcage.crypto.provider import FileKeyProvider
from ribcage.guard import protocol as p
from ribcage.guard.accounts import Accounts
from ribcage.guard.admin import Administration
from ribcage.guard.administrators import Lists
from ribcage.guard.approvals import Approvals
from ribcage.guard.backup import Backups
from ribcage.guard.break_glass import BreakGlass
from ribcage.guard.care import Care
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.commitment import Commitments
from ribcage.guard.conflicts import Conflicts
from ribcage.guard.connection import Connection
from ribcage.guard.core import Actor, Core
from ribcage.guard.derivation import Derivations
from ribcage.guard.destinations import Destinations
from ribcage.guard.destroyer import Destroyer
from ribcage.guard.destruction import Destructions
from ribcage.guard.disclosure import Disclosures
from ribcage.guard.edges import Edges
from ribcage.guard.elsewhere import Elsewhere
from ribcage.guard.errors import GuardRefused
from ribcage.guard.exposure import Exposure
from ribcage.guard.factor_resets import FactorResets
from ribcage.guard.glass_in_a_fault import GlassInAFault
from ribcage.guard.glass_reviews import GlassReviews
from ribcage.guard.health import Examination
from ribcage.guard.identity_changes import IdentityChanges
from ribcage.guard.ingest import Ingest
from ribcage.guard.listener import ListenerCertificate
from ribcage.guard.log_export import LogExport
from ribcage.guard.maintain import Upkeep
from ribcage.guard.migration import Migrations
from ribcage.guard.observation import Observation
from ribcage.guard.own_sessions import OwnSessions
from ribcage.guard.passkeys import Passkeys
from ribcage.guard.patient_access import PatientAccess
from ribcage.guard.patient_list import PatientList
from ribcage.guard.patient_passkeys import PatientPasskeys
from ribcage.guard.patient_rights import PatientOwnRights
from ribcage.guard.people import SessionMisused
from ribcage.guard.query import Queries
from ribcage.guard.recovery import Recoveries
from ribcage.guard.rejections import Rejections
from ribcage.guard.renewal import Renewals
from ribcage.guard.research import Research, build_research
from ribcage.guard.rights import Rights
from ribcage.guard.routing import Routing
from ribcage.guard.sending import SendingQueue
from ribcage.guard.strangers import Strangers
from ribcage.guard.throttled import Waiting
from ribcage.guard.witness_link import WitnessLink


@dataclass(frozen=True)
class Rooms:
    """Everything a handler may call. `push` sends to every connection, `stop` ends the server."""

    core: Core
    provider: FileKeyProvider
    push: Callable[[p.Response], None]
    stop: Callable[[], None]
    disclosures: Disclosures
    rights: Rights
    derivations: Derivations
    ingest: Ingest
    commitments: Commitments
    queries: Queries
    accounts: Accounts
    own_sessions: OwnSessions
    passkeys: Passkeys
    lists: Lists
    patients: PatientAccess
    patient_list: PatientList
    patient_rights: PatientOwnRights
    patient_passkeys: PatientPasskeys
    administration: Administration
    log_export: LogExport
    upkeep: Upkeep
    strangers: Strangers
    approvals: Approvals
    destructions: Destructions
    destroyer: Destroyer
    backups: Backups
    migrations: Migrations
    recoveries: Recoveries
    witness_link: WitnessLink
    observation: Observation
    examination: Examination
    glass: BreakGlass
    reviews: GlassReviews
    destinations: Destinations
    queue: SendingQueue
    routing: Routing
    listener: ListenerCertificate
    waiting: Waiting
    resets: FactorResets
    identity_changes: IdentityChanges
    conflicts: Conflicts
    rejections: Rejections
    research: Research
    edges: Edges
    elsewhere: Elsewhere
    exposure: Exposure
    renewals: Renewals
    care: Care

    def actor(self, connection: Connection, principal: p.Principal) -> Actor:
        """Who asks. Raises GuardRefused('not_authenticated'), after counting the stranger."""
        try:
            return self.core.actor(principal, operator=connection.operator is not None)
        except SessionMisused:
            raise  # no stranger: `OwnSessions.misused`
        except GuardRefused:
            self.strangers.note(principal)
            raise

    def operator(self, connection: Connection) -> Actor:
        """The operator who proved the passphrase on this connection. Raises GuardRefused."""
        if connection.operator is None:
            raise GuardRefused("not_authenticated")
        return self.core.actor(connection.operator, operator=True)


def build_rooms(
    core: Core, provider: FileKeyProvider, push: Callable[[p.Response], None], stop: Callable[[], None]
) -> Rooms:
    """All rooms of one home."""
    disclosures = Disclosures(core, in_a_fault := GlassInAFault(core), push)
    rights = Rights(core, disclosures.rights_changed)
    derivations, approvals, accounts = Derivations(core), Approvals(core), Accounts(core, push)
    rejections = Rejections(core, approvals, disclosures.identity_changed)
    routing = Routing(core, destinations := Destinations(core))
    ingest, elsewhere = Ingest(core, derivations, routing, rejections), Elsewhere(core)
    closed = _closing(ingest, elsewhere, disclosures)
    destructions = Destructions(core, approvals, closed)
    passkeys, patients = Passkeys(core, accounts), PatientAccess(core, push)
    identity_changes = IdentityChanges(core, approvals, _forgetting(ingest, elsewhere, disclosures))
    return Rooms(
        core=core,
        provider=provider,
        push=push,
        stop=stop,
        disclosures=disclosures,
        rights=rights,
        derivations=derivations,
        ingest=ingest,
        commitments=Commitments(core, ingest, destinations),
        queries=Queries(core, in_a_fault),
        accounts=accounts,
        own_sessions=OwnSessions(core, push, disclosures.rights_changed),
        passkeys=passkeys,
        lists=Lists(core),
        patients=patients,
        patient_list=(patient_list := PatientList(core, patients, push)),
        patient_rights=PatientOwnRights(core, patients, patient_list, rights),
        patient_passkeys=PatientPasskeys(core, patients),
        administration=Administration(core, rights),
        log_export=LogExport(core),
        upkeep=Upkeep(core),
        strangers=Strangers(core),
        approvals=approvals,
        destructions=destructions,
        destroyer=Destroyer(core, rights, destructions, closed),
        backups=Backups(core),
        migrations=Migrations(core),
        recoveries=Recoveries(core, provider),
        witness_link=WitnessLink(core, disclosures.rights_changed),
        observation=Observation(core, lambda: disclosures.live),
        examination=Examination(core),
        glass=BreakGlass(core, rights, accounts, in_a_fault),
        reviews=GlassReviews(core, approvals, disclosures.rights_changed, patient_list.reviewed),
        destinations=destinations,
        queue=SendingQueue(core, destinations),
        routing=routing,
        listener=ListenerCertificate(core, push),
        resets=FactorResets(core, approvals, push, disclosures.rights_changed),
        waiting=Waiting(core, (accounts.throttle, passkeys.throttle)),
        conflicts=Conflicts(core, approvals, routing),
        rejections=rejections,
        research=build_research(core, approvals, rights, disclosures.rights_changed),
        identity_changes=identity_changes, care=Care(core, rights, identity_changes),
        edges=Edges(core), elsewhere=elsewhere, exposure=Exposure(core), renewals=Renewals(core, push),
    )  # fmt: skip


def _closing(ingest: Ingest, elsewhere: Elsewhere, disclosures: Disclosures) -> Callable[[bytes], None]:
    """What is called when a study (key id) was closed for destruction."""

    def closed(key_id: bytes) -> None:
        ingest.forget_study(key_id)
        elsewhere.forget({key_id})
        disclosures.rights_changed()

    return closed


def _forgetting(
    ingest: Ingest, elsewhere: Elsewhere, disclosures: Disclosures
) -> Callable[[Collection[HeldStudy]], None]:
    """What is called when studies got another identity."""

    def changed(studies: Collection[HeldStudy]) -> None:
        for held in studies:
            ingest.forget_study(held.key_id)
        elsewhere.forget({held.key_id for held in studies})
        disclosures.identity_changed({held.uid for held in studies})

    return changed
