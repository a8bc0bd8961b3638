"""What a connection proves about its peer, and where it stands in the ASGI scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PEER_EXTENSION: Final = "ribcage.peer"


@dataclass(frozen=True, slots=True)
class Peer:
    """Certificate fingerprint (SHA-256 of the DER, b"" where none was given) and address."""

    fingerprint: bytes
    address: str
