"""`make bench`: every figure, one script after the other, each with its peers beside it in the same run.

Writes `benchmarks/results.json` and `docs/PERFORMANCE.md`. `--quick` does fewer rounds; `--json` prints the results
and writes nothing. What is missing on the machine is named, and its figures have no ratio.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import ROOT, line

SCRIPTS = ("ingest", "retrieve", "readers", "query", "decision", "memory", "deid_speed")
HERE = Path(__file__).resolve().parent
_SECONDS = 1800


def main() -> int:
    """Run all scripts and report."""
    parser = argparse.ArgumentParser(description="measure beside the peers of this machine")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON object, write no file")
    options = parser.parse_args()
    reports = [_run(name, options.quick) for name in SCRIPTS]
    results = {
        "machine": reports[0]["machine"],
        "fsync_ms": reports[0]["fsync_ms"],
        "missing": sorted({each for report in reports for each in report["missing"]}),
        "figures": [figure for report in reports for figure in report["figures"]],
    }
    if options.json:
        print(json.dumps(results))
        return 0
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / "docs" / "PERFORMANCE.md").write_text(page(results, datetime.now(UTC).date().isoformat()))
    for each in results["figures"]:
        print(line(each))
    for each in results["missing"]:
        print(f"missing: {each}")
    return 0


def _run(name: str, quick: bool) -> dict[str, Any]:
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_SECONDS, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def page(results: dict[str, Any], day: str) -> str:
    """The results for people."""
    rows = [
        f"| `{each['name']}` | {each['ours']:.2f} {each['unit']} | "
        + (
            f"{each['peer_name']} {each['peer']:.2f} | {each['ratio']:.2f}× | "
            if each["peer"]
            else "– | – | "
        )
        + (f"{each['target']:g} | " if each["target"] else "– | ")
        + f"{ {True: 'met', False: 'missed', None: '–'}[each['met']] } | {each['spread']:.0%} |"
        for each in results["figures"]
    ]
    missing = "".join(f"\nNot measured, missing on this machine: {each}.\n" for each in results["missing"])
    return "\n".join([
        "# Performance",
        "",
        "Written by `make bench`. All protections on: mutual TLS, sealing, hashing, contract, durable audit. Peers",
        "run in the same run, in turns with ours, and protect nothing at rest; ratio above 1 means ours is better.",
        "Medians; spread is (largest - smallest) / median of our rounds. Machines are shared: read the ratios.",
        "",
        f"{day}: {results['machine']}, fsync {results['fsync_ms']:.2f} ms.",
        missing,
        "| figure | ours | peer | ratio | target | | spread |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
