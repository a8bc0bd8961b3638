"""The test archive's supervisor: the production plan, with test patches applied in the child processes.

`RIBCAGE_TEST_LISTEN_LIMITS` (JSON) changes the supervisor's limits: shorter pauses between restarts, for one.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from helpers.patching import patched_plan
from ribcage.cli import settings
from ribcage.transfer.supervisor import run_supervisor


def main() -> int:
    """`HOME PASSPHRASE_FD`: run until SIGTERM; one JSON line when ready."""
    home, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(descriptor, "rb") as source:
        passphrase = source.read()
    plan = patched_plan(home, settings.load(home))
    limits = json.loads(os.environ.get("RIBCAGE_TEST_LISTEN_LIMITS", "{}"))
    plan = replace(plan, limits=replace(plan.limits, **limits))
    run_supervisor(plan, passphrase, lambda line: print(line, flush=True))
    return 0
