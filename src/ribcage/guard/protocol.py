"""Messages between the guard and everybody else.

One frame is `uint32 big-endian length ‖ msgpack`. A frame carries `Call(id, body)` towards the guard and
`Answer(id, body)` back; `Answer.id == 0` is unsolicited (`Revoked`, `Told`). Bodies are tagged unions, decoded
strictly by msgspec: an unknown field, tag or type is `ProtocolFailure` and ends the connection.

Rules, in order:
1. A key leaves only in `Admitted`, `Opened`, `EdgeEntryOpened` or `TlsIdentity`, each after its durable entry; so
   does that of a research project's pseudonyms, which opens nothing, in `ReleaseBegun`.
2. A front states what it saw (fingerprint, address, AE title); the guard decides what it means.
3. Answers to refused calls are `Refused` with a closed reason; they never say what exists.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_REFERENCES = 20_000  # distinct UIDs in one `Derive`

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
# What a person may save about a study: reports and measurements, key objects, segmentations, presentation states.
SAVED_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        KEY_OBJECT_SELECTION,
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
        "1.2.840.10008.5.1.4.1.1.11.2",  # Color Softcopy Presentation State
    }
)

View = Literal["none", "masked", "full", "original"]
Purpose = Literal["TREAT", "ETREAT", "HRESCH", "HOPERAT", "PATRQT"]
Notice = Literal["recovery_code_used", "few_recovery_codes"]
Channel = Literal["dimse", "dicomweb", "import", "cli", "edge", "release"]
RefusalReason = Literal[
    "not_authenticated",  # no valid session, unregistered or suspended certificate
    "not_permitted",  # authenticated, but neither grant nor role allows it
    "second_factor_needed",  # a grant would allow it after a step-up
    "not_found",  # also said when existence must not be revealed
    "conflict",  # administrative commands, and a rejection note that names what it may not
    "invalid",  # the request itself is malformed or out of limits
    "unavailable",  # database, ledger, clock or audit cannot answer: closed by default
    "throttled",
    "too_many",  # this person broke the glass too often today
    "no_space",  # storing stopped: the disk is below its watermark
]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Base of all bodies: immutable, strict, tagged with the class name."""


# --- who asks -------------------------------------------------------------------------------------------


class Device(_Body, frozen=True):
    """A peer identified by its TLS leaf certificate (SHA-256 of the DER) and what it calls itself."""

    fingerprint: bytes
    ae_title: str  # "" on HTTP
    address: str


class Session(_Body, frozen=True):
    """A person: the opaque session proof from the cookie (`docs/formats.md`, session proof).

    `client`: SHA-256 of what the browser calls itself. `began`: when the request began, Unix seconds; a request may
    outlive its secret.
    """

    proof: bytes
    address: str
    client: bytes = b""
    began: float = 0.0


class Operator(_Body, frozen=True):
    """The local administrator on the guard's admin socket, who proved the passphrase."""

    name: str


class Release(_Body, frozen=True):
    """A research project whose officer began a release. `ticket`: of `ReleaseBegun`; it serves research alone."""

    ticket: bytes
    address: str = "127.0.0.1"  # the operator's own socket


Principal = Device | Session | Operator | Release


# --- the way in -----------------------------------------------------------------------------------------


class Attributes(_Body, frozen=True):
    """What the index learns of one instance; text already decoded, '' where absent. Dates are DA strings."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""
    study_time: str = ""
    accession_number: str = ""
    study_id: str = ""
    study_description: str = ""
    referring_physician_name: str = ""
    modality: str = ""
    station_name: str = ""
    series_number: str = ""
    series_description: str = ""
    body_part_examined: str = ""
    instance_number: str = ""
    rows: int = 0
    columns: int = 0
    bits_allocated: int = 0
    number_of_frames: int = 0
    specific_character_set: str = ""
    manufacturer: str = ""
    model_name: str = ""
    serial_number: str = ""
    software_versions: str = ""  # backslash separated


class Derive(_Body, frozen=True):
    """A person wants to save an object of `SAVED_CLASSES` about a study: may they, and whose patient is it?

    `studies` and `instances`: what the object refers to. `masked`: it says it is of the study's masked pseudonym.
    """

    principal: Principal
    channel: Channel
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    studies: list[str]
    instances: list[str]
    masked: bool


class PatientModule(_Body, frozen=True):
    """Patient and study as the index has them, for one saved object; it never leaves a front. '' where absent."""

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    study_date: str
    study_time: str
    accession_number: str
    study_id: str
    study_description: str
    referring_physician_name: str


class Derived(_Body, frozen=True):
    """A receipt of kind `derive` for one `Admit`; the patient only where the object was made in the masked view."""

    receipt: bytes
    log_index: int
    patient: PatientModule | None = None


RejectionCode = Literal["113001", "113037", "113038", "113039"]  # PS3.16 CID 7011, of DCM
MAX_REJECTED = 5000  # by one note


class RejectedInstance(_Body, frozen=True):
    """One instance that a note refers to."""

    study: str
    sop_class: str
    instance: str


class RejectionNote(_Body, frozen=True):
    """A Key Object Selection Document with one of four titles (IHE RAD TF-2 4.66)."""

    code: RejectionCode
    instances: list[RejectedInstance]


class Admit(_Body, frozen=True):
    """Ask for a sealing key for one instance whose bytes were received and scanned.

    `data_set_sha256` empty: its header alone was; `Commit.admit` says what it is when all of it has come.
    `derivation`: the receipt of `Derived`, where a person saves an object of `SAVED_CLASSES`. `rejection`: what a
    rejection note rejects.
    """

    principal: Principal
    channel: Channel
    called_ae_title: str
    attributes: Attributes
    transfer_syntax_uid: str
    data_set_sha256: bytes
    data_set_bytes: int
    derivation: bytes = b""
    rejection: RejectionNote | None = None


class Admitted(_Body, frozen=True):
    """Sealing keys for one new object. Never plaintext, never a stored key (rule 1, receipt kind `admit`)."""

    admission: bytes  # 16 bytes, to be quoted in Commit
    object_id: bytes  # 16 bytes
    key_id: bytes  # 16 bytes, the study key's id
    epoch: int
    hospital: bytes  # 16 bytes
    header_key: bytes  # 32 bytes
    bulk_key: bytes  # 32 bytes
    algorithm: int


class AlreadyHeld(_Body, frozen=True):
    """The same SOP Instance UID with the same data set hash is held: acknowledge, keep no second copy."""


class Commit(_Body, frozen=True):
    """The object file is on disk and fsynced: write index row and audit entry, durably.

    `admit`: what the instance is, where it was sealed before that was known: under an admission that
    `Committed.ahead` gave, or an `Admit` without a hash.
    """

    admission: bytes
    location: str  # relative to the objects folder
    file_bytes: int
    header_plain_bytes: int  # prefix + data set up to the bulk element
    bulk_plain_bytes: int
    prefix_bytes: int  # preamble and file meta information; 0 by DIMSE
    header_sealed_bytes: int
    bulk_sealed_bytes: int
    file_sha256: bytes  # of prefix + data set; equals data_set_sha256 when prefix_bytes == 0
    admit: Admit | None = None


class Committed(_Body, frozen=True):
    """Durable. `parked` means: held apart as a conflict; the peer is answered as if it were new.

    `kept` False: another sender committed the same instance meanwhile; the file of this one is not needed.
    `ahead`: keys for the next new instance of the same study, under the same lease; it may go unused.
    """

    log_index: int
    parked: bool
    kept: bool = True
    ahead: Admitted | None = None


class OpenEdgeEntry(_Body, frozen=True):
    """An edge sends its next entry; `front` is what stands before the sealed bytes (`docs/formats.md`, 12)."""

    principal: Principal
    front: bytes


class EdgeEntryOpened(_Body, frozen=True):
    """The key of this entry's sealed bytes, and in whose name the film is admitted."""

    device: Device
    hospital: bytes  # 16 bytes
    object_key: bytes  # 32 bytes


class EdgeEntryOver(_Body, frozen=True):
    """What became of an opened entry. `reason` '': the instance is durable; else why it never will be."""

    principal: Principal
    front: bytes
    sop_instance_uid: str
    reason: str = ""


class EdgeAnswer(_Body, frozen=True):
    """The receipt for an entry: a signed note (`docs/formats.md`, 12.3)."""

    receipt: bytes


class EdgeReport(_Body, frozen=True):
    """What an edge says of itself: entries and bytes that wait, age of the oldest, what was refused for good."""

    principal: Principal
    waiting: int
    waiting_bytes: int
    oldest_seconds: float
    refused: int


class IngestClosed(_Body, frozen=True):
    """An association or STOW request ended: one AuditEvent per study (DICOM Instances Transferred)."""

    principal: Principal
    channel: Channel
    studies: dict[str, int]  # Study Instance UID -> instances stored
    failed: int


class CheckCommitment(_Body, frozen=True):
    """Storage commitment: does the archive answer for these? `references`: SOP class and SOP instance UID.

    With a `transaction` the answer is kept as a report that the device is owed.
    """

    principal: Principal
    references: list[tuple[str, str]]
    transaction: str = ""


Held = Literal["held", "unknown", "class_conflict"]


class CommitmentChecked(_Body, frozen=True):
    """One word for each reference, in order; what the asker did not send is unknown. `report`: the kept one."""

    held: list[Held]
    report: int = 0


class OwedReport(_Body, frozen=True):
    """One transaction: SOP class, SOP instance and word of each reference."""

    report: int
    transaction: str
    told: list[tuple[str, str, Held]]


class ListOwedReports(_Body, frozen=True):
    """What this device is owed; for a while nobody else sends it."""

    principal: Principal


class OwedReports(_Body, frozen=True):
    """By number; what somebody sends just now is not among them."""

    reports: list[OwedReport]


class ReportHeard(_Body, frozen=True):
    """The device confirmed its report, or left without."""

    principal: Principal
    report: int
    confirmed: bool


class TakeReport(_Body, frozen=True):
    """A front asks for a report to deliver: answered with `ReportTaken` or `NoJob`."""


class ReportTaken(_Body, frozen=True):
    """A report under a lease, and who must answer there."""

    owed: OwedReport
    lease: bytes
    lease_seconds: float
    ae_title: str
    fingerprint: bytes
    address: str
    port: int


class ReportOver(_Body, frozen=True):
    """The sender is through with it; `refusal` says why the device has it not."""

    report: int
    lease: bytes
    refusal: JobRefusal


# --- the way out ----------------------------------------------------------------------------------------


class Query(_Body, frozen=True):
    """QIDO-RS or C-FIND. `filters` maps DICOM keyword to the query value as written by the peer.

    `after`: the position of the record behind which to go on. `combined`: a range of Study Date and one of Study Time
    are one range of moments (PS3.4 C.2.2.2.5).
    """

    principal: Principal
    channel: Channel
    level: Literal["patient", "study", "series", "instance"]
    filters: dict[str, str]
    purpose: Purpose = "TREAT"
    limit: int = 100
    offset: int = 0
    after: str = ""
    combined: bool = False


class Record(_Body, frozen=True):
    """One answer row; `attributes` maps DICOM keyword to value, already masked where the view is masked."""

    view: View
    attributes: dict[str, str | int | list[str]]
    position: str = ""  # for `Query.after`


class QueryAnswer(_Body, frozen=True):
    """Rows the principal may see, in stable order, and whether more follow."""

    records: list[Record]
    more: bool
    log_index: int
    promise: bytes = b""  # as in `Disclosed`


class Disclose(_Body, frozen=True):
    """Ask to disclose (part of) a study. `want` 'best' takes the highest view allowed right now."""

    principal: Principal
    channel: Channel
    study_instance_uid: str
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    want: Literal["best", "masked", "full", "original"] = "best"
    purpose: Purpose = "TREAT"
    recipient: Device | None = None  # who gets the images where it is not the principal (C-MOVE)
    elsewhere: Attributes | None = None  # of a shield: how the old PACS names study and patient


class InstanceRef(_Body, frozen=True):
    """One instance of a disclosure, without keys."""

    object_id: bytes
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    data_set_bytes: int
    prefix_bytes: int


class Disclosed(_Body, frozen=True):
    """The receipt (`docs/formats.md`) and what it covers. The durable entry precedes this answer."""

    disclosure: bytes  # 16 bytes
    receipt: bytes
    view: View
    purpose: Purpose
    expires_at: float  # Unix seconds
    log_index: int
    decided_microseconds: float  # time of the contract's view call
    instances: list[InstanceRef]
    promise: bytes = b""  # the signed tree that holds the entry (`docs/formats.md`, entry promise)


class Open(_Body, frozen=True):
    """Fetch keys for instances of a live disclosure; revocation is checked again for each call."""

    receipt: bytes
    principal: Principal
    object_ids: list[bytes]


class CorrectedPatient(_Body, frozen=True):
    """The patient as the archive has corrected it; '' where empty. `changed_at` in Unix seconds."""

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    changed_at: float


class Addressed(_Body, frozen=True):
    """The UIDs under which the archive filed an instance that says otherwise. `changed_at` in Unix seconds."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    changed_at: float


class OpenedObject(_Body, frozen=True):
    """Where one object lies and the keys that open exactly this object."""

    object_id: bytes
    location: str
    header_key: bytes
    bulk_key: bytes
    algorithm: int
    key_id: bytes
    epoch: int
    hospital: bytes
    header_plain_bytes: int
    bulk_plain_bytes: int
    header_sealed_bytes: int
    bulk_sealed_bytes: int
    prefix_bytes: int
    data_set_sha256: bytes
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    named: CorrectedPatient | None = None  # in the full view, where the study's identity was changed
    addressed: Addressed | None = None  # but in the original view, where the instance was filed
    charset: str = ""  # with either of them: in which its text really is, by its device's registration
    charset_overrides: bool = False


class Opened(_Body, frozen=True):
    """Keys for the asked objects, in the asked order."""

    objects: list[OpenedObject]


class CheckDisclosure(_Body, frozen=True):
    """A request joins a live disclosure: may it still, as of now? The contract is asked again; no key leaves."""

    receipt: bytes
    principal: Principal


class DisclosureChecked(_Body, frozen=True):
    """It may. `current` False: a disclosure asked for now would have another view or other instances."""

    current: bool


class DisclosureClosed(_Body, frozen=True):
    """The closing entry: what really left."""

    receipt: bytes
    instances: int
    octets: int
    outcome: Literal["complete", "aborted", "cut"]


class Revoked(_Body, frozen=True):
    """Unsolicited: these disclosures are cut now; a front stops before its next segment."""

    disclosures: list[bytes]


# --- break-glass ----------------------------------------------------------------------------------------

GlassReason = Literal["emergency", "patient-unconscious", "on-call", "system-failure"]
GlassVerdict = Literal["", "justified", "unjustified"]


class BreakGlass(_Body, frozen=True):
    """A person opens a study, or all of a patient ('ID' or 'ID|ISSUER'), without a grant: one of the two is ''.

    `note` has at most 200 characters and is sealed. `code` is a one-time code; needed where the session's second
    factor is not fresh, and while log or ledger cannot answer.
    """

    principal: Session
    reason: GlassReason
    study_instance_uid: str = ""
    patient: str = ""
    note: str = ""
    code: str = ""


class GlassBroken(_Body, frozen=True):
    """Open until `valid_until` (Unix seconds), under the purpose ETREAT.

    `number` and `log_index` are -1 where it stands in the emergency journal alone so far.
    """

    number: int
    valid_until: float
    log_index: int


class BreakGlassPage(_Body, frozen=True):
    """List break-glass accesses from this number on; `newest`: those without a verdict first, then the newest."""

    start: int = 0
    count: int = 1000
    newest: bool = False


class BreakGlassItem(_Body, frozen=True):
    """One access, without the patient's name. Times in Unix seconds, 0 where there is none.

    `emergency`: decided from the last known state, while log or ledger could not answer. `due_at`: of its review.
    """

    number: int
    username: str
    scope: Literal["study", "patient"]
    reason: str
    emergency: bool
    occurred_at: float
    valid_until: float
    ended_at: float
    verdict: GlassVerdict
    reviewed_at: float
    display_name: str = ""
    roles: list[str] = []
    due_at: float = 0.0
    reviewed_by: str = ""


class BreakGlassItems(_Body, frozen=True):
    """Accesses in order of their numbers."""

    items: list[BreakGlassItem]


class EndBreakGlass(_Body, frozen=True):
    """End one now; running streams are cut before this is answered."""

    number: int


class Alarm(_Body, frozen=True):
    """Something a person must hear of at once; no personal data. `number` is the break-glass access's, -1: none."""

    kind: Literal[
        "break-glass",  # and nobody has reviewed it yet
        "break-glass-in-a-fault",  # decided from the last known state
        "break-glass-refused",
        "break-glass-too-many",
        "emergency-journal-broken",
        "rejection",  # a note hides instances
        "rejection-refused",
        "priors-too-many",  # one sender's studies pulled as many priors as it may in an hour
        "reidentified",  # two persons were told who stands behind a pseudonym
        "release-withdrawn",  # the check of a release found something
        "certificates",  # `number` of devices are refused soon, or already: `ribcage doctor` names them
        "exposure",  # something of this machine is open that should not be; `number` is its port
    ]
    at: float
    number: int = -1


class GetAlarms(_Body, frozen=True):
    """The alarms that stand."""


class Alarms(_Body, frozen=True):
    """Oldest first."""

    items: list[Alarm]


# --- a shield before an old PACS ------------------------------------------------------------------------


class ListElsewhere(_Body, frozen=True):
    """A page of what the old PACS found: which of these studies may the principal be named, until `limit` are?

    `keywords`: names of the filters, never their values. `more`: the old PACS found more than these.
    """

    principal: Principal
    channel: Channel
    level: Literal["patient", "study", "series", "instance"]
    keywords: list[str]
    studies: list[Attributes]
    limit: int
    more: bool = False
    purpose: Purpose = "TREAT"


class ListedElsewhere(_Body, frozen=True):
    """The views by Study Instance UID, of the first `looked` studies; their entry is durable."""

    views: dict[str, View]
    looked: int
    log_index: int
    promise: bytes = b""


class AdmitElsewhere(_Body, frozen=True):
    """May this instance go to the old PACS?"""

    principal: Principal
    channel: Channel
    attributes: Attributes


class PassedElsewhere(_Body, frozen=True):
    """This instance is on its way to the old PACS."""

    principal: Principal
    channel: Channel
    attributes: Attributes
    data_set_sha256: bytes
    data_set_bytes: int


# --- people ---------------------------------------------------------------------------------------------


class LogIn(_Body, frozen=True):
    """Username and password, over TLS. Throttled per name and per address."""

    username: str
    password: str
    address: str
    client: bytes = b""  # as in `Session`


class LoggedIn(_Body, frozen=True):
    """A session of assurance 1."""

    proof: bytes
    expires_at: float


class StepUp(_Body, frozen=True):
    """A one-time password of RFC 6238 or a recovery code for this session; each works once."""

    session: Session
    code: str
    kind: Literal["totp", "recovery"] = "totp"


class LogOut(_Body, frozen=True):
    """End this session."""

    session: Session


class WhoAmI(_Body, frozen=True):
    """Describe the session; with `rotate` its secret is replaced when it is due."""

    session: Session
    rotate: bool = False


class Person(_Body, frozen=True):
    """What a session may know of itself."""

    username: str
    display_name: str
    roles: list[str]
    assurance: int  # 1 password, 2 second factor fresh
    second_factor_until: float
    expires_at: float
    second_factor: str = ""  # which one was given
    totp: bool = True
    passkeys: int = 0
    recovery_codes: int = 0  # left
    notices: list[Notice] = []
    hospital: str = ""
    proof: bytes = b""  # the next secret, where one is due: for the cookie alone


class Told(_Body, frozen=True):
    """Unsolicited, for the event streams of one session (16 bytes): an assurance, a study closed to it, its end; for
    a patient's session an entry that concerns the patient.
    """

    session: bytes
    kind: Literal["assurance", "revoked", "session-ended", "entry"]
    until: float = 0.0
    study: str = ""
    entry: int = -1  # of the log, for a patient's session
    about: str = ""  # its kind


class SessionItem(_Body, frozen=True):
    """One live session of the asker."""

    id: bytes
    created_at: float
    used_at: float
    address: str
    this: bool


class ListSessions(_Body, frozen=True):
    """The asker's own live sessions."""

    session: Session


class SessionItems(_Body, frozen=True):
    """Newest first."""

    items: list[SessionItem]


class EndSessions(_Body, frozen=True):
    """End one of the asker's sessions by id, or all others (id empty)."""

    session: Session
    id: bytes = b""


class BeginPasskey(_Body, frozen=True):
    """A challenge to register a passkey, or to step up with one."""

    session: Session
    use: Literal["register", "step-up"]


class BeginPasskeyLogIn(_Body, frozen=True):
    """A challenge to log in with a passkey; names nobody."""

    address: str


class PasskeyOptions(_Body, frozen=True):
    """Options for the browser, as WebAuthn level 3 writes them in JSON."""

    options: str


class AddPasskey(_Body, frozen=True):
    """What the browser made (JSON, at most 8 KiB); needs a fresh second factor."""

    session: Session
    label: str
    credential: str


class PasskeyStepUp(_Body, frozen=True):
    """A passkey's assertion as second factor."""

    session: Session
    credential: str


class PasskeyLogIn(_Body, frozen=True):
    """A passkey's assertion, with user verification, as a log-in."""

    credential: str
    address: str
    client: bytes = b""


class PasskeyItem(_Body, frozen=True):
    """One passkey of the asker."""

    id: bytes
    label: str
    created_at: float
    used_at: float
    user_verified: bool


class ListPasskeys(_Body, frozen=True):
    """The asker's own passkeys."""

    session: Session


class PasskeyItems(_Body, frozen=True):
    """In order of registration."""

    items: list[PasskeyItem]


class RemovePasskey(_Body, frozen=True):
    """Remove one by id; needs a fresh second factor."""

    session: Session
    id: bytes


class MakeRecoveryCodes(_Body, frozen=True):
    """Ten new codes, the old ones end; needs a fresh second factor."""

    session: Session


class RecoveryCodes(_Body, frozen=True):
    """Shown once, kept as hashes."""

    codes: list[str]


# --- patients -------------------------------------------------------------------------------------------


class PatientSession(_Body, frozen=True):
    """A patient: the opaque proof from the patient's own cookie. No principal: it opens no image."""

    proof: bytes
    address: str
    client: bytes = b""


class EnterPatient(_Body, frozen=True):
    """An invitation's token and the birth date that must fit it (DA string)."""

    token: str
    birth_date: str
    address: str
    client: bytes = b""


class PatientState(_Body, frozen=True):
    """What a patient's session may know of itself. `proof` where it is new: to be set as the cookie."""

    expires_at: float
    passkeys: int
    hospital: str
    proof: bytes = b""


class DescribePatient(_Body, frozen=True):
    """Describe the session to itself."""

    session: PatientSession


class LeavePatient(_Body, frozen=True):
    """End this session."""

    session: PatientSession


class ListPatientEntries(_Body, frozen=True):
    """The log's entries that concern the asker, newest first. `before` 0: the newest."""

    session: PatientSession
    before: int = 0


class Somebody(_Body, frozen=True):
    """Whom the log names, as a patient may read it. `label` is stable for one patient; "" where there is none."""

    by: str
    label: str
    role: str
    department: str


class PatientEntry(_Body, frozen=True):
    """One entry. Times in Unix seconds. `end_entry` -1: still open, or cut by a restart.

    `review`: of a break-glass, what was said of it.
    """

    number: int
    at: float
    kind: str
    who: Somebody
    purpose: str
    view: str
    channel: str
    study_date: str
    modality: list[str]
    break_glass: bool
    instances: int
    reason: str
    end_entry: int = -1
    end_at: float = 0.0
    end_how: str = ""
    end_instances: int = 0
    review: GlassVerdict = ""


class PatientEntries(_Body, frozen=True):
    """One page; `next_before` 0: no more. `complete`: all older entries have been looked through."""

    items: list[PatientEntry]
    next_before: int
    complete: bool


class ProvePatientEntry(_Body, frozen=True):
    """A portable proof of one entry that concerns the asker."""

    session: PatientSession
    index: int


class ListPatientRights(_Body, frozen=True):
    """Standing objections, and grants that concern the asker."""

    session: PatientSession


class PatientObjects(_Body, frozen=True):
    """An objection of the asker, or its end. `subject`: '*' or a label."""

    session: PatientSession
    subject: str
    standing: bool


class ObjectionItem(_Body, frozen=True):
    """A standing objection; against everybody where `subject` is '*'."""

    subject: str
    who: Somebody
    since: float


class PatientGrantItem(_Body, frozen=True):
    """A grant in force. `of`: what it was given for."""

    who: Somebody
    view: str
    purpose: str
    valid_until: float
    of: Literal["study", "patient", "department"]


class PatientRights(_Body, frozen=True):
    """What stands for and against others seeing the asker's films."""

    objections: list[ObjectionItem]
    grants: list[PatientGrantItem]


class BeginPatientPasskey(_Body, frozen=True):
    """Options to register a passkey."""

    session: PatientSession


class AddPatientPasskey(_Body, frozen=True):
    """What `navigator.credentials.create(...).toJSON()` gave."""

    session: PatientSession
    label: str
    credential: str


class ListPatientPasskeys(_Body, frozen=True):
    """The asker's passkeys."""

    session: PatientSession


class RemovePatientPasskey(_Body, frozen=True):
    """Remove one of the asker's passkeys."""

    session: PatientSession
    id: bytes


class BeginPatientLogIn(_Body, frozen=True):
    """Options to log in with a patient's passkey; they name nobody."""

    address: str


class PatientLogIn(_Body, frozen=True):
    """An assertion of a patient's passkey with user verification."""

    credential: str
    address: str
    client: bytes = b""


class InvitePatient(_Body, frozen=True):
    """Make an invitation for 'ID' or 'ID|ISSUER', good for `days`."""

    patient: str
    days: int = 7


class PatientInvited(_Body, frozen=True):
    """The token, given this once; it belongs into the fragment of a link."""

    token: str
    expires_at: float


# --- fronts ---------------------------------------------------------------------------------------------


class Hello(_Body, frozen=True):
    """First call of a front: its process id, for the log."""

    process: int


class TlsIdentity(_Body, frozen=True):
    """The listener's certificate chain and private key (PEM), and what checks peers' certificates."""

    certificate_chain_pem: bytes
    private_key_pem: bytes
    client_authorities_pem: bytes
    registered_leaves_pem: bytes  # registered leaves of foreign authorities (partial chain)
    registry_version: int


class CheckDevice(_Body, frozen=True):
    """May this certificate open an association under this AE title? Refusals are audited by the guard."""

    device: Device
    called_ae_title: str
    action: Literal["associate", "http", "hl7"]


class FindDestination(_Body, frozen=True):
    """Where a Move Destination listens, for a device that may retrieve."""

    principal: Principal
    ae_title: str


class DestinationKnown(_Body, frozen=True):
    """The certificate that must answer there (SHA-256), and the address."""

    fingerprint: bytes
    address: str
    port: int


JobWhy = Literal["move", "rule", "operator", "prior"]
JobState = Literal["waiting", "sending", "done", "failed"]
JobRefusal = Literal[
    "",
    "no_association",  # the destination does not answer, or shows another certificate
    "association_lost",  # it ended the association; an instance under way may have arrived
    "out_of_resources",  # it answered A7xx
    "refused_by_destination",  # it answered another failure
    "not_convertible",  # no accepted presentation context carries it
    "damaged",  # the archive cannot read it
    "interrupted",  # front or guard ended, or the disclosure did
    "not_permitted",  # no grant, an objection, a device that may not retrieve: not tried again
    "not_found",  # the instances are gone: not tried again
    "destination_unknown",  # removed, suspended or out of reach of the rules: not tried again
    "queue_full",  # these instances were never queued
]


class TakeJob(_Body, frozen=True):
    """A front asks for work: answered with `JobTaken` or `NoJob`."""


class NoJob(_Body, frozen=True):
    """Nothing is due."""


class JobTaken(_Body, frozen=True):
    """A job under a lease: what is left of it, and who must answer there. `asker`: of the C-MOVE it comes from."""

    job: int
    lease: bytes
    lease_seconds: float
    ae_title: str
    fingerprint: bytes
    address: str
    port: int
    study_instance_uid: str
    sop_instance_uids: list[str]
    asker: Device | None = None


class HoldJob(_Body, frozen=True):
    """The sender lives: its lease begins anew. Refused ('conflict') when it has lost it."""

    job: int
    lease: bytes


class JobItem(_Body, frozen=True):
    """The destination answered one C-STORE; `arrived` when it has the instance now."""

    job: int
    lease: bytes
    sop_instance_uid: str
    arrived: bool
    status: int


class JobOver(_Body, frozen=True):
    """The sender gives the job back; `refusal` says what kept instances from arriving."""

    job: int
    lease: bytes
    refusal: JobRefusal


class QueueMove(_Body, frozen=True):
    """What a C-MOVE could not send; queued where the destination's setting says so."""

    principal: Principal
    ae_title: str
    sop_instance_uids: list[str]


DeviceRight = Literal["store", "query", "retrieve", "observe", "reject", "edge", "his", "worklist"]


class DeviceKnown(_Body, frozen=True):
    """What the registered device may do."""

    name: str
    may: list[DeviceRight]
    charset: str = ""  # a value of (0008,0005) for what it sends without one
    charset_overrides: bool = False  # and instead of what it declares


RefusalKind = Literal[
    "handshake",
    "plain_bytes",
    "timeout",
    "no_certificate",
    "malformed",
    "limit",
    "called_ae",
    "user_identity",
    "not_permitted",
]


class Refusal(_Body, frozen=True):
    """A refusal the front saw alone (handshake, plain bytes, bad PDU): aggregated per minute and audited."""

    kind: RefusalKind
    listener: Literal["dicom", "https", "hl7"]
    address: str
    count: int = 1


class ExposureItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is open, as the exposure self-check saw it."""

    what: Literal["plain-dicom", "foreign-program", "own-listener", "old-pacs"]
    scope: Literal["loopback", "private", "global"]
    port: int


class ReportExposure(_Body, frozen=True):
    """All that the exposure self-check of the supervisor found open just now."""

    items: list[ExposureItem]


class Noted(_Body, frozen=True):
    """Done, nothing to return."""


class IngestNoted(_Body, frozen=True):
    """The closing entry is durable; `promise` is the signed tree that holds it and all before, empty for DIMSE."""

    promise: bytes = b""


class Refused(_Body, frozen=True):
    """Why not, from a closed list. `entry` is the log index of the audited refusal, -1 where none is due.

    `decided_microseconds` is the time of the contract's view call, 0 where it was not asked. `retry_seconds`: of
    'throttled', when to try again, 0 where that is not known.
    """

    reason: RefusalReason
    entry: int = -1
    decided_microseconds: float = 0.0
    retry_seconds: float = 0.0


class Ping(_Body, frozen=True):
    """Liveness; answered without touching the disk."""


class GetReadiness(_Body, frozen=True):
    """May images be stored and shown right now? Answered without touching the disk."""


class Readiness(_Body, frozen=True):
    """What is closed, from a closed list; empty: everything is open."""

    closed: list[Literal["ledger", "clock", "disk", "witness"]]
    configuration: list[str] = []  # as `Status` has it


class GetMetrics(_Body, frozen=True):
    """What the guard counted: for an operator, or a device with the right `observe`."""

    principal: Principal


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`counts[i]`: observations of at most `bounds[i]`, the last one: of more. `total` is their sum."""

    bounds: list[float]
    counts: list[int]
    total: float


class Metrics(_Body, frozen=True):
    """Plain numbers. Every label is of a closed list: nothing that a peer sent can stand here.

    Counters start at 0 with the guard. `_seconds` are durations; -1 where there is nothing to tell.
    """

    uptime_seconds: float
    admissions: dict[Literal["admitted", "held"], int]
    instances: dict[Literal["stored", "parked", "twice"], int]
    stored_bytes: int
    disclosures: dict[Literal["masked", "full", "original"], int]
    disclosures_refused: dict[RefusalReason, int]
    disclosures_closed: dict[Literal["complete", "aborted", "cut"], int]
    queries: dict[Literal["answered", "refused"], int]
    log_ins: dict[Literal["ok", "failed", "throttled"], int]
    second_factors: dict[Literal["ok", "failed", "throttled"], int]
    refusals: dict[RefusalReason, int]  # of every call
    connections_refused: dict[RefusalKind, int]  # as fronts reported them
    revocations: int  # grants revoked, objections made, persons and devices suspended
    live_disclosures: int
    commit_entries: Histogram  # entries made durable together
    commit_seconds: Histogram  # of COMMIT with its fsync
    log_entries: int
    log_unsigned_entries: int
    checkpoint_age_seconds: float  # since this guard signed one
    ledger_height: int
    ledger_behind: bool
    disk_free_bytes: int
    disk_stop_bytes: int
    storing_stopped: bool
    clock_off_seconds: float
    clock_stepped: bool
    witness_trusted: bool
    witness_closed: bool
    witness_silent_seconds: float  # since when entries lack a cosignature
    queue_waiting: int  # jobs of the sending queue that wait or are being sent
    queue_failed: int
    queue_oldest_seconds: float  # the oldest job that waits or is being sent


# --- administration (admin socket only) -----------------------------------------------------------------


class AdminChallenge(_Body, frozen=True):
    """Ask for a nonce; answered with `AdminNonce`."""


class AdminNonce(_Body, frozen=True):
    """HMAC-SHA256(operator key, nonce) is due in `AdminProof`."""

    nonce: bytes
    salt: bytes


class AdminProof(_Body, frozen=True):
    """Proof of the passphrase; opens the administrative calls on this connection."""

    name: str
    mac: bytes


class AddPerson(_Body, frozen=True):
    """Create a person. Password '' makes one; the answer carries it once, with the TOTP secret."""

    username: str
    display_name: str
    roles: list[str]
    password: str = ""
    department: str = ""


class PersonAdded(_Body, frozen=True):
    """Shown once, never stored in clear."""

    person_id: bytes
    password: str
    totp_uri: str


class SuspendPerson(_Body, frozen=True):
    """Suspension prevails over everything (DESIGN rule 5)."""

    username: str
    suspended: bool


class ListPersons(_Body, frozen=True):
    """All persons, by user name."""


class ListThrottled(_Body, frozen=True):
    """Who must wait after too many wrong passwords, codes or passkeys."""


class ThrottledItem(_Body, frozen=True):
    """`username` is "" for a name that nobody has: it may be a password typed in the wrong place."""

    what: Literal["log-in", "second-factor", "passkey"]
    username: str
    address: str
    until: float


class ThrottledItems(_Body, frozen=True):
    """The longest waiting first, at most 1000."""

    items: list[ThrottledItem]


class PersonItem(_Body, frozen=True):
    """One person, without secrets."""

    username: str
    display_name: str
    roles: list[str]
    department: str
    suspended: bool
    passkeys: int
    recovery_codes: int
    totp: bool = False
    reset_asked_by: str = ""  # of a reset of factors that waits for another administrator


class PersonItems(_Body, frozen=True):
    """All persons."""

    items: list[PersonItem]


class ListDevices(_Body, frozen=True):
    """All devices, by name."""


class DeviceItem(_Body, frozen=True):
    """One registered device. From `owner` on: what is known of it, which decides nothing (`guard.equipment`)."""

    name: str
    ae_titles: list[str]
    may: list[str]
    department: str
    fingerprint: bytes
    not_after: float
    suspended: bool
    owner: str = ""
    place: str = ""
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    software_versions: str = ""  # backslash separated
    reported_at: float = 0.0  # 0: its instances said nothing yet


class DeviceItems(_Body, frozen=True):
    """All devices."""

    items: list[DeviceItem]


class AddDevice(_Body, frozen=True):
    """Register a device: its own certificate, a CSR to be signed, or neither (a key pair is made)."""

    name: str
    ae_titles: list[str]
    may: list[DeviceRight]
    department: str = "radiology"
    certificate_pem: bytes = b""
    csr_pem: bytes = b""


class DeviceAdded(_Body, frozen=True):
    """`private_key_pem` is filled only when the guard made the key pair; it is not kept."""

    fingerprint: bytes
    certificate_pem: bytes
    private_key_pem: bytes
    authority_pem: bytes


class RenewDevice(_Body, frozen=True):
    """A device asks for a new certificate, with its present one: a PKCS #10 request (PEM)."""

    principal: Principal
    csr_pem: bytes


class DeviceRenewed(_Body, frozen=True):
    """The new certificate with its chain, and the authority. `not_after` in Unix seconds."""

    certificate_pem: bytes
    authority_pem: bytes
    not_after: float


class SetDeviceCharset(_Body, frozen=True):
    """The character set of what a device sends without declaring one, or declares wrongly. '' takes it back."""

    name: str
    charset: str
    overrides: bool = False


class DescribeDevice(_Body, frozen=True):
    """Who looks after a device and where it stands; None leaves it as it is."""

    name: str
    owner: str | None = None
    place: str | None = None


class SuspendDevice(_Body, frozen=True):
    """Suspend or restore a registered device by name."""

    name: str
    suspended: bool


class EdgeModality(_Body, frozen=True):
    """A modality behind an edge: the archive's id of it, and its AE title."""

    ae_title: str
    device: bytes = b""


class TrustEdge(_Body, frozen=True):
    """Register an edge by its CSR and signing key, and the modalities behind it; again: more of them.

    `go_on_at`: the number that is taken next, where numbers before it will never come; only forward. 0: as it is.
    """

    name: str
    ae_title: str
    csr_pem: bytes
    signing_key: bytes
    modalities: list[EdgeModality]
    department: str = "radiology"
    go_on_at: int = 0


class EdgeTrusted(_Body, frozen=True):
    """What the edge has to know: its id and certificate, the archive's keys, its modalities' ids."""

    edge: bytes
    hospital: bytes
    certificate_pem: bytes
    authority_pem: bytes
    log_key: str
    seal_key: bytes
    modalities: list[EdgeModality]


class AddDestination(_Body, frozen=True):
    """Let C-MOVE send to this device: `ae_title` is bound to it, `address` a literal IP address."""

    ae_title: str
    device: str
    address: str
    port: int


class RemoveDestination(_Body, frozen=True):
    """End a destination."""

    ae_title: str


class ListDestinations(_Body, frozen=True):
    """All destinations, by AE title."""


class DestinationItem(_Body, frozen=True):
    """One destination."""

    ae_title: str
    device: str
    address: str
    port: int


class DestinationItems(_Body, frozen=True):
    """All destinations."""

    items: list[DestinationItem]


class ShowDestination(_Body, frozen=True):
    """Where a destination listens and which certificate must answer: `DestinationKnown`, for an operator."""

    ae_title: str


class SetDestinationRetry(_Body, frozen=True):
    """Whether what a C-MOVE to this destination failed to send is queued."""

    ae_title: str
    moves: bool


class QueueStudy(_Body, frozen=True):
    """Send a study or one series of it, as it is now, to a destination."""

    study_instance_uid: str
    series_instance_uid: str
    ae_title: str


class Queued(_Body, frozen=True):
    """The new job; 0 where nothing was queued."""

    job: int
    instances: int


class QueuePage(_Body, frozen=True):
    """Jobs from number `start`; `state` "" for all."""

    start: int
    count: int
    state: JobState | Literal[""] = ""


class JobLine(_Body, frozen=True):
    """One job. Times in Unix seconds; `next_at` counts while it waits."""

    job: int
    ae_title: str
    study_instance_uid: str
    why: JobWhy
    state: JobState
    refusal: JobRefusal
    tries: int
    instances: int
    sent: int
    made_at: float
    next_at: float


class QueueLines(_Body, frozen=True):
    """Jobs by number."""

    jobs: list[JobLine]


class ShowJob(_Body, frozen=True):
    """One job with its instances."""

    job: int


class JobShown(_Body, frozen=True):
    """`items`: SOP Instance UID, whether it arrived, last C-STORE status (-1: none)."""

    line: JobLine
    items: list[tuple[str, bool, int]]


class RetryJob(_Body, frozen=True):
    """Try a failed or waiting job now, with its tries counted anew."""

    job: int


class DropJob(_Body, frozen=True):
    """Forget a job that is not being sent."""

    job: int


class ReportPage(_Body, frozen=True):
    """Reports of storage commitment from number `start`."""

    start: int
    count: int


class ReportLine(_Body, frozen=True):
    """One report. Times in Unix seconds; `failed` of the instances were not committed to."""

    report: int
    device: str
    ae_title: str
    transaction: str
    state: JobState
    refusal: JobRefusal
    tries: int
    instances: int
    failed: int
    made_at: float
    next_at: float


class ReportLines(_Body, frozen=True):
    """Reports by number."""

    reports: list[ReportLine]


class RetryReport(_Body, frozen=True):
    """Deliver it now, its tries counted anew."""

    report: int


class DropReport(_Body, frozen=True):
    """Forget a report that is not being delivered; the device asks again."""

    report: int


class RouteConditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that are not empty must hold. `*` and `?` stand in `study_description` and `station`; case is ignored."""

    modality: str = ""
    calling_ae_title: str = ""
    device: str = ""
    station: str = ""
    study_description: str = ""
    sop_class_uid: str = ""
    body_part: str = ""


PriorSame = Literal["modality", "body-part", "both", "either"]


class Priors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The patient's latest earlier studies that go along: how many, how old at most (0: however old), what like."""

    count: int
    years: int = 0
    same: PriorSame = "modality"


class AddRoute(_Body, frozen=True):
    """Queue each new instance that meets the conditions for a destination, and what the patient had before."""

    ae_title: str
    conditions: RouteConditions
    priors: Priors | None = None


class RouteAdded(_Body, frozen=True):
    """The rule's number."""

    number: int


class RemoveRoute(_Body, frozen=True):
    """End a rule; what it queued stays queued."""

    number: int


class ListRoutes(_Body, frozen=True):
    """All rules, by number."""


class RouteItem(_Body, frozen=True):
    """One rule."""

    number: int
    ae_title: str
    conditions: RouteConditions
    priors: Priors | None = None


class RouteItems(_Body, frozen=True):
    """All rules that stand."""

    items: list[RouteItem]


class AddGrant(_Body, frozen=True):
    """Put a grant on the ledger. Subject: 'person:NAME' or 'device:NAME'. Resource: 'study:UID',
    'patient:ID[|ISSUER]' or 'department:NAME'."""

    subject: str
    resource: str
    view: View
    purpose: Purpose = "TREAT"
    valid_from: float = 0.0
    valid_until: float = 0.0  # 0: 24 hours from now


class GrantAdded(_Body, frozen=True):
    """The grant's number on the ledger."""

    grant_id: int
    transaction: bytes


class RevokeGrant(_Body, frozen=True):
    """Revoke by number; effective before this call is answered."""

    grant_id: int


class ListGrants(_Body, frozen=True):
    """Grants that are live now, newest first, at most 1000."""


class GrantItem(_Body, frozen=True):
    """A live grant as it was written."""

    grant_id: int
    subject: str
    resource: str
    view: str
    purpose: str
    valid_until: float
    cause: str = ""  # the message that made it; '' where a person did


class GrantItems(_Body, frozen=True):
    """Live grants."""

    items: list[GrantItem]


class Object(_Body, frozen=True):
    """An explicit objection of the patient against a subject ('*' for everybody): denies first."""

    patient: str
    subject: str
    standing: bool


class AuditPage(_Body, frozen=True):
    """Decoded log entries, oldest first; reading the log is itself an entry (PS3.15 A.5.3.2)."""

    start: int
    count: int
    person: str = ""


class AuditEntries(_Body, frozen=True):
    """Entries as JSON texts (FHIR AuditEvent-shaped), with their indices."""

    entries: list[tuple[int, str]]
    size: int


class ProveEntry(_Body, frozen=True):
    """An opening of one leaf: salt, body, inclusion proof and checkpoint."""

    index: int


class EntryProof(_Body, frozen=True):
    """All a stranger needs (`docs/formats.md`, inclusion proof)."""

    index: int
    body: bytes
    salt: bytes
    path: list[bytes]
    checkpoint: bytes
    verifier_key: str


class BeginExport(_Body, frozen=True):
    """The log's public bytes are wanted outside; `known_size` entries are there already."""

    known_size: int


class ExportBegun(_Body, frozen=True):
    """The newest checkpoint, and the RFC 9162 2.1.4 path to it from the known size.

    The path is empty when the log is shorter than that.
    """

    checkpoint: bytes
    path: list[bytes]
    verifier_key: str


class ExportPage(_Body, frozen=True):
    """Entries from `start` on; with `opened` their salts and bodies too, and an entry that says so."""

    start: int
    count: int
    opened: bool


class ExportedLeaves(_Body, frozen=True):
    """Leaf data of 32 bytes each; `openings` are `(salt, body)`, empty where a row does not open."""

    leaves: list[bytes]
    openings: list[tuple[bytes, bytes]]


class TrustWitness(_Body, frozen=True):
    """From now on nothing is disclosed after a start before this witness has cosigned it.

    `url` is `https://ADDRESS:PORT`, `witness` its verifier key, `certificate_sha256` of its TLS certificate's DER.
    """

    url: str
    witness: str
    certificate_sha256: bytes


class WitnessTrusted(_Body, frozen=True):
    """The log's verifier key, which the witness must be told of."""

    log: str


class ForgetWitness(_Body, frozen=True):
    """Trust no witness any more."""


class WitnessState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of the witness. Times in Unix seconds, 0 where there is none.

    `waiting`: not cosigned since the start; `behind`: closed. `uncovered_seconds`: how old the oldest entry is that
    no cosignature covers, which bounds what could be cut unnoticed.
    """

    state: Literal["none", "waiting", "open", "behind"] = "none"
    name: str = ""
    cosigned_size: int = 0
    cosigned_at: float = 0.0
    uncovered_seconds: float = 0.0
    trouble: str = ""


class GetStatus(_Body, frozen=True):
    """Counters and configuration for `ribcage status`."""


class EdgeSeen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An edge as it was heard of last; `seen_at` 0: not since this guard started."""

    name: str
    sequence: int
    seen_at: float = 0.0
    waiting: int = 0
    waiting_bytes: int = 0
    oldest_seconds: float = 0.0
    refused: int = 0


class Status(_Body, frozen=True):
    """No personal data: numbers and states only."""

    version: str
    hospital: str
    configuration: list[str]
    studies: int
    instances: int
    parked: int
    log_size: int
    ledger_height: int
    epoch: int
    started_at: float
    findings: list[str]
    witness: WitnessState = WitnessState()
    queue_waiting: int = 0
    queue_failed: int = 0
    queue_oldest_seconds: float = 0.0
    edges: list[EdgeSeen] = []


class GetHealth(_Body, frozen=True):
    """For `ribcage doctor`, beside `Status` and `Metrics`."""


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate's name for people, and from when to when it is valid (Unix seconds)."""

    name: str
    not_before: float
    not_after: float


class Health(_Body, frozen=True):
    """What a doctor looks at. Sizes in entries; `missing_entries` among the newest; `names` of the listeners."""

    listener: Term
    names: list[str]
    authorities: list[Term]
    devices: list[Term]
    newest_entry: float  # Unix seconds
    newest_checkpoint: int
    key_store_checkpoint: int
    missing_entries: int
    formats: dict[str, int]


class VerifyRequest(_Body, frozen=True):
    """Recompute one page of the archive from stored bytes (receipt kind `maintain`)."""

    part: Literal["log", "ledger", "rows", "objects"]
    cursor: int
    count: int


class Difference(_Body, frozen=True):
    """One finding of `verify`: what, where, expected, found. No personal data."""

    part: str
    where: str
    expected: str
    found: str


class VerifyAnswer(_Body, frozen=True):
    """`cursor` is -1 when the part is finished."""

    cursor: int
    checked: int
    differences: list[Difference]
    locations: list[str]  # for part 'objects': files that were checked, so that strays can be named


class ParkedPage(_Body, frozen=True):
    """List conflicts for the administrator."""

    start: int
    count: int


class ParkedItem(_Body, frozen=True):
    """One parked instance: its ordinal and why."""

    ordinal: int
    reason: str
    received_at: float
    device: str


class ParkedItems(_Body, frozen=True):
    """A page of conflicts."""

    items: list[ParkedItem]


# --- two persons ----------------------------------------------------------------------------------------


class Approver(_Body, frozen=True):
    """A person who approves: password and a one-time code, used up by this call."""

    username: str
    password: str
    code: str


DestructionReason = Literal["retention-end", "request-of-patient", "wrong-patient", "contract-end"]


class ShowConflict(_Body, frozen=True):
    """An officer or administrator looks at one parked instance; an entry says so."""

    ordinal: int
    by: Approver


class ConflictShown(_Body, frozen=True):
    """What a parked instance says of itself: it names a patient."""

    ordinal: int
    reason: str
    received_at: float
    attributes: Attributes


class DiscardConflict(_Body, frozen=True):
    """Two persons destroy a parked instance."""

    ordinal: int
    by: Approver
    second: Approver


FilingSort = Literal["accepted", "attached"]


class FileConflict(_Body, frozen=True):
    """Two persons make a parked instance part of a study: the one that it names, or another.

    `study`: Study Instance UID of another one. `new_study`: one of the patient that the instance names, made for it.
    """

    ordinal: int
    by: Approver
    second: Approver
    study: str = ""
    new_study: bool = False


class ConflictFiled(_Body, frozen=True):
    """Under which UIDs it is found now."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


class RejectionPage(_Body, frozen=True):
    """List rejection notes."""

    start: int = 0
    count: int = 1000


class RejectionItem(_Body, frozen=True):
    """One note, without names and UIDs. `at` in Unix seconds."""

    number: int
    code: RejectionCode
    state: Literal["standing", "undone"]
    instances: int
    source: str
    at: float


class RejectionItems(_Body, frozen=True):
    """Notes in order of their numbers."""

    items: list[RejectionItem]


class UndoRejection(_Body, frozen=True):
    """An officer or administrator shows again what a note hides."""

    number: int
    by: Approver


IdentityKind = Literal["merge", "move", "split", "correct", "undo"]


class AskIdentityChange(_Body, frozen=True):
    """First person: studies are another patient's, or their patient is named wrongly.

    Patients as 'ID' or 'ID|ISSUER'. merge: `patient` is the same person as `into`. move, split: `studies` are those
    of `into`. correct: `studies`, or all of `patient`, are named wrongly; it needs no second person. undo: `undoes`
    is taken back. None leaves a name as it is.
    """

    kind: IdentityKind
    by: Approver
    patient: str = ""
    into: str = ""
    studies: list[str] = []
    undoes: int = 0
    patient_name: str | None = None
    patient_birth_date: str | None = None
    patient_sex: str | None = None


class ApproveIdentityChange(_Body, frozen=True):
    """Second person, another one: it is done now."""

    number: int
    by: Approver


class CancelIdentityChange(_Body, frozen=True):
    """Either, or a third: before it is approved."""

    number: int
    by: Approver


class IdentityChangePage(_Body, frozen=True):
    """List changes of identity."""

    start: int = 0
    count: int = 1000


class IdentityChangeItem(_Body, frozen=True):
    """One change of identity, without names and UIDs. Times in Unix seconds, 0 where there is none."""

    number: int
    kind: IdentityKind
    state: Literal["asked", "executing", "done", "undone", "cancelled"]
    undoes: int
    studies: int
    asked_at: float
    ended_at: float


class IdentityChangeItems(_Body, frozen=True):
    """Changes in order of their numbers."""

    items: list[IdentityChangeItem]


class AskDestruction(_Body, frozen=True):
    """First person: a study is to be destroyed."""

    study_instance_uid: str
    reason: DestructionReason
    by: Approver


class ApproveDestruction(_Body, frozen=True):
    """Second person, another one: the study is closed now and destroyed when the time for second thoughts is over."""

    number: int
    by: Approver


class CancelDestruction(_Body, frozen=True):
    """Either, or a third: before it is due."""

    number: int
    by: Approver


class RunDestructions(_Body, frozen=True):
    """Execute what is due now; the guard does so by itself once a day."""


class AskFactorReset(_Body, frozen=True):
    """First administrator: a person has lost all second factors. `by` None: the person whose session asks."""

    username: str
    by: Approver | None = None


class ApproveFactorReset(_Body, frozen=True):
    """Another administrator: factors and sessions end, a code for a new enrolment is given. `by` as above."""

    username: str
    by: Approver | None = None


class FactorResetCode(_Body, frozen=True):
    """Shown once, to be handed over. `until` in Unix seconds."""

    code: str
    until: float


class EnrolFactor(_Body, frozen=True):
    """A new one-time password for the asker, whose factors were reset, by the code that was handed over."""

    session: Session
    code: str


class FactorEnrolled(_Body, frozen=True):
    """An otpauth URI, shown once."""

    totp_uri: str


class ReviewBreakGlass(_Body, frozen=True):
    """An officer or administrator, who is not the one who broke the glass, judges it; once.

    `by` None: the person whose session asks. `comment` has at most 200 characters and is sealed.
    """

    number: int
    verdict: Literal["justified", "unjustified"]
    by: Approver | None = None
    comment: str = ""


class ShowBreakGlass(_Body, frozen=True):
    """An officer or administrator reads what it was about, before judging; it is an entry of the log.

    `by` None: the person whose session asks.
    """

    number: int
    by: Approver | None = None


class BreakGlassShown(_Body, frozen=True):
    """The studies that it opened (the first hundred), the note and the reviewer's comment.

    All are empty once the patient's key is gone.
    """

    studies: list[str]
    note: str
    comment: str = ""


class DestructionItem(_Body, frozen=True):
    """One destruction, without names and UIDs. Times in Unix seconds, 0 where there is none."""

    number: int
    state: Literal["asked", "approved", "executing", "done", "cancelled"]
    reason: str
    instances: int
    asked_at: float
    due_at: float
    ended_at: float


class DestructionItems(_Body, frozen=True):
    """Destructions in order of their numbers."""

    items: list[DestructionItem]


class DestructionPage(_Body, frozen=True):
    """List destructions."""

    start: int = 0
    count: int = 1000


class GetCertificate(_Body, frozen=True):
    """The certificate of a destruction that is done."""

    number: int


class Certificate(_Body, frozen=True):
    """A signed note, the log entry that names its hash, and the log's key."""

    note: bytes
    log_index: int
    verifier_key: str


class BackupSnapshot(_Body, frozen=True):
    """Copy the database to a new file outside the home; the path is absolute."""

    path: str


class SnapshotMade(_Body, frozen=True):
    """What the copy holds: the manifest must say the same. `time_ms`: Unix milliseconds."""

    snapshot: bytes
    hospital: bytes
    time_ms: int
    octets: int
    sha256: bytes
    checkpoint: bytes
    log_size: int
    log_epoch: int
    ledger_height: int
    key_epoch: int


class BackupObjects(_Body, frozen=True):
    """One page of the sealed files that the copy names."""

    snapshot: bytes
    cursor: int
    count: int


class BackupObjectsPage(_Body, frozen=True):
    """Locations and sizes; `cursor` is -1 at the end."""

    cursor: int
    objects: list[tuple[str, int]]


class BackupSeal(_Body, frozen=True):
    """Sign this manifest (`docs/formats.md`, backup)."""

    snapshot: bytes
    text: str


class BackupSealed(_Body, frozen=True):
    """The signed note."""

    note: bytes


class BackupKeys(_Body, frozen=True):
    """Copy the key store to a new file outside the home; the path is absolute."""

    path: str


class KeysCopied(_Body, frozen=True):
    """What the copy knows."""

    sha256: bytes
    key_epoch: int
    ledger_height: int
    log_size: int


class MigrationItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A study and what it announced (`instance` ""), or one of its instances: `sha256` of its data set as it came,
    b"" where nothing came; `reason` why it was not acknowledged."""

    study: str
    announced: int = 0
    instance: str = ""
    sha256: bytes = b""
    reason: str = ""


class MigrationPage(_Body, frozen=True):
    """The next items of a migration's report, in ascending order; `report` b"" begins one."""

    report: bytes
    items: list[MigrationItem]


class MigrationLines(_Body, frozen=True):
    """The report's number, and the lines for these items."""

    report: bytes
    lines: list[str]


class MigrationSeal(_Body, frozen=True):
    """Sign the report. `source`: the protocol; `unreadable`: answers of the old PACS that named no study."""

    report: bytes
    source: str
    unreadable: int


class MigrationSealed(_Body, frozen=True):
    """The signed note, and the log's entry about it."""

    note: bytes
    log_index: int


class MakeRecovery(_Body, frozen=True):
    """Let k of n shares open the key provider; the shares of before stop. The private key never comes here.

    `passphrase` is today's: a new root is made of it, so that no earlier record fits.
    """

    public_key: bytes
    need: int
    of: int
    passphrase: bytes


class ForgetRecovery(_Body, frozen=True):
    """No shares open the key provider any more. `passphrase` as in `MakeRecovery`."""

    passphrase: bytes


class GetRecovery(_Body, frozen=True):
    """Whose shares open the key provider."""


class RecoveryState(_Body, frozen=True):
    """`need` 0: nobody's. `fingerprint` names the set; `changed`: somebody without the passphrase edited it."""

    need: int = 0
    of: int = 0
    made_ms: int = 0
    fingerprint: bytes = b""
    changed: bool = False


# --- research -------------------------------------------------------------------------------------------

NamingReason = Literal["incidental-finding", "safety", "consent-withdrawn", "data-quality", "law"]


class SetConsent(_Body, frozen=True):
    """A patient ('ID' or 'ID|ISSUER') consents to a purpose, or withdraws; in force when answered."""

    patient: str
    purpose: Purpose
    given: bool


class GetConsent(_Body, frozen=True):
    """What a patient consents to."""

    patient: str


class ConsentItem(_Body, frozen=True):
    """The last word about one purpose. `state`: how it is known. `at` in Unix seconds; `entry` of the log."""

    purpose: str
    given: bool
    state: str
    at: float
    entry: int


class ConsentItems(_Body, frozen=True):
    """By purpose; one that is absent was never spoken of."""

    items: list[ConsentItem]


class ProjectProfile(_Body, frozen=True):
    """How a project's files are made; the guard keeps it and understands none of it. `digest`: of what it does."""

    name: str
    options: list[str]
    unread: str
    digest: str


class AddProject(_Body, frozen=True):
    """A research project with a new key. `officer`: the person who may release. `until` in Unix seconds."""

    name: str
    profile: ProjectProfile
    officer: str
    until: float


class EndProject(_Body, frozen=True):
    """The project gets nothing any more; running releases are cut. Its pseudonyms stay known to the archive."""

    name: str


class ListProjects(_Body, frozen=True):
    """All projects, by name."""


class ProjectItem(_Body, frozen=True):
    """One project. `ended_at` 0: not ended early. `releases`: how many were begun."""

    name: str
    project: bytes
    profile: ProjectProfile
    officer: str
    until: float
    ended_at: float
    releases: int
    studies: int


class ProjectItems(_Body, frozen=True):
    """By name."""

    items: list[ProjectItem]


class BeginRelease(_Body, frozen=True):
    """The project's officer begins a release. `patients`: 'ID' or 'ID|ISSUER', all their studies."""

    project: str
    by: Approver
    studies: list[str]
    patients: list[str]


class ReleaseBegun(_Body, frozen=True):
    """`ticket` makes the principal `Release`; `project_key` makes the pseudonyms, in the asker alone. No image yet.

    `page_files`: how many one `SealRelease` may name.
    """

    number: int
    project: bytes
    ticket: bytes
    project_key: bytes
    profile: ProjectProfile
    until: float
    studies: list[str]
    page_files: int


class ReleasedFile(_Body, frozen=True):
    """One file as it will be handed over."""

    sha256: bytes
    octets: int


class SealRelease(_Body, frozen=True):
    """What was made of a study and found clean: the guard asks the contract once more, then writes its entry.

    `pseudonym` and `study_pseudonym` stand for patient and study in the files. `edition`, `checker`: of the tables
    that made and judged them.
    """

    ticket: bytes
    study_instance_uid: str
    pseudonym: str
    study_pseudonym: str
    edition: str
    checker: str
    files: list[ReleasedFile]


class ReleaseSealed(_Body, frozen=True):
    """A signed report for each file, in their order, and the entry that names them all."""

    notes: list[bytes]
    log_index: int
    verifier_key: str


class EndRelease(_Body, frozen=True):
    """The ticket is void. `findings`: of the check; with any, nothing was handed over."""

    ticket: bytes
    findings: int = 0


class AskReidentification(_Body, frozen=True):
    """First person: who stands behind a pseudonym of a project (a patient's, or a study's UID)?"""

    project: str
    pseudonym: str
    reason: NamingReason
    by: Approver


class ApproveReidentification(_Body, frozen=True):
    """Second person, another one; is told the answer, and so is the patient that it was asked."""

    number: int
    pseudonym: str
    by: Approver


class CancelReidentification(_Body, frozen=True):
    """Take back what nobody approved."""

    number: int
    by: Approver


class Reidentified(_Body, frozen=True):
    """Who it is. `patient` as 'ID' or 'ID|ISSUER'."""

    patients: list[str]
    studies: list[str]
    log_index: int


class ReidentificationPage(_Body, frozen=True):
    """Askings from a number on."""

    start: int = 0
    count: int = 100


class ReidentificationItem(_Body, frozen=True):
    """One asking; no pseudonym and no identity."""

    number: int
    project: str
    state: Literal["asked", "cancelled", "done"]
    reason: NamingReason
    asked_at: float
    ended_at: float


class ReidentificationItems(_Body, frozen=True):
    """In order."""

    items: list[ReidentificationItem]


class AcceptClock(_Body, frozen=True):
    """The operator says that the clock is right, after a step."""


class RenewCertificate(_Body, frozen=True):
    """A new certificate for the listeners, with the names it has and these besides."""

    hostnames: list[str] = []
    addresses: list[str] = []


class CertificateRenewed(_Body, frozen=True):
    """`fingerprint`: SHA-256 of the DER. `not_after` in Unix seconds."""

    fingerprint: bytes
    not_after: float
    names: list[str]


class Stop(_Body, frozen=True):
    """Finish what is in hand, write the last checkpoint, exit."""


# --- care relations (docs/adr/0020) ---------------------------------------------------------------------

VisitEvent = Literal["A01", "A02", "A03", "A04", "A08", "A11", "A12", "A13"]
OrderEvent = Literal["ordered", "changed", "cancelled", "reported"]
# HL7 table 0357; 0: taken.
CareCode = Literal[0, 100, 101, 102, 103, 204, 205, 206, 207]


class CarePatient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A patient as a message names them. `issuer`: '' where DICOM leaves it out too."""

    identifier: str
    issuer: str = ""
    name: str = ""  # as PN
    birth_date: str = ""
    sex: str = ""


class CareVisit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stay: its number at the sender, the ward, staff numbers of those named, whether an inpatient's."""

    event: VisitEvent
    number: str
    ward: str = ""
    staff: list[str] = []
    inpatient: bool = True


class CareOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One order: numbers, the department that performs it, staff numbers, and what a worklist shows.

    `start`: 'YYYYMMDDHHMMSS' or ''. `study_uid` '': the guard makes one.
    """

    event: OrderEvent
    number: str
    department: str = ""
    staff: list[str] = []
    accession: str = ""
    procedure_id: str = ""
    step_id: str = ""
    study_uid: str = ""
    modality: str = ""
    station: str = ""  # scheduled station AE title
    start: str = ""
    code: str = ""
    scheme: str = ""
    description: str = ""
    referring: str = ""  # as PN


class CareShift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When somebody works on a ward or in a department. Unix seconds; `ends_at` 0: without end."""

    ward: str
    begins_at: float
    ends_at: float = 0.0


class CareStaff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All shifts of one staff number that count from now on."""

    number: str
    shifts: list[CareShift]


class TakeCare(_Body, frozen=True):
    """One message of a hospital information system, as a front understood it.

    `sender` and `control`: MSH-3 and 4, MSH-10. `content`: SHA-256 of all that follows MSH. `at`: when it happened
    (EVN-2, else MSH-7), Unix seconds. `former`: whom `patient` was known as (MRG-1).
    """

    principal: Principal
    sender: str
    control: str
    kind: str  # such as 'ADT-A01'
    content: bytes
    at: float
    patient: CarePatient | None = None
    former: CarePatient | None = None
    visit: CareVisit | None = None
    orders: list[CareOrder] = []
    staff: CareStaff | None = None


class CareTaken(_Body, frozen=True):
    """Durable and in force, `again` for a message that was taken before; or why not (`code`)."""

    code: CareCode = 0
    again: bool = False


class AskWorklist(_Body, frozen=True):
    """Scheduled steps for the asking device. `filters` by keyword; `after`: position of the page before."""

    principal: Principal
    filters: dict[str, str]
    limit: int = 200
    after: bytes = b""


class WorklistAnswer(_Body, frozen=True):
    """Steps by keyword; where the next page begins, and whether there is one."""

    steps: list[dict[str, str]]
    position: bytes = b""
    more: bool = False


class ScheduledStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a performed step says of the scheduled one."""

    study_uid: str
    accession: str
    step_id: str


class ReportStep(_Body, frozen=True):
    """A modality performs a step (N-CREATE: `new`, N-SET)."""

    principal: Principal
    uid: str
    new: bool
    status: Literal["IN PROGRESS", "COMPLETED", "DISCONTINUED"]
    scheduled: list[ScheduledStep] = []


class SetStaffNumber(_Body, frozen=True):
    """The number by which the hospital's system knows a person; '' takes it back."""

    username: str
    number: str


class SetShift(_Body, frozen=True):
    """A shift that an operator writes, by staff number."""

    number: str
    shift: CareShift


class EndShift(_Body, frozen=True):
    """End a shift by its number, at once."""

    shift: int


class ListCare(_Body, frozen=True):
    """Care relations that stand, shifts, and staff numbers that nobody registered has."""


class CareItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One relation: 'visit' or 'order'. `until` 0: as long as messages come."""

    sort: str
    number: str
    patient: str
    places: list[str]
    staff: list[str]
    state: str
    until: float
    cause: str


class ShiftItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shift that has not ended."""

    shift: int
    number: str
    username: str  # '' for nobody
    ward: str
    begins_at: float
    ends_at: float
    by_hand: bool


class CareItems(_Body, frozen=True):
    """Relations, shifts; `unknown`: staff numbers that messages name and no person has."""

    relations: list[CareItem]
    shifts: list[ShiftItem]
    unknown: list[str]
    waiting: int = 0  # changes of grants still to be made


HouseRequest = (
    InvitePatient
    | AddPerson
    | SuspendPerson
    | ListPersons
    | AddDevice
    | SuspendDevice
    | ListDevices
    | AddGrant
    | RevokeGrant
    | ListGrants
    | GetStatus
    | ParkedPage
    | ListThrottled
    | BreakGlassPage
    | ShowBreakGlass
    | ReviewBreakGlass
    | AskFactorReset
    | ApproveFactorReset
)


class AsAdministrator(_Body, frozen=True):
    """An administrator's call from the web: role and a fresh second factor; officers may read."""

    session: Session
    request: HouseRequest


FrontRequest = (
    Hello
    | Ping
    | GetReadiness
    | CheckDevice
    | Refusal
    | ReportExposure
    | RenewDevice
    | Derive
    | Admit
    | Commit
    | IngestClosed
    | OpenEdgeEntry
    | EdgeEntryOver
    | EdgeReport
    | CheckCommitment
    | ListOwedReports
    | ReportHeard
    | TakeReport
    | ReportOver
    | Query
    | Disclose
    | Open
    | CheckDisclosure
    | DisclosureClosed
    | FindDestination
    | TakeJob
    | HoldJob
    | JobItem
    | JobOver
    | QueueMove
    | ListElsewhere
    | AdmitElsewhere
    | PassedElsewhere
    | BreakGlass
    | TakeCare
    | AskWorklist
    | ReportStep
    | LogIn
    | StepUp
    | LogOut
    | WhoAmI
    | ListSessions
    | EndSessions
    | BeginPasskey
    | BeginPasskeyLogIn
    | AddPasskey
    | PasskeyStepUp
    | PasskeyLogIn
    | ListPasskeys
    | RemovePasskey
    | MakeRecoveryCodes
    | EnrolFactor
    | AsAdministrator
    | EnterPatient
    | DescribePatient
    | LeavePatient
    | ListPatientEntries
    | ProvePatientEntry
    | ListPatientRights
    | PatientObjects
    | BeginPatientPasskey
    | AddPatientPasskey
    | ListPatientPasskeys
    | RemovePatientPasskey
    | BeginPatientLogIn
    | PatientLogIn
    | AdminChallenge
    | AdminProof
    | GetMetrics
)
AdminRequest = (
    AddPerson
    | SuspendPerson
    | ListPersons
    | AddDevice
    | SuspendDevice
    | SetDeviceCharset
    | DescribeDevice
    | ListDevices
    | AddGrant
    | RevokeGrant
    | ListGrants
    | SetStaffNumber
    | SetShift
    | EndShift
    | ListCare
    | AddDestination
    | TrustEdge
    | ReportPage
    | RetryReport
    | DropReport
    | RemoveDestination
    | ListDestinations
    | SetDestinationRetry
    | ShowDestination
    | QueueStudy
    | QueuePage
    | ShowJob
    | RetryJob
    | DropJob
    | AddRoute
    | RemoveRoute
    | ListRoutes
    | Object
    | InvitePatient
    | AuditPage
    | ProveEntry
    | BeginExport
    | ExportPage
    | GetStatus
    | GetHealth
    | TrustWitness
    | ForgetWitness
    | VerifyRequest
    | ParkedPage
    | ListThrottled
    | ShowConflict
    | DiscardConflict
    | FileConflict
    | RejectionPage
    | UndoRejection
    | AskIdentityChange
    | ApproveIdentityChange
    | CancelIdentityChange
    | IdentityChangePage
    | AskDestruction
    | ApproveDestruction
    | CancelDestruction
    | RunDestructions
    | DestructionPage
    | GetCertificate
    | BreakGlassPage
    | ShowBreakGlass
    | ReviewBreakGlass
    | AskFactorReset
    | ApproveFactorReset
    | EndBreakGlass
    | GetAlarms
    | AcceptClock
    | RenewCertificate
    | BackupSnapshot
    | BackupObjects
    | BackupSeal
    | MigrationPage
    | MigrationSeal
    | BackupKeys
    | SetConsent
    | GetConsent
    | AddProject
    | EndProject
    | ListProjects
    | BeginRelease
    | SealRelease
    | EndRelease
    | AskReidentification
    | ApproveReidentification
    | CancelReidentification
    | ReidentificationPage
    | MakeRecovery
    | ForgetRecovery
    | GetRecovery
    | Stop
)
Request = FrontRequest | AdminRequest
Response = (
    TlsIdentity
    | Readiness
    | Metrics
    | DeviceKnown
    | Derived
    | Admitted
    | AlreadyHeld
    | Committed
    | CommitmentChecked
    | OwedReports
    | ReportTaken
    | ReportLines
    | QueryAnswer
    | Disclosed
    | Opened
    | DisclosureChecked
    | Revoked
    | ListedElsewhere
    | GlassBroken
    | BreakGlassItem
    | BreakGlassItems
    | BreakGlassShown
    | Alarms
    | LoggedIn
    | Person
    | Told
    | SessionItems
    | PasskeyOptions
    | PasskeyItem
    | PasskeyItems
    | RecoveryCodes
    | FactorResetCode
    | FactorEnrolled
    | PatientState
    | PatientEntries
    | PatientRights
    | PatientInvited
    | PersonItems
    | ThrottledItems
    | DeviceItems
    | DestinationKnown
    | DestinationItems
    | JobTaken
    | NoJob
    | Queued
    | QueueLines
    | JobShown
    | RouteAdded
    | RouteItems
    | GrantItems
    | CareTaken
    | CareItems
    | WorklistAnswer
    | Noted
    | IngestNoted
    | EdgeEntryOpened
    | EdgeAnswer
    | EdgeTrusted
    | Refused
    | AdminNonce
    | PersonAdded
    | DeviceAdded
    | DeviceRenewed
    | GrantAdded
    | AuditEntries
    | EntryProof
    | ExportBegun
    | ExportedLeaves
    | Status
    | Health
    | WitnessTrusted
    | VerifyAnswer
    | ParkedItems
    | ConflictShown
    | ConflictFiled
    | RejectionItem
    | RejectionItems
    | IdentityChangeItem
    | IdentityChangeItems
    | DestructionItem
    | DestructionItems
    | Certificate
    | SnapshotMade
    | BackupObjectsPage
    | BackupSealed
    | MigrationLines
    | MigrationSealed
    | KeysCopied
    | ConsentItems
    | ProjectItem
    | ProjectItems
    | ReleaseBegun
    | ReleaseSealed
    | Reidentified
    | ReidentificationItem
    | ReidentificationItems
    | RecoveryState
    | CertificateRenewed
)


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A request with the number its answer will quote."""

    id: int
    body: Request


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A response; `id` 0 is unsolicited."""

    id: int
    body: Response
