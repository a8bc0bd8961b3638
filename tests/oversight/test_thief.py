"""What the thief can read: each dress is found, keys that lie about are used, and noise gives nothing."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sqlite3
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlcipher3 import dbapi2 as sqlcipher

from ribcage.crypto.derive import object_key
from ribcage.crypto.sealing import Envelope, Stream, seal
from ribcage.oversight.drill.attackers import aes, loot
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.drill.scripts import run_script
from ribcage.oversight.studies import generate, make_identity, make_study

PEOPLE = [make_identity(3, ordinal) for ordinal in range(20)]
NEEDLES = [person.needles() for person in PEOPLE]
WHO = PEOPLE[7]
TEXT = f"name {WHO.chinese_name} {WHO.latin_name} id {WHO.id_number}"


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", data)
    return buffer.getvalue()


DRESSES: dict[str, Callable[[str], bytes]] = {
    "utf8": lambda text: text.encode(),
    "utf16le": lambda text: b"\0" + text.encode("utf-16-le"),
    "utf16be": lambda text: text.encode("utf-16-be"),
    "gb18030": lambda text: text.encode("gb18030"),
    "json escapes": lambda text: json.dumps(text).encode(),
    "percent": lambda text: urllib.parse.quote(text).encode(),
    "html": lambda text: text.encode("ascii", "xmlcharrefreplace"),
    "hex": lambda text: text.encode().hex().encode(),
    "base64 shifted": lambda text: base64.b64encode(b"x" + text.encode()),
    "base64 of utf16": lambda text: base64.b64encode(b"xx" + text.encode("utf-16-le")),
    "base64 urlsafe": lambda text: base64.urlsafe_b64encode(text.encode("gb18030")),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()),
    "zlib": lambda text: os.urandom(50) + zlib.compress(text.encode()),
    "gzip": lambda text: gzip.compress(text.encode()),
    "raw deflate": lambda text: deflated(text.encode() * 2),
    "zip": lambda text: zipped(text.encode()),
    "base64 of zlib": lambda text: b"data," + base64.b64encode(zlib.compress(text.encode("utf-16-le"))),
    "cut zlib": lambda text: zlib.compress((text * 40 + os.urandom(900).hex()).encode())[:-40],
}


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("text", [WHO.chinese_name, WHO.id_number, WHO.latin_name])
def test_an_identity_is_found_in_any_dress(dress: str, text: str) -> None:
    search = Search(NEEDLES)
    search.feed(DRESSES[dress](f"some words before {text} some words after"))
    assert search.found == {7}


@settings(deadline=None, max_examples=40)
@given(
    before=st.binary(max_size=64),
    after=st.binary(max_size=64),
    dress=st.sampled_from(["utf8", "gb18030", "hex"]),
)
def test_an_identity_is_found_at_any_offset(before: bytes, after: bytes, dress: str) -> None:
    search = Search(NEEDLES)
    search.feed(before + b"\0" + DRESSES[dress](WHO.latin_name) + b"\0" + after)
    assert search.found == {7}


def test_noise_holds_nobody() -> None:
    search = Search(person.needles() for person in (make_identity(3, ordinal) for ordinal in range(300)))
    search.feed(os.urandom(4 << 20))
    assert search.found == set()


def test_a_text_across_the_edge_of_two_pieces_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ribcage.oversight.drill.attackers.search._PIECE", 8192)
    (tmp_path / "big").write_bytes(b"." * 8185 + WHO.id_number.encode() + b"." * 9000)
    search = Search(NEEDLES)
    search.feed_folder(tmp_path)
    assert search.found == {7}


def test_sqlite_cells_and_file_names_are_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE t (a BLOB)")
        connection.execute("INSERT INTO t VALUES (?)", (os.urandom(9000) + deflated(b""),))
        connection.execute("INSERT INTO t VALUES (?)", (deflated(TEXT.encode() * 200 + os.urandom(9000)),))
    connection.close()
    (tmp_path / f"{PEOPLE[2].patient_id}.txt").touch()
    search = Search(NEEDLES)
    assert search.feed_folder(tmp_path) == 2
    assert search.found == {7, 2}


def test_a_generated_file_names_its_person_and_nobody_else() -> None:
    for ordinal in (0, 13):
        search = Search(NEEDLES)
        search.feed(make_study(3, ordinal).file)
        assert search.found == {ordinal}


def test_aes_agrees_with_fips_197() -> None:
    block = aes.encrypt(bytes(range(32)), bytes.fromhex("00112233445566778899aabbccddeeff"))
    assert block.hex() == "8ea2b7ca516745bfeafc49904b496089"  # FIPS 197, C.3


@pytest.mark.parametrize("kind", ["object key", "study key"])
@pytest.mark.parametrize("dress", ["raw", "hex", "base64"])
def test_a_key_left_beside_an_object_opens_it(tmp_path: Path, kind: str, dress: str) -> None:
    envelope = Envelope(Stream.HEADER, 1, b"h" * 16, b"k" * 16, b"o" * 16)
    key = os.urandom(32)
    ids = {"hospital": b"h" * 16, "key_id": b"k" * 16, "object_id": b"o" * 16}
    used = key if kind == "object key" else object_key(key, **ids, stream=Stream.HEADER)
    data = make_study(3, 0).file[132 + 12 :]
    (tmp_path / "one.rbc").write_bytes(seal(used, envelope, data))
    left = {"raw": key, "hex": key.hex().encode(), "base64": base64.b64encode(key)}[dress]
    assert loot.open_objects(tmp_path, loot.candidates(tmp_path)) == []
    (tmp_path / "notes").write_bytes(left)
    assert loot.open_objects(tmp_path, loot.candidates(tmp_path)) == ["one.rbc"]


def test_a_key_left_beside_the_database_opens_it_and_its_names_are_counted(tmp_path: Path) -> None:
    key = os.urandom(32)
    connection = sqlcipher.connect(str(tmp_path / "index.db"))
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    connection.execute("CREATE TABLE t (a TEXT)")
    connection.execute("INSERT INTO t VALUES (?)", (TEXT,))
    connection.commit()
    connection.close()
    (tmp_path / "seeds.json").write_text(json.dumps(NEEDLES), encoding="utf-8")
    seeds = tmp_path.parent / f"{tmp_path.name}.json"
    (tmp_path / "seeds.json").rename(seeds)
    told = {"folder": str(tmp_path), "seeds": str(seeds)}
    assert not run_script("stolen_disk", told).succeeded
    (tmp_path / "old-settings.json").write_text(json.dumps({"key": key.hex()}), encoding="utf-8")
    done = run_script("stolen_disk", told)
    assert done.succeeded
    assert done.evidence.startswith("1 of 20 identities")
    assert "opened 1 things" in done.evidence


def test_a_private_key_in_clear_is_loot_enough(tmp_path: Path) -> None:
    assert loot.private_keys(tmp_path) == 0
    (tmp_path / "a.pem").write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert loot.private_keys(tmp_path) == 0
    (tmp_path / "b.pem").write_bytes(b"-----BEGIN EC PRIVATE KEY-----\n")
    (tmp_path / "c.pem").write_bytes(b"xx-----BEGIN PRIVATE KEY-----\n")
    assert loot.private_keys(tmp_path) == 2


def test_a_thousand_studies_are_a_thousand_people() -> None:
    people = [one.identity for one in generate(5, 60)]
    assert len({person.latin_name for person in people}) == 60
    numbers = {make_identity(5, ordinal).id_number for ordinal in range(1000)}
    assert len(numbers) == 1000
