"""A data set on its way into the spool: sealed and written while it arrives, and looked at as the archive would.

Rules, in order:
1. Every byte is sealed as it comes; nothing plain reaches the disk.
2. It is inspected within the archive's limits (`capture.disarm`, `dicom.arriving`): what the archive would refuse is
   refused here, while the modality can still be told.
3. What was refused is taken to its end and thrown away: the answer is due after the data set (PS3.7 9.3.1).
4. What cannot be inspected while it arrives is held in memory too, within the edge's bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ribcage.capture.disarm import Arrival, Expected, identify, inspect
from ribcage.capture.errors import AdmissionError, NotStored, OutOfResources, admission_error
from ribcage.dicom import arriving
from ribcage.dicom.errors import DicomError
from ribcage.dicom.scan import ScanLimits
from ribcage.evidence.edge_entry import EntryContext
from ribcage.evidence.errors import EvidenceError
from ribcage.transfer.edge.errors import SpoolFull
from ribcage.transfer.edge.spool import GrowingEntry, Spool

_LOOK_BYTES = 256 * 1024


class Intake:
    """One data set without file meta, fed on the event loop: `take` its bytes, then `keep` it; or `drop` it."""

    def __init__(
        self,
        spool: Spool,
        device: bytes,
        context: EntryContext,
        limits: ScanLimits,
        hold: Callable[[int], bool],
    ) -> None:
        self._syntax, self._limits, self._hold = context.transfer_syntax, limits, hold
        self._expected = Expected(context.sop_class, context.sop_instance)
        self._head = bytearray()
        self._look_at = _LOOK_BYTES
        self._found: arriving.ArrivingScan | None = None
        self._failure: AdmissionError | None = None
        self._entry: GrowingEntry | None = None
        self.over = False
        try:
            self._entry = spool.begin(device, context)
        except (SpoolFull, OSError, EvidenceError) as failure:
            self._refuse(_spool_error(failure))

    @property
    def full(self) -> bool:
        """It takes what comes: sealing is faster than any modality."""
        return False

    def take(self, view: memoryview) -> None:
        """The next bytes; they are valid during the call."""
        if self._failure is not None or self._entry is None:
            return  # rule 3
        try:
            self._entry.add(view)
            if self._found is not None:
                self._found.pass_by(view)
                return
            self._head += view
            self.over = self.over or not self._hold(len(view))
            if len(self._head) >= self._look_at:
                self._look_at *= 2
                self._look()
        except (SpoolFull, OSError) as failure:
            self._refuse(_spool_error(failure))
        except (DicomError, MemoryError) as failure:
            self._refuse(admission_error(failure))

    async def keep(self) -> None:
        """All of it has come. Durable when it returns. Raises AdmissionError."""
        await asyncio.to_thread(self._keep)

    def drop(self) -> None:
        """The rest will not come."""
        self._refuse(NotStored("the data set did not come to its end"))

    def release(self) -> None:
        """It is over: nothing is held any more."""
        self._hold(-len(self._head))
        self._head = bytearray()
        if self._entry is not None:
            self._entry.discard()
            self._entry = None

    def _keep(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._entry is None:
            raise NotStored("the spool did not take it")
        try:
            if self._found is not None:
                identify(self._found.finish(), self._expected)
            else:
                inspect(Arrival(self._head, self._syntax, 0, self._expected), self._limits)
            self._entry.finish()
        except DicomError as failure:
            raise admission_error(failure) from failure
        except (SpoolFull, OSError) as failure:
            raise _spool_error(failure) from failure

    def _refuse(self, failure: AdmissionError) -> None:
        self._failure = self._failure or failure
        self.release()

    def _look(self) -> None:
        """Rule 2, where the header is there."""
        found = arriving.begin(self._head, self._syntax, self._limits)
        if found is None:
            return
        identify(found.header, self._expected)
        found.forget_rest()
        found.pass_by(memoryview(self._head)[found.header.header_end :])
        self._hold(-len(self._head))
        self._head = bytearray()
        self._found = found


def _spool_error(failure: SpoolFull | OSError | EvidenceError) -> AdmissionError:
    if isinstance(failure, EvidenceError):
        return NotStored("the command names what cannot be written down")
    return OutOfResources("the spool takes nothing more")
