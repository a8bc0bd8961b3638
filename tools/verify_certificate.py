#!/usr/bin/env python3
"""Check a certificate of destruction offline: Python 3.9 or later, and `verify_proof.py` beside this file.

    ribcage destroy certificate 1 --out certificate.txt     (names the log entry)
    ribcage audit prove ENTRY --out proof.json
    python3 verify_certificate.py certificate.txt proof.json --key 'ribcage.local/...+1a2b3c4d+AZ...'

The key must come from somewhere you trust. It checks the signature, that the log holds the entry which names this
certificate and its transaction on the ledger, and that both tell of the same study, epoch and number of instances.
It shares no code with Ribcage (docs/formats.md 5.6). Exit 0: proven; 1: what is wrong.
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

TITLE = "ribcage certificate of destruction v1"
KNOWN = {"backup_horizon", "method", "number", "organisation", "request", "scope", "verification", "version"}


def check_certificate(note: bytes, key_text: str) -> dict[str, Any]:
    """The signed document; raises verify_proof.Refused."""
    names = ("certificate", "certificate of destruction")
    return proofs.check_document(note, key_text, TITLE, KNOWN, names)[0]


def details(entry: Any) -> dict[str, list[str]]:
    """The details of an entry's first entity, and who it is about."""
    entity = entry["entity"][0]
    found: dict[str, list[str]] = {"study": [entity["what"]["identifier"]["value"]]}
    for each in entity["detail"]:
        found.setdefault(each["type"], []).append(each["valueString"])
    return found


def check_entry(document: dict[str, Any], note: bytes, body: str) -> None:
    """The proven entry names this certificate; raises verify_proof.Refused."""
    try:
        entry = json.loads(body)
        kind = entry["subtype"][0]["code"]
        told = details(entry)
        scope, method = document["scope"], document["method"]
        due = {
            "certificate": [hashlib.sha256(note).hexdigest()],
            "epoch": [str(method["epoch"])],
            "instances": [str(scope["instances"])],
            "study": [scope["study"]],
        }
        parked = scope["parked"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise proofs.Refused("the proven entry or the certificate lacks a field") from error
    if kind != "study-destroyed":
        raise proofs.Refused("the proven entry is not about a destruction")
    for name, values in due.items():
        if told.get(name) != values:
            raise proofs.Refused(f"certificate and log entry differ in: {name}")
    if len(told.get("parked-entry", [])) != parked or len(told.get("transaction", [])) != 1:
        raise proofs.Refused("certificate and log entry differ in what went with the study")


def main(arguments: list[str]) -> int:
    """Run the check; 0 when it holds, 1 when it does not."""
    parser = argparse.ArgumentParser(description="Check a Ribcage certificate of destruction offline.")
    parser.add_argument("certificate")
    parser.add_argument("proof", help="the proof of the log entry that names it")
    parser.add_argument("--key", required=True, help="the log's verifier key, from a source you trust")
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key")
    parser.add_argument("--quorum", type=int, default=0, help="how many of the witnesses must have signed")
    chosen = parser.parse_args(arguments)
    try:
        note = Path(chosen.certificate).read_bytes()
        document = check_certificate(note, chosen.key)
        bundle, origin = proofs.check_bundle(Path(chosen.proof).read_bytes(), chosen.key)
        lines = proofs.check_witnesses(bundle["checkpoint"], chosen.witness, chosen.quorum)
        check_entry(document, note, bundle["body"])
    except (proofs.Refused, OSError) as error:
        sys.stderr.write(f"NOT PROVEN: {error}\n")
        return 1
    scope, horizon = document["scope"], document["backup_horizon"]
    sys.stdout.write(
        f"PROVEN: certificate {document['number']}, {scope['instances']} instances of study {scope['study'][:12]}; "
        f"entry {bundle['index']} of {bundle['size']} in {origin}\n"
        f"keys of epoch {horizon['epoch']} and earlier are gone: {horizon['statement']}\n"
    )
    if horizon["exception"]:
        sys.stdout.write(f"except: {horizon['exception']}\n")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
