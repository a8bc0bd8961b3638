"""A passkey logs in without its user."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import webauthn_wire


def apply(put: Put) -> None:
    strict = webauthn_wire.verify_assertion

    def verify_assertion(
        party: webauthn_wire.RelyingParty,
        challenge: bytes,
        credential: str,
        key: bytes,
        *,
        identifies_user: bool,
    ) -> webauthn_wire.Assertion:
        return strict(party, challenge, credential, key, identifies_user=False)

    put(webauthn_wire, "verify_assertion", verify_assertion)
