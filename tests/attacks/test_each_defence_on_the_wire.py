"""The drill's attacks succeed on the real archive when their defence is patched out in the test tree.

That they fail with the defence in place is `test_drill_keeps_promises`; what needs disk or database instead of the
wire is in `catalogue`.
"""

from __future__ import annotations

import pytest

from attacks.catalogue import GUARD_ROWS
from attacks.wire import attack
from ribcage.oversight.drill.promises import load_promises

# attack of the drill -> the defences taken out together
WIRE_ROWS = {
    "plain_association": ("no_tls", "no_client_certificate", "no_device_registry"),
    "foreign_certificate": ("no_client_certificate", "no_device_registry"),
    "no_certificate": ("no_client_certificate", "no_device_registry"),
    "wrong_ae_for_certificate": ("no_ae_binding",),
    "wire_tap": ("no_tls", "no_client_certificate", "no_device_registry"),
    "query_as_stranger": ("no_login_on_the_web", "no_device_registry", "no_contract"),
    "retrieve_without_grant": ("no_contract",),
    "masked_leak": ("no_masking",),
    "replayed_code": ("no_code_memory",),
    "session_in_url": ("session_from_the_url",),
    "session_guess": ("counted_sessions",),
    "revoked_grant": ("contract_asked_once",),
    "hostile_pdu": ("fatal_parsers",),
    "hostile_data_set": ("fatal_parsers",),
    "connection_hoard": ("no_limit_per_address",),
}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", WIRE_ROWS)
def test_without_its_defence_the_attack_succeeds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = attack(name, WIRE_ROWS[name], monkeypatch)
    assert not execution.broken, execution.evidence
    assert execution.succeeded, execution.evidence


def test_every_promise_has_its_defence_taken_out_somewhere() -> None:
    covered = set(WIRE_ROWS) | {row.promise for row in GUARD_ROWS}
    promised = {one.name for one in load_promises().attacks if one.outcomes["embedded"] != "not_defended"}
    assert promised <= covered
