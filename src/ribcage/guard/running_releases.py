"""Releases to research projects that run now: what their tickets stand for. Lost with the process.

Rules, in order:
1. A ticket is 32 random bytes, kept as its hash. It ends with its release, its project, its officer, or its time.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from ribcage.guard.errors import GuardRefused

_TICKET_BYTES = 32


@dataclass(frozen=True)
class RunningRelease:
    """Whose release it is (ids of 16 bytes), its number in the project, until when (Unix seconds)."""

    project: bytes
    officer: bytes
    number: int
    until: float
    assurance: int = 2  # the officer proved password and code


class RunningReleases:
    """By ticket."""

    def __init__(self) -> None:
        self._running: dict[bytes, RunningRelease] = {}

    def begin(self, release: RunningRelease, now: float) -> bytes:
        """A ticket; those whose time is over are forgotten."""
        self._running = {key: each for key, each in self._running.items() if now < each.until}
        ticket = os.urandom(_TICKET_BYTES)
        self._running[_key(ticket)] = release
        return ticket

    def find(self, ticket: bytes, now: float) -> RunningRelease:
        """Raises GuardRefused('not_authenticated')."""
        running = self._running.get(_key(ticket))
        if running is None or now >= running.until:
            raise GuardRefused("not_authenticated")
        return running

    def end(self, ticket: bytes) -> None:
        """Its release is over."""
        self._running.pop(_key(ticket), None)

    def end_project(self, project: bytes) -> None:
        """So is the project."""
        self._running = {key: each for key, each in self._running.items() if each.project != project}


def _key(ticket: bytes) -> bytes:
    return hashlib.sha256(ticket).digest()
