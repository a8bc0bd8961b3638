"""Whoever may write the disk puts back an older copy of all of it: yesterday's grants, without today's log."""

from __future__ import annotations

import shutil
from pathlib import Path

from .kit import Brief, Result, run


def attack(brief: Brief) -> Result:
    """Succeeds when the older copy is in place; whether anybody notices is for `verify` to say."""
    folder, older = Path(brief["folder"]), Path(brief["older"])
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(older, folder, dirs_exist_ok=True, symlinks=True)
    return Result(True, f"{sum(path.is_file() for path in folder.rglob('*'))} files put back")


if __name__ == "__main__":
    run(attack)
