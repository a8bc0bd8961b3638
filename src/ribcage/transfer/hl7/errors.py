"""What can be wrong with a message; the acknowledgment follows from the class.

Hl7Error
├── FramingBroken      bytes that are no MLLP block: the connection ends
└── MessageRefused     a block that is answered with AR or AE and a code of HL7 table 0357
"""

from __future__ import annotations

from typing import Literal

ErrorCode = Literal[100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207]
TEXTS: dict[int, str] = {
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    206: "Application record locked",
    207: "Application internal error",
}


class Hl7Error(Exception):
    """Base of this room's errors."""


class FramingBroken(Hl7Error):
    """Not MLLP, or a block over its limit."""


class MessageRefused(Hl7Error):
    """A message that is not taken. `where` is a place such as 'PID-3', never a value."""

    def __init__(self, code: ErrorCode, where: str = "") -> None:
        super().__init__(f"{code} {TEXTS[code]} {where}".strip())
        self.code: ErrorCode = code
        self.where = where

    @property
    def rejected(self) -> bool:
        """AR: nothing of this kind will ever be taken; else AE (HL7 2.5, 2.9.2.2)."""
        return 200 <= self.code <= 203
