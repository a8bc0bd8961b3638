"""Who must wait, for administrators: a person who cannot get in asks them why.

A name that was typed and is nobody's is not told: it may be a password in the wrong field.
"""

from __future__ import annotations

from typing import Literal

from ribcage.guard.accounts import Throttle
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import ThrottledItem, ThrottledItems

_MOST = 1000
_WHAT: dict[str, Literal["log-in", "second-factor", "passkey"]] = {
    "name": "log-in",
    "factor": "second-factor",
    "passkey": "passkey",
}


class Waiting:
    """Lists who is throttled, from memory."""

    def __init__(self, core: Core, throttles: tuple[Throttle, ...]) -> None:
        self._core = core
        self._throttles = throttles

    def page(self) -> ThrottledItems:
        """The longest waiting first."""
        now = self._core.clock()
        standing = [each for throttle in self._throttles for each in throttle.standing(now)]
        standing.sort(key=lambda each: -each[1])
        return ThrottledItems([self._item(key, until) for key, until in standing[:_MOST]])

    def _item(self, key: str, until: float) -> ThrottledItem:
        """`WHAT:WHOM@ADDRESS`, or `WHAT@ADDRESS`."""
        whom, _, address = key.rpartition("@")
        what, _, name = whom.partition(":")
        return ThrottledItem(_WHAT[what], self._username(what, name), address, until)

    def _username(self, what: str, name: str) -> str:
        people = self._core.people
        if what != "name":
            return people.name_of(bytes.fromhex(name)) if name else ""
        try:
            return str(people.find(name)["username"])
        except GuardRefused:
            return ""
