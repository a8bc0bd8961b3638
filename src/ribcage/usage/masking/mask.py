"""The masked view of a header stream: what the allow-list names is kept, everything else is not copied.

Rules, in order (DESIGN rule 7):
1. A SOP class without a row in `classes.csv`, or a data set of another class than asked, is refused.
2. At every level an element survives only by its row in `allowed.csv`, with the row's VR and a value that satisfies
   the row. Private, unknown, out-of-group and repeated tags do not survive; nor do group lengths, whose sums
   would be wrong, and bytes behind the last element.
3. Patient's Name and Patient ID are written anew at the top level from the caller's pseudonyms; other attributes that
   must stand (type 2) or have a value (type 1) stand empty or with a fixed text, so that the object stays valid.
4. Kept values are numbers, listed terms, UIDs, pixel tables: nothing that needs a character set, so Specific
   Character Set goes too.
5. UIDs stay: they are the addresses of DICOMweb. So this is a view for people with a session and no
   de-identification: Patient Identity Removed is never written.
6. Nothing is said about pixels: `pixels_checked` is False until somebody has looked for burned-in text. Unused high
   bits of pixel cells pass unseen; text inside compressed frames is blanked by `codestreams`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.json_model import BulkLocator, Json, to_json_model
from ribcage.dicom.part10 import check_uid
from ribcage.dicom.rewrite import TOP, NewElement, rewrite
from ribcage.dicom.scan import DEFAULT_LIMITS, Buffer, Element, Item, Scan, ScanLimits, scan
from ribcage.dicom.values import NUMBER_FORMATS, concrete_vr, decimal, integer
from ribcage.usage.masking.errors import NoMaskingRule, PseudonymInvalid
from ribcage.usage.masking.rules import Allowed, Rule, Rules, rules

_SOP_CLASS: Final = 0x00080016
_PATIENT_NAME: Final = 0x00100010
_PATIENT_ID: Final = 0x00100020
_CODE_VALUE: Final = 0x00080100
_CODING_SCHEME: Final = 0x00080102
_MAX_TABLE_BYTES: Final = 128 * 1024
_MAX_NUMBER_BYTES: Final = 64 * 1024
_MAX_TERMS_BYTES: Final = 1024
_PSEUDONYM: Final = re.compile(r"[A-Za-z0-9^._ -]{1,64}")
_DIRECTIONS: Final = re.compile(r"[AFHLPR]{1,3}")
_SIZES: Final = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "UV": 8, "SV": 8}


class _Keep(Enum):
    KEEP = auto()


_KEEP: Final = _Keep.KEEP
_Verdict = bytes | _Keep | None  # new value, kept as it is, removed


@dataclass(frozen=True, slots=True)
class MaskedHeader:
    """The masked header stream in the transfer syntax of the original, as parts in order."""

    parts: tuple[Buffer, ...]
    transfer_syntax_uid: str
    kept: int  # elements at all levels
    removed: int
    pixels_checked: bool = False

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return sum(len(part) for part in self.parts)


def mask_header(
    header: Buffer,
    transfer_syntax_uid: str,
    sop_class_uid: str,
    *,
    patient_name: str,
    patient_id: str,
    limits: ScanLimits = DEFAULT_LIMITS,
) -> MaskedHeader:
    """Mask the data set's bytes up to the bulk element (a deflated data set: all of it).

    `patient_name` ("Masked^1a2b3c") and `patient_id` are the caller's pseudonyms. Raises NoMaskingRule,
    PseudonymInvalid, DataSetMalformed, DataSetLimitExceeded, UnsupportedTransferSyntax.
    """
    for pseudonym in (patient_name, patient_id):
        if _PSEUDONYM.fullmatch(pseudonym) is None:
            raise PseudonymInvalid("expected a pseudonym of 1 to 64 plain ASCII characters, got another")
    require_rule(sop_class_uid)
    scanned = scan(header, transfer_syntax_uid, limits)
    _require_class(scanned, sop_class_uid)
    masker = _Masker(scanned, rules(), grouped=sop_class_uid in rules().grouped)
    masker.container(scanned.elements, top=True)
    stop = scanned.elements_end
    if scanned.bulk is not None:
        stop = scanned.bulk.end if scanned.deflated else scanned.bulk.start
    inserts = {
        TOP: (
            NewElement(_PATIENT_NAME, "PN", patient_name.encode("ascii")),
            NewElement(_PATIENT_ID, "LO", patient_id.encode("ascii")),
        )
    }
    return MaskedHeader(
        parts=tuple(rewrite(scanned, masker.edits, inserts, stop)),
        transfer_syntax_uid=transfer_syntax_uid,
        kept=masker.kept,
        removed=masker.removed,
    )


def masked_metadata(
    masked: MaskedHeader, limits: ScanLimits = DEFAULT_LIMITS, bulk_locator: BulkLocator | None = None
) -> dict[str, Json]:
    """The DICOM JSON Model (PS3.18 F) of a masked header, read back from the masked bytes themselves."""
    return to_json_model(scan(bytes(masked), masked.transfer_syntax_uid, limits), bulk_locator=bulk_locator)


def require_rule(sop_class_uid: str) -> None:
    """Raises NoMaskingRule unless `classes.csv` has this SOP class."""
    if sop_class_uid not in rules().classes:
        raise NoMaskingRule(
            "expected a SOP class with a masking rule, got one without; ask for the full view"
        )


def _require_class(scanned: Scan, sop_class_uid: str) -> None:
    found = [element for element in scanned.elements if element.tag == _SOP_CLASS]
    if len(found) != 1 or scanned.value(found[0]).rstrip(b"\0 ") != sop_class_uid.encode("ascii"):
        raise NoMaskingRule(
            "expected the SOP class that the index names, once, got another; verify the object"
        )


class _Masker:
    """Walks one data set and collects edits: an element without verdict is removed."""

    def __init__(self, scanned: Scan, lists: Rules, *, grouped: bool) -> None:
        self.edits: dict[int, bytes | None] = {}
        self.kept = 0
        self.removed = 0
        self._scan = scanned
        self._lists = lists
        self._signed = False
        self._grouped = grouped

    def container(self, elements: Iterable[Element], *, top: bool = False) -> None:
        """The elements of the data set or of one item."""
        seen: set[int] = set()
        for element in elements:
            verdict: _Verdict = None
            allowed = self._lists.attributes.get(element.tag)
            if top and element is self._scan.bulk:
                verdict = _KEEP  # only a deflated data set has it in its header stream
            elif allowed is not None and element.tag not in seen:
                verdict = self._verdict(element, allowed)
            seen.add(element.tag)
            if verdict is None:
                self.edits[element.start] = None
                self.removed += 1
                continue
            self.kept += 1
            if isinstance(verdict, bytes):
                self.edits[element.start] = verdict

    def _verdict(self, element: Element, allowed: Allowed) -> _Verdict:
        if allowed.rule is Rule.EMPTY:
            return None if element.vr == "SQ" and "SQ" not in allowed.vrs else b""
        if element.tag == 0x00280103:
            self._signed = self._scan.value(element)[:2] in (b"\x01\x00", b"\x00\x01")
        vr = concrete_vr(element.vr, element.tag, signed=self._signed)
        if vr not in allowed.vrs:
            return None
        return _VERDICTS[allowed.rule](self, element, vr, allowed)

    def number(self, element: Element, vr: str, _: Allowed) -> _Verdict:
        """Kept when every value is a number of its VR."""
        if not 0 <= element.length <= _MAX_NUMBER_BYTES:
            return None
        if vr in NUMBER_FORMATS:
            return _KEEP if element.length % _SIZES[vr] == 0 else None
        texts = _texts(self._scan.value(element))
        if vr == "IS":
            good = all(
                text == ""
                or (len(text) <= 12 and abs(integer(text) or 0) < 2**31 and integer(text) is not None)
                for text in texts
            )
        else:
            good = all(text == "" or (len(text) <= 16 and decimal(text) is not None) for text in texts)
        return _KEEP if good else None

    def terms(self, element: Element, _: str, allowed: Allowed) -> _Verdict:
        """Kept when every value is listed, else cut before the first that is not."""
        if element.length > _MAX_TERMS_BYTES:
            return None
        texts = _texts(self._scan.value(element))
        leading = []
        for text in texts:
            if text and text not in allowed.terms:
                break
            leading.append(text)
        if len(leading) == len(texts):
            return _KEEP
        return "\\".join(leading).encode("ascii") if leading else None

    def orientation(self, element: Element, _: str, __: Allowed) -> _Verdict:
        """Kept when every value is a direction."""
        if element.length > _MAX_TERMS_BYTES:
            return None
        texts = _texts(self._scan.value(element))
        return _KEEP if all(text == "" or _DIRECTIONS.fullmatch(text) for text in texts) else None

    def uid(self, element: Element, _: str, __: Allowed) -> _Verdict:
        """Kept when empty or one UID."""
        if element.length > 66:
            return None
        text = self._scan.value(element).rstrip(b"\0 ").decode("ascii", "replace")
        try:
            check_uid(text or "0", "masked view")
        except DataSetMalformed:
            return None
        return _KEEP

    def pointer(self, element: Element, _: str, __: Allowed) -> _Verdict:
        """Kept when it is made of whole tags."""
        return _KEEP if element.length % 4 == 0 and element.length <= _MAX_TERMS_BYTES else None

    def table(self, element: Element, _: str, __: Allowed) -> _Verdict:
        """Kept within its size."""
        return _KEEP if element.length <= _MAX_TABLE_BYTES else None

    def items(self, element: Element, _: str, __: Allowed) -> _Verdict:
        """Kept; its items are walked."""
        for item in self._scan.items(element):
            self.container(item.elements)
        return _KEEP

    def codes(self, element: Element, _: str, __: Allowed) -> _Verdict:
        """Kept when the code of every item is listed; all but code and scheme is removed, meaning included."""
        items = self._scan.items(element)
        if not all(self._is_listed(item) for item in items):
            return None
        for item in items:
            for inner in item.elements:
                if inner.tag in (_CODE_VALUE, _CODING_SCHEME):
                    self.kept += 1
                else:
                    self.edits[inner.start] = None
                    self.removed += 1
        return _KEEP

    def _is_listed(self, item: Item) -> bool:
        found: dict[int, str] = {}
        for element in item.elements:
            if element.tag in (_CODE_VALUE, _CODING_SCHEME):
                if element.tag in found or element.vr != "SH" or element.length > 18:
                    return False
                found[element.tag] = _texts(self._scan.value(element))[0]
        return (found.get(_CODING_SCHEME, ""), found.get(_CODE_VALUE, "")) in self._lists.codes

    def fixed(self, _: Element, __: str, allowed: Allowed) -> _Verdict:
        """Never kept: written anew with the listed text where its type demands a value."""
        return "".join(allowed.terms).encode("ascii") if self._grouped else None

    def gone(self, _: Element, __: str, ___: Allowed) -> _Verdict:
        """Removed here; the caller's pseudonym is inserted at the top level."""
        return None


_VERDICTS: Final = {
    Rule.NUMBER: _Masker.number,
    Rule.TERMS: _Masker.terms,
    Rule.ORIENTATION: _Masker.orientation,
    Rule.UID: _Masker.uid,
    Rule.POINTER: _Masker.pointer,
    Rule.TABLE: _Masker.table,
    Rule.ITEMS: _Masker.items,
    Rule.CODES: _Masker.codes,
    Rule.FIXED: _Masker.fixed,
    Rule.NAME: _Masker.gone,
    Rule.ID: _Masker.gone,
}


def _texts(raw: bytes) -> list[str]:
    """Values of an ASCII text element; a byte beyond ASCII becomes a character that no rule admits."""
    return [text.strip(" \0") for text in raw.decode("ascii", "replace").split("\\")]
