"""The index alone decides what is shown, and a number alone what is proved."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import patient_list


def apply(put: Put) -> None:
    put(patient_list, "_names", lambda _named, _patient_id: True)
