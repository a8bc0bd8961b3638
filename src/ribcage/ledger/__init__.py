"""The access contract: embedded EVM, its journal of signed transactions, and the view that decides."""

from ribcage.ledger.calls import EVERYBODY, Call, Purpose, View
from ribcage.ledger.client import AccessLedger, GrantTerms, Prepared, Reason, Verdict
from ribcage.ledger.embedded import EmbeddedLedger, Row, next_head, verify_journal

__all__ = [
    "EVERYBODY",
    "AccessLedger",
    "Call",
    "EmbeddedLedger",
    "GrantTerms",
    "Prepared",
    "Purpose",
    "Reason",
    "Row",
    "Verdict",
    "View",
    "next_head",
    "verify_journal",
]
