"""The Native DICOM Model (PS3.19 A.1) read: one XML document becomes a data set in the DICOM JSON Model.

Rules, in order:
1. A document type is refused, and with it every entity: nothing is expanded, nothing fetched.
2. Depth and number of elements are limited; text is at most what came.
3. A private attribute gets back the block of its creator, or a free one with the creator's name (PS3.19 A.1.5).
4. A value stands where its `number` says; numbers ascend, a gap is an empty value. Bulk data by `uuid` is refused.
"""

from __future__ import annotations

import re
from typing import Final, cast
from xml.parsers import expat

from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed
from ribcage.dicom.json_model import Json
from ribcage.dicom.native_model import NAMESPACE

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_IN_DEPTH: Final = 2  # elements for each level of sequences: attribute and item
_NUMBER: Final = re.compile(r"[0-9]{1,7}")
_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF

_Attributes = dict[str, str]
_Attribute = dict[str, Json]
_DataSet = dict[str, Json]


def read_native_model(document: bytes | bytearray, most_depth: int, most_elements: int) -> _DataSet:
    """One document. Raises DataSetMalformed, DataSetLimitExceeded."""
    builder = _Builder(most_depth, most_elements)
    parser = expat.ParserCreate("utf-8", " ")  # whatever it declares
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(bytes(document), True)
    except (expat.ExpatError, ValueError, LookupError) as failure:
        raise DataSetMalformed("expected one document of the Native DICOM Model") from failure
    if builder.found is None:
        raise DataSetMalformed("expected NativeDicomModel")
    return builder.found


def _refuse(*_: object) -> None:
    raise DataSetMalformed("expected a document without a document type (rule 1)")


class _Builder:
    """Turns the parser's calls into the model. One frame for each open element that holds something."""

    def __init__(self, most_depth: int, most_elements: int) -> None:
        self._most_depth = _IN_DEPTH * most_depth + 6
        self._left = most_elements
        self._open: list[str] = []
        self._data_sets: list[_DataSet] = []
        self._attributes: list[_Attribute] = []
        self._name: dict[str, dict[str, str]] = {}
        self._text: list[str] = []
        self.found: _DataSet | None = None

    def start(self, qualified: str, attributes: _Attributes) -> None:
        """An element begins."""
        space, _, name = qualified.rpartition(" ")
        self._left -= 1
        if self._left < 0 or len(self._open) >= self._most_depth:
            raise DataSetLimitExceeded("expected fewer elements, or fewer inside each other")
        above = self._open[-1] if self._open else ""
        if space not in ("", NAMESPACE) or above not in _ABOVE.get(name, ()):
            raise DataSetMalformed("expected the elements of the Native DICOM Model in their places")
        self._open.append(name)
        self._text.clear()
        if name == "NativeDicomModel":
            self._data_sets.append({})
        elif name == "DicomAttribute":
            self._attribute(attributes)
        elif name == "Item":
            inner: _DataSet = {}
            self._put(attributes, inner)
            self._data_sets.append(inner)
        elif name == "PersonName":
            self._name = {}
            self._put(attributes, None)
        elif name in _GROUPS:
            self._name[name] = {}
        elif name == "BulkData":
            self._attributes[-1]["BulkDataURI"] = attributes["uri"]
        elif name == "Value":
            self._put(attributes, None)

    def characters(self, text: str) -> None:
        """Text of the innermost element."""
        self._text.append(text)

    def end(self, _: str) -> None:
        """The innermost element ends."""
        name, text = self._open.pop(), "".join(self._text)
        self._text.clear()
        if name == "Value":
            self._replace(text or None)
        elif name == "InlineBinary":
            self._attributes[-1]["InlineBinary"] = "".join(text.split())
        elif name in _COMPONENTS:
            self._name[self._open[-1]][name] = text
        elif name == "PersonName":
            groups = {group: _joined(parts) for group, parts in self._name.items()}
            self._replace(cast("Json", {group: each for group, each in groups.items() if each} or None))
        elif name == "DicomAttribute":
            self._attributes.pop()
        elif name == "Item":
            self._data_sets.pop()
        elif name == "NativeDicomModel":
            self.found = self._data_sets.pop()

    def _attribute(self, attributes: _Attributes) -> None:
        data_set, tag = self._data_sets[-1], attributes["tag"].upper()
        if _TAG.fullmatch(tag) is None:
            raise DataSetMalformed("expected a tag of eight hexadecimal digits")
        if creator := attributes.get("privateCreator", ""):
            tag = _owned(data_set, tag, creator)
        if tag in data_set:
            raise DataSetMalformed("expected each tag once")
        attribute: _Attribute = {"vr": attributes["vr"]} if "vr" in attributes else {}
        data_set[tag] = attribute
        self._attributes.append(attribute)

    def _put(self, attributes: _Attributes, value: Json) -> None:
        """Room for a value (rule 4)."""
        values = cast("list[Json]", self._attributes[-1].setdefault("Value", []))
        number = attributes.get("number", str(len(values) + 1))
        if _NUMBER.fullmatch(number) is None or int(number) <= len(values):
            raise DataSetMalformed("expected numbers of values that ascend")
        gap = int(number) - len(values) - 1
        self._left -= gap
        if self._left < 0:
            raise DataSetLimitExceeded("expected fewer values")
        values += [None] * gap
        values.append(value)

    def _replace(self, value: Json) -> None:
        cast("list[Json]", self._attributes[-1]["Value"])[-1] = value


_ABOVE: Final = {
    "NativeDicomModel": ("",),
    "DicomAttribute": ("NativeDicomModel", "Item"),
    "Value": ("DicomAttribute",),
    "Item": ("DicomAttribute",),
    "PersonName": ("DicomAttribute",),
    "BulkData": ("DicomAttribute",),
    "InlineBinary": ("DicomAttribute",),
    **dict.fromkeys(_GROUPS, ("PersonName",)),
    **dict.fromkeys(_COMPONENTS, _GROUPS),
}


def _joined(parts: dict[str, str]) -> str:
    return "^".join(parts.get(name, "") for name in _COMPONENTS).rstrip("^")


def _owned(data_set: _DataSet, tag: str, creator: str) -> str:
    """Rule 3."""
    group = tag[:4]
    if int(group, 16) % 2 == 0:
        raise DataSetMalformed("expected a private creator for an odd group alone")
    free = ""
    for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
        name = f"{group}00{block:02X}"
        there = data_set.get(name)
        if there is None:
            free = free or name
        elif isinstance(there, dict) and there.get("Value") == [creator]:
            return f"{group}{block:02X}{tag[6:]}"
    if not free:
        raise DataSetMalformed("expected a free block for a private creator")
    data_set[free] = {"vr": "LO", "Value": [creator]}
    return f"{group}{free[6:]}{tag[6:]}"
