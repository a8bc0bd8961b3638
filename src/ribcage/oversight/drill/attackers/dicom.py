"""A DICOM client by hand (PS3.8 9.3, PS3.7 E.1): C-ECHO, C-STORE, C-FIND, and the pieces for hostile PDUs."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .kit import Brief, GaveUp, patience, tls_context

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
_MAX_PDU = 131_072
_MAX_ANSWER = 1 << 24


def connect(
    brief: Brief, pair: dict[str, str] | None = None, *, tls: bool | None = None, source: str = ""
) -> socket.socket:
    """A connection to the DICOM port. `tls=False` speaks plain DICOM whatever the archive wants."""
    where = brief["dicom"]
    bound = (source, 0) if source else None
    raw = socket.create_connection(
        (where["host"], where["port"]), timeout=patience(brief), source_address=bound
    )
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not (where["tls"] if tls is None else tls):
        return raw
    pair = pair or {"certificate": "", "key": ""}
    context: ssl.SSLContext = tls_context(str(brief.get("ca", "")), pair["certificate"], pair["key"])
    try:
        return context.wrap_socket(raw, server_hostname=where["host"])
    except OSError:
        raw.close()
        raise


def item(kind: int, content: bytes) -> bytes:
    """An item or sub-item (PS3.8 9.3.2): type, reserved, length of two bytes."""
    return struct.pack(">BxH", kind, len(content)) + content


def pdu(kind: int, content: bytes) -> bytes:
    """A PDU (PS3.8 9.3.1): type, reserved, length of four bytes."""
    return struct.pack(">BxI", kind, len(content)) + content


def associate_rq(calling: str, called: str, contexts: list[tuple[str, str]]) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2) proposing one transfer syntax for each abstract syntax."""
    body = struct.pack(">Hxx", 1) + called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for place, (abstract, syntax) in enumerate(contexts):
        content = (
            bytes((2 * place + 1, 0, 0, 0)) + item(0x30, abstract.encode()) + item(0x40, syntax.encode())
        )
        body += item(0x20, content)
    user = item(0x51, struct.pack(">I", _MAX_PDU)) + item(0x52, b"2.25.1") + item(0x55, b"STRANGER")
    return pdu(0x01, body + item(0x50, user))


def command(fields: list[tuple[int, bytes]]) -> bytes:
    """A command set (PS3.7 6.3.1): implicit VR little endian, group length first."""
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in sorted(fields))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """An explicit VR little endian element; `value` is padded to even length."""
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHI", group, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


@dataclass(frozen=True)
class File:
    """A DICOM file taken apart: what its file meta information says, and the data set."""

    sop_class: str
    sop_instance: str
    syntax: str
    data: bytes


def split_file(content: bytes) -> File:
    """PS3.10 7.1: preamble, DICM, group 2 in explicit VR little endian, data set. Raises GaveUp."""
    if content[128:132] != b"DICM":
        raise GaveUp("not a DICOM file")
    place, meta = 132, dict[int, bytes]()
    while content[place : place + 2] == b"\x02\x00":
        number, vr = struct.unpack_from("<H2s", content, place + 2)
        head, form = (12, "<I") if vr in (b"OB", b"UN", b"OW", b"UT") else (8, "<H")
        (length,) = struct.unpack_from(form, content, place + head - struct.calcsize(form))
        meta[number] = content[place + head : place + head + length]
        place += head + length
    return File(_uid(meta[0x02]), _uid(meta[0x03]), _uid(meta[0x10]), content[place:])


class Association:
    """One association. Raises GaveUp for A-ASSOCIATE-RJ, A-ABORT and contexts that were not accepted."""

    def __init__(
        self, stream: socket.socket, calling: str, called: str, contexts: list[tuple[str, str]]
    ) -> None:
        self._stream = stream
        self._contexts = contexts
        self._message = 0
        stream.sendall(associate_rq(calling, called, contexts))
        kind, body = self._receive()
        if kind == 0x03:
            raise GaveUp(f"association rejected (result {body[1]}, source {body[2]}, reason {body[3]})")
        if kind != 0x02:
            raise GaveUp(f"association answered by PDU type {kind}")
        self._accepted = dict(_accepted(body))
        self._chunk = min(_MAX_PDU, _maximum(body) or _MAX_PDU) - 6

    def echo(self) -> int:
        """C-ECHO (PS3.7 9.1.5); the status."""
        self._send(VERIFICATION, 0x0030, [], b"")
        return _status(self._answer()[0])

    def store(self, file: File) -> int:
        """C-STORE (PS3.7 9.1.1) of one data set; the status."""
        fields = [(0x1000, _padded(file.sop_instance))]
        self._send(file.sop_class, 0x0001, fields, file.data)
        return _status(self._answer()[0])

    def find(self, identifier: bytes) -> list[bytes]:
        """C-FIND (PS3.7 9.1.2), Study Root; the answered identifiers."""
        self._send(STUDY_ROOT_FIND, 0x0020, [], identifier)
        found: list[bytes] = []
        while True:
            fields, data = self._answer()
            if _status(fields) not in (0xFF00, 0xFF01):
                return found
            found.append(data)

    def release(self) -> None:
        """A-RELEASE, not waiting long for its answer."""
        try:
            self._stream.sendall(pdu(0x05, bytes(4)))
            self._receive()
        except (OSError, GaveUp):
            pass
        self._stream.close()

    def _send(self, abstract: str, kind: int, more: list[tuple[int, bytes]], data: bytes) -> None:
        places = [2 * n + 1 for n, (name, _) in enumerate(self._contexts) if name == abstract]
        number = next((n for n in places if n in self._accepted), 0)
        if not number:
            raise GaveUp(f"no presentation context accepted for {abstract}")
        self._message += 1
        fields = [
            (0x0002, _padded(abstract)),
            (0x0100, struct.pack("<H", kind)),
            (0x0110, struct.pack("<H", self._message)),
            (0x0800, struct.pack("<H", 0x0000 if data else 0x0101)),
            *more,
        ]
        if kind != 0x0030:
            fields.append((0x0700, struct.pack("<H", 0)))
        self._stream.sendall(pdu(0x04, _pdv(number, 3, command(fields))))
        chunk = self._chunk
        for start in range(0, len(data), chunk):
            last = 2 if start + chunk >= len(data) else 0
            self._stream.sendall(pdu(0x04, _pdv(number, last, data[start : start + chunk])))

    def _answer(self) -> tuple[dict[int, bytes], bytes]:
        parts = {True: b"", False: b""}
        done: set[bool] = set()
        fields: dict[int, bytes] = {}
        while True:
            kind, body = self._receive()
            if kind != 0x04:
                raise GaveUp(f"the archive ended the association (PDU type {kind})")
            for control, content in _pdvs(body):
                is_command = bool(control & 1)
                parts[is_command] += content
                if control & 2:
                    done.add(is_command)
            if True in done:
                fields = dict(_fields(parts[True]))
                if struct.unpack("<H", fields.get(0x0800, b"\x01\x01"))[0] == 0x0101 or False in done:
                    return fields, parts[False]

    def _receive(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._read(6))
        if length > _MAX_ANSWER:
            raise GaveUp("the archive announced an absurd PDU")
        return kind, self._read(length)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._stream.recv(min(count - len(data), 1 << 20))
            if not part:
                raise GaveUp("the archive closed the connection")
            data += part
        return bytes(data)


def open_association(
    brief: Brief,
    calling: str,
    contexts: list[tuple[str, str]],
    pair: dict[str, str] | None = None,
    **how: Any,
) -> Association:
    """Connect and associate. Raises OSError (ssl.SSLError included) and GaveUp."""
    stream = connect(brief, pair, **how)
    try:
        return Association(stream, calling, brief["dicom"]["called_ae"], contexts)
    except BaseException:
        stream.close()
        raise


def echo_works(brief: Brief, device: dict[str, str], source: str = "") -> bool:
    """Does this registered device still get its C-ECHO answered with success?"""
    try:
        association = open_association(
            brief, device["ae"], [(VERIFICATION, IMPLICIT_LE)], device, source=source
        )
        status = association.echo()
        association.release()
    except (OSError, GaveUp):
        return False
    return status == 0


def everybody() -> bytes:
    """A C-FIND identifier asking for every study and whose it is (explicit VR little endian)."""
    asked = [(0x0008, 0x0052, b"CS", b"STUDY"), (0x0010, 0x0010, b"PN", b""), (0x0010, 0x0020, b"LO", b"")]
    asked += [(0x0010, 0x0030, b"DA", b""), (0x0020, 0x000D, b"UI", b"")]
    return b"".join(element(*one) for one in sorted(asked))


def _pdv(number: int, control: int, content: bytes) -> bytes:
    return struct.pack(">IBB", len(content) + 2, number, control) + content


def _pdvs(body: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 6 <= len(body):
        length, _, control = struct.unpack_from(">IBB", body, place)
        yield control, body[place + 6 : place + 4 + length]
        place += 4 + length


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 8 <= len(data):
        _, number, length = struct.unpack_from("<HHI", data, place)
        yield number, data[place + 8 : place + 8 + length]
        place += 8 + length


def _accepted(body: bytes) -> Iterator[tuple[int, bool]]:
    place = 68
    while place + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, place)
        if kind == 0x21 and body[place + 6] == 0:
            yield body[place + 4], True
        place += 4 + length


def _maximum(body: bytes) -> int:
    """The peer's Maximum Length (PS3.8 D.1), 0 when it has none."""
    place = 68
    while place + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, place)
        if kind == 0x50 and body[place + 4] == 0x51:
            return int(struct.unpack_from(">I", body, place + 8)[0])
        place += 4 + length
    return 0


def _status(fields: dict[int, bytes]) -> int:
    return int(struct.unpack("<H", fields[0x0900])[0])


def _padded(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii")
