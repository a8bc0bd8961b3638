"""The harness itself: the recorder misses nothing, and the model loses what may be lost and keeps what may not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from crash.disk import Disk, Unrebuildable
from crash.recorder import Recorder, TraceDamaged, parse

_HELP = """
import os, sys
root = sys.argv[1]
def put(name, data, sync=True, flags=os.O_CREAT | os.O_WRONLY):
    fd = os.open(f"{root}/{name}", flags, 0o640)
    os.write(fd, data)
    if sync:
        os.fsync(fd)
    os.close(fd)
def sync_folder(name=""):
    fd = os.open(f"{root}/{name}", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
"""
_DICE = 60


class Bench:
    """Run scripts under the recorder, look at what could be left."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        (self.root / "old").write_bytes(b"before")
        self.disk = Disk(self.root)
        self.recorder = Recorder(library, self.root, folder / "trace")
        self.folder = folder

    def start(self, script: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _HELP + script, str(self.root)],
            env=dict(os.environ, **self.recorder.environment),
            stdout=subprocess.PIPE,
        )

    def run(self, script: str) -> None:
        with self.start(script) as process:
            assert process.wait(30) == 0
        records = self.recorder.records()
        self.disk.advance(records, len(records))

    def left(self) -> list[dict[str, bytes]]:
        """Many ways it could look."""
        found = []
        for number in range(_DICE):
            target = self.folder / f"left-{number}"
            self.disk.write(target, random.Random(number))
            found.append(_files(target))
        return found


def _files(top: Path) -> dict[str, bytes]:
    return {each.relative_to(top).as_posix(): each.read_bytes() for each in top.rglob("*") if each.is_file()}


@pytest.fixture
def bench(library: Path, tmp_path: Path) -> Bench:
    return Bench(library, tmp_path)


def test_synced_file_in_a_synced_folder_is_always_left(bench: Bench) -> None:
    bench.run("put('a', b'x' * 5000); sync_folder()")
    assert all(each == {"old": b"before", "a": b"x" * 5000} for each in bench.left())


def test_unsynced_bytes_are_kept_lost_or_torn_at_sectors(bench: Bench) -> None:
    bench.run("put('a', b'x' * 5000, sync=False); sync_folder()")
    looks = Counter(each["a"] for each in bench.left())
    assert looks[b""] and looks[b"x" * 5000] and len(looks) > 8
    for look in looks:
        assert len(look) <= 5000
        sectors = [look[at : at + 512] for at in range(0, len(look), 512)]
        assert all(set(each) in ({0}, {ord("x")}) for each in sectors)


def test_name_in_an_unsynced_folder_may_be_lost_though_the_file_was_synced(bench: Bench) -> None:
    bench.run("put('a', b'data')")
    looks = Counter(each.get("a") for each in bench.left())
    assert set(looks) == {None, b"data"}


def test_removal_may_come_back_until_the_folder_is_synced(bench: Bench) -> None:
    bench.run("os.unlink(root + '/old')")
    assert {"old" in each for each in bench.left()} == {True, False}


def test_rename_leaves_the_old_or_the_new_never_neither(bench: Bench) -> None:
    bench.run("put('new', b'after'); sync_folder(); os.rename(root + '/new', root + '/old')")
    looks = {tuple(sorted(each.items())) for each in bench.left()}
    assert looks == {(("new", b"after"), ("old", b"before")), (("old", b"after"),)}


def test_write_after_the_sync_may_be_lost_the_one_before_may_not(bench: Bench) -> None:
    bench.run("put('a', b'1'); sync_folder(); put('a', b'2', sync=False)")
    assert {each["a"] for each in bench.left()} == {b"1", b"2"}


def test_file_of_a_folder_whose_own_name_was_not_synced_may_be_lost(bench: Bench) -> None:
    bench.run("os.mkdir(root + '/in'); put('in/a', b'1'); sync_folder('in')")
    assert {"in/a" in each for each in bench.left()} == {True, False}


def test_truncation_may_be_lost(bench: Bench) -> None:
    bench.run("put('old', b'', sync=False, flags=os.O_WRONLY | os.O_TRUNC)")
    assert {each["old"] for each in bench.left()} == {b"before", b""}


def test_every_way_of_writing_is_recorded(bench: Bench) -> None:
    bench.run(
        """
os.mkdir(root + "/in", 0o750)
fd = os.open(root + "/in/a", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, b"0123456789" * 200)
os.pwrite(fd, b"P" * 7, 3)
os.writev(fd, [b"one", b"two"])
os.pwritev(fd, [b"THREE", b"FOUR"], 900)
os.ftruncate(fd, 1500)
os.posix_fallocate(fd, 1400, 600)
os.lseek(fd, 10, 0)
os.write(fd, b"after a seek")
os.fdatasync(fd)
os.close(fd)
open(root + "/in/b", "ab").write(b"appended") and None
with open(root + "/in/b", "ab") as file: file.write(b" twice")
os.chdir(root + "/in")
open("c", "w").close()
os.rename("c", "d")
os.link("d", "e")
os.unlink("d")
folder = os.open(root, os.O_RDONLY)
os.rename("old", "older", src_dir_fd=folder, dst_dir_fd=folder)
os.mkdir("gone"); os.rmdir("gone")
import sqlite3
base = sqlite3.connect(root + "/base.db", isolation_level=None)
base.execute("PRAGMA journal_mode = WAL")
base.execute("CREATE TABLE t (x)")
base.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(300)])
if os.fork() == 0:
    os.write(os.open(root + "/in/child", os.O_CREAT | os.O_WRONLY, 0o600), b"of a child")
    os._exit(0)
os.wait()
base.execute("PRAGMA wal_checkpoint")
"""
    )
    target = bench.folder / "all"
    bench.disk.write_all(target)
    assert _files(target) == {k: v for k, v in _files(bench.root).items() if not k.endswith("-shm")}
    assert {"base.db", "in/a", "in/child", "in/e", "older"} <= _files(target).keys()


def test_writable_shared_mapping_is_refused_not_missed(bench: Bench) -> None:
    with pytest.raises(Unrebuildable, match="mmap"):
        bench.run(
            "import mmap; put('a', bytes(4096)); m = mmap.mmap(os.open(root + '/a', os.O_RDWR), 0); m[0] = 1"
        )


def test_kill_nine_leaves_whole_records_and_a_free_lock(bench: Bench) -> None:
    endless = """
fd = os.open(root + "/a", os.O_CREAT | os.O_WRONLY, 0o600)
os.write(1, b"!")
while True:
    os.pwrite(fd, b"x" * 300_000, 0)
"""
    for _ in range(4):
        with bench.start(endless) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            position = bench.recorder.position
            while bench.recorder.position < position + 20:
                pass
            process.send_signal(signal.SIGKILL)
    bench.run("put('last', b'still recorded')")
    assert [each.data for each in bench.recorder.records() if each.operation == "W"][-1] == b"still recorded"
    bench.recorder.close()


def test_damaged_trace_is_no_trace() -> None:
    with pytest.raises(TraceDamaged):
        list(parse(bytes(48)))
