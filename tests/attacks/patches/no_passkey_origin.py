"""The page that asked for a passkey is not looked at."""

from __future__ import annotations

from webauthn import helpers

from attacks.patches._put import Put
from ribcage.guard import webauthn_wire


def apply(put: Put) -> None:
    def origins(_party: webauthn_wire.RelyingParty, client_data: bytes) -> list[str]:
        return [helpers.parse_client_data_json(client_data).origin]

    put(webauthn_wire, "_origins", origins)
