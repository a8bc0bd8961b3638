"""What an edge lets itself be made to spend, and where it listens."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ribcage.transfer.edge.errors import ListenRefused

DEFAULT_PORT = 11112
STATUS_PORT = 8445


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Limits of one edge. Checked once by `validate()`, which the constructor calls."""

    max_spool_bytes: int = 256 * 1024**3
    min_free_bytes: int = 1024**3  # of the disk, below which nothing more is taken
    max_receipts: int = 200_000  # kept for storage commitment and as evidence; the oldest go
    max_connections: int = 32
    max_connections_per_address: int = 16
    max_buffered_bytes: int = 512 * 1024**2  # data sets that cannot be inspected while they arrive
    first_retry_seconds: float = 1.0
    most_retry_seconds: float = 300.0
    answer_seconds: float = 60.0  # for each send and receive of the forwarding connection
    report_seconds: float = 20.0

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Cross-check the numbers. Raises ValueError naming the field."""
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected a positive number; correct the settings")
        if self.first_retry_seconds > self.most_retry_seconds:
            raise ValueError("first_retry_seconds: expected at most most_retry_seconds; correct the settings")


def check_listen(address: str, isolated: str = "") -> None:
    """Loopback is free; another address must be private and named as isolated. Raises ListenRefused."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise ListenRefused("expected a literal IP address to listen on, got a name") from None
    mapped = isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None
    if parsed.is_loopback and not mapped:
        return
    inside = parsed.is_private and not (parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local)
    if mapped or not inside:
        raise ListenRefused(
            f"plain DICOM at {address} could be reached from elsewhere: listen on loopback, or on the one "
            "private address of a cable or VLAN of its own"
        )
    if isolated != address:
        raise ListenRefused(
            f"plain DICOM at {address} is readable by whoever is on that wire: name it once more as "
            f"`--isolated {address}` if nobody else is"
        )
