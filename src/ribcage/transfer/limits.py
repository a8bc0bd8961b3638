"""Limits and addresses of supervisor and fronts: frozen dataclasses, units in the names, checked once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.scan import ScanLimits
from ribcage.transfer.errors import SettingsRefused
from ribcage.transfer.hl7.limits import Hl7Limits

Listener = Literal["dicom", "https", "hl7"]


@dataclass(frozen=True, slots=True)
class ListenLimits:
    """How the supervisor accepts and how long it waits for its processes."""

    backlog: int = 256
    ready_seconds: float = 60.0
    drain_seconds: float = 20.0
    restart_first_seconds: float = 0.2
    restart_most_seconds: float = 10.0
    max_restarts_in_a_row: int = 20  # within `settled_seconds` of each other
    settled_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class FrontLimits:
    """What one front carries at most."""

    max_connections: int = 512
    max_connections_per_address: int = 128
    max_handshakes: int = 64
    max_handshakes_per_address: int = 32
    handshake_seconds: float = 10.0
    shutdown_seconds: float = 5.0  # TLS close_notify
    max_buffered_bytes: int = 2 * 1024**3  # received and not yet stored, over all associations
    guard_answer_seconds: float = 30.0
    refusal_report_seconds: float = 60.0
    drain_seconds: float = 15.0
    worker_threads: int = 16
    find_page_records: int = 200  # asked of the guard at once
    find_answers: int = 10_000  # of one C-FIND
    queue_senders: int = 2  # jobs of the sending queue at once
    queue_poll_seconds: float = 1.0
    find_fresh_seconds: float = 1.0  # then the rest of a page is decided anew


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One listener: a literal IP address and a port (0: any free one)."""

    listener: Listener
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class OldPacs:
    """The PACS behind a shield: plain DICOM, on loopback or one address that the settings name as isolated."""

    address: str
    port: int
    ae_title: str
    calling_ae_title: str = "RIBCAGE"
    isolated: bool = False
    answer_seconds: float = 60.0
    idle_seconds: float = 5.0
    max_associations: int = 32  # of one front
    max_leaving_bytes: int = 1024**3  # images on their way out of one front

    def check(self) -> None:
        """Raises SettingsRefused for an address where somebody else could read along (DESIGN rule 3)."""
        try:
            parsed = ipaddress.ip_address(self.address)
        except ValueError:
            raise SettingsRefused("shield: expected a literal IP address of the PACS, got a name") from None
        private = parsed.is_private and not parsed.is_unspecified and not parsed.is_multicast
        if not parsed.is_loopback and not (self.isolated and private):
            raise SettingsRefused(
                f"shield: the PACS at {self.address} would be spoken to in plain; put it on this machine, or on "
                "a private interface of its own and say so with isolated = true"
            )
        if not 0 < self.port <= 65535:
            raise SettingsRefused(f"shield: expected a port of 1-65535, got {self.port}")


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """Everything a front is told; it reads no file of settings."""

    guard_socket: Path
    objects_folder: Path
    called_ae_titles: frozenset[str] = frozenset({"RIBCAGE"})
    limits: FrontLimits = field(default_factory=FrontLimits)
    upper_layer: UpperLayerLimits = field(default_factory=UpperLayerLimits)
    scan: ScanLimits = field(default_factory=ScanLimits)
    pacs: OldPacs | None = None  # this home is a shield before it
    hl7: Hl7Limits = field(default_factory=Hl7Limits)
    own_authorities: frozenset[str] = frozenset()  # of patients' numbers that DICOM has without an issuer


def check_addresses(addresses: tuple[ListenAddress, ...], named_public: frozenset[str]) -> None:
    """Refuse what would listen to the world by accident (DESIGN rule 3).

    Loopback, private and link-local addresses are free; any other, and the unspecified ones (0.0.0.0, ::),
    must be in `named_public`. Raises SettingsRefused.
    """
    for each in addresses:
        try:
            parsed = ipaddress.ip_address(each.address)
        except ValueError:
            raise SettingsRefused("expected a literal IP address to listen on, got a name") from None
        inside = (
            parsed.is_loopback or parsed.is_link_local or (parsed.is_private and not parsed.is_unspecified)
        )
        if not inside and each.address not in named_public:
            raise SettingsRefused(
                f"{each.listener}: {each.address} can be reached from outside; listen on a private address, or "
                "name this one under listen.public on purpose"
            )
        if not 0 <= each.port <= 65535:
            raise SettingsRefused(f"{each.listener}: expected a port of 0-65535, got {each.port}")
