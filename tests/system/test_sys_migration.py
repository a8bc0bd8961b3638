"""An old PACS is emptied into the archive: interrupted, complete, nothing doubled, and a report to check."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.archive import Archive, new_archive
from helpers.old_pacs import (
    PynetdicomPacs,
    Tool,
    assert_proven,
    key_of,
    once,
    pynetdicom_pacs,
    tool_for,
    verified,
    web_pacs,
)
from ribcage.dicom import part10
from ribcage.guard import protocol as p
from ribcage.oversight.studies import Study, make_study


def some(seed: int, count: int) -> list[Study]:
    """Studies that no other test here has."""
    return [make_study(seed, ordinal) for ordinal in range(count)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """One for all: a start costs seconds."""
    with new_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


class Counted:
    """What the archive got since this test began."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._before = self._now()

    def _now(self) -> tuple[int, int, int]:
        status = self._archive.ask(p.GetStatus(), p.Status)
        return status.studies, status.instances, status.parked

    @property
    def new(self) -> tuple[int, ...]:
        """Studies, instances, parked."""
        return tuple(now - before for now, before in zip(self._now(), self._before, strict=True))


@pytest.fixture
def counted(archive: Archive) -> Counted:
    return Counted(archive)


def test_killed_in_the_middle_it_goes_on_and_nothing_is_doubled(
    archive: Archive, counted: Counted, tmp_path: Path
) -> None:
    studies = some(41, 20)
    pacs, seventh = PynetdicomPacs(studies), threading.Event()
    pacs.sending = once(7, seventh)
    with pynetdicom_pacs(pacs):
        tool = tool_for(archive, f"dicom://127.0.0.1:{pacs.port}/OLD", tmp_path)
        with tool.start("--at-once", "1") as process:
            assert seventh.wait(60)
            process.kill()
        assert counted.new[1] < 20
        code, printed = tool.run()
        assert code == 0, printed
        assert "studies 20 of 20 done; instances 20 of 20 acknowledged, 0 refused, 0 missing" in printed
        assert counted.new == (20, 20, 0)
        asked = len(pacs.sent)
        assert asked < 40, "what was acknowledged is not fetched again"
        assert tool.run()[0] == 0
        assert len(pacs.sent) == asked, "a third run has nothing to fetch"
    assert archive.verify().clean
    assert_proven(tool, studies, tmp_path)


def test_a_lost_journal_fetches_again_and_the_archive_keeps_one_copy(
    archive: Archive, counted: Counted, tmp_path: Path
) -> None:
    studies = some(42, 3)
    with pynetdicom_pacs(PynetdicomPacs(studies)) as pacs:
        tool = tool_for(archive, f"dicom://127.0.0.1:{pacs.port}/OLD", tmp_path)
        assert tool.run()[0] == 0
        shutil.rmtree(tool.work)
        assert tool.run()[0] == 0
        assert len(pacs.sent) == 6
    assert counted.new == (3, 3, 0)


def test_what_lacks_is_told(archive: Archive, tmp_path: Path) -> None:
    """Each study announces one instance more than there is; one instance is a conflict in the archive."""
    twisted = make_study(31, 0)
    other = make_study(32, 5)
    with pynetdicom_pacs(PynetdicomPacs([twisted])) as pacs:
        tool_for(archive, f"dicom://127.0.0.1:{pacs.port}/OLD", tmp_path / "first").run()
    changed = make_study(31, 0)
    object.__setattr__(changed, "file", other_patient(changed.file))
    with pynetdicom_pacs(PynetdicomPacs([changed, other], extra=1)) as pacs:
        tool = Tool(
            archive, f"dicom://127.0.0.1:{pacs.port}/OLD", tmp_path / "work", archive.folder / "devices"
        )
        assert tool.run()[0] == 0, "the archive does not tell a device of a conflict"
    code, printed = tool.report(tmp_path / "report")
    assert code == 1
    assert "NOT COMPLETE" in printed
    text = (tmp_path / "report" / "report.note").read_text()
    totals = json.loads(text.splitlines()[1])["totals"]
    assert totals == {
        "studies": 2, "announced": 4, "held": 1, "parked": 1, "refused": 0, "missing": 2, "unreadable": 0,
    }  # fmt: skip
    assert "hash_mismatch" in (tmp_path / "report" / "report.txt").read_text()
    assert verified(tmp_path / "report", key_of(printed))[0] == 3


def other_patient(file: bytes) -> bytes:
    """The same instance with another byte in its pixels."""
    return file[:-1] + bytes([file[-1] ^ 1])


def data_sets(studies: list[Study]) -> set[str]:
    """SHA-256 of the data sets, without file meta information."""
    found = set()
    for each in studies:
        prefix = part10.split(each.file).prefix_bytes
        found.add(hashlib.sha256(each.file[prefix:]).hexdigest())
    return found


def test_from_dicomweb_the_data_sets_come_as_they_are_stored(
    archive: Archive, counted: Counted, tmp_path: Path
) -> None:
    studies = some(44, 3)
    with web_pacs(studies) as port:
        code, printed = tool_for(archive, f"http://127.0.0.1:{port}/dicom-web", tmp_path).run()
    assert code == 0, printed
    assert counted.new == (3, 3, 0)
    with sqlite3.connect(tmp_path / "work" / "journal.db") as journal:
        rows = journal.execute("SELECT hex(sha256) FROM instance WHERE state = 'acknowledged'").fetchall()
    assert {row[0].lower() for row in rows} == data_sets(studies)


def test_without_c_get_it_moves_to_a_receiving_end(
    archive: Archive, counted: Counted, tmp_path: Path
) -> None:
    studies = some(45, 3)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pynetdicom_pacs(PynetdicomPacs(studies, moves_to=port), get=False) as pacs:
        tool = tool_for(archive, f"dicom://127.0.0.1:{pacs.port}/OLD", tmp_path)
        code, printed = tool.run()
        assert code == 2
        assert "--receive-at" in printed
        code, printed = tool.run("--receive-at", f"127.0.0.1:{port}")
        assert code == 0, printed
        assert "instances 3 of 3 acknowledged" in printed
    assert counted.new == (3, 3, 0)


def test_a_changed_report_is_refused(archive: Archive, tmp_path: Path) -> None:
    studies = some(46, 2)
    with pynetdicom_pacs(PynetdicomPacs(studies)) as pacs:
        tool = tool_for(archive, f"dicom://127.0.0.1:{pacs.port}/OLD", tmp_path)
        assert tool.run()[0] == 0
    out = tmp_path / "report"
    code, printed = tool.report(out)
    key = key_of(printed)
    assert code == 0
    assert verified(out, key)[0] == 0
    for name, old, new in (
        ("report.txt", b" held ", b" lost "),
        ("report.txt", b"I ", b"I 0"),
        ("report.note", b'"held":2', b'"held":3'),
        ("report.note", b'"complete":true', b'"complete":false'),
        ("proof.json", b"migration-reported", b"migration-reportes"),
    ):
        good = (out / name).read_bytes()
        assert old in good
        (out / name).write_bytes(good.replace(old, new, 1))
        code, told = verified(out, key)
        assert code == 1, (name, told)
        assert "NOT PROVEN" in told
        (out / name).write_bytes(good)
    code, printed = tool.report(tmp_path / "later")
    shutil.copy(tmp_path / "later" / "report.note", out / "report.note")
    assert "differ" in verified(out, key)[1], "another report's entry proves nothing of this one"


def test_failures_are_one_line_and_a_hint(archive: Archive, tmp_path: Path) -> None:
    studies = some(47, 1)
    with pynetdicom_pacs(PynetdicomPacs(studies)) as pacs:
        tool = tool_for(archive, "dicom://192.0.2.7:104/OLD", tmp_path)
        for number, (source, words) in enumerate(
            (
                ("dicom://192.0.2.7:104/OLD", "goes to loopback alone"),
                ("dicom://localhost:104/OLD", "goes to loopback alone"),
                (f"dicoms://127.0.0.1:{pacs.port}/OLD", "the old PACS"),
                ("dicom://127.0.0.1:1/OLD", "does not answer"),
                ("ftp://127.0.0.1/OLD", "expected an address"),
            )
        ):
            tool.source, tool.work = source, tmp_path / str(number)
            code, printed = tool.run("--patience", "0")
            assert code == 2, printed
            assert words in printed
            assert len(printed.strip().splitlines()) == 2, printed
            assert "hint: " in printed
