"""A guard in memory for the HTTP front: people, devices, instances, and a record of everything it was asked."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from ribcage.guard.errors import GuardRefused, GuardUnavailable, ProtocolFailure
from ribcage.guard.protocol import (
    Admit,
    Admitted,
    AlreadyHeld,
    CheckDisclosure,
    Commit,
    Committed,
    Device,
    Disclose,
    Disclosed,
    DisclosureChecked,
    DisclosureClosed,
    IngestClosed,
    IngestNoted,
    InstanceRef,
    LoggedIn,
    LogIn,
    LogOut,
    Noted,
    Open,
    Opened,
    OpenedObject,
    Person,
    Principal,
    Query,
    QueryAnswer,
    Record,
    RefusalReason,
    Request,
    Response,
    Session,
    StepUp,
    WhoAmI,
)

HOSPITAL = bytes(16)


@dataclass
class _Held:
    admit: Admit
    admitted: Admitted
    commit: Commit | None = None


@dataclass
class FakeGuard:
    """Implements `ribcage.storage.ports.Guard`; `refuse` maps a message class name to a reason."""

    devices: set[bytes] = field(default_factory=set)
    password: str = "a long pass phrase"
    code: str = "123456"
    view: str = "full"
    gone: bool = False
    refuse: dict[str, RefusalReason] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    expires_in: float = 900.0

    def __post_init__(self) -> None:
        self.held: dict[bytes, _Held] = {}
        self.sessions: dict[bytes, int] = {}
        self.disclosures: dict[bytes, list[_Held]] = {}
        self.disclosed: dict[bytes, tuple[str, str]] = {}  # view and study

    # --- for tests ---------------------------------------------------------------------------------------

    def of(self, kind: type) -> list:
        """Every message of this class, in order."""
        return [message for message in self.asked if isinstance(message, kind)]

    def new_session(self, assurance: int = 2) -> bytes:
        proof = os.urandom(48)
        self.sessions[proof] = assurance
        return proof

    def committed(self) -> list[_Held]:
        return [held for held in self.held.values() if held.commit is not None]

    # --- the guard's interface ---------------------------------------------------------------------------

    async def call(self, request, expected):
        answer = await self.ask(request)
        if not isinstance(answer, expected):
            raise ProtocolFailure("another answer")
        return answer

    async def ask(self, request: Request) -> Response:
        self.asked.append(request)
        if self.gone:
            raise GuardUnavailable("gone")
        reason = self.refuse.get(type(request).__name__)
        if reason is not None:
            raise GuardRefused(reason, len(self.asked))
        return getattr(self, f"_on_{type(request).__name__.lower()}")(request)

    def _check(self, principal: Principal) -> None:
        known = (isinstance(principal, Device) and principal.fingerprint in self.devices) or (
            isinstance(principal, Session) and principal.proof in self.sessions
        )
        if not known:
            raise GuardRefused("not_authenticated", len(self.asked))

    def _on_admit(self, request: Admit) -> Response:
        self._check(request.principal)
        for held in self.committed():
            if held.admit.attributes.sop_instance_uid == request.attributes.sop_instance_uid:
                return AlreadyHeld()
        admission = os.urandom(16)
        admitted = Admitted(
            admission=admission, object_id=os.urandom(16), key_id=os.urandom(16), epoch=1, hospital=HOSPITAL,
            header_key=os.urandom(32), bulk_key=os.urandom(32), algorithm=1,
        )  # fmt: skip
        self.held[admission] = _Held(request, admitted)
        return admitted

    def _on_commit(self, request: Commit) -> Response:
        self.held[request.admission].commit = request
        return Committed(log_index=len(self.asked), parked=False)

    def _on_ingestclosed(self, request: IngestClosed) -> Response:
        return IngestNoted(b"promise")

    def _on_query(self, request: Query) -> Response:
        self._check(request.principal)
        records = []
        for held in self.committed():
            found = held.admit.attributes
            values: dict[str, str | int | list[str]] = {
                "StudyInstanceUID": found.study_instance_uid, "SeriesInstanceUID": found.series_instance_uid,
                "SOPInstanceUID": found.sop_instance_uid, "SOPClassUID": found.sop_class_uid,
                "PatientName": found.patient_name, "PatientID": found.patient_id, "StudyDate": found.study_date,
                "StudyDescription": found.study_description, "ModalitiesInStudy": [found.modality],
                "Modality": found.modality, "Rows": found.rows, "NumberOfStudyRelatedInstances": 1,
                "InstanceNumber": found.instance_number,
            }  # fmt: skip
            if all(str(values.get(name)) == wanted for name, wanted in request.filters.items()):
                records.append(Record(view=self.view, attributes=values))
        page = records[request.offset : request.offset + request.limit]
        more = request.offset + len(page) < len(records)
        return QueryAnswer(records=page, more=more, log_index=len(self.asked))

    def _on_disclose(self, request: Disclose) -> Response:
        self._check(request.principal)
        found = [
            held
            for held in self.committed()
            if held.admit.attributes.study_instance_uid == request.study_instance_uid
            and request.series_instance_uid in ("", held.admit.attributes.series_instance_uid)
            and request.sop_instance_uid in ("", held.admit.attributes.sop_instance_uid)
        ]
        if not found:
            raise GuardRefused("not_found", len(self.asked))
        receipt = os.urandom(32)
        self.disclosures[receipt] = found
        self.disclosed[receipt] = (self.view, request.study_instance_uid)
        return Disclosed(
            disclosure=os.urandom(16), receipt=receipt, view=self.view, purpose=request.purpose,
            expires_at=time.time() + self.expires_in, log_index=len(self.asked), decided_microseconds=10.0,
            instances=[_ref(held) for held in found],
        )  # fmt: skip

    def _on_open(self, request: Open) -> Response:
        self._check(request.principal)
        by_id = {held.admitted.object_id: held for held in self.disclosures[request.receipt]}
        return Opened(objects=[_opened(by_id[object_id]) for object_id in request.object_ids])

    def _on_checkdisclosure(self, request: CheckDisclosure) -> Response:
        self._check(request.principal)
        if request.receipt not in self.disclosures:
            raise GuardRefused("not_permitted", len(self.asked))
        view, found = self.disclosed[request.receipt]
        now = [held for held in self.committed() if held.admit.attributes.study_instance_uid == found]
        return DisclosureChecked(view == self.view and len(now) == len(self.disclosures[request.receipt]))

    def _on_disclosureclosed(self, request: DisclosureClosed) -> Response:
        return Noted()

    def _on_login(self, request: LogIn) -> Response:
        if request.password != self.password:
            raise GuardRefused("not_authenticated", len(self.asked))
        return LoggedIn(proof=self.new_session(1), expires_at=time.time() + 900)

    def _on_stepup(self, request: StepUp) -> Response:
        self._check(request.session)
        if request.code != self.code:
            raise GuardRefused("not_permitted", len(self.asked))
        self.sessions[request.session.proof] = 2
        return self._on_whoami(WhoAmI(request.session))

    def _on_logout(self, request: LogOut) -> Response:
        self._check(request.session)
        del self.sessions[request.session.proof]
        return Noted()

    def _on_whoami(self, request: WhoAmI) -> Response:
        self._check(request.session)
        assurance = self.sessions[request.session.proof]
        return Person(
            username="reader", display_name="Reader <One>", roles=["radiologist"], assurance=assurance,
            second_factor_until=0.0, expires_at=time.time() + 900,
        )  # fmt: skip


def _ref(held: _Held) -> InstanceRef:
    found = held.admit.attributes
    return InstanceRef(
        object_id=held.admitted.object_id, sop_class_uid=found.sop_class_uid,
        sop_instance_uid=found.sop_instance_uid, series_instance_uid=found.series_instance_uid,
        transfer_syntax_uid=held.admit.transfer_syntax_uid, data_set_bytes=held.admit.data_set_bytes,
        prefix_bytes=held.commit.prefix_bytes,
    )  # fmt: skip


def _opened(held: _Held) -> OpenedObject:
    admitted, commit, found = held.admitted, held.commit, held.admit.attributes
    return OpenedObject(
        object_id=admitted.object_id, location=commit.location, header_key=admitted.header_key,
        bulk_key=admitted.bulk_key, algorithm=admitted.algorithm, key_id=admitted.key_id, epoch=admitted.epoch,
        hospital=admitted.hospital, header_plain_bytes=commit.header_plain_bytes,
        bulk_plain_bytes=commit.bulk_plain_bytes, header_sealed_bytes=commit.header_sealed_bytes,
        bulk_sealed_bytes=commit.bulk_sealed_bytes, prefix_bytes=commit.prefix_bytes,
        data_set_sha256=held.admit.data_set_sha256, sop_class_uid=found.sop_class_uid,
        sop_instance_uid=found.sop_instance_uid, transfer_syntax_uid=held.admit.transfer_syntax_uid,
    )  # fmt: skip
