"""What of a text may stay: known words, short technical codes, and never a word that names somebody of this object.

Rules, in order:
1. `Identities` are the words of every person name in the object and its identifiers. They win over the vocabulary:
   "Head" is a word, but not in a file about Mr Head.
2. `known_words` keeps words of `words.csv`, separators between them, and a short number beside a word and
   beside no other number. The rest goes. Chinese is cut into known terms, the longest first; what is left over goes.
3. `is_technical` accepts a text whole or not at all: each token a known word, or a mixture with runs of at most three
   letters or a known word, runs of at most four digits, twelve digits in all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ribcage.usage.deid.tables import words

_HAN: Final = r"㐀-䶿一-鿿豈-﫿"
_LETTERS: Final = rf"[{_HAN}]+|(?:(?![{_HAN}])[^\W\d_])+"
_PIECE: Final = re.compile(rf"{_LETTERS}|[0-9]+(?:\.[0-9]+)?|[ \t\r\n,;:/()+*_.\-\\^]+|.", re.DOTALL)
_WORD: Final = re.compile(_LETTERS)
_RUN: Final = re.compile(r"[A-Za-z]+|[0-9]+")
_TECHNICAL: Final = re.compile(r"[A-Za-z0-9 .,;:/()+*_\-#%&<>=\[\]|@'\"]*")
_LONGEST_TERM: Final = 8
_MOST_TEXT: Final = 10240
_MARKS: Final = ".,;:/()+*_-#%&<>=[]|@'\""
_SEPARATORS: Final = " ,;:/()+*_.-"
_BETWEEN: Final = _SEPARATORS + "\t\r\n\\^"
_SHORT: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?")


class Identities:
    """Who this object is about and who made it, as far as names and identifiers in it say."""

    def __init__(self, names: Iterable[str], numbers: Iterable[str]) -> None:
        self._words: set[str] = set()
        self._parts: set[str] = set()
        for name in names:
            for word in _WORD.findall(name.casefold()):
                self._words.add(word)
                if len(word) >= 4 or (not word.isascii() and len(word) >= 2):
                    self._parts.add(word)
            whole = "".join(_WORD.findall(name.split("=")[1] if name.count("=") else name)).casefold()
            if len(whole) >= (4 if whole.isascii() else 2):
                self._parts.add(whole)
        told = [number.strip().casefold() for number in numbers]
        cores = [core for number in told for core in re.findall(r"[0-9]{6,}", number)]
        self._numbers = {number for number in (*told, *cores) if len(number) >= 4}

    def named(self, word: str) -> bool:
        """Whether this one word is part of a name or an identifier (rule 1)."""
        folded = word.casefold()
        return folded in self._words or folded in self._numbers

    def in_text(self, text: str) -> bool:
        """Whether a text says a name of four letters or two characters, or an identifier."""
        folded = text.casefold()
        return (
            any(number in folded for number in self._numbers)
            or any(part in folded for part in self._parts if not part.isascii())
            or not self._parts.isdisjoint(_WORD.findall(folded))
            or "".join(_WORD.findall(folded)) in self._parts
        )

    def says_who(self, text: str) -> bool:
        """Whether any word of a text is part of a name, however short."""
        return self.in_text(text) or not self._words.isdisjoint(_WORD.findall(text.casefold()))


@lru_cache(maxsize=4096)
def known_words(text: str, identities: Identities) -> str:
    """What of a text consists of known words (rule 2); "" when nothing does."""
    pieces = _PIECE.findall(text[:_MOST_TEXT])
    solid = [piece for piece in pieces if piece.strip(_BETWEEN)]
    kept: list[str] = []
    digits = at = 0
    for piece in pieces:
        if not piece.strip(_BETWEEN):
            kept.append(" " if piece.strip(_SEPARATORS) else piece.strip() or " ")
            continue
        if _is_number(piece):
            around = [*solid[max(0, at - 1) : at], *solid[at + 1 : at + 2]]
            alone = not any(_is_number(other) for other in around)
            beside = any(_words_of(other, identities) for other in around)
            if alone and beside and digits < 6 and _SHORT.fullmatch(piece) and not identities.named(piece):
                kept.append(piece)
                digits += len(piece)
        else:
            kept += _words_of(piece, identities)
        at += 1
    joined = re.sub(r"\s+", " ", "".join(kept))
    joined = re.sub(r"\(\s*\)", "", joined)
    return joined.strip(_SEPARATORS) if re.search(r"[^\W\d_]", joined) else ""


def _is_number(piece: str) -> bool:
    return piece.isascii() and piece[0].isdigit()


def _words_of(piece: str, identities: Identities) -> list[str]:
    if piece.isascii():
        return [piece] if piece.casefold() in words() and not identities.named(piece) else []
    found, at = [], 0
    while at < len(piece):
        for size in range(min(_LONGEST_TERM, len(piece) - at), 0, -1):
            term = piece[at : at + size]
            if term in words() and not identities.named(term):
                found.append(term)
                at += size
                break
        else:
            at += 1
    return found


@lru_cache(maxsize=4096)
def is_known(text: str, identities: Identities) -> bool:
    """Whether every word of a text is known; digits count as in `is_technical`."""
    if identities.says_who(text) or len(text) > _MOST_TEXT:
        return False
    return (
        _plain(text) and all(_covered(word, identities) for word in _WORD.findall(text)) and _few_digits(text)
    )


@lru_cache(maxsize=4096)
def is_technical(text: str, identities: Identities) -> bool:
    """Rule 3."""
    if len(text) > 1024 or _TECHNICAL.fullmatch(text) is None or identities.says_who(text):
        return False
    for token in text.split():
        bare = token.strip(_MARKS)
        if len(bare) > 1 and bare.isalpha() and bare.casefold() not in words():
            return False
    runs = _RUN.findall(text)
    return all(len(run) <= 3 or run.isdigit() or run.casefold() in words() for run in runs) and _few_digits(
        text
    )


def _plain(text: str) -> bool:
    """Letters, ASCII digits and the usual marks: no other characters to write something with."""
    return all(
        one.isalpha() or (one.isascii() and one.isdigit()) or one in _MARKS or one in " ^\\" for one in text
    )


def _covered(word: str, identities: Identities) -> bool:
    if word.isascii():
        return len(word) == 1 or word.casefold() in words()
    return "".join(_words_of(word, identities)) == word


def _few_digits(text: str) -> bool:
    runs = re.findall(r"[0-9]+", text)
    return all(len(run) <= 4 for run in runs) and sum(map(len, runs)) <= 12


NOBODY: Final = Identities((), ())
