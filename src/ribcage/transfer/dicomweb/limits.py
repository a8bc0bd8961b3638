"""What one HTTPS front may be made to spend: bytes, counts and seconds, units in the names."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024


class WebLimitsInvalid(ValueError):
    """A limit that cannot work; the message names the field."""


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Limits of the HTTP room (DESIGN rule 8). Checked once by `validate()`, which the constructor calls."""

    max_head_bytes: int = 32 * 1024  # request line and header fields
    max_headers: int = 100
    max_pipelined: int = 4  # requests sent before the first is answered
    max_connections: int = 512  # per front
    max_form_bytes: int = 16 * 1024  # log-in, step-up, search form
    max_store_bytes: int = 4096 * _MIB  # one STOW request
    max_instance_bytes: int = 1024 * _MIB  # one part of it
    max_held_bytes: int = 2048 * _MIB  # parts held in memory at once by the front
    max_parts: int = 10_000
    max_metadata_bytes: int = 32 * _MIB  # of one part of metadata that comes apart from its bulk data
    max_metadata_nodes: int = 1_000_000  # values and braces in it
    max_part_head_bytes: int = 8 * 1024
    max_preamble_bytes: int = 4 * 1024
    max_query_bytes: int = 8 * 1024
    max_query_value_chars: int = 2048
    max_results: int = 1000
    default_results: int = 100
    max_metadata_instances: int = 5000
    max_frames: int = 1000  # named in one request
    max_frame_bytes: int = 512 * _MIB  # of a frame that must be held whole
    max_viewings: int = 1024  # live at once in one front
    viewing_idle_seconds: float = 30.0  # without a request; then it is closed
    head_seconds: float = 15.0  # from connection or first byte until the head is complete
    body_idle_seconds: float = 30.0  # between two pieces of a body
    send_stall_seconds: float = 60.0  # a reader that takes nothing
    keep_alive_seconds: int = 15
    max_event_streams: int = 256  # per front
    max_event_streams_per_session: int = 4  # per front; browsers allow six connections
    max_waiting_events: int = 64  # for a page that takes nothing
    event_heartbeat_seconds: float = 15.0

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Cross-check the numbers. Raises WebLimitsInvalid naming the field."""
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise WebLimitsInvalid(f"{name}: expected a positive number; correct the settings")
        if self.max_instance_bytes > self.max_held_bytes:
            raise WebLimitsInvalid(
                "max_instance_bytes: expected at most max_held_bytes; correct the settings"
            )
        if self.default_results > self.max_results:
            raise WebLimitsInvalid("default_results: expected at most max_results; correct the settings")
