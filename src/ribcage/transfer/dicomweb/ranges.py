"""One byte range of a value (RFC 9110 14): what is asked for, against what is there. Sans-IO."""

from __future__ import annotations

import re
from typing import Final

from ribcage.transfer.dicomweb.errors import RangeUnsatisfiable

_RANGE: Final = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})[ \t]*")


def parse_range(field: str | None, length: int) -> tuple[int, int] | None:
    """`(offset, count)`, None where the whole is due: without the field, with several ranges, or an unreadable one.

    Raises RangeUnsatisfiable where nothing of the range is there.
    """
    found = None if field is None else _RANGE.fullmatch(field.strip())
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:  # the last bytes
        count = min(int(found[2]), length)
        first = length - count
    else:
        first = int(found[1])
        last = min(int(found[2]), length - 1) if found[2] else length - 1
        if found[2] and int(found[2]) < first:
            return None
        count = last - first + 1
    if count <= 0:
        failure = RangeUnsatisfiable(f"expected a range within {length} bytes")
        failure.headers = {"Content-Range": f"bytes */{length}"}
        raise failure
    return first, count
