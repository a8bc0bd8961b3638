"""An HL7 v2 message out of its text, bounded, nothing interpreted (HL7 2.5, chapter 2).

Rules, in order:
1. MSH comes first and names the delimiters: five different printable ASCII characters, neither letters nor digits.
2. Segments end with CR; LF alone or after CR is let pass. An empty line is none.
3. Limits come first: nothing is split before its size is known to be within them.
4. Escapes become what they stand for (2.7.1): delimiters, and \\X..\\ of printable ASCII. Formatting goes. What is no
   escape stays as it is. No escape yields a delimiter that is parsed again.
5. A value is looked up, never searched for: absent and empty are both ''; `""` (2.5.3, delete) is '' too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ribcage.transfer.hl7.errors import MessageRefused
from ribcage.transfer.hl7.limits import Hl7Limits

_ENDS = re.compile(r"\r\n|\r|\n")
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2}){1,64})")
_LEAST_HEADER = 8  # "MSH|^~\\&"


@dataclass(frozen=True)
class Delimiters:
    """The five characters of MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    sub: str = "&"

    @property
    def encoding(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.sub


class Segment:
    """One segment. Fields, repetitions, components and subcomponents are counted from 1."""

    def __init__(self, name: str, fields: list[str], marks: Delimiters, limits: Hl7Limits) -> None:
        self.name = name
        self._fields = fields  # fields[0] is field 1
        self._marks = marks
        self._limits = limits

    def repetitions(self, field: int) -> list[str]:
        """The raw repetitions of a field; none where it is empty. Raises MessageRefused."""
        raw = self._fields[field - 1] if field <= len(self._fields) else ""
        if not raw:
            return []
        return self._split(raw, self._marks.repetition, self._limits.repetitions, field)

    def get(self, field: int, component: int = 1, sub: int = 1, *, of: str | None = None) -> str:
        """One value of the first repetition, or of the repetition `of`. Raises MessageRefused."""
        if of is None:
            found = self.repetitions(field)
            of = found[0] if found else ""
        most = self._limits.components
        parts = self._split(of, self._marks.component, most, field)
        part = parts[component - 1] if component <= len(parts) else ""
        subs = self._split(part, self._marks.sub, most, field)
        value = self._plain(subs[sub - 1], field) if sub <= len(subs) else ""
        return "" if value == '""' else value.strip()

    def raw(self, field: int) -> str:
        """The field as it was sent."""
        return self._fields[field - 1] if field <= len(self._fields) else ""

    @property
    def text(self) -> str:
        """The segment as it was sent."""
        return self._marks.field.join((self.name, *self._fields))

    def _split(self, text: str, mark: str, most: int, field: int) -> list[str]:
        if text.count(mark) >= most:
            raise MessageRefused(102, f"{self.name}-{field}")
        return text.split(mark)

    def _plain(self, text: str, field: int) -> str:
        """Rule 4."""
        if len(text) > self._limits.value_characters:
            raise MessageRefused(102, f"{self.name}-{field}")
        mark = self._marks.escape
        if mark not in text:
            return text
        pieces = text.split(mark)
        out, at = [pieces[0]], 1
        while at < len(pieces):
            if at + 1 == len(pieces):  # an escape character that opens nothing
                out.append(mark + pieces[at])
                break
            out.append(self._escaped(pieces[at]))
            out.append(pieces[at + 1])
            at += 2
        return "".join(out)

    def _escaped(self, code: str) -> str:
        marks = self._marks
        simple = {
            "F": marks.field,
            "S": marks.component,
            "T": marks.sub,
            "R": marks.repetition,
            "E": marks.escape,
        }
        if code in simple:
            return simple[code]
        coded = _HEX.fullmatch(code)
        if coded:
            octets = bytes.fromhex(coded[1])
            if all(0x20 <= octet < 0x7F for octet in octets):
                return octets.decode("ascii")
        return ""


class Message:
    """All segments in order; the first is MSH."""

    def __init__(self, segments: list[Segment], marks: Delimiters) -> None:
        self.segments = segments
        self.marks = marks

    @property
    def header(self) -> Segment:
        """MSH, whose field 1 is the delimiter itself."""
        return self.segments[0]

    def all(self, name: str) -> Iterator[Segment]:
        """The segments of this name."""
        return (each for each in self.segments if each.name == name)

    def first(self, name: str) -> Segment | None:
        """The first of this name."""
        return next(self.all(name), None)

    def need(self, name: str) -> Segment:
        """As `first`. Raises MessageRefused where there is none."""
        found = self.first(name)
        if found is None:
            raise MessageRefused(100, name)
        return found


def parse(text: str, limits: Hl7Limits) -> Message:
    """Raises MessageRefused, and nothing else, for whatever text."""
    marks = _delimiters(text)
    if len(text) > limits.message_bytes:
        raise MessageRefused(102)
    lines = [line for line in _ENDS.split(text) if line]
    if len(lines) > limits.segments:
        raise MessageRefused(102)
    segments: list[Segment] = []
    for line in lines:
        name = line[:3]
        if not _NAME.fullmatch(name) or (len(line) > 3 and line[3] != marks.field):
            raise MessageRefused(100)
        if line.count(marks.field) > limits.fields:
            raise MessageRefused(102, name)
        fields = line.split(marks.field)[1:]
        if name == "MSH":
            if segments:
                raise MessageRefused(100, "MSH")
            fields = [marks.field, *fields]
        segments.append(Segment(name, fields, marks, limits))
    return Message(segments, marks)


def _delimiters(text: str) -> Delimiters:
    """Rule 1."""
    if len(text) < _LEAST_HEADER or not text.startswith("MSH"):
        raise MessageRefused(100, "MSH")
    field, rest = text[3], text[4:]
    encoding = _ENDS.split(rest, maxsplit=1)[0].split(field, 1)[0]
    if len(encoding) not in (4, 5):  # 2.7 added a truncation character
        raise MessageRefused(102, "MSH-2")
    marks = [field, *encoding]
    good = all(each.isascii() and each.isprintable() and not each.isalnum() and each != " " for each in marks)
    if not good or len(set(marks)) != len(marks):
        raise MessageRefused(102, "MSH-2")
    return Delimiters(field, *encoding[:4])
