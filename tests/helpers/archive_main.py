"""The test archive's supervisor: the production plan, with a test patch imported in the child processes."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from ribcage.cli import settings
from ribcage.cli.serving import plan_of
from ribcage.transfer.supervisor import run_supervisor

_CHILD = (
    "import importlib, os, sys; name = os.environ.get('RIBCAGE_TEST_PATCH'); "
    "name and importlib.import_module(name); "
    "from ribcage.cli.process import main; sys.exit(main())"
)


def main() -> int:
    """`HOME PASSPHRASE_FD`: run until SIGTERM; one JSON line when ready."""
    home, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(descriptor, "rb") as source:
        passphrase = source.read()
    plan = plan_of(home, settings.load(home))

    def with_patch(command: tuple[str, ...]) -> tuple[str, ...]:
        return (command[0], "-c", _CHILD, *command[3:])

    patched = replace(
        plan, guard_command=with_patch(plan.guard_command), front_command=with_patch(plan.front_command)
    )
    run_supervisor(patched, passphrase, lambda line: print(line, flush=True))
    return 0
