"""A file may begin with a program."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.capture import disarm


def apply(put: Put) -> None:
    put(disarm, "_PROGRAMS", ())
