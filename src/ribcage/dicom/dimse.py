"""DIMSE command sets (PS3.7 6.3, 9.3, 10.3, Annex E): bytes in, typed message out, and back.

Rules, in order:
1. A command set is Implicit VR Little Endian, group 0000 only, each element once, within `max_bytes`
   (PS3.7 6.3.1).
2. C-ECHO, C-STORE, C-FIND, C-GET, C-MOVE and C-CANCEL are typed; what a type needs and the bytes lack is
   `CommandMalformed`. N-services are `OtherCommand`: the command field and the elements as they came.
3. Command Data Set Type 0101H means that no data set follows, every other value that one does (PS3.7 E.1).
4. The group length is written and, like unknown elements of group 0000, not trusted when read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final

from ribcage.dicom.errors import CommandMalformed, ProtocolMisuse
from ribcage.dicom.statuses import Status

NO_DATA_SET: Final = 0x0101
_DATA_SET_FOLLOWS: Final = 0x0001
_MAX_COMMENT_CHARACTERS: Final = 64  # VR LO

C_STORE_RQ: Final = 0x0001
C_GET_RQ: Final = 0x0010
C_FIND_RQ: Final = 0x0020
C_MOVE_RQ: Final = 0x0021
C_ECHO_RQ: Final = 0x0030
N_EVENT_REPORT_RQ: Final = 0x0100
N_GET_RQ: Final = 0x0110
N_SET_RQ: Final = 0x0120
N_ACTION_RQ: Final = 0x0130
N_CREATE_RQ: Final = 0x0140
N_DELETE_RQ: Final = 0x0150
C_CANCEL_RQ: Final = 0x0FFF
RESPONSE: Final = 0x8000  # added to a request's command field
COMMAND_FIELDS: Final = frozenset(
    {C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ, N_EVENT_REPORT_RQ, N_GET_RQ, N_SET_RQ}
    | {N_ACTION_RQ, N_CREATE_RQ, N_DELETE_RQ}
)

Value = int | str | tuple[int, ...]

GROUP_LENGTH: Final = 0x00000000
AFFECTED_SOP_CLASS: Final = 0x00000002
REQUESTED_SOP_CLASS: Final = 0x00000003
COMMAND_FIELD: Final = 0x00000100
MESSAGE_ID: Final = 0x00000110
MESSAGE_ID_RESPONDED: Final = 0x00000120
MOVE_DESTINATION: Final = 0x00000600
PRIORITY: Final = 0x00000700
DATA_SET_TYPE: Final = 0x00000800
STATUS: Final = 0x00000900
OFFENDING_ELEMENT: Final = 0x00000901
ERROR_COMMENT: Final = 0x00000902
ERROR_ID: Final = 0x00000903
AFFECTED_SOP_INSTANCE: Final = 0x00001000
REQUESTED_SOP_INSTANCE: Final = 0x00001001
EVENT_TYPE_ID: Final = 0x00001002
ATTRIBUTE_LIST: Final = 0x00001005
ACTION_TYPE_ID: Final = 0x00001008
REMAINING: Final = 0x00001020
COMPLETED: Final = 0x00001021
FAILED: Final = 0x00001022
WARNING: Final = 0x00001023
MOVE_ORIGINATOR: Final = 0x00001030
MOVE_ORIGINATOR_MESSAGE_ID: Final = 0x00001031

_VR: Final[Mapping[int, str]] = {  # PS3.7 Table E.1-1
    GROUP_LENGTH: "UL",
    AFFECTED_SOP_CLASS: "UI",
    REQUESTED_SOP_CLASS: "UI",
    COMMAND_FIELD: "US",
    MESSAGE_ID: "US",
    MESSAGE_ID_RESPONDED: "US",
    MOVE_DESTINATION: "AE",
    PRIORITY: "US",
    DATA_SET_TYPE: "US",
    STATUS: "US",
    OFFENDING_ELEMENT: "AT",
    ERROR_COMMENT: "LO",
    ERROR_ID: "US",
    AFFECTED_SOP_INSTANCE: "UI",
    REQUESTED_SOP_INSTANCE: "UI",
    EVENT_TYPE_ID: "US",
    ATTRIBUTE_LIST: "AT",
    ACTION_TYPE_ID: "US",
    REMAINING: "US",
    COMPLETED: "US",
    FAILED: "US",
    WARNING: "US",
    MOVE_ORIGINATOR: "AE",
    MOVE_ORIGINATOR_MESSAGE_ID: "US",
}


# --- messages -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CEchoRq:
    """C-ECHO-RQ (PS3.7 9.3.5.1)."""

    message_id: int
    sop_class: str
    has_data_set: bool = False


@dataclass(frozen=True, slots=True)
class CEchoRsp:
    """C-ECHO-RSP (PS3.7 9.3.5.2)."""

    responds_to: int
    status: int
    sop_class: str = ""
    has_data_set: bool = False


@dataclass(frozen=True, slots=True)
class CStoreRq:
    """C-STORE-RQ (PS3.7 9.3.1.1). `priority` 0 medium, 1 high, 2 low."""

    message_id: int
    sop_class: str
    sop_instance: str
    priority: int = 0
    move_originator: str = ""
    move_originator_message_id: int | None = None
    has_data_set: bool = True


@dataclass(frozen=True, slots=True)
class CStoreRsp:
    """C-STORE-RSP (PS3.7 9.3.1.2)."""

    responds_to: int
    status: int
    sop_class: str = ""
    sop_instance: str = ""
    error_comment: str = ""
    offending_elements: tuple[int, ...] = ()
    has_data_set: bool = False


@dataclass(frozen=True, slots=True)
class CFindRq:
    """C-FIND-RQ (PS3.7 9.3.2.1); the identifier is its data set."""

    message_id: int
    sop_class: str
    priority: int = 0
    has_data_set: bool = True


@dataclass(frozen=True, slots=True)
class CFindRsp:
    """C-FIND-RSP (PS3.7 9.3.2.2); a pending one carries an identifier."""

    responds_to: int
    status: int
    sop_class: str = ""
    error_comment: str = ""
    offending_elements: tuple[int, ...] = ()
    has_data_set: bool = False


@dataclass(frozen=True, slots=True)
class CGetRq:
    """C-GET-RQ (PS3.7 9.3.3.1)."""

    message_id: int
    sop_class: str
    priority: int = 0
    has_data_set: bool = True


@dataclass(frozen=True, slots=True)
class CMoveRq:
    """C-MOVE-RQ (PS3.7 9.3.4.1)."""

    message_id: int
    sop_class: str
    move_destination: str
    priority: int = 0
    has_data_set: bool = True


@dataclass(frozen=True, slots=True)
class CGetRsp:
    """C-GET-RSP (PS3.7 9.3.3.2); counts of sub-operations, None where absent."""

    responds_to: int
    status: int
    sop_class: str = ""
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    error_comment: str = ""
    offending_elements: tuple[int, ...] = ()
    has_data_set: bool = False


@dataclass(frozen=True, slots=True)
class CMoveRsp:
    """C-MOVE-RSP (PS3.7 9.3.4.2); counts of sub-operations, None where absent."""

    responds_to: int
    status: int
    sop_class: str = ""
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    error_comment: str = ""
    offending_elements: tuple[int, ...] = ()
    has_data_set: bool = False


@dataclass(frozen=True, slots=True)
class CCancelRq:
    """C-CANCEL-RQ (PS3.7 9.3.2.3): names the request it ends; it has no message id and no response."""

    responds_to: int
    has_data_set: bool = False


@dataclass(frozen=True, slots=True)
class OtherCommand:
    """Any other command: N-services, or a command field this room does not know."""

    command_field: int
    elements: Mapping[int, Value]  # without group length, command field and data set type
    has_data_set: bool


Command = (
    CEchoRq
    | CEchoRsp
    | CStoreRq
    | CStoreRsp
    | CFindRq
    | CFindRsp
    | CGetRq
    | CGetRsp
    | CMoveRq
    | CMoveRsp
    | CCancelRq
    | OtherCommand
)

_TYPES: Final[Mapping[int, Callable[..., Command]]] = {
    C_ECHO_RQ: CEchoRq,
    C_ECHO_RQ | RESPONSE: CEchoRsp,
    C_STORE_RQ: CStoreRq,
    C_STORE_RQ | RESPONSE: CStoreRsp,
    C_FIND_RQ: CFindRq,
    C_FIND_RQ | RESPONSE: CFindRsp,
    C_GET_RQ: CGetRq,
    C_GET_RQ | RESPONSE: CGetRsp,
    C_MOVE_RQ: CMoveRq,
    C_MOVE_RQ | RESPONSE: CMoveRsp,
    C_CANCEL_RQ: CCancelRq,
}
_NUMBERS: Final[Mapping[Any, int]] = {cls: number for number, cls in _TYPES.items()}
_TAGS: Final[Mapping[str, int]] = {
    "message_id": MESSAGE_ID,
    "responds_to": MESSAGE_ID_RESPONDED,
    "sop_class": AFFECTED_SOP_CLASS,
    "sop_instance": AFFECTED_SOP_INSTANCE,
    "priority": PRIORITY,
    "status": STATUS,
    "error_comment": ERROR_COMMENT,
    "offending_elements": OFFENDING_ELEMENT,
    "move_destination": MOVE_DESTINATION,
    "move_originator": MOVE_ORIGINATOR,
    "move_originator_message_id": MOVE_ORIGINATOR_MESSAGE_ID,
    "remaining": REMAINING,
    "completed": COMPLETED,
    "failed": FAILED,
    "warning": WARNING,
}
# What each type needs and may have, read once from the dataclasses above: (attribute, tag, required).
_SHAPES: Final[Mapping[int, tuple[tuple[str, int, bool], ...]]] = {
    number: tuple(
        (item.name, _TAGS[item.name], item.default is MISSING)
        for item in fields(cls)  # type: ignore[arg-type]  # the values of _TYPES are the dataclasses
        if item.name in _TAGS
    )
    for number, cls in _TYPES.items()
}
_WITHOUT_DATA_SET: Final = frozenset({C_ECHO_RQ, C_ECHO_RQ | RESPONSE, C_STORE_RQ | RESPONSE, C_CANCEL_RQ})
_WITH_DATA_SET: Final = frozenset({C_STORE_RQ, C_FIND_RQ, C_GET_RQ, C_MOVE_RQ})


def decode(data: bytes | bytearray | memoryview, max_bytes: int = 65_536) -> Command:
    """The message of one command set. Raises CommandMalformed."""
    elements = decode_elements(data, max_bytes)
    number, data_set_type = elements.get(COMMAND_FIELD), elements.get(DATA_SET_TYPE)
    if not isinstance(number, int) or not isinstance(data_set_type, int):
        raise CommandMalformed("expected Command Field and Command Data Set Type, got a command set without")
    has_data_set = data_set_type != NO_DATA_SET
    cls = _TYPES.get(number)
    if cls is None:
        own = {COMMAND_FIELD, DATA_SET_TYPE, GROUP_LENGTH}
        rest = {tag: value for tag, value in elements.items() if tag not in own}
        return OtherCommand(number, rest, has_data_set)
    if (has_data_set and number in _WITHOUT_DATA_SET) or (not has_data_set and number in _WITH_DATA_SET):
        raise CommandMalformed(f"command {number:04x}H: expected the other Command Data Set Type")
    values: dict[str, Value] = {}
    for name, tag, required in _SHAPES[number]:
        value = elements.get(tag)
        if value is not None:
            values[name] = value
        elif required:
            raise CommandMalformed(f"command {number:04x}H: expected element {tag:08x}, got none")
    return cls(**values, has_data_set=has_data_set)


def encode(command: Command) -> bytes:
    """The command set of a message, group length first. Raises ProtocolMisuse when a value does not fit."""
    if isinstance(command, OtherCommand):
        number, elements = command.command_field, dict(command.elements)
    else:
        number = _NUMBERS[type(command)]
        elements = {}
        for name, tag, required in _SHAPES[number]:
            value = getattr(command, name)
            if required or value not in (None, "", ()):
                elements[tag] = value
    elements[COMMAND_FIELD] = number
    elements[DATA_SET_TYPE] = _DATA_SET_FOLLOWS if command.has_data_set else NO_DATA_SET
    return encode_elements(elements)


def respond(request: CEchoRq | CStoreRq, status: int, error_comment: str = "") -> CEchoRsp | CStoreRsp:
    """The response to a request. `error_comment` is cut to 64 characters; it must not hold patient data."""
    if isinstance(request, CEchoRq):
        return CEchoRsp(request.message_id, status, request.sop_class)
    comment = error_comment[:_MAX_COMMENT_CHARACTERS]
    return CStoreRsp(request.message_id, status, request.sop_class, request.sop_instance, comment)


def refuse(command: Command, status: int = Status.UNRECOGNIZED_OPERATION) -> OtherCommand | None:
    """The response that refuses a request of any kind, or None where none is due (responses, C-CANCEL)."""
    if isinstance(command, OtherCommand):
        number, elements = command.command_field, command.elements
    else:
        number = _NUMBERS[type(command)]
        elements = decode_elements(encode(command))
    message_id = elements.get(MESSAGE_ID)
    if number & RESPONSE or number == C_CANCEL_RQ or not isinstance(message_id, int):
        return None
    answer: dict[int, Value] = {MESSAGE_ID_RESPONDED: message_id, STATUS: status}
    sop_class = elements.get(AFFECTED_SOP_CLASS, elements.get(REQUESTED_SOP_CLASS))
    if sop_class is not None:
        answer[AFFECTED_SOP_CLASS] = sop_class
    return OtherCommand(number | RESPONSE, answer, False)


# --- elements -------------------------------------------------------------------------------------------

_HEAD: Final = struct.Struct("<HHI")
_UID: Final = re.compile(r"[0-9.]{1,64}\Z")


def decode_elements(data: bytes | bytearray | memoryview, max_bytes: int = 65_536) -> dict[int, Value]:
    """Elements of group 0000 by tag. Empty and unknown ones are left out. Raises CommandMalformed."""
    view = memoryview(data)
    end = len(view)
    if end > max_bytes:
        raise CommandMalformed(f"command set: expected at most {max_bytes} bytes, got {end}")
    elements: dict[int, Value] = {}
    seen: set[int] = set()
    offset = 0
    while offset < end:
        if end - offset < 8:
            raise CommandMalformed(f"command set: expected an element of 8 bytes or more, got {end - offset}")
        group, element, size = _HEAD.unpack_from(view, offset)
        offset += 8
        if group or element in seen:
            raise CommandMalformed(
                f"expected group 0000 and each element once, got ({group:04x},{element:04x})"
            )
        if size > end - offset:
            raise CommandMalformed(f"element 0000{element:04x}: expected {size} bytes, got {end - offset}")
        seen.add(element)
        if size and element in _VR:
            elements[element] = _decode_value(element, bytes(view[offset : offset + size]))
        offset += size
    return elements


def _decode_value(tag: int, data: bytes) -> Value:
    vr = _VR[tag]
    size = len(data)
    if vr in ("US", "UL"):
        if size != (2 if vr == "US" else 4):
            raise CommandMalformed(f"element {tag:08x}: expected one value of VR {vr}, got {size} bytes")
        return int.from_bytes(data, "little")
    if vr == "AT":
        if size % 4:
            raise CommandMalformed(f"element {tag:08x}: expected tags of 4 bytes, got {size} bytes")
        words = struct.unpack(f"<{size // 2}H", data)
        return tuple(group << 16 | element for group, element in zip(words[::2], words[1::2], strict=True))
    text = data.decode("latin-1")
    if vr == "UI":
        text = text.rstrip("\0 ")
        if not _UID.match(text):
            raise CommandMalformed(f"element {tag:08x}: expected a UID of 1 to 64 digits and dots")
        return text
    if vr == "LO":  # a foreign comment goes into logs: printable and short, whatever came
        return "".join(c if c.isprintable() else "?" for c in text[:_MAX_COMMENT_CHARACTERS]).strip(" ")
    text = text.strip("\0 ")
    if len(text) > 16 or "\\" in text or not (text.isascii() and text.isprintable()):
        raise CommandMalformed(f"element {tag:08x}: expected an AE title of at most 16 characters")
    return text


def encode_elements(elements: Mapping[int, Value]) -> bytes:
    """Implicit VR Little Endian, ascending, group length first. Raises ProtocolMisuse."""
    parts = []
    for tag in sorted(elements):
        if tag == GROUP_LENGTH:
            continue
        value = _encode_value(tag, elements[tag])
        parts.append(_HEAD.pack(0, tag, len(value)) + value)
    body = b"".join(parts)
    return _HEAD.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body


def _encode_value(tag: int, value: Value) -> bytes:
    vr = _VR.get(tag)
    if vr == "US" and isinstance(value, int) and 0 <= value <= 0xFFFF:
        return value.to_bytes(2, "little")
    if vr == "AT" and isinstance(value, tuple):
        return b"".join(struct.pack("<HH", item >> 16, item & 0xFFFF) for item in value)
    if vr in ("UI", "AE", "LO") and isinstance(value, str):
        data = value.encode("latin-1", "replace")
        return data + (b"\0" if vr == "UI" else b" ") * (len(data) % 2)
    raise ProtocolMisuse(f"element {tag:08x}: expected a value of VR {vr}, got another")
