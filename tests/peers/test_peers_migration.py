"""A thousand studies out of Orthanc, interrupted five times: complete, nothing doubled, the report proven."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from helpers.archive import Archive
from helpers.old_pacs import Orthanc, Tool, assert_proven, tool_for
from ribcage.cli import settings
from ribcage.guard import protocol as p
from ribcage.oversight.drill.twin import find_orthanc
from ribcage.oversight.studies import make_study

pytestmark = [
    pytest.mark.peers,
    pytest.mark.slow,
    pytest.mark.skipif(not find_orthanc(), reason="Orthanc is not installed (apt-get install orthanc)"),
]
COUNT = 1000
MOST_MIB = 400  # of the tool, at its peak


def held(archive: Archive) -> int:
    return archive.ask(p.GetStatus(), p.Status).instances


def await_instances(archive: Archive, tool: subprocess.Popen[str], count: int) -> None:
    """Until the archive holds so many; the tool must still run then. Looks four times a second."""
    deadline = time.monotonic() + 120
    while held(archive) < count:
        assert time.monotonic() < deadline
        try:
            tool.wait(0.25)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(tool.communicate()[0])


def peak_mib(process: subprocess.Popen[str]) -> float:
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def fixed_archive(folder: Path) -> Archive:
    """One that comes back on the same port."""
    archive = Archive(folder)
    archive.create()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wanted = settings.load(archive.home)
    listen = msgspec.structs.replace(wanted.listen, dicom_port=port)
    settings.save(archive.home, msgspec.structs.replace(wanted, listen=listen))
    return archive


def interrupted(archive: Archive, old: Orthanc, tool: Tool) -> tuple[int, str, float]:
    """Five times; then to the end. Exit status, what was printed, the tool's peak in MiB."""
    first = tool.start()
    await_instances(archive, first, 100)
    first.kill()  # 1: the tool
    first.communicate()
    second = tool.start()
    await_instances(archive, second, 250)
    old.kill()  # 2: the old PACS, while the tool waits
    old.start()
    await_instances(archive, second, 400)
    archive.kill()  # 3: the archive, while the tool waits
    archive.start()
    await_instances(archive, second, 550)
    second.kill()  # 4: the tool again
    second.communicate()
    third = tool.start()
    await_instances(archive, third, 700)
    old.kill()  # 5: old PACS and archive at once
    archive.kill()
    archive.start()
    old.start()
    await_instances(archive, third, 850)
    peak = peak_mib(third)
    printed, _ = third.communicate(timeout=240)
    return third.returncode, printed, peak


def test_a_thousand_studies_interrupted_five_times(tmp_path: Path) -> None:
    studies = [make_study(33, ordinal) for ordinal in range(COUNT)]
    old = Orthanc(tmp_path / "old", studies)
    (tmp_path / "new").mkdir()
    archive = fixed_archive(tmp_path / "new")
    archive.start()
    try:
        tool = tool_for(archive, f"dicom://127.0.0.1:{old.port}/OPEN", tmp_path)
        began = time.monotonic()
        code, printed, peak = interrupted(archive, old, tool)
        print(f"{COUNT} studies in {time.monotonic() - began:.1f} s, five interruptions; {peak:.0f} MiB")
        assert code == 0, printed
        assert peak < MOST_MIB
        status = archive.ask(p.GetStatus(), p.Status)
        assert (status.studies, status.instances, status.parked) == (COUNT, COUNT, 0)
        assert archive.verify().clean
        assert_proven(tool, studies, tmp_path)
    finally:
        old.stop()
        archive.stop()
