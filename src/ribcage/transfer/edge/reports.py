"""Reports of storage commitment to the modalities behind an edge (PS3.4 J).

Rules, in order:
1. A report that was not confirmed is kept in memory, `_KEPT` for each modality; after a restart it asks again.
2. It goes out on an association that the modality opened.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from ribcage.dicom import dimse
from ribcage.dicom.commitment import Reference
from ribcage.dicom.dimse import OtherCommand
from ribcage.dicom.statuses import Status
from ribcage.transfer.dimse.commitment import event_report
from ribcage.transfer.dimse.exchange import Exchange

_KEPT: Final = 16
_DEVICES: Final = 256


@dataclass(frozen=True, slots=True)
class Report:
    """What a device is to be told about one transaction."""

    transaction: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]


@dataclass
class Outbox:
    """Reports that no device has confirmed yet, by fingerprint and transaction; the oldest give way."""

    waiting: OrderedDict[bytes, OrderedDict[str, Report]] = field(default_factory=OrderedDict)

    def keep(self, fingerprint: bytes, report: Report) -> None:
        """Until it is confirmed."""
        own = self.waiting.setdefault(fingerprint, OrderedDict())
        own[report.transaction] = report
        if len(own) > _KEPT:
            own.popitem(last=False)
        if len(self.waiting) > _DEVICES:
            self.waiting.popitem(last=False)

    def confirmed(self, fingerprint: bytes, transaction: str) -> None:
        """The device has it."""
        own = self.waiting.get(fingerprint, OrderedDict())
        own.pop(transaction, None)
        if not own:
            self.waiting.pop(fingerprint, None)

    def of(self, fingerprint: bytes) -> list[Report]:
        """What waits for this device."""
        return list(self.waiting.get(fingerprint, OrderedDict()).values())


class Reports:
    """Reports to one device over one association. `whose`: the device's name in the outbox."""

    def __init__(self, outbox: Outbox, whose: bytes) -> None:
        self._outbox = outbox
        self._whose = whose
        self._numbers = itertools.count(1)
        self._sent: dict[int, str] = {}

    async def deliver(self, syntax: str, exchange: Exchange) -> None:
        """Send what waits for this device, once (rule 2). Raises AssociationOver."""
        for report in self._outbox.of(self._whose):
            if report.transaction not in self._sent.values():
                await self.send(report, syntax, exchange)

    def answered(self, response: OtherCommand) -> None:
        """An N-EVENT-REPORT-RSP: with success the report is delivered."""
        number = response.elements.get(dimse.MESSAGE_ID_RESPONDED)
        transaction = self._sent.pop(number, "") if isinstance(number, int) else ""
        if transaction and response.elements.get(dimse.STATUS) == Status.SUCCESS:
            self._outbox.confirmed(self._whose, transaction)

    async def send(self, report: Report, syntax: str, exchange: Exchange) -> None:
        """N-EVENT-REPORT (PS3.4 J.3.3). Raises AssociationOver."""
        number = next(self._numbers) & 0xFFFF
        self._sent[number] = report.transaction
        command, data_set = event_report(report.transaction, report.committed, report.failed, number, syntax)
        await exchange.send(command, (data_set,))
