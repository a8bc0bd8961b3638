"""Bounded inspection of what arrives, before a key is asked for.

Rules, in order:
1. A file whose preamble begins like a program is refused: such a file is an image to one reader and runs in
   another (PS3.10 7.1 lets the 128 bytes be anything; CVE-2019-11687).
2. The data set is scanned within limits of bytes, depth and elements; nothing is decoded.
3. The four UIDs must be there; where command or URL named them they must be equal.
4. SHA-256 is taken of the data set and, when there is a prefix, of the whole file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from ribcage.capture.errors import IdentityMismatch, NotUnderstood, admission_error
from ribcage.capture.rejection import read_note
from ribcage.dicom import part10
from ribcage.dicom.attributes import extract
from ribcage.dicom.errors import DicomError
from ribcage.dicom.scan import DEFAULT_LIMITS, Scan, ScanLimits, scan
from ribcage.guard.protocol import Attributes, RejectionNote
from ribcage.storage.ports import Octets

_PROGRAMS = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
_PREAMBLE_BYTES = 128


@dataclass(frozen=True, slots=True)
class Expected:
    """What command, URL or the device's registration said of the instance; '' where they said nothing."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    charset: str = ""  # a value of (0008,0005) for what declares none
    charset_overrides: bool = False  # and for what declares another


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes as received: a data set, or a file whose data set begins at `prefix_bytes`."""

    data: Octets
    transfer_syntax_uid: str
    prefix_bytes: int = 0
    expected: Expected = field(default_factory=Expected)


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was learnt: index attributes, where the bulk stream begins in `data`, and digests."""

    attributes: Attributes
    header_end: int
    data_set_sha256: bytes
    file_sha256: bytes
    rejection: RejectionNote | None = None


def arrival_of_file(data: Octets, expected: Expected) -> Arrival:
    """Read the file meta information (PS3.10 7). Raises AdmissionError."""
    if bytes(data[:_PREAMBLE_BYTES]).startswith(_PROGRAMS):
        raise NotUnderstood("the file begins with a program; export it again with an empty preamble")
    try:
        meta = part10.split(data)
    except DicomError as failure:
        raise admission_error(failure) from None
    return Arrival(data, meta.transfer_syntax_uid, meta.prefix_bytes, expected)


def inspect(arrival: Arrival, limits: ScanLimits = DEFAULT_LIMITS) -> Inspected:
    """Scan and hash. Blocking for as long as hashing takes: large data belong in a thread. Raises AdmissionError."""
    view = memoryview(arrival.data)
    found, attributes, note = look(arrival, limits)
    data_set_sha256 = hashlib.sha256(view[arrival.prefix_bytes :]).digest()
    file_sha256 = hashlib.sha256(view).digest() if arrival.prefix_bytes else data_set_sha256
    return Inspected(attributes, found.header_end, data_set_sha256, file_sha256, note)


def look(arrival: Arrival, limits: ScanLimits) -> tuple[Scan, Attributes, RejectionNote | None]:
    """Rules 2 and 3, without the hash. Raises AdmissionError."""
    expected = arrival.expected
    try:
        found = scan(memoryview(arrival.data), arrival.transfer_syntax_uid, limits, arrival.prefix_bytes)
        attributes = identify(found, expected)
        return found, attributes, read_note(found, attributes.sop_class_uid)
    except DicomError as failure:
        raise admission_error(failure, expected.sop_class_uid, expected.sop_instance_uid) from None


def identify(found: Scan, expected: Expected) -> Attributes:
    """Rule 3. Raises DicomError, IdentityMismatch."""
    said = extract(found, expected.charset, overrides=expected.charset_overrides)
    attributes = Attributes(**said)  # type: ignore[arg-type]  # the same names; msgspec checks on the wire
    _compare(attributes, expected)
    return attributes


def _compare(attributes: Attributes, expected: Expected) -> None:
    """PS3.4 B.2.3: the data set must be the instance that the command names."""
    pairs = (
        ("SOP Class UID", expected.sop_class_uid, attributes.sop_class_uid),
        ("SOP Instance UID", expected.sop_instance_uid, attributes.sop_instance_uid),
        ("Study Instance UID", expected.study_instance_uid, attributes.study_instance_uid),
    )
    for name, wanted, got in pairs:
        if wanted and wanted != got:
            raise IdentityMismatch(
                f"the data set's {name} is not the one that was announced; send each under its own",
                expected.sop_class_uid or attributes.sop_class_uid,
                expected.sop_instance_uid or attributes.sop_instance_uid,
            )
