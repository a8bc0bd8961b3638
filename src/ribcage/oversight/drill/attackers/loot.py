"""Look for keys in a stolen folder, and try each on whatever is locked there (`docs/formats.md`, 1, 2 and 12)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import re
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import aes
from .search import Search, all_cells, sqlite_cells

_MAX_CANDIDATES = 8192
_MAX_OBJECTS = 2
_MAX_SCAN = 64 << 20
_PEM = re.compile(rb"-----BEGIN (?!ENCRYPTED)(?:[A-Z]+ )?PRIVATE KEY-----(?!\r?\nProc-Type: 4,ENCRYPTED)")
_HEX_KEY = re.compile(rb"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")
_BASE64_KEY = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{43}=?(?![A-Za-z0-9+/_=-])")
_PASSPHRASE = re.compile(rb"(?i)(?:pass(?:word|phrase)|secret|key)[\"']?\s*[:=]\s*[\"']?([^\s\"',;]{8,128})")
_SQLITE = b"SQLite format 3\0"
_MAGIC = b"RBCG"
_ENVELOPE = 60
_ENTRY_MAGIC = b"RBES"  # a film that waits at an edge: one sealed object behind its front
_ENTRY_FRONT = 1408


def private_keys(folder: Path) -> int:
    """How many PEM private keys lie there that need no passphrase."""
    return sum(len(_PEM.findall(_read(path))) for path in _files(folder))


def candidates(folder: Path) -> list[bytes]:
    """Key-like strings: 32 bytes alone in a file or a cell, as hex or base64, and hashes of passphrases."""
    found: dict[bytes, None] = {}
    for path in _files(folder):
        data = _read(path)
        for piece in (data, *(sqlite_cells(path) if data.startswith(_SQLITE) else ())):
            for key in _keys_in(piece):
                found[key] = None
                if len(found) >= _MAX_CANDIDATES:
                    return list(found)
    return list(found)


def _keys_in(data: bytes) -> Iterator[bytes]:
    for size in (32, 33, 48, 60, 61, 64):  # a bare key, or one in some frame: try its plain end
        if len(data) == size:
            yield data[:32]
            yield data[-32:]
    for found in _HEX_KEY.finditer(data):
        yield binascii.unhexlify(found[0])
    for found in _BASE64_KEY.finditer(data):
        text = found[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        yield base64.b64decode(text + b"=")[:32]
    for found in _PASSPHRASE.finditer(data):
        yield hashlib.sha256(found[1]).digest()


def open_databases(folder: Path, keys: list[bytes], search: Search) -> list[str]:
    """Try every key as raw SQLCipher key; what opens is read and searched. Names of opened files."""
    try:
        cipher: Any = importlib.import_module("sqlcipher3.dbapi2")
    except ImportError:
        return []
    opened = []
    for path in _files(folder):
        if path.suffix not in (".db", ".sqlite", ".sqlite3") or _read(path, 16) == _SQLITE:
            continue
        for key in keys:
            connection = cipher.connect(f"file:{path}?mode=ro", uri=True)
            try:
                connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
                for cell in all_cells(connection):
                    search.feed(cell, depth=1, deflated=True)
                opened.append(path.name)
                break
            except (cipher.Error, sqlite3.Error):
                continue
            finally:
                connection.close()
    return opened


def open_objects(folder: Path, keys: list[bytes]) -> list[str]:
    """Try every key on the first sealed objects: as object key and as study key. Names of opened files."""
    opened = []
    tried = 0
    for path in _files(folder):
        start = _ENTRY_FRONT if _read(path, 4) == _ENTRY_MAGIC else 0
        head = _read(path, start + _ENVELOPE + 40 + 16)[start:]
        if not head.startswith(_MAGIC) or len(head) < _ENVELOPE + 56:
            continue
        tried += 1
        if any(_opens(key, head) or _opens(_object_key(key, head), head) for key in keys):
            opened.append(path.name)
        if tried >= _MAX_OBJECTS:
            break
    return opened


def _opens(key: bytes, head: bytes) -> bool:
    """Does the first block look like the beginning of a DICOM data set or file, or of an edge's note before it?"""
    salt, prefix = head[_ENVELOPE + 1 : _ENVELOPE + 33], head[_ENVELOPE + 33 : _ENVELOPE + 40]
    segment_key = _hkdf(key, salt, head[:_ENVELOPE])
    for last in (0, 1):
        counter = prefix + struct.pack(">IB", 0, last) + struct.pack(">I", 2)
        block = bytes(a ^ b for a, b in zip(aes.encrypt(segment_key, counter), head[-16:], strict=True))
        if block[4:] == b'{"address":"':
            return True
        if block == bytes(16) or block[:2] in (b"\x08\x00", b"\x02\x00", b"\x00\x08"):
            return block == bytes(16) or block[4:6].isalpha() or block[6:8] == b"\0\0"
    return False


def _object_key(study_key: bytes, head: bytes) -> bytes:
    """The derivation of `docs/formats.md`, 2: a study key gives the object keys."""
    context = head[12:_ENVELOPE] + head[6:7]
    info = b"ribcage/derive/v1" + struct.pack(">I", 6) + b"object" + struct.pack(">I", len(context)) + context
    return _hkdf(study_key, b"", info)


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869), 32 bytes."""
    secret = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(secret, info + b"\x01", "sha256")


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _read(path: Path, count: int = _MAX_SCAN) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
