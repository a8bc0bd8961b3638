"""The test archive's supervisor: the production plan, with test patches applied in the child processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from helpers.patched_serve import patched_plan
from ribcage.cli import settings
from ribcage.transfer.supervisor import run_supervisor


def main() -> int:
    """`HOME PASSPHRASE_FD`: run until SIGTERM; one JSON line when ready."""
    home, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(descriptor, "rb") as source:
        passphrase = source.read()
    plan = patched_plan(home, settings.load(home))
    run_supervisor(plan, passphrase, lambda line: print(line, flush=True))
    return 0
