"""DCMTK's storescu and echoscu as foreign peers over TLS."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvloop

from helpers.front_house import CT, EXPLICIT_LE, ct_slice, elsewhere, front_house, make_template
from ribcage.crypto import authority
from ribcage.dicom.part10 import file_prefix
from ribcage.guard import protocol as p
from ribcage.usage.disclose import WayOut, open_disclosure

STORESCU = Path("/usr/bin/storescu")  # not the script of the same name in the virtual environment
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not STORESCU.exists(), reason="DCMTK is not installed (apt-get install dcmtk)"),
]


async def _storescu(folder: Path, address: tuple[str, int], certificate: bool, files: list[Path]) -> int:
    identity = ["+tls", folder / "key.pem", folder / "leaf.pem"] if certificate else ["+tla"]
    words = [
        STORESCU, *identity, "+cf", folder / "authority.pem", "-aet", "CT1", "-aec", "RIBCAGE",
        address[0], address[1], *files,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"TCP_NODELAY": "1"},
    )
    await process.communicate()
    assert process.returncode is not None
    return process.returncode


def test_storescu_stores_bit_for_bit_and_is_refused_without_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(make_template(tmp_path / "template"), tmp_path / "work") as house:
            leaf = authority.issue_client(elsewhere(), "ct1", now=datetime.now(UTC))
            own = authority.read_certificate(leaf.certificate_pem).pem
            request = p.AddDevice(
                name="ct1", ae_titles=["CT1"], may=["store", "retrieve"], certificate_pem=own
            )
            added = await house.house.admin.call(request, p.DeviceAdded)
            (tmp_path / "key.pem").write_bytes(leaf.private_key_pem)
            (tmp_path / "leaf.pem").write_bytes(own)
            (tmp_path / "authority.pem").write_bytes(added.authority_pem)
            sent = dict([ct_slice(1, 64), ct_slice(2, 512)])
            files = []
            for number, (uid, data) in enumerate(sent.items()):
                files.append(tmp_path / f"{number}.dcm")
                files[-1].write_bytes(file_prefix(CT, uid, EXPLICIT_LE) + data)
            assert await _storescu(tmp_path, house.address, False, files) != 0
            assert list(house.objects.list_files()) == []
            assert await _storescu(tmp_path, house.address, True, files) == 0
            assert len(list(house.objects.list_files())) == 2
            grant = p.AddGrant(subject="device:ct1", resource="department:radiology", view="full")
            await house.house.admin.call(grant, p.GrantAdded)
            way = WayOut(house.house.front, house.objects)
            device = p.Device(added.fingerprint, "CT1", "127.0.0.1")
            async with await open_disclosure(way, device, "dimse", "1.2.826.0.1.3680043.10.2.1") as out:
                for ref in out.instances:
                    stream = await out.instance_stream(ref)
                    data = b"".join([part async for part in stream.data_set()])
                    assert data == sent[ref.sop_instance_uid]

    uvloop.run(main())
