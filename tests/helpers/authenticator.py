"""A software authenticator (WebAuthn level 3, ES256, attestation none) and the browser around it, for tests."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import encode_cbor

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40


def written(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def read(text: str) -> bytes:
    """The same backwards."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One passkey. Fields are what an attacker would like to change."""

    origin: str = "https://localhost"
    rp_id: str = "localhost"
    verifies: bool = True
    count: int = 0
    counts: bool = True
    credential: bytes = field(default_factory=lambda: os.urandom(16))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: str, **more: Any) -> str:
        """`navigator.credentials.create(...).toJSON()` as text."""
        public = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32, "big"), -3: public.y.to_bytes(32, "big")}
        held = len(self.credential).to_bytes(2, "big") + self.credential + encode_cbor(cose)
        data = self._data(_ATTESTED) + bytes(16) + held
        statement = {"fmt": "none", "attStmt": {}} | more | {"authData": data}
        response = {
            "clientDataJSON": self._client_data(options, "webauthn.create"),
            "attestationObject": written(encode_cbor(statement)),
        }
        return self._credential(response)

    def get(self, options: str) -> str:
        """`navigator.credentials.get(...).toJSON()` as text."""
        if self.counts:
            self.count += 1
        data, client = self._data(0), self._client_data(options, "webauthn.get")
        signed = data + hashlib.sha256(read(client)).digest()
        response = {
            "clientDataJSON": client,
            "authenticatorData": written(data),
            "signature": written(self.key.sign(signed, ec.ECDSA(SHA256()))),
            "userHandle": None,
        }
        return self._credential(response)

    def _data(self, flags: int) -> bytes:
        flags |= _PRESENT | (_VERIFIED if self.verifies else 0)
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client_data(self, options: str, kind: str) -> str:
        told = {"type": kind, "challenge": json.loads(options)["challenge"], "origin": self.origin}
        return written(json.dumps(told).encode())

    def _credential(self, response: dict[str, Any]) -> str:
        name = written(self.credential)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
