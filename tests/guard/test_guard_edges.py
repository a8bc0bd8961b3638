"""Edges at the guard: who may bring what, in which order, and what is signed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from helpers.edge_entries import MODALITY, bring, enrolled
from helpers.guard_house import House, attributes, new_home, new_house, running
from ribcage.evidence.edge_entry import EntryFront
from ribcage.evidence.edge_receipt import check_receipt
from ribcage.evidence.note import VerifierKey
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def refusal(house: House, asked: p.Request) -> str:
    with pytest.raises(GuardRefused) as refused:
        await house.front.ask(asked)
    return refused.value.reason


async def test_a_receipt_repeats_the_entry_and_is_given_again(tmp_path: Path) -> None:
    async with new_house(tmp_path) as house:
        edge = await enrolled(house)
        front = edge.front(1)
        asked = p.OpenEdgeEntry(edge.credential, front)
        opened = await house.front.call(asked, p.EdgeEntryOpened)
        assert opened.object_key == bytes(range(32)) and opened.device.ae_title == MODALITY
        await house.store(opened.device, attributes(1), b"film")
        over = p.EdgeEntryOver(edge.credential, front, attributes(1).sop_instance_uid)
        receipt = (await house.front.call(over, p.EdgeAnswer)).receipt
        told = check_receipt(receipt, VerifierKey.parse(edge.told.log_key), EntryFront.parse(front))
        assert (told.outcome, told.hospital) == ("taken", edge.told.hospital)
        assert (await house.front.call(asked, p.EdgeAnswer)).receipt == receipt
        assert (await house.front.call(over, p.EdgeAnswer)).receipt == receipt
        assert await house.verify() == []


async def test_the_order_goes_on_after_a_restart(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    async with running(home) as house:
        edge = await enrolled(house)
        receipt = await bring(house, edge, 1)
        last = edge.front(2, b"second")
    async with running(home) as house:
        assert await refusal(house, p.OpenEdgeEntry(edge.credential, edge.front(1))) == "conflict"
        assert await refusal(house, p.OpenEdgeEntry(edge.credential, edge.front(3))) == "conflict"
        opened = await house.front.call(p.OpenEdgeEntry(edge.credential, last), p.EdgeEntryOpened)
        await house.store(opened.device, attributes(2), b"second")
        over = p.EdgeEntryOver(edge.credential, last, attributes(2).sop_instance_uid)
        assert (await house.front.call(over, p.EdgeAnswer)).receipt != receipt
        status = await house.admin.call(p.GetStatus(), p.Status)
        assert [(each.name, each.sequence) for each in status.edges] == [("edge-1", 2)]


async def test_a_film_that_is_refused_for_good_gets_a_receipt_and_the_next_one_opens(tmp_path: Path) -> None:
    async with new_house(tmp_path) as house:
        edge = await enrolled(house)
        front = edge.front(1)
        await house.front.call(p.OpenEdgeEntry(edge.credential, front), p.EdgeEntryOpened)
        over = p.EdgeEntryOver(edge.credential, front, "", "NotUnderstood")
        receipt = (await house.front.call(over, p.EdgeAnswer)).receipt
        told = check_receipt(receipt, VerifierKey.parse(edge.told.log_key), EntryFront.parse(front))
        assert (told.outcome, told.reason) == ("refused", "NotUnderstood")
        await bring(house, edge, 2)


async def test_a_suspended_edge_and_a_suspended_modality_bring_nothing(tmp_path: Path) -> None:
    async with new_house(tmp_path) as house:
        edge = await enrolled(house)
        asked = p.OpenEdgeEntry(edge.credential, edge.front(1))
        for name in ("edge-1", f"edge-1/{MODALITY}"):
            await house.admin.call(p.SuspendDevice(name, True), p.Noted)
            assert await refusal(house, asked) == "not_authenticated"
            await house.admin.call(p.SuspendDevice(name, False), p.Noted)
        await house.front.call(asked, p.EdgeEntryOpened)


async def test_an_edge_speaks_for_its_own_modalities_alone(tmp_path: Path) -> None:
    async with new_house(tmp_path) as house:
        edge, other = await enrolled(house), await enrolled(house, "edge-2", "CTROOM02")
        stolen = edge.front(1, device=other.device)
        assert await refusal(house, p.OpenEdgeEntry(edge.credential, stolen)) == "not_permitted"
        modality = await house.device("cr1", "CR1", ["store"])
        assert await refusal(house, p.OpenEdgeEntry(modality, edge.front(1))) == "not_permitted"
        assert await refusal(house, p.EdgeReport(modality, 0, 0, 0.0, 0)) == "not_permitted"
        assert await refusal(house, p.OpenEdgeEntry(edge.credential, b"x" * 1408)) == "invalid"


async def test_more_modalities_are_added_by_the_same_edge_alone(tmp_path: Path) -> None:
    async with new_house(tmp_path) as house:
        edge = await enrolled(house)
        again = p.TrustEdge(
            "edge-1", "EDGE-1", edge.csr_pem, edge.signer.public_key,
            [p.EdgeModality(MODALITY), p.EdgeModality("CTROOM02")],
        )  # fmt: skip
        told = await house.admin.call(again, p.EdgeTrusted)
        assert (told.edge, told.certificate_pem) == (edge.told.edge, edge.told.certificate_pem)
        ids = {each.ae_title: each.device for each in told.modalities}
        assert set(ids) == {MODALITY, "CTROOM02"} and ids[MODALITY] == edge.device
        for changed in (
            p.TrustEdge("edge-1", "E", edge.csr_pem, bytes(32), again.modalities),
            p.TrustEdge("edge-3", "E", edge.csr_pem, b"short", again.modalities),
            p.TrustEdge("edge-3", "E", b"no request", bytes(32), again.modalities),
            p.TrustEdge("edge-3", "E", edge.csr_pem, bytes(32), []),
        ):
            with pytest.raises(GuardRefused):
                await house.admin.call(changed, p.EdgeTrusted)


async def test_what_an_edge_reports_is_seen_and_bounded(tmp_path: Path) -> None:
    async with new_house(tmp_path) as house:
        edge = await enrolled(house)
        await house.front.call(p.EdgeReport(edge.credential, 3, 900, 12.5, 1), p.Noted)
        seen = (await house.admin.call(p.GetStatus(), p.Status)).edges[0]
        assert (seen.waiting, seen.waiting_bytes, seen.oldest_seconds, seen.refused) == (3, 900, 12.5, 1)
        assert seen.seen_at > 0
        assert await refusal(house, p.EdgeReport(edge.credential, -1, 0, 0.0, 0)) == "invalid"


async def test_only_an_operator_passes_over_numbers_and_only_forward(tmp_path: Path) -> None:
    async with new_house(tmp_path) as house:
        edge = await enrolled(house)
        await bring(house, edge, 1)
        asked = p.OpenEdgeEntry(edge.credential, edge.front(7))
        assert await refusal(house, asked) == "conflict"
        again = p.TrustEdge(
            "edge-1", "EDGE-1", edge.csr_pem, edge.signer.public_key, [p.EdgeModality(MODALITY)]
        )
        for number in (1, 2, -1):
            with pytest.raises(GuardRefused):
                await house.admin.call(msgspec.structs.replace(again, go_on_at=number), p.EdgeTrusted)
        await house.admin.call(msgspec.structs.replace(again, go_on_at=7), p.EdgeTrusted)
        await house.front.call(asked, p.EdgeEntryOpened)
        assert await refusal(house, p.OpenEdgeEntry(edge.credential, edge.front(6))) == "conflict"
