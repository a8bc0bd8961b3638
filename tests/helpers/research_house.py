"""A guard with a research project, its officer, and films of patients who may have consented."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dicom.data_builders import EXPLICIT, encode
from helpers.deid_objects import ct
from helpers.guard_house import House, Officer, attributes
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.oversight import release as releasing
from ribcage.oversight.deid_making import Made, Work, make
from ribcage.storage.objects import ObjectStore
from ribcage.usage.deid.profile import packaged
from ribcage.usage.disclose import WayOut

PROJECT = "lungs"
SECRETS = ("ZHANGWEI", "XIAOMING", "小明", "RB7734")


@dataclass
class Research:
    """What a release needs. `store` first, then `grant` and `consent`."""

    house: House
    officer: Officer
    device: p.Device
    clock: Callable[[], float]
    _second: Officer | None = None

    async def store(self, number: int = 1, slices: int = 2, **more: object) -> str:
        """A study of `slices` CT images of patient RB773400N; its UID."""
        study = f"1.2.3.{number}"
        for place in range(1, slices + 1):
            uids = {
                "StudyInstanceUID": study,
                "SeriesInstanceUID": f"{study}.0",
                "SOPInstanceUID": f"{study}.{place}",
            }
            patient = self.patient(number)
            ds = ct(PatientID=patient, **uids, **more)
            ds.InstanceNumber = str(place)
            told = attributes(
                number,
                sop_class_uid=str(ds.SOPClassUID),
                sop_instance_uid=uids["SOPInstanceUID"],
                study_instance_uid=study,
                series_instance_uid=f"{study}.0",
                patient_id=patient,
                patient_birth_date=str(ds.PatientBirthDate),
                modality="CT",
            )
            await self.house.store(self.device, told, encode(ds, EXPLICIT))
        return study

    async def second(self) -> Officer:
        """An administrator, made when first asked for: a password costs its while."""
        if self._second is None:
            self._second = Officer("ada", await self.house.person("ada", "administrator"), self.clock)
        return self._second

    @staticmethod
    def patient(number: int = 1) -> str:
        return f"RB77340{number:02}"

    async def grant(self, study: str, view: p.View = "full", purpose: p.Purpose = "HRESCH") -> int:
        request = p.AddGrant(f"project:{PROJECT}", f"study:{study}", view, purpose)
        return (await self.house.admin.call(request, p.GrantAdded)).grant_id

    async def consent(self, number: int = 1, given: bool = True) -> None:
        await self.house.admin.call(p.SetConsent(self.patient(number), "HRESCH", given), p.Noted)

    async def begin(self, *studies: str) -> p.ReleaseBegun:
        request = p.BeginRelease(PROJECT, self.officer.approves(), list(studies), [])
        return await self.house.admin.call(request, p.ReleaseBegun)

    async def release(
        self, out: Path, *studies: str, make: Callable[[Work], Made] = make, least: int = 1
    ) -> releasing.Result:
        """As `ribcage release` does it, in this process."""
        return await self.run(await self.begin(*studies), out, make, least)

    async def run(
        self, begun: p.ReleaseBegun, out: Path, make: Callable[[Work], Made] = make, least: int = 1
    ) -> releasing.Result:
        ways = list[WayOut]()
        path = self.house.home / "run" / "guard.sock"
        front = await GuardClient.connect(path, lambda message: ways[0].on_push(message))
        ways.append(WayOut(front, ObjectStore(self.house.home / "objects")))
        try:
            with ThreadPoolExecutor(1) as executor:
                admin = self.house.admin
                return await releasing.release(
                    releasing.Releasing(admin, ways[0], begun, out, executor, make, least)
                )
        finally:
            await front.close()

    async def entries(self, kind: str) -> list[str]:
        """Bodies of the log's entries of a kind."""
        return [body for _, body in await self.log() if f'"code":"{kind}"' in body]

    async def log(self) -> list[tuple[int, str]]:
        """All entries with their numbers."""
        return (await self.house.admin.call(p.AuditPage(0, 1000), p.AuditEntries)).entries


async def research(
    house: House, profile: str = "research-basic", clock: Callable[[], float] = time.time
) -> Research:
    """A project with its officer."""
    officer = Officer("ou", await house.person("ou", "officer"), clock)
    chosen = packaged(profile)
    options = sorted(each.value.replace("_", "-") for each in chosen.options)
    told = p.ProjectProfile(chosen.name, options, chosen.unread, chosen.digest)
    await house.admin.call(p.AddProject(PROJECT, told, "ou", clock() + 400 * 86400), p.ProjectItem)
    device = await house.device("ct-1", "CT1", ["store"])
    return Research(house, officer, device, clock)
