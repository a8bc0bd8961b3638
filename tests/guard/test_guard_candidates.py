"""Whatever way the index is searched, the answer is that of a plain look at every study."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from helpers.guard_house import House, attributes, new_house
from ribcage.crypto.blind import name_matches
from ribcage.guard import candidates
from ribcage.guard import protocol as p
from ribcage.guard.limits import GuardLimits

FAMILIES, GIVEN = ["Zhang", "Zhao", "Li", "Wang"], ["Wei", "Weiwei", "Na", "Fang"]
NAMES = [f"{family}^{given}" for family, given in itertools.product(FAMILIES, GIVEN)] + ["Wáng^Xiǎo=王^小明"]
PATTERNS = ["Zhang*", "*wei*", "Li^Na", "Zh*^Wei", "王*", "王小明", "?ang^Fang", "Nobody*", "*", "Wang^W*i"]
DAYS = ["20260101", "20260102", "20260103"]


async def ask(house: House, station: p.Device, limit: int, after: str = "", **filters: str) -> p.QueryAnswer:
    request = p.Query(station, "dimse", "study", filters, limit=limit, after=after)
    return await house.front.call(request, p.QueryAnswer)


async def every_page(house: House, station: p.Device, limit: int, **filters: str) -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        page = await ask(house, station, limit, after, **filters)
        found += [str(record.attributes["StudyInstanceUID"]) for record in page.records]
        if not page.more:
            return found
        after = page.records[-1].position


@pytest.mark.parametrize("rare", [0, 2, 500])
def test_every_way_of_searching_finds_the_same_studies_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rare: int
) -> None:
    monkeypatch.setattr(candidates, "_RARE", rare)
    monkeypatch.setattr(candidates, "_SLICE_ROWS", 5)

    async def main() -> None:
        async with new_house(tmp_path) as house:
            modality = await house.device("cr1", "CR1", ["store"])
            station = await house.device("ws1", "WS1", ["query"])
            await house.admin.call(p.AddGrant("device:ws1", "department:radiology", "full"), p.GrantAdded)
            made = []
            for number, name in enumerate(NAMES):
                day = DAYS[number % len(DAYS)]
                await house.store(modality, attributes(number, patient_name=name, study_date=day), b"film")
                made.append((day, number, name))
            newest = [(f"1.2.3.{number}", day, name) for day, number, name in sorted(made, reverse=True)]
            for pattern, days in itertools.product(PATTERNS, ["", "20260102-", "20260101-20260101"]):
                low, _, high = days.partition("-")
                wanted = [
                    uid
                    for uid, day, name in newest
                    if name_matches(pattern, name) and low <= day and (not high or day <= high)
                ]
                filters = {"PatientName": pattern} | ({"StudyDate": days} if days else {})
                assert await every_page(house, station, 1000, **filters) == wanted
                assert await every_page(house, station, 4, **filters) == wanted

    asyncio.run(main())


def test_no_more_rows_are_looked_at_than_the_limit_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_SLICE_ROWS", 2)

    async def main() -> None:
        async with new_house(tmp_path, GuardLimits(query_candidates=3)) as house:
            modality = await house.device("cr1", "CR1", ["store"])
            station = await house.device("ws1", "WS1", ["query"])
            await house.admin.call(p.AddGrant("device:ws1", "department:radiology", "full"), p.GrantAdded)
            for number in range(5):
                await house.store(modality, attributes(number, study_date=f"2026010{number + 1}"), b"film")
            answer = await ask(house, station, 100)
            assert len(answer.records) == 3
            assert len((await ask(house, station, 100, StudyDate="20260101")).records) == 1

    asyncio.run(main())
