"""One text, or one run of bytes, searched for all identities at once.

Rules, in order:
1. Words are joined, up to eight of them, and looked up: the cost does not grow with the number of identities.
2. Tokens that may stand inside a word are found by their first characters (an index, not a pattern for each).
3. In bytes, other scripts are found by one pattern over all encodings. Pixels need six bytes and more to match, and
   are searched for the other scripts of their own patient only; without an original, for everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ribcage.oversight.deid_check import spelling
from ribcage.oversight.deid_check.identities import Identities

_MOST_WORDS: Final = 8
_LONGEST: Final = 64
_UID: Final = re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){3,}(?!\.?\d)")
_DECIMAL: Final = re.compile(r"(?<![\w.])[-+]?\d*\.\d+(?:e[-+]?\d+)?(?![\w.])", re.IGNORECASE)
_ASCII_RUN: Final = re.compile(rb"[\x20-\x7e]{4,}")
_ASCII_LINES: Final = re.compile(rb"[\x20-\x7e\t\r\n]{4,}")
_WIDE_RUN: Final = re.compile(rb"(?:[\x20-\x7e]\x00){4,}|(?:\x00[\x20-\x7e]){4,}")
_ESCAPE: Final = re.compile(rb"\x1b[$(][()]?[@-Z]")
_PRINTABLE: Final = bytes(0x20 <= byte <= 0x7E for byte in range(256))
_ZERO: Final = bytes(byte == 0 for byte in range(256))
_HIGH_RUN: Final = re.compile(rb"[\x20-\x7e\x80-\xff]{4,}")
_LEAST_IN_PIXELS: Final = 6
_HIGH: Final = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True)
class Hit:
    """What was found, masked, and where in the text or bytes."""

    masked: str
    offset: int


class Searcher:
    """The identities of one input set, ready to be looked for."""

    def __init__(self, identities: Identities) -> None:
        self._known = identities
        self._all_dates = {
            date: masked for each in identities.dates.values() for date, masked in each.items()
        }
        self._strong = _pattern(data for data in identities.encoded if len(data) >= _LEAST_IN_PIXELS)
        self._last: tuple[str | None, re.Pattern[bytes] | None] = (None, None)
        self._weak = _pattern(identities.encoded)

    def _own(self, patient: str) -> re.Pattern[bytes] | None:
        """The pattern of one patient; the last one is kept, as films of one patient follow each other."""
        if self._last[0] != patient:
            own = self._known.owned.get(patient, set())
            self._last = patient, _pattern(data for data in own if len(data) >= _LEAST_IN_PIXELS)
        return self._last[1]

    def dates_of(self, patient: str | None) -> dict[str, str]:
        """Dates of one patient; of everybody for a file that has no original."""
        return self._all_dates if patient is None else self._known.dates.get(patient, {})

    def text(self, text: str, *, patient: str | None, raw: bool = False, dates: bool = True) -> Iterator[Hit]:
        """All identities in a text. `raw` text was cut from bytes: short tokens are not looked for in it."""
        for match in _UID.finditer(text):
            if match[0] in self._known.uids:
                yield Hit(self._known.uids[match[0]], match.start())
        if dates:
            known = self.dates_of(patient)
            if known:
                yield from (Hit(known[date], -1) for date in spelling.dates(text) & known.keys())
        for uid in _UID.findall(text):
            yield from self._words(uid.split("."), raw=True, most=1)
            if dates:
                known = self.dates_of(patient)
                yield from (Hit(known[each[:8]], -1) for each in uid.split(".") if each[:8] in known)
        plain = _UID.sub(" ; ", text)
        if raw:
            plain = _DECIMAL.sub(" ; ", plain)
        yield from self._words(spelling.words(plain), raw=raw, most=_MOST_WORDS)
        yield from self._inside(spelling.compact(plain))

    def value(self, text: str) -> Iterator[Hit]:
        """A value that is, as a whole, an identity too short to be looked for elsewhere."""
        masked = self._known.whole.get(spelling.compact(text))
        if masked:
            yield Hit(masked, 0)

    def uid(self, text: str) -> Iterator[Hit]:
        """A UID of the originals."""
        if text in self._known.uids:
            yield Hit(self._known.uids[text], 0)

    def _words(self, words: list[str], *, raw: bool, most: int) -> Iterator[Hit]:
        joined = self._known.joined
        for start in range(len(words)):
            text = ""
            for count in range(1, most + 1):
                if start + count > len(words):
                    break
                text += words[start + count - 1]
                if len(text) > _LONGEST:
                    break
                found = joined.get(text)
                if found and count >= found[0] and not (raw and found[1]):
                    yield Hit(found[2], -1)

    def _inside(self, text: str) -> Iterator[Hit]:
        index = self._known.inside
        if not index:
            return
        for length in (8, 2) if not text.isascii() else (8,):
            for start in range(len(text) - length + 1):
                for token, masked in index.get(text[start : start + length], ()):
                    if text.startswith(token, start) and _stands(text, start, token):
                        yield Hit(masked, -1)

    def data(
        self,
        data: bytes,
        *,
        patient: str | None,
        opaque: bool = False,
        prose: bool = False,
        dates: bool = True,
    ) -> Iterator[Hit]:
        """All identities in bytes. `opaque` bytes are pixels; `prose` bytes are known to be text of some kind."""
        pattern = self._weak if not opaque else self._strong if patient is None else self._own(patient)
        if pattern is not None:
            for match in pattern.finditer(data):
                yield Hit(self._known.encoded[match[0]], match.start())
            if b"\x1b" in data and not opaque:
                for match in pattern.finditer(_ESCAPE.sub(b"", data)):
                    yield Hit(self._known.encoded[match[0]], -1)
        for offset, text in _texts(data, opaque=opaque, prose=prose):
            for hit in self.text(text, patient=patient, raw=not prose, dates=dates):
                yield Hit(hit.masked, offset)


def _texts(data: bytes, *, opaque: bool, prose: bool) -> Iterator[tuple[int, str]]:
    """Runs of bytes that can be text: ASCII, UTF-16 of ASCII, and outside pixels UTF-8 and Latin-1."""
    narrow, wide = (_narrow_runs(data), _wide_runs(data)) if opaque else (None, None)
    for match in narrow if narrow is not None else (_ASCII_LINES if prose else _ASCII_RUN).finditer(data):
        yield match.start(), match[0].decode("ascii")
    for match in wide if wide is not None else _WIDE_RUN.finditer(data):
        yield match.start(), match[0].replace(b"\0", b"").decode("ascii")
    for match in _HIGH_RUN.finditer(data) if not opaque and _HIGH.search(data) else ():
        if _HIGH.search(match[0]):
            for encoding in ("utf-8", "latin-1"):
                yield match.start(), match[0].decode(encoding, "replace")


def _narrow_runs(data: bytes) -> Iterator[re.Match[bytes]]:
    """Runs of at least six printable bytes. All bytes are looked at together, as bits of one number."""
    printable = int.from_bytes(data.translate(_PRINTABLE), "little")
    two = printable & printable >> 8
    four = two & two >> 16
    return _matches(_ASCII_RUN, data, four & two >> 32)


def _wide_runs(data: bytes) -> Iterator[re.Match[bytes]]:
    """Runs of at least four printable characters of two bytes, found in the same way."""
    printable = int.from_bytes(data.translate(_PRINTABLE), "little")
    zero = int.from_bytes(data.translate(_ZERO), "little")
    # Bytes beyond the end would count as no zeros and no letters: nothing is found there.
    for pair in (printable & zero >> 8, zero & printable >> 8):
        two = pair & pair >> 16
        yield from _matches(_WIDE_RUN, data, two & two >> 32)


def _matches(pattern: re.Pattern[bytes], data: bytes, starts: int) -> Iterator[re.Match[bytes]]:
    """Matches at the bytes that are marked, each run once."""
    if not starts:
        return
    marks = starts.to_bytes(len(data), "little")
    at = marks.find(1)
    while at >= 0:
        match = pattern.match(data, at)
        if match:
            yield match
        at = marks.find(1, match.end() if match else at + 1)


def _stands(text: str, start: int, token: str) -> bool:
    """Digits are not cut out of longer numbers."""
    if not token.isdigit():
        return True
    end = start + len(token)
    return not (text[start - 1 : start].isdigit() or text[end : end + 1].isdigit())


def _pattern(tokens: Iterator[bytes] | dict[bytes, str]) -> re.Pattern[bytes] | None:
    """One alternation, its common beginnings shared, so that a byte that begins nothing costs nothing."""
    tree: dict[int, object] = {}
    for token in tokens:
        node = tree
        for byte in token:
            node = node.setdefault(byte, {})  # type: ignore[assignment]  # a tree of itself
        node[-1] = {}
    return re.compile(_branches(tree), re.DOTALL) if tree else None


def _branches(tree: dict[int, object]) -> bytes:
    ends = -1 in tree
    options = []
    for byte, below in tree.items():
        if byte != -1:
            options.append(re.escape(bytes([byte])) + _branches(below))  # type: ignore[arg-type]  # as above
    if not options:
        return b""
    inner = options[0] if len(options) == 1 else b"(?:" + b"|".join(options) + b")"
    return b"(?:" + inner + b")?" if ends else inner
