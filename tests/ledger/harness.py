"""A ledger with its journal in a list, as the guard keeps it in the database."""

from __future__ import annotations

from ribcage.ledger import Call, EmbeddedLedger, Prepared, Row, calls
from ribcage.ledger.transactions import Signer, Transaction

CHAIN = 1337
INSTITUTION = 7
SECRET = bytes(31) + b"\x01"
FOREIGN_SECRET = bytes(31) + b"\x02"
START = 1_800_000_000


def name(text: str) -> bytes:
    """A readable 32-byte identifier."""
    return text.encode().ljust(32, b"\xff")


class Home:
    """Ledger plus journal; `change` does both steps."""

    def __init__(self, secret: bytes = SECRET) -> None:
        self.ledger = EmbeddedLedger(secret, INSTITUTION, CHAIN)
        self.rows: list[Row] = []
        self.now = START
        self.change(calls.genesis(INSTITUTION))

    def change(self, call: Call) -> Prepared:
        prepared = self.ledger.prepare(call, self.now)
        self.rows.append((prepared.height, prepared.block_time, prepared.raw))
        self.ledger.apply(prepared)
        return prepared

    def reopened(self, rows: list[Row] | None = None) -> EmbeddedLedger:
        """A fresh ledger after replaying `rows` (all by default)."""
        ledger = EmbeddedLedger(SECRET, INSTITUTION, CHAIN)
        ledger.replay(self.rows if rows is None else rows)
        return ledger

    def forge(self, call: Call, secret: bytes = SECRET, **fields: object) -> Row:
        """The next row made by hand: any key, any field."""
        height = len(self.rows) + 1
        base = {"chain_id": CHAIN, "nonce": height - 1, "to": self.ledger.contract, "data": call.data}
        return height, self.now, Signer(secret).sign(Transaction(**(base | fields)))
