"""The way in: what is refused, in which order things become durable, and what is left when a step fails."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fake_guard import FakeGuard
from helpers.front_house import CT, EXPLICIT_LE, ct_slice
from ribcage.capture.admit import Admission, Ahead, WayIn, admit_file, admit_instance
from ribcage.capture.disarm import Expected
from ribcage.capture.errors import (
    AdmissionError,
    IdentityMismatch,
    NotAuthenticated,
    NotAuthorized,
    NotStored,
    NotUnderstood,
    OutOfResources,
    Throttled,
    TooLarge,
    Unsupported,
)
from ribcage.dicom.part10 import file_prefix
from ribcage.dicom.scan import ScanLimits
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.protocol import Admit, AlreadyHeld, Commit, Committed, Device
from ribcage.storage.objects import ObjectStore

DEVICE = Device(b"f" * 32, "CT1", "127.0.0.1")


@pytest.fixture
def way(tmp_path: Path) -> WayIn:
    store = ObjectStore(tmp_path)
    store.prepare()
    return WayIn(FakeGuard(), store)


def _files(way: WayIn) -> list[str]:
    return list(way.objects.list_files())


def _admit(way: WayIn, data: bytes, expected: Expected | None = None, syntax: str = EXPLICIT_LE) -> Admission:
    return asyncio.run(admit_instance(way, DEVICE, "dimse", "RIBCAGE", data, syntax, expected or Expected()))


def _admit_file(way: WayIn, file: bytes) -> Admission:
    return asyncio.run(admit_file(way, DEVICE, "dicomweb", file))


def test_object_is_on_disk_before_commit_and_commit_precedes_the_answer(
    way: WayIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("fsync"), real(descriptor))[1])
    way.guard.observe = lambda request: steps.append(type(request).__name__)
    outcome = _admit(way, ct_slice()[1]).outcome
    assert isinstance(outcome, Committed)
    assert steps == ["Admit", "fsync", "fsync", "Commit"]


def test_hashes_and_sizes_are_those_of_the_bytes_received(way: WayIn) -> None:
    uid, data = ct_slice()
    file = file_prefix(CT, uid, EXPLICIT_LE) + data
    admission = _admit_file(way, file)
    admit, commit = way.guard.requests
    assert isinstance(admit, Admit) and isinstance(commit, Commit)
    assert admission.sop_instance_uid == uid
    assert admit.data_set_sha256 == hashlib.sha256(data).digest()
    assert admit.data_set_bytes == len(data)
    assert commit.file_sha256 == hashlib.sha256(file).digest()
    assert commit.header_plain_bytes + commit.bulk_plain_bytes == len(file)
    assert commit.prefix_bytes == len(file) - len(data)


def test_held_instance_is_acknowledged_without_a_file(way: WayIn) -> None:
    way.guard.answer(Admit, AlreadyHeld())
    assert isinstance(_admit(way, ct_slice()[1]).outcome, AlreadyHeld)
    assert _files(way) == []


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("not_authenticated", NotAuthenticated),
        ("not_permitted", NotAuthorized),
        ("throttled", Throttled),
        ("unavailable", NotStored),
    ],
)
def test_refused_admission_leaves_no_file(way: WayIn, reason, error: type[AdmissionError]) -> None:
    way.guard.answer(Admit, GuardRefused(reason))
    with pytest.raises(error):
        _admit(way, ct_slice()[1])
    assert _files(way) == []


def test_refused_commit_removes_the_file_and_a_lost_guard_keeps_it(way: WayIn) -> None:
    way.guard.answer(Commit, GuardRefused("invalid"))
    with pytest.raises(AdmissionError):
        _admit(way, ct_slice()[1])
    assert _files(way) == []
    way.guard.answer(Commit, GuardUnavailable("gone"))
    with pytest.raises(NotStored):
        _admit(way, ct_slice()[1])
    assert len(_files(way)) == 1


def test_full_disk_is_out_of_resources(way: WayIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutOfResources) as refused:
        _admit(way, ct_slice()[1])
    assert refused.value.dimse_status == 0xA700
    assert _files(way) == []


@pytest.mark.parametrize(
    "expected",
    [
        Expected(sop_class_uid="1.2.840.10008.5.1.4.1.1.4"),
        Expected(sop_instance_uid="1.2.3"),
        Expected(study_instance_uid="1.2.3"),
    ],
)
def test_data_set_of_another_identity_is_refused_before_the_guard_is_asked(
    way: WayIn, expected: Expected
) -> None:
    with pytest.raises(IdentityMismatch) as refused:
        _admit(way, ct_slice()[1], expected)
    assert refused.value.dimse_status == 0xA900
    assert way.guard.requests == []
    assert "Muster" not in str(refused.value)


@pytest.mark.parametrize("magic", [b"MZ\x90\0", b"\x7fELF", b"#!/bin/sh\n"])
def test_file_that_is_also_a_program_is_refused(way: WayIn, magic: bytes) -> None:
    uid, data = ct_slice()
    file = bytearray(file_prefix(CT, uid, EXPLICIT_LE) + data)
    file[: len(magic)] = magic
    with pytest.raises(NotUnderstood):
        _admit_file(way, bytes(file))
    assert way.guard.requests == []


def test_unknown_transfer_syntax_and_oversize_are_refused(way: WayIn, tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        _admit(way, ct_slice()[1], syntax="1.2.3.4")
    small = WayIn(way.guard, way.objects, ScanLimits(max_data_set_bytes=100))
    with pytest.raises(TooLarge):
        _admit(small, ct_slice()[1])


@settings(deadline=None, max_examples=60)
@given(
    position=st.integers(0, 400), value=st.integers(0, 255), end=st.one_of(st.none(), st.integers(0, 2400))
)
def test_damaged_data_set_is_stored_whole_or_refused_by_the_one_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, end: int | None
) -> None:
    data = bytearray(ct_slice()[1])
    data[position % len(data)] = value
    way = WayIn(FakeGuard(), ObjectStore(tmp_path_factory.mktemp("damaged")))
    try:
        _admit(way, bytes(data[:end]))
    except AdmissionError:
        assert not any(isinstance(request, Commit) for request in way.guard.requests)
    else:
        commit = way.guard.requests[-1]
        assert commit.header_plain_bytes + commit.bulk_plain_bytes == len(data[:end])


def _ahead(way: WayIn, data: bytes) -> Ahead:
    """An association's keys for the next instance of the study of `data`."""
    ahead, (admitted,) = Ahead(), [way.guard.give_ahead()]
    study = _admit(way, data).study_instance_uid
    way.guard.requests.clear()
    ahead.keep(study, admitted)
    return ahead


def test_with_keys_ahead_the_object_is_on_disk_before_the_only_call(
    way: WayIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ct_slice()[1]
    ahead = _ahead(way, data)
    steps: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("fsync"), real(descriptor))[1])
    way.guard.observe = lambda request: steps.append(type(request).__name__)
    done = admit_instance(way, DEVICE, "dimse", "RIBCAGE", data, EXPLICIT_LE, Expected(), ahead)
    assert isinstance(asyncio.run(done).outcome, Committed)
    assert steps == ["fsync", "fsync", "Commit"]
    assert not ahead


def test_what_the_guard_does_not_take_ahead_goes_the_long_way_and_leaves_no_file(way: WayIn) -> None:
    data = ct_slice()[1]
    ahead = _ahead(way, data)
    before = len(_files(way))
    way.guard.forget_ahead()
    done = admit_instance(way, DEVICE, "dimse", "RIBCAGE", data, EXPLICIT_LE, Expected(), ahead)
    assert isinstance(asyncio.run(done).outcome, Committed)
    assert [type(each) for each in way.guard.requests] == [Commit, Admit, Commit]
    assert len(_files(way)) == before + 1


def test_a_refusal_ahead_is_the_peers_answer_and_leaves_no_file(way: WayIn) -> None:
    data = ct_slice()[1]
    ahead = _ahead(way, data)
    before = _files(way)
    way.guard.answer(Commit, GuardRefused("no_space"))
    with pytest.raises(OutOfResources):
        asyncio.run(admit_instance(way, DEVICE, "dimse", "RIBCAGE", data, EXPLICIT_LE, Expected(), ahead))
    assert _files(way) == before
