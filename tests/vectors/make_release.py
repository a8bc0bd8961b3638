"""Vectors of releases: a file's report, a link, a table of two holders (docs/formats.md 5.13, 11.1, 11.2)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from helpers import rfc9180
from ribcage.crypto.blind import BlindIndex
from ribcage.crypto.columns import column_context, seal_column
from ribcage.crypto.holders import info, open_by_two, public_of
from ribcage.evidence.checkpoint import CheckpointSigner, log_origin
from ribcage.evidence.release_report import ReleaseReport, Rules, files_root, sign_report
from ribcage.guard.releases import Link

HOSPITAL = bytes(range(16))
LOG_SEED = bytes(range(32))
MOMENT = 1_750_000_000_000  # Unix milliseconds
PROJECT, ROW = b"\x05" * 16, b"\x06" * 16
STUDY_KEY, BLIND_KEY, NONCE = b"\x07" * 32, b"\x08" * 32, b"\x09" * 12
PSEUDONYM, STUDY = "PABCDEFGHIJKLMNOP", "2.25.329800735698586629295641978511506172928"
FILES = (b"first file", b"second file", b"third file")
ANN, BOB, EPHEMERAL = (
    bytes(range(32, 64)),
    bytes(range(64, 96)),
    (bytes(range(96, 128)), bytes(range(128, 160))),
)
TABLE = b'{"version":1,"lines":[["PABCDEFGHIJKLMNOP","2.25.1",["ID1","H1","1.2.3"]]]}'
RULES = Rules("research-basic", "0a1b2c3d", "PS3.15-2026d", "2026d", "0.1.0")


def make() -> dict[str, Any]:
    """Everything derives from fixed seeds, nonces and times."""
    signer = CheckpointSigner(log_origin(HOSPITAL), LOG_SEED)
    hashes = [hashlib.sha256(each).digest() for each in FILES]
    root = files_root(hashes)
    report = ReleaseReport(PROJECT, 3, MOMENT, RULES, hashes[0], len(FILES[0]), root, 41)
    blind = BlindIndex(BLIND_KEY)
    link = msgspec.json.encode(Link(PSEUDONYM, STUDY, 3))
    context = column_context("release_link", "sealed", ROW)
    return {
        "holders": _held(),
        "files": [each.decode() for each in FILES],
        "root": root.hex(),
        "note": sign_report(report, signer).decode(),
        "verifier_key": signer.verifier_key,
        "blind_key": BLIND_KEY.hex(),
        "project": PROJECT.hex(),
        "patient_token": blind.exact("pseudonym", PROJECT + PSEUDONYM.encode()).hex(),
        "study_token": blind.exact("pseudonym", PROJECT + STUDY.encode()).hex(),
        "study_key": STUDY_KEY.hex(),
        "row": ROW.hex(),
        "link": link.decode(),
        "sealed": seal_column(STUDY_KEY, context, link, _nonce=NONCE).hex(),
    }


def _held() -> dict[str, str]:
    """Sealed by another implementation of RFC 9180, whose ephemeral keys are given; ours must open it."""
    ann, bob = public_of(ANN), public_of(BOB)
    inner = rfc9180.seal(bob, info(ann, bob, 2), TABLE, EPHEMERAL[1])
    sealed = rfc9180.seal(ann, info(ann, bob, 1), inner, EPHEMERAL[0])
    if open_by_two(ANN, BOB, sealed) != TABLE:
        raise ValueError("the two implementations differ")
    head = f"ribcage deid table 1\n{ann.hex()}\n{bob.hex()}\n".encode()
    return {
        "first_private": ANN.hex(),
        "second_private": BOB.hex(),
        "plain": TABLE.decode(),
        "file": (head + sealed).hex(),
    }
