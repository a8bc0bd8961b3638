"""A witness never signs two histories: not under load, not after a crash, not on a full disk, not by a fork."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sqlite3
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.witness_house import WitnessProcess
from helpers.witness_near import new_witness
from ribcage.evidence import witness_protocol as wp
from ribcage.evidence.checkpoint import (
    Checkpoint,
    CheckpointSigner,
    Cosigner,
    log_origin,
    verify_cosignatures,
)
from ribcage.evidence.fork import Fork, make_fork, next_origin
from ribcage.evidence.merkle import CompactRange, consistency_path, leaf_hash, tree_root
from ribcage.evidence.note import Note
from ribcage.oversight.witness.errors import ForkRefused, WitnessHomeUnusable
from ribcage.oversight.witness.memory import WitnessMemory
from ribcage.oversight.witness.server import WitnessLimits

SIGNER = CheckpointSigner(log_origin(b"\x01" * 16), b"\x02" * 32)
ORIGIN = SIGNER.key.name
SUCCESSOR = CheckpointSigner(next_origin(ORIGIN), b"\x05" * 32)
COSIGNER = Cosigner("witness.example/1", b"\x04" * 32)
NOW = 1_750_000_000
SIZE = 64


class Log:
    """A log of 64 entries; from `parting` on its entries are its own."""

    def __init__(self, side: bytes, parting: int = 20) -> None:
        self._nodes: dict[tuple[int, int], bytes] = {}
        tree = CompactRange()
        for number in range(SIZE):
            word = side if number >= parting else b"both"
            for level, index, node in tree.append_nodes(leaf_hash(word + bytes([number]))):
                self._nodes[level, index] = node

    def read(self, level: int, index: int) -> bytes:
        return self._nodes[level, index]

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(ORIGIN, size, tree_root(self.read, size))

    def request(self, old: int, size: int, signer: CheckpointSigner = SIGNER) -> wp.AddCheckpoint:
        path = consistency_path(self.read, old, size)
        return wp.AddCheckpoint(old, tuple(path), signer.sign(size, tree_root(self.read, size)))


LEFT, RIGHT = Log(b"left"), Log(b"right")


@pytest.fixture
def memory(tmp_path: Path) -> WitnessMemory:
    made = WitnessMemory.create(tmp_path / "memory.db")
    made.trust(SIGNER.key)
    yield made
    made.close()


def of_one_history(memory: WitnessMemory) -> bool:
    heads = [(each.size, each.root) for each in memory.history(ORIGIN)]
    return any(all(root == log.head(size).root for size, root in heads) for log in (LEFT, RIGHT))


def test_two_histories_at_once_leave_one(tmp_path: Path, memory: WitnessMemory) -> None:
    others = [
        WitnessMemory(tmp_path / "memory.db") for _ in range(3)
    ]  # as other processes would have it open
    barrier, lines = threading.Barrier(8), list[str]()

    def push(number: int) -> None:
        log, mine = (LEFT, RIGHT)[number % 2], [memory, *others][number % 4]
        barrier.wait(20)
        old = 0
        for size in range(10, SIZE, 3):
            try:
                lines.append(mine.add(log.request(old, size), COSIGNER, NOW))
            except wp.SizeConflict as conflict:
                old = min(conflict.size, size)
            except wp.WitnessRefused:
                continue
            else:
                old = size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, range(8)))
    assert len(lines) > 1
    assert of_one_history(memory)
    sizes = [each.size for each in memory.history(ORIGIN)]
    assert sizes == sorted(set(sizes))
    for other in others:
        other.close()


_CRASH = """
import os, sys
from pathlib import Path
from ribcage.evidence.checkpoint import Cosigner
from ribcage.evidence.witness_protocol import AddCheckpoint
from ribcage.oversight.witness.memory import WitnessMemory
memory = WitnessMemory(Path(sys.argv[1]))
memory.add(AddCheckpoint.parse(sys.stdin.buffer.read()), Cosigner("witness.example/1", b"\\x04" * 32), 7)
os._exit(9)  # stored, and the answer never left
"""


def test_a_crash_between_store_and_answer_makes_no_second_history(
    tmp_path: Path, memory: WitnessMemory
) -> None:
    asked = LEFT.request(0, 30)
    command = [sys.executable, "-c", _CRASH, str(tmp_path / "memory.db")]
    done = subprocess.run(command, input=asked.encode(), timeout=60, check=False)
    assert done.returncode == 9
    with pytest.raises(wp.SizeConflict):
        memory.add(RIGHT.request(0, 30), COSIGNER, NOW)
    with pytest.raises(wp.RootConflict):
        memory.add(wp.AddCheckpoint(30, (), RIGHT.request(0, 30).note), COSIGNER, NOW)
    with pytest.raises(wp.SizeConflict) as conflict:  # the log asks again, as it did
        memory.add(asked, COSIGNER, NOW)
    line = memory.add(wp.AddCheckpoint(conflict.value.size, (), asked.note), COSIGNER, NOW)
    assert line == COSIGNER.sign(Note.parse(asked.note).text, 7)  # the stored line, with its time
    assert len(memory.history(ORIGIN)) == 1


def test_what_cannot_be_stored_is_not_signed(memory: WitnessMemory) -> None:
    first = memory.add(LEFT.request(0, 10), COSIGNER, NOW)
    pages = memory._link.execute("PRAGMA page_count").fetchone()[0]
    memory._link.execute(f"PRAGMA max_page_count = {pages}")  # a full disk
    size, signed = 10, 1
    with pytest.raises(WitnessHomeUnusable):
        for size in range(11, SIZE):
            memory.add(LEFT.request(size - 1, size), COSIGNER, NOW)
            signed += 1
    (remembered,) = memory.logs().values()
    assert remembered.size == size - 1
    assert [each.size for each in memory.history(ORIGIN)] == list(range(10, size))
    assert signed == size - 10
    assert first


def test_what_was_cosigned_stays(tmp_path: Path, memory: WitnessMemory) -> None:
    memory.add(LEFT.request(0, 10), COSIGNER, NOW)
    with sqlite3.connect(tmp_path / "memory.db") as link:
        for statement in ("DELETE FROM cosigned", "UPDATE cosigned SET size = 1"):
            with pytest.raises(sqlite3.IntegrityError):
                link.execute(statement)
    link.close()
    assert memory._link.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_a_log_keeps_its_key(memory: WitnessMemory) -> None:
    memory.trust(SIGNER.key)
    with pytest.raises(ForkRefused):
        memory.trust(CheckpointSigner(ORIGIN, b"\x09" * 32).key)
    with pytest.raises(ForkRefused):
        memory.trust(COSIGNER.key)
    with pytest.raises(ForkRefused, match="witness fork"):
        memory.trust(SUCCESSOR.key)  # not without a statement
    memory.trust(CheckpointSigner("example.org/log", b"\x09" * 32).key)


# --- forks ---------------------------------------------------------------------------------------------------------


def statement(log: Log, old_size: int, restored_size: int, **change: object) -> bytes:
    values: dict[str, object] = {
        "old": log.head(old_size),
        "restored": log.head(restored_size),
        "new_key": SUCCESSOR.key,
        "reason": "disk-lost",
        "approved_by": (b"\x07" * 16, b"\x08" * 16),
        "time_ms": NOW * 1000,
    }
    return make_fork(Fork(**(values | change)), SUCCESSOR)


def test_a_fork_closes_the_old_log_and_binds_the_new_one(memory: WitnessMemory) -> None:
    for old, size in ((0, 25), (25, 40), (40, 60)):
        memory.add(LEFT.request(old, size), COSIGNER, NOW)
    memory.fork(statement(LEFT, 60, 50), NOW)
    with pytest.raises(wp.LogClosed):
        memory.add(LEFT.request(60, 62), COSIGNER, NOW)
    with pytest.raises(wp.SizeConflict) as conflict:
        memory.add(LEFT.request(0, 55, SUCCESSOR), COSIGNER, NOW)
    assert conflict.value.size == 40  # the newest head that the restored log includes
    with pytest.raises(wp.ProofRefused):  # a new log with another past
        memory.add(RIGHT.request(40, 55, SUCCESSOR), COSIGNER, NOW)
    assert memory.add(LEFT.request(40, 55, SUCCESSOR), COSIGNER, NOW)
    with pytest.raises(ForkRefused):
        memory.fork(statement(LEFT, 60, 50), NOW)
    assert len(memory.forks()) == 1


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (statement(LEFT, 50, 40), "remembers 60"),  # hides ten lost entries
        (statement(RIGHT, 60, 40), "remembers 60"),
        (statement(LEFT, 60, 40, restored=RIGHT.head(40)), "another root"),
    ],
)
def test_a_fork_that_does_not_fit_is_refused(memory: WitnessMemory, told: bytes, why: str) -> None:
    for old, size in ((0, 40), (40, 60)):
        memory.add(LEFT.request(old, size), COSIGNER, NOW)
    with pytest.raises(ForkRefused, match=why):
        memory.fork(told, NOW)
    assert memory.add(LEFT.request(60, 62), COSIGNER, NOW)  # the log goes on
    assert memory.forks() == []


def test_a_second_fork_reaches_back_through_the_first(memory: WitnessMemory) -> None:
    for old, size in ((0, 25), (25, 60)):
        memory.add(LEFT.request(old, size), COSIGNER, NOW)
    memory.fork(statement(LEFT, 60, 30), NOW)
    memory.add(LEFT.request(25, 35, SUCCESSOR), COSIGNER, NOW)
    third = CheckpointSigner(next_origin(SUCCESSOR.key.name), b"\x06" * 32)
    old = Checkpoint(SUCCESSOR.key.name, 35, LEFT.head(35).root)
    restored = Checkpoint(SUCCESSOR.key.name, 28, LEFT.head(28).root)
    again = Fork(old, restored, third.key, "disk-lost", (b"\x07" * 16, b"\x08" * 16), NOW * 1000)
    memory.fork(make_fork(again, third), NOW)
    assert memory.logs()[third.key.name].size == 25


# --- on the wire ----------------------------------------------------------------------------------------------------


def post(port: int, body: bytes, path: str = wp.PATH, **headers: str) -> tuple[int, str, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    link = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    try:
        link.request("POST", path, body, headers)
        answer = link.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read()
    finally:
        link.close()


def test_the_process_answers_as_the_protocol_says_and_survives_kill_9(tmp_path: Path) -> None:
    witness = WitnessProcess(tmp_path / "witness")
    witness.create()
    witness.start()
    try:
        assert post(witness.port, LEFT.request(0, 10).encode())[0] == 404
        told = witness.cli("trust-log", SIGNER.verifier_key)
        assert (told.returncode, told.stderr) == (0, "")
        stranger = CheckpointSigner(ORIGIN, b"\x09" * 32)
        assert post(witness.port, LEFT.request(0, 10, stranger).encode())[0] == 403
        status, _, body = post(witness.port, LEFT.request(0, 30).encode())
        assert (status, len(wp.read_answer(status, "", body))) == (200, 1)
        witness.stop(signal.SIGKILL)
        witness.start()
        answers = [post(witness.port, RIGHT.request(old, 30).encode()) for old in (0, 25, 30)]
        assert [each[0] for each in answers] == [409, 409, 409]
        assert answers[0][1:] == (wp.SIZE_TYPE, b"30\n")
        assert post(witness.port, RIGHT.request(30, 40).encode())[0] == 422
        assert post(witness.port, b"nonsense")[0] == 400
        assert post(witness.port, bytes(wp.MAX_REQUEST_BYTES + 1))[0] == 400
        assert post(witness.port, b"", "/elsewhere")[0] == 404
        shown = json.loads(witness.cli("show", "--origin", ORIGIN, "--json").stdout)
        (log,) = shown["logs"]
        assert [each["size"] for each in log["checkpoints"]] == [30]
        assert log["checkpoints"][0]["note"].count("\u2014 ") == 2
        note = witness.cli("show", "--origin", ORIGIN, "--note").stdout.encode()
        assert verify_cosignatures(note, [witness.key], 1)
        assert witness.cli("show", "--note").returncode == 2
        fork = tmp_path / "statement"
        fork.write_bytes(statement(LEFT, 30, 30))
        assert witness.cli("fork", "--statement", str(fork)).returncode == 0
        assert post(witness.port, LEFT.request(30, 40).encode())[0] == 410
        shown = json.loads(witness.cli("show", "--json").stdout)
        assert shown["witness"] == witness.key
        assert [(one["old"], one["new"]) for one in shown["forks"]] == [(ORIGIN, SUCCESSOR.key.name)]
        assert f"goes on as {SUCCESSOR.key.name}" in witness.cli("show").stdout
        refused = witness.cli("fork", "--statement", str(fork))
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
    finally:
        witness.stop()


def test_a_flood_and_a_slow_body_are_refused(tmp_path: Path) -> None:
    near = new_witness(tmp_path)
    near.memory.trust(SIGNER.key)

    async def run() -> None:
        async with near.up(WitnessLimits(requests_per_second=1.0, body_seconds=0.3)):
            body = LEFT.request(0, 10).encode()
            statuses = [(await asyncio.to_thread(post, near.port, body))[0] for _ in range(5)]
            assert statuses[0] == 200
            assert statuses[-1] == 429
        async with near.up(WitnessLimits(body_seconds=0.3)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            reader, writer = await asyncio.open_connection("127.0.0.1", near.port, ssl=context)
            writer.write(b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nold")
            await writer.drain()
            async with asyncio.timeout(20):
                assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            writer.close()

    asyncio.run(run())


def test_the_key_opens_with_the_passphrase_alone_and_no_secret_lies_open(tmp_path: Path) -> None:
    witness = WitnessProcess(tmp_path / "witness")
    witness.create()
    read, write = os.pipe()
    os.write(write, b"not the passphrase at all")
    os.close(write)
    command = [sys.executable, "-m", "ribcage.cli.main", "witness", "serve", "--home", str(witness.home)]
    done = subprocess.run(
        [*command, "--passphrase-fd", str(read)],
        pass_fds=(read,),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(read)
    assert done.returncode == 2
    assert "wrong passphrase" in done.stderr
    for path in witness.home.rglob("*"):
        if path.is_file():
            assert b"PRIVATE KEY" not in path.read_bytes()
            assert path.stat().st_mode & 0o077 == 0
