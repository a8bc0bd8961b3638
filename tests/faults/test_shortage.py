"""Out of descriptors or out of memory: one request fails, no process spins, and it passes by itself."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from faults.ailing import BROKEN, NOT_STORED, REFUSED, Ailing, until
from faults.inject import Call
from ribcage.crypto.sealing import SEGMENT_BYTES
from ribcage.guard import protocol as p
from system.senders import SUCCESS

_LARGE = 1500  # 1500 x 1500 x 2 bytes
_WATCHED_SECONDS = 1.5
_TICKS = os.sysconf("SC_CLK_TCK")


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _knock(ailing: Ailing) -> socket.socket:
    """A peer's TCP connection, on which nothing is said yet."""
    return socket.create_connection(ailing.archive.dicom, 20)


def _handshake(ailing: Ailing, peer: socket.socket) -> None:
    """TLS on a connection that waits. Raises OSError when the archive closed it."""
    with ailing.modality.context().wrap_socket(peer, server_hostname="localhost") as secure:
        assert secure.version()


def test_supervisor_without_descriptors_waits_and_does_not_spin(ailing: Ailing) -> None:
    """Peers wait in the backlog; the association that stands goes on; guard and front that die come back later."""
    late, later = ailing.fresh(), ailing.fresh()
    with ailing.association(late) as association, ailing.no_descriptors(ailing.supervisor), _knock(ailing):
        spent = _cpu_seconds(ailing.supervisor)
        until(lambda: "accepting pauses: Too many open files" in ailing.log_of_processes(), ailing.tail)
        assert ailing.send_on(association, late) == SUCCESS
        threading.Event().wait(_WATCHED_SECONDS)
        assert _cpu_seconds(ailing.supervisor) - spent < _WATCHED_SECONDS / 3
        assert ailing.log_of_processes().count("accepting pauses") < 20
    with ailing.no_descriptors(ailing.supervisor):
        victims = (ailing.guard, ailing.front)
        assert min(victims) > 0  # 0 would be this very test run
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        until(lambda: "no process can be started" in ailing.log_of_processes(), ailing.tail)
        until(lambda: "front 0 did not start" in ailing.log_of_processes(), ailing.tail)
        assert not ailing.archive.children()
    ailing.until_ready()
    assert ailing.send(later) == SUCCESS


def test_peer_that_waited_in_the_backlog_is_served(ailing: Ailing) -> None:
    pauses = ailing.log_of_processes().count("accepting pauses")
    with ailing.no_descriptors(ailing.supervisor):
        peer = _knock(ailing)
        until(lambda: ailing.log_of_processes().count("accepting pauses") > pauses, ailing.tail)
    _handshake(ailing, peer)


def test_front_without_descriptors_refuses_and_lives(ailing: Ailing) -> None:
    late, files, front = ailing.fresh(), ailing.files(), ailing.front
    with ailing.association(late) as association:
        with ailing.no_descriptors(front):
            assert ailing.send_on(association, late) == NOT_STORED
            with pytest.raises(OSError), _knock(ailing) as peer:
                _handshake(ailing, peer)
            assert ailing.ready() == ""
        assert ailing.files() == files
        assert ailing.send_on(association, late) == SUCCESS
    assert ailing.front == front
    ailing.until_ready()


def test_guard_without_descriptors_lives_and_takes_new_connections_afterwards(ailing: Ailing) -> None:
    late, guard = ailing.fresh(), ailing.guard
    with ailing.no_descriptors(guard):
        assert not ailing.operator(p.GetStatus())
        assert ailing.send(late) in (SUCCESS, *REFUSED)
        spent = _cpu_seconds(guard)
        threading.Event().wait(_WATCHED_SECONDS / 3)
        assert _cpu_seconds(guard) - spent < _WATCHED_SECONDS / 6
    assert ailing.operator(p.GetStatus())
    assert ailing.send(late) == SUCCESS
    assert ailing.guard == guard


def test_front_without_memory_fails_one_request_and_lives(ailing: Ailing) -> None:
    """Large blocks are not to be had: who needs one is refused or cut, everybody else is served meanwhile."""
    large, small, files, front = ailing.fresh(_LARGE), ailing.fresh(), ailing.files(), ailing.front
    fault = ailing.faults.fail(Call.ALLOCATE, error=errno.ENOMEM, process=front, at_least_bytes=SEGMENT_BYTES)
    with ailing.association(small) as bystander:
        assert ailing.send(large) in (*REFUSED, BROKEN)
        assert fault.hits > 0
        hits = fault.hits
        assert ailing.stow(large) in (500, 503, 507, BROKEN)
        assert fault.hits > hits
        assert ailing.send_on(bystander, small) == SUCCESS
        assert ailing.read(small) == 200
        assert fault.end() > 0
    assert ailing.front == front
    assert len(ailing.files()) == len(files) + 1
    assert not ailing.knows(large)
    assert ailing.send(large) == SUCCESS


@pytest.mark.parametrize("who", ["guard", "front"])
def test_any_allocation_may_fail_and_nothing_acknowledged_is_lost(ailing: Ailing, who: str) -> None:
    """Small blocks, here and there: whoever cannot go on ends and is started again. Judged by the fixture."""
    process = ailing.guard if who == "guard" else ailing.front
    struck = 0
    for at_least in (512, 4096, 65536):
        process = ailing.guard if who == "guard" else ailing.front
        fault = ailing.faults.fail(
            Call.ALLOCATE, error=errno.ENOMEM, process=process, at_least_bytes=at_least, times=3
        )
        late = ailing.fresh(300)
        assert ailing.send(late) in (SUCCESS, *REFUSED, BROKEN)
        ailing.read(ailing.held[0])
        struck += fault.end()
        ailing.until_ready()
        until(lambda one=late: ailing.send(one) == SUCCESS, ailing.tail)
    assert struck > 0
