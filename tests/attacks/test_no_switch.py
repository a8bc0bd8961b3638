"""No setting, variable or flag switches a defence off: all there are stand here, reviewed."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from ribcage.cli.settings import Listen, Settings

SOURCE = Path(__file__).resolve().parents[2] / "src" / "ribcage"

# Addresses and names. `public` names an address that may be reached from outside; TLS, certificates, contract and log
# are the same there. `demo` takes rights away: loopback only.
SETTINGS = {"hospital", "hostnames", "called_ae_titles", "fronts", "demo", "listen"}
LISTEN = {"dicom_address", "dicom_port", "https_address", "https_port", "public"}
# Where the environment is read, and for what.
ENVIRONMENT = {
    "cli/passphrase.py",  # systemd credential; a demo home's passphrase
    "oversight/drill/scripts.py",  # handed on to attackers
    "oversight/drill/twin.py",  # handed on to Orthanc
}


def test_settings_are_addresses_and_names() -> None:
    assert {field.name for field in msgspec.structs.fields(Settings)} == SETTINGS
    assert {field.name for field in msgspec.structs.fields(Listen)} == LISTEN


def test_the_environment_is_read_where_it_was_reviewed() -> None:
    reading = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"\bos\.environ|\bgetenv\b", path.read_text())
    }
    assert reading <= ENVIRONMENT


def test_no_flag_of_serve_weakens_it() -> None:
    text = (SOURCE / "cli" / "main.py").read_text()
    flags = set(re.findall(r'serve\.add_argument\("(--[a-z-]+)"', text))
    assert flags == {"--quiet"}


def test_no_code_turns_verification_off() -> None:
    for path in SOURCE.rglob("*.py"):
        if "drill" in path.parts:
            continue  # attackers and twins behave as such
        assert not re.search(
            r"CERT_NONE(?!:)\b.*=|check_hostname\s*=\s*False|verify\s*=\s*False", path.read_text()
        ), path
