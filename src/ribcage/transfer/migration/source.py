"""What a migration asks of an old PACS, whatever it speaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ribcage.transfer.migration.journal import Listed

UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class Arrived:
    """One instance as it came: its data set without file meta information, in the syntax it came in."""

    sop_class: str
    uid: str
    transfer_syntax: str
    data: bytes | bytearray | memoryview


Take = Callable[[Arrived], int]  # stores it; the DIMSE status for the old PACS. Raises MigrationError.


class Source(Protocol):
    """One worker's connection to the old PACS. Every method raises PeerLost, PeerRefused."""

    def studies(self) -> Iterator[tuple[str, int]]:
        """Study Instance UIDs and numbers of instances (0: not told); ("", 0) for an answer that names none."""

    def instances(self, study_uid: str) -> list[Listed]:
        """What the study consists of."""

    def fetch(self, study_uid: str, wanted: Sequence[Listed], whole: bool, take: Take) -> None:
        """Have these instances sent, one after the other; `whole`: they are all of the study."""

    def close(self) -> None:
        """End the connections."""
