"""A release to a research project: by grant and consent, checked, sealed, and cut when either falls."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from helpers.deid_objects import leaks
from helpers.guard_house import new_house
from helpers.research_house import SECRETS, research
from ribcage.evidence.release_report import read_report


def files(out: Path) -> list[Path]:
    return sorted(out.rglob("*.dcm"))


def test_a_study_is_released_checked_and_signed(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            r = await research(house)
            study = await r.store(StudyDescription="CHEST ZHANGWEI")
            await r.grant(study)
            await r.consent()
            result = await r.release(tmp_path / "out", study)
            assert [one.refused for one in result.studies] == [""] and result.files == 2
            for path in files(tmp_path / "out"):
                data = path.read_bytes()
                assert leaks(data, SECRETS) == []
                note = (tmp_path / "out" / "reports" / path.relative_to(tmp_path / "out")).with_suffix(
                    ".note"
                )
                told = read_report(note.read_bytes(), result.verifier_key)
                assert told["file"] == {"octets": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                assert leaks(note.read_bytes(), (*SECRETS, study)) == []
            assert len(await r.entries("study-released")) == 1
            assert '"purposeOfEvent"' in (await r.entries("disclosure-allowed"))[0]
            assert (
                list(tmp_path.glob(".out*")) == [] and list(Path("/dev/shm").glob("ribcage-release-*")) == []
            )
            assert await house.verify() == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "reason"),
    [(None, "consent-missing"), (False, "consent-withdrawn")],
    ids=["missing", "withdrawn"],
)
def test_without_consent_nothing_is_released(tmp_path: Path, given: bool | None, reason: str) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            r = await research(house)
            study = await r.store()
            await r.grant(study)
            if given is False:
                await r.consent(given=True)
                await r.consent(given=False)
            result = await r.release(tmp_path / "out", study)
            assert result.files == 0 and not (tmp_path / "out").exists()
            assert result.studies[0].refused == "NotPermitted" and result.studies[0].entry >= 0
            assert f'"outcomeDesc":"{reason}"' in (await r.entries("disclosure-refused"))[0]

    asyncio.run(run())


@pytest.mark.parametrize("wrong", ["no-grant", "treatment", "masked"])
def test_without_the_research_grant_nothing_is_released(tmp_path: Path, wrong: str) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            r = await research(house)
            study = await r.store()
            await r.consent()
            if wrong == "treatment":
                await r.grant(study, purpose="TREAT")
            elif wrong == "masked":
                await r.grant(study, view="masked")
            result = await r.release(tmp_path / "out", study)
            assert result.files == 0 and not (tmp_path / "out").exists()

    asyncio.run(run())
