"""An open archive, as they stand on the internet: the control for attacks that Orthanc has no notion of.

It works, and defends nothing, on purpose and on loopback only:
1. DICOM in clear, and over TLS that asks nobody for a certificate; any AE title; C-FIND for everybody.
2. Sixteen workers without deadline or limit; a worker that meets an error is gone.
3. Passwords in clear, codes that work twice, sessions that are counted up and accepted in a link; no grants.
4. Files and tables in clear, an audit table that believes itself.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sqlite3
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID

from ribcage.oversight.drill.attackers.dicom import (
    command,
    element,
    item,
    pdu,
)

_WORKERS = 16
_SCHEMA = """
CREATE TABLE IF NOT EXISTS person (
  id INTEGER PRIMARY KEY, username TEXT UNIQUE, password TEXT, roles TEXT, totp_secret TEXT);
CREATE TABLE IF NOT EXISTS study (
  pk INTEGER PRIMARY KEY, uid TEXT UNIQUE, patient_name TEXT, patient_id TEXT, comments TEXT);
CREATE TABLE IF NOT EXISTS instance (
  pk INTEGER PRIMARY KEY, uid TEXT UNIQUE, study_pk INTEGER, sop_class_uid TEXT, path TEXT,
  latitude TEXT, longitude TEXT);
CREATE TABLE IF NOT EXISTS audit (number INTEGER PRIMARY KEY, text TEXT);
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Shelf:
    """Files and tables of the open archive, shared by its DICOM and HTTP halves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "archive.db"
        (folder / "files").mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        with self.connection() as connection:
            connection.executescript(_SCHEMA)

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """One connection, committed and closed at the end."""
        with self._lock:
            connection = sqlite3.connect(self.database)
            try:
                yield connection
                connection.commit()
            finally:
                connection.close()

    def add_person(
        self, username: str, password: str, roles: str = "radiologist", totp_secret: str = ""
    ) -> None:
        """A person, password in clear."""
        with self.connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO person (username, password, roles, totp_secret) VALUES (?, ?, ?, ?)",
                (username, password, roles, totp_secret),
            )

    def note(self, text: str) -> None:
        """One line of audit."""
        with self.connection() as connection:
            connection.execute("INSERT INTO audit (text) VALUES (?)", (text,))

    def store(self, file: bytes) -> None:
        """File one DICOM file under what its header says. Raises whatever the parser raises."""
        data = dcmread(io.BytesIO(file), stop_before_pixels=True)
        for one in data.iterall():
            str(one.value)
        uid = str(data.SOPInstanceUID)
        path = self.folder / "files" / f"{uid}.dcm"
        path.write_bytes(file)
        study = (
            str(data.StudyInstanceUID),
            str(data.get("PatientName", "")),
            str(data.get("PatientID", "")),
            str(data.get("PatientComments", "")),
        )
        place = (str(data.get("GPSLatitude", "")), str(data.get("GPSLongitude", "")))
        with self.connection() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO study (uid, patient_name, patient_id, comments) VALUES (?, ?, ?, ?)",
                study,
            )
            (key,) = connection.execute("SELECT pk FROM study WHERE uid = ?", study[:1]).fetchone()
            connection.execute(
                "INSERT OR REPLACE INTO instance (uid, study_pk, sop_class_uid, path, latitude, longitude) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (uid, key, str(data.SOPClassUID), str(path), *place),
            )
        self.note(f"stored {uid} of {study[1]}")

    def studies(self) -> list[tuple[str, str, str, str]]:
        """UID, name, ID and comments of every study."""
        with self.connection() as connection:
            return list(
                connection.execute("SELECT uid, patient_name, patient_id, comments FROM study ORDER BY pk")
            )

    def files(self, study_uid: str) -> list[bytes]:
        """The files of one study."""
        with self.connection() as connection:
            rows = connection.execute(
                "SELECT path FROM instance JOIN study ON study.pk = study_pk WHERE study.uid = ?",
                (study_uid,),
            ).fetchall()
        return [Path(row[0]).read_bytes() for row in rows]


class OpenDicom:
    """The DICOM half: an SCP by hand that believes every word."""

    def __init__(self, shelf: Shelf, pair: Pair | None) -> None:
        self._shelf = shelf
        self._context: ssl.SSLContext | None = None
        if pair is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(pair.certificate, pair.key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._closing = False
        for _ in range(_WORKERS):
            threading.Thread(target=self._work, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _work(self) -> None:
        """One worker: serves until a connection ends in anything but a closed socket, and is gone then."""
        with contextlib.suppress(Exception):  # the crash of a worker is the point
            while not self._closing:
                stream, _ = self._listener.accept()
                with stream:
                    with contextlib.suppress(ConnectionError, EOFError, ssl.SSLError):
                        if self._context is not None:
                            stream = self._context.wrap_socket(stream, server_side=True)
                        self._serve(stream)
                    stream.close()

    def _serve(self, stream: socket.socket) -> None:
        contexts: dict[int, tuple[str, str]] = {}
        parts = {True: b"", False: b""}
        while True:
            kind, body = _read_pdu(stream)
            if kind == 0x01:
                contexts = dict(_proposed(body))
                stream.sendall(_associate_ac(body, contexts))
            elif kind == 0x05:
                stream.sendall(pdu(0x06, bytes(4)))
                return
            elif kind == 0x04:
                place = 0
                while place < len(body):
                    length, number, control = struct.unpack_from(">IBB", body, place)
                    parts[bool(control & 1)] += body[place + 6 : place + 4 + length]
                    place += 4 + length
                    if control & 2 and self._complete(parts, bool(control & 1)):
                        self._answer(stream, number, contexts[number], parts)
                        parts = {True: b"", False: b""}
            else:
                return

    @staticmethod
    def _complete(parts: dict[bool, bytes], is_command: bool) -> bool:
        fields = _fields(parts[True])
        return not is_command or fields[0x0800] == b"\x01\x01"

    def _answer(
        self, stream: socket.socket, number: int, context: tuple[str, str], parts: dict[bool, bytes]
    ) -> None:
        fields = _fields(parts[True])
        (asked,) = struct.unpack("<H", fields[0x0100])
        if asked == 0x0020:
            for uid, name, patient_id, comments in self._shelf.studies():
                found = [(0x08, 0x05, b"CS", b"ISO_IR 192"), (0x10, 0x10, b"PN", name.encode())]
                found += [(0x10, 0x20, b"LO", patient_id.encode()), (0x10, 0x4000, b"LT", comments.encode())]
                found.append((0x20, 0x0D, b"UI", uid.encode()))
                data = b"".join(element(*one) for one in found)
                _send(stream, number, fields, asked, 0xFF00, data)
        elif asked == 0x0001:
            self._shelf.store(_as_file(fields, context[1], parts[False]))
        _send(stream, number, fields, asked, 0x0000, b"")


def _send(
    stream: socket.socket, number: int, fields: dict[int, bytes], asked: int, status: int, data: bytes
) -> None:
    told = [
        (0x0002, fields[0x0002]),
        (0x0100, struct.pack("<H", asked | 0x8000)),
        (0x0120, fields[0x0110]),
        (0x0800, struct.pack("<H", 0 if data else 0x0101)),
        (0x0900, struct.pack("<H", status)),
    ]
    if 0x1000 in fields:
        told.append((0x1000, fields[0x1000]))
    content = command(told)
    stream.sendall(pdu(0x04, struct.pack(">IBB", len(content) + 2, number, 3) + content))
    if data:
        stream.sendall(pdu(0x04, struct.pack(">IBB", len(data) + 2, number, 2) + data))


def _read_pdu(stream: socket.socket) -> tuple[int, bytes]:
    """Whatever length the peer says (rule 2)."""
    kind, length = struct.unpack(">BxI", _read(stream, 6))
    return kind, _read(stream, length)


def _read(stream: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = stream.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _proposed(body: bytes) -> Iterator[tuple[int, tuple[str, str]]]:
    place = 68
    while place < len(body):
        kind, length = struct.unpack_from(">BxH", body, place)
        content = body[place + 4 : place + 4 + length]
        if kind == 0x20:
            (first,) = struct.unpack_from(">H", content, 6)
            (second,) = struct.unpack_from(">H", content, 10 + first)
            yield (
                content[0],
                (content[8 : 8 + first].decode(), content[12 + first : 12 + first + second].decode()),
            )
        place += 4 + length


def _associate_ac(request: bytes, contexts: dict[int, tuple[str, str]]) -> bytes:
    body = request[:68] + item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (_, syntax) in contexts.items():
        body += item(0x21, bytes((number, 0, 0, 0)) + item(0x40, syntax.encode()))
    return pdu(0x02, body + item(0x50, item(0x51, struct.pack(">I", 131_072)) + item(0x52, b"2.25.2")))


def _fields(data: bytes) -> dict[int, bytes]:
    found, place = {}, 0
    while place < len(data):
        _, number, length = struct.unpack_from("<HHI", data, place)
        found[number] = data[place + 8 : place + 8 + length]
        place += 8 + length
    return found


def _as_file(fields: dict[int, bytes], syntax: str, data: bytes) -> bytes:
    """A file of the received data set (PS3.10 7.1)."""
    meta = element(0x02, 0x01, b"OB", b"\x00\x01") + element(0x02, 0x02, b"UI", fields[0x0002])
    meta += element(0x02, 0x03, b"UI", fields[0x1000]) + element(0x02, 0x10, b"UI", UID(syntax).encode())
    meta += element(0x02, 0x12, b"UI", b"2.25.2")
    return bytes(128) + b"DICM" + element(0x02, 0x00, b"UL", struct.pack("<I", len(meta))) + meta + data
