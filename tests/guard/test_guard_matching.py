"""Matching (PS3.4 C.2.2.2): the guard's answer equals a naive reference over random small archives, page by page."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.guard_house import attributes, new_house
from ribcage.guard import matching
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

_DATES = ("", "20251231", "20260101", "20260102")
_TIMES = ("", "09", "1000", "100030", "235959.5")
_IDS = ("P1", "P2", "P10")
_DESCRIPTIONS = ("", "Chest PA", "Chest lat", "Hand [l]")
_Archive = list[dict[str, str]]


@st.composite
def archives(draw: st.DrawFn) -> _Archive:
    """Up to six instances; those of one study agree on what belongs to the study."""
    found: _Archive = []
    for number in range(draw(st.integers(1, 4))):
        study = {
            "study_instance_uid": f"1.2.{number}",
            "study_date": draw(st.sampled_from(_DATES)),
            "study_time": draw(st.sampled_from(_TIMES)),
            "patient_id": draw(st.sampled_from(_IDS)),
            "study_description": draw(st.sampled_from(_DESCRIPTIONS)),
        }
        for member in range(draw(st.integers(1, 3))):
            series = draw(st.integers(0, 1))
            found.append(study | {
                "series_instance_uid": f"1.2.{number}.{series}",
                "sop_instance_uid": f"1.2.{number}.{series}.{member}",
                "modality": ("CR", "SR")[series],
                "series_number": str(series + 1),
            })  # fmt: skip
    return found


_RANGES = ("20260101", "20260101-", "-20260101", "20251231-20260101")
_SPANS = ("10", "1000", "100000", "1000-", "-1000", "0930-100010")
_FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "StudyDate": st.sampled_from(_RANGES),
        "StudyTime": st.sampled_from(_SPANS),
        "PatientID": st.sampled_from((*_IDS, "P?", "P*")),
        "StudyDescription": st.sampled_from(("Chest*", "*[l]", "Chest ?A", "none")),
        "ModalitiesInStudy": st.sampled_from(("CR", "SR", "S?", "CR\\SR")),
        "StudyInstanceUID": st.sampled_from(("1.2.0", "1.2.0\\1.2.2")),
        "SeriesNumber": st.sampled_from(("1", "01", "2")),
    },
)


def naive_time(wanted: str, value: str) -> bool:
    """In microseconds since midnight, each value standing for all moments that begin with what is written."""

    def bounds(text: str) -> tuple[int, int]:
        digits = text.replace(".", "")
        low, high = digits.ljust(12, "0"), digits + "235959999999"[len(digits) :]
        return tuple(
            ((int(t[:2]) * 60 + int(t[2:4])) * 60 + int(t[4:6])) * 10**6 + int(t[6:]) for t in (low, high)
        )  # type: ignore[return-value]  # two numbers

    if not value:
        return False
    start = bounds(value)[0]
    low, dash, high = wanted.partition("-")
    if not dash:
        inside = bounds(wanted)[0] <= start <= bounds(wanted)[1]
        return inside or (value.startswith(wanted.rstrip("0")) and bounds(wanted)[0] == start)
    return (not low or start >= bounds(low)[0]) and (not high or start <= bounds(high)[1])


def naive_text(wanted: str, value: str) -> bool:
    pattern = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in wanted)
    return re.fullmatch(pattern, value) is not None


def naive(archive: _Archive, filters: dict[str, str], combined: bool) -> set[str]:
    """Series that match, by going through every instance."""
    answered = set()
    for row in archive:
        kinds = {
            other["modality"] for other in archive if other["study_instance_uid"] == row["study_instance_uid"]
        }
        date, time = filters.get("StudyDate", ""), filters.get("StudyTime", "")
        verdicts = [
            any(naive_text(wanted, kind) for wanted in value.split("\\") for kind in kinds)
            for key, value in filters.items() if key == "ModalitiesInStudy"
        ]  # fmt: skip
        if "StudyInstanceUID" in filters:
            verdicts.append(row["study_instance_uid"] in filters["StudyInstanceUID"].split("\\"))
        if "SeriesNumber" in filters:
            verdicts.append(int(row["series_number"]) == int(filters["SeriesNumber"]))
        for key, name in (("PatientID", "patient_id"), ("StudyDescription", "study_description")):
            if key in filters:
                verdicts.append(naive_text(filters[key], row[name]))
        if combined and "-" in date and "-" in time:
            verdicts.append(naive_moment(date, time, row))
        else:
            if date:
                low, dash, high = date.partition("-")
                value = row["study_date"]
                last = high if dash else low
                verdicts.append(bool(value) and value >= low and (not last or value <= last))
            if time:
                verdicts.append(naive_time(time, row["study_time"]))
        if all(verdicts):
            answered.add(row["series_instance_uid"])
    return answered


def naive_moment(dates: str, times: str, row: dict[str, str]) -> bool:
    """Day by day: inside, or on the edge and then by time."""
    first, _, last = dates.partition("-")
    early, _, late = times.partition("-")
    day, time = row["study_date"], row["study_time"] or "00"
    if not day or (first and day < first) or (last and day > last):
        return False
    after = first != day or not early or naive_time(early + "-", time)
    return after and (last != day or not late or naive_time("-" + late, time))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(archives(), st.lists(st.tuples(_FILTERS, st.booleans(), st.integers(1, 3)), min_size=4, max_size=8))
def test_answers_equal_a_naive_reference_whatever_the_page(
    archive: _Archive, questions: list[tuple[dict[str, str], bool, int]]
) -> None:
    async def run(folder: Path) -> None:
        async with new_house(folder) as house:
            device = await house.device("ws1", "WS1", ["store", "query"])
            grant = p.AddGrant(subject="device:ws1", resource="department:radiology", view="full")
            await house.admin.call(grant, p.GrantAdded)
            for number, row in enumerate(archive):
                stored = await house.store(device, attributes(1, accession_number="", **row), b"%d" % number)
                assert isinstance(stored, p.Committed)
            for filters, combined, size in questions:
                got, after, more = list[str](), "", True
                while more:
                    query = p.Query(
                        device, "dimse", "series", filters, limit=size, after=after, combined=combined
                    )
                    page = await house.front.call(query, p.QueryAnswer)
                    got += [str(record.attributes["SeriesInstanceUID"]) for record in page.records]
                    more, after = page.more, page.records[-1].position if page.records else ""
                assert len(got) == len(set(got))
                assert set(got) == naive(archive, filters, combined), (filters, combined)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyTime", "25h"),
        ("StudyTime", "-"),
        ("StudyDate", "2026-01-01"),
        ("StudyDate", "2026*"),
        ("StudyInstanceUID", "1.2*"),
        ("NumberOfFrames", "1"),
    ],
)
def test_values_out_of_form_are_refused(keyword: str, value: str) -> None:
    with pytest.raises(GuardRefused):
        matching.check({keyword: value}, "study")


@pytest.mark.parametrize("position", ["x", "20260101.1.2", "1.2.3.4'--", "1" * 9 + ".1.0.0", "ff"])
def test_a_position_nobody_gave_is_refused(tmp_path: Path, position: str) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device = await house.device("ws1", "WS1", ["query"])
            for level in ("patient", "series"):
                with pytest.raises(GuardRefused) as refused:
                    await house.front.ask(p.Query(device, "dimse", level, {}, after=position))
                assert refused.value.reason == "invalid"

    asyncio.run(run())
