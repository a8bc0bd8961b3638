"""Object files: never overwritten, never half there, never another object."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.guard.protocol import Admitted, OpenedObject
from ribcage.storage import ingest
from ribcage.storage.errors import ObjectBroken, ObjectExists, ObjectMissing, StorageFailed, StorageFull
from ribcage.storage.objects import ObjectStore
from ribcage.storage.retrieve import ObjectReader, iter_bulk, read_header

ADMITTED = Admitted(
    admission=bytes(16),
    object_id=bytes(range(16)),
    key_id=b"k" * 16,
    epoch=3,
    hospital=b"h" * 16,
    header_key=b"H" * 32,
    bulk_key=b"B" * 32,
    algorithm=1,
)


def _opened(stored: ingest.StoredObject, admitted: Admitted = ADMITTED) -> OpenedObject:
    return ingest.opened_of(admitted, stored)


async def _all(store: ObjectStore, opened: OpenedObject) -> tuple[bytes, bytes]:
    header = await read_header(store, opened)
    with ObjectReader(store, opened) as reader:
        return header, b"".join([part async for part in iter_bulk(reader, lambda: None)])


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    made = ObjectStore(tmp_path / "objects")
    made.prepare()
    return made


SEGMENT_EDGES = [0, 1, (1 << 20) - 57, (1 << 20) - 56, (1 << 20) - 55, 2 * (1 << 20) - 72, 3_000_000]


@pytest.mark.parametrize("size", SEGMENT_EDGES)
def test_streams_come_back_as_they_went_in(store: ObjectStore, size: int) -> None:
    header, bulk = os.urandom(1000), os.urandom(size)
    stored = ingest.store(store, ADMITTED, [header[:10], header[10:]], [bulk])
    assert asyncio.run(_all(store, _opened(stored))) == (header, bulk)
    assert header[:64] not in (store._root / stored.location).read_bytes()


@settings(deadline=None, max_examples=25)
@given(
    position=st.integers(0, 10_000), header=st.binary(max_size=400), bulk=st.binary(min_size=1, max_size=400)
)
def test_any_flipped_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, header: bytes, bulk: bytes
) -> None:
    store = ObjectStore(tmp_path_factory.mktemp("flip"))
    stored = ingest.store(store, ADMITTED, [header], [bulk])
    path = store._root / stored.location
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1
    path.chmod(0o640)
    path.write_bytes(data)
    with pytest.raises(ObjectBroken):
        asyncio.run(_all(store, _opened(stored)))


def test_cut_or_extended_file_is_refused(store: ObjectStore) -> None:
    stored = ingest.store(store, ADMITTED, [b"header"], [b"bulk"])
    path = store._root / stored.location
    whole = path.read_bytes()
    path.chmod(0o640)
    for changed in (whole[:-1], whole + b"\0", b""):
        path.write_bytes(changed)
        with pytest.raises(ObjectBroken):
            asyncio.run(_all(store, _opened(stored)))


def test_exchanged_files_and_streams_do_not_open(store: ObjectStore) -> None:
    other = replace_struct(ADMITTED, object_id=b"o" * 16)
    one = ingest.store(store, ADMITTED, [b"header"], [b"bulk"])
    two = ingest.store(store, other, [b"header"], [b"bulk"])
    with pytest.raises(ObjectBroken):
        asyncio.run(_all(store, _opened(replace(one, location=two.location))))
    with pytest.raises(ObjectBroken):
        asyncio.run(_all(store, _opened(one, replace_struct(ADMITTED, epoch=4))))


def replace_struct(admitted: Admitted, **more: object) -> Admitted:
    import msgspec

    return msgspec.structs.replace(admitted, **more)


def test_committed_object_is_never_overwritten(store: ObjectStore) -> None:
    location = store.write(b"a" * 16, [b"first"])
    with pytest.raises(ObjectExists):
        store.write(b"a" * 16, [b"second"])
    with store.open(location) as opened:
        assert opened.pread(0, 100) == b"first"


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageFailed)],
)
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_failing_disk_leaves_nothing(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: type[Exception]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(error):
            store.write(b"a" * 16, [b"x" * 5000])
    assert list(store.list_files()) == []
    store.write(b"a" * 16, [b"x"])


@pytest.mark.parametrize("call", ["fsync"])
def test_write_returns_only_after_file_and_folder_are_synced(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    synced: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, call, noted)
    path = store._root / store.write(b"a" * 16, [b"x"])
    assert synced == [str(path), str(path.parent)]


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "ab/../cd", "ab/" + "a" * 32 + ".rbc", "", "61/x.rbc", "61/" + "61" * 16],
)
def test_location_that_is_none_never_reaches_the_disk(store: ObjectStore, location: str) -> None:
    with pytest.raises(ObjectMissing):
        store.open(location)


def test_symbolic_link_in_place_of_an_object_is_not_followed(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x")
    location = store.location(b"a" * 16)
    (store._root / location).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed):
        store.open(location)
    with pytest.raises(ObjectExists):
        store.write(b"a" * 16, [b"x"])


def test_stray_files_are_listed_by_age(store: ObjectStore) -> None:
    location = store.write(b"a" * 16, [b"x"])
    now = (store._root / location).stat().st_mtime
    assert list(store.list_files()) == [location]
    assert list(store.list_files(modified_before=now)) == []
    store.remove_uncommitted(location)
    assert list(store.list_files()) == []


def test_cut_is_asked_before_every_segment(store: ObjectStore) -> None:
    stored = ingest.store(store, ADMITTED, [b"h"], [bytes(5_000_000)])
    asked = 0

    def cut() -> None:
        nonlocal asked
        asked += 1
        if asked > 4:
            raise RuntimeError("cut")

    async def read() -> int:
        got = 0
        with ObjectReader(store, _opened(stored)) as reader, pytest.raises(RuntimeError):
            async for part in iter_bulk(reader, cut):
                got += len(part)
        return got

    assert 0 < asyncio.run(read()) <= 2 * (1 << 20)
