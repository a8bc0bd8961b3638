#!/usr/bin/env python3
"""Check the report of a migration offline: Python 3.9 or later, and `verify_proof.py` beside this file.

    ribcage migrate report --work FOLDER --out report     (writes report.txt, report.note and proof.json)
    python3 verify_migration.py report --key 'ribcage.local/...+1a2b3c4d+AZ...'
    python3 verify_migration.py report --key ... --uids list.txt

The key must come from somewhere you trust. It checks the signature, that the lines are the signed ones, that the
totals follow from them, and that the log holds the entry about this report. With `--uids`, a file of SOP Instance
UIDs from the old PACS, one on a line, each of them must be held. It shares no code with Ribcage (docs/formats.md
5.12). Exit 0: proven, and the migration is complete; 1: what is wrong; 3: proven, but something lacks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import verify_proof as proofs

TITLE = "ribcage migration report v1"
KNOWN = {"complete", "hospital", "lines", "ms", "source", "totals", "version"}
VERDICTS = ("held", "parked", "refused", "missing")
NUMBERS = {"studies", "announced", "unreadable", *VERDICTS}
STUDY = re.compile(r"S ([0-9a-f]{64}) (0|[1-9][0-9]{0,9})")
INSTANCE = re.compile(
    r"I ([0-9a-f]{64}) ([0-9a-f]{64}|-) (held|parked|refused|missing) ([A-Za-z0-9_.:/@+-]{1,128})"
)


def check_note(note: bytes, key_text: str) -> tuple[dict[str, Any], str]:
    """The signed document and the note's text; raises verify_proof.Refused."""
    names = ("report", "report of a migration")
    document, text = proofs.check_document(note, key_text, TITLE, KNOWN, names)
    totals = document["totals"]
    if (
        not isinstance(totals, dict)
        or set(totals) != NUMBERS
        or any(type(n) is not int for n in totals.values())
    ):
        raise proofs.Refused("the report's totals are damaged")
    return document, text


def check_lines(path: Path, document: dict[str, Any]) -> set[str]:
    """The hashed UIDs of held instances; raises verify_proof.Refused."""
    counted = dict.fromkeys(NUMBERS, 0)
    counted["unreadable"] = document["totals"]["unreadable"]
    digest, octets = hashlib.sha256(), 0
    studies: set[str] = set()
    seen: set[str] = set()
    held: set[str] = set()
    due = 0
    with path.open("rb") as file:
        for raw in file:
            digest.update(raw)
            octets += len(raw)
            line = raw.decode("ascii", "replace")
            study, instance = STUDY.fullmatch(line.rstrip("\n")), INSTANCE.fullmatch(line.rstrip("\n"))
            if study and study[1] not in studies:
                studies.add(study[1])
                counted["missing"] += due
                counted["announced"] += due
                counted["studies"] += 1
                due, seen = int(study[2]), set()
            elif instance and studies and instance[1] not in seen:
                seen.add(instance[1])
                counted["announced"] += 1
                counted[instance[3]] += 1
                due = max(due - 1, 0)
                if instance[3] == "held":
                    if instance[2] == "-":
                        raise proofs.Refused("a held instance has no hash")
                    held.add(instance[1])
            else:
                raise proofs.Refused("a line is damaged, or stands twice")
    counted["missing"] += due
    counted["announced"] += due
    if document["lines"] != {"octets": octets, "sha256": digest.hexdigest()}:
        raise proofs.Refused("the lines are not those that were signed")
    if counted != document["totals"]:
        raise proofs.Refused("the totals do not follow from the lines")
    complete = counted["held"] == counted["announced"] and not counted["unreadable"]
    if document["complete"] is not complete:
        raise proofs.Refused("the report does not say of itself what its totals say")
    return held


def check_entry(document: dict[str, Any], text: str, body: str) -> None:
    """The proven entry is about this report; raises verify_proof.Refused."""
    try:
        entry = json.loads(body)
        kind = entry["subtype"][0]["code"]
        told = {each["type"]: each["valueString"] for each in entry["entity"][0]["detail"]}
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise proofs.Refused("the proven entry lacks a field") from error
    if kind != "migration-reported":
        raise proofs.Refused("the proven entry is not about a migration")
    due = {name: str(number) for name, number in document["totals"].items()}
    due["digest"] = hashlib.sha256(text.encode()).hexdigest()
    if told != due:
        raise proofs.Refused("report and log entry differ")


def check_uids(path: Path, held: set[str]) -> None:
    """Each UID of the list is held; raises verify_proof.Refused."""
    uids = {line.strip() for line in path.read_text().splitlines()} - {""}
    lacking = sum(hashlib.sha256(uid.encode()).hexdigest() not in held for uid in uids)
    if lacking:
        raise proofs.Refused(f"{lacking} of {len(uids)} instances of the list are not held")


def main(arguments: list[str]) -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description="Check the report of a Ribcage migration offline.")
    parser.add_argument("folder", type=Path, help="with report.txt, report.note and proof.json")
    parser.add_argument("--key", required=True, help="the log's verifier key, from a source you trust")
    parser.add_argument("--uids", type=Path, help="SOP Instance UIDs that must be held, one on a line")
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key")
    parser.add_argument("--quorum", type=int, default=0, help="how many of the witnesses must have signed")
    chosen = parser.parse_args(arguments)
    try:
        document, text = check_note((chosen.folder / "report.note").read_bytes(), chosen.key)
        held = check_lines(chosen.folder / "report.txt", document)
        bundle, origin = proofs.check_bundle((chosen.folder / "proof.json").read_bytes(), chosen.key)
        lines = proofs.check_witnesses(bundle["checkpoint"], chosen.witness, chosen.quorum)
        check_entry(document, text, bundle["body"])
        if chosen.uids:
            check_uids(chosen.uids, held)
    except (proofs.Refused, OSError) as error:
        sys.stderr.write(f"NOT PROVEN: {error}\n")
        return 1
    told = ", ".join(f"{document['totals'][name]} {name}" for name in ("studies", "announced", *VERDICTS))
    sys.stdout.write(
        f"PROVEN: {told}; entry {bundle['index']} of {bundle['size']} in {origin}\n"
        f"{'complete' if document['complete'] else 'NOT COMPLETE'}\n"
    )
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0 if document["complete"] else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
