"""A thief took the gateway beside a modality, with films on its disk that the archive has not got yet."""

from __future__ import annotations

from pathlib import Path

from . import stolen_disk
from .dicom import split_file
from .kit import Brief, NotArmed, Result, run


def attack(brief: Brief) -> Result:
    """Succeeds as with any stolen disk; that something of the film's size waits there is what it starts from."""
    there = sum(path.stat().st_size for path in Path(brief["folder"]).rglob("*") if path.is_file())
    film = sum(len(split_file(Path(name).read_bytes()).data) for name in brief["files"])
    if there < film:
        raise NotArmed("no film waits on this disk")
    return stolen_disk.attack(brief)


if __name__ == "__main__":
    run(attack)
