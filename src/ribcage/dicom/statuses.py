"""DIMSE statuses (PS3.7 Annex C, PS3.4 B.2.3, C.4): numbers, categories and meanings."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, Literal

Category = Literal["success", "warning", "failure", "cancel", "pending"]


class Status(IntEnum):
    """The statuses this archive sends or expects. Ranges (A7xx, A9xx, Cxxx) stand with their first number."""

    SUCCESS = 0x0000
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    ATTRIBUTE_LIST_ERROR = 0x0107
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_SOP_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    NO_SUCH_ARGUMENT = 0x0114
    INVALID_ARGUMENT_VALUE = 0x0115
    ATTRIBUTE_VALUE_OUT_OF_RANGE = 0x0116
    INVALID_SOP_INSTANCE = 0x0117
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORIZED = 0x0124
    DUPLICATE_INVOCATION = 0x0210
    UNRECOGNIZED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    CANNOT_COUNT_MATCHES = 0xA701
    CANNOT_PERFORM_SUBOPERATIONS = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    DATA_SET_MISMATCH = 0xA900
    COERCED_OR_SUBOPERATIONS_FAILED = 0xB000
    ELEMENTS_DISCARDED = 0xB006
    DATA_SET_MISMATCH_WARNING = 0xB007
    CANNOT_UNDERSTAND = 0xC000
    REFERENCED_TRANSFER_SYNTAX = 0xC122  # PS3.18 I.2.2
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_KEYS_UNSUPPORTED = 0xFF01


_MEANINGS: Final[Mapping[Status, str]] = {
    Status.SUCCESS: "success",
    Status.NO_SUCH_ATTRIBUTE: "no such attribute",
    Status.INVALID_ATTRIBUTE_VALUE: "invalid attribute value",
    Status.ATTRIBUTE_LIST_ERROR: "attribute list error",
    Status.PROCESSING_FAILURE: "processing failure",
    Status.DUPLICATE_SOP_INSTANCE: "duplicate SOP instance",
    Status.NO_SUCH_SOP_INSTANCE: "no such SOP instance",
    Status.NO_SUCH_EVENT_TYPE: "no such event type",
    Status.NO_SUCH_ARGUMENT: "no such argument",
    Status.INVALID_ARGUMENT_VALUE: "invalid argument value",
    Status.ATTRIBUTE_VALUE_OUT_OF_RANGE: "attribute value out of range",
    Status.INVALID_SOP_INSTANCE: "invalid SOP instance",
    Status.NO_SUCH_SOP_CLASS: "no such SOP class",
    Status.CLASS_INSTANCE_CONFLICT: "class-instance conflict",
    Status.MISSING_ATTRIBUTE: "missing attribute",
    Status.MISSING_ATTRIBUTE_VALUE: "missing attribute value",
    Status.SOP_CLASS_NOT_SUPPORTED: "refused: SOP class not supported",
    Status.NO_SUCH_ACTION: "no such action",
    Status.NOT_AUTHORIZED: "refused: not authorized",
    Status.DUPLICATE_INVOCATION: "duplicate invocation",
    Status.UNRECOGNIZED_OPERATION: "unrecognized operation",
    Status.MISTYPED_ARGUMENT: "mistyped argument",
    Status.RESOURCE_LIMITATION: "resource limitation",
    Status.OUT_OF_RESOURCES: "refused: out of resources",
    Status.CANNOT_COUNT_MATCHES: "refused: unable to calculate number of matches",
    Status.CANNOT_PERFORM_SUBOPERATIONS: "refused: unable to perform sub-operations",
    Status.MOVE_DESTINATION_UNKNOWN: "refused: move destination unknown",
    Status.DATA_SET_MISMATCH: "error: data set does not match SOP class or identifier does not match",
    Status.COERCED_OR_SUBOPERATIONS_FAILED: "warning: data elements coerced, or sub-operations failed",
    Status.ELEMENTS_DISCARDED: "warning: elements discarded",
    Status.DATA_SET_MISMATCH_WARNING: "warning: data set does not match SOP class",
    Status.CANNOT_UNDERSTAND: "error: cannot understand, unable to process",
    Status.REFERENCED_TRANSFER_SYNTAX: "error: referenced transfer syntax not supported",
    Status.CANCEL: "matching or sub-operations ended by C-CANCEL",
    Status.PENDING: "pending",
    Status.PENDING_KEYS_UNSUPPORTED: "pending: some optional keys are not supported",
}
_WARNINGS: Final = frozenset({0x0001, Status.ATTRIBUTE_LIST_ERROR, Status.ATTRIBUTE_VALUE_OUT_OF_RANGE})


def category(status: int) -> Category:
    """The status type of PS3.7 C.1 to C.5. A number that no table has counts as failure."""
    if status == Status.SUCCESS:
        return "success"
    if status in (Status.PENDING, Status.PENDING_KEYS_UNSUPPORTED):
        return "pending"
    if status == Status.CANCEL:
        return "cancel"
    if status in _WARNINGS or 0xB000 <= status <= 0xBFFF:
        return "warning"
    return "failure"


def meaning(status: int) -> str:
    """One line for logs and responses, found by number, then by range."""
    for known in (status, status & 0xFF00, status & 0xF000):
        if known in _MEANINGS and (known == status or known >= 0xA000):
            return _MEANINGS[Status(known)]
    return f"unknown {category(status)}"
