"""Handlers of values: what fits stays or is replaced; for all else, UNFIT, the walker takes the second choice."""

from __future__ import annotations

import re
from typing import Final

from ribcage.dicom.scan import Element
from ribcage.dicom.values import Charset
from ribcage.usage.deid import fitting
from ribcage.usage.deid.dummies import PDF
from ribcage.usage.deid.errors import NotReleased, Reason
from ribcage.usage.deid.moments import bounded_age, is_moment, moved
from ribcage.usage.deid.plan import NUMBER_VRS, Step
from ribcage.usage.deid.pseudonyms import WELL_KNOWN
from ribcage.usage.deid.tables import Option
from ribcage.usage.deid.texts import is_known, is_technical, known_words
from ribcage.usage.deid.walker import KEEP, UNFIT, Answer, Walker

_RUN: Final = re.compile(rb"(?<![0-9.])[0-9]{6,}")  # a fraction is a measure, no identifier
_MIME: Final = 0x00420012
_MOST_TEXT: Final = 1 << 20
_MOST_OPAQUE: Final = 1 << 20


def empty(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """No value."""
    return KEEP if element.length == 0 and element.vr == step.vr else b""


def replace(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """A dummy."""
    return walker.dummy(element, step)


def keep(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """Kept within its VR and size."""
    fits = fitting.same_vr(element.vr, step.vr) and 0 <= element.length <= _MOST_OPAQUE
    return KEEP if fits else UNFIT


def number(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """Kept when its value is numbers, and none of them an identifier of this object."""
    vr = element.vr
    if vr not in NUMBER_VRS or (element.length > _MOST_OPAQUE and vr in ("DS", "IS")):
        return UNFIT
    if vr == "DS" or vr == "IS":
        raw = walker.raw(element)
        if not fitting.is_number_text(raw, vr):
            return UNFIT
        told = [run.decode("ascii") for run in _RUN.findall(raw)]
        return UNFIT if told and any(map(walker.facts.identities.named, told)) else KEEP
    return KEEP if fitting.whole_numbers(vr, step.vr, element.length) else UNFIT


def terms(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """The leading values that are terms."""
    if element.vr != "CS" or not 0 <= element.length <= 1024:
        return UNFIT
    raw = walker.raw(element)
    good, listed = fitting.leading_terms(element.tag, raw)
    if not listed and walker.facts.identities.says_who(good.decode("ascii")):
        return UNFIT
    if good == raw:
        return KEEP
    return good or UNFIT


def text(walker: Walker, element: Element, step: Step, charset: Charset) -> Answer:
    """Kept by an option, unless it says who the patient is."""
    if element.vr != step.vr or not 0 <= element.length <= _MOST_TEXT:
        return UNFIT
    texts = walker.texts(element, step.vr, charset)
    return UNFIT if any(walker.facts.identities.in_text(text) for text in texts) else KEEP


def words(walker: Walker, element: Element, step: Step, charset: Charset) -> Answer:
    """Text reduced to known words."""
    if element.vr not in ("UN", step.vr) or not 0 <= element.length <= _MOST_TEXT:
        return UNFIT
    texts = walker.texts(element, step.vr, charset)
    if not texts:
        return KEEP if element.vr == step.vr and not walker.raw(element).strip(b" \0") else UNFIT
    cleaned = [fitting.shortened(known_words(text, walker.facts.identities), step.vr) for text in texts]
    if cleaned == texts and element.vr == step.vr:
        return KEEP
    joined = fitting.encoded("\\".join(text.replace("\\", " ") for text in cleaned if text), charset)
    return joined or UNFIT


def technical(walker: Walker, element: Element, step: Step, charset: Charset) -> Answer:
    """Kept when every value is technical or known."""
    if element.vr != step.vr or not 0 <= element.length <= _MOST_TEXT:
        return UNFIT
    who = walker.facts.identities
    texts = walker.texts(element, step.vr, charset)
    return KEEP if all(is_technical(text, who) or is_known(text, who) for text in texts) else UNFIT


def age(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """An age of 90 years at most."""
    if element.vr != "AS" or not 0 <= element.length <= 8:
        return UNFIT
    raw = walker.raw(element)
    age = bounded_age(raw)
    return UNFIT if age is None else KEEP if age == raw else age


def moment(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """A date or time, kept."""
    fits = element.vr == step.vr and 0 <= element.length <= 1024 and is_moment(walker.raw(element), step.vr)
    return KEEP if fits else UNFIT


def shift(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """A date, moved by the patient's days."""
    if element.vr != step.vr or not 0 <= element.length <= 1024:
        return UNFIT
    value = moved(walker.raw(element), step.vr, walker.facts.days)
    return UNFIT if value is None else value


def uid_by_option(walker: Walker, element: Element, step: Step, charset: Charset) -> Answer:
    """UIDs that Table E.1-1 does not name: kept under Retain UIDs, else replaced."""
    kept = Option.UIDS in walker.plan.profile.options
    return (uid_kept if kept else uid)(walker, element, step, charset)


def uid(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """UIDs replaced, but for those of PS3.6."""
    if element.vr not in ("UI", "UN") or element.length > _MOST_OPAQUE:
        return UNFIT
    raw = walker.raw(element)
    new = [uid if uid in WELL_KNOWN or not uid else walker.pseudonyms.uid(uid) for uid in _uids(raw)]
    value = "\\".join(new).encode("ascii")
    return KEEP if element.vr == "UI" and value + b"\0" * (len(value) & 1) == raw else value


def uid_kept(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """UIDs kept by an option."""
    if element.vr != "UI" or not 0 <= element.length <= _MOST_OPAQUE:
        return UNFIT
    return KEEP if fitting.are_uids(_uids(walker.raw(element))) else UNFIT


def _uids(raw: bytes) -> list[str]:
    return [uid.strip(" \0") for uid in raw.decode("latin-1").split("\\")]


def title(walker: Walker, element: Element, step: Step, charset: Charset) -> Answer:
    """AE titles, each replaced by a keyed one."""
    if element.vr != step.vr or not 0 <= element.length <= 1024:
        return UNFIT
    texts = walker.texts(element, "AE", charset)
    return "\\".join(walker.pseudonyms.title(text) if text else "" for text in texts).encode("ascii")


def gone(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """Removed here; written elsewhere."""
    return None


def charset(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """Specific Character Set, kept when all of it is known."""
    if element.vr != "CS" or not 0 <= element.length <= 256:
        return None
    return KEEP if fitting.is_charset(walker.raw(element)) else None


def document(walker: Walker, element: Element, step: Step, _: Charset) -> Answer:
    """An encapsulated PDF becomes an empty page; other documents refuse the instance."""
    mime = walker.scan.find(_MIME)
    if mime is None or walker.raw(mime).strip(b" \0").lower() != b"application/pdf":
        raise NotReleased(Reason.DOCUMENT)
    return PDF
