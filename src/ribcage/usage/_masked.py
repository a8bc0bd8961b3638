"""The masked view of one stored instance: `usage.masking` on the header, under the study's pseudonym."""

from __future__ import annotations

import asyncio

from ribcage.guard.protocol import InstanceRef, View
from ribcage.usage.errors import MaskedViewRefused
from ribcage.usage.masking import MaskedHeader, NoMaskingRule, mask_header
from ribcage.usage.pseudonyms import masked_id, masked_name

_INLINE_BYTES = 64 * 1024  # up to here masking costs less than a thread's turn


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
    return mask_header(
        header,
        ref.transfer_syntax_uid,
        ref.sop_class_uid,
        patient_name=masked_name(study_instance_uid),
        patient_id=masked_id(study_instance_uid),
    )
