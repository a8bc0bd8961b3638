"""Private elements under Retain Safe Private: what Table E.3.10-1 lists by creator, and its creator element.

Rules, in order (PS3.15 E.3.10, PS3.5 7.8.1):
1. An element is safe by creator, group and the low byte of its number. The creator is that of its own item.
2. Its value must fit the VR of the table, with the checks of any kept value; UIDs are replaced.
3. A creator element stays when an element of its block may stay. Everything else goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from ribcage.dicom.rewrite import encode_element
from ribcage.dicom.scan import Element
from ribcage.dicom.values import Charset
from ribcage.usage.deid.handlers import keep, number, terms, text, uid_by_option
from ribcage.usage.deid.plan import NUMBER_VRS, Do, Step
from ribcage.usage.deid.tables import safe_private
from ribcage.usage.deid.walker import KEEP, UNFIT, Answer, Handler, Walker

_CREATORS: Final = range(0x10, 0x100)
_MOST_OPAQUE: Final = 4096
_HANDLERS: Final[dict[str, Handler]] = {
    "CS": terms,
    "UI": uid_by_option,
    "OB": keep,
    **dict.fromkeys(("LO", "LT", "SH", "ST"), text),
    **dict.fromkeys(NUMBER_VRS, number),
}


@cache
def _creators() -> frozenset[str]:
    return frozenset(creator for creator, _, _ in safe_private())


def private(walker: Walker, element: Element, siblings: Sequence[Element], charset: Charset) -> Answer:
    """What becomes of a private element beside `siblings`."""
    group, number_ = element.tag >> 16, element.tag & 0xFFFF
    if number_ in _CREATORS:
        creator = _creator(walker, element)
        safe = creator in _creators() and any(
            (creator, group, other.tag & 0xFF) in safe_private()
            for other in siblings
            if other.tag >> 16 == group and (other.tag & 0xFFFF) >> 8 == number_
        )
        return KEEP if safe else None
    wanted = group << 16 | number_ >> 8
    creator = next((_creator(walker, other) for other in siblings if other.tag == wanted), "")
    vr = safe_private().get((creator, group, number_ & 0xFF))
    if vr is None:
        return None
    step = Step(Do.KEEP, Do.REMOVE, vr or element.vr, "E.3.10-1")
    if vr == "SQ":
        answer = walker.walk(element, step, charset)
        return None if answer is UNFIT else answer
    if element.vr == "OB" and element.length > _MOST_OPAQUE:
        return None
    seen = element._replace(vr=step.vr) if element.vr == "UN" else element
    handler = _HANDLERS.get(step.vr)
    answer = handler(walker, seen, step, charset) if handler is not None else None
    if isinstance(answer, bytes):
        return [encode_element(element.tag, element.vr, answer, element.encoding)]
    return None if answer is UNFIT else answer


def _creator(walker: Walker, element: Element) -> str:
    if element.vr not in ("LO", "UN") or not 0 <= element.length <= 64:
        return ""
    return walker.raw(element).strip(b" \0").decode("ascii", "replace")
