"""The header stream of one instance as DICOM JSON Model (PS3.18 F), without its bulk data."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from ribcage.dicom.json_model import to_json_model
from ribcage.dicom.scan import scan

_INLINE_BYTES: Final = 64 * 1024  # up to here a thread's turn costs more


async def data_set_json(header: bytes, transfer_syntax_uid: str) -> bytes:
    """One data set as JSON in UTF-8. Raises DicomError."""
    if len(header) <= _INLINE_BYTES:
        return _convert(header, transfer_syntax_uid)
    return await asyncio.to_thread(_convert, header, transfer_syntax_uid)


def _convert(header: bytes, transfer_syntax_uid: str) -> bytes:
    model = to_json_model(scan(header, transfer_syntax_uid))
    return json.dumps(model, ensure_ascii=False).encode("utf-8", "replace")
