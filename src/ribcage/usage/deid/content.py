"""Content items of structured reports, acquisition contexts and preparation steps, by concept (PS3.15 E.3.4).

Rules, in order:
1. Table E.3.4-1 says by concept code what happens to an item: X removes it with everything below, D gives a dummy,
   K keeps, C cleans; options work as in Table E.1-1. X/D gives a dummy: a template may ask for the item.
2. A concept that the table does not name: text is cleaned to known words under Clean Descriptors, else a dummy; names
   are dummies; dates follow the date options; UIDs are replaced; codes, numbers, coordinates and references stay.
3. Where items refer to each other by position (PS3.3 C.17.3.2.5), none is removed: its value becomes a dummy instead.
4. Without Clean Structured Content the tree becomes one item that says so; graphic annotations become bare layers.
"""

from __future__ import annotations

from typing import Final

from ribcage.dicom.dictionary import VR_BY_TAG
from ribcage.dicom.rewrite import encode_element, encode_item
from ribcage.dicom.scan import Buffer, Element, Item, Scan
from ribcage.dicom.values import Charset, text_values
from ribcage.usage.deid import codes
from ribcage.usage.deid.dummies import short
from ribcage.usage.deid.handlers import moment, replace, shift, text, uid, uid_kept, words
from ribcage.usage.deid.plan import Do, Step
from ribcage.usage.deid.tables import Option, Row, concepts
from ribcage.usage.deid.walker import KEEP, UNFIT, Answer, Handler, Walker

_VALUE_TYPE, _CONCEPT, _CODE, _SCHEME = 0x0040A040, 0x0040A043, 0x00080100, 0x00080102
_CONTENT, _POSITION, _MEASURED, _CONCEPT_CODE = 0x0040A730, 0x0040DB73, 0x0040A300, 0x0040A168
_RELATION, _TEXT = 0x0040A010, 0x0040A160
_LAYER, _REFERENCED = 0x00700002, 0x00081140
_VALUES: Final = {
    "TEXT": _TEXT,
    "PNAME": 0x0040A123,
    "DATETIME": 0x0040A120,
    "DATE": 0x0040A121,
    "TIME": 0x0040A122,
    "UIDREF": 0x0040A124,
}
_MOMENTS: Final = frozenset({"DATETIME", "DATE", "TIME"})


def items(walker: Walker, element: Element, charset: Charset) -> Answer:
    """The items of a content sequence or context (rules 1 to 3)."""
    found = walker.scan.items(element)
    if not found:
        return KEEP if element.vr == "SQ" else UNFIT
    fixed = _has_positions(walker.scan)
    built, changed = [], False
    for item in found:
        action, value_type = _action(walker, item, charset)
        if action == "X" and not fixed:
            changed = True
            walker.note_item(element, "removed", "E.3.4-1 X")
            continue
        edits = _edits(walker, item, "D" if action == "X" else action, value_type, charset)
        parts, touched = walker.item(item, element.tag, charset, edits)
        built.append(parts)
        changed = changed or touched
    if not built:
        return stand_in(walker, element) if element.tag == _CONTENT else b""
    return walker.rebuilt(element, built) if changed else KEEP


def stand_in(walker: Walker, element: Element) -> list[Buffer]:
    """One content item that says that the others were removed (rule 4)."""
    encoding = element.encoding
    concept = b"".join(
        short(tag, vr, value, encoding)
        for tag, vr, value in (
            (_CODE, "SH", b"121106"),
            (_SCHEME, "SH", b"DCM"),
            (0x00080104, "LO", b"Comment"),
        )
    )
    parts: list[Buffer] = [
        short(_RELATION, "CS", b"CONTAINS", encoding),
        short(_VALUE_TYPE, "CS", b"TEXT", encoding),
        encode_element(_CONCEPT, "SQ", encode_item(concept, encoding), encoding),
        encode_element(_TEXT, "UT", b"REMOVED", encoding),
    ]
    return walker.rebuilt(element, [parts])


def bare_graphics(walker: Walker, element: Element, charset: Charset) -> Answer:
    """Graphic annotations without what is drawn and written (rule 4)."""
    built = []
    for item in walker.scan.items(element):
        edits: dict[int, Answer] = {
            inner.start: None for inner in item.elements if inner.tag not in (_LAYER, _REFERENCED)
        }
        built.append(walker.item(item, element.tag, charset, edits)[0])
    return walker.rebuilt(element, built)


def _action(walker: Walker, item: Item, charset: Charset) -> tuple[str, str]:
    """X, D, K, C (or C words) or "" for the rule of its value type; and the value type."""
    value_type, concept = "", ("", "")
    for element in item.elements:
        if element.tag == _VALUE_TYPE and 0 <= element.length <= 16:
            value_type = walker.raw(element).strip(b" \0").decode("ascii", "replace")
        elif element.tag == _CONCEPT:
            for named in walker.scan.items(element)[:1]:
                told = {
                    one.tag: one for one in named.elements if one.tag in (_CODE, _SCHEME) and one.length <= 64
                }
                read = {tag: text_values(walker.raw(one), "SH", charset) for tag, one in told.items()}
                concept = ("".join(read.get(_SCHEME, [])), "".join(read.get(_CODE, [])))
    row = concepts().get((*concept, value_type)) or concepts().get((*concept, ""))
    return ("" if row is None else _cell(row, walker.plan.profile.options)), value_type


def _cell(row: Row, options: frozenset[Option]) -> str:
    cells = {option: row.options[option] for option in options if option in row.options}
    if Option.MODIFIED_DATES in cells and row.vr in _MOMENTS:
        return "C"
    if "K" in cells.values():
        return "K"
    if cells:
        return "C"
    return row.basic.rpartition("/")[2]


def _edits(walker: Walker, item: Item, action: str, value_type: str, charset: Charset) -> dict[int, Answer]:
    """What becomes of the value of one item."""
    wanted = _VALUES.get(value_type)
    if wanted is None:
        return _other_edits(item, action, value_type)
    edits: dict[int, Answer] = {}
    for element in item.elements:
        if element.tag == wanted:
            step = Step(Do.DUMMY, Do.DUMMY, VR_BY_TAG[wanted], f"E.3.4-1 {action or 'by value type'}")
            answer = _handler(walker, action, value_type)(walker, element, step, charset)
            edits[element.start] = walker.second(element, step) if answer is UNFIT else answer
    return edits


def _other_edits(item: Item, action: str, value_type: str) -> dict[int, Answer]:
    """Numbers and codes that have to go where no item may be removed (rule 3)."""
    if action != "D":
        return {}
    edits: dict[int, Answer] = {}
    for element in item.elements:
        if value_type == "NUM" and element.tag == _MEASURED:
            edits[element.start] = b""
        elif value_type == "CODE" and element.tag == _CONCEPT_CODE:
            body = encode_item(b"".join(bytes(part) for part in codes.removed(element)), element.encoding)
            edits[element.start] = [encode_element(element.tag, "SQ", body, element.encoding)]
    return edits


def _handler(walker: Walker, action: str, value_type: str) -> Handler:
    options = walker.plan.profile.options
    if value_type == "UIDREF":
        return uid_kept if action == "K" else uid
    if value_type in _MOMENTS:
        if action == "K" or (not action and Option.FULL_DATES in options):
            return moment
        if action == "C" or (not action and Option.MODIFIED_DATES in options):
            return moment if value_type == "TIME" else shift
        return replace
    if value_type == "TEXT":
        if action == "K":
            return text
        if action == "C" or (not action and Option.DESCRIPTORS in options):
            return words
    return replace


def _has_positions(scanned: Scan) -> bool:
    return any(
        element.tag == _POSITION
        for found in scanned.nested.values()
        for item in found
        for element in item.elements
    )
