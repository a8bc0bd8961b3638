"""The header stream of one instance as DICOM JSON Model (PS3.18 F), without its bulk data."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any, Final, cast

from pydicom.filereader import read_dataset
from pydicom.uid import UID

_INLINE_BYTES: Final = 64 * 1024  # up to here a thread's turn costs more


async def data_set_json(header: bytes, transfer_syntax_uid: str) -> dict[str, object]:
    """One data set as JSON values."""
    if len(header) <= _INLINE_BYTES:
        return _convert(header, transfer_syntax_uid)
    return await asyncio.to_thread(_convert, header, transfer_syntax_uid)


def _convert(header: bytes, transfer_syntax_uid: str) -> dict[str, object]:
    syntax: Any = UID(transfer_syntax_uid)
    data_set: Any = read_dataset(BytesIO(header), syntax.is_implicit_VR, syntax.is_little_endian)
    return cast("dict[str, object]", data_set.to_json_dict(suppress_invalid_tags=True))
