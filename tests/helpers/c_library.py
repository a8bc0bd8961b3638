"""Libraries in C that tests put before the C library of the archive's processes (LD_PRELOAD), built when needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


class NoCompiler(Exception):
    """There is no C compiler here."""


def compile_library(source: Path, folder: Path) -> Path:
    """The shared library, built in `folder`. Raises NoCompiler; a compiler's complaint is an error."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompiler("no C compiler: install gcc and libc6-dev")
    library = folder / f"{source.stem}.so"
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source), "-ldl", "-lpthread"], check=True)
    return library


def library_or_skip(source: Path, folder: Path) -> Path:
    """As `compile_library`; without a compiler the test is skipped, but never in CI."""
    try:
        return compile_library(source, folder)
    except NoCompiler as failure:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(failure))
