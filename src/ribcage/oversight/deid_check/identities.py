"""All identities of the originals, collected from every place the table names.

Rules, in order:
1. Persons, numbers, addresses, institutions, telephones, UIDs and dates of each level; private text by its pattern.
2. What an option keeps is no identity of this release (dates, device, institution, UIDs), wherever else it stands.
3. File names and file meta information belong to the original too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from ribcage.oversight.deid_check import spelling
from ribcage.oversight.deid_check.concepts import kept_uids
from ribcage.oversight.deid_check.finding import Masker
from ribcage.oversight.deid_check.reading import Element, Film, walk
from ribcage.oversight.deid_check.spelling import Token
from ribcage.oversight.deid_check.table import Row, row_of

_NUMBER: Final = re.compile(r"(IDs?|Identifiers?|Numbers?|Serial|Locator|Value|Labels?|Plan\w+)(Trial)?$")
_EXAMINATION: Final = re.compile(r"StudyID|\w*ProcedureStepID|RequestedProcedureID")  # some hold "Thyroid"
_TELEPHONE: Final = re.compile(r"Phone|Telecom")
_PLACE: Final = re.compile(
    r"Address|Residence|Location|Institution|Department|Organization|SiteName|Center|Committee|Sponsor|StationName"
    r"|AETitle|AE$|MachineName|Originator|Manufacturer$|NetworkID"
)
_TEXT_VRS: Final = frozenset(["AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
_UID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){3,}")
_STANDARD_UID: Final = "1.2.840.10008."
_LATER: Final = 3  # name parts that a file name must share with a person are longer than this
Kinded = tuple[str, str, Token]


@dataclass
class Identities:
    """Tokens by how they are found; each points to `(kind, masked identity)`. It travels to worker processes."""

    joined: dict[str, tuple[int, bool, str]] = field(default_factory=dict)
    inside: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    encoded: dict[bytes, str] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    dates: dict[str, dict[str, str]] = field(default_factory=dict)
    owned: dict[str, set[bytes]] = field(default_factory=dict)

    def add(self, masker: Masker, value: str, kind: str, tokens: Iterable[Token]) -> set[bytes]:
        """Tokens of one value; the loosest demand on a token prevails. Returns the bytes that it may stand in."""
        own: set[bytes] = set()
        masked = masker.mask(kind, value)
        for token in tokens:
            if token.stand == "joined":
                least, prose, _ = self.joined.get(token.text, (99, True, ""))
                self.joined[token.text] = (min(least, token.least), prose and token.prose, masked)
            elif token.stand == "inside":
                found = self.inside.setdefault(token.text[: head_length(token.text)], [])
                if all(text != token.text for text, _ in found):
                    found.append((token.text, masked))
            else:
                self.whole[token.text] = masked
            if token.stand != "whole" and not token.text.isascii() and not token.prose:
                for data in spelling.encoded(token.text):
                    self.encoded[data] = masked
                    own.add(data)
        return own

    def add_date(self, masker: Masker, patient: str, date: str) -> None:
        """One date of one patient."""
        self.dates.setdefault(patient, {})[date] = masker.mask("date", date)


def head_length(text: str) -> int:
    """How many characters of a token its index holds: two of a Chinese one, eight of a Latin one."""
    return 8 if text.isascii() else 2


@dataclass
class Collected:
    """What one original holds: `(kind, value)` pairs, UIDs and dates; plain, and gone when the run ends."""

    patient: str
    values: set[tuple[str, str]] = field(default_factory=set)
    raw_names: set[tuple[bytes, str]] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    spared: set[str] = field(default_factory=set)


def collect(film: Film, name: str, options: frozenset[str]) -> Collected:
    """Every identity of one original under these options."""
    dataset = film.dataset
    if dataset is None:
        return Collected("")
    found = Collected(patient_key(film))
    elements = {element.path: element for element in walk(dataset)}
    kept = kept_uids(elements, options)
    for path, element in elements.items():
        if path in kept:
            found.spared |= {spelling.compact(text) for text in element.texts}
        else:
            _collect(found, element, options)
    for element in walk(film.meta):
        if element.tag in (0x00020016, 0x00020017, 0x00020018, 0x00020100) and (
            "retain_device_identity" not in options
        ):
            found.values |= {("institution", text) for text in element.texts}
    persons = {each for kind, value in found.values if kind == "person" for each in spelling.words(value)}
    for part in PurePosixPath(name.replace("!", "/")).parts:
        pieces = [each for each in spelling.words(part) if len(each) > _LATER]
        if any(each in persons for each in pieces):
            found.values.add(("person", part.rsplit(".", 1)[0]))
    return found


def patient_key(film: Film) -> str:
    """Patient ID and issuer, or the study where there is no ID."""
    dataset = film.dataset
    if dataset is None:
        return ""
    try:
        known = str(dataset.get("PatientID") or "").strip()
        return (
            f"{known}|{dataset.get('IssuerOfPatientID') or ''}"
            if known
            else str(dataset.get("StudyInstanceUID"))
        )
    except Exception:  # noqa: BLE001 - an ID that pydicom refuses; the file stands for itself
        return ""


def _collect(found: Collected, element: Element, options: frozenset[str]) -> None:
    row, vr = row_of(element.tag), element.vr
    if row is not None and row.action(options) == "K" and vr != "SQ":
        found.spared |= (
            {spelling.compact(text) for text in element.texts} if vr not in ("DA", "DT", "TM") else set()
        )
        return
    texts = [text.strip() for text in element.texts if spelling.compact(text) not in spelling.PLACEHOLDERS]
    if vr in ("DA", "DT"):
        if row is not None or "retain_longitudinal_full_dates" not in options:
            found.dates |= {text[:8] for text in texts if re.match(r"\d{8}", text)}
    elif vr == "UI":
        if row is not None or element.creator:
            found.uids |= {
                text for text in texts if _UID.fullmatch(text) and not text.startswith(_STANDARD_UID)
            }
    elif vr == "PN":
        found.values |= {("person", text) for text in texts}
        found.raw_names |= set(_raw_names(element))
    elif element.creator:
        found.values |= {(kind, value) for text in texts for kind, value in _private(text, vr)}
    elif row is not None and vr in _TEXT_VRS:
        found.values |= {(_kind(row, text), text) for text in texts if _kind(row, text)}
    elif row is not None and row.keyword in ("GPSLatitude", "GPSLongitude"):
        found.values |= {("position", "".join(texts))}
    if element.path.endswith("(0040,A123)"):
        found.values |= {("person", text) for text in texts}


def _raw_names(element: Element) -> Iterator[tuple[bytes, str]]:
    values = element.value if isinstance(element.value, (list, tuple)) else [element.value]
    if not hasattr(element.value, "original_string") and hasattr(element.value, "append"):
        values = list(element.value)
    for value in values:
        original = getattr(value, "original_string", b"")
        if isinstance(original, bytes):
            for group in original.split(b"="):
                if len(group) >= 6 and any(each >= 0x80 or each == 0x1B for each in group):
                    yield group, str(value)


def _kind(row: Row, text: str) -> str:
    keyword = row.keyword
    if keyword in ("NameToUse", "CameraOwnerName", "TopicAuthor"):
        return "person"
    if _TELEPHONE.search(keyword):
        return "telephone"
    if _PLACE.search(keyword):
        return "institution" if not re.search(r"Address|Residence|Location", keyword) else "address"
    if "clean_descriptors" in row.cells and not re.search(r"(ID|Identifier|Serial)$", keyword):
        return ""
    if _NUMBER.search(keyword):
        return "" if _EXAMINATION.fullmatch(keyword) and not re.search(r"\d", text) else "number"
    return "url" if row.vr == "UR" else ""


def _private(text: str, vr: str) -> Iterator[tuple[str, str]]:
    """Of a private value only what looks like an identity: the rest is words of the vendor."""
    if "^" in text and re.fullmatch(r"[^\W\d_][\w .'-]*\^[\w .'^=-]*", text):
        yield "person", text
    numeric = re.fullmatch(r"[-+0-9.eE\\ ]+", text) and not text.isdigit()
    if (
        vr in _TEXT_VRS
        and 8 <= len(spelling.compact(text)) <= 24
        and re.search(r"\d{6}", text)
        and not numeric
    ):
        yield "number", text


def tokens(kind: str, value: str) -> Iterable[Token]:
    """The tokens of one value of a kind."""
    if kind == "person":
        return spelling.person(value)
    if kind in ("address", "institution"):
        return spelling.place(value)
    if kind == "url":
        return spelling.phrase(value)
    if kind == "position":
        plain = spelling.compact(value)
        return [Token(plain, "joined", prose=True)] if len(plain) >= 6 else []
    if kind == "telephone" and not re.search(r"\d{4}", value):
        return spelling.phrase(value)
    return spelling.number(value)


def merge(collected: Iterable[Collected], masker: Masker) -> Identities:
    """One search structure for the whole input set."""
    found = Identities()
    collected = list(collected)
    spared = {text for one in collected for text in one.spared}
    seen: dict[tuple[str, str], set[bytes]] = {}
    for one in collected:
        own = found.owned.setdefault(one.patient, set())
        for kind, value in one.values:
            if (kind, value) not in seen and spelling.compact(value) not in spared:
                seen[kind, value] = found.add(masker, value, kind, tokens(kind, value))
            own |= seen.get((kind, value), set())
        for data, value in one.raw_names:
            found.encoded[data] = masker.mask("person", value)
            own.add(data)
        for uid in one.uids:
            if spelling.compact(uid) not in spared:
                found.uids[uid] = masker.mask("uid", uid)
        for date in one.dates:
            found.add_date(masker, one.patient, date)
    return found
