"""Vectors of `docs/formats.md` sections 1-4 and 7: sealed objects, wraps, columns, blind tokens, row MACs."""

from __future__ import annotations

import hashlib
from typing import Any

from ribcage.crypto import columns, derive, rowmac, sealing, wraps
from ribcage.crypto.blind import BlindIndex

KEY = bytes(range(32))
SALT = bytes(range(64, 96))
PREFIX = bytes(range(96, 103))
NONCE = bytes(range(103, 115))
HOSPITAL, KEY_ID, OBJECT_ID = bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * 16


def _plain(size: int) -> bytes:
    return bytes(at % 251 for at in range(size))


def _sealed(algorithm: int, stream: int, log2: int, size: int) -> dict[str, Any]:
    envelope = sealing.Envelope(stream, 9, HOSPITAL, KEY_ID, OBJECT_ID, algorithm, log2)
    key = derive.object_key(KEY, hospital=HOSPITAL, key_id=KEY_ID, object_id=OBJECT_ID, stream=stream)
    out = sealing.seal(key, envelope, _plain(size), _salt=SALT, _prefix=PREFIX)
    made: dict[str, Any] = {
        "algorithm": algorithm,
        "stream": stream,
        "segment_log2": log2,
        "plain_bytes": size,
        "object_key": key.hex(),
        "envelope": envelope.encode().hex(),
        "sealed_sha256": hashlib.sha256(out).hexdigest(),
    }
    return made | ({"sealed": out.hex()} if len(out) <= 512 else {})


def _objects() -> list[dict[str, Any]]:
    small = [_sealed(algorithm, 2, 7, size) for algorithm in (1, 2) for size in (0, 1, 72, 73, 184, 185)]
    return [*small, _sealed(1, 1, 20, 300), _sealed(1, 2, 20, (1 << 20) - 56), _sealed(1, 2, 20, 2_200_000)]


def _wraps() -> list[dict[str, str]]:
    made = []
    for parts in ([HOSPITAL, "study", 9, KEY_ID, b"owner"], []):
        bound = wraps.context(*parts)
        made.append(
            {"context": bound.hex(), "wrapped": wraps.wrap(KEY, SALT, bound, _nonce=NONCE).hex()},
        )
    return made


def _columns() -> list[dict[str, str]]:
    made = []
    for row, text in ((b"\x01" * 16, "王^小明"), (7, "")):
        bound = columns.column_context("patient", "patient_name", row)
        sealed = columns.seal_column(KEY, bound, text.encode(), _nonce=NONCE)
        made.append({"context": bound.hex(), "plaintext": text, "sealed": sealed.hex()})
    return made


def _blind() -> dict[str, Any]:
    index = BlindIndex(KEY)
    names = ["Wang^XiaoMing=王^小明", "STRASSE^Eva", ""]
    patterns = ["Wang^*", "王?明", "straße^eva", "*", "王小明"]
    return {
        "exact": {"patient_id|P-1": index.exact("patient_id", "P-1").hex()},
        "names": {name: sorted(index.name_tokens(name)) for name in names},
        "patterns": {pattern: sorted(index.pattern_tokens(pattern)) for pattern in patterns},
    }


def _rows() -> list[dict[str, Any]]:
    row: dict[str, rowmac.Column] = {"name": "dr.li", "id": b"\x01\x02", "level": 3, "until": None}
    return [
        {
            "table": "person",
            "version": version,
            "columns": {"name": "text dr.li", "id": "bytes 0102", "level": "integer 3", "until": "NULL"},
            "mac": rowmac.row_mac(KEY, "person", row, version).hex(),
        }
        for version in (0, 7)
    ]


def make() -> dict[str, Any]:
    """Everything, under the key 00..1f."""
    return {
        "key": KEY.hex(),
        "salt": SALT.hex(),
        "nonce_prefix": PREFIX.hex(),
        "nonce": NONCE.hex(),
        "plaintext": "byte i is i mod 251",
        "wrapped_key": SALT.hex(),
        "1_sealed_objects": _objects(),
        "2_wraps": _wraps(),
        "2_derive": {"label": "object", "context": "", "key": derive.derive(KEY, "object").hex()},
        "3_columns": _columns(),
        "4_blind": _blind(),
        "7_row_mac": _rows(),
    }
