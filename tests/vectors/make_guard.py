"""Golden messages of the guard: session proof, operator's proof, frames."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import msgspec

from ribcage.crypto.blind import BlindIndex
from ribcage.crypto.derive import derive
from ribcage.crypto.provider import operator_key
from ribcage.guard import protocol as p
from ribcage.guard.factors import Passkey, code_hash
from ribcage.guard.filing import Filed, fresh_uid
from ribcage.guard.frames import encode
from ribcage.guard.identities import Named
from ribcage.guard.patient_access import birth_digest
from ribcage.guard.patient_people import label_of
from ribcage.guard.people import split_proof
from ribcage.guard.session_secrets import Secrets

PROOF = b"\x01" + bytes(range(16)) + bytes(range(32, 64))
PATIENT_PROOF = b"\x02" + PROOF[1:]
PASSPHRASE = b"correct horse battery staple"
# memory 64 KiB, 1 iteration, 1 lane, salt: far too cheap for a home, right for a vector
CHALLENGE_SALT = bytes.fromhex("000000400000000100000001") + bytes(range(16))
NONCE = bytes(range(64, 96))
KEY = bytes(range(96, 128))
RECOVERY_CODE = "AAAQ-EAYE-AUDA-OCAJ"
PASSKEY = Passkey(bytes(range(16)), bytes(range(77)), "office", 1_767_312_000.0, 0.0, user_verified=True)
BLIND = BlindIndex(KEY)
FILED = Filed(
    "1.2.3", "1.2.3.4", "1.2.3.4.5", Named("P1", "", "Muster^Erika", "19700101", "F"), 1_767_312_000.0
)
FRAMES: dict[str, p.Call | p.Answer] = {
    "hello": p.Call(1, p.Hello(4711)),
    "disclose": p.Call(
        2,
        p.Disclose(
            principal=p.Session(PROOF, "192.0.2.7"),
            channel="dicomweb",
            study_instance_uid="1.2.3",
            want="full",
        ),
    ),
    "refused": p.Answer(2, p.Refused("second_factor_needed", 9)),
    "revoked": p.Answer(0, p.Revoked([bytes(16)])),
}


def _superseded() -> bytes:
    first, second, third = (hashlib.sha256(bytes([n])).digest() for n in range(3))
    held = Secrets(first, b"", 0.0, ())
    held = held.issue(second, 1000.0).shown_issued(1000.5).issue(third, 2000.0).shown_issued(2000.25)
    return bytes(held.columns()["superseded"])


def make() -> dict[str, Any]:
    """Everything of docs/formats.md section 6."""
    session, secret = split_proof(PROOF)
    key = operator_key(PASSPHRASE, CHALLENGE_SALT)
    return {
        "6_1_session_proof": {
            "proof": PROOF.hex(),
            "cookie": base64.urlsafe_b64encode(PROOF).rstrip(b"=").decode(),
            "session_id": session.hex(),
            "stored_secret_sha256": hashlib.sha256(secret).hexdigest(),
            "principal_digest": hashlib.sha256(b"session" + session).hexdigest(),
            "superseded": _superseded().hex(),
            "client": derive(
                KEY,
                "session/client",
                hashlib.sha256(b"192.0.2.7").digest() + hashlib.sha256(b"Mozilla/5.0").digest(),
            ).hex(),
        },
        "6_1_1_second_factors": {
            "recovery_code": RECOVERY_CODE,
            "recovery_code_sha256": code_hash(RECOVERY_CODE.lower()).hex(),
            "passkey": msgspec.json.encode(PASSKEY).decode(),
        },
        "6_2_operator_proof": {
            "passphrase": PASSPHRASE.decode(),
            "challenge_salt": CHALLENGE_SALT.hex(),
            "operator_key": key.hex(),
            "nonce": NONCE.hex(),
            "mac": hmac.digest(key, NONCE, "sha256").hex(),
        },
        "6_4_patients": {
            "proof": PATIENT_PROOF.hex(),
            "cookie": base64.urlsafe_b64encode(PATIENT_PROOF).rstrip(b"=").decode(),
            "token": base64.urlsafe_b64encode(bytes(range(16))).rstrip(b"=").decode(),
            "stored_token_sha256": hashlib.sha256(bytes(range(16))).hexdigest(),
            "birth": birth_digest(KEY, bytes(range(16)), "19700101").hex(),
            "label": label_of(KEY, bytes(range(16))),
            "user_handle": derive(KEY, "patient/passkey-user", bytes(range(16))).hex(),
        },
        "10_filed": {
            "study": fresh_uid(BLIND, "study", "1.2.3", bytes(32).hex()),
            "series": fresh_uid(BLIND, "series", "1.2.3", "1.2.3.4"),
            "instance": fresh_uid(BLIND, "instance", "1.2.3.4.5", bytes(16).hex()),
            "what": msgspec.json.encode(FILED).decode(),
        },
        "6_3_frames": {name: encode(frame).hex() for name, frame in FRAMES.items()},
    }
