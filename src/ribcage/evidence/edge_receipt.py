"""The archive's answer to one entry of an edge: a signed note that names the hash which the edge took
(`docs/formats.md`, 12.3).

Rules, in order:
1. It is a signed note by the log's key: a title line, then canonical JSON on one line.
2. It repeats the edge's header and signature. So who holds it, the film's data set and both public keys shows without
   either party: this edge took exactly these bytes, and this archive has them.
3. `taken` is said after the film is durable; `refused` when it never will be: the edge keeps it then.
"""

from __future__ import annotations

import binascii
import hashlib
from dataclasses import dataclass
from typing import Literal, cast

from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.document import read_document
from ribcage.evidence.edge_entry import EntryFront, EntryHeader
from ribcage.evidence.entry import ENTRY_VERSION, Json, canonical, identity, instant, token
from ribcage.evidence.errors import EdgeEntryRefused
from ribcage.evidence.note import VerifierKey, from_base64, to_base64

TITLE = "ribcage edge receipt v1"
Outcome = Literal["taken", "refused"]
_NAMES = {"header", "hospital", "ms", "outcome", "reason", "sha256", "signature", "version", "wrapped"}


@dataclass(frozen=True)
class EdgeReceipt:
    """What is signed. `wrapped_sha256`: of the wrapped key; `time_ms`: when the archive answered."""

    hospital: bytes
    header: EntryHeader
    wrapped_sha256: bytes
    signature: bytes
    time_ms: int
    outcome: Outcome
    reason: str = ""

    @classmethod
    def of(
        cls, front: EntryFront, hospital: bytes, time_ms: int, outcome: Outcome, reason: str = ""
    ) -> EdgeReceipt:
        """About this entry."""
        wrapped = hashlib.sha256(front.wrapped).digest()
        return cls(hospital, front.header, wrapped, front.signature, time_ms, outcome, reason)

    def text(self) -> str:
        """The note's text. Raises `EntryInvalid`."""
        instant(self.time_ms)
        document: Json = {
            "header": to_base64(self.header.encode()),
            "hospital": identity(self.hospital),
            "ms": self.time_ms,
            "outcome": self.outcome,
            "reason": token(self.reason) if self.reason else "",
            "sha256": identity(self.header.data_set_sha256),
            "signature": to_base64(self.signature),
            "version": ENTRY_VERSION,
            "wrapped": identity(self.wrapped_sha256),
        }
        return f"{TITLE}\n{canonical(document).decode()}\n"


def sign_receipt(receipt: EdgeReceipt, signer: CheckpointSigner) -> bytes:
    """The signed note."""
    return signer.sign_text(receipt.text())


def read_receipt(note: bytes, key: VerifierKey) -> EdgeReceipt:
    """A receipt signed by `key`. Raises EvidenceError."""
    document = read_document(note, key, TITLE, ("receipt", "receipt for an edge"))
    try:
        if set(document) != _NAMES or document["outcome"] not in ("taken", "refused"):
            raise ValueError("other fields")
        header = EntryHeader.parse(from_base64(str(document["header"])))
        receipt = EdgeReceipt(
            bytes.fromhex(str(document["hospital"])),
            header,
            bytes.fromhex(str(document["wrapped"])),
            from_base64(str(document["signature"])),
            int(cast(int, document["ms"])),
            cast(Outcome, document["outcome"]),
            str(document["reason"]),
        )
    except (ValueError, TypeError, binascii.Error) as failure:
        raise EdgeEntryRefused("a receipt lacks a field") from failure
    if document["sha256"] != header.data_set_sha256.hex():
        raise EdgeEntryRefused("a receipt contradicts itself")
    return receipt


def check_receipt(note: bytes, key: VerifierKey, front: EntryFront) -> EdgeReceipt:
    """A receipt by `key` for exactly this entry. Raises EvidenceError."""
    receipt = read_receipt(note, key)
    wrapped = hashlib.sha256(front.wrapped).digest()
    if (receipt.header, receipt.wrapped_sha256, receipt.signature) != (
        front.header,
        wrapped,
        front.signature,
    ):
        raise EdgeEntryRefused("a receipt for another entry")
    return receipt
