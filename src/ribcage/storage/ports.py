"""What the rooms above storage need of the guard: two methods, so that a fake can stand in."""

from __future__ import annotations

from typing import Protocol, TypeVar

from ribcage.guard.protocol import Request, Response

_Expected = TypeVar("_Expected")

Octets = bytes | bytearray | memoryview


class Guard(Protocol):
    """`ribcage.guard.client.GuardClient`, or anything that answers like it."""

    async def call(self, request: Request, expected: type[_Expected]) -> _Expected:
        """Ask and wait. Raises GuardRefused, GuardUnavailable, ProtocolFailure."""

    async def ask(self, request: Request) -> Response:
        """Ask where several answers are good. Raises GuardRefused, GuardUnavailable."""
