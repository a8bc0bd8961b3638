"""The contract inside the guard: one institution, no consensus, a journal of signed transactions.

A journal row is (height, block_time, raw). Row 1 creates the contract. The database holds the rows; this class
holds the state they lead to. Everything runs on the guard's event-loop thread.

Rules, in order:
1. A change is tried first (`prepare`), stored by the caller, then given effect (`apply`): never the reverse.
   One change at a time, so that heights and nonces leave no gap.
2. Each row is checked before it runs, when applied, replayed or verified alike: next height, time not before
   the last block's, canonical transaction, our chain id, a recovered sender, that sender's next nonce, our
   contract. Whether the sender may write is the contract's own check.
3. Row 1 is the founder's and carries exactly the shipped bytecode: a journal rewritten under another key, or a
   contract with other rules, does not open.
4. The contract's time never runs backwards. A clock behind the last block by more than the tolerance cannot
   answer, and the decision is no.
5. When an applied change fails although it was tried, the state is in doubt and nothing is answered any more.

What this cannot see: a journal cut at its tail. `head` is there to be quoted in the audit log, whose
checkpoints a witness remembers.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ribcage.ledger import abi
from ribcage.ledger._machine import Machine
from ribcage.ledger.artifact import Artifact, load_artifact
from ribcage.ledger.calls import Call, Purpose, View
from ribcage.ledger.client import GrantTerms, Prepared, Reason, Verdict
from ribcage.ledger.errors import (
    ChangeInHand,
    ClockBehind,
    InvalidCall,
    JournalError,
    LedgerError,
    LedgerUnavailable,
    MalformedTransaction,
    NotReady,
    Reverted,
    StalePrepared,
    WrongNonce,
)
from ribcage.ledger.transactions import (
    Signer,
    Transaction,
    contract_address,
    recover,
    transaction_hash,
)

MAX_RESOURCES = 4
CLOCK_TOLERANCE_SECONDS = 60
EMPTY_HEAD = bytes(32)

Row = tuple[int, int, bytes]

_CHECK = abi.selector("check(bytes32,bytes32[],uint8)")
_OFFSET = (96).to_bytes(32, "big")
_COUNTS = [n.to_bytes(32, "big") for n in range(MAX_RESOURCES + 1)]
_PURPOSES = {purpose: int(purpose).to_bytes(32, "big") for purpose in Purpose}


def next_head(head: bytes, height: int, block_time: int, raw: bytes) -> bytes:
    """SHA-256 of head ‖ uint64 height ‖ uint64 block time ‖ raw: the journal's running hash."""
    return hashlib.sha256(head + height.to_bytes(8, "big") + block_time.to_bytes(8, "big") + raw).digest()


def _seconds(now: float) -> int:
    if not math.isfinite(now) or not 0 <= now < 1 << 63:
        raise LedgerUnavailable("the clock gives no usable time")
    return int(now)


class _Chain:
    """State after some rows, and the checks a row must pass to be the next one (rules 2 to 4)."""

    def __init__(self, chain_id: int, founder: bytes, institution: int, artifact: Artifact) -> None:
        if not 0 < chain_id < 1 << 63:
            raise InvalidCall("expected a chain id from 1 to 2^63-1")
        self.chain_id = chain_id
        self.contract = contract_address(founder, 0)
        self.creation = artifact.bytecode + abi.encode(["uint32"], [institution])
        self.founder = founder
        self.machine = Machine(artifact)
        self.height = 0
        self.time = 0
        self.head = EMPTY_HEAD
        self.nonces: defaultdict[bytes, int] = defaultdict(int)

    def block_time(self, now: float) -> int:
        """`now` as the next block's time, or ClockBehind."""
        seconds = _seconds(now)
        if seconds < self.time - CLOCK_TOLERANCE_SECONDS:
            raise ClockBehind(f"the clock is {self.time - seconds} s behind the last block: set the clock")
        return max(seconds, self.time)

    def run(self, transaction: Transaction, sender: bytes, height: int, block_time: int) -> bytes:
        """Execute one transaction in the machine, without touching height, time or nonces."""
        if height == 1:
            created = self.machine.create(sender, transaction.data, transaction.gas_limit, height, block_time)
            if created != self.contract:
                raise LedgerUnavailable("the contract was created at an unexpected address")
            return b""
        data, gas = transaction.data, transaction.gas_limit
        return self.machine.execute(sender, self.contract, data, gas, height, block_time)

    def admit(self, row: Row) -> tuple[Transaction, bytes]:
        """Everything about a row that can be checked before it runs. Raises LedgerError."""
        height, block_time, raw = row
        if height != self.height + 1:
            raise StalePrepared(f"expected height {self.height + 1}, got {height}")
        if not self.time <= block_time < 1 << 63:
            raise ClockBehind(f"expected a block time from {self.time}, got {block_time}")
        transaction, sender = recover(raw, self.chain_id)
        if transaction.nonce != self.nonces[sender]:
            raise WrongNonce(f"expected nonce {self.nonces[sender]}, got {transaction.nonce}")
        if height > 1:
            if transaction.to != self.contract:
                raise MalformedTransaction("expected a call of the access contract")
        elif transaction.to or transaction.data != self.creation or sender != self.founder:
            raise MalformedTransaction("expected the founder's creation of the shipped contract")
        return transaction, sender

    def advance(self, row: Row) -> None:
        """Check a row, run it, count it. When it raises, nothing has changed."""
        transaction, sender = self.admit(row)
        height, block_time, raw = row
        self.run(transaction, sender, height, block_time)
        self.height, self.time = height, block_time
        self.head = next_head(self.head, height, block_time, raw)
        self.nonces[sender] += 1

    def replay(self, rows: Iterable[Row]) -> None:
        """Advance over stored rows. Raises JournalError naming the height."""
        for row in rows:
            try:
                self.advance(row)
            except LedgerError as error:
                raise JournalError(self.height + 1, f"{type(error).__name__}: {error}") from error

    def ask(self, caller: bytes, data: bytes, now: float) -> bytes:
        """A view call at `now`. Raises LedgerUnavailable; a view of ours has no other refusal."""
        if self.height == 0:
            raise NotReady("the ledger has no genesis: replay the journal or prepare one")
        try:
            return self.machine.view(
                f"0x{caller.hex()}", f"0x{self.contract.hex()}", data, self.height, self.block_time(now)
            )
        except Reverted as error:
            raise LedgerUnavailable("the contract refused the question") from error


class EmbeddedLedger:
    """`AccessLedger` in this process.

    `secret` is the institution's 32-byte signing key, `founder` the 20-byte address that created the contract
    (own address unless the key was rotated since).
    """

    def __init__(
        self,
        secret: bytes,
        institution: int,
        chain_id: int,
        founder: bytes | None = None,
        artifact: Artifact | None = None,
    ) -> None:
        self._signer = Signer(secret)
        self.institution = institution
        self._chain = _Chain(
            chain_id, founder or self._signer.address, institution, artifact or load_artifact()
        )
        self._in_hand: Prepared | None = None
        self._in_doubt = False

    @property
    def address(self) -> bytes:
        """20-byte address of the signing key."""
        return self._signer.address

    @property
    def contract(self) -> bytes:
        """20-byte address of the contract."""
        return self._chain.contract

    @property
    def height(self) -> int:
        """Number of the last block, which is the number of journal rows; 0 before genesis."""
        return self._chain.height

    @property
    def block_time(self) -> int:
        """Time of the last block, Unix seconds."""
        return self._chain.time

    @property
    def head(self) -> bytes:
        """32-byte running hash over the journal."""
        return self._chain.head

    # --- the question ---------------------------------------------------------------------------------

    def check(self, subject: bytes, resources: Sequence[bytes], purpose: Purpose, now: float) -> Verdict:
        """What may `subject` see at `now` (Unix seconds)? At most four resources of 32 bytes.

        Raises LedgerUnavailable (the decision is no) or InvalidCall.
        """
        return self._check(subject, resources, purpose, now)

    def last_known(self, subject: bytes, resources: Sequence[bytes], purpose: Purpose) -> Verdict:
        """As `check`, at the time of the last block: for break-glass while the clock or the ledger is no help.

        Raises LedgerUnavailable where a stored change is missing from the state: that is not the last known one.
        """
        return self._check(subject, resources, purpose, self._chain.time)

    def _check(self, subject: bytes, resources: Sequence[bytes], purpose: Purpose, now: float) -> Verdict:
        started = time.perf_counter_ns()
        if len(subject) != 32 or any(len(resource) != 32 for resource in resources):
            raise InvalidCall("expected identifiers of 32 bytes")
        if len(resources) > MAX_RESOURCES:
            raise InvalidCall(f"expected at most {MAX_RESOURCES} resources, got {len(resources)}")
        if purpose not in _PURPOSES:
            raise InvalidCall("expected a known purpose of use")
        data = b"".join((_CHECK, subject, _OFFSET, _PURPOSES[purpose], _COUNTS[len(resources)], *resources))
        view, reason, grant_id = abi.decode_words(self._ask(data, now), 3)
        return Verdict(View(view), Reason(reason), grant_id, (time.perf_counter_ns() - started) / 1000)

    def _ask(self, data: bytes, now: float) -> bytes:
        if self._in_doubt:
            raise NotReady("a change failed after it was stored: replay the journal")
        return self._chain.ask(self._signer.address, data, now)

    def _read(self, signature: str, *values: abi.Value, words: int = 1) -> list[int]:
        kinds = [kind for kind in signature.rstrip(")").partition("(")[2].split(",") if kind]
        data = abi.selector(signature) + abi.encode(kinds, values)
        return abi.decode_words(self._ask(data, self._chain.time), words)

    def grant(self, grant_id: int) -> GrantTerms:
        """The terms of a grant. Raises InvalidCall where there is none."""
        institution, purpose, view, revoked, begin, end = self._read("grant(uint256)", grant_id, words=6)
        if institution == 0:
            raise InvalidCall("there is no grant of that number")
        return GrantTerms(institution, Purpose(purpose), View(view), bool(revoked), begin, end)

    def anchored(self, log_id: bytes) -> tuple[int, bytes]:
        """Tree size and root of the last anchor of a log; (0, 32 zero bytes) where none is."""
        (size,) = self._read("anchored_size(uint32,bytes32)", self.institution, log_id)
        (root,) = self._read("anchored_root(uint32,bytes32,uint64)", self.institution, log_id, size)
        return size, root.to_bytes(32, "big")

    def break_glass_until(self, subject: bytes, resource: bytes) -> int:
        """Unix seconds until which a recorded break-glass lasts; 0 where none is."""
        signature = "break_glass_until(uint32,bytes32,bytes32)"
        return self._read(signature, self.institution, subject, resource)[0]

    @property
    def break_glass_count(self) -> int:
        """How many break-glass accesses the ledger has."""
        return self._read("break_glass_count()")[0]

    # --- changes --------------------------------------------------------------------------------------

    def prepare(self, call: Call, now: float) -> Prepared:
        """Try a change without effect and sign it; then store the row durably and `apply`, or `abandon`.

        Raises Reverted (the contract refuses), ChangeInHand, InvalidCall or LedgerUnavailable.
        """
        if self._in_hand is not None:
            raise ChangeInHand("apply or abandon the prepared change first")
        chain = self._chain
        if self._in_doubt or call.creates != (chain.height == 0):
            raise NotReady("expected genesis as the first change, once, and no failed change before")
        block_time, height = chain.block_time(now), chain.height + 1
        transaction = Transaction(
            chain_id=chain.chain_id,
            nonce=chain.nonces[self.address],
            to=b"" if call.creates else chain.contract,
            data=chain.creation if call.creates else call.data,
        )
        if call.creates and call.data != chain.creation[-abi.WORD :]:
            raise InvalidCall("expected the genesis of the configured institution")
        with chain.machine.trial():
            output = chain.run(transaction, self.address, height, block_time)
        raw = self._signer.sign(transaction)
        self._in_hand = Prepared(
            height=height,
            block_time=block_time,
            raw=raw,
            outcome=abi.decode_words(output, 1)[0] if call.answers else 0,
            transaction=transaction_hash(raw),
            head=next_head(chain.head, height, block_time, raw),
        )
        return self._in_hand

    def apply(self, prepared: Prepared) -> None:
        """Give effect to the change in hand, whose row is durable now.

        Raises StalePrepared. Any other failure leaves the state in doubt: nothing is answered after it.
        """
        if prepared is not self._in_hand:
            raise StalePrepared("expected the change in hand: prepare it again")
        self._in_doubt = True
        self._chain.advance((prepared.height, prepared.block_time, prepared.raw))
        self._in_hand, self._in_doubt = None, False

    def abandon(self, prepared: Prepared) -> None:
        """Forget the change in hand, whose row was not stored. Raises StalePrepared."""
        if prepared is not self._in_hand:
            raise StalePrepared("expected the change in hand")
        self._in_hand = None

    # --- the journal ----------------------------------------------------------------------------------

    def replay(self, rows: Iterable[Row]) -> None:
        """Rebuild the state at start-up from all rows in order; an empty journal leaves an empty ledger.

        Raises JournalError naming the height, NotReady when used twice, or LedgerUnavailable when the
        configured key is not the institution's registered signer.
        """
        if self._chain.height or self._in_hand is not None:
            raise NotReady("expected a fresh ledger to replay into")
        self._in_doubt = True
        self._chain.replay(rows)
        self._in_doubt = False
        if self._chain.height and self._read("institution_of(address)", self.address) != [self.institution]:
            self._in_doubt = True
            raise LedgerUnavailable("the configured key is not the institution's registered signer")


def verify_journal(
    rows: Iterable[Row], *, founder: bytes, institution: int, chain_id: int, artifact: Artifact | None = None
) -> tuple[int, bytes]:
    """Recompute a journal in a machine of its own, without any key: returns (height, head).

    Checks heights, times, signatures, chain id, nonces, the founder, and that the contract accepts every
    change. Raises JournalError naming the height.
    """
    chain = _Chain(chain_id, founder, institution, artifact or load_artifact())
    chain.replay(rows)
    return chain.height, chain.head
