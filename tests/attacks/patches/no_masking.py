"""The masked view is the original."""

from __future__ import annotations

from typing import Any

from attacks.patches._put import Put
from ribcage.usage import _masked
from ribcage.usage.masking import MaskedHeader


def apply(put: Put) -> None:
    def mask_header(header: Any, transfer_syntax_uid: str, _sop_class_uid: str, **_: Any) -> MaskedHeader:
        return MaskedHeader((header,), transfer_syntax_uid, 0, 0)

    put(_masked, "mask_header", mask_header)
