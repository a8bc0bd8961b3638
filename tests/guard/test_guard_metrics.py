"""What the guard counts: every act once, under labels of a closed list, for nobody without the right."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from helpers.guard_house import House, attributes, new_house
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.devices import RIGHTS
from ribcage.guard.errors import GuardRefused
from ribcage.guard.tally import Spread, Tally
from ribcage.oversight.studies import make_identity
from ribcage.transfer.exposition import TABLE, expose

STUDY = "1.2.3.1"
OPERATOR = p.Operator(name="test")


def play(folder: Path, story: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        async with new_house(folder) as house:
            await story(house)

    asyncio.run(run())


async def read(house: House) -> p.Metrics:
    return await house.admin.call(p.GetMetrics(OPERATOR), p.Metrics)


async def refused(house: House, request: p.Request) -> str:
    with pytest.raises(GuardRefused) as caught:
        await house.front.ask(request)
    return caught.value.reason


def test_every_act_is_counted_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        device = await house.device("cr-1", "CR1", ["store"])
        await house.store(device, attributes(1), b"film" * 100)
        await house.store(device, attributes(1), b"film" * 100)  # held already
        await house.store(device, attributes(1), b"another film under the same UID")
        added = await house.person("li", "clinician")
        session = await house.session("li", added.password)
        ask = p.Disclose(principal=session, channel="dicomweb", study_instance_uid=STUDY)
        assert await refused(house, ask) == "not_permitted"
        grant = await house.admin.call(p.AddGrant("person:li", f"study:{STUDY}", "masked"), p.GrantAdded)
        told = await house.front.call(ask, p.Disclosed)
        await house.front.call(p.Query(session, "dicomweb", "study", {}), p.QueryAnswer)
        assert (await read(house)).live_disclosures == 1
        await house.admin.call(p.RevokeGrant(grant.grant_id), p.Noted)
        await house.front.call(p.DisclosureClosed(told.receipt, 0, 0, "cut"), p.Noted)
        for _ in range(6):
            assert await refused(house, p.LogIn("li", "no password", "127.0.0.9"))
        assert await refused(house, p.StepUp(session, "000000")) == "not_authenticated"
        await house.front.call(p.Refusal("plain_bytes", "dicom", "192.0.2.7", 40), p.Noted)
        told = await read(house)
        assert told.disclosures_closed == {"complete": 0, "aborted": 0, "cut": 1}
        assert told.admissions == {"admitted": 2, "held": 1}
        assert told.instances == {"stored": 1, "parked": 1, "twice": 0}
        assert told.stored_bytes > 400
        assert told.disclosures == {"masked": 1, "full": 0, "original": 0}
        assert told.disclosures_refused["not_permitted"] == 1
        assert told.queries == {"answered": 1, "refused": 0}
        assert told.log_ins == {"ok": 1, "failed": 5, "throttled": 1}
        assert told.second_factors == {"ok": 0, "failed": 1, "throttled": 0}
        assert told.connections_refused["plain_bytes"] == 40
        assert (told.revocations, told.live_disclosures) == (1, 0)
        assert told.refusals["throttled"] == 1
        assert sum(told.commit_seconds.counts) >= sum(told.commit_entries.counts) > 0
        assert told.log_entries == house.server._core.log.size > told.commit_entries.total - 3

    play(tmp_path, story)


def test_state_is_told_as_it_is(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        core = house.server._core
        told = await read(house)
        assert (told.witness_trusted, told.clock_stepped, told.ledger_behind) == (False, False, False)
        assert told.disk_free_bytes > 0
        assert told.checkpoint_age_seconds >= 0
        core.clock_watch._anchor_wall -= 4000  # the clock was set forward
        core.ledger_behind = True
        told = await read(house)
        assert told.clock_stepped
        assert told.ledger_behind
        assert 3990 < told.clock_off_seconds < 4010

    play(tmp_path, story)


def test_only_operators_and_observers_read_the_numbers(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        observer = await house.device("prom", "PROM", ["observe"])
        others = await house.device("ws-1", "WS1", ["store", "query", "retrieve"])
        added = await house.person("an", "administrator", "officer")
        session = await house.session("an", added.password)
        assert isinstance(await house.front.ask(p.GetMetrics(observer)), p.Metrics)
        before = house.server._core.log.size
        for _ in range(3):
            await house.front.ask(p.GetMetrics(observer))
        assert house.server._core.log.size == before
        assert await refused(house, p.GetMetrics(others)) == "not_permitted"
        assert house.server._core.log.size == before + 1  # the refusal is an entry
        assert await refused(house, p.GetMetrics(session)) == "not_permitted"
        assert await refused(house, p.GetMetrics(OPERATOR)) == "not_authenticated"
        stranger = p.Device(bytes(32), "", "127.0.0.1")
        assert await refused(house, p.GetMetrics(stranger)) == "not_authenticated"
        await house.admin.call(p.SuspendDevice("prom", True), p.Noted)
        assert await refused(house, p.GetMetrics(observer)) == "not_authenticated"

    play(tmp_path, story)


def test_an_observer_may_do_nothing_else(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        observer = await house.device("prom", "PROM", ["observe"])
        modality = await house.device("cr-1", "CR1", ["store"])
        await house.store(modality, attributes(1), b"film")
        await house.admin.call(p.AddGrant("device:prom", f"study:{STUDY}", "full"), p.GrantAdded)
        disclose = p.Disclose(principal=observer, channel="dicomweb", study_instance_uid=STUDY)
        assert await refused(house, disclose) == "not_permitted"
        assert await refused(house, p.Query(observer, "dicomweb", "study", {})) == "not_permitted"
        with pytest.raises(GuardRefused):
            await house.store(observer, attributes(2), b"another film")
        known = await house.front.call(p.CheckDevice(observer, "RIBCAGE", "http"), p.DeviceKnown)
        assert known.may == ["observe"]

    play(tmp_path, story)


def test_no_identity_stands_in_the_numbers(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        patient = make_identity(77, 1)
        who = [patient.latin_name, patient.patient_id, patient.id_number, patient.chinese_name]
        secret = [*who, "Geheimrat", "S3CRETAE", "192.0.2.77", "2.25.777001", "hunter2-words"]
        device = await house.device("Geheimrat", "S3CRETAE", ["store"])
        named = attributes(
            1, patient_name=who[0], patient_id=who[1], study_instance_uid="2.25.777001", modality="S3CRETAE"
        )
        await house.store(device, named, b"film")
        for name in who:
            assert await refused(house, p.LogIn(name, "hunter2-words", "192.0.2.77"))
            filters = {"PatientName": name, name: "x"}
            assert await refused(house, p.Query(device, "dicomweb", "study", filters))
        await house.front.call(p.Refusal("malformed", "https", "192.0.2.77", 3), p.Noted)
        ask = p.Disclose(principal=device, channel="dimse", study_instance_uid="2.25.777001")
        assert await refused(house, ask) == "not_permitted"
        told = await read(house)
        texts = (expose(told).decode(), json.dumps(msgspec.to_builtins(told), ensure_ascii=False))
        for text in texts:
            assert [each for each in secret if each.lower() in text.lower()] == []
        assert told.log_ins["failed"] == len(who)  # and all of it was counted

    play(tmp_path, story)


def test_a_label_that_is_on_no_list_is_an_error() -> None:
    tally = Tally(("a", "b"))
    tally.add("a")
    with pytest.raises(KeyError):
        tally.add("Wang^Wangshu")  # type: ignore[arg-type]  # what the type forbids
    assert tally.read() == {"a": 1, "b": 0}
    text = msgspec.msgpack.encode(msgspec.to_builtins(numbers()) | {"queries": {"Wang^Wangshu": 1}})
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(text, type=p.Metrics)


def test_a_spread_counts_up_to_each_bound() -> None:
    spread = Spread((1, 2, 4))
    for value in (0, 1, 1.5, 2, 3, 9):
        spread.add(value)
    assert spread.read() == p.Histogram([1, 2, 4], [2, 2, 1, 1], 16.5)


def numbers() -> p.Metrics:
    """One of everything."""
    made = {}
    for field in msgspec.structs.fields(p.Metrics):
        if field.type in (int, float, bool):
            made[field.name] = field.type(1)
        elif field.type is p.Histogram:
            made[field.name] = p.Histogram([0.5, 1.0], [3, 2, 1], 4.5)
        else:
            made[field.name] = dict.fromkeys(get_args(get_args(field.type)[0]), 2)
    return p.Metrics(**made)


def test_a_second_implementation_reads_the_text_and_nothing_is_left_out() -> None:
    told = numbers()
    families = {each.name: each for each in text_string_to_metric_families(expose(told).decode())}
    assert len(families) == len(TABLE) == len(msgspec.structs.fields(p.Metrics))
    assert {row[3] for row in TABLE} == {field.name for field in msgspec.structs.fields(p.Metrics)}
    for name, kind, label, field, text in TABLE:
        family = families[f"ribcage_{name}"]
        assert (family.type, family.documentation) == (kind, text)
        value = getattr(told, field)
        if isinstance(value, dict):
            assert {each.labels[label]: each.value for each in family.samples} == value
    buckets = {
        each.labels["le"]: each.value
        for each in families["ribcage_commit_seconds"].samples
        if each.name.endswith("_bucket")
    }
    assert buckets == {"0.5": 3, "1.0": 5, "+Inf": 6}


def test_every_name_is_in_the_operations_document() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    section = document.split("## Metrics")[1].split("\n## ")[0]
    listed = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `ribcage_")]
    suffix = {"counter": "_total", "gauge": "", "histogram": ""}
    assert listed == [f"ribcage_{name}{suffix[kind]}" for name, kind, *_ in TABLE]
    alerts = set(re.findall(r"ribcage_[a-z_]+", section))
    assert {
        each.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for each in alerts
    } <= set(listed)


def test_rights_of_devices_are_one_list() -> None:
    assert RIGHTS == ("store", "query", "retrieve", "observe", "reject", "edge", "his", "worklist")


def test_a_front_cannot_read_them_in_the_name_of_an_operator(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        front = await GuardClient.connect(house.home / "run" / "guard.sock")
        with pytest.raises(GuardRefused):
            await front.ask(p.GetMetrics(p.Operator(name="root")))
        await front.close()

    play(tmp_path, story)
