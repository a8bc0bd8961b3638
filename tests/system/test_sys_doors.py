"""Every door is on a list: guard handlers and DIMSE services here, HTTP routes in `tests/transfer`.

None returns stored data without a receipt.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from helpers.guard_house import new_house
from ribcage.dicom.negotiation import Offer
from ribcage.guard import protocol as p
from ribcage.guard.server import GuardServer
from ribcage.transfer.dimse import services

# Handlers whose answer follows from a durable decision: admission, query or disclosure.
WITH_RECEIPT = {p.Admit, p.Commit, p.Query, p.Disclose, p.Open}
# Reviewed: they return nothing that was stored.
WITHOUT_DATA = {
    p.Hello,  # the listener's own TLS identity
    p.Ping,
    p.CheckDevice,  # the asker's own rights
    p.Refusal,
    p.IngestClosed,
    p.DisclosureClosed,
    p.LogIn,
    p.StepUp,
    p.LogOut,
    p.WhoAmI,  # the asker's own name and roles
    p.AdminChallenge,
    p.AdminProof,
}
# Behind a proof of the passphrase; counts, hashes, verdicts and pseudonymous entries, never images.
FOR_OPERATORS = {
    p.AddPerson,
    p.SuspendPerson,
    p.AddDevice,
    p.SuspendDevice,
    p.AddGrant,
    p.RevokeGrant,
    p.Object,
    p.AuditPage,
    p.ProveEntry,
    p.GetStatus,
    p.VerifyRequest,
    p.ParkedPage,
    p.Stop,
}


def unlisted(server: GuardServer) -> set[type]:
    """Handlers that nobody reviewed."""
    return (set(server._front_table) - WITH_RECEIPT - WITHOUT_DATA) | (
        set(server._admin_table) - FOR_OPERATORS
    )


def test_every_guard_handler_is_reviewed(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            assert unlisted(house.server) == set()
            assert set(house.server._front_table) == WITH_RECEIPT | WITHOUT_DATA
            assert set(house.server._admin_table) == FOR_OPERATORS
            house.server._front_table[p.GetStatus] = house.server._admin_table[p.GetStatus]
            assert unlisted(house.server) == {p.GetStatus}  # a planted handler is found

    asyncio.run(run())


def test_every_request_of_the_protocol_has_a_handler() -> None:
    assert set(p.Request.__args__) == WITH_RECEIPT | WITHOUT_DATA | FOR_OPERATORS


def test_keys_leave_in_three_messages_only() -> None:
    with_keys = {
        kind.__name__
        for kind in p.Response.__args__
        if any(name.endswith("_key") or "private_key" in name for name in kind.__struct_fields__)
    }
    # DeviceAdded carries the pair made for a new device; EntryProof names a public verifier key.
    assert with_keys == {"Admitted", "TlsIdentity", "DeviceAdded", "EntryProof"}
    assert {name for name in p.OpenedObject.__struct_fields__ if name.endswith("_key")} == {
        "header_key",
        "bulk_key",
    }


def test_dimse_answers_echo_and_store_only() -> None:
    handled = {
        name for name in ("CEchoRq", "CStoreRq", "CFindRq", "CGetRq", "CMoveRq") if name in vars(services)
    }
    assert handled == {"CEchoRq", "CStoreRq"}
    assert not Offer().query
    assert not Offer().retrieve


def test_no_call_of_operators_is_open_to_fronts() -> None:
    assert not FOR_OPERATORS & (WITH_RECEIPT | WITHOUT_DATA)
