"""A patient's session id is enough."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.patient_access import PatientAccess


def apply(put: Put) -> None:
    put(PatientAccess, "_check_secret", staticmethod(lambda _row, _secret: None))
