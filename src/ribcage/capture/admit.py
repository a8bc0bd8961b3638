"""The way in: the one door for every instance, whatever the protocol.

Rules, in order (DESIGN rules 1, 2, 6):
1. Inspect within limits; refuse before anything is written. A large instance is sealed and written while it arrives
   (`capture.flow`), and its file removed when it is refused.
2. Ask the guard for a sealing key (`Admit`). Held already: acknowledge, write nothing.
3. Seal and write; file and directory entry are on disk before the next step.
4. `Commit`: index row and audit entry are durable when the guard answers. Only then does the caller acknowledge.
5. When the guard refuses the commit, or kept a twin of this instance, the file is removed. When it does not
   answer, nobody knows whether it committed: the file stays, the peer is told "not stored" and sends again; an
   unused file is found as a stray.
6. What a person saves about a study passes `capture.saving` first.
7. An association has keys for the next instance of a study ahead of it (`Committed.ahead`): then one call to the
   guard does steps 2 and 4. What the guard does not take that way is removed and goes the long way.
8. Of a shield nothing is kept here: it goes to the old PACS (`capture.onward`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ribcage.capture import saving
from ribcage.capture.disarm import Arrival, Expected, Inspected, arrival_of_file, inspect
from ribcage.capture.errors import NotStored, admission_error
from ribcage.capture.onward import Onward, pass_on
from ribcage.dicom.scan import DEFAULT_LIMITS, ScanLimits
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import (
    Admit,
    Admitted,
    AlreadyHeld,
    Attributes,
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

_AHEAD_STUDIES = 16
_INLINE_BYTES = 64 * 1024  # up to here inspecting costs less than a thread's turn


@dataclass(frozen=True, slots=True)
class WayIn:
    """What the door needs: the guard, the objects folder and the limits. One per front."""

    guard: Guard
    objects: ObjectStore
    limits: ScanLimits = DEFAULT_LIMITS
    onward: Onward | None = None  # of a shield: the old PACS


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
    ahead: Ahead | None = None,
) -> Admission:
    """Admit one data set without file meta, as C-STORE carries it. Durable when it returns.

    `data` must not change until then. `ahead`: the association's own (rule 7). Raises AdmissionError.
    """
    saved = saving.Saved(Arrival(data, transfer_syntax_uid, 0, expected))
    return await _admit(way, principal, channel, called_ae_title, saved, ahead)


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
    way: WayIn,
    principal: Principal,
    channel: Channel,
    called_ae_title: str,
    saved: saving.Saved,
    ahead: Ahead | None = None,
) -> Admission:
    arrival = saved.arrival
    if way.onward is not None:
        said = await pass_on(way.guard, way.onward, way.limits, principal, channel, arrival)
        return admission_of(said, Committed(-1, parked=False, kept=True), saved.coerced)
    if ahead or memoryview(arrival.data).nbytes > _INLINE_BYTES:
        ready = await asyncio.to_thread(_prepare, way, arrival, ahead)
    else:
        ready = _prepare(way, arrival, None)
    attributes = ready.inspected.attributes
    request = Admit(
        principal,
        channel,
        called_ae_title,
        attributes,
        arrival.transfer_syntax_uid,
        ready.inspected.data_set_sha256,
        memoryview(arrival.data).nbytes - arrival.prefix_bytes,
        saved.receipt,
        ready.inspected.rejection,
    )
    try:
        outcome = await _short_way(way, ready, request, arrival) or await _long_way(
            way, ready, request, arrival
        )
        if ahead is not None and isinstance(outcome, Committed):
            ahead.keep(attributes.study_instance_uid, outcome.ahead)
    except (GuardError, StorageError, MemoryError) as failure:
        raise admission_error(failure, attributes.sop_class_uid, attributes.sop_instance_uid) from failure
    return admission_of(attributes, outcome, saved.coerced)


def admission_of(
    attributes: Attributes, outcome: Committed | AlreadyHeld, coerced: bool = False
) -> Admission:
    """What the door answers."""
    return Admission(
        attributes.sop_class_uid,
        attributes.sop_instance_uid,
        attributes.study_instance_uid,
        attributes.series_instance_uid,
        outcome,
        coerced,
    )


class Ahead:
    """Keys for the next instance of each study of one association, whose instances come one after the other."""

    def __init__(self) -> None:
        self._given: dict[str, Admitted] = {}

    def __bool__(self) -> bool:
        return bool(self._given)

    def take(self, study_instance_uid: str) -> Admitted | None:
        """The keys for this study, once."""
        return self._given.pop(study_instance_uid, None)

    def keep(self, study_instance_uid: str, admitted: Admitted | None) -> None:
        """Keep what a commit brought."""
        if admitted is not None:
            self._given[study_instance_uid] = admitted
            if len(self._given) > _AHEAD_STUDIES:
                del self._given[next(iter(self._given))]


@dataclass(frozen=True, slots=True)
class _Ready:
    """An inspected instance; sealed and durable already where keys for its study were there."""

    inspected: Inspected
    admitted: Admitted | None = None
    stored: ingest.StoredObject | None = None


def _prepare(way: WayIn, arrival: Arrival, ahead: Ahead | None) -> _Ready:
    """Step 1, and step 3 where it is possible now. Blocking. Raises AdmissionError."""
    inspected = inspect(arrival, way.limits)
    admitted = ahead.take(inspected.attributes.study_instance_uid) if ahead else None
    if admitted is None:
        return _Ready(inspected)
    try:
        return _Ready(inspected, admitted, _store(way, admitted, arrival, inspected))
    except (StorageError, MemoryError) as failure:
        a = inspected.attributes
        raise admission_error(failure, a.sop_class_uid, a.sop_instance_uid) from failure


def _store(way: WayIn, admitted: Admitted, arrival: Arrival, inspected: Inspected) -> ingest.StoredObject:
    view = memoryview(arrival.data)
    header, bulk = view[: inspected.header_end], view[inspected.header_end :]
    return ingest.store(way.objects, admitted, [header], [bulk])


async def _short_way(way: WayIn, ready: _Ready, request: Admit, arrival: Arrival) -> Committed | None:
    """Rule 7; None where the guard wants it admitted by itself, or there were no keys."""
    if ready.admitted is None or ready.stored is None:
        return None
    try:
        return await _commit_or_remove(
            way, commit_of(ready.admitted, ready.stored, ready.inspected, arrival.prefix_bytes, request)
        )
    except GuardRefused as refused:
        if refused.reason != "invalid":
            raise
        return None


async def _long_way(way: WayIn, ready: _Ready, request: Admit, arrival: Arrival) -> Committed | AlreadyHeld:
    def store(admitted: Admitted) -> ingest.StoredObject:
        return _store(way, admitted, arrival, ready.inspected)

    return await ask_and_commit(way, request, store, ready.inspected, arrival.prefix_bytes)


async def ask_and_commit(
    way: WayIn,
    request: Admit,
    store: Callable[[Admitted], ingest.StoredObject],
    inspected: Inspected,
    prefix_bytes: int,
) -> Committed | AlreadyHeld:
    """Steps 2 to 5; `store` seals and writes, in a thread. Raises GuardError, StorageError, NotStored."""
    answer = await way.guard.ask(request)
    if isinstance(answer, AlreadyHeld):
        return answer
    if not isinstance(answer, Admitted):
        raise NotStored("the guard answered something else than was asked")
    stored = await asyncio.to_thread(store, answer)
    return await _commit_or_remove(way, commit_of(answer, stored, inspected, prefix_bytes))


async def _commit_or_remove(way: WayIn, request: Commit) -> Committed:
    """Steps 4 and 5. Raises GuardError."""
    try:
        return await commit(way, request)
    except GuardRefused:
        await asyncio.to_thread(way.objects.remove_uncommitted, request.location)
        raise


async def commit(way: WayIn, request: Commit) -> Committed:
    """Steps 4 and 5, but that a file whose commit was refused stays. Raises GuardError."""
    committed = await way.guard.call(request, Committed)
    if not committed.kept:
        await asyncio.to_thread(way.objects.remove_uncommitted, request.location)
    return committed


def commit_of(
    admitted: Admitted,
    stored: ingest.StoredObject,
    inspected: Inspected,
    prefix_bytes: int,
    admit: Admit | None = None,
) -> Commit:
    """The request of step 4. `admit`: what it is, where keys were given before that was known."""
    return Commit(
        admission=admitted.admission,
        location=stored.location,
        file_bytes=stored.file_bytes,
        header_plain_bytes=stored.header_plain_bytes,
        bulk_plain_bytes=stored.bulk_plain_bytes,
        prefix_bytes=prefix_bytes,
        header_sealed_bytes=stored.header_sealed_bytes,
        bulk_sealed_bytes=stored.bulk_sealed_bytes,
        file_sha256=inspected.file_sha256,
        admit=admit,
    )
