"""What the guard sees of a ledger, wherever it runs: the question, the answer, and changes in two steps."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from ribcage.ledger.calls import Call, Purpose, View


class Reason(enum.IntEnum):
    """Why the contract decided so, in its order of precedence."""

    GRANTED = 0
    UNKNOWN_INSTITUTION = 1
    SUSPENDED = 2
    RESOURCE_DESTROYED = 3
    LEGAL_BLOCK = 4
    OBJECTION = 5
    CONSENT_WITHDRAWN = 6
    CONSENT_MISSING = 7
    NO_GRANT = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """The contract's answer. `view` NONE denies. `grant_id` is 0 unless granted. `microseconds` of the call."""

    view: View
    reason: Reason
    grant_id: int
    microseconds: float

    @property
    def break_glass_may_override(self) -> bool:
        """True for objection, consent and missing grants: never for suspension, destruction or legal block."""
        return self.reason >= Reason.OBJECTION

    def __bool__(self) -> NoReturn:
        raise TypeError("a Verdict has no truth value: compare its view")


@dataclass(frozen=True, slots=True)
class GrantTerms:
    """A grant as recorded. Times are Unix seconds: valid_from <= now < valid_until."""

    institution: int
    purpose: Purpose
    view: View
    revoked: bool
    valid_from: int
    valid_until: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A change that was tried and signed but has no effect yet: store it durably, then apply it.

    `height`, `block_time` (Unix seconds) and `raw` are the journal row. `outcome` is the new grant's or
    break-glass number, 0 for other changes. `transaction` is the transaction's hash. `head` is the journal's
    running hash once this row is in it (see `embedded.next_head`): quote it in the audit entry.
    """

    height: int
    block_time: int
    raw: bytes
    outcome: int
    transaction: bytes
    head: bytes


class AccessLedger(Protocol):
    """The contract, asked for every disclosure and again for every request inside it."""

    @property
    def height(self) -> int:
        """Number of the last block; 0 before genesis."""

    @property
    def head(self) -> bytes:
        """32-byte running hash over the journal."""

    def check(self, subject: bytes, resources: Sequence[bytes], purpose: Purpose, now: float) -> Verdict:
        """What may `subject` see at `now` (Unix seconds)? At most four resources of 32 bytes.

        Raises LedgerUnavailable (the decision is no) or InvalidCall.
        """

    def last_known(self, subject: bytes, resources: Sequence[bytes], purpose: Purpose) -> Verdict:
        """As `check`, from the last known state at its own time. Raises LedgerUnavailable where there is none."""

    def grant(self, grant_id: int) -> GrantTerms:
        """The terms of a grant. Raises InvalidCall where there is none."""

    @property
    def break_glass_count(self) -> int:
        """How many break-glass accesses the ledger has."""

    def prepare(self, call: Call, now: float) -> Prepared:
        """Try a change without effect and sign it. Raises Reverted, ChangeInHand or LedgerUnavailable."""

    def apply(self, prepared: Prepared) -> None:
        """Give effect to a change whose row is durable. Raises StalePrepared."""

    def abandon(self, prepared: Prepared) -> None:
        """Forget a prepared change whose row could not be stored."""
