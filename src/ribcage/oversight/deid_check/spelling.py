"""How one identity can be written: spellings, orders, initials, dates, numbers, encodings.

Rules, in order:
1. Text is compared compact: compatibility forms folded, accents and case off, letters and digits only (`compact`).
2. A token says how it must stand: as words of its own (`joined`), anywhere (`inside`), or as a whole value (`whole`).
   Short and common ones only stand in the stricter places: a false alarm teaches people to ignore the true one.
3. Other scripts are searched in bytes too, in each encoding that can write them.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydicom._dicom_dict import DicomDictionary
from pydicom._uid_dict import UID_dictionary

from ribcage.oversight.deid_check.pinyin import readings

Stand = Literal["joined", "inside", "whole"]
ENCODINGS: Final = ("utf-8", "gb18030", "big5", "cp932", "euc_jp", "cp949", "utf-16-le", "utf-16-be")
SEVEN_BIT: Final = (("iso2022_jp", b"\x1b$B"), ("gb2312", b"\x1b$A"), ("euc_kr", b"\x1b$(C"))
ONE_BYTE: Final = (
    "latin-1",
    "iso8859-2",
    "iso8859-5",
    "iso8859-6",
    "iso8859-7",
    "iso8859-8",
    "iso8859-9",
    "cp1251",
)
_EXPANDED: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_COMMON: Final = """
chest head brain body test phantom anonymous anon unknown none null removed patient name doctor physician
operator nurse hospital clinic radiology department institute university center centre medical general central
north south east west city street road male female other adult child left right series study image scan room
ward station scanner workstation long short young black white green brown gray grey small large good best king
love hand foot knee neck spine bone lung heart breast liver skull pelvis abdomen thorax routine standard default
system service admin user guest local server
"""

# Words that stand for an identity that went, compact; they are nobody's.
PLACEHOLDERS: Final = frozenset(
    (
        *("", "anonymous", "anon", "anonymized", "unknown", "removed"),
        *("none", "null", "0", "00", "000000", "deidentified", "urnremoved"),
    )
)


@dataclass(frozen=True)
class Token:
    """`least` is how many words it must be made of; `prose` tokens are looked for in decoded text alone."""

    text: str
    stand: Stand
    least: int = 1
    prose: bool = False


def compact(text: str) -> str:
    """Rule 1."""
    if text.isascii():
        return re.sub(r"[^0-9a-z]", "", text.lower())
    return "".join(each for each in _folded(text) if each.isalnum())


def words(text: str) -> list[str]:
    """The words of a text in their compact forms."""
    if text.isascii():
        return re.findall(r"[0-9a-z]+", text.lower())
    return re.findall(r"[^\W_]+", _folded(text))


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in text if not unicodedata.combining(each) or 0x3099 <= ord(each) <= 0x309A)


@functools.cache
def vocabulary() -> frozenset[str]:
    """Words of the standard and of every hospital: none of them alone is an identity."""
    names = " ".join(entry[2] for entry in DicomDictionary.values())
    names += " " + " ".join(f"{each[0]} {each[3]}" for each in UID_dictionary.values())
    return frozenset(words(f"{names} {_COMMON}"))


def wide(text: str) -> bool:
    """Whether it is written in Chinese, Japanese or Korean."""
    return any("\u2e80" <= each <= "\uffdc" for each in text)


# --- persons --------------------------------------------------------------------------------------------


def person(value: str) -> Iterator[Token]:
    """Every spelling of a person's name (PS3.5 6.2.1): groups by `=`, parts by `^`."""
    for group in value.split("="):
        parts = [
            part.strip() for part in (group.split("^") if "^" in group else re.split(r"[\s,，·]+", group))
        ]
        parts = [part for part in parts[:3] if compact(part)]
        if not parts:
            continue
        if wide("".join(parts)):
            yield from _wide_person([compact(part) for part in parts])
        else:
            yield from _latin_person(parts)
            if any(each in "äöüøå" for each in group.lower()):
                yield from _latin_person([part.lower().translate(_EXPANDED) for part in parts])


def _latin_person(parts: list[str]) -> Iterator[Token]:
    plain = [compact(part) for part in parts]
    orders = [plain, plain[1:] + plain[:1], plain[:2], plain[1:2] + plain[:1], plain[::-1]]
    for order in orders:
        joined = "".join(order)
        if len(order) > 1 and len(joined) >= 4:
            yield Token(joined, "joined", 1 if len(joined) >= 6 else 2)
            if len(joined) >= 9:
                yield Token(joined, "inside")
    for part in plain:
        if len(part) >= 4 and part not in vocabulary() and not part.isdigit():
            yield Token(part, "joined", prose=len(part) < 6)
    if len(plain) == 1 and len(plain[0]) < 4:
        yield Token(plain[0], "whole")
    pieces = [piece for part in parts for piece in words(part)]
    initials = "".join(piece[0] for piece in pieces)
    if len(initials) >= 3 and len(pieces) > 1:
        yield Token(initials, "joined", len(initials), prose=True)
    for given in ("".join(piece[0] for piece in pieces[1:]),):
        if given and len(plain[0] + given) >= 6 and plain[0] not in vocabulary():
            yield Token(plain[0] + given, "joined", 2)
            yield Token(given + plain[0], "joined", 2)


def _wide_person(parts: list[str]) -> Iterator[Token]:
    full = "".join(parts)
    if len(full) >= 2:
        yield Token(full, "inside")
    if len(parts) > 1:
        yield Token("".join(parts[::-1]), "inside")
        if len(parts[1]) >= 2:
            yield Token(parts[1], "joined", prose=True)
    if len(parts) == 1 and 2 <= len(full) <= 4:
        parts = [full[:1], full[1:]]
    if len(full) <= 5 and len(parts) > 1:
        for family in readings(parts[0])[:4]:
            for given in readings(parts[1])[:12]:
                yield from _latin_person(["".join(family), " ".join(given)])


# --- everything else ------------------------------------------------------------------------------------


def number(value: str) -> Iterator[Token]:
    """Identifiers, serial and telephone numbers: with and without separators."""
    plain = compact(value)
    if len(plain) >= 6 and plain not in vocabulary() and len(set(plain)) > 2:
        yield Token(plain, "joined", prose=plain.isdigit() and len(plain) < 8)
        if len(plain) >= 10 or (len(plain) >= 8 and not plain.isdigit() and not plain.isalpha()):
            yield Token(plain, "inside")
        for digits in re.findall(r"\d{8,}", plain) if not plain.isdigit() else ():
            yield Token(digits, "joined")
        bare = plain.lstrip("0")
        if bare.isdigit() and len(bare) >= 7 and bare != plain:
            yield Token(bare, "joined", prose=len(bare) < 8)
    elif len(plain) >= 4 and plain not in vocabulary() and any(each.isdigit() for each in plain):
        yield Token(plain, "whole")
    for country in ("86", "1", "44", "49", "81", "82", "852", "886"):
        if re.match(rf"\+{country}\D?", value) and len(plain) - len(country) >= 7:
            yield Token(plain[len(country) :], "joined", prose=True)


def place(value: str) -> Iterator[Token]:
    """Addresses, institutions, stations: whole, and the parts that say something by themselves."""
    for part in {value, *re.split(r"[,;^\n\r，、；]+", value)}:
        plain, pieces = compact(part), words(part)
        telling = [piece for piece in pieces if piece not in vocabulary()]
        if wide(plain):
            if len(plain) >= 4:
                yield Token(plain, "inside")
        elif len(plain) >= 7 and telling:
            yield Token(plain, "joined", prose=len(pieces) == 1 and len(plain) < 8)
            if len(plain) >= 10:
                yield Token(plain, "inside")
        elif len(plain) >= 4 and telling and part == value:
            yield Token(plain, "whole")


def phrase(value: str) -> Iterator[Token]:
    """A long text that can only come from where it was."""
    plain = compact(value)
    if len(plain) >= 10:
        yield Token(plain, "inside")


def encoded(text: str) -> set[bytes]:
    """Bytes of a text that is not ASCII, with the separators that may stand between the characters (rule 3)."""
    spellings = {text, text.upper(), text.title()}
    if wide(text):
        spellings |= {
            text[:cut] + between + text[cut:] for cut in (1, 2) if len(text) > cut for between in "^ "
        }
    found = set()
    for spelling in spellings:
        found |= set(_in_each(spelling))
    return {each for each in found if len(each) >= 4}


def _in_each(text: str) -> Iterable[bytes]:
    for name in ENCODINGS if wide(text) else (*ENCODINGS[:2], *ENCODINGS[-2:], *ONE_BYTE):
        try:
            yield text.encode(name)
        except UnicodeEncodeError:
            continue
    for name, _ in SEVEN_BIT if wide(text) else ():
        try:
            data = text.encode(name)
        except UnicodeEncodeError:
            continue
        if name == "iso2022_jp":
            data = re.sub(rb"\x1b[($][$]?[@ABDJ]", b"", data)
        else:
            data = bytes(each & 0x7F for each in data)
        if len(data) >= 6:
            yield data


# --- dates ----------------------------------------------------------------------------------------------

_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_YMD: Final = re.compile(r"(?<!\d)((?:1[89]|20)\d\d)\s?[-./\\年 ]\s?(\d{1,2})\s?[-./\\月 ]\s?(\d{1,2})(?!\d)")
_DMY: Final = re.compile(r"(?<![\d.])(\d{1,2})[-./ ](\d{1,2})[-./ ]((?:1[89]|20)\d\d)(?!\d)")
_SOLID: Final = re.compile(r"(?<![\d.])((?:1[89]|20)\d\d)(\d\d)(\d\d)(?=\D|$|\d{2,6}(?:\D|$))")
_NAMED: Final = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|nd|rd|th)?[-. ]{1,2}([a-z]{3})[a-z]*[-., ]{1,2}((?:1[89]|20)\d\d)(?!\d)"
)
_NAMED_FIRST: Final = re.compile(
    r"([a-z]{3})[a-z]*[-. ]{1,2}(\d{1,2})(?:st|nd|rd|th)?,?[-. ]{1,2}((?:1[89]|20)\d\d)(?!\d)"
)
_DIGITS: Final = str.maketrans("〇零一二三四五六七八九", "00123456789")
_HAN: Final = "一二三四五六七八九"
_HAN_DATE: Final = re.compile(f"([〇零{_HAN}]{{4}})年([{_HAN}十]{{1,2}})月([{_HAN}十]{{1,3}})[日号]")


def dates(text: str) -> set[str]:
    """All dates in a text, in any common form, as YYYYMMDD."""
    text = unicodedata.normalize("NFKC", text).lower() if not text.isascii() else text.lower()
    found = {f"{y}{int(m):02}{int(d):02}" for y, m, d in _YMD.findall(text)}
    found |= {"".join(parts) for parts in _SOLID.findall(text)}
    for first, second, year in _DMY.findall(text):
        found |= {f"{year}{int(second):02}{int(first):02}", f"{year}{int(first):02}{int(second):02}"}
    for day, month, year in _NAMED.findall(text):
        found |= _named(year, month, day)
    for month, day, year in _NAMED_FIRST.findall(text):
        found |= _named(year, month, day)
    for year, month, day in _HAN_DATE.findall(text):
        found.add(f"{year.translate(_DIGITS)}{_han(month):02}{_han(day):02}")
    return {
        each for each in found if "01" <= each[4:6] <= "12" and "01" <= each[6:8] <= "31" and len(each) == 8
    }


def _named(year: str, month: str, day: str) -> set[str]:
    return {f"{year}{_MONTHS.index(month) + 1:02}{int(day):02}"} if month in _MONTHS else set()


def _han(text: str) -> int:
    tens, ten, ones = text.rpartition("十")
    digit = int(ones.translate(_DIGITS)) if ones else 0
    return digit + (10 * (int(tens.translate(_DIGITS)) if tens else 1) if ten else 0)
