"""The way in of a shield: inspected as everything is, then passed on to the old PACS, and kept by nobody else.

Rules, in order (DESIGN rules 2, 6 and 8):
1. Inspected within limits first: nothing that was not goes on, and nothing is changed on the way.
2. The guard says whether this sender may store, and whose study it is; before it has, the old PACS gets no end of it.
3. Its entry, with the hash, is written while the old PACS takes it. It is acknowledged when the old PACS has
   acknowledged it and the entry is durable; how many it took is in the entry that ends the association.
4. Where either failed the sender is told "not stored" and sends again: to the old PACS the same instance under the
   same UID.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from typing import Any, Protocol

from ribcage.capture.disarm import Arrival, look
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
from ribcage.guard.protocol import AdmitElsewhere, Attributes, Channel, Noted, PassedElsewhere, Principal
from ribcage.storage.ports import Guard, Octets

_INLINE_BYTES = 1 << 20  # up to here inspecting costs less than a thread's turn on a busy machine
_BY_RANGE: tuple[tuple[range, type[AdmissionError]], ...] = (
    (range(0xA700, 0xA800), OutOfResources),
    (range(0xA900, 0xAA00), IdentityMismatch),
    (range(0xC000, 0xD000), NotUnderstood),
    (range(Status.SOP_CLASS_NOT_SUPPORTED, Status.SOP_CLASS_NOT_SUPPORTED + 1), Unsupported),
)


class Onward(Protocol):
    """The old PACS as the way in sees it."""

    async def store(
        self, sop_class: str, uid: str, syntax: str, data: Octets, allowed: Awaitable[object]
    ) -> int:
        """C-STORE of this data set; the status of PS3.7 C. Raises NotStored where there is none.

        The end of the data set is held back until `allowed` is done; what that raises passes on.
        """


async def pass_on(
    guard: Guard, onward: Onward, limits: ScanLimits, principal: Principal, channel: Channel, arrival: Arrival
) -> Attributes:
    """One instance, in the old PACS and in the log when it returns. Raises AdmissionError."""
    if memoryview(arrival.data).nbytes > _INLINE_BYTES:
        said = (await asyncio.to_thread(look, arrival, limits))[1]
    else:
        said = look(arrival, limits)[1]
    names = said.sop_class_uid, said.sop_instance_uid
    data_set = memoryview(arrival.data)[arrival.prefix_bytes :]
    allowed = asyncio.ensure_future(guard.call(AdmitElsewhere(principal, channel, said), Noted))
    entered = asyncio.ensure_future(_enter(guard, principal, channel, said, data_set))
    try:
        status = await onward.store(*names, arrival.transfer_syntax_uid, data_set, allowed)
        await entered
    except GuardError as failure:
        raise admission_error(failure, *names) from failure
    finally:
        await asyncio.wait([allowed, entered])
        _seen(allowed, entered)
    if category(status) not in ("success", "warning"):
        raise _refusal(status)(f"the PACS refused it with status {status:04X}", *names)
    return said


async def _enter(
    guard: Guard, principal: Principal, channel: Channel, said: Attributes, data_set: memoryview
) -> None:
    """Hash it, and have the entry made durable. Raises GuardError."""
    hashed = (
        await asyncio.to_thread(hashlib.sha256, data_set)
        if data_set.nbytes > _INLINE_BYTES
        else hashlib.sha256(data_set)
    )
    await guard.call(PassedElsewhere(principal, channel, said, hashed.digest(), data_set.nbytes), Noted)


def _seen(*tasks: asyncio.Future[Any]) -> None:
    """One failure is told, whichever came first."""
    for task in tasks:
        if not task.cancelled():
            task.exception()


def _refusal(status: int) -> type[AdmissionError]:
    return next((kind for found, kind in _BY_RANGE if status in found), NotStored)
