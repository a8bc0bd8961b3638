"""WebAuthn's bytes: the only module of the guard that reads JSON and CBOR from a browser (docs/adr/0011).

Rules, in order:
1. A credential is at most 8 KiB; everything inside it is smaller, and nothing of it is kept but id, key and count.
2. Origin, relying party, challenge, type and user presence are checked by us, never taken from the front.
3. Attestation is not asked for and not believed: the statement is dropped before anything looks at it.
4. Whatever goes wrong is PasskeyRefused, without saying what.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import webauthn
from webauthn import helpers
from webauthn.helpers import structs

from ribcage.guard.errors import GuardRefused

MAX_CREDENTIAL_BYTES = 8 * 1024
MAX_ID_BYTES = 1023  # WebAuthn level 3, 5.8.3
_MAX_KEY_BYTES = 2048
_CHALLENGE_BYTES = 32


class PasskeyRefused(GuardRefused):
    """The credential does not verify."""

    def __init__(self) -> None:
        super().__init__("not_authenticated")


@dataclass(frozen=True)
class RelyingParty:
    """Who asks: the archive's name and HTTPS port (0: given by the system, any), its title, and seconds to answer."""

    name: str
    port: int
    title: str
    seconds: int


@dataclass(frozen=True)
class NewPasskey:
    """What is kept of a registration."""

    credential_id: bytes
    public_key: bytes  # COSE
    sign_count: int
    user_verified: bool


@dataclass(frozen=True)
class Assertion:
    """What a verified assertion says."""

    sign_count: int
    user_verified: bool


def registration_options(
    party: RelyingParty, challenge: bytes, person: tuple[bytes, str, str], known: Sequence[bytes]
) -> str:
    """Options for `navigator.credentials.create`. `person`: id, user name, display name; `known`: credential ids."""
    options = webauthn.generate_registration_options(
        rp_id=party.name,
        rp_name=party.title,
        user_id=person[0],
        user_name=person[1],
        user_display_name=person[2],
        challenge=challenge,
        timeout=party.seconds * 1000,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.PREFERRED,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(id=each) for each in known],
    )
    return helpers.options_to_json(options)


def assertion_options(
    party: RelyingParty, challenge: bytes, known: Sequence[bytes], *, identifies_user: bool
) -> str:
    """Options for `navigator.credentials.get`; without `known` ids the person chooses.

    `identifies_user`: the authenticator must know its user, by PIN, finger or face.
    """
    wanted = structs.UserVerificationRequirement
    options = webauthn.generate_authentication_options(
        rp_id=party.name,
        challenge=challenge,
        timeout=party.seconds * 1000,
        allow_credentials=[structs.PublicKeyCredentialDescriptor(id=each) for each in known],
        user_verification=wanted.REQUIRED if identifies_user else wanted.PREFERRED,
    )
    return helpers.options_to_json(options)


def challenge_and_id(credential: str) -> tuple[bytes, bytes]:
    """The challenge an assertion claims to answer, and its credential id: nothing is verified yet."""
    try:
        parsed = helpers.parse_authentication_credential_json(_bounded(credential))
        challenge = helpers.parse_client_data_json(parsed.response.client_data_json).challenge
    except Exception as failure:
        raise PasskeyRefused from failure
    if len(challenge) != _CHALLENGE_BYTES or not 0 < len(parsed.raw_id) <= MAX_ID_BYTES:
        raise PasskeyRefused
    return challenge, parsed.raw_id


def verify_registration(party: RelyingParty, challenge: bytes, credential: str) -> NewPasskey:
    """A new passkey, verified. Raises PasskeyRefused."""
    try:
        parsed = helpers.parse_registration_credential_json(_bounded(credential))
        verified = webauthn.verify_registration_response(
            credential=_without_attestation(parsed),
            expected_challenge=challenge,
            expected_rp_id=party.name,
            expected_origin=_origins(party, parsed.response.client_data_json),
        )
    except Exception as failure:
        raise PasskeyRefused from failure
    identifier, key = verified.credential_id, verified.credential_public_key
    if not 0 < len(identifier) <= MAX_ID_BYTES or len(key) > _MAX_KEY_BYTES:
        raise PasskeyRefused
    return NewPasskey(identifier, key, verified.sign_count, verified.user_verified)


def verify_assertion(
    party: RelyingParty, challenge: bytes, credential: str, public_key: bytes, *, identifies_user: bool
) -> Assertion:
    """An assertion, verified but for its sign count, which the caller compares. Raises PasskeyRefused."""
    try:
        parsed = helpers.parse_authentication_credential_json(_bounded(credential))
        verified = webauthn.verify_authentication_response(
            credential=parsed,
            expected_challenge=challenge,
            expected_rp_id=party.name,
            expected_origin=_origins(party, parsed.response.client_data_json),
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=identifies_user,
        )
    except Exception as failure:
        raise PasskeyRefused from failure
    return Assertion(verified.new_sign_count, verified.user_verified)


def _bounded(credential: str) -> str:
    if not 0 < len(credential.encode()) <= MAX_CREDENTIAL_BYTES:
        raise PasskeyRefused
    return credential


def _origins(party: RelyingParty, client_data: bytes) -> list[str]:
    """The origins our pages stand on (rule 2): behind a gateway without port, else with our own."""
    alone = f"https://{party.name}"
    if party.port:
        return [alone, f"{alone}:{party.port}"]
    claimed = helpers.parse_client_data_json(client_data).origin
    return [alone, claimed] if re.fullmatch(re.escape(alone) + r":[0-9]{1,5}", claimed) else [alone]


def _without_attestation(parsed: structs.RegistrationCredential) -> structs.RegistrationCredential:
    """The same credential as if it carried no attestation (rule 3)."""
    held = helpers.parse_cbor(parsed.response.attestation_object)
    bare = helpers.encode_cbor({"fmt": "none", "attStmt": {}, "authData": bytes(held["authData"])})
    parsed.response.attestation_object = bare
    return parsed
