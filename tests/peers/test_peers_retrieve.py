"""DCMTK's getscu and movescu through stunnel (Debian's have no TLS of their own): mutual TLS to a real front."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from pydicom import dcmread

from helpers.front_house import EXPLICIT_LE, FrontHouse, ct_slice, front_house, make_template
from helpers.retrieve_peers import STUDY, destination, filled, granted
from ribcage.crypto.authority import Issued
from ribcage.guard import protocol as p

GETSCU, MOVESCU, STUNNEL = Path("/usr/bin/getscu"), Path("/usr/bin/movescu"), Path("/usr/bin/stunnel4")
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        not (GETSCU.exists() and STUNNEL.exists()),
        reason="DCMTK or stunnel is not installed (apt-get install dcmtk stunnel4)",
    ),
]
_KEYS = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}"]


@contextlib.asynccontextmanager
async def tunnel(
    folder: Path, house: FrontHouse, leaf: Issued, trusted: bytes
) -> AsyncIterator[tuple[str, str]]:
    """stunnel as the workstation's TLS: host and port where plain DICOM goes in."""
    (folder / "leaf.pem").write_bytes(leaf.certificate_pem + b"\n" + leaf.private_key_pem)
    (folder / "leaf.pem").chmod(0o600)
    (folder / "ca.pem").write_bytes(trusted)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "stunnel.conf").write_text(
        f"foreground = yes\npid =\n[ws]\nclient = yes\naccept = 127.0.0.1:{port}\n"
        f"connect = {house.address[0]}:{house.address[1]}\ncert = {folder}/leaf.pem\nCAfile = {folder}/ca.pem\n"
        "verifyChain = yes\ncheckHost = localhost\n"
    )
    process = await asyncio.create_subprocess_exec(
        str(STUNNEL),
        str(folder / "stunnel.conf"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            while b"Configuration successful" not in await process.stderr.readline():
                pass
        yield "127.0.0.1", str(port)
    finally:
        process.terminate()
        await process.communicate()


async def run(*words: object) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"TCP_NODELAY": "1"},
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return int(process.returncode or 0), out.decode(errors="replace")


def test_getscu_gets_a_study(tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(make_template(tmp_path / "template"), tmp_path / "work") as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2, 256)])
            leaf, trusted = await house.leaf("ws1", "WS1", ["retrieve"])
            await granted(house, "ws1")
            out = tmp_path / "out"
            out.mkdir()
            async with tunnel(tmp_path, house, leaf, trusted) as (host, port):
                words = (GETSCU, "-S", "-aet", "WS1", "-aec", "RIBCAGE", "-od", out, *_KEYS)
                code, text = await run(*words, host, port)
                assert code == 0, text
                files = [dcmread(path) for path in out.iterdir()]
                assert sorted(str(one.SOPInstanceUID) for one in files) == sorted(sent)
                assert {str(one.file_meta.TransferSyntaxUID) for one in files} == {EXPLICIT_LE}
                wrong = (GETSCU, "-S", "-aet", "OTHER", "-aec", "RIBCAGE", "-od", out, *_KEYS)
                assert (await run(*wrong, host, port))[0] != 0

    uvloop.run(main())


def test_movescu_moves_a_study_to_a_registered_destination(tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(make_template(tmp_path / "template"), tmp_path / "work") as house:
            sent = await filled(house, [ct_slice(1), ct_slice(2, 256)])
            leaf, trusted = await house.leaf("ws1", "WS1", ["retrieve"])
            node, _ = await house.leaf("node", "NODE", ["retrieve"])
            await granted(house, "ws1")
            await granted(house, "node")
            async with tunnel(tmp_path, house, leaf, trusted) as (host, port):
                with destination("NODE", node, trusted) as (got, at):
                    request = p.AddDestination("NODE", "node", "127.0.0.1", at)
                    await house.house.admin.call(request, p.Noted)
                    words = (MOVESCU, "-v", "-S", "-aet", "WS1", "-aec", "RIBCAGE", "-aem", "NODE", *_KEYS)
                    code, text = await run(*words, host, port)
                    assert code == 0, text
                    assert got.data == sent
                    words = (MOVESCU, "-v", "-S", "-aet", "WS1", "-aec", "RIBCAGE", "-aem", "NOBODY", *_KEYS)
                    _, text = await run(*words, host, port)
                    assert "MoveDestinationUnknown" in text or "0xa801" in text.lower(), text

    uvloop.run(main())
