"""Merkle log, checkpoints, leaves, receipts and audit events: proofs a stranger can check."""
