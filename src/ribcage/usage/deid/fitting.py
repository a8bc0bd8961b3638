"""Whether a raw value is what its VR and its rule say; pure, cached where values repeat over a series."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ribcage.dicom.values import Charset, charset_of, decode_text
from ribcage.usage.deid.plan import NUMBER_VRS
from ribcage.usage.deid.tables import enumerated
from ribcage.usage.deid.texts import NOBODY, is_known, is_technical
from ribcage.usage.masking.rules import rules

_DECIMAL: Final = rb" *[+-]?(?:\d{1,16}(?:\.\d{0,16})?|\.\d{1,16})(?:[eE][+-]?\d{1,3})? *"
_INTEGER: Final = rb" *[+-]?\d{1,12} *"
_NUMBERS: Final = {
    vr: re.compile(rb"(?:(?:%b)?(?:\\(?:%b)?)*)[ \0]*" % (one, one))
    for vr, one in (("DS", _DECIMAL), ("IS", _INTEGER))
}
_MOST_NUMBER_CHARACTERS: Final = 24
_TERM: Final = re.compile(rb"[A-Za-z0-9_ \-+/.]{0,16}")
_MOST_CHARACTERS: Final = {"LO": 64, "SH": 16, "ST": 1024, "LT": 10240}
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_SIZES: Final = {"US": 2, "SS": 2, "xs": 2, "AT": 4, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "UV": 8, "SV": 8, "OF": 4,
                 "OL": 4, "OD": 8, "OV": 8}  # fmt: skip
_BULKY: Final = frozenset({"OW", "OF", "OL", "OD", "OV", "ox", "lt"})
_ALIKE: Final = {
    "xs": frozenset({"US", "SS", "xs"}),
    "ox": frozenset({"OB", "OW", "ox"}),
    "lt": frozenset({"US", "SS", "OW", "lt"}),
}


def same_vr(seen: str, wanted: str) -> bool:
    """Whether an element's VR is the table's."""
    return seen == wanted or seen in _ALIKE.get(wanted, ())


@lru_cache(maxsize=16384)
def is_number_text(raw: bytes, vr: str) -> bool:
    """Whether a DS or IS value is numbers, none longer than a number is."""
    return (
        len(max(raw.split(b"\\"), key=len)) <= _MOST_NUMBER_CHARACTERS
        and _NUMBERS[vr].fullmatch(raw) is not None
    )


def whole_numbers(seen: str, wanted: str, length: int) -> bool:
    """Whether a binary value has whole numbers; arrays of words only where the table has such."""
    if seen in _BULKY and not same_vr(seen, wanted):
        return False
    return length >= 0 and seen in NUMBER_VRS and length % _SIZES.get(seen, 1) == 0


@lru_cache(maxsize=16384)
def leading_terms(tag: int, raw: bytes) -> tuple[bytes, bool]:
    """The leading values that are listed terms, known words or short codes; and whether all of them are listed.

    The raw value itself when that is all of them.
    """
    allowed = rules().attributes.get(tag)
    listed = enumerated().get(tag, frozenset()) | (allowed.terms if allowed is not None else frozenset())
    good: list[bytes] = []
    only_listed = True
    values = raw.rstrip(b"\0").split(b"\\")
    for value in values:
        text = value.strip(b" ").decode("ascii", "replace")
        if text not in listed and text:
            if _TERM.fullmatch(value.strip(b" ")) is None:
                break
            if not is_known(text, NOBODY) and (allowed is None or not is_technical(text, NOBODY)):
                break
            only_listed = False
        good.append(value)
    return (raw, only_listed) if len(good) == len(values) else (b"\\".join(good).strip(b" "), only_listed)


def shortened(text: str, vr: str) -> str:
    """The text within its VR's length (PS3.5 6.2), cut between words."""
    most = _MOST_CHARACTERS.get(vr)
    if most is None or len(text) <= most:
        return text
    return text[: most + 1].rpartition(" ")[0] or text[:most]


def are_uids(uids: Sequence[str]) -> bool:
    """Whether all are UIDs or empty (PS3.5 9.1)."""
    return all(not uid or (len(uid) <= 64 and _UID.fullmatch(uid) is not None) for uid in uids)


@lru_cache(maxsize=64)
def is_charset(raw: bytes) -> bool:
    """Whether every term of a Specific Character Set is known."""
    terms = raw.strip(b"\0 ").split(b"\\")
    known = charset_of(raw)
    return (
        len(terms) <= 8
        and all(
            not term.strip() or charset_of(term).declared or term.strip() == b"ISO_IR 6" for term in terms
        )
        and (known.declared or terms in ([b""], [b"ISO_IR 6"]))
    )


def encoded(text: str, charset: Charset) -> bytes:
    """The text in this character set, b"" where it does not fit."""
    if text.isascii():
        return text.encode("ascii")

    try:
        if len(charset.codecs) == 1:
            return text.encode(charset.codecs[0])
        from pydicom.charset import encode_string  # loads numpy and codecs: only where escapes are used

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            raw = bytes(encode_string(text, list(charset.codecs)))
    except (UnicodeError, LookupError, ValueError, UserWarning):
        return b""
    return raw if decode_text(raw, charset) == text else b""
