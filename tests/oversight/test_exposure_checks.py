"""The exposure self-check: what reaches how far, who answers plain DICOM, and what the guard makes of it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.guard_house import new_house
from ribcage.cli import machine_facts
from ribcage.cli.exposure import speaks_plain_dicom
from ribcage.evidence.audit_event import kind_of
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.oversight.doctor.exposure import (
    Exposed,
    ExposureFacts,
    Listening,
    alarming,
    exposure,
    scope_of,
)
from ribcage.oversight.drill import open_archive

MACHINE = ("127.0.0.1", "192.168.1.10", "8.8.4.4", "::1")
INSIDE = ("127.0.0.1", "192.168.1.10", "::1", "fe80::1")


@pytest.mark.parametrize(
    ("address", "machine", "scope"),
    [
        ("127.0.0.1", MACHINE, "loopback"),
        ("::1", MACHINE, "loopback"),
        ("192.168.1.10", MACHINE, "private"),
        ("fe80::1", MACHINE, "private"),
        ("::ffff:10.0.0.1", MACHINE, "private"),
        ("8.8.4.4", MACHINE, "global"),
        ("0.0.0.0", MACHINE, "global"),
        ("::", MACHINE, "global"),
        ("0.0.0.0", INSIDE, "private"),
        ("::", INSIDE, "private"),
        ("0.0.0.0", ("127.0.0.1",), "loopback"),
    ],
)
def test_a_socket_reaches_as_far_as_its_address(address: str, machine: tuple[str, ...], scope: str) -> None:
    assert scope_of(address, machine) == scope


@pytest.mark.parametrize(
    ("one", "pacs", "expected"),
    [
        (Listening("0.0.0.0", 104, "storescp", plain=True), 0, Exposed("plain-dicom", "private", 104)),
        (Listening("127.0.0.1", 104, "storescp", plain=True), 0, None),
        (Listening("0.0.0.0", 11112, "who"), 0, Exposed("foreign-program", "private", 11112)),
        (Listening("127.0.0.1", 11112, "who"), 0, None),
        (Listening("0.0.0.0", 4242, "Orthanc", plain=True), 4242, Exposed("old-pacs", "private", 4242)),
        (Listening("127.0.0.1", 4242, "Orthanc", plain=True), 4242, None),
        (Listening("192.168.1.10", 2762, own=True), 0, None),
    ],
)
def test_what_is_open_to_others_alarms(one: Listening, pacs: int, expected: Exposed | None) -> None:
    facts = ExposureFacts((one,), INSIDE, pacs=pacs)
    assert alarming(facts) == ([] if expected is None else [expected])
    assert (exposure(facts)[0].level in ("warning", "bad")) is (expected is not None)


def test_our_own_door_to_the_internet_alarms_unless_it_was_named() -> None:
    one = (Listening("8.8.4.4", 2762, own=True),)
    assert alarming(ExposureFacts(one, MACHINE)) == [Exposed("own-listener", "global", 2762)]
    assert alarming(ExposureFacts(one, MACHINE, frozenset({"8.8.4.4"}))) == []


def test_this_machine_knows_its_addresses() -> None:
    assert "127.0.0.1" in machine_facts.own_addresses()


def _serving(answer: Callable[[socket.socket], None]) -> int:
    """A listener that takes one connection; its port."""
    held = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with held, held.accept()[0] as link:
            answer(link)

    threading.Thread(target=serve, daemon=True).start()
    return int(held.getsockname()[1])


def test_plain_dicom_is_told_from_everything_else(tmp_path: Path) -> None:
    archive = open_archive.OpenDicom(open_archive.Shelf(tmp_path), None)
    try:
        assert speaks_plain_dicom("127.0.0.1", archive.port)
    finally:
        archive.close()
    assert not speaks_plain_dicom("127.0.0.1", archive.port)  # nobody is there now
    assert not speaks_plain_dicom("127.0.0.1", _serving(lambda link: link.sendall(b"HTTP/1.1 400\r\n\r\n")))
    assert not speaks_plain_dicom("127.0.0.1", _serving(lambda link: link.sendall(b"\x15\x03\x03\0\2\2\x28")))
    assert not speaks_plain_dicom("127.0.0.1", _serving(lambda link: None))


def test_the_guard_enters_it_once_sounds_and_ends_the_alarm(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            open_port = p.ExposureItem("plain-dicom", "private", 104)
            for items in ([open_port], [open_port]):
                await house.front.call(p.ReportExposure(items), p.Noted)
            standing = (await house.admin.call(p.GetAlarms(), p.Alarms)).items
            assert [(each.kind, each.number) for each in standing] == [("exposure", 104)]
            await house.front.call(p.ReportExposure([]), p.Noted)
            assert (await house.admin.call(p.GetAlarms(), p.Alarms)).items == []
            entries = await house.admin.call(p.AuditPage(start=0, count=100), p.AuditEntries)
            kinds = [kind_of(text.encode()) for _, text in entries.entries]
            assert kinds.count("exposure-changed") == 2
            too_many = [p.ExposureItem("plain-dicom", "private", port) for port in range(101)]
            with pytest.raises(GuardRefused):
                await house.front.call(p.ReportExposure(too_many), p.Noted)

    asyncio.run(run())
