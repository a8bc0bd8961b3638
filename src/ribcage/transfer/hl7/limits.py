"""Limits of one HL7 connection and of one message; units in the names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hl7Limits:
    """How much is read, and how long is waited."""

    message_bytes: int = 256 * 1024
    segments: int = 512
    fields: int = 256  # of a segment
    repetitions: int = 64  # of a field
    components: int = 64  # of a repetition, subcomponents of a component
    value_characters: int = 4096
    waiting_messages: int = 8  # read ahead of the one in hand
    idle_seconds: float = 3600.0  # engines keep their connections
    block_seconds: float = 30.0  # from the first byte of a message to its last
