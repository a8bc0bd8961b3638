"""A patient's session is good in every browser."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.patient_access import PatientAccess


def apply(put: Put) -> None:
    put(PatientAccess, "_check_client", staticmethod(lambda _row, _shown: None))
