"""What does not open in the emergency journal counts as free."""

from __future__ import annotations

import contextlib

from attacks.patches._put import Put
from ribcage.guard.emergency import EmergencyJournal, JournalBroken


def apply(put: Put) -> None:
    strict = EmergencyJournal._read

    def read(self: EmergencyJournal, submitted: int) -> None:
        with contextlib.suppress(JournalBroken):
            strict(self, submitted)

    put(EmergencyJournal, "_read", read)
