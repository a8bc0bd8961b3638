"""The error tree of this room. What a caller does follows from the class, never from the text.

LedgerError
├── LedgerUnavailable        cannot answer: the decision is no (DESIGN rule 5)
│   ├── ClockBehind          the clock stands behind the ledger's last block
│   └── NotReady             no genesis yet, or a failed change left the state in doubt
├── InvalidCall              an argument is out of range; nothing was executed
├── Reverted                 the contract refused the change; `reason` is the contract's own text
├── ChangeInHand             another prepared change waits for apply or abandon
├── StalePrepared            this prepared change is not the one in hand
├── TransactionError         raw bytes are not a transaction of ours
│   ├── MalformedTransaction
│   ├── BadSignature
│   ├── WrongChain
│   └── WrongNonce
├── JournalError             a stored journal does not verify; `height` names the row
└── ArtifactError            the shipped contract is damaged or another one
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of everything this room raises on purpose."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot answer; the caller denies."""


class ClockBehind(LedgerUnavailable):
    """The given time lies before the last block by more than the tolerance."""


class NotReady(LedgerUnavailable):
    """There is no contract yet, or its state is in doubt: replay the journal."""


class InvalidCall(LedgerError):
    """An argument does not fit its type or range."""


class Reverted(LedgerError):
    """The contract refused the change."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the contract refused the change: {reason or 'no reason given'}")
        self.reason = reason


class ChangeInHand(LedgerError):
    """One change at a time: apply or abandon the prepared one first."""


class StalePrepared(LedgerError):
    """The prepared change was made for another state."""


class TransactionError(LedgerError):
    """Base of what can be wrong with raw transaction bytes."""


class MalformedTransaction(TransactionError):
    """Not a canonical EIP-1559 transaction of our profile."""


class BadSignature(TransactionError):
    """The signature is out of range or recovers to no key."""


class WrongChain(TransactionError):
    """Signed for another chain id."""


class WrongNonce(TransactionError):
    """Not the sender's next nonce: replayed, reordered or cut."""


class JournalError(LedgerError):
    """The journal row at `height` does not verify."""

    def __init__(self, height: int, problem: str) -> None:
        super().__init__(f"journal row {height}: {problem}")
        self.height = height


class ArtifactError(LedgerError):
    """The contract artifact cannot be used."""
