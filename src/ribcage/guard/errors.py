"""Errors at the guard's boundary.

GuardError
├── GuardRefused        the guard said no, with a closed reason
├── GuardUnavailable    no answer: closed by default
└── ProtocolFailure     a frame that is not of the protocol
"""

from ribcage.guard.protocol import RefusalReason


class GuardError(Exception):
    """Base of everything a caller of the guard may see."""


class GuardRefused(GuardError):
    """The guard said no. `reason` is from the closed list; `entry` the refusal's log index or -1.

    `retry_seconds`: of 'throttled', when to try again; 0 where that is not known.
    """

    def __init__(
        self,
        reason: RefusalReason,
        entry: int = -1,
        decided_microseconds: float = 0.0,
        retry_seconds: float = 0.0,
    ) -> None:
        super().__init__(f"the guard refused: {reason}")
        self.reason: RefusalReason = reason
        self.entry = entry
        self.decided_microseconds = decided_microseconds
        self.retry_seconds = retry_seconds


class GuardUnavailable(GuardError):
    """The guard cannot be reached or cannot decide; the answer is no (DESIGN rule 5)."""


class ProtocolFailure(GuardError):
    """A frame is not of the protocol of `ribcage.guard.protocol`; the connection ends."""
