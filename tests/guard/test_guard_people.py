"""Log-in costs the same whoever asks."""

from __future__ import annotations

import argon2
import pytest

from ribcage.guard import people


def test_an_unknown_name_costs_what_a_wrong_password_costs() -> None:
    decoy, real = (
        argon2.extract_parameters(people._decoy()),
        argon2.extract_parameters(people._HASHER.hash("x")),
    )
    assert decoy == real
    assert people._decoy() != people._decoy()
    with pytest.raises(argon2.exceptions.VerifyMismatchError):  # checked to the end, not refused for its form
        people._HASHER.verify(people._decoy(), "x")
