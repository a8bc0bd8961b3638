"""The clock stepped under real processes: nothing is shown, storing and revoking go on, no grant revives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPException

import pytest

from faults.ailing import BROKEN, Ailing, until
from faults.inject import Call
from helpers.archive import Browser
from helpers.raw_scu import RawAssociation
from ribcage.guard import protocol as p
from system.senders import SUCCESS
from system.test_sys_revocation import STUDY, film, read_to_the_end, stream

CR = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
_SHORT_SECONDS = 2.0


@pytest.fixture(scope="module")
def large(house: Ailing) -> Iterator[Ailing]:
    """With a film that takes a while to read."""
    with RawAssociation(
        house.archive.dicom, [(CR, [EXPLICIT])], ssl_context=house.modality.context(), calling="CR1"
    ) as association:
        assert association.store(CR, f"{STUDY}.1.1", film()) == SUCCESS
    yield house


def status(reader: Browser, study: str) -> int:
    """Of an answer that may be cut on the way."""
    try:
        return reader.retrieve(f"studies/{study}").status
    except (OSError, HTTPException):
        return BROKEN


@pytest.mark.parametrize("step", [-60, 600])
def test_step_of_the_clock_closes_reading_and_the_right_time_opens_it(
    large: Ailing, ailing: Ailing, step: int
) -> None:
    archive, held = ailing.archive, ailing.held[0]
    spare = archive.grant("device:cr1", f"study:{held.study}", "full")
    name = f"late{abs(step)}"
    late = archive.person(name, "radiologist")
    until_when = time.time() + _SHORT_SECONDS
    archive.ask(
        p.AddGrant(f"person:{name}", f"study:{held.study}", "full", valid_until=until_when), p.GrantAdded
    )
    assert late.step_up().status == 200
    assert late.retrieve(f"studies/{held.study}").status == 200
    live = stream(ailing.doctor)
    assert live.status == 200 and live.read(1 << 16)
    until(lambda: status(late, held.study) not in (200, BROKEN), ailing.tail)  # cut, then refused
    ailing.faults.step_clock(step)
    until(lambda: ailing.ready() == "closed: clock", ailing.tail)
    assert ailing.read(held) == 503
    assert late.retrieve(f"studies/{held.study}").status != 200  # what has run out does not come back
    until(lambda: live_disclosures(ailing) == 0, ailing.tail)  # the guard's next look; the reader is slow
    assert not read_to_the_end(live)[1]
    assert ailing.send(ailing.fresh()) == SUCCESS
    archive.revoke(spare)
    assert not ailing.operator(p.AddGrant("device:cr1", f"study:{held.study}", "full"))
    ailing.faults.step_clock(0)
    ailing.until_ready()
    assert ailing.read(held) == 200
    assert late.retrieve(f"studies/{held.study}").status in (403, 404)


def live_disclosures(ailing: Ailing) -> int:
    return ailing.archive.ask(p.GetMetrics(p.Operator(name="test")), p.Metrics).live_disclosures


def test_accepted_time_opens_at_once(ailing: Ailing) -> None:
    ailing.faults.step_clock(600)
    until(lambda: ailing.ready() == "closed: clock", ailing.tail)
    ailing.archive.ask(p.AcceptClock(), p.Noted)
    assert ailing.ready() == "ready"
    assert ailing.read(ailing.held[0]) == 200
    ailing.faults.step_clock(0)
    until(lambda: ailing.ready() == "closed: clock", ailing.tail)  # ten minutes back from what was accepted
    ailing.archive.ask(p.AcceptClock(), p.Noted)
    assert ailing.read(ailing.held[0]) == 200


def test_a_clock_that_waits_is_not_a_step(ailing: Ailing) -> None:
    """The control: a slow call moves no clock, and a step within the tolerance closes nothing."""
    ailing.faults.fail(Call.SYNC, ailing.objects, 0, delay_seconds=0.05)
    ailing.faults.step_clock(2)
    assert ailing.send(ailing.fresh()) == SUCCESS
    assert ailing.ready() == "ready"
    ailing.faults.step_clock(0)
