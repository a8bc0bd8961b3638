"""Sending what the guard's queues hold, jobs before reports: one at a time, over one association to its destination.

Rules, in order (DESIGN rules 1 and 4):
1. Nothing leaves but through `usage.disclose`: the destination's certificate is the asker, or the recipient where a
   C-MOVE asked. A refusal ends the try with its reason.
2. The guard notes each acknowledged instance durably before the next one is sent. While it does not answer, the note
   is offered again as long as the lease may last; nothing else is sent meanwhile.
3. An instance whose answer was lost counts as not sent.
4. A destination that is out of resources, or whose association ends, ends the try; another refusal is noted and the
   next instance is tried.
5. Whoever has lost the lease sends nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from ribcage.dicom.statuses import category
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import (
    Device,
    HoldJob,
    InstanceRef,
    JobItem,
    JobOver,
    JobRefusal,
    JobTaken,
    Noted,
    ReportTaken,
    TakeJob,
    TakeReport,
)
from ribcage.transfer.dimse.outgoing import Outgoing
from ribcage.transfer.dimse.reporting import deliver
from ribcage.transfer.dimse.retrieval import NotSent, OutletGone
from ribcage.transfer.dimse.sender import Peer
from ribcage.transfer.dimse.site import DimseSite
from ribcage.usage.disclose import Disclosure, open_disclosure
from ribcage.usage.errors import (
    DisclosureCut,
    DisclosureError,
    NotAuthenticated,
    NotConvertible,
    NothingFound,
    NotPermitted,
    ObjectDamaged,
)

_BEATS: Final = 3  # in one lease
_FIRST_WAIT_SECONDS, _MOST_WAIT_SECONDS = 0.1, 2.0
_OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)
_UNSENT: Final = 0xA900
_REFUSALS: Final[tuple[tuple[type[DisclosureError], JobRefusal], ...]] = (
    (NotAuthenticated, "not_permitted"),
    (NotPermitted, "not_permitted"),
    (NothingFound, "not_found"),
    (ObjectDamaged, "damaged"),
    (NotConvertible, "not_convertible"),
)


class Forwarder:
    """The senders of one front. `run` one or more times, until `stop`."""

    def __init__(self, site: DimseSite, poll_seconds: float) -> None:
        self._site = site
        self._poll_seconds = poll_seconds
        self._stopping = asyncio.Event()
        self.busy = 0

    def stop(self) -> None:
        """Take no more jobs and give back those in hand after the instance that is under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Send what is due until stopped."""
        while not self._stopping.is_set():
            if not await self._one():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await self._stopping.wait()

    async def _one(self) -> bool:
        """Take and send one job or report; False when there was none."""
        self.busy += 1
        try:
            answer = await self._site.guard.ask(TakeJob())
            if not isinstance(answer, JobTaken):
                return await self._report()
            await _Try(self._site, answer, self._stopping).run()
        except GuardError:
            return False
        finally:
            self.busy -= 1
        return True

    async def _report(self) -> bool:
        """Take and send one report of storage commitment. Raises GuardError."""
        answer = await self._site.guard.ask(TakeReport())
        if not isinstance(answer, ReportTaken):
            return False
        await deliver(self._site, answer)
        return True


@dataclass
class _Try:
    """One try at one job."""

    site: DimseSite
    job: JobTaken
    stopping: asyncio.Event
    lost: bool = False
    refusal: JobRefusal = ""

    async def run(self) -> None:
        beating = asyncio.get_running_loop().create_task(self._beat())
        try:
            refusal = await self._send()
        finally:
            beating.cancel()
        await self._tell(JobOver(self.job.job, self.job.lease, refusal))

    async def _send(self) -> JobRefusal:
        """Send what is left; the reason why not all of it arrived."""
        job, wanted = self.job, frozenset(self.job.sop_instance_uids)
        to = Device(job.fingerprint, job.ae_title, job.address)
        one = job.sop_instance_uids[0] if len(wanted) == 1 else ""
        asker, recipient = (job.asker, to) if job.asker is not None else (to, None)
        try:
            disclosure = await open_disclosure(
                self.site.way_out,
                asker,
                "dimse",
                job.study_instance_uid,
                "",
                one,
                "full",
                recipient=recipient,
            )
        except DisclosureError as failure:
            return _word(failure)
        async with disclosure:
            refs = [ref for ref in disclosure.instances if ref.sop_instance_uid in wanted]
            if not refs:
                return "not_found"
            try:
                await self._send_all(disclosure, refs)
            except DisclosureCut:
                return "interrupted"
            except OutletGone:
                return "association_lost"
        return self.refusal

    async def _send_all(self, disclosure: Disclosure, refs: list[InstanceRef]) -> None:
        """Raises DisclosureCut, OutletGone."""
        job = self.job
        ours = min(self.site.called_ae_titles)
        outgoing = Outgoing(self.site, Peer(job.address, job.port, job.fingerprint, job.ae_title, ours))
        try:
            try:
                await outgoing.open(refs)
            except OutletGone:
                self.refusal = "no_association"
                return
            for ref in refs:
                if self.lost or self.stopping.is_set():
                    self.refusal = "interrupted"
                    return
                status = await self._store(disclosure, ref, outgoing)
                await self._note(ref, status)
                if status in _OUT_OF_RESOURCES:
                    self.refusal = "out_of_resources"
                    return
        finally:
            await outgoing.close()

    async def _store(self, disclosure: Disclosure, ref: InstanceRef, outgoing: Outgoing) -> int:
        """One instance; its status (rules 3 and 4). Raises DisclosureCut, OutletGone."""
        try:
            status = await outgoing.store(await disclosure.instance_stream(ref))
        except DisclosureCut:
            raise
        except DisclosureError as failure:
            self.refusal = _word(failure)
            return failure.dimse_status
        except NotSent:
            self.refusal = "not_convertible"
            return _UNSENT
        if not _arrived(status):
            self.refusal = "refused_by_destination"
        return status

    async def _note(self, ref: InstanceRef, status: int) -> None:
        note = JobItem(self.job.job, self.job.lease, ref.sop_instance_uid, _arrived(status), status)
        if not await self._tell(note):
            self.lost = True

    async def _tell(self, message: JobItem | JobOver) -> bool:
        """Tell the guard, again while it is away (rule 2); False when it refused or stayed away."""
        wait, loop = _FIRST_WAIT_SECONDS, asyncio.get_running_loop()
        until = loop.time() + self.job.lease_seconds
        while True:
            try:
                await self.site.guard.call(message, Noted)
            except GuardRefused as refused:
                if refused.reason != "unavailable" or loop.time() >= until:
                    return False
            except GuardError:
                if loop.time() >= until:
                    return False
            else:
                return True
            await asyncio.sleep(wait)
            wait = min(2 * wait, _MOST_WAIT_SECONDS)

    async def _beat(self) -> None:
        """Keep the lease (rule 5)."""
        while True:
            await asyncio.sleep(self.job.lease_seconds / _BEATS)
            try:
                await self.site.guard.call(HoldJob(self.job.job, self.job.lease), Noted)
            except GuardRefused as refused:
                self.lost = self.lost or refused.reason == "conflict"
            except GuardError:
                continue


def _arrived(status: int) -> bool:
    return category(status) in ("success", "warning")


def _word(failure: DisclosureError) -> JobRefusal:
    for kind, word in _REFUSALS:
        if isinstance(failure, kind):
            return word
    return "interrupted"
