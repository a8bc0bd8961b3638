"""Audit entries: frozen shape, required fields of PS3.15 A.5, and no way in for personal data."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.evidence import audit_event as ae
from ribcage.evidence.entry import MAX_SAFE_INTEGER, canonical, instant, parse, token
from ribcage.evidence.errors import EntryInvalid
from ribcage.evidence.migration_report import Totals

STAMP = ae.Stamp(1_700_000_000_123, b"\x01" * 16)
DEVICE = ae.DeviceActor(b"\x02" * 32, "192.0.2.7", "CT ROOM 1")
PERSON = ae.PersonActor(b"\x03" * 16, "2001:db8::1", 2, via=DEVICE)
ROOT = ae.OperatorActor("root")
GUARD = ae.SystemActor("guard")
STRANGER = ae.StrangerActor("198.51.100.9", "ANYONE")
STUDY, PATIENT, OBJECT, DISCLOSURE = b"\x04" * 16, b"\x05" * 16, b"\x06" * 16, b"\x07" * 16
HASH = b"\x08" * 32

EVENTS = {
    "application-started": (ae.ApplicationActivity(GUARD, "start", "0.1.0", ("embedded",)), "110100", "0"),
    "application-stopped": (ae.ApplicationActivity(GUARD, "stop", "0.1.0"), "110100", "0"),
    "association-refused": (ae.AssociationRefused(STRANGER, "dicom", "no_certificate", 3), "110113", "4"),
    "audit-log-used": (ae.AuditLogUsed(ROOT, 0, 100, b"\x03" * 16), "110101", "0"),
    "backup-made": (ae.BackupMade(ROOT, "data", HASH, 70, 3, 12), "object", "0"),
    "break-glass": (
        ae.BreakGlass(PERSON, DISCLOSURE, 3, STUDY, PATIENT, "on-call", 1_800_000_000_000, HASH, b"sealed"),
        "110113",
        "0",
    ),
    "break-glass-changed": (ae.BreakGlassChanged(ROOT, DISCLOSURE, 3, "ended"), "110113", "0"),
    "break-glass-refused": (ae.BreakGlassRefused(PERSON, STUDY, PATIENT, "legal-block"), "110113", "8"),
    "clock-changed": (ae.ClockChanged(GUARD, "stepped-back", -7000), "110113", "8"),
    "configuration-changed": (ae.ConfigurationChanged(ROOT, "listen.dicom"), "110113", "0"),
    "recovery-changed": (ae.RecoveryChanged(ROOT, "made", 3, 5, HASH), "110113", "0"),
    "conflict-resolved": (
        ae.ConflictResolved(PERSON, OBJECT, "accepted", 4, STUDY, PATIENT, OBJECT),
        "110113",
        "0",
    ),
    "rejection-changed": (
        ae.RejectionChanged(PERSON, 3, "undone", "113001", STUDY, PATIENT, 2),
        "110113",
        "0",
    ),
    "rejection-refused": (ae.RejectionRefused(DEVICE, "113037", "dimse", "not_permitted"), "110113", "8"),
    "identity-changed": (ae.IdentityChanged(PERSON, 3, "merge", "done", PATIENT, (STUDY,)), "110113", "0"),
    "consent-changed": (ae.ConsentChanged(ROOT, PATIENT, "HRESCH", True, HASH), "110113", "0"),
    "project-changed": (ae.ProjectChanged(ROOT, OBJECT, "added", PATIENT, 5), "110113", "0"),
    "release-changed": (ae.ReleaseChanged(PERSON, OBJECT, 2, "withdrawn", 3), "110113", "8"),
    "study-released": (
        ae.StudyReleased(PERSON, OBJECT, 2, STUDY, PATIENT, 12, HASH, "research-basic/0a1b2c3d"),
        "110104",
        "0",
    ),
    "reidentification-changed": (
        ae.ReidentificationChanged(PERSON, OBJECT, 1, "done", "safety", PATIENT, (STUDY,)),
        "110113",
        "0",
    ),
    "migration-reported": (
        ae.MigrationReported(ROOT, "dicoms", HASH, Totals(2, 3, 3)),
        "object",
        "0",
    ),
    "edge-told": (ae.EdgeTold(DEVICE, OBJECT, "taken", 3, HASH, HASH), "object", "0"),
    "home-restored": (
        ae.HomeRestored(ROOT, (PATIENT, STUDY), "disk-failed", HASH, 2, 70, 90, HASH, 1, 1, False),
        "object",
        "0",
    ),
    "derivation-allowed": (
        ae.DerivationAllowed(PERSON, STUDY, PATIENT, "masked", "dicomweb", 3, patient_given=True),
        "110103",
        "0",
    ),
    "derivation-refused": (
        ae.DerivationRefused(PERSON, None, None, "dicomweb", "unknown-study"),
        "110103",
        "8",
    ),
    "destruction-changed": (
        ae.DestructionChanged(ROOT, STUDY, STUDY, 7, "approved", "retention-end", 1_800_000_000_000),
        "110113",
        "0",
    ),
    "care-told": (ae.CareTold(DEVICE, "ADT-A01", HASH, PATIENT, (STUDY,)), "110113", "0"),
    "care-refused": (ae.CareTold(DEVICE, "ADT-A01", HASH, reason="error-204"), "110113", "4"),
    "staff-changed": (ae.StaffChanged(ROOT, "number-set", person=STUDY), "110113", "0"),
    "routing-changed": (ae.RoutingChanged(ROOT, "rule-added", 3, HASH), "110113", "0"),
    "device-changed": (ae.DeviceChanged(ROOT, HASH, "added", ("store", "query")), "110113", "0"),
    "disclosure-allowed": (
        ae.DisclosureAllowed(
            PERSON, DISCLOSURE, STUDY, PATIENT, "full", "TREAT", "dicomweb", 12, "grant", 9, 1, 3
        ),
        "110103",
        "0",
    ),
    "disclosure-closed": (
        ae.DisclosureClosed(PERSON, DISCLOSURE, STUDY, PATIENT, 12, 9_000, "cut"),
        "110104",
        "4",
    ),
    "disclosure-refused": (
        ae.DisclosureRefused(DEVICE, STUDY, None, "full", "TREAT", "dimse", "not_permitted"),
        "110103",
        "8",
    ),
    "emergency-journal-broken": (ae.EmergencyJournalBroken(GUARD, 7), "110113", "8"),
    "patient-access": (
        ae.PatientAccessChanged(ae.PatientActor(PATIENT, "192.0.2.7"), PATIENT, "entered"),
        "110114",
        "0",
    ),
    "grant-changed": (
        ae.GrantChanged(ROOT, 3, "added", HASH, HASH, HASH, "masked", "HRESCH", 5),
        "110113",
        "0",
    ),
    "instance-forwarded": (ae.InstanceForwarded(DEVICE, HASH, STUDY, 1_000), None, None),
    "exposure-changed": (ae.ExposureChanged(GUARD, "found", "plain-dicom", "private", 104), "110113", "4"),
    "instance-parked": (ae.InstanceParked(DEVICE, OBJECT, HASH, "patient_mismatch", 2), "110104", "4"),
    "instance-stored": (ae.InstanceStored(DEVICE, OBJECT, HASH, STUDY, 1_000), None, None),
    "instances-received": (
        ae.InstancesTransferred(DEVICE, STUDY, 20, 1, "dimse", PATIENT),
        "110104",
        "4",
    ),
    "administration-used": (ae.AdministrationUsed(PERSON, "list-persons"), "110113", "0"),
    "session-alarm": (ae.SessionAlarm(PERSON, "superseded-secret", ended=True), "110113", "8"),
    "login": (ae.Authentication(PERSON, "login"), "110114", "0"),
    "login-failed": (ae.Authentication(STRANGER, "login", "unknown_name"), "110114", "4"),
    "logout": (ae.Authentication(PERSON, "logout"), "110114", "0"),
    "maintenance": (ae.Maintenance(ROOT, "verify", "objects", 500, 1), "object", "8"),
    "objection-changed": (ae.ObjectionChanged(ROOT, PATIENT, None, True, HASH), "110113", "0"),
    "person-changed": (ae.PersonChanged(ROOT, STUDY, "roles", ("radiologist",)), "110113", "0"),
    "query-answered": (
        ae.QueryAnswered(PERSON, "dicomweb", "study", ("PatientName", "StudyDate"), (STUDY,), 1, False),
        "110112",
        "0",
    ),
    "query-refused": (ae.QueryRefused(DEVICE, "dimse", "study", "not_permitted"), "110112", "8"),
    "sealing-leased": (ae.SealingLeased(DEVICE, STUDY, PATIENT, "dimse"), "110103", "0"),
    "step-up": (ae.Authentication(PERSON, "step-up"), "110114", "0"),
    "step-up-failed": (ae.Authentication(PERSON, "step-up", "wrong_code"), "110114", "4"),
    "study-destroyed": (ae.StudyDestroyed(ROOT, STUDY, PATIENT, 20, 4), "110105", "0"),
}


def test_every_kind_has_an_example_here():
    assert set(EVENTS) == set(ae.KINDS)


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_entry_has_the_required_fields_and_one_line(kind):
    event, code, outcome = EVENTS[kind]
    body = ae.entry_body(event, STAMP)
    entry = json.loads(body)
    assert parse(body) == entry
    assert ae.kind_of(body) == kind
    assert entry["recorded"] == "2023-11-14T22:13:20.123Z"
    line = ae.describe(body)
    assert "\n" not in line
    assert line.startswith(f"{entry['recorded']} | {ae.KINDS[kind]} | by ")
    if code is None:
        assert entry["version"] == ae.ENTRY_VERSION
        return
    assert entry["resourceType"] == "AuditEvent"
    assert entry["type"]["code"] == code
    assert entry["outcome"] == outcome
    assert entry["action"] in set("CRUDE")
    assert sum(each["requestor"] for each in entry["agent"]) == 1  # PS3.15 A.5.2: only one requestor
    assert entry["source"]["site"] == "01" * 16
    assert entry["source"]["observer"]["identifier"]["value"]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("association-refused", "110126"),
        ("application-started", "110120"),
        ("application-stopped", "110121"),
        ("break-glass", "110127"),
        ("login", "110122"),
        ("login-failed", "110122"),
        ("logout", "110123"),
        ("person-changed", "110136"),
        ("objection-changed", "110135"),
        ("device-changed", "110129"),
        ("routing-changed", "110129"),
    ],
)
def test_security_alert_and_authentication_carry_their_code(kind, code):
    entry = EVENTS[kind][0].to_entry(STAMP)
    assert code in {each["code"] for each in entry["subtype"]}


def test_instance_leaf_stays_compact():
    assert len(ae.entry_body(EVENTS["instance-stored"][0], STAMP)) < 400


def test_query_entry_names_studies_and_no_filter_values():
    text = ae.entry_body(EVENTS["query-answered"][0], STAMP).decode()
    assert "PatientName" in text
    assert STUDY.hex() in text
    with pytest.raises(EntryInvalid):
        ae.entry_body(
            ae.QueryAnswered(PERSON, "dicomweb", "study", ("PatientName=王小明",), (), 0, False), STAMP
        )


@pytest.mark.parametrize("name", ["王小明", "Wang Xiaoming", "Wang^Xiaoming", "", "a" * 129, "x\ny", "-x"])
def test_free_text_cannot_enter_an_entry(name):
    with pytest.raises(EntryInvalid):
        token(name)
    with pytest.raises(EntryInvalid):
        ae.entry_body(ae.ConfigurationChanged(ae.OperatorActor(name), "setting"), STAMP)
    with pytest.raises(EntryInvalid):
        ae.entry_body(ae.InstanceParked(DEVICE, OBJECT, HASH, name or " ", 1), STAMP)


@pytest.mark.parametrize("title", ["王小明", "A\\B", "x" * 17, "A\nB", "\x1b[31m"])
@pytest.mark.parametrize("address", ["", "testclient", "10.0.0.1:104", "'; --"])
def test_strangers_rubbish_neither_enters_the_log_nor_stops_it(title, address):
    body = ae.entry_body(ae.AssociationRefused(ae.StrangerActor(address, title), "dicom", "malformed"), STAMP)
    agent = json.loads(body)["agent"][0]
    assert agent["altId"] == "AETITLES=INVALID"
    assert agent["network"] == {"address": "INVALID" if address else "local", "type": "1"}


def test_identifier_of_wrong_length_is_refused():
    with pytest.raises(EntryInvalid):
        ae.entry_body(ae.StudyDestroyed(ROOT, b"1.2.840.1", PATIENT, 1, 1), STAMP)


def test_query_of_too_many_studies_is_refused_and_of_most_fits():
    many = tuple(number.to_bytes(16) for number in range(401))
    ae.entry_body(ae.QueryAnswered(PERSON, "dimse", "study", (), many[:400], 400, True), STAMP)
    with pytest.raises(EntryInvalid):
        ae.entry_body(ae.QueryAnswered(PERSON, "dimse", "study", (), many, 401, True), STAMP)


json_values = st.recursive(
    st.text(max_size=8) | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcXYZ", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4))
def test_canonical_form_is_unique_and_reversible(value):
    value["version"] = ae.ENTRY_VERSION
    body = canonical(value)
    assert parse(body) == value
    assert canonical(dict(reversed(value.items()))) == body
    with pytest.raises(EntryInvalid):
        parse(b" " + body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":2}',
        b'{"version":1.0}',
        b'{"version": 1}',
        b'{"version":1,"version":1}',
        b'{"z":1,"version":1}',
        b'{"a":null,"version":1}',
        b'{"a":"\\u0041","version":1}',
        b'{"a":"\xff","version":1}',
        b'{"resourceType":"AuditEvent","version":1}',
        b'{"a":' + b"[" * 20 + b"]" * 20 + b',"version":1}',
        b'{"a":' + b"[" * 60_000,
    ],
)
def test_entry_in_another_spelling_or_version_is_refused(body):
    with pytest.raises(EntryInvalid):
        parse(body)


@pytest.mark.parametrize(
    "value", [{"a": 1.5}, {"a": None}, {"a": 1 << 53}, {"é": 1}, {"a": "\ud800"}, {"a": "x" * 70_000}]
)
def test_value_outside_the_canonical_subset_is_refused(value):
    with pytest.raises(EntryInvalid):
        canonical(value)


def test_describe_prints_no_control_characters():
    body = canonical({"version": 1, "kind": "instance-stored", "by": "\x1b[2J\u202e", "recorded": "now"})
    assert all(each.isprintable() for each in ae.describe(body))


@pytest.mark.parametrize("ms", [-1, 253_402_300_800_000])
def test_time_outside_the_calendar_is_refused(ms):
    with pytest.raises(EntryInvalid):
        instant(ms)
