"""The masked view: an allow-list applied as a splice on header bytes.

`mask_header` masks a header stream, `PixelElementFilter` (or `mask_bulk_plan`) cuts the bulk stream behind its pixel
element, `masked_metadata` is the same header for WADO-RS metadata.
"""

from ribcage.usage.masking.errors import MaskingError, NoMaskingRule, PseudonymInvalid
from ribcage.usage.masking.mask import MaskedHeader, mask_header, masked_metadata, require_rule
from ribcage.usage.masking.pixels import PixelElementFilter, mask_bulk_plan

__all__ = [
    "MaskedHeader",
    "MaskingError",
    "NoMaskingRule",
    "PixelElementFilter",
    "PseudonymInvalid",
    "mask_bulk_plan",
    "mask_header",
    "masked_metadata",
    "require_rule",
]
