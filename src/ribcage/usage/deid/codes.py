"""Coded items (PS3.3 8): kept when the code is one, and its meaning says nothing else.

Rules, in order:
1. A code of `codes.csv`, or one with the form that its public coding scheme prescribes, check digits
   included, is kept. It must not be an identifier of this object.
2. Its meaning is kept when it consists of known words; else it becomes the listed meaning, or the code itself.
3. Every other code, of private schemes above all, becomes REMOVED: nobody knows what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from ribcage.dicom.scan import Buffer, Element, Item
from ribcage.dicom.values import Charset, text_values
from ribcage.usage.deid.dummies import short
from ribcage.usage.deid.tables import listed_codes
from ribcage.usage.deid.texts import is_known, is_technical
from ribcage.usage.deid.walker import KEEP, Answer, Walker

_CODE, _SCHEME, _VERSION, _MEANING, _LONG, _URN = (
    0x00080100,
    0x00080102,
    0x00080103,
    0x00080104,
    0x00080119,
    0x00080120,
)
_VALUES: Final = frozenset({_CODE, _LONG, _URN})
_PARTS: Final = frozenset({_CODE, _SCHEME, _VERSION, _MEANING, _LONG, _URN})
_VR: Final = {_CODE: "SH", _SCHEME: "SH", _VERSION: "SH", _MEANING: "LO", _LONG: "UC", _URN: "UR"}
_D: Final = ((0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5), (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
             (3, 4, 0, 1, 2, 8, 9, 5, 6, 7), (4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
             (6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3), (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
             (9, 8, 7, 6, 5, 4, 3, 2, 1, 0))  # fmt: skip
_P: Final = ((0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 5, 7, 6, 2, 8, 3, 0, 9, 4), (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
             (8, 9, 1, 6, 0, 4, 3, 5, 2, 7), (9, 4, 5, 3, 1, 2, 6, 8, 7, 0), (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
             (2, 7, 9, 3, 8, 0, 6, 4, 1, 5), (7, 0, 4, 6, 9, 1, 3, 2, 5, 8))  # fmt: skip


def _snomed(code: str) -> bool:
    """SNOMED CT: 6 to 18 digits with the check digit of Verhoeff."""
    if not (code.isascii() and code.isdigit() and 6 <= len(code) <= 18):
        return False
    check = 0
    for at, digit in enumerate(reversed(code)):
        check = _D[check][_P[at % 8][int(digit)]]
    return check == 0


def _loinc(code: str) -> bool:
    """LOINC: up to seven digits, a hyphen and a check digit (mod 10)."""
    if re.fullmatch(r"[0-9]{1,7}-[0-9]", code) is None:
        return False
    number, check = code.split("-")
    doubled = sum(sum(map(int, str(int(digit) * 2))) if at % 2 == 0 else int(digit)
                  for at, digit in enumerate(reversed(number)))  # fmt: skip
    return (10 - doubled % 10) % 10 == int(check)


def _form(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda code: compiled.fullmatch(code) is not None


_SRT: Final = _form(r"[A-Z]-[0-9A-F]{3,6}")
_SCHEMES: Final[dict[str, Callable[[str], bool]]] = {
    "SCT": _snomed,
    "LN": _loinc,
    "DCM": _form(r"1[0-9]{5}"),
    **dict.fromkeys(("SRT", "SNM3", "99SDM", "SNOMED-RT"), _SRT),
    "UCUM": _form(r"[A-Za-z0-9%/\[\]{}.*^'_+\-]{1,16}"),
    "FMA": _form(r"[0-9]{3,6}"),
    "RADLEX": _form(r"RID[0-9]{1,6}"),
    "UMLS": _form(r"C[0-9]{7}"),
    "NCIt": _form(r"C[0-9]{3,7}"),
    **dict.fromkeys(("I10", "ICD10", "I10C"), _form(r"[A-Z][0-9]{2}(?:\.[0-9A-Z]{1,4})?")),
    "IBSI": _form(r"[A-Z0-9]{3,4}"),
    "RADELEMENT": _form(r"RDE[0-9]{1,5}"),
}


@lru_cache(maxsize=4096)
def is_public(scheme: str, code: str) -> bool:
    """Whether this is a code of a public scheme (rule 1)."""
    if (scheme, code) in listed_codes():
        return True
    test = _SCHEMES.get(scheme)
    return test is not None and test(code)


def edits(walker: Walker, item: Item, charset: Charset) -> dict[int, Answer]:
    """What becomes of the elements of an item that is a code; {} for other items."""
    found = {element.tag: element for element in item.elements if element.tag in _PARTS}
    if not found or _VALUES.isdisjoint(found):
        return {}
    texts = {tag: _text(walker, element, charset) for tag, element in found.items()}
    code = texts.get(_CODE) or texts.get(_LONG) or ""
    scheme = texts.get(_SCHEME, "")
    who = walker.facts.identities
    if _URN in found or not is_public(scheme, code) or who.in_text(code):
        return _removal(found)
    answers: dict[int, Answer] = {element.start: KEEP for element in found.values()}
    version = found.get(_VERSION)
    if version is not None and not is_technical(texts[_VERSION], who):
        answers[version.start] = None
    meaning = found.get(_MEANING)
    if meaning is not None and not is_known(texts[_MEANING], who):
        told = listed_codes().get((scheme, code), code)
        answers[meaning.start] = (code if who.says_who(told) else told).encode("ascii")[:64]
    return answers


def _removal(found: dict[int, Element]) -> dict[int, Answer]:
    told: dict[int, Answer] = {
        _CODE: b"REMOVED",
        _LONG: b"REMOVED",
        _SCHEME: b"99REMOVED",
        _MEANING: b"Removed",
        _URN: b"urn:removed",
    }
    return {element.start: told.get(tag) for tag, element in found.items()}


def removed(element: Element) -> list[Buffer]:
    """The elements of a code item that says nothing, encoded as beside `element`."""
    rows = ((_CODE, b"REMOVED"), (_SCHEME, b"99REMOVED"), (_MEANING, b"Removed"))
    return [short(tag, _VR[tag], value, element.encoding) for tag, value in rows]


def _text(walker: Walker, element: Element, charset: Charset) -> str:
    if element.vr not in (_VR[element.tag], "UN") or not 0 <= element.length <= 4096:
        return "\0"
    texts = text_values(walker.raw(element), _VR[element.tag], charset)
    return texts[0] if len(texts) == 1 else "" if not texts else "\0"
