"""Protocol data units of the DICOM upper layer (PS3.8 9.3): bytes in, PDU out, and back.

Rules, in order:
1. The header (type, reserved, 32-bit length) is judged before anything is buffered: an unknown type is
   `PduUnrecognized`, a length beyond its limit is `PduTooLarge`.
2. Incomplete bytes give None; malformed bytes raise `PduError` only, which names the A-ABORT reason.
3. Reserved fields are not tested (PS3.8 9.3.1), except lengths, which must hold exactly.
4. Presentation data values are views of the given buffer, not copies.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeVar

from ribcage.dicom import pdu_items as items
from ribcage.dicom.errors import PduMalformed, PduTooLarge, PduUnrecognized, ProtocolMisuse
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu_items import ContextResult, ProposedContext, UserInformation
from ribcage.dicom.sop_classes import APPLICATION_CONTEXT

HEADER_BYTES: Final = 6
PDV_HEADER_BYTES: Final = 6
_HEADER: Final = struct.Struct(">BxI")
_PDV_HEADER: Final = struct.Struct(">IBB")
_P_DATA_HEADER: Final = struct.Struct(">BxIIBB")
_ASSOCIATE_FIXED_BYTES: Final = 68


class PduType(IntEnum):
    """PS3.8 9.3.1."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


@dataclass(frozen=True, slots=True)
class AssociateRq:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). AE titles without padding."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAc:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The AE titles repeat the request and are not significant."""

    called_ae_title: str
    calling_ae_title: str
    results: tuple[ContextResult, ...]
    user: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateRj:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4). `result` 1 permanent, 2 transient; `source` 1 user, 2 ACSE,
    3 presentation."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class Pdv:
    """One presentation data value (PS3.8 9.3.5.1 and E.2): a fragment of a command or of a data set."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview | bytes


@dataclass(frozen=True, slots=True)
class PDataTf:
    """P-DATA-TF (PS3.8 9.3.5)."""

    pdvs: tuple[Pdv, ...]


@dataclass(frozen=True, slots=True)
class ReleaseRq:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseRp:
    """A-RELEASE-RP (PS3.8 9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8). `source` 0 service-user, 2 service-provider."""

    source: int
    reason: int


Pdu = AssociateRq | AssociateAc | AssociateRj | PDataTf | ReleaseRq | ReleaseRp | Abort
_Context = TypeVar("_Context", ProposedContext, ContextResult)
_FOUR_BYTES: Final = (PduType.ASSOCIATE_RJ, PduType.RELEASE_RQ, PduType.RELEASE_RP, PduType.ABORT)


# --- decoding -------------------------------------------------------------------------------------------


def parse(buffer: bytes | bytearray | memoryview, limits: UpperLayerLimits) -> tuple[Pdu, int] | None:
    """The first PDU of `buffer` and the bytes it took, or None when more bytes are needed.

    Raises PduUnrecognized, PduTooLarge or PduMalformed. P-DATA values are views of `buffer`.
    """
    view = memoryview(buffer)
    if len(view) < HEADER_BYTES:
        if len(view):
            check_type(view[0])
        return None
    kind, length = parse_header(view, limits)
    end = HEADER_BYTES + length
    if len(view) < end:
        return None
    return parse_body(kind, view[HEADER_BYTES:end], limits), end


def check_type(kind: int) -> PduType:
    """The PDU type of a first byte. Raises PduUnrecognized."""
    if not 1 <= kind <= 7:
        raise PduUnrecognized(f"expected a PDU type of 1 to 7, got {kind}; is the peer speaking DICOM?")
    return PduType(kind)


def parse_header(view: bytes | bytearray | memoryview, limits: UpperLayerLimits) -> tuple[PduType, int]:
    """Type and body length in bytes of the first 6 bytes; the length is within its limit."""
    number, length = _HEADER.unpack_from(view)
    kind = check_type(number)
    if kind in _FOUR_BYTES:
        if length != 4:
            raise PduMalformed(f"{kind.name}: expected a length of 4, got {length}")
    elif kind is PduType.P_DATA_TF:
        if length > limits.max_pdu_bytes:
            raise PduTooLarge(f"P-DATA-TF: expected at most {limits.max_pdu_bytes} bytes, got {length}")
        if length < PDV_HEADER_BYTES:
            raise PduMalformed(f"P-DATA-TF: expected at least {PDV_HEADER_BYTES} bytes, got {length}")
    elif length > limits.max_association_pdu_bytes:
        raise PduTooLarge(
            f"{kind.name}: expected at most {limits.max_association_pdu_bytes} bytes, got {length}"
        )
    elif length < _ASSOCIATE_FIXED_BYTES:
        raise PduMalformed(f"{kind.name}: expected at least {_ASSOCIATE_FIXED_BYTES} bytes, got {length}")
    return kind, length


def parse_body(kind: PduType, body: memoryview, limits: UpperLayerLimits) -> Pdu:
    """The PDU of a complete body whose header passed `parse_header`."""
    match kind:
        case PduType.ASSOCIATE_RQ | PduType.ASSOCIATE_AC:
            return _parse_associate(kind, body, limits)
        case PduType.ASSOCIATE_RJ:
            return _parse_reject(body)
        case PduType.P_DATA_TF:
            return PDataTf(tuple(_split_pdvs(body)))
        case PduType.RELEASE_RQ:
            return ReleaseRq()
        case PduType.RELEASE_RP:
            return ReleaseRp()
        case PduType.ABORT:
            return Abort(body[2], body[3])  # a reason we do not know is still an abort


def _parse_reject(body: memoryview) -> AssociateRj:
    result, source, reason = body[1], body[2], body[3]
    if result not in (1, 2) or source not in (1, 2, 3):
        raise PduMalformed(f"A-ASSOCIATE-RJ: expected result 1..2 and source 1..3, got {result} and {source}")
    return AssociateRj(result, source, reason)


def parse_pdv_header(header: bytes | bytearray | memoryview, room: int) -> tuple[int, int, bool, bool]:
    """(fragment bytes, context id, is command, is last) of 6 bytes; `room` bytes follow them in the PDU.

    Raises PduMalformed when the value does not end inside the PDU (PS3.8 9.3.5.1, E.2).
    """
    length, context_id, control = _PDV_HEADER.unpack_from(header)
    if not 2 <= length <= room + 2:
        raise PduMalformed(f"presentation data value: expected 2 to {room + 2} bytes, got {length}")
    if context_id % 2 == 0:
        raise PduMalformed(f"presentation context id: expected an odd number, got {context_id}")
    return length - 2, context_id, bool(control & 1), bool(control & 2)


def _split_pdvs(body: memoryview) -> Iterator[Pdv]:
    offset, end = 0, len(body)
    while offset < end:
        if end - offset < PDV_HEADER_BYTES:
            raise PduMalformed(f"presentation data value: expected 6 bytes of header, got {end - offset}")
        start = offset + PDV_HEADER_BYTES
        size, context_id, is_command, is_last = parse_pdv_header(body[offset:start], end - start)
        offset = start + size
        yield Pdv(context_id, is_command, is_last, body[start:offset])


def _parse_associate(kind: PduType, body: memoryview, limits: UpperLayerLimits) -> AssociateRq | AssociateAc:
    version = int.from_bytes(body[0:2])
    called, calling = _ae_title(body[4:20], kind), _ae_title(body[20:36], kind)
    application: str | None = None
    user: UserInformation | None = None
    proposed: dict[int, ProposedContext] = {}
    results: dict[int, ContextResult] = {}
    for number, content in items.split_items(body[_ASSOCIATE_FIXED_BYTES:]):
        if number == items.ITEM_APPLICATION_CONTEXT:
            if application is not None:
                raise PduMalformed("expected one application context, got two")
            application = items.decode_uid(content, "application context")
        elif number == items.ITEM_CONTEXT_RQ and kind is PduType.ASSOCIATE_RQ:
            context = items.decode_proposed(content, limits)
            _add(proposed, context.context_id, context, limits)
        elif number == items.ITEM_CONTEXT_AC and kind is PduType.ASSOCIATE_AC:
            result = items.decode_result(content)
            _add(results, result.context_id, result, limits)
        elif number == items.ITEM_USER_INFORMATION:
            if user is not None:
                raise PduMalformed("expected one user information item, got two")
            user = items.decode_user_information(content, limits)
    if application is None:
        raise PduMalformed("expected an application context, got none")
    user = user or UserInformation()
    if kind is PduType.ASSOCIATE_RQ:
        return AssociateRq(called, calling, tuple(proposed.values()), user, application, version)
    return AssociateAc(called, calling, tuple(results.values()), user, application, version)


def _add(contexts: dict[int, _Context], context_id: int, context: _Context, limits: UpperLayerLimits) -> None:
    if context_id in contexts:
        raise PduMalformed(f"expected distinct presentation context ids, got {context_id} twice")
    if len(contexts) >= limits.max_contexts:
        raise PduMalformed(f"expected at most {limits.max_contexts} presentation contexts, got more")
    contexts[context_id] = context


def _ae_title(field16: memoryview, kind: PduType) -> str:
    """PS3.5 6.2 AE: printable ASCII without backslash. In an AC it is not significant and never refused."""
    raw = bytes(field16).strip(b"\0 ")
    if any(not 0x20 <= byte < 0x7F or byte == 0x5C for byte in raw):
        if kind is PduType.ASSOCIATE_AC:
            return ""
        raise PduMalformed("AE title: expected printable ASCII, got other bytes; correct the peer's AE title")
    return raw.decode("ascii")


# --- encoding -------------------------------------------------------------------------------------------


def encode(pdu: Pdu) -> bytes:
    """The bytes of one PDU. Raises ProtocolMisuse when a value does not fit its field."""
    try:
        return _encode(pdu)
    except (ValueError, OverflowError, struct.error) as error:
        raise ProtocolMisuse(f"{type(pdu).__name__}: expected values that fit their fields") from error


def _encode(pdu: Pdu) -> bytes:
    match pdu:
        case AssociateRq():
            contexts = b"".join(items.encode_proposed(context) for context in pdu.contexts)
            return _encode_associate(PduType.ASSOCIATE_RQ, pdu, contexts)
        case AssociateAc():
            contexts = b"".join(items.encode_result(context) for context in pdu.results)
            return _encode_associate(PduType.ASSOCIATE_AC, pdu, contexts)
        case AssociateRj():
            return _HEADER.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, pdu.result, pdu.source, pdu.reason))
        case PDataTf():
            return _encode_p_data(pdu.pdvs)
        case ReleaseRq():
            return _HEADER.pack(PduType.RELEASE_RQ, 4) + bytes(4)
        case ReleaseRp():
            return _HEADER.pack(PduType.RELEASE_RP, 4) + bytes(4)
        case Abort():
            return _HEADER.pack(PduType.ABORT, 4) + bytes((0, 0, pdu.source, pdu.reason))


def _encode_p_data(pdvs: tuple[Pdv, ...]) -> bytes:
    parts: list[bytes | memoryview] = []
    for pdv in pdvs:
        control = (1 if pdv.is_command else 0) | (2 if pdv.is_last else 0)
        parts += [_PDV_HEADER.pack(len(pdv.data) + 2, pdv.context_id, control), pdv.data]
    body = b"".join(parts)
    return _HEADER.pack(PduType.P_DATA_TF, len(body)) + body


def _encode_associate(kind: PduType, pdu: AssociateRq | AssociateAc, contexts: bytes) -> bytes:
    titles = []
    for title in (pdu.called_ae_title, pdu.calling_ae_title):
        if len(title) > 16 or not title.isascii():
            raise ProtocolMisuse(f"AE title: expected at most 16 ASCII characters, got {len(title)}")
        titles.append(title.encode("ascii").ljust(16))
    body = b"".join(
        (
            pdu.protocol_version.to_bytes(2) + bytes(2),
            *titles,
            bytes(32),
            items.encode_item(items.ITEM_APPLICATION_CONTEXT, pdu.application_context.encode()),
            contexts,
            items.encode_user_information(pdu.user),
        )
    )
    return _HEADER.pack(kind, len(body)) + body


class Fragmenter:
    """Cuts one command or data set into P-DATA-TF PDUs of at most `max_pdu_bytes` (PS3.8 9.3.5, E.2).

    Push chunks of any size; each call yields the PDUs that are full. `finish()` yields the rest, of which the
    last one says so. At most one PDU's worth of bytes is held back.
    """

    def __init__(self, context_id: int, is_command: bool, max_pdu_bytes: int) -> None:
        self._context_id = context_id
        self._control = 1 if is_command else 0
        self._room = max_pdu_bytes - PDV_HEADER_BYTES
        if self._room <= 0:
            raise ProtocolMisuse(f"max_pdu_bytes: expected more than {PDV_HEADER_BYTES}, got {max_pdu_bytes}")
        self._held = bytearray()

    def push(self, chunk: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Full PDUs. Exhaust the iterator; the chunk may change afterwards, its remainder is copied."""
        view = memoryview(chunk).cast("B") if len(chunk) else memoryview(b"")
        while len(view) + len(self._held) > self._room:
            take = self._room - len(self._held)
            yield self._pdu(view[:take], last=False)
            view = view[take:]
        self._held += view

    def finish(self) -> bytes:
        """The last PDU, possibly with an empty value."""
        return self._pdu(memoryview(b""), last=True)

    def _pdu(self, view: memoryview, *, last: bool) -> bytes:
        control = self._control | (2 if last else 0)
        size = len(self._held) + len(view)
        head = _P_DATA_HEADER.pack(
            PduType.P_DATA_TF, size + PDV_HEADER_BYTES, size + 2, self._context_id, control
        )
        pdu = b"".join((head, self._held, view))
        self._held.clear()
        return pdu


def fragment(
    context_id: int, is_command: bool, chunks: Iterable[bytes | bytearray | memoryview], max_pdu_bytes: int
) -> Iterator[bytes]:
    """All PDUs of one command or data set, given as chunks; lazily, one copy per byte."""
    fragmenter = Fragmenter(context_id, is_command, max_pdu_bytes)
    for chunk in chunks:
        yield from fragmenter.push(chunk)
    yield fragmenter.finish()
