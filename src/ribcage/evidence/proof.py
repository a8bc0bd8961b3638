"""The portable proof: one entry, opened, with all a stranger needs but the log's key (docs/formats.md 5.5).

Rules, in order:
1. The verifier's key comes from outside. The key in the bundle is a hint; if it differs, the bundle is refused.
2. Checkpoint signature and origin, then size, then the opening, then the path: all of it, or it raises.
3. No unknown, missing or repeated field, no second spelling of a number or hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ribcage.evidence.checkpoint import Checkpoint, verify_checkpoint, verify_cosignatures
from ribcage.evidence.errors import BundleMalformed
from ribcage.evidence.leaf import make_leaf, open_leaf
from ribcage.evidence.merkle import verify_inclusion
from ribcage.evidence.note import MAX_NOTE_BYTES, VerifierKey

FORMAT = "ribcage-proof/1"
MAX_BUNDLE_BYTES = 1024 * 1024
MAX_PATH = 62

_FIELDS = frozenset({"format", "index", "size", "salt", "body", "leaf", "path", "checkpoint", "verifier_key"})
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ProvenEntry:
    """What a valid bundle proves: `body` stands at `index` of the log at `checkpoint`.

    `witnessed` maps witness names to the times (Unix seconds) of their cosignatures, as far as asked for.
    """

    index: int
    body: bytes
    checkpoint: Checkpoint
    witnessed: Mapping[str, int]


def make_bundle(
    *, body: bytes, salt: bytes, index: int, path: Sequence[bytes], checkpoint: bytes, verifier_key: str
) -> bytes:
    """Encode a portable proof and check it before it leaves; raises `EvidenceError` when it would not verify."""
    _, leaf = make_leaf(body, salt)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BundleMalformed("an entry is not UTF-8") from error
    head = verify_checkpoint(checkpoint, verifier_key)
    bundle = {
        "format": FORMAT,
        "index": index,
        "size": head.size,
        "salt": salt.hex(),
        "body": text,
        "leaf": leaf.hex(),
        "path": [each.hex() for each in path],
        "checkpoint": checkpoint.decode(),
        "verifier_key": verifier_key,
    }
    data = (json.dumps(bundle, ensure_ascii=False, indent=1) + "\n").encode()
    verify_bundle(data, verifier_key)
    return data


def verify_bundle(
    bundle: bytes, verifier_key: str, *, witnesses: Sequence[str] = (), quorum: int = 0
) -> ProvenEntry:
    """Check a portable proof against the log's key, obtained elsewhere, and return what it proves.

    With `quorum` above 0 that many of `witnesses` (verifier keys of type 4) must have cosigned. Raises
    `BundleMalformed`, `CheckpointBroken` and its kin, `OpeningBroken` or `InclusionBroken`.
    """
    fields = _parse(bundle)
    if VerifierKey.parse(_text(fields, "verifier_key")) != VerifierKey.parse(verifier_key):
        raise BundleMalformed("the bundle was made for another log's key than the one you trust")
    note = _encode(_text(fields, "checkpoint"))
    if len(note) > MAX_NOTE_BYTES:
        raise BundleMalformed("the checkpoint is too long")
    head = verify_checkpoint(note, verifier_key)
    index, size = _number(fields, "index"), _number(fields, "size")
    if size != head.size:
        raise BundleMalformed(f"expected the checkpoint's size {head.size}, got {size}")
    body, leaf = _encode(_text(fields, "body")), _hash(fields["leaf"])
    open_leaf(body, _hash(fields["salt"]), leaf)
    path = fields["path"]
    if not isinstance(path, list) or len(path) > MAX_PATH:
        raise BundleMalformed(f"expected a path of at most {MAX_PATH} hashes")
    verify_inclusion(leaf, index, size, [_hash(each) for each in path], head.root)
    witnessed = verify_cosignatures(note, witnesses, quorum) if quorum else {}
    return ProvenEntry(index, body, head, witnessed)


def _parse(bundle: bytes) -> dict[str, object]:
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise BundleMalformed(f"expected a bundle of at most {MAX_BUNDLE_BYTES} bytes, got {len(bundle)}")
    try:
        fields = json.loads(bundle.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BundleMalformed("a bundle is not UTF-8 JSON") from error
    if not isinstance(fields, dict) or set(fields) != _FIELDS or fields["format"] != FORMAT:
        raise BundleMalformed(f"expected a bundle of format {FORMAT} with exactly its fields")
    return fields


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BundleMalformed("a bundle names a field twice")
    return fields


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise BundleMalformed(f"expected text in {name}")
    return value


def _number(fields: Mapping[str, object], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BundleMalformed(f"expected a non-negative number in {name}")
    return value


def _hash(value: object) -> bytes:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise BundleMalformed("expected 64 lower-case hexadecimal digits")
    return bytes.fromhex(value)


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BundleMalformed("a bundle holds a lone surrogate") from error
