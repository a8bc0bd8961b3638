"""An invitation opens for every birth date."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.patient_access import PatientAccess


def apply(put: Put) -> None:
    put(PatientAccess, "_birth_digest", lambda _self, _identifier, _birth_date: bytes(32))
