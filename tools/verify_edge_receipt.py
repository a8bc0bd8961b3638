#!/usr/bin/env python3
"""Check an edge's receipt offline: Python 3.9 or later, and `verify_proof.py` beside this file.

    ribcage edge receipts --out FOLDER --home EHOME        (writes one NUMBER.note for each)
    python3 verify_edge_receipt.py 1.note --key 'ribcage.local/...+1a2b3c4d+AZ...' --edge-key BASE64
    python3 verify_edge_receipt.py 1.note --key ... --edge-key ... --data-set film.bin

Both keys must come from somewhere you trust: the log's verifier key from the archive, the edge's signing key from its
request.json. It checks that the archive signed the receipt, that the edge signed the header in it, and that both name
one hash; with `--data-set`, the bytes of the film's data set without file meta, that these are the bytes which the
edge took. It shares no code with Ribcage (docs/formats.md 12). Exit 0: proven; 1: what is wrong; 3: proven, and the
archive refused the film for good.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import verify_proof as proofs

TITLE = "ribcage edge receipt v1"
KNOWN = {"header", "hospital", "ms", "outcome", "reason", "sha256", "signature", "version", "wrapped"}
HEADER = struct.Struct(">4sBBH16s16s16s16s16sQQQ32s32s")


def field(value: bytes) -> bytes:
    """`uint32 length ‖ value`."""
    return struct.pack(">I", len(value)) + value


def check(note: bytes, key: str, edge_key: bytes) -> tuple[dict[str, object], tuple[int, int, bytes]]:
    """The document, and number, time and hash of the header; raises verify_proof.Refused."""
    document, _ = proofs.check_document(note, key, TITLE, KNOWN, ("receipt", "receipt for an edge"))
    try:
        header = base64.b64decode(str(document["header"]), validate=True)
        signature = base64.b64decode(str(document["signature"]), validate=True)
        wrapped = bytes.fromhex(str(document["wrapped"]))
        magic, version, algorithm, zero, *_, sequence, taken, _, data_set, _ = HEADER.unpack(header)
    except (binascii.Error, ValueError, struct.error) as error:
        raise proofs.Refused("a field of the receipt is damaged") from error
    if (magic, version, algorithm, zero) != (b"RBES", 1, 1, 0):
        raise proofs.Refused("the header is of another format")
    if document["sha256"] != data_set.hex() or document["outcome"] not in ("taken", "refused"):
        raise proofs.Refused("the receipt contradicts itself")
    message = field(b"ribcage/edge/entry/v1") + field(header) + field(wrapped)
    try:
        proofs.verify_signature(edge_key, signature, message)
    except proofs.Refused as error:
        raise proofs.Refused("the edge with this key did not sign that header") from error
    return document, (sequence, taken, data_set)


def main(arguments: list[str]) -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(
        description="Check the receipt of a film that came through a Ribcage edge."
    )
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--key", required=True, help="the log's verifier key, from a source you trust")
    parser.add_argument(
        "--edge-key", required=True, help="the edge's signing key in Base64, from its request.json"
    )
    parser.add_argument("--data-set", type=Path, help="the film's data set as C-STORE carried it")
    chosen = parser.parse_args(arguments)
    try:
        edge_key = base64.b64decode(chosen.edge_key, validate=True)
        document, (sequence, taken, data_set) = check(chosen.receipt.read_bytes(), chosen.key, edge_key)
        if chosen.data_set and hashlib.sha256(chosen.data_set.read_bytes()).digest() != data_set:
            raise proofs.Refused("these are not the bytes that the edge took")
    except (proofs.Refused, OSError, binascii.Error) as error:
        sys.stderr.write(f"NOT PROVEN: {error}\n")
        return 1
    shown = "these bytes" if chosen.data_set else "a film"
    sys.stdout.write(
        f"PROVEN: the edge took {shown} with SHA-256 {data_set.hex()} as number {sequence} at {taken} ms, "
        f"and the archive answered '{document['outcome']}' at {document['ms']} ms\n"
    )
    return 0 if document["outcome"] == "taken" else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
