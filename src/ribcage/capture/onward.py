"""The way in of a shield: inspected as everything is, then passed on to the old PACS, and kept by nobody else.

Rules, in order (DESIGN rules 2, 6 and 8):
1. Inspected within limits first: nothing that was not goes on, and nothing is changed on the way.
2. The guard says whether this sender may store, and whose study it is.
3. It is acknowledged when the old PACS has acknowledged it and the entry that says so is durable, in this order.
4. Where the entry could not be written the sender is told "not stored" and sends again: to the old PACS the same
   instance under the same UID.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ribcage.capture.disarm import Arrival, Inspected, inspect
from ribcage.capture.errors import (
    AdmissionError,
    IdentityMismatch,
    NotStored,
    NotUnderstood,
    OutOfResources,
    Unsupported,
    admission_error,
)
from ribcage.dicom.scan import ScanLimits
from ribcage.dicom.statuses import Status, category
from ribcage.guard.errors import GuardError
from ribcage.guard.protocol import AdmitElsewhere, Channel, Noted, Principal, StoredElsewhere
from ribcage.storage.ports import Guard, Octets

_INLINE_BYTES = 64 * 1024  # up to here inspecting costs less than a thread's turn
_BY_RANGE: tuple[tuple[range, type[AdmissionError]], ...] = (
    (range(0xA700, 0xA800), OutOfResources),
    (range(0xA900, 0xAA00), IdentityMismatch),
    (range(0xC000, 0xD000), NotUnderstood),
    (range(Status.SOP_CLASS_NOT_SUPPORTED, Status.SOP_CLASS_NOT_SUPPORTED + 1), Unsupported),
)


class Onward(Protocol):
    """The old PACS as the way in sees it."""

    async def store(self, sop_class: str, uid: str, syntax: str, data: Octets) -> int:
        """C-STORE of this data set; the status of PS3.7 C. Raises NotStored where there is none."""


async def pass_on(
    guard: Guard, onward: Onward, limits: ScanLimits, principal: Principal, channel: Channel, arrival: Arrival
) -> Inspected:
    """One instance, in the old PACS and in the log when it returns. Raises AdmissionError."""
    data = memoryview(arrival.data)
    if data.nbytes > _INLINE_BYTES:
        inspected = await asyncio.to_thread(inspect, arrival, limits)
    else:
        inspected = inspect(arrival, limits)
    said = inspected.attributes
    names = said.sop_class_uid, said.sop_instance_uid
    octets = data.nbytes - arrival.prefix_bytes
    try:
        await guard.call(AdmitElsewhere(principal, channel, said), Noted)
        status = await onward.store(*names, arrival.transfer_syntax_uid, data[arrival.prefix_bytes :])
        if category(status) not in ("success", "warning"):
            raise _refusal(status)(f"the PACS refused it with status {status:04X}", *names)
        entry = StoredElsewhere(principal, channel, said, inspected.data_set_sha256, octets)
        await guard.call(entry, Noted)
    except GuardError as failure:
        raise admission_error(failure, *names) from failure
    return inspected


def _refusal(status: int) -> type[AdmissionError]:
    return next((kind for found, kind in _BY_RANGE if status in found), NotStored)
