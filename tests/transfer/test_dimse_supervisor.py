"""The supervisor with real guard and front processes: readiness, restarts, stop; and addresses it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import sys
from pathlib import Path

import pytest

from helpers.front_house import client_context, make_template
from helpers.guard_house import PASSPHRASE, prove_operator
from helpers.raw_scu import AssociationFailed, echo
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.storage.objects import ObjectStore
from ribcage.transfer.errors import ProcessFailed, SettingsRefused
from ribcage.transfer.limits import ListenAddress, ListenLimits
from ribcage.transfer.supervisor import Supervisor, SupervisorPlan

SCRIPT = str(Path(__file__).parents[1] / "helpers" / "run_child.py")
LOOPBACK = (ListenAddress("dicom", "127.0.0.1", 0),)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def _plan(home: Path, **more: object) -> SupervisorPlan:
    guard = (sys.executable, SCRIPT, "guard", str(home), "{passphrase}", "{ready}", "{lifeline}")
    front = (sys.executable, SCRIPT, "front", str(home), "{control}")
    values = {"guard_command": guard, "front_command": front, "limits": ListenLimits(drain_seconds=5.0)}
    return SupervisorPlan(LOOPBACK, **(values | more))  # type: ignore[arg-type]


def _children(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words and SCRIPT.encode() in words:
            found.append(int(folder.name))
    return found


async def _device(home: Path) -> ssl.SSLContext:
    admin = await GuardClient.connect(home / "run" / "guard.sock")
    await prove_operator(admin)
    request = p.AddDevice(name="ct1", ae_titles=["CT1"], may=["store"])
    added = await admin.call(request, p.DeviceAdded)
    await admin.close()
    return client_context(added.authority_pem, added.certificate_pem, added.private_key_pem)


async def _echo(address: tuple[str, int], context: ssl.SSLContext) -> int:
    """Until it answers: a restarted process needs a moment, meanwhile refusals are right."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await asyncio.to_thread(echo, address, context, "CT1", "RIBCAGE")
            except (AssociationFailed, OSError):
                await asyncio.sleep(0.1)


def test_killed_front_and_killed_guard_are_replaced_and_stop_leaves_no_process(
    template: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(template, home)
    ObjectStore(home / "objects").prepare()
    lines: asyncio.Queue[str] = asyncio.Queue()

    async def main() -> None:
        supervisor = Supervisor(_plan(home), PASSPHRASE, lines.put_nowait)
        task = asyncio.create_task(supervisor.run())
        ready = asyncio.create_task(lines.get())
        await asyncio.wait([ready, task], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        address = json.loads(ready.result())["dicom"]
        context = await _device(home)
        assert await _echo(tuple(address), context) == 0
        for word in ("front", "guard"):
            (victim,) = _children_of(word, home)
            os.kill(victim, signal.SIGKILL)
            assert await _echo(tuple(address), context) == 0
            assert victim not in _children_of(word, home)
        supervisor.stop()
        await asyncio.wait_for(task, 15)
        assert _children_of("front", home) == _children_of("guard", home) == []

    asyncio.run(main())


def _children_of(word: str, home: Path) -> list[int]:
    return [pid for pid in _children(word) if str(home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_guard_that_never_becomes_ready_stops_the_start(tmp_path: Path) -> None:
    plan = _plan(tmp_path, guard_command=(sys.executable, "-c", "raise SystemExit(3)"))

    async def main() -> None:
        with pytest.raises(ProcessFailed, match="before it was ready"):
            await Supervisor(plan, PASSPHRASE, lambda _: None).run()

    asyncio.run(main())


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "8.8.8.8", "2606:4700::1111", "archive.example"])
def test_address_reachable_from_outside_is_refused_unless_named(address: str) -> None:
    listeners = (ListenAddress("dicom", address, 0),)
    with pytest.raises(SettingsRefused):
        Supervisor(SupervisorPlan(listeners, ("false",), ("false",)), b"", lambda _: None)
    if address != "archive.example":
        Supervisor(
            SupervisorPlan(listeners, ("false",), ("false",), named_public=frozenset({address})),
            b"",
            lambda _: None,
        )


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fe80::1"])
def test_private_address_is_free(address: str) -> None:
    Supervisor(SupervisorPlan((ListenAddress("dicom", address, 0),), ("a",), ("b",)), b"", lambda _: None)
