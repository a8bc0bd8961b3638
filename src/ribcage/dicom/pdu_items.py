"""Items inside A-ASSOCIATE-RQ and A-ASSOCIATE-AC: presentation contexts and user information.

Rules, in order:
1. An item has type, reserved byte, 16-bit length; it ends inside its parent or the PDU is malformed
   (PS3.8 9.3.1).
2. Presentation context ids are odd (PS3.8 9.3.2.2); UIDs have digits and dots, at most 64 (PS3.5 9.1).
3. Unknown sub-items are skipped (PS3.8 9.3.1), known ones are decoded completely, counts are bounded.
4. Encoding what was decoded and decoding it again gives the same value.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ribcage.dicom.errors import PduMalformed, ProtocolMisuse
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN

ITEM_APPLICATION_CONTEXT: Final = 0x10
ITEM_CONTEXT_RQ: Final = 0x20
ITEM_CONTEXT_AC: Final = 0x21
ITEM_ABSTRACT_SYNTAX: Final = 0x30
ITEM_TRANSFER_SYNTAX: Final = 0x40
ITEM_USER_INFORMATION: Final = 0x50
_MAX_LENGTH: Final = 0x51
_CLASS_UID: Final = 0x52
_ASYNC_WINDOW: Final = 0x53
_ROLE: Final = 0x54
_VERSION_NAME: Final = 0x55
_EXTENDED: Final = 0x56
_COMMON_EXTENDED: Final = 0x57
_IDENTITY_RQ: Final = 0x58
_IDENTITY_AC: Final = 0x59

_UID: Final = re.compile(r"[0-9.]{1,64}\Z")
_HEAD: Final = struct.Struct(">BxH")
_U16: Final = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One presentation context of A-ASSOCIATE-RQ (PS3.8 9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextResult:
    """One presentation context of A-ASSOCIATE-AC (PS3.8 9.3.3.2). `result`: 0 accepted, 1 user rejection,
    2 no reason, 3 abstract syntax not supported, 4 transfer syntaxes not supported."""

    context_id: int
    result: int
    transfer_syntax: str = ""  # not significant unless accepted


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCP/SCU role selection (PS3.7 D.3.3.4)."""

    sop_class: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """SOP class extended negotiation (PS3.7 D.3.3.5); `information` belongs to the service class."""

    sop_class: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """SOP class common extended negotiation (PS3.7 D.3.3.6)."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """User identity of the requestor (PS3.7 D.3.3.7). `kind`: 1 user name, 2 with passcode, 3 Kerberos,
    4 SAML, 5 JWT. Both fields may be secrets and do not appear in `repr`."""

    kind: int
    response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class UserInformation:
    """User information of either direction (PS3.8 9.3.2.3, PS3.7 D.3.3). `max_pdu_bytes` 0: no limit."""

    max_pdu_bytes: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    async_window: tuple[int, int] | None = None  # operations invoked, performed; 0 unlimited
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = field(default=None, repr=False)


# --- decoding -------------------------------------------------------------------------------------------


def split_items(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (type, content) of each item. Raises PduMalformed when one does not end inside `data`."""
    offset = 0
    end = len(data)
    while offset < end:
        if end - offset < 4:
            raise PduMalformed(f"expected an item header of 4 bytes, got {end - offset}")
        kind, length = _HEAD.unpack_from(data, offset)
        offset += 4
        if length > end - offset:
            raise PduMalformed(f"item {kind:#04x}: expected {length} bytes, got {end - offset}")
        yield kind, data[offset : offset + length]
        offset += length


def decode_uid(data: memoryview, what: str, *, empty_ok: bool = False) -> str:
    """A UID without its padding (PS3.5 9.1; trailing NUL or space tolerated). Raises PduMalformed."""
    text = bytes(data).rstrip(b"\0 ").decode("latin-1")
    if not (_UID.match(text) or (empty_ok and not text)):
        raise PduMalformed(f"{what}: expected a UID of 1 to 64 digits and dots, got {len(data)} other bytes")
    return text


def decode_proposed(data: memoryview, limits: UpperLayerLimits) -> ProposedContext:
    """One item 20H (PS3.8 Table 9-13). No transfer syntax is tolerated; negotiation then answers 4."""
    context_id = _context_id(data)
    abstract: str | None = None
    transfer: list[str] = []
    for kind, content in split_items(data[4:]):
        if kind == ITEM_ABSTRACT_SYNTAX:
            if abstract is not None:
                raise PduMalformed("presentation context: expected one abstract syntax, got two")
            abstract = decode_uid(content, "abstract syntax")
        elif kind == ITEM_TRANSFER_SYNTAX:
            if len(transfer) >= limits.max_transfer_syntaxes:
                raise PduMalformed(
                    f"expected at most {limits.max_transfer_syntaxes} transfer syntaxes, got more"
                )
            transfer.append(decode_uid(content, "transfer syntax"))
    if abstract is None:
        raise PduMalformed("presentation context: expected an abstract syntax, got none")
    return ProposedContext(context_id, abstract, tuple(transfer))


def decode_result(data: memoryview) -> ContextResult:
    """One item 21H (PS3.8 Table 9-18)."""
    context_id = _context_id(data)
    result = data[2]
    if result > 4:
        raise PduMalformed(f"presentation context result: expected 0 to 4, got {result}")
    syntax = ""
    for kind, content in split_items(data[4:]):
        if kind == ITEM_TRANSFER_SYNTAX and result == 0:
            if syntax:
                raise PduMalformed("presentation context: expected one transfer syntax, got two")
            syntax = decode_uid(content, "transfer syntax")
    if result == 0 and not syntax:
        raise PduMalformed("accepted presentation context: expected a transfer syntax, got none")
    return ContextResult(context_id, result, syntax)


def _context_id(data: memoryview) -> int:
    if len(data) < 4:
        raise PduMalformed(f"presentation context: expected at least 4 bytes, got {len(data)}")
    if data[0] % 2 == 0:
        raise PduMalformed(f"presentation context id: expected an odd number, got {data[0]}")
    return data[0]


class _UserInformationDecoder:
    """Collects the sub-items of one item 50H; a single-valued one may come once."""

    def __init__(self) -> None:
        self.single: dict[int, memoryview] = {}
        self.roles: list[RoleSelection] = []
        self.extended: list[ExtendedNegotiation] = []
        self.common: list[CommonExtendedNegotiation] = []

    def add(self, kind: int, content: memoryview) -> None:
        if kind == _ROLE:
            self.roles.append(_decode_role(content))
        elif kind == _EXTENDED:
            uid, rest = _counted(content, "extended negotiation")
            self.extended.append(ExtendedNegotiation(decode_uid(uid, "SOP class"), bytes(rest)))
        elif kind == _COMMON_EXTENDED:
            self.common.append(_decode_common(content))
        elif kind in (_MAX_LENGTH, _CLASS_UID, _ASYNC_WINDOW, _VERSION_NAME, _IDENTITY_RQ, _IDENTITY_AC):
            if kind in self.single:
                raise PduMalformed(f"user information: expected one item {kind:#04x}, got two")
            self.single[kind] = content

    def finish(self) -> UserInformation:
        single = self.single
        window = _fixed(single[_ASYNC_WINDOW], 4) if _ASYNC_WINDOW in single else None
        return UserInformation(
            max_pdu_bytes=int.from_bytes(_fixed(single[_MAX_LENGTH], 4)) if _MAX_LENGTH in single else 0,
            implementation_class_uid=decode_uid(
                single.get(_CLASS_UID, memoryview(b"")), "implementation class", empty_ok=True
            ),
            implementation_version_name=_printable(bytes(single.get(_VERSION_NAME, b""))[:16]),
            async_window=None
            if window is None
            else (_U16.unpack_from(window)[0], _U16.unpack_from(window, 2)[0]),
            roles=tuple(self.roles),
            extended=tuple(self.extended),
            common_extended=tuple(self.common),
            identity=_decode_identity(single[_IDENTITY_RQ]) if _IDENTITY_RQ in single else None,
            identity_response=_decode_identity_response(single[_IDENTITY_AC])
            if _IDENTITY_AC in single
            else None,
        )


def decode_user_information(data: memoryview, limits: UpperLayerLimits) -> UserInformation:
    """Item 50H with all sub-items. Raises PduMalformed for a wrong length, a duplicate or too many items."""
    decoder = _UserInformationDecoder()
    for count, (kind, content) in enumerate(split_items(data)):
        if count >= limits.max_user_items:
            raise PduMalformed(f"user information: expected at most {limits.max_user_items} items, got more")
        decoder.add(kind, content)
    return decoder.finish()


def _fixed(data: memoryview, size: int) -> memoryview:
    if len(data) != size:
        raise PduMalformed(f"user information: expected an item of {size} bytes, got {len(data)}")
    return data


def _counted(data: memoryview, what: str) -> tuple[memoryview, memoryview]:
    """A 16-bit length, that many bytes, and the rest."""
    if len(data) < 2:
        raise PduMalformed(f"{what}: expected a length of 2 bytes, got {len(data)}")
    size = _U16.unpack_from(data)[0]
    if size > len(data) - 2:
        raise PduMalformed(f"{what}: expected {size} bytes, got {len(data) - 2}")
    return data[2 : 2 + size], data[2 + size :]


def _nothing_left(rest: memoryview, what: str) -> None:
    if len(rest):
        raise PduMalformed(f"{what}: expected its end, got {len(rest)} more bytes")


def _decode_role(data: memoryview) -> RoleSelection:
    uid, flags = _counted(data, "role selection")
    if len(flags) != 2 or flags[0] > 1 or flags[1] > 1:
        raise PduMalformed("role selection: expected two role bytes of 0 or 1")
    return RoleSelection(decode_uid(uid, "SOP class"), flags[0] == 1, flags[1] == 1)


def _decode_common(data: memoryview) -> CommonExtendedNegotiation:
    sop_class, rest = _counted(data, "common extended negotiation")
    service_class, rest = _counted(rest, "common extended negotiation")
    listed, _ = _counted(
        rest, "common extended negotiation"
    )  # bytes beyond the list: reserved for later versions
    related = []
    while len(listed):
        uid, listed = _counted(listed, "related SOP class")
        related.append(decode_uid(uid, "related SOP class"))
    return CommonExtendedNegotiation(
        decode_uid(sop_class, "SOP class"), decode_uid(service_class, "service class"), tuple(related)
    )


def _decode_identity(data: memoryview) -> UserIdentity:
    if len(data) < 2 or data[1] > 1:
        raise PduMalformed("user identity: expected a type and a response flag of 0 or 1")
    primary, rest = _counted(data[2:], "user identity, primary field")
    secondary, rest = _counted(rest, "user identity, secondary field")
    _nothing_left(rest, "user identity")
    return UserIdentity(data[0], data[1] == 1, bytes(primary), bytes(secondary))


def _decode_identity_response(data: memoryview) -> bytes:
    response, rest = _counted(data, "user identity response")
    _nothing_left(rest, "user identity response")
    return bytes(response)


def _printable(data: bytes) -> str:
    """Printable ASCII of a foreign text; it goes into logs, so nothing else survives."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in data.rstrip(b"\0 "))


# --- encoding -------------------------------------------------------------------------------------------


def encode_item(kind: int, content: bytes) -> bytes:
    """Type, reserved byte, length, content. Raises ProtocolMisuse beyond 65535 bytes."""
    if len(content) > 0xFFFF:
        raise ProtocolMisuse(f"item {kind:#04x}: expected at most 65535 bytes, got {len(content)}")
    return _HEAD.pack(kind, len(content)) + content


def encode_proposed(context: ProposedContext) -> bytes:
    """Item 20H."""
    parts = [
        bytes((context.context_id, 0, 0, 0)),
        encode_item(ITEM_ABSTRACT_SYNTAX, context.abstract_syntax.encode()),
    ]
    parts += [encode_item(ITEM_TRANSFER_SYNTAX, uid.encode()) for uid in context.transfer_syntaxes]
    return encode_item(ITEM_CONTEXT_RQ, b"".join(parts))


def encode_result(context: ContextResult) -> bytes:
    """Item 21H. A refused context carries the default transfer syntax: not significant, but there are peers
    that cannot read its absence."""
    head = bytes((context.context_id, 0, context.result, 0))
    syntax = context.transfer_syntax or IMPLICIT_VR_LITTLE_ENDIAN
    return encode_item(ITEM_CONTEXT_AC, head + encode_item(ITEM_TRANSFER_SYNTAX, syntax.encode()))


def _lengthed(content: bytes) -> bytes:
    return _U16.pack(len(content)) + content


def encode_user_information(user: UserInformation) -> bytes:
    """Item 50H, sub-items in ascending order of type where given."""
    parts = [encode_item(_MAX_LENGTH, user.max_pdu_bytes.to_bytes(4))]
    if user.implementation_class_uid:
        parts.append(encode_item(_CLASS_UID, user.implementation_class_uid.encode()))
    if user.async_window is not None:
        parts.append(encode_item(_ASYNC_WINDOW, struct.pack(">HH", *user.async_window)))
    for role in user.roles:
        flags = bytes((role.scu, role.scp))
        parts.append(encode_item(_ROLE, _lengthed(role.sop_class.encode()) + flags))
    if user.implementation_version_name:
        parts.append(encode_item(_VERSION_NAME, user.implementation_version_name.encode("ascii")))
    for extended in user.extended:
        parts.append(encode_item(_EXTENDED, _lengthed(extended.sop_class.encode()) + extended.information))
    for common in user.common_extended:
        related = b"".join(_lengthed(uid.encode()) for uid in common.related)
        heads = _lengthed(common.sop_class.encode()) + _lengthed(common.service_class.encode())
        parts.append(encode_item(_COMMON_EXTENDED, heads + _lengthed(related)))
    if user.identity is not None:
        identity = user.identity
        head = bytes((identity.kind, identity.response_requested))
        parts.append(
            encode_item(_IDENTITY_RQ, head + _lengthed(identity.primary) + _lengthed(identity.secondary))
        )
    if user.identity_response is not None:
        parts.append(encode_item(_IDENTITY_AC, _lengthed(user.identity_response)))
    return encode_item(ITEM_USER_INFORMATION, b"".join(parts))
