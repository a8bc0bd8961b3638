"""The error tree of this room. The class decides what a caller does; the text is for people.

EvidenceError
├── EntryInvalid          an audit entry that cannot be built or read
├── TreeRange             an index or size outside the tree; a node the source does not have
├── ProofBroken           a proof does not lead where it should
│   ├── InclusionBroken
│   ├── ConsistencyBroken
│   ├── OpeningBroken     salt and body do not open the leaf
│   └── BundleMalformed   the portable proof is not in the format of docs/formats.md
├── CheckpointBroken
│   ├── NoteMalformed     not a C2SP signed note, or not a checkpoint
│   ├── CheckpointForged  no valid signature by the expected key, or another origin
│   └── WitnessMissing    fewer cosignatures than the quorum asks for
├── EdgeEntryRefused      an entry of an edge, or its receipt, is damaged, or another's
└── ReceiptRefused
    ├── ReceiptForged
    └── ReceiptExpired
"""

from __future__ import annotations


class EvidenceError(Exception):
    """Base of everything this room raises on bad input."""


class EntryInvalid(EvidenceError):
    """An audit entry breaks the frozen schema."""


class TreeRange(EvidenceError):
    """An index, size or node outside the tree."""


class ProofBroken(EvidenceError):
    """A proof does not hold."""


class InclusionBroken(ProofBroken):
    """The leaf is not at this index of the tree with this root (RFC 9162 2.1.3.2)."""


class ConsistencyBroken(ProofBroken):
    """The older tree is not a prefix of the newer one (RFC 9162 2.1.4.2)."""


class OpeningBroken(ProofBroken):
    """Salt and body do not give the leaf."""


class BundleMalformed(ProofBroken):
    """A portable proof with missing, foreign or ill-typed fields."""


class CheckpointBroken(EvidenceError):
    """A checkpoint cannot be relied on."""


class NoteMalformed(CheckpointBroken):
    """The bytes are not a signed note or not a checkpoint (C2SP signed-note, tlog-checkpoint)."""


class CheckpointForged(CheckpointBroken):
    """No valid signature by the expected key, or a checkpoint of another log."""


class WitnessMissing(CheckpointBroken):
    """Fewer valid cosignatures than the quorum asks for."""


class EdgeEntryRefused(EvidenceError):
    """An entry of an edge, or the archive's receipt for it, is not what was signed."""


class ReceiptRefused(EvidenceError):
    """A receipt opens nothing."""


class ReceiptForged(ReceiptRefused):
    """Wrong length, version, code or MAC."""


class ReceiptExpired(ReceiptRefused):
    """The clock is outside the receipt's life."""
