"""C-STORE through the whole chain: TLS, upper layer, capture.admit, a real guard, and back out by usage.disclose."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from helpers.front_house import (
    CT,
    EXPLICIT_LE,
    QUICK,
    client_context,
    ct_slice,
    front_house,
    make_template,
    stranger,
)
from helpers.raw_scu import AssociationFailed, RawAssociation, echo, store
from ribcage.dicom.association_events import Aborted
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.guard import protocol as p
from ribcage.transfer.limits import FrontSettings
from ribcage.usage.disclose import WayOut, open_disclosure
from ribcage.usage.errors import DisclosureCut, DisclosureError


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def _store(house, context, uid, data, **more):
    return asyncio.to_thread(
        store, house.address, context, more.get("calling", "CT1"), more.get("called", "RIBCAGE"), CT,
        more.get("command_uid", uid), EXPLICIT_LE, data,
    )  # fmt: skip


async def _reader(house) -> p.Device:
    """A device that may retrieve the study."""
    device = await house.house.device("ws1", "WS1", ["query", "retrieve"])
    grant = p.AddGrant(subject="device:ws1", resource="department:radiology", view="full")
    await house.house.admin.call(grant, p.GrantAdded)
    return device


async def _data_set_of(way: WayOut, device: p.Device) -> dict[str, bytes]:
    found = {}
    async with await open_disclosure(way, device, "dimse", "1.2.826.0.1.3680043.10.2.1", want="full") as out:
        for ref in out.instances:
            stream = await out.instance_stream(ref)
            found[ref.sop_instance_uid] = b"".join([part async for part in stream.data_set()])
    return found


def test_stored_data_set_comes_back_bit_for_bit(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            sent = dict([ct_slice(1, 32), ct_slice(2, 1024)])
            for uid, data in sent.items():
                assert await _store(house, context, uid, data) == 0x0000
            way = WayOut(house.house.front, house.objects)
            assert await _data_set_of(way, await _reader(house)) == sent
            assert await house.house.verify() == []
            assert "Muster" not in "".join(house.objects.list_files())

    uvloop.run(main())


def test_same_instance_twice_is_acknowledged_and_kept_once(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            uid, data = ct_slice()
            assert [await _store(house, context, uid, data) for _ in range(2)] == [0, 0]
            assert len(list(house.objects.list_files())) == 1

    uvloop.run(main())


def test_command_naming_another_instance_is_a900_and_leaves_no_file(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            uid, data = ct_slice()
            assert await _store(house, context, uid, data, command_uid="1.2.3.4") == 0xA900
            assert await _store(house, context, uid, b"\x08\x00garbage") == 0xC000
            assert list(house.objects.list_files()) == []

    uvloop.run(main())


def test_device_without_the_right_to_store_gets_no_storage_context(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ws1", "WS1", ["query"])
            uid, data = ct_slice()
            with pytest.raises(KeyError):
                await _store(house, context, uid, data, calling="WS1")

    uvloop.run(main())


def test_full_disk_is_a700_and_leaves_nothing(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.write, []

    def full(descriptor: int, data: memoryview) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".rbc"):
            if written:
                raise OSError(errno.ENOSPC, "full")
            written.append(True)
            return real(descriptor, data[:100])
        return real(descriptor, data)

    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            uid, data = ct_slice()
            with monkeypatch.context() as patch:
                patch.setattr("ribcage.storage.objects.os.write", full)
                assert await _store(house, context, uid, data) == 0xA700
            assert list(house.objects.list_files()) == []
            assert await _store(house, context, uid, data) == 0x0000

    uvloop.run(main())


def test_wrong_ae_titles_are_refused_with_their_reasons(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            assert await asyncio.to_thread(echo, house.address, context, "CT1", "RIBCAGE") == 0
            for calling, called, reason in (("CT2", "RIBCAGE", 3), ("CT1", "ELSEWHERE", 7)):
                with pytest.raises(AssociationFailed) as refused:
                    await asyncio.to_thread(echo, house.address, context, calling, called)
                answer = refused.value.rejection
                assert answer is not None
                assert (answer.result, answer.source, answer.reason) == (1, 1, reason)
            assert "unregistered-or-wrong-ae-title" in await house.events()

    uvloop.run(main())


async def _noted(house, word: str) -> None:
    async with asyncio.timeout(5):
        while word not in await house.events():
            await asyncio.sleep(0.05)


def test_plain_bytes_are_refused_and_noted(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            with pytest.raises((AssociationFailed, OSError)):
                await asyncio.to_thread(echo, house.address, None, "CT1", "RIBCAGE")
            await _noted(house, "plain-bytes")

    uvloop.run(main())


def test_client_without_certificate_is_refused_and_noted(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            authority = await _authority(house)
            with pytest.raises((AssociationFailed, OSError)):
                await asyncio.to_thread(echo, house.address, client_context(authority), "CT1", "RIBCAGE")
            await _noted(house, "no-certificate")

    uvloop.run(main())


def test_foreign_authority_is_refused_and_noted(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = stranger(await _authority(house))
            with pytest.raises((AssociationFailed, OSError)):
                await asyncio.to_thread(echo, house.address, context, "CT1", "RIBCAGE")
            await _noted(house, "handshake")

    uvloop.run(main())


def test_silent_peer_is_dropped_and_noted(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            with socket.create_connection(house.address, 5) as mute:
                assert await asyncio.to_thread(mute.recv, 1) == b""
            await _noted(house, "timeout")

    uvloop.run(main())


async def _authority(house) -> bytes:
    request = p.AddDevice(name="any", ae_titles=["ANY"], may=["store"])
    return (await house.house.admin.call(request, p.DeviceAdded)).authority_pem


def test_truncated_pdu_and_garbage_leave_the_front_serving(template: Path, tmp_path: Path) -> None:
    def attack(address: tuple[str, int], context, data: bytes) -> None:
        with (
            socket.create_connection(address, 5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            tls.sendall(data)
            tls.settimeout(5)
            assert tls.recv(4096)[0] == 7  # A-ABORT

    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            await asyncio.to_thread(attack, house.address, context, b"\xff" * 64)
            await asyncio.to_thread(attack, house.address, context, b"\x01\x00\xff\xff\xff\xff")
            await _noted(house, "malformed")
            assert await asyncio.to_thread(echo, house.address, context, "CT1", "RIBCAGE") == 0

    uvloop.run(main())


def test_cut_disclosure_stops_before_the_next_segment(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            uid, data = ct_slice(1, 1536)  # 4.5 MiB: five segments
            assert await _store(house, context, uid, data) == 0
            device = await _reader(house)
            way = WayOut(house.house.front, house.objects)
            got = 0
            with pytest.raises(DisclosureCut):
                async with await open_disclosure(way, device, "dimse", "1.2.826.0.1.3680043.10.2.1") as out:
                    stream = await out.instance_stream(out.instances[0])
                    async for part in stream.data_set():
                        got += len(part)
                        if got > 1024 * 1024 // 2:
                            way.on_push(p.Revoked([out.answer.disclosure]))
            assert 0 < got < 1024 * 1024 + len(stream.header)
            with pytest.raises(DisclosureError):
                await out.instance_stream(out.instances[0])

    uvloop.run(main())


def test_association_goes_on_after_a_failed_store_and_counts_are_closed(
    template: Path, tmp_path: Path
) -> None:
    def several(address, context, instances) -> list[int]:
        with RawAssociation(
            address, [(CT, [EXPLICIT_LE])], ssl_context=context, calling="CT1"
        ) as association:
            return [association.store(CT, uid, data) for uid, data in instances]

    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            good = [ct_slice(number) for number in (1, 2, 3)]
            sent = [good[0], ("1.2.3", good[1][1]), good[1], good[2]]
            assert await asyncio.to_thread(several, house.address, context, sent) == [0, 0xA900, 0, 0]

    uvloop.run(main())


def test_stopped_front_finishes_and_ends_its_associations(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            open_one = await asyncio.to_thread(
                RawAssociation, house.address, [(CT, [EXPLICIT_LE])], ssl_context=context, calling="CT1"
            )
            house.stop_front()
            await asyncio.wait_for(house.running, 5)
            assert house.front.connections == 0
            open_one.close()

    uvloop.run(main())


def test_association_over_the_fronts_bound_of_bytes_is_aborted_and_others_go_on(
    template: Path, tmp_path: Path
) -> None:
    small = FrontSettings(Path(), Path(), limits=replace(QUICK, max_buffered_bytes=1_000_000))

    async def main() -> None:
        async with front_house(template, tmp_path, small) as house:
            context = await house.device("ct1", "CT1", ["store"])
            uid, data = ct_slice(1, 1024)
            with pytest.raises((AssociationFailed, OSError)):
                await _store(house, context, uid, data)
            await _noted(house, "limit")
            assert await _store(house, context, *ct_slice(2, 64)) == 0
            assert list(house.objects.list_files()) != []

    uvloop.run(main())


def test_more_associations_than_an_address_may_have_are_refused(template: Path, tmp_path: Path) -> None:
    two = FrontSettings(Path(), Path(), limits=replace(QUICK, max_connections_per_address=2))

    async def main() -> None:
        async with front_house(template, tmp_path, two) as house:
            context = await house.device("ct1", "CT1", ["store"])
            proposals = [(CT, [EXPLICIT_LE])]
            opened = [
                await asyncio.to_thread(
                    RawAssociation, house.address, proposals, ssl_context=context, calling="CT1"
                )
                for _ in range(2)
            ]
            with pytest.raises(AssociationFailed) as refused:
                await asyncio.to_thread(echo, house.address, context, "CT1", "RIBCAGE")
            assert refused.value.rejection is not None
            assert refused.value.rejection.result == 2
            for association in opened:
                await asyncio.to_thread(association.release)
            assert await asyncio.to_thread(echo, house.address, context, "CT1", "RIBCAGE") == 0

    uvloop.run(main())


def test_silent_association_is_aborted_after_the_idle_time(template: Path, tmp_path: Path) -> None:
    quick = FrontSettings(Path(), Path(), limits=QUICK, upper_layer=UpperLayerLimits(idle_seconds=0.3))

    async def main() -> None:
        async with front_house(template, tmp_path, quick) as house:
            context = await house.device("ct1", "CT1", ["store"])
            association = await asyncio.to_thread(
                RawAssociation, house.address, [(CT, [EXPLICIT_LE])], ssl_context=context, calling="CT1"
            )
            assert isinstance(await asyncio.to_thread(association.next_event), Aborted)
            association.close()

    uvloop.run(main())


def test_guard_that_is_gone_means_no_association_and_no_success(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            association = await asyncio.to_thread(
                RawAssociation, house.address, [(CT, [EXPLICIT_LE])], ssl_context=context, calling="CT1"
            )
            await house.house.admin.call(p.Stop(), p.Noted)
            async with asyncio.timeout(5):
                while (house.objects._root.parent / "run" / "guard.sock").exists():
                    await asyncio.sleep(0.02)
            uid, data = ct_slice()
            assert await asyncio.to_thread(association.store, CT, uid, data) == 0x0110
            with pytest.raises(AssociationFailed) as refused:
                await asyncio.to_thread(echo, house.address, context, "CT1", "RIBCAGE")
            assert refused.value.rejection is not None
            assert refused.value.rejection.result == 2
            association.close()

    uvloop.run(main())
