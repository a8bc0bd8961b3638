"""Keyed tokens that find a value without storing it (`docs/formats.md`, 4).

Rules, in order:
1. Exact tokens of unique identifiers: 32 bytes of HMAC-SHA256, one domain per kind.
2. Names: each component group (PS3.5 6.2.1.2, separated by '=') is folded: NFKC, casefold, '^' and white
   space to one space, trimmed. Trailing '^' parts are thereby ignored. A group with Han, kana or hangul also
   has a form without spaces: 王小明 finds 王^小明.
3. Tokens of a form: each two-character piece of STX form ETX, and the whole form; 32 bits each.
4. A pattern's tokens are those every match must have; what they find is filtered by `name_matches`
   (PS3.4 C.2.2.2.4: '*' any run, '?' any one character; case-insensitive here, as PS3.4 permits for PN).
   So `pattern_tokens(p) <= name_tokens(n)` whenever `name_matches(p, n)`.
5. 32-bit name tokens leak frequencies: they live only inside the encrypted database file.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Iterator

from ribcage.crypto._encode import check_key, field

_STX, _ETX = "\x02", "\x03"
_LABEL = b"ribcage/blind/v1"
_WIDE = (
    (0x3040, 0x30FF),  # hiragana, katakana
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xAC00, 0xD7AF),  # hangul
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x20000, 0x3FFFF),  # Han, further extensions
)


class BlindIndex:
    """Makes tokens under one 32-byte key."""

    def __init__(self, key: bytes) -> None:
        self._key = check_key(key)

    def exact(self, kind: str, value: str | bytes) -> bytes:
        """The 32-byte token of a unique identifier (rule 1); the caller trims padding first."""
        octets = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return self._mac(b"exact:" + kind.encode(), octets)

    def name_tokens(self, pn: str) -> frozenset[int]:
        """32-bit tokens of a person name, all component groups (rules 2 and 3)."""
        pieces = set()
        for form in _forms(pn):
            pieces.add(("name", form))
            pieces.update(("pair", pair) for pair in _pairs(_STX + form + _ETX))
        return frozenset(self._token(kind, piece) for kind, piece in pieces)

    def pattern_tokens(self, pattern: str) -> frozenset[int]:
        """32-bit tokens that every name matching `pattern` has; empty when any name might match (rule 4)."""
        pieces = set()
        for part in _patterns(pattern):
            if "*" not in part and "?" not in part:
                pieces.add(("name", part))
            for run in _runs(_optional_tail(_STX + part + _ETX)):
                pieces.update(("pair", pair) for pair in _pairs(run))
        return frozenset(self._token(kind, piece) for kind, piece in pieces)

    def _token(self, kind: str, piece: str) -> int:
        return int.from_bytes(self._mac(kind.encode(), piece.encode("utf-8", "surrogatepass"))[:4], "big")

    def _mac(self, domain: bytes, octets: bytes) -> bytes:
        return hmac.digest(self._key, field(_LABEL) + field(domain) + field(octets), "sha256")


def name_matches(pattern: str, pn: str) -> bool:
    """Whether a PN value matches: each non-empty group of the pattern matches some group of the name.

    An empty pattern matches everything (universal matching, PS3.4 C.2.2.2.3). Takes at most
    len(pattern) * len(name) steps.
    """
    forms = _forms(pn)
    for group in pattern.split("="):
        folded = _fold(group)
        if folded and not any(
            _glob(p, form) or (p.endswith(" *") and _glob(p[:-2], form))
            for p in {folded, _tight(folded)}
            for form in forms
        ):
            return False
    return True


def _fold(text: str) -> str:
    once = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", once).replace("^", " ").split())


def _tight(folded: str) -> str:
    """Without spaces when the text has Han, kana or hangul; else unchanged."""
    wide = any(low <= ord(char) <= high for char in folded for low, high in _WIDE)
    return folded.replace(" ", "") if wide else folded


def _forms(pn: str) -> list[str]:
    folded = [form for form in map(_fold, pn.split("=")) if form] or [""]
    return list(dict.fromkeys(form for one in folded for form in (one, _tight(one))))


def _patterns(pattern: str) -> list[str]:
    """The folded groups of a pattern, in the form whose pieces every match has."""
    return [_tight(folded) for folded in map(_fold, pattern.split("=")) if folded]


def _optional_tail(framed: str) -> str:
    """'wang *' also matches 'wang' (trailing parts may be absent), so its last space proves nothing."""
    return framed[: -len(" *" + _ETX)] + "*" + _ETX if framed.endswith(" *" + _ETX) else framed


def _runs(pattern: str) -> Iterator[str]:
    yield from pattern.replace("?", "*").split("*")


def _pairs(text: str) -> Iterator[str]:
    return (text[at : at + 2] for at in range(len(text) - 1))


def _glob(pattern: str, text: str) -> bool:
    """Match '*' and '?' without backtracking beyond the last '*': at most len(pattern) * len(text) steps."""
    p = t = 0
    star, mark = -1, 0
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, mark = p, t
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", text[t]):
            p += 1
            t += 1
        elif star >= 0:
            mark += 1
            p, t = star + 1, mark
        else:
            return False
    return pattern[p:].strip("*") == ""
