"""The way in: the one door for every instance, whatever the protocol.

Rules, in order (DESIGN rules 1, 2, 6):
1. Inspect within limits; refuse before anything is written.
2. Ask the guard for a sealing key (`Admit`). Held already: acknowledge, write nothing.
3. Seal and write; file and directory entry are on disk before the next step.
4. `Commit`: index row and audit entry are durable when the guard answers. Only then does the caller acknowledge.
5. When the guard refuses the commit, or kept a twin of this instance, the file is removed. When it does not
   answer, nobody knows whether it committed: the file stays, the peer is told "not stored" and sends again; an
   unused file is found as a stray.
6. What a person saves about a study passes `capture.saving` first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ribcage.capture import saving
from ribcage.capture.disarm import Arrival, Expected, Inspected, arrival_of_file, inspect
from ribcage.capture.errors import NotStored, admission_error
from ribcage.dicom.scan import DEFAULT_LIMITS, ScanLimits
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import (
    Admit,
    Admitted,
    AlreadyHeld,
    Channel,
    Commit,
    Committed,
    Principal,
    Session,
)
from ribcage.storage import ingest
from ribcage.storage.errors import StorageError
from ribcage.storage.objects import ObjectStore
from ribcage.storage.ports import Guard, Octets

_INLINE_BYTES = 64 * 1024  # up to here inspecting costs less than a thread's turn


@dataclass(frozen=True, slots=True)
class WayIn:
    """What the door needs: the guard, the objects folder and the limits. One per front."""

    guard: Guard
    objects: ObjectStore
    limits: ScanLimits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class Admission:
    """A durable instance: what it is, and whether it was new (`Committed`) or held before (`AlreadyHeld`).

    `coerced`: patient and study were written into it before.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    outcome: Committed | AlreadyHeld
    coerced: bool = False


async def admit_instance(
    way: WayIn,
    principal: Principal,
    channel: Channel,
    called_ae_title: str,
    data: Octets,
    transfer_syntax_uid: str,
    expected: Expected,
) -> Admission:
    """Admit one data set without file meta, as C-STORE carries it. Durable when it returns.

    `data` must not change until then. Raises AdmissionError.
    """
    saved = saving.Saved(Arrival(data, transfer_syntax_uid, 0, expected))
    return await _admit(way, principal, channel, called_ae_title, saved)


async def admit_file(
    way: WayIn, principal: Principal, channel: Channel, file: Octets, expected: Expected | None = None
) -> Admission:
    """Admit one whole DICOM file (PS3.10), as STOW-RS and import carry it; it comes back bit for bit, but for an
    object that a person made in the masked view (`capture.saving`).

    `file` must not change until this returns. Raises AdmissionError.
    """
    saved = saving.Saved(arrival_of_file(file, expected or Expected()))
    if isinstance(principal, Session):
        saved = await saving.prepare(way.guard, principal, channel, saved.arrival, way.limits)
    return await _admit(way, principal, channel, "", saved)


async def _admit(
    way: WayIn, principal: Principal, channel: Channel, called_ae_title: str, saved: saving.Saved
) -> Admission:
    arrival = saved.arrival
    if memoryview(arrival.data).nbytes <= _INLINE_BYTES:
        inspected = inspect(arrival, way.limits)
    else:
        inspected = await asyncio.to_thread(inspect, arrival, way.limits)
    attributes = inspected.attributes
    request = Admit(
        principal,
        channel,
        called_ae_title,
        attributes,
        arrival.transfer_syntax_uid,
        inspected.data_set_sha256,
        memoryview(arrival.data).nbytes - arrival.prefix_bytes,
        saved.receipt,
    )
    try:
        answer = await way.guard.ask(request)
        if isinstance(answer, Admitted):
            outcome: Committed | AlreadyHeld = await _keep(way, answer, arrival, inspected)
        elif isinstance(answer, AlreadyHeld):
            outcome = answer
        else:
            raise NotStored("the guard answered something else than was asked")
    except (GuardError, StorageError, MemoryError) as failure:
        raise admission_error(failure, attributes.sop_class_uid, attributes.sop_instance_uid) from failure
    return Admission(
        attributes.sop_class_uid,
        attributes.sop_instance_uid,
        attributes.study_instance_uid,
        attributes.series_instance_uid,
        outcome,
        saved.coerced,
    )


async def _keep(way: WayIn, admitted: Admitted, arrival: Arrival, inspected: Inspected) -> Committed:
    """Steps 3 to 5: write, then commit."""
    view = memoryview(arrival.data)
    header, bulk = view[: inspected.header_end], view[inspected.header_end :]
    stored = await asyncio.to_thread(ingest.store, way.objects, admitted, [header], [bulk])
    commit = Commit(
        admission=admitted.admission,
        location=stored.location,
        file_bytes=stored.file_bytes,
        header_plain_bytes=stored.header_plain_bytes,
        bulk_plain_bytes=stored.bulk_plain_bytes,
        prefix_bytes=arrival.prefix_bytes,
        header_sealed_bytes=stored.header_sealed_bytes,
        bulk_sealed_bytes=stored.bulk_sealed_bytes,
        file_sha256=inspected.file_sha256,
    )
    try:
        committed = await way.guard.call(commit, Committed)
    except GuardRefused:
        await asyncio.to_thread(way.objects.remove_uncommitted, stored.location)
        raise
    if not committed.kept:
        await asyncio.to_thread(way.objects.remove_uncommitted, stored.location)
    return committed
