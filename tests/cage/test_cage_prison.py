"""Hostile pixels that took over a worker: everything they try is held, and works without the lock (the control)."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import planted_worker
from ribcage.cage import Cage, CageFailed, CageLimits, FrameSource, PixelsUnreadable, WishInvalid, seccomp
from ribcage.cage.lockdown import lock

LIMITS = CageLimits(workers=1, job_seconds=5.0)
QUICK = CageLimits(workers=1, job_seconds=0.5)


def command(mode: str) -> list[str]:
    return [sys.executable, "-I", str(planted_worker.__file__), mode]


def attack(mode: str, *attacks: tuple[str, str], limits: CageLimits = LIMITS) -> list[str]:
    """What became of each attack, all in one worker: "through", or the text of the failure."""

    async def run() -> list[str]:
        cage, found = Cage(limits, command(mode)), []
        for name, argument in attacks:
            try:
                await cage.decode(FrameSource(argument.encode(), name, b""))
            except (WishInvalid, CageFailed) as error:
                found.append(str(error))
        await cage.close()
        return found

    return asyncio.run(run())


@pytest.fixture
def arguments(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What each attack aims at; nothing where it needs no aim."""
    (tmp_path / "there").write_bytes(b"x")
    secret = ctypes.create_string_buffer(b"a secret of the front")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = str(os.getpid())
        yield {
            "read_file": str(tmp_path / "there"),
            "write_file": str(tmp_path / "new"),
            "connect": str(listener.getsockname()[1]),
            "signal_parent": pid,
            "trace_parent": pid,
            "read_parents_memory": f"{pid} {ctypes.addressof(secret)} {len(secret.value)}",
        }


HELD = (
    "read_file",
    "write_file",
    "fill_memory_file",
    "connect",
    "unix_socket",
    "pair",
    "fork",
    "thread",
    "execute",
    "signal_parent",
    "trace_parent",
    "read_parents_memory",
    "new_code",
    "old_pages_as_code",
    "lift_a_limit",
    "own_spaces",
    "eight_gigabytes",
)


def test_everything_a_worker_tries_is_held(arguments: dict[str, str]) -> None:
    found = attack("locked", *((name, arguments.get(name, "")) for name in HELD))
    assert [name for name, became in zip(HELD, found, strict=True) if not became.startswith("held")] == []
    assert not Path(arguments["write_file"]).exists()


def test_without_the_lock_everything_works(arguments: dict[str, str]) -> None:
    """The control: an attack that fails here as well shows nothing."""
    found = attack("open", *((name, arguments.get(name, "")) for name in HELD))
    failed = {name: became for name, became in zip(HELD, found, strict=True) if became != "through"}
    if os.geteuid() != 0:  # tracing and foreign memory need rights that not every system gives its users
        failed = {
            name: why for name, why in failed.items() if name not in ("trace_parent", "read_parents_memory")
        }
    assert failed == {}


def test_the_second_wall_holds_files_and_network_without_the_filter(arguments: dict[str, str]) -> None:
    names = ("read_file", "write_file", "connect", "signal_parent", "trace_parent", "read_parents_memory")
    found = attack("unfiltered", *((name, arguments.get(name, "")) for name in names))
    if found[0] == "through":
        pytest.skip("this system gives its users no spaces of their own")
    held = {name for name, became in zip(names, found, strict=True) if became.startswith("held")}
    assert {"read_file", "write_file", "connect", "trace_parent", "read_parents_memory"} <= held


def test_no_descriptor_and_no_variable_of_the_front_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "key").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        (left, names) = attack("locked", ("inherited_descriptor", ""), ("environment", ""))
    assert left.startswith("held")
    assert set(json.loads(names)) == {
        "LC_ALL",
        "OPENBLAS_NUM_THREADS",
        "GDCM_RESOURCES_PATH",
    }  # the last by gdcm


@pytest.mark.parametrize("endless", ["spin", "ignore_the_end_of_time"])
def test_an_endless_job_is_cut_and_the_next_one_works(endless: str) -> None:
    cut, next_one = attack("locked", (endless, ""), ("spin_for_a_moment", ""), limits=QUICK)
    assert "0.5 s" in cut
    assert next_one == "through"


@pytest.mark.parametrize("death", ["die", "crash", "lie_about_the_size", "babble", "promise_too_much"])
def test_a_dead_or_lying_worker_fails_its_job_alone(death: str) -> None:
    failed, next_one = attack("locked", (death, ""), ("spin_for_a_moment", ""))
    assert failed != "through"
    assert next_one == "through"


def test_where_calls_cannot_be_filtered_the_worker_does_not_start() -> None:
    (refused,) = attack("refused", ("read_file", "/dev/null"))
    assert "could not lock itself in: this system filters no calls" in refused


def test_an_unknown_architecture_has_no_filter_and_so_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    names = os.uname()
    other = type(names)((*names[:4], "riscv64"))
    monkeypatch.setattr(os, "uname", lambda: other)
    with pytest.raises(OSError, match="riscv64"):
        seccomp.install()


def test_more_than_one_thread_cannot_be_locked_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: ["1", "2"])
    with pytest.raises(OSError, match="one thread"):
        lock(1 << 30)


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_the_filter_passes_nothing_that_makes_a_descriptor_or_a_process(machine: str) -> None:
    calls = seccomp.ARCHITECTURES[machine]
    every = {**calls.allowed, **calls.mapping}
    assert len(set(every.values())) == len(every)
    makers = (
        "open",
        "socket",
        "connect",
        "accept",
        "dup",
        "pipe",
        "clone",
        "fork",
        "exec",
        "kill",
        "prctl",
        "ioctl",
    )
    assert not [name for name in every for maker in makers if maker in name]


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _children() -> set[int]:
    return {
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    }


def test_the_kernel_says_that_the_products_worker_is_locked_in() -> None:
    async def run() -> None:
        cage, before = Cage(LIMITS), _children()
        with pytest.raises(PixelsUnreadable, match="without pixels"):
            await cage.decode(FrameSource(b"", "1.2.840.10008.1.2", b""))
        (pid,) = _children() - before
        status = _status(pid)
        assert (status["Seccomp"], status["NoNewPrivs"], status["Threads"]) == ("2", "1", "1")
        assert {status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
        limits = Path(f"/proc/{pid}/limits").read_text()
        for name, most in (
            ("file size", "0"),
            ("core file size", "0"),
            ("open files", "3"),
            ("processes", "0"),
        ):
            assert f"Max {name} ".ljust(26) + most.ljust(21) + most in limits
        await cage.close()
        assert not Path(f"/proc/{pid}").exists()

    asyncio.run(run())
