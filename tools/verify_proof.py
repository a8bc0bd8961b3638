#!/usr/bin/env python3
"""Check a Ribcage proof offline: one file, Python 3.9 or later, nothing else.

    python3 verify_proof.py proof.json --key 'ribcage.local/...+1a2b3c4d+AZ...'
    python3 verify_proof.py proof.json --key ... --witness 'w.example+...' --quorum 1

The key must come from somewhere you trust, not from the archive that gave you the proof. The program shares no
code with Ribcage: it is written from RFC 8032 (Ed25519), RFC 9162 2.1.3.2 (inclusion), C2SP signed-note,
tlog-checkpoint and tlog-cosignature, and docs/formats.md 5. It prints what is proven and exits 0, or says what is
wrong and exits 1.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
from typing import Any

FIELDS = {"format", "index", "size", "salt", "body", "leaf", "path", "checkpoint", "verifier_key"}
MAX_BUNDLE_BYTES = 1024 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_SIGNATURES = 64
ED25519, COSIGNATURE = 1, 4


class Refused(Exception):
    """The proof does not hold; the text says why."""


# --- Ed25519 (RFC 8032 5.1) ------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # a square root of -1

Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z
NEUTRAL: Point = (0, 1, 1, 0)


def add(a: Point, b: Point) -> Point:
    """Point addition (RFC 8032 5.1.4)."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    low, high = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    cross, scale = 2 * t1 * t2 * D, 2 * z1 * z2
    e, f, g, h = high - low, scale - cross, scale + cross, high + low
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(factor: int, point: Point) -> Point:
    """Scalar multiplication by doubling; not secret, so not constant in time."""
    result = NEUTRAL
    while factor:
        if factor & 1:
            result = add(result, point)
        point = add(point, point)
        factor >>= 1
    return result


def same(a: Point, b: Point) -> bool:
    """Projective equality."""
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def decode_point(data: bytes) -> Point:
    """Decode a point (RFC 8032 5.1.3); raises Refused."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= P:
        raise Refused("a point of the signature is not canonical")
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == P - u % P:
        x = x * ROOT % P
    if (v * x * x - u) % P != 0 or (x == 0 and sign):
        raise Refused("a point of the signature is not on the curve")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def verify_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032 5.1.7); raises Refused."""
    if len(public) != 32 or len(signature) != 64:
        raise Refused("a key or signature has the wrong length")
    scalar = int.from_bytes(signature[32:], "little")
    if scalar >= L:
        raise Refused("a signature is not canonical")
    key, nonce = decode_point(public), decode_point(signature[:32])
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % L
    if not same(times(scalar, BASE), add(nonce, times(challenge, key))):
        raise Refused("a signature does not verify")


# --- signed notes and checkpoints (C2SP) -------------------------------------------------------------------


def unbase64(text: str) -> bytes:
    """Decode canonical Base64; raises Refused."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError as error:
        raise Refused("Base64 is damaged") from error
    if base64.b64encode(data).decode() != text:
        raise Refused("Base64 is not canonical")
    return data


def parse_key(text: str, kind: int) -> tuple[str, bytes, bytes]:
    """Read NAME+HEX+BASE64 as (name, key id, public key); raises Refused."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise Refused("a verifier key must look like NAME+HEX+BASE64")
    name, material = parts[0], unbase64(parts[2])
    if len(material) != 33 or material[0] != kind:
        raise Refused(f"expected an Ed25519 verifier key of type {kind}")
    key_id = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if key_id.hex() != parts[1]:
        raise Refused("a verifier key was mistyped: its id does not fit")
    return name, key_id, material[1:]


def parse_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Split a note into text and (name, key id ‖ signature) pairs; raises Refused."""
    if any(each < " " and each != "\n" for each in note) or not note.endswith("\n"):
        raise Refused("the checkpoint is not a signed note")
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not text or not lines:
        raise Refused("the checkpoint is not signed")
    split = lines[:-1].split("\n")
    if len(split) > MAX_SIGNATURES:
        raise Refused("the checkpoint has too many signatures")
    signatures = []
    for line in split:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise Refused("a signature line is damaged")
        signatures.append((parts[1], unbase64(parts[2])))
    return text + "\n", signatures


def check_log(note: str, key_text: str) -> tuple[str, int, bytes]:
    """Check the log's signature and return (origin, size, root); raises Refused."""
    name, key_id, public = parse_key(key_text, ED25519)
    text, signatures = parse_note(note)
    ours = [blob[4:] for signer, blob in signatures if signer == name and blob[:4] == key_id]
    if not ours:
        raise Refused("the checkpoint is not signed by the key you gave")
    for signature in ours:
        verify_signature(public, signature, text.encode())
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]):
        raise Refused("the checkpoint is not in the form of a checkpoint")
    origin, size, root = lines[0], lines[1], unbase64(lines[2])
    if origin != name:
        raise Refused("the checkpoint belongs to another log")
    if not re.fullmatch("0|[1-9][0-9]{0,18}", size) or len(root) != 32:
        raise Refused("the checkpoint's size or root is damaged")
    return origin, int(size), root


def check_witness(note: str, key_text: str) -> int:
    """Return the time (Unix seconds) of a witness's latest cosignature, -1 without one; raises Refused."""
    name, key_id, public = parse_key(key_text, COSIGNATURE)
    text, signatures = parse_note(note)
    latest = -1
    for signer, blob in signatures:
        if signer != name or blob[:4] != key_id:
            continue
        if len(blob) != 76:
            raise Refused("a cosignature has the wrong length")
        moment = int.from_bytes(blob[4:12], "big")
        verify_signature(public, blob[12:], f"cosignature/v1\ntime {moment}\n{text}".encode())
        latest = max(latest, moment)
    return latest


# --- leaf and path ---------------------------------------------------------------------------------------


def check_inclusion(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> None:
    """Walk the path as RFC 9162 2.1.3.2 says; raises Refused."""
    if index >= size:
        raise Refused("the index is outside the log")
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise Refused("the path is too long")
        if place & 1 or place == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while not place & 1 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        place, last = place >> 1, last >> 1
    if last != 0 or node != root:
        raise Refused("the entry is not in the log with this checkpoint")


def unhex(value: Any) -> bytes:
    """Decode 64 lower-case hexadecimal digits; raises Refused."""
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise Refused("a hash is not 64 lower-case hexadecimal digits")
    return bytes.fromhex(value)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse repeated JSON fields."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refused("a field is named twice")
    return fields


def check_document(
    note: bytes, key_text: str, title: str, known: set[str], names: tuple[str, str]
) -> tuple[dict[str, Any], str]:
    """A signed note of a title line and one JSON object, version 1: the object and the note's text.

    `names`: short and whole name of what it is, for the refusal.
    """
    short, whole = names
    try:
        text, signatures = parse_note(note.decode())
    except UnicodeDecodeError as error:
        raise Refused(f"the {short} is not text") from error
    name, key_id, public = parse_key(key_text, ED25519)
    ours = [blob[4:] for signer, blob in signatures if signer == name and blob[:4] == key_id]
    if not ours:
        raise Refused(f"the {short} is not signed by the key you gave")
    for signature in ours:
        verify_signature(public, signature, text.encode())
    found, _, line = text.partition("\n")
    if found != title or line.count("\n") != 1:
        raise Refused(f"this is no {whole} of version 1")
    try:
        document = json.loads(line, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the {short}'s document is damaged") from error
    if not isinstance(document, dict) or set(document) != known or document["version"] != 1:
        raise Refused(f"this is no {whole} of version 1")
    return document, text


def parse_bundle(data: bytes) -> dict[str, Any]:
    """Read the JSON and check the fields' types; raises Refused."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise Refused("the proof is too long")
    try:
        bundle = json.loads(data.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Refused("the proof is not JSON") from error
    if not isinstance(bundle, dict) or set(bundle) != FIELDS or bundle["format"] != "ribcage-proof/1":
        raise Refused("the proof is not of format ribcage-proof/1")
    if not all(isinstance(bundle[name], str) for name in ("body", "checkpoint", "verifier_key")):
        raise Refused("a text field is not text")
    if not all(type(bundle[name]) is int and bundle[name] >= 0 for name in ("index", "size")):
        raise Refused("a number is not a number")
    if not isinstance(bundle["path"], list) or len(bundle["path"]) > 62:
        raise Refused("the path is too long")
    return bundle


def check_bundle(data: bytes, key: str) -> tuple[dict[str, Any], str]:
    """Check everything but witnesses; return the bundle and the log's origin; raises Refused."""
    bundle = parse_bundle(data)
    if bundle["verifier_key"].strip() != key.strip():
        raise Refused("the proof was made for another key than the one you gave")
    try:
        body = bundle["body"].encode()
        note = bundle["checkpoint"].encode().decode()
    except UnicodeEncodeError as error:
        raise Refused("the proof holds a lone surrogate") from error
    origin, size, root = check_log(note, key)
    if size != bundle["size"]:
        raise Refused("the proof's size is not the checkpoint's")
    if not 0 < len(body) <= MAX_BODY_BYTES:
        raise Refused("the entry is empty or too long")
    leaf_data = hashlib.sha256(b"\x01" + unhex(bundle["salt"]) + body).digest()
    leaf = hashlib.sha256(b"\x00" + leaf_data).digest()
    if leaf != unhex(bundle["leaf"]):
        raise Refused("salt and entry do not open the leaf")
    check_inclusion(leaf, bundle["index"], size, [unhex(each) for each in bundle["path"]], root)
    return bundle, origin


def check_witnesses(note: str, keys: list[str], quorum: int) -> list[str]:
    """Return one line for each witness that signed; raises Refused below the quorum."""
    seen: dict[bytes, str] = {}
    for key in keys:
        name, _, public = parse_key(key, COSIGNATURE)
        moment = check_witness(note, key)
        if moment >= 0:
            seen[public] = f"witness {name} at Unix time {moment}"
    if len(seen) < quorum:
        raise Refused(f"expected {quorum} witnesses, found {len(seen)}")
    return list(seen.values())


def main(arguments: list[str]) -> int:
    """Run the check; 0 when the proof holds, 1 when it does not."""
    parser = argparse.ArgumentParser(description="Check a Ribcage proof offline.")
    parser.add_argument("proof", help="file with the proof, or - for standard input")
    parser.add_argument("--key", required=True, help="the log's verifier key, from a source you trust")
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key")
    parser.add_argument("--quorum", type=int, default=0, help="how many of the witnesses must have signed")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.proof == "-":
            data = sys.stdin.buffer.read(MAX_BUNDLE_BYTES + 1)
        else:
            with open(chosen.proof, "rb") as file:
                data = file.read(MAX_BUNDLE_BYTES + 1)
        bundle, origin = check_bundle(data, chosen.key)
        lines = check_witnesses(bundle["checkpoint"], chosen.witness, chosen.quorum)
    except (Refused, OSError) as error:
        sys.stderr.write(f"NOT PROVEN: {error}\n")
        return 1
    sys.stdout.write(f"PROVEN: entry {bundle['index']} of {bundle['size']} in {origin}\n")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    try:
        shown = json.dumps(json.loads(bundle["body"]), indent=2)
    except (ValueError, RecursionError):
        shown = json.dumps(bundle["body"])
    sys.stdout.write(shown + "\n")  # ASCII only: safe on a terminal
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
