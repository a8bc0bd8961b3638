"""The archive with the injector in guard, fronts and supervisor, and a diary of what it acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from faults.inject import Faults
from helpers.archive import Archive, Browser, Identity, parts
from helpers.guard_house import prove_operator
from helpers.raw_scu import AssociationFailed, RawAssociation
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardError
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, Instance, instance_of, stow

PATIENCE_SECONDS = 15.0
NOT_STORED = 0x0110  # PS3.7 C.5
OUT_OF_RESOURCES = 0xA700  # PS3.4 table B.2-1
REFUSED = (NOT_STORED, OUT_OF_RESOURCES)
BROKEN = -1  # the association ended instead of an answer
_AGAIN_SECONDS = 0.05
_OPERATOR_SECONDS = 3.0
_SEED = 77
_OBJECTS_MEGABYTES = 256


@dataclass
class Ailing:
    """One archive, its faults, its peers and what was acknowledged."""

    archive: Archive
    faults: Faults
    modality: Identity
    doctor: Browser
    objects: Path
    mounted: bool  # the objects folder is a file system of its own
    held: list[Instance] = field(default_factory=list)
    made: int = 0

    # --- peers ------------------------------------------------------------------------------------------

    def fresh(self, side: int = 24) -> Instance:
        """An instance of a study that the archive has never seen."""
        self.made += 1
        return instance_of(make_study(_SEED, self.made, side, side).file)

    @contextlib.contextmanager
    def association(self, one: Instance) -> Iterator[RawAssociation]:
        """An association of the modality for this kind of instance."""
        proposals = [(one.sop_class, [one.transfer_syntax])]
        with RawAssociation(
            self.archive.dicom, proposals, ssl_context=self.modality.context(), calling="CR1"
        ) as association:
            yield association

    def send_on(self, association: RawAssociation, one: Instance) -> int:
        """C-STORE; what is acknowledged must be there from now on."""
        status = association.store(one.sop_class, one.uid, one.data_set)
        if status == SUCCESS:
            self.held.append(one)
        return status

    def send(self, one: Instance) -> int:
        """The same on an association of its own; BROKEN when it ended early."""
        with contextlib.suppress(AssociationFailed, OSError), self.association(one) as association:
            return self.send_on(association, one)
        return BROKEN

    def stow(self, one: Instance) -> int:
        """STOW-RS; the HTTP status, BROKEN when the connection ended instead."""
        try:
            status = stow(self.doctor, one.file).status
        except OSError:
            return BROKEN
        if status == 200:
            self.held.append(one)
        return status

    def read(self, one: Instance) -> int:
        """WADO-RS of a whole study; with 200 every bit is compared. BROKEN: cut on the way."""
        try:
            reply = self.doctor.retrieve(f"studies/{one.study}")
        except (OSError, HTTPException):
            return BROKEN
        if reply.status == 200:
            assert any(each.endswith(one.data_set) for each in parts(reply))
        return reply.status

    # --- processes --------------------------------------------------------------------------------------

    @property
    def guard(self) -> int:
        """Process id of the guard; 0 while there is none."""
        return next((each for each in self.archive.children() if not _is_front(each)), 0)

    @property
    def front(self) -> int:
        """Process id of the front; 0 while there is none."""
        return next((each for each in self.archive.children() if _is_front(each)), 0)

    @property
    def supervisor(self) -> int:
        assert self.archive.process is not None
        return self.archive.process.pid

    @contextlib.contextmanager
    def no_descriptors(self, process: int) -> Iterator[None]:
        """The kernel gives this process no further descriptor; those it has stay."""
        taken = {int(each.name) for each in Path(f"/proc/{process}/fd").iterdir()}
        lowest_free = next(number for number in range(len(taken) + 1) if number not in taken)
        limits = (lowest_free, _hard_limit(process))
        before = resource.prlimit(process, resource.RLIMIT_NOFILE, limits)
        try:
            yield
        finally:
            resource.prlimit(process, resource.RLIMIT_NOFILE, before)

    # --- looking ----------------------------------------------------------------------------------------

    def ready(self) -> str:
        """What /readyz says: 'ready', or what is closed, or '' when there is no answer."""
        try:
            return self.doctor.request("/readyz").body.decode().strip()
        except OSError:
            return ""

    def until_ready(self) -> None:
        until(lambda: self.ready() == "ready" and self.guard > 0, self.tail)

    def tail(self) -> str:
        """The end of what the processes wrote."""
        return f"/readyz: {self.ready()!r}\n" + (self.archive.folder / "server.log").read_text()[-3000:]

    def log_of_processes(self) -> str:
        return (self.archive.folder / "server.log").read_text()

    def files(self) -> set[Path]:
        """Object files, committed or not."""
        return {path for path in self.objects.rglob("*") if path.is_file()}

    def knows(self, one: Instance) -> bool:
        """Whether the index has this study."""
        return self.doctor.request(f"/dicom-web/studies?StudyInstanceUID={one.study}").status == 200

    def judge(self) -> None:
        """Everything acknowledged is there, indexed, audited and bit-exact; the rest is consistent."""
        report = self.archive.verify()
        assert report.clean, report.differences
        assert self.archive.ask(p.GetStatus(), p.Status).instances >= len({one.uid for one in self.held})
        for one in self.held:
            assert self.knows(one)
            assert self.read(one) == 200

    def strays(self) -> list[str]:
        """Object files that no row names, as `ribcage verify` lists them."""
        return self.archive.verify().strays

    def operator(self, request: p.Request) -> bool:
        """An operator's call: answered, or refused or not answered in time."""

        async def call() -> None:
            async with asyncio.timeout(_OPERATOR_SECONDS):
                client = await GuardClient.connect(self.archive.home / "run" / "guard.sock")
                try:
                    await prove_operator(client)
                    await client.call(request, object)
                finally:
                    await client.close()

        try:
            asyncio.run(call())
        except (GuardError, OSError, EOFError):
            return False
        return True


def until(true: Callable[[], object], why: Callable[[], str] = str, within: float = PATIENCE_SECONDS) -> None:
    """Ask again until it is so."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, why()
        threading.Event().wait(_AGAIN_SECONDS)


@contextlib.contextmanager
def ailing_archive(library: Path, folder: Path) -> Iterator[Ailing]:
    """One front, so that it is known who serves; objects on a disk of their own where this user may mount one."""
    faults = Faults(library, folder)
    pauses = {"RIBCAGE_TEST_LISTEN_LIMITS": json.dumps({"restart_most_seconds": 0.4})}
    archive = Archive(folder, environment=faults.environment | pauses)
    archive.settings = {"disk_stop_mib": 8, "disk_reserve_mib": 4}
    archive.create()
    objects = archive.home / "objects"
    options = f"size={_OBJECTS_MEGABYTES}m,mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(objects)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        archive.start()
        try:
            modality = archive.device("cr1", "CR1", "store")
            doctor = archive.person("li", "radiologist")
            archive.grant("person:li", "department:radiology", "full")
            assert doctor.step_up().status == 200
            house = Ailing(archive, faults, modality, doctor, objects, mounted)
            assert house.send(house.fresh()) == SUCCESS
            yield house
        finally:
            archive.stop()
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(objects)], check=True)


def remount(folder: Path, how: str) -> None:
    """`ro` or `rw`, for real."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def _is_front(process: int) -> bool:
    try:
        return b"front_process" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError as failure:
        if failure.errno not in (errno.ENOENT, errno.ESRCH):
            raise
        return False


def _hard_limit(process: int) -> int:
    return resource.prlimit(process, resource.RLIMIT_NOFILE)[1]
