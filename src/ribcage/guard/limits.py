"""Limits of the guard. Units stand in the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sees = Literal["names", "roles"]


@dataclass(frozen=True)
class GuardLimits:
    """How long, how many, how often; and the name passkeys are bound to."""

    session_seconds: int = 12 * 3600
    second_factor_seconds: int = 900  # sliding, for browsing
    reader_shift_seconds: int = 8 * 3600  # the assigned reader
    session_rotation_seconds: int = 900  # then its secret is replaced
    session_grace_seconds: int = 30  # for requests under way with the secret before
    long_request_seconds: int = 3600  # the longest request that outlives its secret
    passkey_challenge_seconds: int = 120
    passkeys_per_person: int = 10
    web_name: str = "localhost"  # the relying party of passkeys
    web_port: int = 8443  # 0: given by the system
    patient_session_seconds: int = 1800
    patient_sessions: int = 8  # live ones of one patient; then the oldest ends
    patient_sees: Sees = "names"  # of persons and devices; else role and department
    patient_passkeys: int = 5
    patient_page_entries: int = 50
    patient_calls_per_minute: int = 60  # pages and proofs of one patient
    patient_objections_per_hour: int = 20
    invitation_days: int = 30  # at most
    invitation_tries: int = 5  # wrong birth dates, then it is dead
    enter_attempts: int = 20  # failed ones of one address within `password_window_seconds`
    patient_index_entries: int = 2000  # older entries looked through at one tick
    public_destinations: tuple[str, ...] = ()  # addresses outside private ranges that C-MOVE may send to
    queue_jobs: int = 10_000  # waiting, being sent or failed
    queue_done_jobs: int = 1000  # remembered
    queue_job_instances: int = 20_000
    queue_tries: int = 12  # without one instance that arrives; then the job has failed
    queue_first_seconds: float = 10.0  # before the second try; doubled each time
    queue_most_seconds: float = 3600.0
    queue_lease_seconds: float = 60.0  # after a sender was last heard
    queue_page_jobs: int = 1000
    route_rules: int = 200
    route_priors: int = 10  # of one rule
    priors_per_hour: int = 1000  # studies that one sender's new ones may pull
    rejections_per_hour: int = 60  # notes of one device
    disclosure_seconds: int = 900
    admission_lease_seconds: int = 900
    pending_admissions: int = 4096
    live_disclosures: int = 16384
    commitment_references: int = 20_000  # of one request
    commitment_reports: int = 64  # kept of one device; the oldest give way
    commitment_wait_seconds: float = 10.0  # for a device's own association, before one is opened to it
    query_answer_records: int = 1000
    query_candidates: int = 20_000
    disclosure_instances: int = 20_000
    password_attempts: int = 5
    password_window_seconds: int = 300
    grant_default_seconds: int = 24 * 3600
    release_seconds: int = 8 * 3600  # of one release to a project, from its beginning
    release_page_files: int = 2000  # sealed by one entry
    projects: int = 1000
    care_grace_hours: float = 24.0  # after a discharge
    care_report_days: float = 30.0  # after an order's report
    care_inpatient_days: float = 90.0  # after the last message about a visit that nobody ends
    care_outpatient_days: float = 7.0
    care_order_days: float = 90.0
    care_grant_days: float = 30.0  # then a grant is given anew
    care_message_days: float = 90.0  # how long a message is known again
    care_ahead_hours: float = 24.0  # how far ahead of our clock an event may be
    care_look_seconds: float = 30.0  # between two looks at shifts and endings
    care_changes: int = 64  # of grants, at one tick
    break_glass_seconds: int = 4 * 3600
    break_glass_per_day: int = 5  # of one person
    break_glass_review_hours: int = 72  # then a finding
    factor_reset_hours: int = 24  # how long the code of a reset works
    destruction_reversible_days: int = 7
    destruction_batch_seconds: float = 24 * 3600.0
    disk_stop_mib: int = 512  # less room than this: nothing more is stored
    disk_reserve_mib: int = 16  # kept for the log
    checkpoint_seconds: float = 0.5
    witness_seconds: float = 1.0  # between two questions
    witness_retry_seconds: float = 3.0
    witness_answer_seconds: float = 5.0
    witness_silent_seconds: float = 60.0  # then a finding
    stranger_report_seconds: float = 60.0
    connections: int = 256
    calls_in_flight: int = 512  # per connection
    audit_page_entries: int = 1000
    export_page_leaves: int = 16384
    verify_page_items: int = 2000
    renewal_days: int = 7  # how long a renewed device's old certificate holds at most
    renewal_pause_seconds: int = 60  # between two renewals that were not used
    expiry_warning_days: int = 30
    shield_department: str = ""  # of studies that an old PACS names; '': this home is no shield
