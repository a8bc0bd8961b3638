"""The masked view of one stored instance: `usage.masking` on the header, the pixel element alone of the bulk.

The pseudonym is made of the Study Instance UID, which the masked view shows anyway: all instances of a study have
the same one, and two studies of a patient have different ones.
"""

from __future__ import annotations

import asyncio
import hashlib

from ribcage.guard.protocol import InstanceRef, View
from ribcage.usage.errors import MaskedViewRefused
from ribcage.usage.masking import MaskedHeader, NoMaskingRule, mask_header

_INLINE_BYTES = 64 * 1024  # up to here masking costs less than a thread's turn
_LABEL = b"ribcage masked view\0"


def pseudonym(study_instance_uid: str) -> str:
    """Six hexadecimal digits for one study."""
    return hashlib.sha256(_LABEL + study_instance_uid.encode()).hexdigest()[:6]


async def masked_header(header: bytes, ref: InstanceRef, view: View, study_instance_uid: str) -> MaskedHeader:
    """Mask the data set's part of a header stream.

    Raises MaskedViewRefused where the SOP class has no masking rule or the view is no view of ours; DicomError.
    """
    if view != "masked":
        raise MaskedViewRefused("expected the view masked, full or original; prove the second factor")
    try:
        if len(header) <= _INLINE_BYTES:
            return _mask(header, ref, study_instance_uid)
        return await asyncio.to_thread(_mask, header, ref, study_instance_uid)
    except NoMaskingRule as failure:
        raise MaskedViewRefused(
            "this SOP class has no masked view; prove the second factor for the full view"
        ) from failure


def _mask(header: bytes, ref: InstanceRef, study_instance_uid: str) -> MaskedHeader:
    name = pseudonym(study_instance_uid)
    return mask_header(
        header,
        ref.transfer_syntax_uid,
        ref.sop_class_uid,
        patient_name=f"Masked^{name}",
        patient_id=f"MASKED-{name}",
    )
