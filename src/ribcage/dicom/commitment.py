"""Data sets of Storage Commitment Push (PS3.4 J.3.2, J.3.3): a request in, a report out.

Rules, in order:
1. A request has one Transaction UID and a Referenced SOP Sequence whose items name class and instance, each once.
2. A report names what is committed to in its Referenced SOP Sequence and what is not, with a Failure Reason, in its
   Failed SOP Sequence; an empty sequence is left out (PS3.4 Table J.3-2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from ribcage.dicom.dictionary import TAG_BY_KEYWORD
from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.identifier import elements
from ribcage.dicom.scan import Element, Scan, ScanLimits, scan
from ribcage.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN

LIMITS: Final = ScanLimits(max_data_set_bytes=4 * 1024**2, max_depth=4, max_elements=100_000)
TRANSACTION: Final = TAG_BY_KEYWORD["TransactionUID"]
REFERENCED: Final = TAG_BY_KEYWORD["ReferencedSOPSequence"]
_FAILED: Final = TAG_BY_KEYWORD["FailedSOPSequence"]
_CLASS: Final = TAG_BY_KEYWORD["ReferencedSOPClassUID"]
_INSTANCE: Final = TAG_BY_KEYWORD["ReferencedSOPInstanceUID"]
_REASON: Final = TAG_BY_KEYWORD["FailureReason"]
_UID: Final = re.compile(rb"[0-9.]{1,64}\Z")
_ITEM: Final = Struct("<HHI").pack
_US: Final = Struct("<H").pack


@dataclass(frozen=True, slots=True)
class Reference:
    """A SOP instance that somebody wants to delete at home."""

    sop_class: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What one N-ACTION asks."""

    transaction: str
    references: tuple[Reference, ...]


def read(data: bytes | bytearray, transfer_syntax: str) -> CommitmentRequest:
    """The request. Raises DataSetMalformed by rule 1, DataSetLimitExceeded."""
    scanned = scan(data, transfer_syntax, LIMITS)
    transaction = _uid(scanned, scanned.elements, TRANSACTION)
    sequences = [element for element in scanned.elements if element.tag == REFERENCED]
    items = scanned.items(sequences[0]) if len(sequences) == 1 else ()
    if not items:
        raise DataSetMalformed("expected one Referenced SOP Sequence with items")
    references = [
        Reference(_uid(scanned, item.elements, _CLASS), _uid(scanned, item.elements, _INSTANCE))
        for item in items
    ]
    if len({each.sop_instance for each in references}) != len(references):
        raise DataSetMalformed("expected each instance once")
    return CommitmentRequest(transaction, tuple(references))


def _uid(scanned: Scan, among: Sequence[Element], tag: int) -> str:
    values = [scanned.value(element).rstrip(b"\0 ") for element in among if element.tag == tag]
    if len(values) != 1 or not _UID.match(values[0]):
        raise DataSetMalformed(f"expected one UID in ({tag >> 16:04X},{tag & 0xFFFF:04X})")
    return values[0].decode("ascii")


def write(
    transaction: str,
    committed: Sequence[Reference],
    failed: Sequence[tuple[Reference, int]],
    transfer_syntax: str,
) -> bytes:
    """The report (rule 2); each failed reference with its Failure Reason (PS3.3 C.14)."""
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    parts = {TRANSACTION: _padded(transaction)}
    if failed:
        parts[_FAILED] = b"".join(_item(each, reason, implicit) for each, reason in failed)
    if committed:
        parts[REFERENCED] = b"".join(_item(each, None, implicit) for each in committed)
    return b"".join(elements(parts, implicit=implicit))


def _item(reference: Reference, reason: int | None, implicit: bool) -> bytes:
    parts = {_CLASS: _padded(reference.sop_class), _INSTANCE: _padded(reference.sop_instance)}
    if reason is not None:
        parts[_REASON] = _US(reason)
    body = b"".join(elements(parts, implicit=implicit))
    return _ITEM(0xFFFE, 0xE000, len(body)) + body


def _padded(uid: str) -> bytes:
    return uid.encode("ascii") + b"\0" * (len(uid) % 2)
