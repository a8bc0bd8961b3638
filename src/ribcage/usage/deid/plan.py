"""Profile and SOP class made into one step for each attribute: what to do, what else if the value does not fit, why.

Rules, in order:
1. Group lengths, groups 0000-0007, curves (50xx) and overlays (60xx) are removed: an overlay is a bitmap that nobody
   has read, so Clean Graphics cleans it by leaving it out.
2. The table (PS3.15 E.1-1) comes first; an option's cell stands over the basic action, K over C. A date keeps its
   shift where device identity would keep it as it is.
3. Combined actions follow the attribute's type in the SOP class's IOD: 1 the right one, 2 the middle, 3 or not in the
   IOD the left one. In a sequence that PS3.3 does not describe, every attribute counts as type 1.
4. What the table does not name is kept only when the IOD or the allow-list of the masked view has it, with a number,
   a listed term or a UID as its value; some technical texts are kept when made of known words (`texts.csv`).
   Other dates, times, names and texts, UR, UN and unknown tags go (DESIGN rule 7).
5. A value that does not fit its step becomes a dummy (type 1), empty (type 2) or is removed (type 3).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from enum import IntEnum, auto
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from ribcage.dicom.dictionary import KEYWORD_BY_TAG, vr_of
from ribcage.dicom.scan import BULK_TAGS
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.tables import Option, Row, actions, iod_of
from ribcage.usage.masking.rules import Rule, rules


class Do(IntEnum):
    """What happens to one element."""

    REMOVE = 0
    EMPTY = auto()
    DUMMY = auto()
    KEEP = auto()
    WALK = auto()  # a sequence: its items by the same plan
    NUMBER = auto()  # kept when it is numbers
    TERMS = auto()  # kept when listed, or made of known words
    TEXT = auto()  # kept by an option, unless it says who the patient is
    WORDS = auto()  # reduced to known words
    TECHNICAL = auto()  # kept when made of known words and short codes
    AGE = auto()
    MOMENT = auto()  # a date or time, kept
    SHIFT = auto()  # a date, moved
    UID = auto()  # replaced, but for UIDs of PS3.6
    UID_KEEP = auto()
    TITLE = auto()  # an AE title, replaced by a keyed one
    NAME = auto()
    ID = auto()
    CHARSET = auto()
    CONTENT = auto()  # content items by concept
    CONTENT_DUMMY = auto()
    GRAPHIC_DUMMY = auto()
    CODES_DUMMY = auto()
    DOCUMENT = auto()
    PRIVATE = auto()
    PIXELS = auto()


class Step(NamedTuple):
    """One attribute's step. `vr` is the table's; `rule` says by which rule, for people."""

    do: Do
    otherwise: Do
    vr: str
    rule: str


_NAME, _ID, _CHARSET = 0x00100010, 0x00100020, 0x00080005
_CONTENT, _GRAPHICS, _PERSON_CODES = 0x0040A730, 0x00700001, 0x00401101
_MARKERS: Final = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303})
_DOCUMENT, _DOCUMENT_LENGTH = 0x00420011, 0x00420015
_DEVICE: Final = 0x00203401  # a code string for which PS3.3 lists no terms
_LAST_COMMAND_GROUP: Final = 0x0007
_GRAPHIC_GROUPS: Final = frozenset({0x50, 0x60})

NUMBER_VRS: Final = frozenset(
    {
        "AT",
        "DS",
        "FD",
        "FL",
        "IS",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "SL",
        "SS",
        "SV",
        "UL",
        "US",
        "UV",
        "xs",
        "ox",
        "lt",
    }
)
DATE_VRS: Final = frozenset({"DA", "DT", "TM"})
TEXT_VRS: Final = frozenset({"LO", "LT", "SH", "ST", "UC", "UT", "UR", "PN", "AE"})
_BY_TYPE: Final[Mapping[str, Mapping[int, str]]] = {  # Table E.1-1a: type 1, 2, 3; 0 is not in the IOD
    "X/Z/D": {1: "D", 2: "Z"},
    "X/Z": {1: "Z", 2: "Z"},
    "X/D": {1: "D", 2: "D"},
    "Z/D": {1: "D", 2: "Z", 3: "Z", 0: "Z"},
    "X/Z/U*": {1: "U", 2: "U"},  # type 2 with references: a segmentation has to name its images
}
_KEPT: Final[Mapping[str, Do]] = {
    "SQ": Do.WALK,
    "UI": Do.UID_KEEP,
    "AS": Do.AGE,
    "CS": Do.TERMS,
    "OB": Do.KEEP,
    **dict.fromkeys(DATE_VRS, Do.MOMENT),
    **dict.fromkeys(NUMBER_VRS, Do.NUMBER),
    **dict.fromkeys(TEXT_VRS, Do.TEXT),
}


@cache
def _texts() -> frozenset[str]:
    text = files(__package__).joinpath("texts.csv").read_text(encoding="utf-8")
    return frozenset(row["keyword"] for row in csv.DictReader(io.StringIO(text)))


@cache
def _described() -> frozenset[int]:
    """Sequences whose content PS3.3 describes."""
    iod = iod_of("1.2.840.10008.5.1.4.1.1.2")
    return frozenset(parent for parent, _ in iod.nested) if iod else frozenset()


class Plan:
    """The steps of one profile for one SOP class, made when first asked for."""

    def __init__(self, profile: Profile, sop_class_uid: str) -> None:
        iod = iod_of(sop_class_uid)
        if iod is None:
            raise KeyError(sop_class_uid)
        self.profile = profile
        self._iod = iod
        self.steps: dict[int, Step] = {}  # parent << 32 | tag

    def step(self, parent: int, tag: int) -> Step:
        """The step of this attribute at the top (`parent` 0) or in the items of sequence `parent`."""
        key = parent << 32 | tag
        found = self.steps.get(key)
        if found is None:
            found = self.steps[key] = self._decide(parent, tag)
        return found

    def _decide(self, parent: int, tag: int) -> Step:
        vr = vr_of(tag)
        group = tag >> 16
        kind = self._kind(parent, tag)
        spare = _spare(kind)
        if tag & 0xFFFF == 0:
            return Step(Do.REMOVE, Do.REMOVE, vr, "group length")
        if group & 1:
            keep = Option.SAFE_PRIVATE in self.profile.options
            return Step(Do.PRIVATE if keep else Do.REMOVE, Do.REMOVE, vr, "E.1-1 private attribute")
        if group <= _LAST_COMMAND_GROUP or group >> 8 in _GRAPHIC_GROUPS:
            return Step(Do.REMOVE, Do.REMOVE, vr, "curve, overlay or foreign group")
        if tag in _MARKERS:
            return Step(Do.REMOVE, Do.REMOVE, vr, "marker, written anew")
        if tag == _DOCUMENT_LENGTH:
            return Step(Do.REMOVE, Do.REMOVE, vr, "length of a document that was replaced")
        if tag in BULK_TAGS:
            return Step(Do.REMOVE if parent else Do.PIXELS, Do.REMOVE, vr, "pixels")
        if tag == _CHARSET:
            return Step(Do.CHARSET, Do.REMOVE, vr, "character set")
        if not parent and tag in (_NAME, _ID):
            return Step(Do.NAME if tag == _NAME else Do.ID, spare, vr, "pseudonym of the project")
        row = actions().get(tag)
        if row is not None:
            return self._by_table(row, tag, vr, kind)
        return self._unlisted(parent, tag, vr, kind)

    def _kind(self, parent: int, tag: int) -> int:
        if parent and not parent >> 16 & 1 and parent not in _described():
            return 1
        return self._iod.type_of(parent, tag)

    def _by_table(self, row: Row, tag: int, vr: str, kind: int) -> Step:
        cells = {option: row.options[option] for option in self.profile.options if option in row.options}
        kept = [option for option, cell in cells.items() if cell == "K"]
        cleaned = [option for option, cell in cells.items() if cell.startswith("C")]
        if vr in DATE_VRS and Option.MODIFIED_DATES in cleaned:
            kept = []
        if kept:
            return Step(_keeping(tag, vr), _spare(kind), vr, f"E.1-1 K, {kept[0].value}")
        if cleaned:
            option = min(cleaned, key=lambda one: one.value)
            if vr in DATE_VRS:
                option = Option.MODIFIED_DATES
            return Step(_cleaning(option, tag, vr, kind), _spare(kind), vr, f"E.1-1 C, {option.value}")
        code = row.basic if "/" not in row.basic else _BY_TYPE[row.basic].get(kind, row.basic[0])
        return Step(_basic(code, tag, vr, kind), _spare(kind), vr, f"E.1-1 {row.basic}")

    def _unlisted(self, parent: int, tag: int, vr: str, kind: int) -> Step:
        spare = _spare(kind)
        allowed = rules().attributes.get(tag)
        known = kind > 0 and tag in KEYWORD_BY_TAG
        if vr == "UI":
            keep = Option.UIDS in self.profile.options
            return Step(Do.UID_KEEP if keep else Do.UID, spare, vr, "not in the table: UID")
        if allowed is not None and allowed.rule is Rule.TABLE:
            return Step(Do.KEEP, spare, vr, "not in the table: allow-list")
        if (known or allowed is not None) and vr == "SQ":
            return Step(Do.WALK, spare, vr, "not in the table: sequence of the IOD")
        if (known or allowed is not None) and vr in NUMBER_VRS:
            return Step(Do.NUMBER, spare, vr, "not in the table: number of the IOD")
        if (known or allowed is not None) and vr == "CS":
            return Step(Do.TERMS, spare, vr, "not in the table: listed term")
        if KEYWORD_BY_TAG.get(tag) in _texts():
            return Step(Do.TECHNICAL, spare, vr, "not in the table: technical text")
        return Step(spare, spare, vr, "not in the table: denied")


def _spare(kind: int) -> Do:
    """Rule 5."""
    return {1: Do.DUMMY, 2: Do.EMPTY}.get(kind, Do.REMOVE)


def _keeping(tag: int, vr: str) -> Do:
    """What K means for this attribute."""
    return Do.TEXT if tag == _DEVICE else _KEPT.get(vr, Do.REMOVE)


def _cleaning(option: Option, tag: int, vr: str, kind: int) -> Do:
    """What C means for this attribute (PS3.15 E.3)."""
    if option is Option.MODIFIED_DATES:
        return {"DA": Do.SHIFT, "DT": Do.SHIFT, "TM": Do.MOMENT}.get(vr, _spare(kind))
    if option is Option.DEVICE:
        return Do.TITLE
    if option is Option.STRUCTURED and vr == "SQ":
        return Do.CONTENT if tag != 0x0040B020 else Do.WALK
    if vr == "SQ":
        return Do.WALK
    if vr == "CS":
        return Do.TERMS
    return Do.WORDS if vr in TEXT_VRS else _spare(kind)


def _basic(code: str, tag: int, vr: str, kind: int) -> Do:
    """X, Z, D or U."""
    if code == "X":
        return Do.REMOVE
    if code == "U":
        return Do.UID if vr == "UI" else Do.WALK
    if code == "Z":
        return Do.DUMMY if kind == 1 and vr != "SQ" else Do.EMPTY
    if vr == "SQ":
        special = {_CONTENT: Do.CONTENT_DUMMY, _GRAPHICS: Do.GRAPHIC_DUMMY, _PERSON_CODES: Do.CODES_DUMMY}
        return special.get(tag, Do.WALK)
    if vr == "UI":
        return Do.UID
    if tag == _DOCUMENT:
        return Do.DOCUMENT if kind else Do.REMOVE
    return Do.DUMMY
