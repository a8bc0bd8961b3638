"""Only the patient who stays is asked for objections."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import decision


def apply(put: Put) -> None:
    put(decision, "_former", lambda *_: [])
    put(decision, "_merged", lambda *_: [])
