"""Row MACs: HMAC-SHA256 over rows that decide access (person, role, factor, certificate, grade, session…).

Message: `field("ribcage/row/v1") ‖ field(table) ‖ version u64 ‖ count u32`, then for each column, ordered by
its UTF-8 name, `field(name) ‖ type u8 ‖ field(value)`. Types: 0 NULL (empty value), 1 bytes, 2 text (UTF-8),
3 integer (decimal ASCII). SQL has no booleans here: True is 1.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping

from ribcage.crypto._encode import check_key, field
from ribcage.crypto.errors import RowTampered

Column = bytes | str | int | None

MAC_BYTES = 32
_LABEL = b"ribcage/row/v1"


def row_mac(key: bytes, table: str, columns: Mapping[str, Column], version: int) -> bytes:
    """The 32-byte MAC of a row at `version` (0 or more). TypeError for a value of another type."""
    message = [field(_LABEL), field(table.encode()), struct.pack(">QI", version, len(columns))]
    for name in sorted(columns, key=str.encode):
        kind, octets = _encode(columns[name])
        message += [field(name.encode()), bytes([kind]), field(octets)]
    return hmac.digest(check_key(key), b"".join(message), "sha256")


def verify_row_mac(key: bytes, table: str, columns: Mapping[str, Column], version: int, mac: bytes) -> None:
    """Raise RowTampered, naming the table only, unless `mac` is the row's."""
    if not hmac.compare_digest(row_mac(key, table, columns, version), mac):
        raise RowTampered(f"a row of table {table} was changed without the guard's key")


def _encode(value: Column) -> tuple[int, bytes]:
    if value is None:
        return 0, b""
    if isinstance(value, bytes):
        return 1, value
    if isinstance(value, str):
        return 2, value.encode()
    if isinstance(value, int):
        return 3, str(int(value)).encode()
    raise TypeError(f"a row MAC covers bytes, text, integers and NULL, not {type(value).__name__}")
