"""A data set that is admitted while it arrives: hashed, sealed and written piece by piece, in bounded memory.

Rules, in order:
1. Up to `_LOOK_BYTES` it is kept whole and goes through `admit_instance`; so does what `dicom.arriving` cannot begin,
   what may be a rejection note, and all that a shield passes on.
2. The header is scanned as soon as it is there; the guard gives keys for its study (`Admit` without a hash, or keys
   given ahead). The rest is scanned as it passes by, and hashed and sealed in a thread, one segment after the other.
3. Nothing is indexed before all of it was inspected. What is refused, or does not come to its end, leaves no file.
4. At most `_WAITING_SEGMENTS` wait for the thread: then `full` is true, and the transport stops reading.
5. What was refused is taken to its end and thrown away: the answer is due after the data set (PS3.7 9.3.1).
6. What contradicts what is held is sealed again under a key of its own, from the sealed file.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ribcage.capture import admit
from ribcage.capture.admit import Admission, Ahead, WayIn
from ribcage.capture.disarm import Expected, Inspected, identify
from ribcage.capture.errors import AdmissionError, NotStored, admission_error
from ribcage.crypto.sealing import SEGMENT_BYTES, segment_room
from ribcage.dicom import arriving
from ribcage.dicom.errors import DicomError
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import (
    KEY_OBJECT_SELECTION,
    Admit,
    Admitted,
    AlreadyHeld,
    Attributes,
    Channel,
    Committed,
    Principal,
)
from ribcage.storage import ingest
from ribcage.storage.errors import StorageError

_LOOK_BYTES = 1 << 20
_WAITING_SEGMENTS = 1
_Segment = tuple[bytearray, int]  # and how much of it is filled


@dataclass(frozen=True, slots=True)
class Course:
    """Where a data set comes from and where it goes.

    `hold` counts bytes that are kept (False: over the transport's bound); `moved` is told of new room.
    """

    way: WayIn
    principal: Principal
    channel: Channel
    called_ae_title: str
    transfer_syntax_uid: str
    expected: Expected
    ahead: Ahead
    hold: Callable[[int], bool]
    moved: Callable[[], None]

    def admit(self, attributes: Attributes, digest: bytes, octets: int) -> Admit:
        """The request for keys; an empty digest while it arrives."""
        return Admit(
            self.principal,
            self.channel,
            self.called_ae_title,
            attributes,
            self.transfer_syntax_uid,
            digest,
            octets,
        )


class Flow:
    """One data set without file meta, fed on the event loop: `take` its bytes, then `admit` it; or `drop` it."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._head = bytearray()
        self._look_at = _LOOK_BYTES
        self._held = 0
        self._body: _Body | None = None
        self._failure: AdmissionError | None = None
        self.over = False  # the transport's bound was reached

    @property
    def full(self) -> bool:
        """Whether the transport should wait (rule 4)."""
        return self._body is not None and self._body.full

    def take(self, view: memoryview) -> None:
        """The next bytes; they are valid during the call."""
        try:
            if self._body is not None:
                self._body.take(view)
            elif self._failure is None:
                self._count(len(view))
                self._head += view
                if len(self._head) >= self._look_at:
                    self._look_at *= 2
                    self._look()
        except MemoryError as failure:
            self._refuse(admission_error(failure))

    async def admit(self) -> Admission:
        """All of it has come. Durable when it returns. Raises AdmissionError."""
        if self._failure is not None:
            raise self._failure
        if self._body is not None:
            return await self._body.admit()
        course = self._course
        return await admit.admit_instance(
            course.way,
            course.principal,
            course.channel,
            course.called_ae_title,
            self._head,
            course.transfer_syntax_uid,
            course.expected,
            course.ahead,
        )

    def drop(self) -> None:
        """The rest will not come."""
        self._refuse(NotStored("the data set did not come to its end"))

    def release(self) -> None:
        """It is over: nothing is held any more."""
        self._count(-self._held)
        self._head = bytearray()

    def _refuse(self, failure: AdmissionError) -> None:
        self._failure = self._failure or failure
        self.release()
        if self._body is not None:
            self._body.drop(failure)

    def _count(self, change: int) -> None:
        self._held += change
        if not self._course.hold(change):
            self.over = True

    def _look(self) -> None:
        """Rule 2, where the header is there."""
        course = self._course
        if course.way.onward is not None:
            return
        try:
            found = arriving.begin(self._head, course.transfer_syntax_uid, course.way.limits)
            attributes = identify(found.header, course.expected) if found is not None else None
        except DicomError:
            return  # said when all of it is there (rule 1)
        except AdmissionError as failure:
            self._refuse(failure)
            return
        if found is None or attributes is None or attributes.sop_class_uid == KEY_OBJECT_SELECTION:
            return
        found.forget_rest()
        head, self._head = self._head, bytearray()
        self._body = _Body(course, found, attributes, self._count)
        self._body.take(memoryview(head)[found.header.header_end :])
        self._count(-len(head))


class _Body:
    """The bulk stream of a flow: segments that fill on the event loop, and a task that seals them in a thread."""

    def __init__(
        self,
        course: Course,
        found: arriving.ArrivingScan,
        attributes: Attributes,
        count: Callable[[int], None],
    ) -> None:
        self._course, self._found, self._attributes, self._count = course, found, attributes, count
        self._header = bytes(memoryview(found.header.data)[: found.header.header_end])
        self._digest = hashlib.sha256(self._header)
        self._octets = len(self._header)
        self._segment, self._filled, self._index = self._fresh(), 0, 0
        self._spare: list[bytearray] = []
        self._waiting: deque[_Segment] = deque()
        self._wake = asyncio.Event()
        self._complete = False
        self._failure: AdmissionError | None = None
        self._object: ingest.GrowingObject | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_seen)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= _WAITING_SEGMENTS and not self._over

    @property
    def _over(self) -> bool:
        return self._failure is not None or self._task.done()

    def take(self, view: memoryview) -> None:
        if self._over:
            return  # rule 5
        self._octets += len(view)
        try:
            self._found.pass_by(view)
        except DicomError as failure:
            self.drop(self._error(failure))
            return
        while view:
            room = segment_room(self._index) - self._filled
            if not room:
                self._waiting.append((self._segment, self._filled))
                self._segment = self._spare.pop() if self._spare else self._fresh()
                self._filled, self._index = 0, self._index + 1
                self._wake.set()
                continue
            step = min(room, len(view))
            self._segment[self._filled : self._filled + step] = view[:step]
            self._filled += step
            view = view[step:]

    async def admit(self) -> Admission:
        self._waiting.append((self._segment, self._filled))
        self._complete = True
        self._wake.set()
        return await self._task

    def drop(self, failure: AdmissionError) -> None:
        self._failure = self._failure or failure
        self._wake.set()

    def _fresh(self) -> bytearray:
        self._count(SEGMENT_BYTES)
        return bytearray(SEGMENT_BYTES)

    def _error(self, failure: DicomError | GuardError | StorageError | MemoryError) -> AdmissionError:
        return admission_error(failure, self._attributes.sop_class_uid, self._attributes.sop_instance_uid)

    # --- the task ---------------------------------------------------------------------------------------

    async def _run(self) -> Admission:
        """Raises AdmissionError."""
        course, uid = self._course, self._attributes.study_instance_uid
        try:
            admitted = course.ahead.take(uid)
            if admitted is None:
                admitted = await course.way.guard.call(course.admit(self._attributes, b"", 0), Admitted)
            stored = await self._seal_all(admitted)
            return await self._commit(admitted, stored)
        except (GuardError, StorageError, MemoryError, DicomError) as failure:
            raise self._error(failure) from failure
        finally:
            self._waiting.clear()
            course.moved()

    async def _seal_all(self, admitted: Admitted) -> ingest.StoredObject:
        """Step 3 of `capture.admit`, as segments come. What is not kept is removed."""
        job: asyncio.Future[ingest.StoredObject | None] | None = None
        loop = asyncio.get_running_loop()
        try:
            while self._failure is None:
                batch, last = list(self._waiting), self._complete
                self._waiting.clear()
                if batch:
                    self._course.moved()
                    job = loop.run_in_executor(None, self._work, admitted, batch, last)
                    stored = await asyncio.shield(job)
                    if stored is not None:
                        return stored
                    self._spare += [segment for segment, _ in batch][: _WAITING_SEGMENTS - len(self._spare)]
                elif not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
            raise self._failure
        except BaseException:
            if job is not None and not job.done():
                await asyncio.wait([job])
            if self._object is not None:
                await asyncio.to_thread(self._object.discard)
            raise

    def _work(self, admitted: Admitted, batch: list[_Segment], last: bool) -> ingest.StoredObject | None:
        """In a thread: hash, seal, write; durable after the last. Raises StorageError, DicomError, AdmissionError."""
        if self._object is None:
            self._object = ingest.GrowingObject(self._course.way.objects, admitted, self._header)
        for number, (segment, filled) in enumerate(batch, 1):
            plain = memoryview(segment)[:filled]
            self._digest.update(plain)
            self._object.add(plain, last=last and number == len(batch))
        if not last:
            return None
        self._attributes = identify(self._found.finish(), self._course.expected)  # rule 3
        return self._object.keep()

    async def _commit(self, admitted: Admitted, stored: ingest.StoredObject) -> Admission:
        course, digest = self._course, self._digest.digest()
        inspected = Inspected(self._attributes, len(self._header), digest, digest)
        request = course.admit(self._attributes, digest, self._octets)

        def again(other: Admitted) -> ingest.StoredObject:
            return ingest.store_again(course.way.objects, admitted, stored, other)

        outcome: Committed | AlreadyHeld
        try:
            outcome = await admit.commit(course.way, admit.commit_of(admitted, stored, inspected, 0, request))
        except GuardRefused as refused:
            try:
                if refused.reason != "invalid":
                    raise
                outcome = await admit.ask_and_commit(course.way, request, again, inspected, 0)  # rule 6
            finally:
                await asyncio.to_thread(course.way.objects.remove_uncommitted, stored.location)
        if isinstance(outcome, Committed):
            course.ahead.keep(self._attributes.study_instance_uid, outcome.ahead)
        return admit.admission_of(self._attributes, outcome)


def _seen(task: asyncio.Task[Admission]) -> None:
    """A flow that was dropped has nobody who asks how it ended."""
    if not task.cancelled():
        task.exception()
