"""The guard's proof of an entry as the file that a stranger checks (`tools/verify_proof.py`)."""

from __future__ import annotations

from ribcage.evidence.proof import make_bundle
from ribcage.guard.protocol import EntryProof


def bundle_of(proof: EntryProof) -> bytes:
    """The file's bytes."""
    return make_bundle(
        body=proof.body,
        salt=proof.salt,
        index=proof.index,
        path=proof.path,
        checkpoint=proof.checkpoint,
        verifier_key=proof.verifier_key,
    )
