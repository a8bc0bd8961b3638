"""The edge's spool: what is durable when, what a kill leaves, what stands on the disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.archive import TESTS
from ribcage.crypto import hybrid
from ribcage.crypto.sealing import Opener, sealed_segments
from ribcage.crypto.signing import Signer
from ribcage.evidence.edge_entry import FRONT_BYTES, EntryContext, EntryFront, key_info, split_context
from ribcage.evidence.edge_receipt import EdgeReceipt, Outcome
from ribcage.transfer.edge.errors import EdgeHomeUnusable, ListenRefused, SpoolFull
from ribcage.transfer.edge.limits import EdgeLimits, check_listen
from ribcage.transfer.edge.spool import Spool, SpoolKeys, read_receipts

PRIVATE = hybrid.HybridPrivate(bytes(range(96)))
KEYS = SpoolKeys(bytes(16), bytes(range(16)), PRIVATE.public_key, Signer(bytes(32)), bytes(32))
LIMITS = EdgeLimits(min_free_bytes=1, max_receipts=3)
CONTEXT = EntryContext("DX1", "EDGE1", "127.0.0.1", "1.2.3", "2.25.17", "1.2.840.10008.1.2.1")


def made(home: Path, limits: EdgeLimits = LIMITS) -> Spool:
    for name in ("spool", "refused"):
        (home / name).mkdir(parents=True, exist_ok=True)
    return Spool(home, KEYS, limits)


def take(spool: Spool, data: bytes, uid: str = "2.25.17") -> bytes:
    context = EntryContext("DX1", "EDGE1", "127.0.0.1", "1.2.3", uid, "1.2.840.10008.1.2.1")
    entry = spool.begin(bytes(16), context)
    try:
        for start in range(0, len(data), 70_000):
            entry.add(memoryview(data)[start : start + 70_000])
        return entry.finish()
    finally:
        entry.discard()


def settle(spool: Spool, outcome: Outcome = "taken") -> None:
    one = spool.oldest()
    assert one is not None
    spool.settle(one, EdgeReceipt.of(one.front, bytes(16), 1, outcome), b"note")


def opened(path: Path) -> tuple[EntryContext, bytes]:
    """As the archive opens it."""
    data = path.read_bytes()
    front, sealed = EntryFront.parse(data[:FRONT_BYTES]), data[FRONT_BYTES:]
    front.verify(KEYS.signer.public_key)
    assert hashlib.sha256(sealed).digest() == front.header.sealed_sha256
    key = PRIVATE.open_key(front.wrapped, key_info(front.header))
    opener, at, plain = Opener(key, front.header.envelope(KEYS.hospital), sealed[:100]), 100, b""
    sizes = sealed_segments(len(sealed))
    for number, size in enumerate(sizes, 1):
        plain += opener.open(sealed[at : at + size], last=number == len(sizes))
        at += size
    context, start = split_context(plain)
    return context, plain[start:]


@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_a_film_opens_bit_for_bit_at_the_archive(tmp_path: Path, size: int) -> None:
    spool, data = made(tmp_path), os.urandom(size)
    assert take(spool, data) == hashlib.sha256(data).digest()
    one = spool.oldest()
    assert one is not None
    assert opened(one.path) == (CONTEXT, data)
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["0000000000000001.entry"]


def test_numbers_go_on_without_gaps_and_never_again(tmp_path: Path) -> None:
    spool = made(tmp_path)
    take(spool, b"one")
    take(spool, b"two")
    settle(spool)
    settle(spool)
    spool.close()
    spool = made(tmp_path)
    take(spool, b"three")
    one = spool.oldest()
    assert one is not None and one.front.header.sequence == 3
    assert [number for number, _ in read_receipts(tmp_path)] == [1, 2]


def test_the_same_film_while_it_waits_is_one_and_another_of_its_name_is_two(tmp_path: Path) -> None:
    spool = made(tmp_path)
    for data in (b"one", b"one", b"other"):
        take(spool, data)
    assert spool.depth().waiting == 2


def test_receipts_are_bounded_and_tell_what_became_of_an_instance(tmp_path: Path) -> None:
    spool = made(tmp_path)
    for number in range(5):
        take(spool, b"film %d" % number, f"2.25.{number}")
        assert spool.state_of(KEYS.tag(bytes(16), "1.2.3", f"2.25.{number}")) == "waiting"
        settle(spool, "refused" if number == 4 else "taken")
    states = [spool.state_of(KEYS.tag(bytes(16), "1.2.3", f"2.25.{number}")) for number in range(5)]
    assert states == ["unknown", "unknown", "taken", "taken", "refused"]
    assert [path.name for path in (tmp_path / "refused").iterdir()] == ["0000000000000005.entry"]
    assert spool.depth().refused == 1


def test_a_full_spool_takes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    spool = made(tmp_path, EdgeLimits(min_free_bytes=1, max_spool_bytes=200_000))
    take(spool, bytes(100_000))
    with pytest.raises(SpoolFull):
        take(spool, bytes(3_000_000), "2.25.2")
    assert len(list((tmp_path / "spool").iterdir())) == 1
    settle(spool)
    take(spool, bytes(100_000), "2.25.2")
    with pytest.raises(SpoolFull):
        made(tmp_path / "small", EdgeLimits(min_free_bytes=1 << 62)).begin(bytes(16), CONTEXT)


def test_a_damaged_front_is_told_and_kept(tmp_path: Path) -> None:
    spool = made(tmp_path)
    take(spool, b"film")
    spool.close()
    path = next((tmp_path / "spool").iterdir())
    path.write_bytes(b"XXXX" + path.read_bytes()[4:])
    again = made(tmp_path)
    assert (again.depth().damaged, again.depth().waiting, path.exists()) == (1, 0, True)
    take(again, b"next")
    assert again.oldest() is not None


def test_no_receipts_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(EdgeHomeUnusable):
        read_receipts(tmp_path)


@pytest.mark.parametrize(
    ("address", "isolated", "good"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "", False),
        ("10.1.2.3", "10.1.2.4", False),
        ("0.0.0.0", "0.0.0.0", False),
        ("::", "::", False),
        ("8.8.8.8", "8.8.8.8", False),
        ("::ffff:8.8.8.8", "::ffff:8.8.8.8", False),
        ("169.254.1.1", "169.254.1.1", False),
        ("224.0.0.1", "224.0.0.1", False),
        ("localhost", "localhost", False),
    ],
)
def test_plain_dicom_listens_nowhere_else(address: str, isolated: str, good: bool) -> None:
    if good:
        check_listen(address, isolated)
        return
    with pytest.raises(ListenRefused):
        check_listen(address, isolated)


_CHILD = """
import os, signal, sys
from pathlib import Path
from transfer import test_edge_spool as t
from ribcage.transfer.edge import spool as module

def dies(call, left):
    def inner(*given, **more):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*given, **more)
    return inner

def live(home, step):
    diary, left = (home / "told").open("w", buffering=1), [step]
    spool = t.made(home)
    os.fsync, os.pwrite, os.write = dies(os.fsync, left), dies(os.pwrite, left), dies(os.write, left)
    module.sync_folder = dies(module.sync_folder, left)
    Path.rename, Path.unlink = dies(Path.rename, left), dies(Path.unlink, left)
    for number in (1, 2):
        t.take(spool, bytes([number]) * 1500, f"2.25.{number}")
        print(number, file=diary)
    t.settle(spool)
    print("settled", file=diary)
    t.take(spool, bytes([3]) * 1500, "2.25.3")
    print(3, file=diary)
    os._exit(0)

for step in range(100):
    home = Path(sys.argv[1]) / str(step)
    home.mkdir()
    child = os.fork()
    if not child:
        live(home, step)
    if os.waitpid(child, 0)[1] == 0:
        print(step)
        break
"""


def test_a_kill_at_any_step_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """The process dies before the n-th write, sync, rename or removal, for every n there is."""
    command = [sys.executable, "-c", _CHILD, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=dict(os.environ, PYTHONPATH=str(TESTS))
    )
    steps = int(done.stdout)
    assert steps > 15
    for step in range(steps + 1):
        home = tmp_path / str(step)
        told = (home / "told").read_text().split()
        spool = made(home)
        held = {opened(path)[1][:1] for path in (home / "spool").glob("*.entry")}
        due = {bytes([int(each)]) for each in told if each != "settled"} - (
            {b"\x01"} if "2" in told else set()
        )
        assert due <= held, (step, told)
        if "2" in told:  # the first film's receipt was durable, or it still waits
            assert read_receipts(home) or b"\x01" in held
        if "settled" in told:
            assert b"\x01" not in held
        before = spool.depth().waiting
        take(spool, b"after", "2.25.9")
        assert spool.depth().waiting == before + 1
        numbers = sorted(int(path.name[:16], 16) for path in (home / "spool").glob("*.entry"))
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert not list((home / "spool").glob("*.part"))
        spool.close()
