"""Search bytes for texts in every dress a program could have put them in.

Rules, in order:
1. Each text is looked for in UTF-8, UTF-16 (both orders) and GB18030, and each of these as written, in hex
   (both cases) and in base64 (three alignments, both alphabets); besides JSON escapes, percent-encoding and
   HTML entities.
2. Containers are opened and searched in turn: zlib, gzip and raw deflate streams, ZIP members, deflated DICOM,
   base64 and hex runs, cells of SQLite files. Depth, bytes and number are bounded.
3. The work is two passes of set lookups over all windows of eight and of four bytes, so that a thousand
   identities in a hundred dresses cost as much as one; every hit is confirmed by the full text.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import sqlite3
import sys
import urllib.parse
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

_MIN_BYTES = 6
_LONG = 8
_SHORT = 4
_MAX_DEPTH = 3
_MAX_INFLATED = 32 << 20
_MAX_CONTAINERS = 4000
_MAX_FILE = 1 << 30
_PIECE = 16 << 20
_OVERLAP = 4096
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", re.DOTALL)
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/_-]{32,}[\r\n]*)+[A-Za-z0-9+/_-]*")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){24,}")
_ZIP = re.compile(rb"PK\x03\x04", re.DOTALL)
_SQLITE = b"SQLite format 3\0"


def dresses(text: str) -> set[bytes]:
    """Every encoded form of `text` that is long enough not to occur by chance."""
    forms: set[bytes] = set()
    for charset in ("utf-8", "utf-16-le", "utf-16-be", "gb18030"):
        raw = text.encode(charset)
        forms |= {raw, raw.hex().encode(), raw.hex().upper().encode()}
        if len(raw) >= _LONG + 1:
            forms |= set(_aligned(raw))
        quoted = urllib.parse.quote_from_bytes(raw, safe="")
        forms |= {quoted.encode(), re.sub("%..", lambda found: found[0].lower(), quoted).encode()}
    escaped = json.dumps(text)[1:-1]
    forms |= {escaped.encode(), escaped.upper().replace("\\U", "\\u").encode()}
    forms |= {html.escape(text).encode(), text.encode("ascii", "xmlcharrefreplace")}
    return {form for form in forms if len(form) >= _MIN_BYTES}


def _aligned(raw: bytes) -> Iterator[bytes]:
    """The base64 characters that depend on `raw` alone, for each of the three alignments."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + raw)
        first = (shift * 8 + 5) // 6
        last = (shift + len(raw)) * 8 // 6
        inner = coded[first:last]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


class Search:
    """Which of the identities (lists of texts) occur in the bytes given to `feed`? Ordinals in `found`."""

    def __init__(self, identities: Iterable[Iterable[str]]) -> None:
        self.found: set[int] = set()
        self.searched_bytes = 0
        self._long: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
        self._short: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
        self._containers = 0
        for ordinal, texts in enumerate(identities):
            for form in {form for text in texts for form in dresses(text)}:
                size, table = (_LONG, self._long) if len(form) >= _LONG else (_SHORT, self._short)
                table[int.from_bytes(form[-size:], sys.byteorder)].append((form, ordinal))

    def feed_folder(self, folder: Path) -> int:
        """Search every file below `folder` and the names of files and folders; the number of files."""
        count = 0
        for path in sorted(folder.rglob("*")):
            self.feed(str(path.relative_to(folder)).encode("utf-8", "surrogateescape"))
            if path.is_file() and not path.is_symlink():
                count += 1
                self.feed_file(path)
        return count

    def feed_file(self, path: Path) -> None:
        """Search one file, in overlapping pieces when it is large."""
        with path.open("rb") as file:
            tail = b""
            read = 0
            while (part := file.read(_PIECE)) and read < _MAX_FILE:
                read += len(part)
                self.feed(tail + part)
                tail = part[-_OVERLAP:]
                if len(part) < _PIECE:
                    break
        with path.open("rb") as file:
            if file.read(16) == _SQLITE:
                for cell in sqlite_cells(path):
                    self.feed(cell, depth=1, deflated=True)

    def feed(self, data: bytes, depth: int = 0, deflated: bool = False) -> None:
        """Search `data`, and what is packed in it; `deflated`: it may begin with a raw deflate stream."""
        if depth == 0:
            self._containers = 0  # the bound is for each file, so that a large home is searched whole
        self._match(data)
        if depth >= _MAX_DEPTH:
            return
        for inner in self._unpack(data, deflated or depth == 0):
            self._containers += 1
            if self._containers > _MAX_CONTAINERS:
                return
            self.feed(inner, depth + 1)

    def _match(self, data: bytes) -> None:
        self.searched_bytes += len(data)
        view = memoryview(data)
        for size, table in ((_LONG, self._long), (_SHORT, self._short)):
            hits: set[int] = set()
            for shift in range(size):
                whole = (len(data) - shift) // size * size
                if whole > 0:
                    part = view[shift : shift + whole]
                    hits.update(
                        filter(table.__contains__, part.cast("Q") if size == _LONG else part.cast("I"))
                    )
            for form, ordinal in (one for hit in hits for one in table[hit]):
                if ordinal not in self.found and form in data:
                    self.found.add(ordinal)

    def _unpack(self, data: bytes, deflated: bool) -> Iterator[bytes]:
        for found in _ZLIB.finditer(data):
            yield from _inflate(data, found.start(), 47)
        for found in _ZIP.finditer(data):
            names = data[found.start() + 26 : found.start() + 30]
            if len(names) == 4:
                skip = 30 + int.from_bytes(names[:2], "little") + int.from_bytes(names[2:], "little")
                yield from _inflate(data, found.start() + skip, -15)
        if deflated:
            yield from _inflate(data, 0, -15)
        if data[128:132] == b"DICM":
            length = int.from_bytes(data[140:144], "little")
            yield from _inflate(data, 144 + length, -15)
        for found in _BASE64.finditer(data):
            yield from _decode_base64(found[0])
        for found in _HEX.finditer(data):
            yield binascii.unhexlify(found[0])


def _inflate(data: bytes, start: int, bits: int) -> Iterator[bytes]:
    """What a stream at `start` inflates to, as far as it goes; nothing when it is no stream."""
    machine = zlib.decompressobj(bits)
    try:
        plain = machine.decompress(memoryview(data)[start:], _MAX_INFLATED)
    except zlib.error:
        plain = _inflate_slowly(data, start, bits)
    if len(plain) > 16:
        yield plain


def _inflate_slowly(data: bytes, start: int, bits: int) -> bytes:
    """Feed in small pieces and keep what came before the error: a cut or damaged stream still tells much."""
    machine = zlib.decompressobj(bits)
    plain = bytearray()
    try:
        for place in range(start, min(len(data), start + _MAX_INFLATED), 256):
            plain += machine.decompress(data[place : place + 256], _MAX_INFLATED)
    except zlib.error:
        pass
    return bytes(plain)


def _decode_base64(run: bytes) -> Iterator[bytes]:
    """The run in each of its four alignments: what stands before it may belong to the alphabet too."""
    text = run.translate(bytes.maketrans(b"-_", b"+/"), b"\r\n")
    for shift in range(4):
        whole = (len(text) - shift) // 4 * 4
        yield binascii.a2b_base64(text[shift : shift + whole])


def sqlite_cells(path: Path) -> Iterator[bytes]:
    """Every text and blob of a plain SQLite file, read as a thief would: from the copy, ignoring errors."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:
        return
    connection.text_factory = bytes
    try:
        yield from all_cells(connection)
    except sqlite3.Error:
        return
    finally:
        connection.close()


def all_cells(connection: sqlite3.Connection) -> Iterator[bytes]:
    """The cells of every table; rows are joined, so that neighbours stay neighbours."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        table = name.decode() if isinstance(name, bytes) else str(name)
        quoted = table.replace('"', '""')
        for row in connection.execute(f'SELECT * FROM "{quoted}"'):
            for cell in row:
                if isinstance(cell, str):
                    yield cell.encode()
                elif isinstance(cell, bytes) and len(cell) > 8:
                    yield cell
