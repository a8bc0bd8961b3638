"""What lies inside other things: text in PDF, JPEG and JPEG 2000 segments, base64, compressed streams, nested files.

Rules, in order:
1. Every layer is bounded: in depth, in bytes, in number. What reaches a bound is named, and is no longer clean.
2. A thing is recognised by its first bytes, never by a name or a declared type.
3. What cannot be unpacked is searched as it is.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_DEPTH: Final = 6
MAX_LAYER_BYTES: Final = 256 << 20
MAX_LAYERS: Final = 20_000
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4}[\r\n]{0,2}){6,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_STREAM: Final = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
_LITERAL: Final = re.compile(rb"\(((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*)\)", re.DOTALL)
_HEX: Final = re.compile(rb"<([0-9A-Fa-f\s]{4,})>")
_BOXES_WITH_BOXES: Final = (b"jp2h", b"asoc", b"res ", b"uinf")


@dataclass(frozen=True)
class Layer:
    """`kind` says how it was found; `prose` that it is text of some kind; `full` that a bound was reached."""

    place: str
    data: bytes
    kind: str
    prose: bool = True
    full: bool = False


def inside(data: bytes, place: str, depth: int = 0) -> Iterator[Layer]:
    """All layers in these bytes, at every depth, the bytes themselves not among them."""
    if depth >= MAX_DEPTH:
        yield Layer(place, b"", "too deep", full=True)
        return
    for layer in _found(data, place):
        yield layer
        if layer.kind not in ("exif", "text"):
            yield from inside(layer.data, layer.place, depth + 1)


def _found(data: bytes, place: str) -> Iterator[Layer]:
    if b"%PDF" in data[:1024]:
        yield from _pdf(data, place)
        return
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _zip(data, place)
        return
    if data[:3] == b"\x1f\x8b\x08" or (
        data[:1] == b"\x78" and data[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda")
    ):
        inflated, full = inflate(data)
        if inflated:
            yield Layer(f"{place}/inflated", inflated, "inflated", full=full)
        return
    if data[:3] == b"\xff\xd8\xff":
        yield from jpeg(data, place)
    elif data[4:8] in (b"jP  ", b"ftyp") or data[4:12] == b"JXL \r\n\x87\n":
        yield from boxes(data, place)
    elif data[:4] == b"\xff\x4f\xff\x51":
        yield from codestream(data, place)
    elif data[:4] == b"{\\rt":
        yield Layer(f"{place}/rtf", re.sub(rb"\\[a-z]+-?\d* ?|[{}]", b"", data), "text")
    for number, match in enumerate(_BASE64.finditer(data)):
        if number >= MAX_LAYERS:
            yield Layer(f"{place}/base64", b"", "too many", full=True)
            return
        decoded = _unbase64(match[0])
        if decoded:
            yield Layer(f"{place}/base64@{match.start()}", decoded, "base64")


def _unbase64(text: bytes) -> bytes:
    text = re.sub(rb"[\r\n]", b"", text)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def inflate(data: bytes) -> tuple[bytes, bool]:
    """zlib, gzip or raw deflate as far as it goes, and whether the bound cut it."""
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        machine = zlib.decompressobj(bits)
        try:
            inflated = machine.decompress(data, MAX_LAYER_BYTES)
        except zlib.error:
            continue
        return inflated, bool(machine.unconsumed_tail)
    return b"", False


def _zip(data: bytes, place: str) -> Iterator[Layer]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist()[:MAX_LAYERS]:
                yield Layer(f"{place}/zip", info.filename.encode("utf-8", "replace"), "text")
                with archive.open(info) as member:
                    content = member.read(MAX_LAYER_BYTES)
                yield Layer(f"{place}/zip", content, "zip", full=info.file_size > MAX_LAYER_BYTES)
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError):
        yield Layer(f"{place}/zip", b"", "not unpacked", full=True)


# --- PDF ------------------------------------------------------------------------------------------------


def _pdf(data: bytes, place: str) -> Iterator[Layer]:
    if re.search(rb"/Encrypt\s", data):
        yield Layer(f"{place}/pdf", b"", "encrypted", full=True)
    yield from _pdf_text(data, f"{place}/pdf")
    for number, match in enumerate(_STREAM.finditer(data)):
        if number >= MAX_LAYERS:
            yield Layer(f"{place}/pdf", b"", "too many", full=True)
            return
        stream = match[1]
        inflated, full = inflate(stream) if stream[:3] != b"\xff\xd8\xff" else (stream, False)
        if b"ASCII85" in data[max(0, match.start() - 200) : match.start()]:
            inflated = _ascii85(stream) or inflated
        if b"ASCIIHex" in data[max(0, match.start() - 200) : match.start()]:
            inflated = _unhex(stream.split(b">")[0]) or inflated
        if inflated:
            yield Layer(f"{place}/pdf/stream@{match.start()}", inflated, "stream", full=full)
            yield from _pdf_text(inflated, f"{place}/pdf/stream@{match.start()}")


def _ascii85(stream: bytes) -> bytes:
    try:
        decoded = base64.a85decode(re.sub(rb"~>.*", b"", stream, flags=re.DOTALL).strip())
    except ValueError:
        return b""
    return inflate(decoded)[0] or decoded


def _pdf_text(data: bytes, place: str) -> Iterator[Layer]:
    """Strings of a PDF, decoded; joined as well, as `TJ` shows one word in pieces."""
    strings = [_unescape(match[1]) for match in _LITERAL.finditer(data)]
    strings += [_unhex(match[1]) for match in _HEX.finditer(data)]
    if strings:
        for between in (b"", b" "):
            yield Layer(f"{place}/strings", between.join(_plain(each) for each in strings), "text")


def _plain(string: bytes) -> bytes:
    if string[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return string.decode("utf-16", "replace").encode()
    if len(string) >= 4 and len(string) % 2 == 0 and not any(string[::2]):
        return string[1::2]
    return string


def _unescape(literal: bytes) -> bytes:
    simple = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"", b"f": b"", b"\n": b"", b"\r": b""}

    def one(match: re.Match[bytes]) -> bytes:
        said = match[1]
        return bytes([int(said, 8) & 0xFF]) if said[:1].isdigit() else simple.get(said, said)

    return re.sub(rb"\\([0-7]{1,3}|.)", one, literal, flags=re.DOTALL)


def _unhex(digits: bytes) -> bytes:
    digits = re.sub(rb"\s", b"", digits)
    try:
        return binascii.unhexlify(digits + b"0" * (len(digits) % 2))
    except binascii.Error:
        return b""


# --- pictures -------------------------------------------------------------------------------------------


def jpeg(data: bytes, place: str) -> Iterator[Layer]:
    """APPn and COM segments of a JPEG or JPEG-LS stream, and what follows its end."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        body = data[at + 4 : at + 2 + length]
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            kind = "exif" if body[:5] == b"Exif\0" else "segment"
            yield Layer(f"{place}/jpeg/{'COM' if marker == 0xFE else f'APP{marker - 0xE0}'}@{at}", body, kind)
        if marker in (0xDA, 0xD9):
            break
        at += 2 + length
    end = data.rfind(b"\xff\xd9")
    if end >= 0 and len(data[end + 2 :].strip(b"\0")) > 1:
        yield Layer(f"{place}/jpeg/trailing@{end + 2}", data[end + 2 :], "trailing")


def boxes(data: bytes, place: str, depth: int = 0) -> Iterator[Layer]:
    """Boxes of JP2 and JPEG XL that are no pixels."""
    at = 0
    while at + 8 <= len(data) and depth < MAX_DEPTH:
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        head = 8
        if length == 1 and at + 16 <= len(data):
            length, head = struct.unpack(">Q", data[at + 8 : at + 16])[0], 16
        end = len(data) if length == 0 else at + length
        if end <= at + head - 1:
            return
        body = data[at + head : end]
        if kind == b"jp2c":
            yield from codestream(body, place)
        elif kind in _BOXES_WITH_BOXES:
            yield from boxes(body, place, depth + 1)
        elif kind not in (b"jP  ", b"ftyp", b"ihdr", b"colr"):
            name = re.sub(rb"[^\w]", b"", kind).decode("ascii", "replace")
            yield Layer(f"{place}/jp2/{name}@{at}", body, "exif" if kind.lower() == b"exif" else "box")
        at = end


def codestream(data: bytes, place: str) -> Iterator[Layer]:
    """Comments of a JPEG 2000 code stream's main header."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0x90, 0x93):
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        if data[at + 1] == 0x64:
            yield Layer(f"{place}/j2k/COM@{at}", data[at + 6 : at + 2 + length], "segment")
        at += 2 + length


def fragments(value: bytes) -> Iterator[tuple[int, bytes]]:
    """Fragments of encapsulated pixel data (PS3.5 A.4), the offset table not among them."""
    at, number = 0, 0
    while at + 8 <= len(value):
        tag, length = value[at : at + 4], struct.unpack("<I", value[at + 4 : at + 8])[0]
        if tag != b"\xfe\xff\x00\xe0":
            return
        if number:
            yield at + 8, value[at + 8 : at + 8 + length]
        number += 1
        at += 8 + length
