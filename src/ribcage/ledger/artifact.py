"""The compiled contract that ships with the package (made by `contracts/build.py`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

from ribcage.ledger.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Artifact:
    """Creation bytecode and what it was made from."""

    bytecode: bytes
    evm_version: str
    compiler: str
    source_sha256: str


def load_artifact() -> Artifact:
    """Read `artifact.json` beside this module. Raises ArtifactError."""
    try:
        text = resources.files("ribcage.ledger").joinpath("artifact.json").read_text(encoding="utf-8")
        document = json.loads(text)
        return Artifact(
            bytecode=bytes.fromhex(document["bytecode"].removeprefix("0x")),
            evm_version=document["evm_version"],
            compiler=document["compiler"],
            source_sha256=document["source_sha256"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError("artifact.json is missing or damaged: run `make artifact`") from error
