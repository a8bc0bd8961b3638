"""Attacks over the network fail, and succeed when their defence is patched out in the test tree.

That the drill's own attacks fail with the defences in place is `test_drill_keeps_promises`; what needs disk, database
or the guard's socket instead of the network is in `catalogue`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks import wire_attacks
from attacks.catalogue import GUARD_ROWS
from attacks.wire import Range, open_range
from ribcage.oversight.drill.procedures import PROCEDURES
from ribcage.oversight.drill.promises import load_promises

# attack of the drill -> the defences taken out together
WIRE_ROWS = {
    "plain_association": ("no_tls", "no_client_certificate", "no_device_registry"),
    "wire_tap": ("no_tls", "no_client_certificate", "no_device_registry"),
    "foreign_certificate": ("no_client_certificate", "no_device_registry"),
    "no_certificate": ("no_client_certificate", "no_device_registry"),
    "wrong_ae_for_certificate": ("no_ae_binding",),
    "query_as_stranger": ("no_login_on_the_web", "no_device_registry", "no_contract"),
    "retrieve_without_grant": ("no_contract",),
    "masked_leak": ("no_masking",),
    "stolen_edge_credential": ("no_device_rights", "no_contract"),
    "replayed_code": ("no_code_memory",),
    "session_in_url": ("session_from_the_url",),
    "session_guess": ("counted_sessions",),
    "revoked_grant": ("contract_asked_once",),
    "connection_hoard": ("no_limit_per_address",),
    "hostile_pdu": ("fatal_parsers",),
    "hostile_data_set": ("fatal_parsers",),
}

# attack of `wire_attacks` -> the defence
MORE_ROWS = {
    "foreign_page": "no_origin_check",
    "measured_answers": "gzip_for_browsers",
    "program_in_the_preamble": "no_preamble_check",
    "another_instance": "no_identity_comparison",
    "deep_nesting": "no_depth_limit",
    "endless_pdu": "no_pdu_limit",
    "static_rsa": "any_cipher",
}
# Used elsewhere, beside the attack they let through.
_OF_OTHER_TESTS = {
    "objects_disk_full",  # tests/system
    "token_from_the_url",  # tests/system/test_sys_patients.py
    "no_cosignature_check",  # tests/guard/test_guard_witness.py, as the three that follow
    "no_memory_of_a_witness",
    "no_witness_gate",
    "no_witness_pin",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def archive() -> Iterator[Range]:
    with open_range() as running:
        yield running


@pytest.mark.parametrize("name", MORE_ROWS)
def test_the_archive_withstands(name: str, archive: Range) -> None:
    assert not getattr(wire_attacks, name)(archive.without(()))


@pytest.mark.parametrize("name", MORE_ROWS)
def test_without_its_defence_the_archive_falls(name: str, archive: Range) -> None:
    assert getattr(wire_attacks, name)(archive.without((MORE_ROWS[name],)))


@pytest.mark.parametrize("name", WIRE_ROWS)
def test_without_its_defence_the_attack_succeeds(name: str, archive: Range) -> None:
    ground = archive.without(WIRE_ROWS[name])
    ground.open_session()  # the doctor is at work while the attacker tries
    execution = PROCEDURES[name](name, ground)
    assert not execution.broken, execution.evidence
    assert execution.succeeded, execution.evidence


def test_every_promise_has_its_defence_taken_out_somewhere() -> None:
    covered = set(WIRE_ROWS) | {row.promise for row in GUARD_ROWS}
    promised = {one.name for one in load_promises().attacks if one.outcomes["embedded"] != "not_defended"}
    assert promised <= covered


def test_every_patch_takes_out_a_defence_of_some_row_and_says_which() -> None:
    used = {name for row in GUARD_ROWS for name in row.patches}
    used |= {name for names in WIRE_ROWS.values() for name in names} | set(MORE_ROWS.values())
    files = Path(__file__).parent.joinpath("patches").glob("[a-z]*.py")
    there = {path.stem for path in files}
    assert there - _OF_OTHER_TESTS == used
    for name in used:
        assert importlib.import_module(f"attacks.patches.{name}").__doc__
