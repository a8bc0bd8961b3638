"""No setting, variable or flag switches a defence off: all there are stand here, reviewed."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest

from ribcage.cage import CageLimits
from ribcage.cli.settings import Listen, Settings
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.scan import ScanLimits
from ribcage.guard.limits import GuardLimits
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.limits import FrontLimits, FrontSettings, ListenLimits

SOURCE = Path(__file__).resolve().parents[2] / "src" / "ribcage"

# Addresses and names. `public` names an address that may be reached from outside; TLS, certificates, contract and log
# are the same there. `demo` takes rights away: loopback only.
# `second_factor_seconds` may make the time after a second factor shorter, never longer.
# `destruction_reversible_days` is at least 1; the room kept for the log at least 4 MiB, the watermark twice as much.
SETTINGS = {
    "hospital",
    "hostnames",
    "called_ae_titles",
    "fronts",
    "second_factor_seconds",
    "destruction_reversible_days",
    "disk_stop_mib",
    "disk_reserve_mib",
    "patient_sees",
    "public_destinations",
    "queue_jobs",
    "queue_tries",
    "queue_first_seconds",
    "queue_most_seconds",
    "queue_lease_seconds",
    "demo",
    "listen",
    "shield",
    "exposure_check_seconds",
    "own_authorities",
    "care_grace_hours",
    "care_report_days",
}
LISTEN = {
    "dicom_address",
    "dicom_port",
    "https_address",
    "https_port",
    "hl7_address",
    "hl7_port",
    "public",
}
# Where the environment is read, for what, and which names.
ENVIRONMENT = {
    "cli/demo_stay.py": {"DISPLAY", "WAYLAND_DISPLAY"},  # whether a browser would have a screen
    "cli/passphrase.py": {
        "CREDENTIALS_DIRECTORY",
        "RIBCAGE_DEMO_PASSPHRASE",
    },  # systemd; a demo home's passphrase
    "oversight/drill/scripts.py": {
        "RIBCAGE",
        "PYTHON",
        "PYTHONPATH",
    },  # left out for attackers, or set for them
}
_READS = re.compile(r"\b(?:os\.environ|environ\b|getenv|environb)")
_NAME = re.compile(r'"([A-Z][A-Z_]+)"')


def test_settings_are_addresses_and_names() -> None:
    assert {field.name for field in msgspec.structs.fields(Settings)} == SETTINGS
    assert {field.name for field in msgspec.structs.fields(Listen)} == LISTEN


def test_the_environment_is_read_where_it_was_reviewed() -> None:
    reading = {}
    for path in SOURCE.rglob("*.py"):
        code = path.read_text()
        if re.search(r"^(?:import os|from os import)", code, re.MULTILINE) and _READS.search(code):
            reading[str(path.relative_to(SOURCE))] = set(_NAME.findall(code))
    assert reading == ENVIRONMENT


@pytest.mark.parametrize(
    "kind",
    [
        FrontSettings,
        FrontLimits,
        ListenLimits,
        GuardLimits,
        WebLimits,
        UpperLayerLimits,
        ScanLimits,
        CageLimits,
    ],
)
def test_limits_are_numbers_and_names_that_nothing_can_be_switched_off_with(kind: type) -> None:
    assert not [field.name for field in fields(kind) if field.type in (bool, "bool")]


def test_no_flag_of_serve_weakens_it() -> None:
    text = (SOURCE / "cli" / "serving.py").read_text()
    flags = set(re.findall(r'serve\.add_argument\("(--[a-z-]+)"', text))
    assert flags == {"--quiet"}


_OFF = re.compile(
    r"verify_mode\s*=\s*ssl\.CERT_NONE|check_hostname\s*=\s*False|verify\s*=\s*False|_create_unverified"
)


# Pinned: the SHA-256 is compared before a byte is sent (patches `no_witness_pin`, `no_destination_pin`).
_PINNED = {SOURCE / "guard" / "witness_wire.py", SOURCE / "transfer" / "dimse" / "sender.py"}


def test_no_code_turns_verification_off() -> None:
    assert _OFF.search("context.verify_mode = ssl.CERT_NONE")
    for path in SOURCE.rglob("*.py"):
        if path not in _PINNED and "drill" not in path.parts:  # attackers and twins behave as such
            assert not _OFF.search(path.read_text()), path
