"""Each check of the doctor with facts that are good and facts that are not: a table of levels and words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest

from ribcage.guard.protocol import Term, WitnessState
from ribcage.oversight.doctor import house, machine
from ribcage.oversight.doctor.finding import LEVELS, Finding, needs_a_person, worst

NOW, DAY, MIB = 1.8e9, 86400.0, 1 << 20

CLOCK = machine.ClockFacts(NOW, NOW - 5, True, 0.01, "", 0.0, NOW - 2)
SYSTEM = machine.FileSystem(("objects", "database", "keys"), "ext4", 90_000 * MIB, False, 0.001)
DISK = machine.DiskFacts((SYSTEM,), 512 * MIB, 16 * MIB, True)
LIMITS = machine.LimitFacts("the guard", 65536, -1, True, "core")
PORTS = machine.PortFacts(True, (("dicom", "tls"), ("https", "tls")), ())
ORTHANC = machine.Listener("0.0.0.0", 4242, "Orthanc")
PROCESSES = machine.ProcessFacts((7,), 2, 2, True, 7)
LISTENER = Term("the listeners' certificate", NOW - DAY, NOW + 300 * DAY)
ROOT = Term("the root authority", NOW - DAY, NOW + 3000 * DAY)
CERTIFICATES = house.CertificateFacts(
    NOW, LISTENER, ("localhost", "pacs.example", "127.0.0.1", "10.0.0.5"), ("10.0.0.5",), ("pacs.example",),
    (ROOT,), (Term("cr-1", 0.0, NOW + 200 * DAY),),
)  # fmt: skip
PLACES = house.PlaceFacts(
    (
        house.Place("", 0o700, True),
        house.Place("keys", 0o700, True),
        house.Place("keys/provider.json", 0o600, True),
    ),
    "/srv/ribcage/keys",
    "ext4",
    (),
)
PROVIDER = house.ProviderFacts("", "file", 2, 256 * 1024, 3)
LOG = house.LogFacts(1000, 1000, 1000, 1.0, 0, 12, False, ())
WITNESS = WitnessState("open", "witness.example/1", 1000, NOW - 3, 0.0, "")
PYTHON = house.Version("Python", "3.11.7", (3, 11), (3, 13))


def opened_to(mode: int, *names: str) -> house.PlaceFacts:
    """The places with `mode` on those named."""
    changed = tuple(replace(each, mode=mode) if each.name in names else each for each in PLACES.places)
    return replace(PLACES, places=changed)


def system(**more: object) -> machine.DiskFacts:
    return replace(DISK, systems=(replace(SYSTEM, **more),))  # type: ignore[arg-type]  # fields of the case


def certificate(**more: object) -> house.CertificateFacts:
    return replace(CERTIFICATES, **more)  # type: ignore[arg-type]  # fields of the case


# (check, facts, worst level, a word of the worst finding)
CASES = (
    (machine.clock, CLOCK, "ok", "agrees"),
    (machine.clock, replace(CLOCK, stepped="back", off_seconds=-4000.0), "bad", "stepped back by 4000 s"),
    (machine.clock, replace(CLOCK, newest_entry=NOW + 60), "bad", "60 s behind the log's newest entry"),
    (machine.clock, replace(CLOCK, newest_file=NOW + 90), "bad", "90 s behind the newest file"),
    (machine.clock, replace(CLOCK, synchronised=False), "warning", "not synchronised"),
    (machine.clock, replace(CLOCK, synchronised=None), "note", "does not tell"),
    (machine.clock, replace(CLOCK, error_seconds=7.0), "warning", "wrong by 7.0 s"),
    (machine.clock, replace(CLOCK, stepped=None), "note", "not checked"),
    (machine.disk, DISK, "ok", "90000 MiB left on ext4, a sync takes 1.0 ms"),
    (machine.disk, system(free_bytes=500 * MIB), "bad", "storing stops below 512 MiB"),
    (machine.disk, system(free_bytes=600 * MIB), "warning", "600 MiB left"),
    (machine.disk, system(read_only=True), "bad", "read-only"),
    (machine.disk, system(sync_seconds=0.2), "warning", "200 ms"),
    (machine.disk, system(sync_seconds=2.0), "bad", "2000 ms"),
    (machine.disk, system(sync_seconds=None), "note", "could not be measured"),
    (machine.disk, system(kind="tmpfs"), "bad", "gone when the machine stops"),
    (machine.disk, system(kind="nfs4"), "bad", "locks and syncs"),
    (machine.disk, system(kind="fuse.sshfs", folders=("objects",)), "warning", "locks and syncs"),
    (machine.disk, replace(DISK, reserve_held=False), "warning", "reserve of 16 MiB"),
    (machine.limits, LIMITS, "ok", ""),
    (machine.limits, replace(LIMITS, open_files=512), "warning", "512 files"),
    (machine.limits, replace(LIMITS, open_files=1024), "note", "1024 files"),
    (machine.limits, replace(LIMITS, locked_bytes=65536), "warning", "64 KiB"),
    (machine.limits, replace(LIMITS, locked_bytes=65536, swap=False), "ok", ""),
    (machine.limits, replace(LIMITS, core_pattern="|/usr/share/apport %p"), "note", "/usr/share/apport"),
    (machine.limits, replace(LIMITS, core_pattern="|"), "note", "a program"),
    (machine.ports, PORTS, "ok", "answer with TLS"),
    (machine.ports, replace(PORTS, running=False, answers=()), "ok", "nobody"),
    (machine.ports, replace(PORTS, answers=(("dicom", "plain"),)), "bad", "does not speak TLS"),
    (machine.ports, replace(PORTS, answers=(("https", "refused"),)), "bad", "nothing listens"),
    (machine.ports, replace(PORTS, answers=(("https", "silent"),)), "bad", "does not answer"),
    (machine.ports, replace(PORTS, others=(ORTHANC,)), "warning", "Orthanc listens on 0.0.0.0 port 4242"),
    (machine.ports, replace(PORTS, others=(replace(ORTHANC, address="127.0.0.1"),)), "note", "Orthanc"),
    (machine.ports, replace(PORTS, others=(replace(ORTHANC, program=""),)), "warning", "a program"),
    (machine.processes, PROCESSES, "ok", "2 fronts"),
    (machine.processes, machine.ProcessFacts((), 0, 2, True, 7), "note", "for a moment"),
    (machine.processes, replace(PROCESSES, fronts=1), "warning", "1 of 2 fronts"),
    (machine.processes, replace(PROCESSES, guards=(7, 8)), "bad", "2 guards"),
    (machine.processes, replace(PROCESSES, answers=False), "bad", "process 7 has the home"),
    (machine.processes, machine.ProcessFacts((), 2, 2, False, 0), "bad", "without a guard"),
    (machine.processes, machine.ProcessFacts((), 0, 2, False, 0), "note", "does not run"),
    (house.certificates, CERTIFICATES, "ok", ""),
    (house.certificates, certificate(now=NOW + 301 * DAY), "bad", "expired 1 days ago"),
    (house.certificates, certificate(now=NOW + 280 * DAY), "warning", "20 days left"),
    (house.certificates, certificate(now=NOW - 9 * DAY), "bad", "not valid yet"),
    (
        house.certificates,
        certificate(authorities=(Term("the root authority", 0.0, NOW + 90 * DAY),)),
        "warning",
        "root",
    ),
    (house.certificates, certificate(devices=(Term("cr-9", 0.0, NOW - 1),)), "warning", "cr-9 are refused"),
    (
        house.certificates,
        certificate(devices=(Term("cr-9", 0.0, NOW + DAY),)),
        "warning",
        "expire within 30 days",
    ),
    (house.certificates, certificate(addresses=("10.0.0.6",)), "warning", "does not cover 10.0.0.6"),
    (
        house.certificates,
        certificate(hostnames=("other.example",)),
        "warning",
        "does not cover other.example",
    ),
    (house.certificates, certificate(addresses=("0.0.0.0",)), "ok", ""),
    (
        house.certificates,
        certificate(addresses=("0.0.0.0",), names=("localhost", "127.0.0.1", "::1"), hostnames=()),
        "warning",
        "loopback alone",
    ),
    (house.certificates, certificate(listener=None, names=None), "note", "listeners' certificate"),
    (house.certificates, certificate(devices=None, authorities=None), "note", "not checked"),
    (house.places, PLACES, "ok", ""),
    (house.places, opened_to(0o644, "keys/provider.json"), "warning", "mode 0644"),
    (house.places, opened_to(0o755, "", "keys"), "bad", "others may use keys"),
    (house.places, opened_to(0o755, ""), "warning", "the home"),
    (house.places, replace(PLACES, places=(house.Place("keys", 0o700, False),)), "warning", "another user"),
    (house.places, replace(PLACES, keys_kind="cifs"), "bad", "cifs"),
    (house.places, replace(PLACES, keys_path="/srv/Nextcloud/keys"), "warning", "nextcloud"),
    (house.places, replace(PLACES, keys_marks=("/srv/.stfolder",)), "warning", ".stfolder"),
    (house.places, replace(PLACES, root_beside="/srv/ribcage-root"), "warning", "root key still lies beside"),
    (house.provider, PROVIDER, "ok", "256 MiB and 3 passes"),
    (house.provider, replace(PROVIDER, memory_kib=64), "bad", "cheap to guess"),
    (house.provider, replace(PROVIDER, memory_kib=32 * 1024), "warning", "is little"),
    (house.provider, replace(PROVIDER, slots=0), "warning", "no key"),
    (house.provider, house.ProviderFacts("provider.json is damaged"), "bad", "damaged"),
    (house.log, LOG, "ok", "1000 entries"),
    (house.log, replace(LOG, missing=3), "bad", "3 of the newest entries"),
    (house.log, replace(LOG, checkpoint_size=900), "bad", "checkpoints were removed"),
    (
        house.log,
        replace(LOG, size=1050, checkpoint_age_seconds=600.0),
        "warning",
        "50 entries wait for a checkpoint",
    ),
    (house.log, replace(LOG, size=1050), "ok", "1050 entries"),
    (house.log, replace(LOG, findings=("row 3 was changed",)), "bad", "row 3"),
    (house.log, None, "note", "not checked"),
    (house.ledger, LOG, "ok", "height 12"),
    (house.ledger, replace(LOG, ledger_behind=True), "bad", "lacks a change of rights"),
    (house.ledger, None, "note", "not checked"),
    (house.versions, (PYTHON,), "ok", "Python 3.11.7"),
    (house.versions, (replace(PYTHON, found="3.13.1"),), "warning", "below 3.13"),
    (house.versions, (house.Version("SQLite", "3.35.0", (3, 37)),), "warning", "from 3.37"),
    (house.versions, (house.Version("SQLCipher", "", (4,)),), "warning", "unknown"),
)
WITNESSES = (
    (WITNESS, "ok", "last 3 s ago"),
    (WitnessState(), "note", "no witness"),
    (WitnessState("behind", trouble="another root"), "bad", "behind the witness (another root)"),
    (WitnessState("waiting", "w"), "bad", "no cosignature since the start"),
    (WitnessState("open", "w", 9, NOW, 90.0, "silent"), "warning", "silent for 90 s"),
    (None, "note", "not checked"),
)


def told(findings: list[Finding]) -> str:
    """What the worst of them say."""
    return "\n".join(each.text for each in findings if each.level == worst(findings))


@pytest.mark.parametrize(
    ("check", "facts", "level", "words"), CASES, ids=lambda each: getattr(each, "__name__", "")
)
def test_facts_give_the_level_and_say_why(check, facts, level, words) -> None:
    found = check(facts)
    assert (worst(found), words in told(found)) == (level, True), found
    holds(found)


@pytest.mark.parametrize(("state", "level", "words"), WITNESSES)
def test_the_witness_is_told(state: WitnessState | None, level: str, words: str) -> None:
    found = house.witness(state, NOW)
    assert (worst(found), words in told(found)) == (level, True), found
    holds(found)


@pytest.mark.parametrize("trouble", get_args(house.Trouble))
def test_every_reason_not_to_open_has_a_remedy(trouble: house.Trouble) -> None:
    found = house.opening(trouble, "it does not open")
    assert worst(found) == {"none": "ok", "no_passphrase": "note"}.get(trouble, "bad")
    holds(found)


def holds(found: list[Finding]) -> None:
    """One sentence each; whatever needs a person says what to do."""
    assert found
    for each in found:
        assert each.text
        assert "\n" not in each.text + each.remedy
        assert each.remedy or each.level in ("ok", "note")


def test_only_warnings_and_worse_change_the_exit_status() -> None:
    def statuses() -> Iterator[bool]:
        for level in LEVELS:
            yield needs_a_person([Finding("a", "ok", "x"), Finding("b", level, "y", "z")])

    assert list(statuses()) == [False, False, True, True]
    assert worst([]) == "ok"


def test_many_devices_fill_no_screen() -> None:
    devices = tuple(Term(f"d{number:03}", 0.0, NOW - 1) for number in range(200))
    text = told(house.certificates(certificate(devices=devices)))
    assert "and 190 more" in text
    assert len(text) < 200


def test_the_listeners_certificate_has_its_verb_as_remedy() -> None:
    ending = [certificate(now=NOW + days * DAY) for days in (280, 301)]
    uncovered = certificate(hostnames=("other.example",))
    for facts in (*ending, uncovered):
        assert any("`ribcage certificate renew" in each.remedy for each in house.certificates(facts))
