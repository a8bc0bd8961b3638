"""A real guard and a real front in one event loop, and the client side of TLS for registered and strange peers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from helpers.guard_house import PASSPHRASE, PLAN, House, running
from ribcage.crypto import authority
from ribcage.crypto.memory import SecretFile
from ribcage.guard import protocol as p
from ribcage.guard.home import create_home
from ribcage.guard.limits import GuardLimits
from ribcage.storage.objects import ObjectStore
from ribcage.transfer import control as wire
from ribcage.transfer.control import Handed, StopFront
from ribcage.transfer.front import Front, MakeHttp
from ribcage.transfer.limits import FrontLimits, FrontSettings, Listener

__all__ = [
    "PASSPHRASE",
    "FrontHouse",
    "client_context",
    "ct_slice",
    "front_house",
    "make_template",
    "stranger",
]

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
QUICK = FrontLimits(
    handshake_seconds=1.0,
    refusal_report_seconds=0.1,
    drain_seconds=1.0,
    shutdown_seconds=0.5,
    worker_threads=4,
)


@dataclass
class FrontHouse:
    """A guard, a front, and a listener that hands connections to it."""

    house: House
    front: Front
    control: socket.socket
    address: tuple[str, int]
    objects: ObjectStore
    running: asyncio.Task[None]
    pushed: list[object] = field(default_factory=list)

    async def device(self, name: str, ae: str, may: list[str]) -> ssl.SSLContext:
        """Register a leaf of a foreign authority (quick: its key is on a curve); the device's TLS context."""
        leaf, trusted = await self.leaf(name, ae, may)
        return client_context(trusted, leaf.certificate_pem, leaf.private_key_pem)

    async def leaf(self, name: str, ae: str, may: list[str]) -> tuple[authority.Issued, bytes]:
        """As `device`: its certificate and key, and the house's authority."""
        leaf = authority.issue_client(elsewhere(), name, now=datetime.now(UTC), kind="ec")
        own = authority.read_certificate(leaf.certificate_pem).pem
        request = p.AddDevice(name=name, ae_titles=[ae], may=may, certificate_pem=own)
        added = await self.house.admin.call(request, p.DeviceAdded)
        return leaf, added.authority_pem

    async def events(self) -> str:
        page = await self.house.admin.call(p.AuditPage(start=0, count=1000), p.AuditEntries)
        return "\n".join(text for _, text in page.entries)

    def stop_front(self) -> None:
        wire.send(self.control, StopFront())


def make_template(folder: Path) -> Path:
    """A new home (slow: RSA keys), to be copied for each test."""
    create_home(folder / "home", folder / "root", PASSPHRASE, PLAN)
    return folder / "home"


@contextlib.asynccontextmanager
async def front_house(
    template: Path,
    folder: Path,
    settings: FrontSettings | None = None,
    make_http: MakeHttp | None = None,
    limits: GuardLimits | None = None,
    kind: Listener = "dicom",
) -> AsyncIterator[FrontHouse]:
    """Guard and front on a copy of `template`; one listener on loopback for this kind."""
    home = folder / "home"
    shutil.copytree(template, home)
    objects = ObjectStore(home / "objects")
    objects.prepare()
    async with running(home, limits) as house:
        places = {"guard_socket": home / "run" / "guard.sock", "objects_folder": home / "objects"}
        settings = replace(settings or FrontSettings(Path(), Path(), limits=QUICK), **places)
        ours, theirs = wire.control_pair()
        front = Front(theirs, settings, make_http)
        loop = asyncio.get_running_loop()
        task = loop.create_task(front.run())
        await loop.run_in_executor(None, _wait_ready, ours)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)

        def hand() -> None:
            connection, peer = listener.accept()
            with connection:
                wire.send(ours, Handed(kind, peer[0]), connection.fileno())

        loop.add_reader(listener.fileno(), hand)
        made = FrontHouse(house, front, ours, listener.getsockname()[:2], objects, task)
        try:
            yield made
        finally:
            loop.remove_reader(listener.fileno())
            listener.close()
            ours.setblocking(True)
            with contextlib.suppress(OSError):
                made.stop_front()
            await task
            ours.close()
            theirs.close()


def _wait_ready(control: socket.socket) -> None:
    control.setblocking(True)
    assert wire.receive_as_supervisor(control) is not None
    control.setblocking(False)


def client_context(
    authority_pem: bytes, certificate_pem: bytes = b"", key_pem: bytes = b""
) -> ssl.SSLContext:
    """A client that trusts the house's authority; without a certificate when none is given."""
    context = ssl.create_default_context(cadata=authority_pem.decode())
    if certificate_pem:
        with SecretFile(certificate_pem + b"\n" + key_pem) as secret:
            context.load_cert_chain(secret.path)
    return context


@functools.cache
def elsewhere() -> authority.Issued:
    """An authority that the house does not trust."""
    now = datetime.now(UTC)
    return authority.make_intermediate(authority.make_root("Elsewhere", now=now), "Elsewhere", now=now)


def stranger(authority_pem: bytes) -> ssl.SSLContext:
    """A client with a sound certificate of an authority that the house has never seen."""
    leaf = authority.issue_client(elsewhere(), "CT1", now=datetime.now(UTC), kind="ec")
    return client_context(authority_pem, leaf.certificate_pem, leaf.private_key_pem)


def ct_slice(number: int = 1, pixels: int = 32, **more: str) -> tuple[str, bytes]:
    """(SOP Instance UID, data set in Explicit VR Little Endian) of a made-up CT slice."""
    ds = Dataset()
    ds.SOPClassUID = CT
    ds.SOPInstanceUID = f"1.2.826.0.1.3680043.10.1.{number}"
    ds.StudyInstanceUID = "1.2.826.0.1.3680043.10.2.1"
    ds.SeriesInstanceUID = "1.2.826.0.1.3680043.10.3.1"
    ds.PatientID = "P-0001"
    ds.PatientName = "Muster^Erika"
    ds.StudyDate = "20260102"
    ds.Modality = "CT"
    ds.Rows = ds.Columns = pixels
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.SamplesPerPixel = 1
    ds.PixelRepresentation = 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    ds.PixelData = bytes(range(256)) * (pixels * pixels * 2 // 256)
    ds["PixelData"].VR = "OW"
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, ds)
    return str(ds.SOPInstanceUID), out.getvalue()
