"""Test patches in guard and fronts, by the production plan otherwise.

`RIBCAGE_TEST_PATCH` names modules of `attacks.patches` (or, with a dot, any module), separated by blanks; each has
`apply(put)`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path

from ribcage.cli import serving, settings
from ribcage.transfer.supervisor import SupervisorPlan

_CHILD = (
    "import sys; from helpers.patching import apply_patches; apply_patches(); "
    "from {module} import main; sys.exit(main())"
)


def apply_patches() -> None:
    """Take the named defences out of this process."""
    for name in os.environ.get("RIBCAGE_TEST_PATCH", "").split():
        module = name if "." in name else f"attacks.patches.{name}"
        importlib.import_module(module).apply(setattr)


def patched_plan(home: Path, wanted: settings.Settings) -> SupervisorPlan:
    """The production plan, whose children apply the patches first."""
    plan = _production_plan(home, wanted)

    def with_patch(command: tuple[str, ...]) -> tuple[str, ...]:
        return (command[0], "-c", _CHILD.format(module=command[2]), *command[3:])

    return replace(
        plan, guard_command=with_patch(plan.guard_command), front_command=with_patch(plan.front_command)
    )


_production_plan = serving.plan_of
