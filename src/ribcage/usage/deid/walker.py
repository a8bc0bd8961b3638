"""The one pass over the elements of an instance: each takes its step, what stays untouched leaves as a view.

Rules, in order:
1. A handler answers KEEP, UNFIT, None (removed), a new value, or the whole element as parts. UNFIT takes the step's
   second choice: removed, empty, or a dummy; a type 1 number, or a VR without a dummy, refuses the instance.
2. A sequence with a change inside is written anew with defined lengths; items keep their order.
3. `Handling` has a handler for each `Do`, and says what becomes of coded items.
4. New text is written in the character set of its data set or item (PS3.5 6.1); what does not fit it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from ribcage.dicom.dictionary import keyword_of
from ribcage.dicom.rewrite import element_header, encode_element
from ribcage.dicom.scan import (
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    Buffer,
    Element,
    Encoding,
    Item,
    Scan,
)
from ribcage.dicom.values import Charset, charset_of, text_values
from ribcage.usage.deid.dummies import dummy
from ribcage.usage.deid.errors import NotReleased, Reason
from ribcage.usage.deid.plan import Do, Plan, Step
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.texts import Identities


class Signal(Enum):
    """Answers of a handler that are no value."""

    KEEP = auto()
    UNFIT = auto()


KEEP: Final = Signal.KEEP
UNFIT: Final = Signal.UNFIT
Answer = bytes | list[Buffer] | Signal | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Who the instance is about. `names` and `birth` are keyed tokens."""

    charset: Charset
    patient: bytes
    pseudonym: str
    days: int
    identities: Identities
    names: frozenset[bytes]
    birth: bytes


class Traced(NamedTuple):
    """What happened to one element, without its value."""

    path: str
    keyword: str
    did: str
    rule: str


_NAME, _ID, _CHARSET = 0x00100010, 0x00100020, 0x00080005
_REMOVE, _PRIVATE = int(Do.REMOVE), int(Do.PRIVATE)  # looked up for every element
_SAME: Final = {"xs": "US", "ox": "OW", "lt": "OW"}


class Walker:
    """One pass over one instance."""

    def __init__(
        self,
        scanned: Scan,
        plan: Plan,
        pseudonyms: Pseudonyms,
        facts: Facts,
        handling: Handling,
        *,
        trace: bool = False,
    ) -> None:
        self.scan = scanned
        self.plan = plan
        self.pseudonyms = pseudonyms
        self.facts = facts
        self.traced: list[Traced] = []
        self.view = memoryview(scanned.data)
        self._handling = handling
        self._trace = trace
        self._path: list[str] = []

    def merged(self, new: Sequence[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
        """Encoded elements to merge into the top level, ascending by tag: `new` and the pseudonym's."""
        pseudonym = self.facts.pseudonym.encode("ascii")
        encoding = self.scan.encoding
        named = (
            (_NAME, encode_element(_NAME, "PN", pseudonym, encoding)),
            (_ID, encode_element(_ID, "LO", pseudonym, encoding)),
        )
        return tuple(sorted([*new, *named]))

    def data_set(self, merged: Sequence[tuple[int, bytes]]) -> list[Buffer]:
        """The top level without its pixel element."""
        parts, _ = self.container(self.scan.elements, 0, self.facts.charset, merged)
        return parts

    def one(self, element: Element, step: Step) -> bytes:
        """One top-level element alone, as it leaves; its step is one of a plain value."""
        if step.do == _REMOVE:
            return b""
        answer = self._handling.handlers[step.do](self, element, step, self.facts.charset)
        if answer is UNFIT:
            answer = self.second(element, step)
        if answer is KEEP:
            return bytes(self.view[element.start : element.end])
        if isinstance(answer, bytes):
            return self._encoded(element, step, answer)
        return b"".join(answer) if isinstance(answer, list) else b""

    def container(
        self,
        elements: Sequence[Element],
        parent: int,
        charset: Charset,
        merged: Sequence[tuple[int, bytes]] = (),
        edits: Mapping[int, Answer] | None = None,
        siblings: Sequence[Element] = (),
    ) -> tuple[list[Buffer], bool]:
        """The data set's or item's elements as parts; whether any changed. `siblings`: all, if `elements` are not."""
        parts: list[Buffer] = []
        view, steps, decide, key = self.view, self.plan.steps, self.plan.step, parent << 32
        handlers = self._handling.handlers
        start = end = 0  # an untouched span not yet in parts
        changed = bool(merged)
        next_new = 0
        replaced = {tag for tag, _ in merged}
        for element in elements:
            tag = element.tag
            while next_new < len(merged) and merged[next_new][0] < tag:
                if end:
                    parts.append(view[start:end])
                    end = 0
                parts.append(merged[next_new][1])
                next_new += 1
            step = steps.get(key | tag) or decide(parent, tag)
            if edits and element.start in edits:
                answer = edits[element.start]
            elif step.do == _REMOVE or tag in replaced:
                answer = None
            elif step.do == _PRIVATE:
                answer = self._handling.private(self, element, siblings or elements, charset)
            else:
                answer = handlers[step.do](self, element, step, charset)
                if answer is UNFIT:
                    answer = self.second(element, step)
            if self._trace and step.do != Do.PIXELS:
                self._note(element, step, answer)
            if answer is KEEP:
                if not end:
                    start = element.start
                elif end != element.start:
                    parts.append(view[start:end])
                    start = element.start
                end = element.end
                continue
            changed = True
            if end:
                parts.append(view[start:end])
                end = 0
            if isinstance(answer, bytes):
                parts.append(self._encoded(element, step, answer))
            elif isinstance(answer, list):
                parts += answer
        if end:
            parts.append(view[start:end])
        parts += [new for _, new in merged[next_new:]]
        return parts, changed

    def raw(self, element: Element) -> bytes:
        """The raw value of an element that is no sequence."""
        return (
            bytes(self.view[element.value : element.value + element.length])
            if element.length != UNDEFINED
            else b""
        )

    def texts(self, element: Element, vr: str, charset: Charset) -> list[str]:
        """The values of a text element."""
        return text_values(self.raw(element), vr, charset)

    def rebuilt(self, element: Element, items: Sequence[list[Buffer]]) -> list[Buffer]:
        """A sequence element around new items (rule 2)."""
        inner = Encoding.IMPLICIT_LE if element.vr == "UN" else element.encoding
        body: list[Buffer] = []
        for parts in items:
            body += [element_header(ITEM, "", sum(len(part) for part in parts), inner), *parts]
        if element.vr == "UN":  # only an undefined length says that it is a sequence (PS3.5 6.2.2 note 4)
            head = element_header(element.tag, "UN", UNDEFINED, element.encoding)
            return [head, *body, element_header(SEQUENCE_END, "", 0, element.encoding)]
        return [element_header(element.tag, "SQ", sum(len(part) for part in body), element.encoding), *body]

    def item(
        self, item: Item, tag: int, charset: Charset, edits: Mapping[int, Answer] | None = None
    ) -> tuple[list[Buffer], bool]:
        """One item of sequence `tag`, its codes as `codes` says."""
        own = charset
        for element in item.elements:
            if element.tag == _CHARSET and element.length != UNDEFINED:
                own = charset_of(self.raw(element))
        coded = self._handling.coded(self, item, own)
        if coded or edits:
            edits = {**coded, **(edits or {})}
        return self.container(item.elements, tag, own, (), edits)

    def walk(self, element: Element, step: Step, charset: Charset) -> Answer:
        """A sequence: its items by the same plan."""
        items = self.scan.items(element)
        if not items:
            return KEEP if element.length in (0, UNDEFINED) and element.vr == "SQ" else UNFIT
        built, changed = [], False
        if self._trace:
            self._path.append(tag_text(element.tag))
        for item in items:
            parts, touched = self.item(item, element.tag, charset)
            built.append(parts)
            changed = changed or touched
        if self._trace:
            self._path.pop()
        return self.rebuilt(element, built) if changed else KEEP

    def second(self, element: Element, step: Step) -> Answer:
        """The second choice for a value that does not fit (rule 1)."""
        if step.otherwise is Do.DUMMY:
            if step.do is Do.NUMBER:  # a number that must stand is not made up
                raise NotReleased(Reason.NO_SAFE_VALUE)
            return self.dummy(element, step)
        return b"" if step.otherwise is Do.EMPTY else None

    def dummy(self, element: Element, step: Step) -> Answer:
        """A value that says nothing. Raises NotReleased where the VR has none."""
        value = b"" if step.vr == "SQ" else dummy(step.vr if step.vr != "UN" else element.vr)
        if step.vr == "UI":
            value = self.pseudonyms.uid("").encode("ascii")
        if value is None:
            raise NotReleased(Reason.NO_SAFE_VALUE)
        return value

    def _encoded(self, element: Element, step: Step, value: bytes) -> bytes:
        vr = _SAME.get(step.vr, step.vr)
        if element.vr == "SQ" and not value:
            vr = "SQ"
        return encode_element(element.tag, vr, value, element.encoding)

    def note_item(self, element: Element, did: str, rule: str) -> None:
        """Note what happened to a whole item of a sequence."""
        if self._trace:
            path = "/".join([*self._path, tag_text(element.tag), "item"])
            self.traced.append(Traced(path, "", did, rule))

    def _note(self, element: Element, step: Step, answer: Answer) -> None:
        did = {Do.NAME: "pseudonym", Do.ID: "pseudonym"}.get(step.do)
        if did is None:
            did = "removed" if answer is None else "kept" if answer is KEEP else "replaced"
            if answer == b"":
                did = "emptied"
        path = "/".join([*self._path, tag_text(element.tag)])
        self.traced.append(Traced(path, keyword_of(element.tag), did, step.rule))


Handler = Callable[[Walker, Element, Step, Charset], Answer]


@dataclass(frozen=True, slots=True)
class Handling:
    """What happens to values: handlers in the order of `Do`, edits of an item that is a code, private elements."""

    handlers: tuple[Handler, ...]
    coded: Callable[[Walker, Item, Charset], dict[int, Answer]]
    private: Callable[[Walker, Element, Sequence[Element], Charset], Answer]


def tag_text(tag: int) -> str:
    """(gggg,eeee)"""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
