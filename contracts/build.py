"""Compile `AccessLedger.vy` into the artifact that ships with the package.

`python contracts/build.py` writes `src/ribcage/ledger/artifact.json`; `--check` rebuilds and exits with 1 when
the shipped artifact is not exactly what the source gives. The EVM version is pinned, optimisation too, and the
bytecode carries no metadata, so that two machines with the pinned compiler get the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import vyper
from vyper.compiler import compile_code
from vyper.compiler.settings import OptimizationLevel, Settings

EVM_VERSION = "cancun"
HERE = Path(__file__).resolve().parent
SOURCE = HERE / "AccessLedger.vy"
ARTIFACT = HERE.parent / "src" / "ribcage" / "ledger" / "artifact.json"


def build(source: str) -> str:
    """The artifact as canonical JSON text for a contract's source text."""
    output = compile_code(
        source,
        output_formats=["abi", "bytecode", "bytecode_runtime"],
        settings=Settings(evm_version=EVM_VERSION, optimize=OptimizationLevel.GAS),
        no_bytecode_metadata=True,
    )
    artifact = {
        "contract": "AccessLedger",
        "compiler": f"vyper {vyper.__version__}+commit.{vyper.__commit__}",
        "evm_version": EVM_VERSION,
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "bytecode": output["bytecode"],
        "runtime_sha256": hashlib.sha256(bytes.fromhex(output["bytecode_runtime"][2:])).hexdigest(),
        "abi": output["abi"],
    }
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the artifact, or compare it; returns the exit status."""
    parser = argparse.ArgumentParser(description="Compile AccessLedger.vy")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--artifact", type=Path, default=ARTIFACT)
    options = parser.parse_args(arguments)
    text = build(SOURCE.read_text(encoding="utf-8"))
    if not options.check:
        options.artifact.write_text(text, encoding="utf-8")
        return 0
    if not options.artifact.exists() or options.artifact.read_text(encoding="utf-8") != text:
        print(f"{options.artifact.name} is not what the source gives: run `make artifact`", file=sys.stderr)  # noqa: T201 - a script's own output
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
