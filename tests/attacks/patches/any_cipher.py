"""TLS 1.2 without forward secrecy is good enough."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.transfer import tls


def apply(put: Put) -> None:
    put(tls, "CIPHERS", "ALL")
