"""What the guard knows of its witness, and whether the archive may therefore disclose.

Rules, in order:
1. Without a trusted witness nothing is held back, and a rollback of the whole home is not noticed.
2. With one, nothing is disclosed, queried or granted after a start until a checkpoint was cosigned that includes the
   entry of this very start. Its salt is fresh, so no old cosignature fits.
3. A log that is behind its witness, or beside it, closes everything until a person has looked: it was rolled back,
   cut or forked.
4. A witness that falls silent later stops nothing. What could be cut meanwhile is what came since its last
   cosignature; after a minute that is a finding.
"""

from __future__ import annotations

from typing import Literal

from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import WitnessState
from ribcage.guard.witness_trust import WitnessTrust

_MISSING = "the log knows a witness, the key store does not: it was removed without an operator's call"


class WitnessWatch:
    """The state. Changed on the guard's loop alone; read from anywhere. Times in Unix seconds."""

    def __init__(self, trust: WitnessTrust | None, *, log_knows: bool, silent_seconds: float) -> None:
        self.trust = trust
        self._silent_seconds = silent_seconds
        self._started = True  # no start of this process waits for its cosignature
        self._start_entry = -1
        self._removed = log_knows and trust is None
        self._behind = _MISSING if self._removed else ""
        self._trouble = ""
        self._cosigned_size = 0
        self._cosigned_at = 0.0
        self._uncovered_since = 0.0
        self.known_size = 0  # what the witness remembers, as far as we know

    # --- what others ask --------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Closed for everything (rule 3)."""
        return bool(self._behind)

    @property
    def closed(self) -> bool:
        """Closed for disclosures, queries and grants (rules 2 and 3)."""
        return bool(self._behind) or not self._started

    def check_open(self) -> None:
        """Raises GuardRefused('unavailable') while `closed`."""
        if self.closed:
            raise GuardRefused("unavailable")

    def check_not_behind(self) -> None:
        """Raises GuardRefused('unavailable') when the log is not the one the witness saw."""
        if self.behind:
            raise GuardRefused("unavailable")

    def state(self, now: float) -> WitnessState:
        """For `status`."""
        word: Literal["none", "waiting", "open", "behind"]
        if self.behind:
            word = "behind"
        elif self.trust is None:
            word = "none"
        else:
            word = "open" if self._started else "waiting"
        return WitnessState(
            state=word,
            name=self.trust.key.name if self.trust is not None else "",
            cosigned_size=self._cosigned_size,
            cosigned_at=self._cosigned_at,
            uncovered_seconds=max(now - self._uncovered_since, 0.0) if self._uncovered_since else 0.0,
            trouble=self._behind or self._trouble,
        )

    def findings(self, now: float) -> list[str]:
        """For `status`: what a person must look at."""
        state = self.state(now)
        if state.state == "behind":
            return [f"ALARM: {state.trouble}; nothing is disclosed or stored"]
        if state.state == "waiting":
            return [f"no cosignature since the start ({state.trouble or 'asking'}): nothing is disclosed yet"]
        if state.state == "open" and state.uncovered_seconds > self._silent_seconds:
            seconds = int(state.uncovered_seconds)
            return [
                f"no cosignature for {seconds} s ({state.trouble}): entries since then could be cut unnoticed"
            ]
        return []

    @property
    def words(self) -> tuple[str, ...]:
        """The configuration, as status and each start's entry name it; a witness that was removed is still named."""
        return ("embedded",) if self.trust is None and not self._removed else ("embedded", "witness")

    # --- what the link tells ----------------------------------------------------------------------------

    def start(self, entry: int) -> None:
        """The entry of this start has this number: wait for its cosignature (rule 2)."""
        self._start_entry = entry
        self._started = self.trust is None

    def change(self, trust: WitnessTrust | None) -> None:
        """An operator trusts another witness, or none. Being behind stays until the next start."""
        self.trust, self._removed = trust, False
        self.known_size, self._cosigned_size, self._cosigned_at = 0, 0, 0.0
        self._uncovered_since, self._trouble = 0.0, ""
        if trust is None:
            self._started = True

    def covers(self, size: int) -> bool:
        """Whether a checkpoint of this size needs no cosignature any more."""
        return size <= self._cosigned_size

    def asking(self, now: float) -> None:
        """There are entries that no cosignature covers."""
        self._uncovered_since = self._uncovered_since or now

    def failed(self, why: str) -> None:
        """No answer, or one that decides nothing."""
        self._trouble = why

    def cosigned(self, size: int, asked_at: float, now: float, *, newest: bool) -> None:
        """A cosignature over this size is stored. `newest`: no checkpoint came meanwhile."""
        self.known_size = self._cosigned_size = size
        self._cosigned_at = now
        self._uncovered_since = 0.0 if newest else asked_at
        self._trouble = ""
        if size > self._start_entry:
            self._started = True

    def fell_behind(self, why: str) -> None:
        """The witness remembers another history (rule 3)."""
        self._behind = why
