"""`ribcage` with test patches applied in guard and fronts (`helpers.patching`)."""

from __future__ import annotations

import sys

from helpers.patching import patched_plan
from ribcage.cli import entry, serving

if __name__ == "__main__":
    serving.plan_of = patched_plan
    sys.exit(entry.main(sys.argv[1:]))
