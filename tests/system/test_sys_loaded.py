"""Each process loads what it needs: no parser of foreign bytes beside the keys, no database before a peer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_PIXELS = {"gdcm", "openjpeg", "rle", "jpeg_ls", "numpy", "PIL"}
_FOREIGN = {"uvicorn", "starlette", "httptools", "ribcage.transfer.dicomweb", "ribcage.capture", "requests"}
_KEYS = {"sqlalchemy", "sqlcipher3", "alembic", "pyrevm", "webauthn", "argon2", "ribcage.guard.keyring"}


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("ribcage.cli.guard_process", _PIXELS | _FOREIGN | {"alembic", "pydicom.dataset"}),
        ("ribcage.cli.front_process", _PIXELS | _KEYS | {"pydicom.dataset", "requests"}),
        ("ribcage.cli.serving", _PIXELS | _FOREIGN | _KEYS | {"pydicom.dataset"}),
    ],
)
def test_a_process_loads_nothing_of_the_others(module: str, never: set[str]) -> None:
    script = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True, timeout=120)
    assert never & set(json.loads(done.stdout)) == set()
