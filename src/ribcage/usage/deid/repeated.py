"""What a series repeats is decided once: instances that differ in a few plain values share all the rest.

Rules, in order:
1. A pattern is made of two instances that were released the ordinary way, of one class and series, with the same
   attributes in the same order: runs are bytes that both have, slots are elements in which they differ.
2. Nothing may rest on a slot but what becomes of the slot: it is no sequence and no private creator, says nothing
   about the patient, study, class, character set or pixels (`asked`), and no new element takes its place. When
   anything else differs there is no pattern.
3. An instance fits when it has the bytes of the runs and, as slots, the pattern's attributes and VRs. A run leaves as
   it left before; a slot takes its own step by the same handler. What does not fit, or cannot leave, goes the
   ordinary way, which decides.
4. A new pattern must give what the ordinary way gave for the instance it was made of, byte for byte.
5. The pixel element is scanned and checked for each instance. Patterns are bounded in number, bytes and tries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from ribcage.dicom.errors import DicomError
from ribcage.dicom.part10 import FileMeta
from ribcage.dicom.scan import SHORT_VRS, UNDEFINED, Buffer, Element, Encoding, Scan, ScanLimits
from ribcage.dicom.scan import Walker as Scanner
from ribcage.usage.deid.errors import NotReleased
from ribcage.usage.deid.handling import HANDLING
from ribcage.usage.deid.pixels import ASKED, Described
from ribcage.usage.deid.plan import Do, Plan, Step
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.walker import Facts, Walker

_MOST_PATTERNS: Final = 16
_MOST_TRIED: Final = 4  # patterns that an instance is held against
_MOST_SEEN: Final = 64
_MOST_MADE: Final = 8  # patterns of one series, before it is left alone
_MOST_HEADER: Final = 256 * 1024
_SLACK: Final = 16 * 1024  # by so much slots may be longer than they were
_INSTANCE: Final = 0x00080018
_MIME: Final = 0x00420012
_CREATORS: Final = range(0x10, 0x100)
_PIXEL_GROUP: Final = 0x7FE0
_PLAIN: Final = frozenset(
    {Do.REMOVE, Do.EMPTY, Do.DUMMY, Do.KEEP, Do.NUMBER, Do.TERMS, Do.TEXT, Do.WORDS, Do.TECHNICAL, Do.AGE, Do.MOMENT,
     Do.SHIFT, Do.UID, Do.UID_KEEP, Do.TITLE}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out about one instance; for those that fit its pattern only the SOP Instance UID is another."""

    plan: Plan
    facts: Facts
    described: Described
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    merged: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Fitted:
    """An instance that fits: its data set before the pixel element as it leaves, and what has to be looked at yet."""

    known: Known
    body: bytes
    scanned: Scan  # without elements
    bulk: Element
    sop_instance_uid: bytes  # raw


@dataclass(frozen=True, slots=True)
class _Run:
    raw: bytes
    out: bytes


@dataclass(frozen=True, slots=True)
class _Slot:
    tag: int
    vr: str
    head: bytes  # the header without its length
    length_bytes: int
    step: Step


@dataclass(frozen=True, slots=True)
class _Pattern:
    known: Known
    transfer_syntax_uid: str
    encoding: Encoding
    pieces: tuple[_Run | _Slot, ...]
    size: int  # of all runs
    last_tag: int
    bulk_tag: int
    bulk_vr: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last instance of a series that went the ordinary way."""

    header: bytes
    elements: Sequence[Element]
    start: int
    slots: frozenset[int]
    made: int


_Key = tuple[object, ...]


class Repeated:
    """The patterns of one engine. `asked`: attributes on which more rests than what becomes of them."""

    def __init__(self, pseudonyms: Pseudonyms, limits: ScanLimits, asked: frozenset[int]) -> None:
        self._pseudonyms = pseudonyms
        self._limits = limits
        self._asked = (asked | ASKED | {_MIME}) - {_INSTANCE}
        self._patterns: OrderedDict[_Key, _Pattern] = OrderedDict()
        self._seen: OrderedDict[_Key, _Seen] = OrderedDict()
        self._varying: dict[str, frozenset[int]] = {}  # by SOP class, of all series so far

    def fitted(self, data: Buffer, meta: FileMeta) -> Fitted | None:
        """This file by a pattern; None when it fits none of the latest."""
        if len(data) - meta.prefix_bytes > self._limits.max_data_set_bytes:
            return None
        for key in list(reversed(self._patterns))[:_MOST_TRIED]:
            pattern = self._patterns[key]
            if pattern.transfer_syntax_uid == meta.transfer_syntax_uid:
                try:
                    found = self._by(pattern, data, meta.prefix_bytes)
                except (DicomError, NotReleased):
                    return None
                if found is not None:
                    self._patterns.move_to_end(key)
                    return found
        return None

    def _by(self, pattern: _Pattern, data: Buffer, start: int) -> Fitted | None:
        """Rule 3."""
        view = memoryview(data)
        head = bytes(view[: start + pattern.size + _SLACK])
        found = _slots(pattern, head, start)
        if found is None:
            return None
        slots, position = found
        scanner = Scanner(data, self._limits)
        ends, end = scanner.walk(
            position, len(view), pattern.encoding, 0, delimited=False, last=pattern.last_tag
        )
        if (
            len(ends) != 1
            or (ends[0].tag, ends[0].vr) != (pattern.bulk_tag, pattern.bulk_vr)
            or scanner.notes
        ):
            return None
        scanned = Scan(data=data, transfer_syntax_uid=pattern.transfer_syntax_uid, encoding=pattern.encoding,
                       deflated=False, start=start, elements=(), bulk=ends[0], header_end=position,
                       elements_end=end, notes=frozenset(), nested={})  # fmt: skip
        walker = Walker(scanned, pattern.known.plan, self._pseudonyms, pattern.known.facts, HANDLING)
        body, instance, waiting = [], b"", iter(slots)
        for piece in pattern.pieces:
            if isinstance(piece, _Run):
                body.append(piece.out)
                continue
            element = next(waiting)
            body.append(walker.one(element, piece.step))
            if piece.tag == _INSTANCE:
                instance = walker.raw(element)
        return Fitted(pattern.known, b"".join(body), scanned, ends[0], instance)

    def learn(self, scanned: Scan, known: Known, body: Sequence[Buffer]) -> None:
        """Remember an instance that went the ordinary way; `body` is what left of it before the pixel element."""
        bulk = scanned.bulk
        if bulk is None or scanned.deflated or scanned.notes or scanned.elements[-1] is not bulk:
            return
        if bulk.start - scanned.start > _MOST_HEADER:
            return
        elements = scanned.elements[:-1]
        key = (known.sop_class_uid, known.series_instance_uid, scanned.transfer_syntax_uid, bulk.tag, bulk.vr,
               tuple([element.tag for element in elements]), tuple([element.vr for element in elements]))  # fmt: skip
        header = bytes(memoryview(scanned.data)[scanned.start : bulk.start])
        last = self._seen.pop(key, None)
        now = _Seen(header, elements, scanned.start, frozenset(), 0)
        if last is not None:
            now = replace(now, slots=last.slots, made=last.made)
            slots = self._slots_of(last, now, known)
            if slots and now.made < _MOST_MADE:
                now = replace(now, slots=slots, made=now.made + 1)
                pattern = self._pattern(scanned, known, header, slots)
                if b"".join(_outputs(pattern, scanned, self._pseudonyms)) == b"".join(body):  # rule 4
                    self._patterns[key] = pattern
                    self._patterns.move_to_end(key)
        self._seen[key] = now
        for remembered, most in ((self._seen, _MOST_SEEN), (self._patterns, _MOST_PATTERNS)):
            while len(remembered) > most:
                remembered.popitem(last=False)

    def _slots_of(self, last: _Seen, now: _Seen, known: Known) -> frozenset[int]:
        """The tags of the slots, none when the two instances differ in more (rule 2)."""
        plain = {element.tag for element in now.elements if self._is_plain(element, known)}
        differ = {
            one.tag
            for one, other in zip(last.elements, now.elements, strict=True)
            if last.header[one.start - last.start : one.end - last.start]
            != now.header[other.start - now.start : other.end - now.start]
        }
        if not differ <= plain:
            return frozenset()
        varying = self._varying.get(known.sop_class_uid, frozenset()) | differ
        self._varying[known.sop_class_uid] = varying
        return last.slots | (varying & plain) | (plain & {_INSTANCE})

    def _is_plain(self, element: Element, known: Known) -> bool:
        tag = element.tag
        creator = tag >> 16 & 1 and tag & 0xFFFF in _CREATORS
        if creator or tag in self._asked or tag >> 16 == _PIXEL_GROUP or element.length == UNDEFINED:
            return False
        if element.vr in ("SQ", "PN") or any(tag == new for new, _ in known.merged):
            return False
        return known.plan.step(0, tag).do in _PLAIN

    def _pattern(self, scanned: Scan, known: Known, header: bytes, slots: frozenset[int]) -> _Pattern:
        walker = Walker(scanned, known.plan, self._pseudonyms, known.facts, HANDLING)
        elements = scanned.elements[:-1]
        pieces: list[_Run | _Slot] = []
        waiting = list(known.merged)
        run: list[Element] = []

        def close(upper: int) -> None:
            """A run of what was gathered, with the new elements below tag `upper`."""
            new = [one for one in waiting if one[0] < upper]
            del waiting[: len(new)]
            if run or new:
                raw = header[run[0].start - scanned.start : run[-1].end - scanned.start] if run else b""
                parts, _ = walker.container(run, 0, known.facts.charset, new, siblings=elements)
                pieces.append(_Run(raw, b"".join(parts)))
                run.clear()

        for element in elements:
            if element.tag in slots:
                close(element.tag)
                pieces.append(_slot(element, header, scanned.start, known.plan))
            else:
                run.append(element)
        bulk = scanned.elements[-1]
        close(bulk.tag)
        return _Pattern(
            known=known,
            transfer_syntax_uid=scanned.transfer_syntax_uid,
            encoding=scanned.encoding,
            pieces=tuple(pieces),
            size=len(header),
            last_tag=elements[-1].tag if elements else -1,
            bulk_tag=bulk.tag,
            bulk_vr=bulk.vr,
        )


def _slots(pattern: _Pattern, head: bytes, start: int) -> tuple[list[Element], int] | None:
    """The elements in the slots and where the pixel element begins, None when the bytes do not fit."""
    order: Literal["big", "little"] = "big" if pattern.encoding is Encoding.EXPLICIT_BE else "little"
    found, position = [], start
    for piece in pattern.pieces:
        if isinstance(piece, _Run):
            if not head.startswith(piece.raw, position):
                return None
            position += len(piece.raw)
            continue
        if not head.startswith(piece.head, position):
            return None
        at = position + len(piece.head)
        value = at + piece.length_bytes
        length = int.from_bytes(head[at:value], order)
        end = value + length
        if length & 1 or end > len(head):
            return None
        found.append(Element(piece.tag, piece.vr, position, value, length, end, pattern.encoding))
        position = end
    return found, position


def _slot(element: Element, header: bytes, start: int, plan: Plan) -> _Slot:
    short = element.encoding is not Encoding.IMPLICIT_LE and element.vr.encode("ascii") in SHORT_VRS
    length_bytes = 2 if short else 4
    head = header[element.start - start : element.value - start - length_bytes]
    return _Slot(element.tag, element.vr, head, length_bytes, plan.step(0, element.tag))


def _outputs(pattern: _Pattern, scanned: Scan, pseudonyms: Pseudonyms) -> list[bytes]:
    """What the pattern gives for the instance it was made of."""
    walker = Walker(scanned, pattern.known.plan, pseudonyms, pattern.known.facts, HANDLING)
    by_tag = {element.tag: element for element in scanned.elements}
    return [
        piece.out if isinstance(piece, _Run) else walker.one(by_tag[piece.tag], piece.step)
        for piece in pattern.pieces
    ]
