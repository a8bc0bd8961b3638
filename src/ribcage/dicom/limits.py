"""Limits of the DICOM upper layer and of DIMSE messages: one frozen dataclass, units in the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ribcage.dicom.errors import ProtocolMisuse

_SMALLEST_PDU_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class UpperLayerLimits:
    """What one association may cost. Checked once by `validate()`, which the constructor calls."""

    max_pdu_bytes: int = 262_144  # announced to the peer and enforced (PS3.8 D.1.1)
    max_sent_pdu_bytes: int = 262_144  # what we send when the peer allows more or announces no limit
    min_peer_pdu_bytes: int = _SMALLEST_PDU_BYTES  # a peer that takes less would make us send mostly headers
    max_association_pdu_bytes: int = 1_048_576  # A-ASSOCIATE-RQ and -AC, before they are buffered
    max_contexts: int = 128  # PS3.8 9.3.2.2: odd numbers of one byte
    max_transfer_syntaxes: int = 256  # per presentation context
    max_user_items: int = 1024  # sub-items of User Information
    max_command_bytes: int = 65_536
    max_data_set_bytes: int = 4_294_967_296
    artim_seconds: float = 30.0
    idle_seconds: float = 300.0

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Cross-check the numbers. Raises ProtocolMisuse naming the first field that cannot work."""
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ProtocolMisuse(f"{name}: expected a positive number; correct the settings")
        for name in ("max_pdu_bytes", "max_sent_pdu_bytes", "min_peer_pdu_bytes"):
            value = getattr(self, name)
            if not _SMALLEST_PDU_BYTES <= value <= 0xFFFFFFFF:
                raise ProtocolMisuse(f"{name}: expected {_SMALLEST_PDU_BYTES}..4294967295, got {value}")
        if self.max_contexts > 128:
            raise ProtocolMisuse(f"max_contexts: expected at most 128, got {self.max_contexts}")
