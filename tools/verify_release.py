#!/usr/bin/env python3
"""Check what a Ribcage released to a project, offline: Python 3.9 or later, and `verify_proof.py` beside this file.

    python3 verify_release.py OUT --key 'ribcage.local/...+1a2b3c4d+AZ...' [--proof proof.json ...]

OUT is a released folder: each file beside its report below `reports`. The key must come from somebody you trust. It
checks that each file is the one that its signed report names, that no file is without a report and no report without
its file, and that all are of one project. With proofs of log entries (`ribcage audit prove ENTRY`) it checks as well
that the log holds the entry of each file's study, and that this entry names these files and no others. It shares no
code with Ribcage (docs/formats.md 5.13). Exit 0: proven; 1: what is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import verify_proof as proofs

TITLE = "ribcage release report v1"
KNOWN = {
    "checker", "edition", "entry", "file", "files", "ms", "profile", "project", "release", "tool", "version",
}  # fmt: skip
PIECE = 1 << 20


def check_report(note: bytes, key_text: str) -> dict[str, Any]:
    """The signed document; raises verify_proof.Refused."""
    return proofs.check_document(note, key_text, TITLE, KNOWN, ("report", "report of a release"))[0]


def check_file(path: Path, document: dict[str, Any]) -> bytes:
    """The file's SHA-256, when it is the one that the report names; raises verify_proof.Refused."""
    digest, octets = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            octets += len(piece)
    if document["file"] != {"octets": octets, "sha256": digest.hexdigest()}:
        raise proofs.Refused("a file is not the one that its report names")
    return digest.digest()


def check_folder(root: Path, key_text: str) -> dict[int, tuple[str, list[bytes], str]]:
    """Entries with the root that their reports name, their files' hashes, and the project; raises Refused."""
    reports = root / "reports"
    found = {p.relative_to(reports).with_suffix(".dcm") for p in reports.rglob("*") if p.is_file()}
    there = {p.relative_to(root) for p in root.rglob("*") if p.is_file() and reports not in p.parents}
    if found != there or not there:
        raise proofs.Refused(
            f"expected a report for each file, got {len(there)} files and {len(found)} reports"
        )
    entries: dict[int, tuple[str, list[bytes], str]] = {}
    for name in sorted(there):
        document = check_report((reports / name).with_suffix(".note").read_bytes(), key_text)
        told = entries.setdefault(document["entry"], (document["files"], [], document["project"]))
        if (told[0], told[2]) != (document["files"], document["project"]):
            raise proofs.Refused("two reports of one entry differ")
        told[1].append(check_file(root / name, document))
    if len({project for _, _, project in entries.values()}) != 1:
        raise proofs.Refused("expected files of one project")
    for entry, (due, hashes, _) in entries.items():
        if merkle_root([hashlib.sha256(b"\0" + each).digest() for each in sorted(hashes)]).hex() != due:
            raise proofs.Refused(f"files of entry {entry} are missing, or there are others")
    return entries


def merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 2.1.1 over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(leaves[:half]) + merkle_root(leaves[half:])).digest()


def check_entry(bundle: dict[str, Any], entries: dict[int, tuple[str, list[bytes], str]]) -> int:
    """The entry's number, when it names what the reports of it name; raises verify_proof.Refused."""
    try:
        entry, number = json.loads(bundle["body"]), bundle["index"]
        kind = entry["subtype"][0]["code"]
        told = {each["type"]: each["valueString"] for each in entry["entity"][0]["detail"]}
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise proofs.Refused("the proven entry lacks a field") from error
    if kind != "study-released" or number not in entries:
        raise proofs.Refused("the proven entry is not about these files")
    root, hashes, project = entries[number]
    if (told.get("files"), told.get("instances"), told.get("project")) != (root, str(len(hashes)), project):
        raise proofs.Refused("reports and log entry differ")
    return int(number)


def main(arguments: list[str]) -> int:
    """Run the check; 0 when it holds, 1 when it does not."""
    parser = argparse.ArgumentParser(description="Check what a Ribcage released to a project, offline.")
    parser.add_argument("out", help="the released folder")
    parser.add_argument("--key", required=True, help="the log's verifier key, from a source you trust")
    parser.add_argument(
        "--proof", action="append", default=[], help="a proof of a log entry that reports name"
    )
    chosen = parser.parse_args(arguments)
    try:
        entries = check_folder(Path(chosen.out), chosen.key)
        proven = set()
        for name in chosen.proof:
            bundle, _ = proofs.check_bundle(Path(name).read_bytes(), chosen.key)
            proven.add(check_entry(bundle, entries))
    except (proofs.Refused, OSError, KeyError, TypeError) as error:
        sys.stderr.write(f"NOT PROVEN: {error}\n")
        return 1
    count = sum(len(hashes) for _, hashes, _ in entries.values())
    project = next(iter(entries.values()))[2]
    sys.stdout.write(f"PROVEN: {count} files of {len(entries)} log entries, project {project[:12]}\n")
    rest = sorted(set(entries) - proven)
    if rest:
        sys.stdout.write(
            f"no proof was given of entries {', '.join(map(str, rest))}: ribcage audit prove N\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
