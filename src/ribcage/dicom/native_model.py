"""The Native DICOM Model in XML (PS3.19 A.1) of a data set that is in the DICOM JSON Model already.

Rules, in order:
1. One source: what JSON says, XML says, value for value; numbers are as JSON has them.
2. A private attribute names its creator and has 00 where its block stood (PS3.19 A.1.5); without a creator in its
   data set it keeps its tag.
3. A person name is split into its five components in each group that is there (PS3.5 6.2).
4. Characters that XML 1.0 does not know become U+FFFD; white space is kept (`xml:space`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, cast
from xml.sax.saxutils import escape, quoteattr

from ribcage.dicom.dictionary import keyword_of
from ribcage.dicom.json_model import Json

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_HEAD: Final = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
)
_FOREIGN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 2.2
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_BLOCK: Final = 0x10  # the first block of private elements a creator can reserve (PS3.5 7.8.1)


def to_native_model(model: Mapping[str, Json]) -> bytes:
    """One XML document in UTF-8 for one data set in the JSON Model."""
    return (_HEAD + "".join(_data_set(model)) + "</NativeDicomModel>").encode()


def _data_set(model: Mapping[str, Json]) -> Iterator[str]:
    for name in sorted(model):
        attribute = cast("Mapping[str, Json]", model[name])
        tag, creator = int(name, 16), _creator(model, name)
        shown = f"{name[:4]}00{name[6:]}" if creator else name
        keyword = keyword_of(tag)
        named = f" keyword={quoteattr(keyword)}" if keyword else ""
        owned = f" privateCreator={_quoted(creator)}" if creator else ""
        yield f'<DicomAttribute tag="{shown}" vr={_quoted(str(attribute["vr"]))}{named}{owned}>'
        yield from _content(attribute)
        yield "</DicomAttribute>"


def _creator(model: Mapping[str, Json], name: str) -> str:
    """The private creator of an attribute, "" where there is none."""
    if int(name[:4], 16) % 2 == 0 or int(name[4:6], 16) < _BLOCK:
        return ""
    reserved = cast("Mapping[str, Json]", model.get(f"{name[:4]}00{name[4:6]}", {}))
    values = reserved.get("Value")
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else ""


def _content(attribute: Mapping[str, Json]) -> Iterator[str]:
    if "BulkDataURI" in attribute:
        yield f"<BulkData uri={_quoted(str(attribute['BulkDataURI']))}/>"
    elif "InlineBinary" in attribute:
        yield f"<InlineBinary>{attribute['InlineBinary']}</InlineBinary>"
    for number, value in enumerate(cast("list[Json]", attribute.get("Value", [])), 1):
        if attribute["vr"] == "SQ":
            yield f'<Item number="{number}">'
            yield from _data_set(cast("Mapping[str, Json]", value or {}))
            yield "</Item>"
        elif attribute["vr"] == "PN":
            yield f'<PersonName number="{number}">'
            yield from _person_name(cast("Mapping[str, Json]", value or {}))
            yield "</PersonName>"
        else:
            yield f'<Value number="{number}">{"" if value is None else _text(str(value))}</Value>'


def _person_name(groups: Mapping[str, Json]) -> Iterator[str]:
    """Rule 3; what stands behind a fifth component belongs to it."""
    for group in _GROUPS:
        if group in groups:
            parts = zip(_COMPONENTS, str(groups[group]).split("^", 4), strict=False)
            inner = "".join(f"<{name}>{_text(part)}</{name}>" for name, part in parts if part)
            yield f"<{group}>{inner}</{group}>"


def _text(text: str) -> str:
    return escape(_FOREIGN.sub("\ufffd", text), {"\r": "&#13;"})


def _quoted(text: str) -> str:
    return quoteattr(_FOREIGN.sub("\ufffd", text))
