"""Orders on a worklist and what becomes of them: pynetdicom as modality against a real front and a real guard."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association

from helpers.front_house import FrontHouse, front_house, make_template
from helpers.his import Writer, told
from ribcage.dicom.sop_classes import MODALITY_WORKLIST_FIND, PERFORMED_PROCEDURE_STEP
from ribcage.guard import protocol as p

NAME = "王^小明"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


class Hospital:
    """A front, the hospital's system at the guard, and orders."""

    def __init__(self, house: FrontHouse) -> None:
        self.house, self.his = house, Writer()

    async def fill(self) -> None:
        self.engine = await self.house.house.device("engine", "ENGINE", ["his"])
        self.ct = await self.house.device("ct", "CT1", ["store", "worklist"])
        self.mr = await self.house.device("mr", "MR1", ["store", "worklist"])
        for number in range(1, 4):
            await self.tell("NW", number)
        await self.tell("NW", 9, station="MR1")
        await self.tell("NW", 8)
        await self.tell("CA", 8)

    async def tell(self, control: str, number: int, station: str = "CT1") -> None:
        text = self.his.order(control, f"P{number}", f"O{number}", time.time() + number - 60, department="CT")
        text = text.replace("Muster^Erika", NAME)
        step = f"ACC{number}|RP{number}|1.2.3.{number}|SPS{number}|CT||||{station}"
        text += f"TQ1|1||||||2026010{number}0830\rIPC|{step}\r"
        text = text.replace("ORM^O01", "OMI^O23")
        taken = await self.house.house.front.call(told(text, self.engine), p.CareTaken)
        assert taken == p.CareTaken()

    async def modality(
        self, context: ssl.SSLContext, title: str, work: Callable[[Association], object]
    ) -> object:
        def talk() -> object:
            ae = AE(title)
            for uid in (MODALITY_WORKLIST_FIND, PERFORMED_PROCEDURE_STEP):
                ae.add_requested_context(uid)
            association = ae.associate(
                *self.house.address, ae_title="RIBCAGE", tls_args=(context, "localhost")
            )
            assert association.is_established
            try:
                return work(association)
            finally:
                association.release()

        return await asyncio.to_thread(talk)


def _run(template: Path, folder: Path, work: Callable[[Hospital], object]) -> None:
    async def main() -> None:
        async with front_house(template, folder) as house:
            hospital = Hospital(house)
            await hospital.fill()
            await work(hospital)  # type: ignore[misc]  # a coroutine function

    uvloop.run(main())


def _question(**keys: str) -> Dataset:
    asked, step = Dataset(), Dataset()
    if not keys.get("PatientName", "").isascii():
        asked.SpecificCharacterSet = "GB18030"
    for keyword in (
        "PatientName",
        "PatientID",
        "AccessionNumber",
        "StudyInstanceUID",
        "RequestedProcedureID",
    ):
        setattr(asked, keyword, keys.pop(keyword, ""))
    for keyword in (
        "Modality",
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepID",
    ):
        setattr(step, keyword, keys.pop(keyword, ""))
    asked.ScheduledProcedureStepSequence = [step]
    asked.RequestedProcedureCodeSequence = []
    assert not keys
    return asked


def _found(association: Association, **keys: str) -> list[Dataset]:
    answers = list(association.send_c_find(_question(**keys), MODALITY_WORKLIST_FIND))
    assert answers[-1][0].Status == 0
    return [data for status, data in answers[:-1] if status.Status == 0xFF00 and data is not None]


def _ids(found: list[Dataset]) -> list[str]:
    return sorted(str(each.PatientID) for each in found)


def test_a_modality_sees_its_own_steps_and_can_narrow_them(template: Path, tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        def look(association: Association) -> None:
            every = _found(association)
            assert _ids(every) == ["P1", "P2", "P3"], "neither another's nor a cancelled one"
            (one,) = _found(association, AccessionNumber="ACC2")
            assert one.SpecificCharacterSet == "ISO_IR 192"
            assert (str(one.PatientName), one.StudyInstanceUID, one.RequestedProcedureID) == (
                NAME,
                "1.2.3.2",
                "RP2",
            )
            (step,), (code,) = one.ScheduledProcedureStepSequence, one.RequestedProcedureCodeSequence
            assert (step.Modality, step.ScheduledStationAETitle) == ("CT", "CT1")
            assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepID) == (
                "20260102",
                "SPS2",
            )
            assert (code.CodeValue, code.CodeMeaning) == ("CT1", "Thorax")
            assert "PatientSex" not in one, "not asked for"
            for keys, wanted in (
                ({"ScheduledProcedureStepStartDate": "20260102-20260103"}, ["P2", "P3"]),
                ({"PatientName": "王*"}, ["P1", "P2", "P3"]),
                ({"PatientName": "Wang*"}, []),
                ({"PatientID": "P9"}, []),
                ({"Modality": "MR"}, []),
                ({"ScheduledStationAETitle": "MR1"}, []),
                ({"PatientID": "P3", "Modality": "CT"}, ["P3"]),
            ):
                assert _ids(_found(association, **keys)) == wanted, keys

        await h.modality(h.ct, "CT1", look)
        assert _ids(await h.modality(h.mr, "MR1", _found)) == ["P9"]  # type: ignore[arg-type]
        events = await h.house.events()
        assert '"value":"worklist"' in events and NAME not in events

    _run(template, tmp_path, story)


def test_a_performed_step_takes_the_order_from_the_list(template: Path, tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        def report(status: str = "IN PROGRESS", number: int = 1) -> Dataset:
            data, step = Dataset(), Dataset()
            step.StudyInstanceUID, step.AccessionNumber = f"1.2.3.{number}", f"ACC{number}"
            step.ScheduledProcedureStepID = f"SPS{number}"
            data.ScheduledStepAttributesSequence = [step]
            data.PerformedProcedureStepStatus = status
            return data

        def ends(status: str) -> Dataset:
            data = Dataset()
            data.PerformedProcedureStepStatus = status
            return data

        def create(association: Association, data: Dataset, uid: str) -> int:
            return int(association.send_n_create(data, PERFORMED_PROCEDURE_STEP, uid)[0].Status)

        def change(association: Association, data: Dataset, uid: str) -> int:
            return int(association.send_n_set(data, PERFORMED_PROCEDURE_STEP, uid)[0].Status)

        def perform(association: Association) -> None:
            assert create(association, report("COMPLETED"), "1.2.9.1") == 0x0106
            assert create(association, report(), "1.2.9.1") == 0
            assert _ids(_found(association)) == ["P2", "P3"]
            assert create(association, report(number=2), "1.2.9.1") == 0x0111
            assert change(association, ends("IN PROGRESS"), "1.2.9.1") == 0
            assert change(association, ends("COMPLETED"), "1.2.9.1") == 0
            assert change(association, ends("DISCONTINUED"), "1.2.9.1") == 0x0110
            assert change(association, ends("COMPLETED"), "1.2.9.2") == 0x0112
            assert create(association, report(number=9), "1.2.9.3") == 0, (
                "kept, but it takes nothing of another's"
            )
            assert create(association, report(number=2), "1.2.9.4") == 0
            assert change(association, ends("DISCONTINUED"), "1.2.9.4") == 0

        await h.modality(h.ct, "CT1", perform)

        def another(association: Association) -> None:
            assert change(association, ends("COMPLETED"), "1.2.9.3") == 0x0112, "another's step"
            assert _ids(_found(association)) == ["P9"]

        await h.modality(h.mr, "MR1", another)

    _run(template, tmp_path, story)


def test_without_the_right_nothing_is_offered(template: Path, tmp_path: Path) -> None:
    async def story(h: Hospital) -> None:
        context = await h.house.device("cr", "CR1", ["store", "query", "retrieve", "his"])

        def talk() -> bool:
            ae = AE("CR1")
            ae.add_requested_context(MODALITY_WORKLIST_FIND)
            ae.add_requested_context(PERFORMED_PROCEDURE_STEP)
            association = ae.associate(*h.house.address, ae_title="RIBCAGE", tls_args=(context, "localhost"))
            if association.is_established:
                association.release()
            return bool(association.accepted_contexts)

        assert not await asyncio.to_thread(talk)

    _run(template, tmp_path, story)
