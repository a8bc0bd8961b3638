"""The full view of a study whose identity was changed: the patient as the archive corrected it (docs/adr/0013)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ribcage.dicom.coerce import NewText, Why, coerce
from ribcage.dicom.scan import scan
from ribcage.guard.protocol import CorrectedPatient

# What was said of the other patient under other numbers, and group length: they would contradict.
_OTHER_IDS: Final = frozenset({0x00100022, 0x00100024, 0x00101000, 0x00101001, 0x00101002})


def corrected_header(header: bytes, transfer_syntax_uid: str, named: CorrectedPatient) -> bytes:
    """The data set's part of a header stream with the corrected patient module. Raises DicomError."""
    new = {
        0x00100010: NewText("PN", named.patient_name, True),
        0x00100020: NewText("LO", named.patient_id, True),
        0x00100021: NewText("LO", named.issuer_of_patient_id, False),
        0x00100030: NewText("DA", named.patient_birth_date, True),
        0x00100040: NewText("CS", named.patient_sex, True),
    }
    on = datetime.fromtimestamp(named.changed_at, UTC).strftime("%Y%m%d%H%M%S+0000")
    return coerce(scan(header, transfer_syntax_uid), new, _OTHER_IDS, Why(on, "Stored instance", "CORRECT"))
