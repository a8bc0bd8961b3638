"""Vectors of a migration's report (docs/formats.md 5.12)."""

from __future__ import annotations

import hashlib
from typing import Any

from ribcage.evidence.checkpoint import CheckpointSigner, log_origin
from ribcage.evidence.migration_report import MigrationReport, Totals, instance_line, sign_report, study_line

HOSPITAL = bytes(range(16))
LOG_SEED = bytes(range(32))
MOMENT = 1_750_000_000_000  # Unix milliseconds
LINES = (
    study_line("1.2.3.1", 3),
    instance_line("1.2.3.1.1", hashlib.sha256(b"film").digest(), "held", ""),
    instance_line("1.2.3.1.2", hashlib.sha256(b"other").digest(), "parked", "patient_mismatch"),
    study_line("1.2.3.2", 0),
    instance_line("1.2.3.2.1", hashlib.sha256(b"odd").digest(), "refused", "status-C000"),
    instance_line("1.2.3.2.2", b"", "missing", "not-sent"),
)
TOTALS = Totals(studies=2, announced=5, held=1, parked=1, refused=1, missing=2)


def make() -> dict[str, Any]:
    """Everything derives from fixed seeds and times."""
    signer = CheckpointSigner(log_origin(HOSPITAL), LOG_SEED)
    lines = "".join(f"{line}\n" for line in LINES)
    digest = hashlib.sha256(lines.encode()).digest()
    report = MigrationReport(HOSPITAL, MOMENT, "dicoms", TOTALS, len(lines), digest)
    note = sign_report(report, signer)
    return {
        "lines": lines,
        "note": note.decode(),
        "digest": hashlib.sha256(report.text().encode()).hexdigest(),
        "verifier_key": signer.verifier_key,
    }
