"""Run one attacker's script in a process of its own: no Ribcage on its path but the folder of attackers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT_SECONDS = 150
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ScriptResult:
    """What the script printed. A `broken` one lacked what it starts from, crashed or ran out of time."""

    succeeded: bool
    evidence: str
    broken: bool = False


def run_script(name: str, brief: Mapping[str, Any]) -> ScriptResult:
    """Run attacker `name` with `brief` on its standard input, at most `SCRIPT_SECONDS` seconds."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("RIBCAGE", "PYTHON"))
    }
    environment["PYTHONPATH"] = str(_HERE)
    command = [sys.executable, "-m", f"attackers.{name}"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(brief),
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
            env=environment,
            cwd=_HERE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ScriptResult(False, f"no end after {SCRIPT_SECONDS} s", broken=True)
    try:
        told = json.loads(done.stdout)
        return ScriptResult(bool(told["succeeded"]), str(told["evidence"]), bool(told["broken"]))
    except (ValueError, KeyError, TypeError):
        last = done.stderr.strip().splitlines()[-1:] or ["nothing printed"]
        return ScriptResult(
            False, f"the script ended with status {done.returncode}: {last[0][:160]}", broken=True
        )
