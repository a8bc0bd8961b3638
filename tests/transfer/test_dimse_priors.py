"""Priors through the whole chain: a new study comes over the wire, a pynetdicom SCP gets what was before it."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from helpers.front_house import FrontHouse, ct_slice, front_house, make_template
from helpers.queue_house import IMPATIENT, at, jobs, node, until
from helpers.retrieve_peers import destination, filled, stored
from ribcage.guard import protocol as p

ROOT = "1.2.826.0.1.3680043.10.2"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def film(number: int, study: int, patient: str, **more: str) -> tuple[str, bytes]:
    uids = {"StudyInstanceUID": f"{ROOT}.{study}", "SeriesInstanceUID": f"{ROOT}.{study}.1"}
    return ct_slice(number, **(uids | {"PatientID": patient} | more))


async def with_priors(house: FrontHouse) -> None:
    rule = p.AddRoute("NODE", p.RouteConditions(study_description="new"), p.Priors(2, 5))
    await house.house.admin.call(rule, p.RouteAdded)


async def over(house: FrontHouse) -> list[p.JobLine]:
    """The jobs, once all have ended."""

    async def ended() -> bool:
        return all(one.state in ("done", "failed") for one in await jobs(house))

    await until(ended)
    return await jobs(house)


def test_destination_gets_the_priors_of_the_right_patient_and_of_nobody_else(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            leaf, trusted = await node(house)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                await with_priors(house)
                films = [
                    film(1, 1, "P-0001", StudyDate="20240101"),
                    film(2, 1, "P-0001", StudyDate="20240101"),
                    film(3, 2, "P-0001", StudyDate="20230101"),
                    film(4, 3, "P-0001", StudyDate="20220101"),  # the third latest
                    film(5, 4, "P-0001", StudyDate="20190101"),
                    film(6, 5, "P-0002"),
                    film(7, 6, "UNKNOWN"),
                    film(8, 7, "P-0001", StudyDescription="New"),
                    film(9, 8, "UNKNOWN", StudyDescription="New"),
                    film(10, 9, "p-0001", StudyDescription="New"),  # another ID
                ]
                sent = await filled(house, films)
                made = await over(house)
            wanted = [films[n - 1][0] for n in (1, 2, 3, 8, 9, 10)]
            assert sorted(got.stores) == sorted(wanted), "each once"
            assert got.data == {uid: sent[uid] for uid in wanted}
            assert sorted(one.study_instance_uid for one in made if one.why == "prior") == [
                f"{ROOT}.1",
                f"{ROOT}.2",
            ]
            events = await house.events()
            assert events.count('"priors-queued"') == 1
            assert events.count('"disclosure-allowed"') == len(made) == 5

    uvloop.run(main())


def test_prior_that_the_destination_may_not_have_stays_here(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            leaf, trusted = await node(house, grant=False)
            films = [
                film(1, 1, "P-0001", StudyDate="20240101"),
                film(2, 2, "P-0001", StudyDate="20230101"),
                film(3, 3, "P-0001"),
            ]
            await filled(house, films)
            for study in (1, 3):
                grant = p.AddGrant("device:node", f"study:{ROOT}.{study}", "full")
                await house.house.admin.call(grant, p.GrantAdded)
            with destination("NODE", leaf, trusted) as (got, port):
                await at(house, port)
                await with_priors(house)
                more = {"SeriesInstanceUID": f"{ROOT}.3.2", "StudyDescription": "new"}
                last = film(4, 3, "P-0001", **more)
                await stored(house, await house.device("ct2", "CT2", ["store"]), [last], "CT2")
                made = await over(house)
            assert sorted(got.stores) == sorted([films[0][0], last[0]])
            refused = [one for one in made if one.state == "failed"]
            assert [(one.why, one.refusal, one.sent) for one in refused] == [("prior", "not_permitted", 0)]
            assert '"disclosure-refused"' in await house.events()

    uvloop.run(main())
