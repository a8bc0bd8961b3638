"""A small archive made once, copied for every recording: devices, persons, grants and one study."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.archive import Identity
from helpers.guard_house import House, new_home, running
from ribcage.capture.admit import WayIn, admit_instance
from ribcage.capture.disarm import Expected
from ribcage.cli import settings
from ribcage.cli.commands import write_identity
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from ribcage.storage.objects import ObjectStore
from system.senders import Instance, instance_of

SEED = 20_260_401
PERSONS = 2
_RAM = Path("/dev/shm")
_RAM_BYTES = 2 << 30


@dataclass(frozen=True)
class Ground:
    """The prepared home and who may do what there."""

    folder: Path
    modality: Identity  # may store
    station: Identity  # may retrieve and query everything
    persons: tuple[tuple[str, str], ...]  # name, password
    first: Instance  # stored before anything is recorded

    def copy_to(self, folder: Path) -> Path:
        """A home of one's own."""
        return Path(shutil.copytree(self.folder / "home", folder / "home"))

    @property
    def station_device(self) -> p.Device:
        """The station as a front presents it to the guard."""
        return p.Device(self.station.fingerprint, self.station.ae_title, "127.0.0.1")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for homes: in memory where there is room, for the model decides what is lost, not the disk."""
    roomy = _RAM.is_dir() and shutil.disk_usage(_RAM).free > _RAM_BYTES
    with tempfile.TemporaryDirectory(prefix="ribcage-crash-", dir=_RAM if roomy else None) as folder:
        yield Path(folder)


def prepare(folder: Path) -> Ground:
    """Make the home below `folder`."""
    home = new_home(folder)
    listen = settings.Listen(dicom_port=0, https_port=0)
    settings.save(home, settings.Settings(hospital="Test", fronts=2, listen=listen))
    return asyncio.run(_people(folder, home))


async def _people(folder: Path, home: Path) -> Ground:
    async with running(home) as house:
        modality = await _identity(house, folder, "modality", "store")
        station = await _identity(house, folder, "station", "retrieve", "query")
        await house.admin.call(p.AddGrant("device:station", "department:radiology", "full"), p.GrantAdded)
        persons = [(f"person{n}", await _password(house, f"person{n}")) for n in range(PERSONS)]
        first = instance_of(make_study(SEED, 0, 16, 16).file)
        await admit(house, home, modality, first)
    return Ground(folder, modality, station, tuple(persons), first)


async def admit(house: House, home: Path, modality: Identity, one: Instance) -> None:
    """Store through the real way in. Raises what it raises."""
    device = p.Device(modality.fingerprint, modality.ae_title, "127.0.0.1")
    way = WayIn(house.front, ObjectStore(home / "objects"))
    await admit_instance(
        way, device, "dimse", "RIBCAGE", one.data_set, one.transfer_syntax, Expected(one.sop_class, one.uid)
    )


async def _identity(house: House, folder: Path, name: str, *may: str) -> Identity:
    title = name.upper()
    added = await house.admin.call(p.AddDevice(name=name, ae_titles=[title], may=list(may)), p.DeviceAdded)
    place = folder / "devices"
    write_identity(place, name, added)
    return Identity(
        name, title, place / f"{name}.crt", place / f"{name}.key", place / "ca.crt", added.fingerprint
    )


async def _password(house: House, name: str) -> str:
    return (await house.person(name, "clinician")).password
