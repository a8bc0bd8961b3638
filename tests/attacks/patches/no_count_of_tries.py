"""Birth dates may be guessed without end."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.patient_access import PatientAccess


def apply(put: Put) -> None:
    put(PatientAccess, "_count_try", lambda _self, _tx, _row, _address: None)
