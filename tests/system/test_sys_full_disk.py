"""No space left: the standard's status, nothing acknowledged, nothing left behind, and service again afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attacks.patches.objects_disk_full import MARKER
from helpers.archive import Archive, Browser, Identity, new_archive, parts
from ribcage.guard import protocol as p
from ribcage.guard.disk import free_bytes
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send, stow

OUT_OF_RESOURCES = 0xA700  # PS3.4 table B.2-1
NOT_STORED = 0x0110  # PS3.7 C.5: processing failure, when even the refusal finds no room in the log
HOME_MEGABYTES = 64
_LEAST_FREE = 4096


def _people(archive: Archive) -> tuple[Identity, Browser]:
    modality = archive.device("cr1", "CR1", "store")
    doctor = archive.person("li", "radiologist")
    archive.grant("person:li", "department:radiology", "full")
    assert doctor.step_up().status == 200
    return modality, doctor


def _object_files(archive: Archive) -> set[Path]:
    return {path for path in (archive.home / "objects").rglob("*") if path.is_file()}


def _serves(archive: Archive, modality: Identity, doctor: Browser, number: int) -> None:
    """One more study goes in and comes back."""
    study = make_study(61, number)
    assert send(archive, modality, instance_of(study.file)) == SUCCESS
    (back,) = parts(doctor.retrieve(f"studies/{study.study_uid}"))
    assert back.endswith(instance_of(study.file).data_set)


def test_full_objects_disk_is_a700_and_507_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "full"
    monkeypatch.setenv(MARKER, str(full))
    with new_archive(tmp_path, patch="objects_disk_full") as archive:
        modality, doctor = _people(archive)
        _serves(archive, modality, doctor, 1)
        before = _object_files(archive)
        full.touch()
        for number, side in ((2, 16), (3, 600)):
            late = make_study(61, number, side, side)
            assert send(archive, modality, instance_of(late.file)) == OUT_OF_RESOURCES
            assert stow(doctor, late.file).status == 507
            assert doctor.retrieve(f"studies/{late.study_uid}").status in (403, 404)
            assert doctor.request(f"/dicom-web/studies?StudyInstanceUID={late.study_uid}").status == 204
        assert _object_files(archive) == before
        _still_reads(doctor, 1)
        full.unlink()
        for number in (2, 3):
            _serves(archive, modality, doctor, number)
        report = archive.verify()
        assert report.clean, report.differences
        assert report.strays == []
        assert archive.ask(p.GetStatus(), p.Status).instances == 3


def _still_reads(doctor: Browser, number: int) -> None:
    study = make_study(61, number)
    (back,) = parts(doctor.retrieve(f"studies/{study.study_uid}"))
    assert back.endswith(instance_of(study.file).data_set)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for the whole home."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={HOME_MEGABYTES}m,mode=0700", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path, leave: int = 0) -> Path:
    """Use up the disk but for `leave` bytes, as somebody else's log would."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 16, _LEAST_FREE):
            try:
                while free_bytes(folder) > leave and file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return ballast


def test_below_the_watermark_storing_stops_and_everything_else_goes_on(small_disk: Path) -> None:
    """The log's room is not for images: A700 and 507 while there are still megabytes left."""
    with new_archive(small_disk, disk_stop_mib=12, disk_reserve_mib=6) as archive:
        modality, doctor = _people(archive)
        _serves(archive, modality, doctor, 1)
        before = _object_files(archive)
        ballast = _fill(small_disk, leave=10 << 20)
        late = make_study(61, 2, 200, 200)
        settled(
            lambda: any("storing stops" in each for each in archive.ask(p.GetStatus(), p.Status).findings)
        )
        assert send(archive, modality, instance_of(late.file)) == OUT_OF_RESOURCES
        assert stow(doctor, late.file).status == 507
        assert _object_files(archive) == before
        _still_reads(doctor, 1)
        ballast.unlink()
        settled(lambda: send(archive, modality, instance_of(late.file)) == SUCCESS)
        assert archive.verify().clean


def test_full_disk_of_the_whole_home_refuses_and_recovers(small_disk: Path) -> None:
    """Not a byte left: the log goes on in its reserve, a revocation holds, and room mends it without a restart."""
    with new_archive(small_disk, disk_stop_mib=12, disk_reserve_mib=6) as archive:
        modality, doctor = _people(archive)
        _serves(archive, modality, doctor, 1)
        grant = archive.grant("person:li", f"study:{make_study(61, 1).study_uid}", "full")
        before = _object_files(archive)
        ballast = _fill(small_disk)
        for number in (2, 3):
            late = make_study(61, number, 200, 200)
            assert send(archive, modality, instance_of(late.file)) in (OUT_OF_RESOURCES, NOT_STORED)
            assert stow(doctor, late.file).status in (503, 507)
        assert _object_files(archive) == before
        archive.revoke(grant)  # needs a durable entry: it is what the reserve is for
        assert doctor.retrieve(f"studies/{make_study(61, 1).study_uid}").status == 503
        status = archive.ask(p.GetStatus(), p.Status)
        assert any("reserve" in each for each in status.findings)
        ballast.unlink()
        settled(lambda: doctor.retrieve(f"studies/{make_study(61, 1).study_uid}").status == 200)
        for number in (1, 2, 3):
            _serves(archive, modality, doctor, number)
        assert archive.verify().clean
        archive.kill()
        archive.start()
        assert archive.ask(p.GetStatus(), p.Status).instances == 3
        assert archive.verify().clean


def settled(true: Callable[[], bool]) -> None:
    """Ask again until it is so; the guard looks at its disk twice a second."""
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
