"""Folders, ZIP archives and single files as a list of items.

Rules, in order:
1. An item is read when it is asked for; its size is bounded.
2. A ZIP is looked into one level deep, and never unpacked to disk.
3. What cannot be read is an item still: its failure becomes a finding.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 4 << 30


class Unreadable(Exception):
    """An item whose bytes cannot be had."""


@dataclass(frozen=True)
class Item:
    """One file: `name` as shown, relative to what was given; `member` inside a ZIP."""

    name: str
    path: Path
    member: str = ""

    def read(self) -> bytes:
        """All bytes. Raises Unreadable."""
        try:
            if not self.member:
                if self.path.stat().st_size > MAX_FILE_BYTES:
                    raise Unreadable(f"larger than {MAX_FILE_BYTES} bytes")
                return self.path.read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                if archive.getinfo(self.member).file_size > MAX_FILE_BYTES:
                    raise Unreadable(f"larger than {MAX_FILE_BYTES} bytes")
                return archive.read(self.member)
        except (
            OSError,
            zipfile.BadZipFile,
            zlib.error,
            KeyError,
            RuntimeError,
            NotImplementedError,
        ) as failure:
            raise Unreadable(type(failure).__name__) from failure


def items(root: Path) -> list[Item]:
    """Everything below a folder, in a ZIP, or one file; sorted by name. Raises OSError for what is not there."""
    if root.is_dir():
        paths = sorted(path for path in root.rglob("*") if path.is_file())
    else:
        root.stat()
        paths = [root]
    base = root if root.is_dir() else root.parent
    return [item for path in paths for item in _members(path, path.relative_to(base).as_posix())]


def _members(path: Path, name: str) -> Iterator[Item]:
    members: list[str] = []
    try:
        if path.suffix.lower() != ".dcm" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = sorted(each for each in archive.namelist() if not each.endswith("/"))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        members = []
    if not members:
        yield Item(name, path)
    for member in members:
        yield Item(f"{name}!{member}", path, member)
