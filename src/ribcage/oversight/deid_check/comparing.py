"""A released film against its original, attribute by attribute, as the table says.

Rules, in order:
1. The options are those that the file names in its own method codes; a caller's must be the same.
2. Every element of the original is looked for on its path, at every level; a lost sequence took its items,
   and of one with fewer items nobody can say which.
3. Unlisted attributes that carry the picture must be kept; others may go: an allow-list may be narrower.
4. What the table leaves a choice on (X/Z, Z/D, …) is right in each of its forms; unchanged is right in none.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.datadict import dictionary_has_tag

from ribcage.oversight.deid_check.concepts import kept_uids
from ribcage.oversight.deid_check.finding import Finding
from ribcage.oversight.deid_check.reading import Element, Film, walk
from ribcage.oversight.deid_check.spelling import PLACEHOLDERS
from ribcage.oversight.deid_check.table import (
    BASIC_CODE,
    FULL_DATES,
    METHODS,
    MODIFIED_DATES,
    row_of,
    safe_private,
)

_PICTURE_GROUPS: Final = frozenset((0x0028, 0x7FE0))
_PICTURE: Final = frozenset(
    (
        0x00080008,
        0x00080016,
        0x00080060,
        0x00180015,
        0x00180050,
        0x00180088,
        0x00181164,
        0x00185101,
        0x00200013,
    )
) | frozenset((0x00200032, 0x00200037, 0x00200020, 0x00201041, 0x00200062, 0x00185100, 0x00280030))
# Present in every composite instance (type 1 or 2); the rest may be foreign to the class and then goes.
_PRESENT: Final = frozenset(
    (
        0x00080018,
        0x00080020,
        0x00080030,
        0x00080050,
        0x00080090,
        0x00100010,
        0x00100020,
        0x00100030,
        0x00100040,
    )
) | frozenset((0x0020000D, 0x0020000E, 0x00200010))
_MARKERS: Final = frozenset((0x00120062, 0x00120063, 0x00120064, 0x00280301, 0x00280302, 0x00280303))
_PIXEL_CHANGES: Final = frozenset(("clean_pixel_data", "clean_recognizable_visual_features"))
_REWRITTEN: Final = frozenset((0x7FE00010, 0x7FE00008, 0x7FE00009, 0x00280301, 0x00280302, 0x00280303))
_IMAGE_TYPE: Final = 0x00080008
_LEGAL: Final = {"CS": r"[A-Z0-9_ ]{0,16}", "AS": r"[0-9]{3}[DWMY]"}  # PS3.5 6.2
_STANDARD_UID: Final = "1.2.840.10008."
_UID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+")
_IN_PRIVATE: Final = re.compile(r"\(\w{3}[13579BDF],\w{4}\)\[")  # judged with the sequence that it stands in
_PEOPLE_VRS: Final = frozenset(("PN", "UR"))
_DAY: Final = 86400
_OLDEST: Final = "090Y"  # 45 CFR 164.514(b)(2)(i)(C): 90 years and above are one age


@dataclass
class Compared:
    """`uids` are `(before, after)`; `shifts` seconds, `days` whole days of dates that stand without a time."""

    findings: list[Finding] = field(default_factory=list)
    notes: int = 0
    kept: int = 0
    checked: int = 0
    uids: set[tuple[str, str, str]] = field(default_factory=set)
    shifts: set[tuple[str, int]] = field(default_factory=set)
    days: set[tuple[str, int]] = field(default_factory=set)


def options_of(film: Film) -> frozenset[str] | None:
    """The options that a film names (CID 7050); None where it names none."""
    codes = set()
    for element in walk(film.dataset) if film.dataset is not None else ():
        if re.fullmatch(r"\(0012,0064\)\[\d+\]\(0008,0100\)", element.path):
            codes |= set(element.texts)
    if not codes:
        return None
    return frozenset(METHODS[code] for code in codes if code in METHODS and code != BASIC_CODE)


def values(film: Film) -> dict[str, Element]:
    """Elements by path; private ones by their creator, wherever their block lies."""
    found = {}
    for element in walk(film.dataset) if film.dataset is not None else ():
        found[key(element)] = element
    return found


def key(element: Element) -> str:
    """The path of an element, with the creator in place of the block."""
    if not element.creator:
        return element.path
    group, low = element.tag >> 16, element.tag & 0xFF
    return f"{element.path[:-11]}({group:04X},[{element.creator}]{low:02X})"


def compare(
    file: str, before: Mapping[str, Element], after: Mapping[str, Element], options: frozenset[str]
) -> Compared:
    """Rules 2 to 4 for one pair."""
    result = Compared()
    missing: list[str] = []
    kept = kept_uids(before, options)
    for path, element in before.items():
        if any(path.startswith(each) for each in missing):
            continue
        new = after.get(path)
        if element.vr == "SQ" and (new is None or _length(new) != _length(element)):
            missing.append(f"{path}[")
        same = path in kept
        finding = _kept(file, element, new, result) if same else _one(file, element, new, options, result)
        if element.vr == "SQ" and finding is None and new is not None:
            finding = _same_items(file, element, options, before, after)
        result.checked += 1
        if finding is not None:
            result.findings.append(finding)
    for path, element in after.items():
        if path not in before and element.tag >> 16 & 1:
            result.findings.extend(_new_private(file, element, options))
    _times(before, after, options, result)
    return result


def _one(
    file: str, old: Element, new: Element | None, options: frozenset[str], result: Compared
) -> Finding | None:
    if old.tag >> 16 & 1:
        return _private(file, old, new, options)
    row = row_of(old.tag)
    if old.tag in _MARKERS or old.tag & 0xFFFF == 0:
        return None
    if old.tag >> 16 == 0x0004 and new is None:
        return None  # of a directory: PS3.3 F
    if row is None:
        return _unlisted(file, old, new, options, result)
    action = row.action(options)
    if action == "K":
        return _kept(file, old, new, result)
    if old.vr == "UI" and new is not None:
        _uids(old, new, result)
    if new is None:
        return _gone(file, old, action)
    if action == "X":
        return Finding("not-removed", file, old.path, "expected removed, it is there")
    if action == "C" or _is_empty(new):
        return None if action == "C" or "Z" in action or _is_empty(old) else _emptied(file, old, action)
    if old.vr == "SQ":
        return None
    if _same(old, new) and not _placeholder(old):
        return Finding("not-removed", file, old.path, f"expected {_words(action)}, it is unchanged")
    return None


def _length(element: Element) -> int:
    return len(element.value) if element.vr == "SQ" and not isinstance(element.value, bytes) else -1


def _same_items(
    file: str,
    old: Element,
    options: frozenset[str],
    before: Mapping[str, Element],
    after: Mapping[str, Element],
) -> Finding | None:
    """A sequence that was to be emptied or replaced, and has the items that it had."""
    row = row_of(old.tag)
    if row is None or not set(row.action(options).split("/")) & {"Z", "D"}:
        return None
    start = f"{key(old)}["
    items = {path: each.texts for path, each in before.items() if path.startswith(start)}
    if items and items == {path: each.texts for path, each in after.items() if path.startswith(start)}:
        return Finding("not-removed", file, old.path, "expected emptied or replaced, its items are unchanged")
    return None


def _gone(file: str, old: Element, action: str) -> Finding | None:
    if "X" in action or action == "C" or old.depth or old.tag not in _PRESENT:
        return None
    return Finding("lost", file, old.path, f"expected {_words(action)}, it is gone")


def _emptied(file: str, old: Element, action: str) -> Finding | None:
    return Finding("lost", file, old.path, f"expected {_words(action)}, it is empty")


def _words(action: str) -> str:
    names = {"D": "replaced", "Z": "emptied", "X": "removed", "U": "another UID", "U*": "another UID"}
    return " or ".join(names.get(each, each) for each in action.split("/"))


def _kept(file: str, old: Element, new: Element | None, result: Compared) -> Finding | None:
    if not all(re.fullmatch(_LEGAL.get(old.vr, ".*"), text, re.DOTALL) for text in old.texts):
        return None  # not what its VR says
    if new is None:
        return Finding("lost", file, old.path, "expected kept by an option, it is gone")
    if old.vr == "AS" and any(text.endswith("Y") and text > _OLDEST for text in old.texts):
        same = _same(old, new)
        return (
            Finding("not-removed", file, old.path, "expected 90 years at most, it is more") if same else None
        )
    if old.vr != "SQ" and not _same(old, new):
        return Finding("lost", file, old.path, "expected kept by an option, it is changed")
    result.kept += 1
    return None


def _unlisted(
    file: str, old: Element, new: Element | None, options: frozenset[str], result: Compared
) -> Finding | None:
    if old.tag >> 16 == 0x0004 and new is not None and not old.depth:
        return Finding("not-removed", file, old.path, "expected removed, it is of a directory")
    if new is not None and old.vr in _PEOPLE_VRS and not _is_empty(old) and _same(old, new):
        return Finding(
            "not-removed", file, old.path, f"unlisted, but {old.vr}: expected removed, it is unchanged"
        )
    if new is not None and old.vr == "UI":
        _uids(old, new, result)
        own = [each for each in old.texts if not each.startswith(_STANDARD_UID) and _UID.fullmatch(each)]
        if own and _same(old, new) and "retain_uids" not in options and not _class_uid(old.tag):
            return Finding(
                "not-removed", file, old.path, "unlisted UID: expected another UID, it is unchanged"
            )
    if old.tag == _IMAGE_TYPE and new is not None and _leading(old, new):
        return None
    must = (old.tag >> 16 in _PICTURE_GROUPS or old.tag in _PICTURE) and not old.depth
    must = (
        must
        and dictionary_has_tag(old.tag)
        and old.vr not in ("LO", "LT", "SH", "ST", "UT", "UN", "DA", "TM")
    )
    if old.tag in _REWRITTEN:
        if old.tag >> 16 == 0x7FE0 and new is None:
            return Finding("lost", file, old.path, "expected pixels, they are gone")
        if must and old.tag >> 16 == 0x7FE0 and not options & _PIXEL_CHANGES and not _same(old, new):
            result.notes += 1
        return None
    if new is None:
        result.notes += 1
        return (
            Finding("lost", file, old.path, "expected kept, it is gone")
            if must and not _is_empty(old)
            else None
        )
    if must and not _same(old, new):
        return Finding("lost", file, old.path, "expected kept, it is changed")
    result.kept += 1
    return None


def _leading(old: Element, new: Element) -> bool:
    """Values 1 and 2 of Image Type are enumerated (PS3.3 C.7.6.1.1.2); from the third on any word may stand there."""
    return len(new.texts) >= 2 and old.texts[: len(new.texts)] == new.texts


def _class_uid(tag: int) -> bool:
    return tag in (0x00080016, 0x00081150, 0x0008001A, 0x00081115, 0x0008010C, 0x0008010D)


def _private(file: str, old: Element, new: Element | None, options: frozenset[str]) -> Finding | None:
    if new is None:
        if (
            "retain_safe_private" in options
            and is_safe(old)
            and old.creator
            and not old.depth
            and not _is_empty(old)
        ):
            return Finding("lost", file, old.path, "a safe private attribute: expected kept, it is gone")
        return None
    return next(_new_private(file, new, options), None)


def _new_private(file: str, new: Element, options: frozenset[str]) -> Iterator[Finding]:
    reserves = 0x10 <= new.tag & 0xFFFF <= 0xFF
    if reserves and "retain_safe_private" in options:
        return
    if "retain_safe_private" not in options:
        yield Finding("private", file, new.path, "expected no private attribute, it is there")
    elif not is_safe(new) and not _IN_PRIVATE.search(new.path):
        yield Finding("private", file, new.path, "not on the list of safe private attributes")


def is_safe(element: Element) -> bool:
    """PS3.15 Table E.3.10-1."""
    return (element.creator, element.tag >> 16, element.tag & 0xFF) in safe_private()


def _uids(old: Element, new: Element, result: Compared) -> None:
    if len(old.texts) == len(new.texts):
        for before, after in zip(old.texts, new.texts, strict=True):
            if before and after and not before.startswith(_STANDARD_UID):
                result.uids.add((before, after, old.path))


def _is_empty(element: Element) -> bool:
    if isinstance(element.value, bytes):
        return not element.value
    if element.vr == "SQ":
        return not element.value
    return not "".join(element.texts).strip()


def _same(old: Element, new: Element | None) -> bool:
    if new is None:
        return False
    if isinstance(old.value, bytes) or isinstance(new.value, bytes):
        return _bytes(old.value).rstrip(b"\0") == _bytes(new.value).rstrip(b"\0")
    if old.vr in ("DS", "FL", "FD"):
        return _numbers(old) == _numbers(new)
    return [each.strip().rstrip("^=") for each in old.texts] == [
        each.strip().rstrip("^=") for each in new.texts
    ]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _numbers(element: Element) -> list[float | str]:
    found: list[float | str] = []
    for text in element.texts:
        try:
            found.append(round(float(text), 9))
        except ValueError:
            found.append(text.strip())
    return found


def _placeholder(element: Element) -> bool:
    if isinstance(element.value, bytes):
        return len(element.value.strip(b"\0")) < 4
    said = re.sub(r"[\W_]", "", "".join(element.texts)).lower()
    if element.vr == "CS":
        return said in ("", "o", "u", "none", "unknown")
    if element.vr in ("US", "AS", "DS", "IS", "TM"):
        return not said.strip("0y") or len(said) < 2
    return said in PLACEHOLDERS or not said.strip("0")


# --- dates ----------------------------------------------------------------------------------------------


def _times(
    before: Mapping[str, Element], after: Mapping[str, Element], options: frozenset[str], result: Compared
) -> None:
    """Shifts between the dates of both, with the time where one stands beside (study, series, content …)."""
    if MODIFIED_DATES not in options or FULL_DATES in options:
        return
    for path, old in before.items():
        new, row = after.get(path), row_of(old.tag)
        if new is None or row is None or row.action(options) != "C" or old.vr not in ("DA", "DT"):
            continue
        if _is_empty(old) or _is_empty(new):
            continue
        if old.vr == "DT":
            first, second = _moment(old.texts[0]), _moment(new.texts[0])
            if (
                first is not None
                and second is not None
                and len(old.texts[0]) >= 14
                and len(new.texts[0]) >= 14
            ):
                result.shifts.add((path, round((second - first).total_seconds())))
            continue
        beside = _beside(path, row.keyword, before, after)
        first = _moment(old.texts[0][:8] + beside[0])
        second = _moment(new.texts[0][:8] + beside[1])
        if first is None or second is None:
            continue
        seconds = round((second - first).total_seconds())
        (result.shifts if beside[0] and beside[1] else result.days).add((path, seconds))


def _beside(
    path: str, keyword: str, before: Mapping[str, Element], after: Mapping[str, Element]
) -> tuple[str, str]:
    """The time that belongs to a date, in both; empty where one has none."""
    for other, element in before.items():
        row = row_of(element.tag)
        if element.vr != "TM" or row is None or other[:-11] != path[:-11] or other not in after:
            continue
        if row.keyword == re.sub(r"Date$", "Time", keyword):
            old, new = "".join(element.texts[:1]).strip(), "".join(after[other].texts[:1]).strip()
            if len(old) >= 6 and len(new) >= 6:
                return old[:6], new[:6]
    return "", ""


def _moment(text: str) -> datetime.datetime | None:
    text = re.sub(r"[^\d].*$", "", text.strip())
    for form, length in (("%Y%m%d%H%M%S", 14), ("%Y%m%d", 8)):
        if len(text) >= length:
            try:
                return datetime.datetime.strptime(text[:length], form)
            except ValueError:
                continue
    return None


def day_of(seconds: int) -> int:
    """The whole days of a shift, downwards."""
    return seconds // _DAY
