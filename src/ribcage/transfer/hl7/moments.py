"""Times of HL7 (TS, DTM: 2.5, 2.A.77) as Unix seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from ribcage.transfer.hl7.errors import MessageRefused

_FORM: Final = re.compile(
    r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,4}))?(?:([+-])(\d\d)(\d\d))?"
)


def seconds(text: str, where: str) -> float:
    """A time; without an offset it is of this machine's zone. Raises MessageRefused naming `where`."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise MessageRefused(102, where)
    year, *rest = (int(each) if each else None for each in found.groups()[:6])
    month, day, hour, minute, second = rest
    fraction = int((found[7] or "0").ljust(6, "0"))
    try:
        at = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, fraction)
        if found[8]:
            off = timedelta(hours=int(found[9]), minutes=int(found[10]))
            at = at.replace(tzinfo=timezone(off if found[8] == "+" else -off))
        return at.timestamp()
    except (ValueError, OverflowError, OSError):
        raise MessageRefused(102, where) from None


def digits(text: str) -> str:
    """Date and time of a worklist, 'YYYYMMDDHHMMSS', as far as they were given; '' for what is no time."""
    found = _FORM.fullmatch(text)
    return "".join(each or "" for each in found.groups()[:6]) if found else ""


def stamp(at: float) -> str:
    """A time for MSH-7."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%S+0000")
