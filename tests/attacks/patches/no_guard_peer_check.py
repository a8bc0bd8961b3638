"""Processes of every user may talk to the guard."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import server


def apply(put: Put) -> None:
    put(server, "check_peer", lambda _writer: None)
