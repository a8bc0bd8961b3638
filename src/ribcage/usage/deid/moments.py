"""Dates, times and ages (PS3.5 6.2): kept, moved by whole days, or nothing.

Rules, in order:
1. A date that is none is nothing: the caller takes what its rule says instead.
2. A date moves by whole days, in DA (also as YYYY.MM.DD) and in DT with its time of day. A DT without a day
   cannot move. The offset from UTC goes: it says where.
3. Ages over 89 become 90 years, in any unit (45 CFR 164.514(b)(2)(i)(C)).
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

_DATE: Final = re.compile(rb"(\d{4})\.?(\d\d)\.?(\d\d)")
_MOMENT: Final = re.compile(rb"(\d{8})(\d{0,6}(?:\.\d{1,6})?)([+-]\d{4})?")
_TIME: Final = re.compile(rb"\d\d(?::?\d\d(?::?\d\d(?:\.\d{1,6})?)?)?")
_SHORT_MOMENT: Final = re.compile(rb"\d{4}(?:\d\d)?")
_AGE: Final = re.compile(rb"(\d{3})([DWMY])")
_OLDEST: Final = {b"Y": 89, b"M": 89 * 12 + 11, b"W": 4695, b"D": 32871}  # below 90 years in each unit


def moved(raw: bytes, vr: str, days: int) -> bytes | None:
    """A DA or DT value moved by so many days, None for what cannot move (rules 1 and 2)."""
    values = []
    for value in raw.rstrip(b"\0 ").split(b"\\"):
        value = value.strip()
        found = (_DATE if vr == "DA" else _MOMENT).fullmatch(value)
        if value and found is None:
            return None
        if found is not None:
            whole = b"".join(found.groups()) if vr == "DA" else found[1]
            day = _moved_day(whole, days)
            if day is None:
                return None
            value = day if vr == "DA" else day + found[2]
        values.append(value)
    return b"\\".join(values)


def _moved_day(digits: bytes, days: int) -> bytes | None:
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{day.year:04d}{day.month:02d}{day.day:02d}".encode("ascii")


def is_moment(raw: bytes, vr: str) -> bool:
    """Whether every value is a date or time of this VR."""
    values = [value.strip() for value in raw.rstrip(b"\0 ").split(b"\\")]
    if vr == "TM":
        return all(not value or _TIME.fullmatch(value) for value in values)
    if vr == "DA":
        return all(
            not value or (_moved_day(value.replace(b".", b""), 0) and _DATE.fullmatch(value))
            for value in values
        )
    return all(
        not value or _SHORT_MOMENT.fullmatch(value) or (_MOMENT.fullmatch(value) and _moved_day(value[:8], 0))
        for value in values
    )


def bounded_age(raw: bytes) -> bytes | None:
    """An age, 90 years at most; None for what is none (rule 3)."""
    value = raw.strip(b"\0 ")
    found = _AGE.fullmatch(value)
    if found is None:
        return b"" if not value else None
    return b"090Y" if int(found[1]) > _OLDEST[found[2]] else value
