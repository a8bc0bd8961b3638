"""A release to a research project: by grant and consent, checked, sealed, and cut when either falls."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from attacks.research_attacks import leaving_a_name
from helpers.deid_objects import leaks
from helpers.guard_house import new_house
from helpers.research_house import PROJECT, SECRETS, Research, research
from ribcage.evidence.release_report import read_report
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.oversight.deid_making import Made, Work, make
from ribcage.oversight.release import ReleaseFailed, Withdrawn
from ribcage.storage.objects import ObjectStore
from ribcage.usage.disclose import WayOut, open_disclosure
from ribcage.usage.errors import DisclosureCut


def in_a_house(folder: Path, work: Callable[[Research], Awaitable[None]], **limits: int) -> None:
    async def run() -> None:
        async with new_house(folder, GuardLimits(**limits)) as house:
            await work(await research(house))

    asyncio.run(run())


def test_a_study_is_released_checked_and_signed(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        out = tmp_path / "out"
        study = await r.store(StudyDescription="CHEST ZHANGWEI", slices=3)
        await r.grant(study)
        await r.consent()
        result = await r.release(out, study)
        assert [one.refused for one in result.studies] == [""] and result.files == 3
        for path in sorted(out.rglob("*.dcm")):
            data = path.read_bytes()
            assert leaks(data, SECRETS) == []
            note = (out / "reports" / path.relative_to(out)).with_suffix(".note").read_bytes()
            told = read_report(note, result.verifier_key)
            assert told["file"] == {"octets": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            assert leaks(note, (*SECRETS, study, path.stem)) == []
        assert len(await r.entries("study-released")) == 2  # two files for one entry, then one
        assert '"code":"HRESCH"' in (await r.entries("disclosure-allowed"))[0]
        assert list(tmp_path.glob(".out*")) == []
        assert list(Path("/dev/shm").glob("ribcage-release-*")) == []
        again = await r.release(tmp_path / "again", study)
        assert again.files == 3
        for path in out.rglob("*.dcm"):
            assert (tmp_path / "again" / path.relative_to(out)).read_bytes() == path.read_bytes()
        projects = await r.house.admin.call(p.ListProjects(), p.ProjectItems)
        assert [(one.releases, one.studies) for one in projects.items] == [(2, 1)]
        assert await r.house.verify() == []

    in_a_house(tmp_path, work, release_page_files=2)


def test_what_lacks_consent_or_grant_is_refused_and_the_log_says_why(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        studies = [await r.store(number, slices=1) for number in range(1, 6)]
        for study in studies[:2]:
            await r.grant(study)
        await r.grant(studies[2], purpose="TREAT")
        await r.grant(studies[3], view="masked")
        for number in (2, 3, 4, 5):
            await r.consent(number)
        await r.consent(2, given=False)
        result = await r.release(tmp_path / "out", *studies, "1.2.3.99")
        assert result.files == 0 and not (tmp_path / "out").exists()
        assert {one.refused for one in result.studies} == {"NotPermitted"}
        told = {number: body for number, body in (await r.log()) if "disclosure-refused" in body}
        reasons = [json.loads(told[one.entry])["outcomeDesc"] for one in result.studies]
        due = ["consent-missing", "consent-withdrawn", "no-grant", "devices-get-the-full-view-or-nothing"]
        assert reasons == [*due, "no-grant", "unknown-study"]

    in_a_house(tmp_path, work)


def test_a_mixed_release_hands_over_what_may_leave_and_lists_the_rest(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        studies = [
            await r.store(1),
            await r.store(2),
            await r.store(3, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
        ]
        for number, study in enumerate(studies, 1):
            await r.grant(study)
            if number != 2:
                await r.consent(number)
        result = await r.release(tmp_path / "out", *studies)
        assert result.files == 2
        assert [one.refused for one in result.studies] == ["", "NotPermitted", ""]
        assert [len(one.kept_back) for one in result.studies] == [0, 0, 2]  # pixels that nobody read

    in_a_house(tmp_path, work)


def test_withdrawal_cuts_a_running_release_at_the_next_object(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        study = await r.store(slices=40)
        await r.grant(study)
        await r.consent()
        begun, ways = await r.begin(study), list[WayOut]()
        from ribcage.guard.client import GuardClient

        front = await GuardClient.connect(
            r.house.home / "run" / "guard.sock", lambda message: ways[0].on_push(message)
        )
        ways.append(WayOut(front, ObjectStore(r.house.home / "objects")))
        asked = open_disclosure(
            ways[0], p.Release(begun.ticket), "release", study, want="full", purpose="HRESCH"
        )
        async with await asked as disclosure:
            await disclosure.instance_stream(disclosure.instances[0])
            before = time.monotonic()
            await r.consent(given=False)
            with pytest.raises(DisclosureCut):
                await disclosure.instance_stream(disclosure.instances[1])  # its keys were in hand
            assert time.monotonic() - before < 1
        await front.close()

    in_a_house(tmp_path, work)


def test_consent_that_falls_before_the_sealing_hands_nothing_over(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        study = await r.store()
        await r.grant(study)
        await r.consent()
        loop = asyncio.get_running_loop()

        def made_while_withdrawing(work: Work) -> Made:
            asyncio.run_coroutine_threadsafe(r.consent(given=False), loop).result(30)
            return make(work)

        result = await r.release(tmp_path / "out", study, make=made_while_withdrawing)
        assert result.files == 0 and result.studies[0].refused == "NotPermitted"
        assert not (tmp_path / "out").exists() and await r.entries("study-released") == []

    in_a_house(tmp_path, work)


def test_a_finding_withdraws_the_whole_release(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        studies = [await r.store(1), await r.store(2)]
        for number, study in enumerate(studies, 1):
            await r.grant(study)
            await r.consent(number)

        def one_leaks(work: Work) -> Made:
            made = make(work)
            return leaving_a_name(work) if len(list(work.out.iterdir())) > 1 else made

        with pytest.raises(Withdrawn) as withdrawn:
            await r.release(tmp_path / "out", *studies, make=one_leaks)
        assert leaks("\n".join(withdrawn.value.findings).encode(), SECRETS) == []
        assert not (tmp_path / "out").exists() and list(tmp_path.glob(".out*")) == []
        assert await r.entries("study-released") == []
        assert '"valueString":"withdrawn"' in (await r.entries("release-changed"))[-1]
        alarms = await r.house.admin.call(p.GetAlarms(), p.Alarms)
        assert [one.kind for one in alarms.items] == ["release-withdrawn"]

    in_a_house(tmp_path, work)


def test_too_few_alike_are_refused(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        study = await r.store()
        await r.grant(study)
        await r.consent()
        with pytest.raises(ReleaseFailed, match="2 patients or more in each class, got one of 1"):
            await r.release(tmp_path / "out", study, least=2)
        assert not (tmp_path / "out").exists() and await r.entries("study-released") == []

    in_a_house(tmp_path, work)


async def _no(asked: Awaitable[object]) -> str:
    with pytest.raises(GuardRefused) as refused:
        await asked
    return refused.value.reason


def test_only_its_officer_releases_and_only_while_the_project_lasts(tmp_path: Path) -> None:
    async def work(r: Research) -> None:
        admin, study = r.house.admin, await r.store()
        await r.grant(study)
        await r.consent()
        other = p.BeginRelease(PROJECT, (await r.second()).approves(), [study], [])
        assert await _no(admin.call(other, p.ReleaseBegun)) == "not_permitted"
        begun = await r.begin()
        who = p.Release(begun.ticket)
        treat = p.Disclose(who, "release", study, want="full", purpose="TREAT")
        assert await _no(r.house.front.call(treat, p.Disclosed)) == "not_permitted"
        query = p.Query(who, "release", "study", {"ModalitiesInStudy": "CT"}, "HRESCH")
        told = await r.house.front.call(query, p.QueryAnswer)
        assert [one.attributes["StudyInstanceUID"] for one in told.records] == [study]
        await admin.call(p.EndProject(PROJECT), p.ProjectItem)
        asked = p.Disclose(who, "release", study, want="full", purpose="HRESCH")
        assert await _no(r.house.front.call(asked, p.Disclosed)) == "not_authenticated"
        assert await _no(r.begin(study)) == "not_permitted"
        profile = p.ProjectProfile("research-basic", [], "refuse", "00000000")
        again = p.AddProject(PROJECT, profile, "ou", time.time() + 60)
        assert await _no(admin.call(again, p.ProjectItem)) == "conflict"

    in_a_house(tmp_path, work)
