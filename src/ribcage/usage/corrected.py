"""What the archive knows better than the instance: whose study it is, where it was filed (docs/adr/0013, 0014)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ribcage.dicom.coerce import NewText, Why, coerce
from ribcage.dicom.rewrite import TOP, NewElement, rewrite
from ribcage.dicom.scan import Scan, scan
from ribcage.dicom.transcode import charset_in
from ribcage.guard.protocol import Addressed, CorrectedPatient

# What was said of the other patient under other numbers, and group length: they would contradict.
_CHARSET: Final = 0x00080005
_OTHER_IDS: Final = frozenset({0x00100022, 0x00100024, 0x00101000, 0x00101001, 0x00101002})


def corrected_header(
    header: bytes,
    transfer_syntax_uid: str,
    named: CorrectedPatient | None,
    addressed: Addressed | None = None,
    charset: str = "",
    *,
    overrides: bool = False,
) -> bytes:
    """The data set's part of a header stream with the corrected patient module, and the UIDs of a filed instance.

    At least one of the two is given. `charset`: in which its text really is where it declares none, with `overrides`
    also where it declares another; the result says so. Raises DicomError.
    """
    scanned = _declared(scan(header, transfer_syntax_uid), charset, overrides)
    new: dict[int, NewText] = {}
    if addressed is not None:
        new = {
            0x00080018: NewText("UI", addressed.sop_instance_uid, True),
            0x0020000D: NewText("UI", addressed.study_instance_uid, True),
            0x0020000E: NewText("UI", addressed.series_instance_uid, True),
        }
    if named is not None:
        new |= {
            0x00100010: NewText("PN", named.patient_name, True),
            0x00100020: NewText("LO", named.patient_id, True),
            0x00100021: NewText("LO", named.issuer_of_patient_id, False),
            0x00100030: NewText("DA", named.patient_birth_date, True),
            0x00100040: NewText("CS", named.patient_sex, True),
        }
    changed_at = max(each.changed_at for each in (named, addressed) if each is not None)
    on = datetime.fromtimestamp(changed_at, UTC).strftime("%Y%m%d%H%M%S+0000")
    gone = _OTHER_IDS if named is not None else frozenset[int]()
    return coerce(scanned, new, gone, Why(on, "Stored instance", "CORRECT"))


def _declared(scanned: Scan, charset: str, overrides: bool) -> Scan:
    """The data set, declaring the character set that its device's registration names."""
    if not charset or (charset_in(scanned).declared and not overrides):
        return scanned
    value, held = charset.encode("ascii", "replace"), scanned.find(_CHARSET)
    if held is None:
        parts = rewrite(scanned, {}, {TOP: (NewElement(_CHARSET, "CS", value),)})
    else:
        parts = rewrite(scanned, {held.start: value}, {})
    return scan(b"".join(bytes(part) for part in parts), scanned.transfer_syntax_uid)
