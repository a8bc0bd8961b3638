"""Opening a home: wrong passphrase, a newer home, a second guard; and a socket that takes no garbage."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.guard_house import PASSPHRASE, PLAN, House, edit, new_home, new_house
from ribcage.crypto.errors import KeyStoreFailure, KeyStoreNewer, WrongPassphrase
from ribcage.database.errors import DatabaseError, DatabaseNewer
from ribcage.guard import protocol as p
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardUnavailable, ProtocolFailure
from ribcage.guard.frames import Decoder, encode
from ribcage.guard.home import create_home, open_core
from ribcage.guard.limits import GuardLimits
from ribcage.guard.place import HomeError


def opened(home: Path, passphrase: bytes = PASSPHRASE) -> None:
    """Open and close; raises what opening raises."""
    open_core(home, passphrase, GuardLimits())[0].close()


def test_a_wrong_passphrase_opens_nothing_and_the_right_one_still_does(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    before = {path: path.read_bytes() for path in (home / "keys").iterdir()}
    for wrong in (b"", PASSPHRASE + b"\n", PASSPHRASE.upper()):
        with pytest.raises(WrongPassphrase):
            opened(home, wrong)
    assert {path: path.read_bytes() for path in (home / "keys").iterdir()} == before
    opened(home)


def test_a_second_guard_on_the_same_home_is_refused(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    core, _ = open_core(home, PASSPHRASE, GuardLimits())
    try:
        with pytest.raises(HomeError, match="another process has this home open"):
            opened(home)
    finally:
        core.close()
    opened(home)


def newer_facts(home: Path) -> None:
    facts = json.loads((home / "home.json").read_text())
    (home / "home.json").write_text(json.dumps(facts | {"format": 2}))


def newer_database(home: Path) -> None:
    assert edit(home, "UPDATE alembic_version SET version_num = 'r9999'") == 1


def newer_key_store(home: Path) -> None:
    link = sqlite3.connect(home / "keys" / "keystore.db")
    link.execute("PRAGMA user_version = 3")
    link.close()


@pytest.mark.parametrize(
    ("make_newer", "error"),
    [(newer_facts, HomeError), (newer_database, DatabaseNewer), (newer_key_store, KeyStoreNewer)],
)
def test_a_newer_home_is_refused_and_left_as_it_is(
    tmp_path: Path, make_newer: Callable[[Path], None], error: type[Exception]
) -> None:
    home = new_home(tmp_path)
    make_newer(home)
    for _ in range(2):  # the second time proves that the first left nothing open
        with pytest.raises(error, match="newer"):
            opened(home)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "hospital": "zz", "name": ""}']
)
def test_a_damaged_home_says_so(tmp_path: Path, content: str) -> None:
    home = new_home(tmp_path)
    (home / "home.json").write_text(content)
    with pytest.raises(HomeError, match="damaged"):
        opened(home)


def test_no_home_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="ribcage init"):
        opened(tmp_path)


def test_a_home_is_never_made_over_something(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    with pytest.raises(HomeError, match="not empty"):
        create_home(home, tmp_path / "root", PASSPHRASE, PLAN)
    opened(home)


def test_key_store_and_database_belong_together(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    create_home(tmp_path / "other", tmp_path / "root", PASSPHRASE, PLAN)
    (home / "database" / "ribcage.db").write_bytes(
        (tmp_path / "other" / "database" / "ribcage.db").read_bytes()
    )
    with pytest.raises(DatabaseError):
        opened(home)
    (home / "keys" / "keystore.db").write_bytes((tmp_path / "other" / "keys" / "keystore.db").read_bytes())
    with pytest.raises(KeyStoreFailure):
        opened(home)


def test_nobody_else_may_read_the_home(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    for path in [home, *(each for each in home.iterdir() if each.is_dir())]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (home / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- the socket -----------------------------------------------------------------------------------------


def play(folder: Path, story: Callable[[House], Awaitable[None]], limits: GuardLimits | None = None) -> None:
    async def run() -> None:
        async with new_house(folder, limits) as house:
            await story(house)

    asyncio.run(run())


def framed(content: object) -> bytes:
    body = msgspec.msgpack.encode(content)
    return len(body).to_bytes(4, "big") + body


GARBAGE = {
    "an announced 4 GiB": b"\xff\xff\xff\xff",
    "one byte over the limit": (p.MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
    "no msgpack": b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
    "an unknown message": framed([1, {"type": "Give"}]),
    "an unknown field": framed([1, {"type": "Ping", "more": 1}]),
    "a field of another type": framed([1, {"type": "Hello", "process": "x"}]),
    "an answer instead of a call": encode(p.Answer(1, p.Noted())),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_ends_its_own_connection_only(tmp_path: Path, name: str) -> None:
    async def story(house: House) -> None:
        path = str(house.home / "run" / "guard.sock")
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(encode(p.Call(7, p.Ping())) + GARBAGE[name])
        answer = await asyncio.wait_for(reader.read(-1), 10)  # to the end: the guard closed
        writer.close()
        assert answer in (b"", encode(p.Answer(7, p.Noted())))
        await house.front.call(p.Ping(), p.Noted)

    play(tmp_path, story)


def test_a_frame_that_never_ends_holds_up_nobody(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        _, writer = await asyncio.open_unix_connection(str(house.home / "run" / "guard.sock"))
        writer.write(encode(p.Call(1, p.Ping()))[:-1])
        await writer.drain()
        for _ in range(20):
            await house.front.call(p.Ping(), p.Noted)
        writer.close()

    play(tmp_path, story)


def test_connections_are_bounded(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        path = house.home / "run" / "guard.sock"
        more = [await GuardClient.connect(path) for _ in range(4)]
        outcomes = [await _answers(client) for client in more]
        assert outcomes == [True, True, False, False]
        for client in more:
            await client.close()
        await house.front.call(p.Ping(), p.Noted)

    play(tmp_path, story, GuardLimits(connections=4))


async def _answers(client: GuardClient) -> bool:
    try:
        await client.call(p.Ping(), p.Noted)
    except GuardUnavailable:
        return False
    return True


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        mode = (house.home / "run" / "guard.sock").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600

    play(tmp_path, story)


def test_every_message_has_a_handler(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        asked = {each.__name__ for each in (*p.FrontRequest.__args__, *p.AdminRequest.__args__)}
        front, admin = house.server._front_table, house.server._admin_table
        assert {each.__name__ for each in (*front, *admin)} == asked
        assert not set(front) & set(admin)
        assert set(front) == set(p.FrontRequest.__args__)

    play(tmp_path, story)


def test_the_shape_of_garbage_is_right_where_it_should_be() -> None:
    assert Decoder(p.Call).feed(framed([1, {"type": "Hello", "process": 7}])) == [p.Call(1, p.Hello(7))]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 50))
def test_a_decoder_gives_frames_or_its_one_error(data: bytes, step: int) -> None:
    decoder = Decoder(p.Call)
    try:
        for at in range(0, len(data), step):
            for frame in decoder.feed(data[at : at + step]):
                assert isinstance(frame, p.Call)
    except ProtocolFailure:
        return


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**40), st.text(max_size=50)), max_size=8), st.integers(1, 99))
def test_frames_survive_any_cutting(calls: list[tuple[int, str]], step: int) -> None:
    sent = [p.Call(number, p.LogIn(text, text, "::1")) for number, text in calls]
    stream, decoder, got = b"".join(map(encode, sent)), Decoder(p.Call), []
    for at in range(0, len(stream), step):
        got += decoder.feed(stream[at : at + step])
    assert got == sent
