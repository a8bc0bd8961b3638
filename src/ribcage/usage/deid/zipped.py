"""ZIP files on both sides: read within limits and never unpacked, written so that the same files give the same bytes.

Rules, in order:
1. A member's name is a relative path of plain parts: none is absolute, climbs, or holds a drive, a backslash or a
   control character. No two members have one name, also where case does not count.
2. Encrypted members, links and methods other than stored and deflated are refused.
3. Limits hold before a byte is inflated, and while it is: members, bytes of one, bytes of all, and how much one byte
   may become.
4. An archive is refused whole: what is wrong with one member makes the others doubtful.
5. Written archives are stored, in order of name, with one date and one mode.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from ribcage.usage.deid.errors import DeidError

_DATE: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o644
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 0x1
_PIECE: Final = 1 << 20
_ZIP64: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What one archive may hold."""

    max_members: int = 200_000
    max_member_bytes: int = 1024**3
    max_all_bytes: int = 64 * 1024**3
    max_ratio: int = 1032  # more than DEFLATE can do with anything
    free_bytes: int = 1 << 20  # of one member, whatever its ratio


class ArchiveRefused(DeidError):
    """A ZIP file that is not read, and why; no name of a member is in the text."""


def members(path: Path, limits: ZipLimits = ZipLimits()) -> list[str]:
    """Names of the files inside, in the archive's order. Raises ArchiveRefused, OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return list(_checked(archive, limits))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, zlib.error) as failure:
        raise _broken() from failure


def _checked(archive: zipfile.ZipFile, limits: ZipLimits) -> Iterator[str]:
    """Rules 1 to 3, by the directory alone."""
    found = archive.infolist()
    if len(found) > limits.max_members:
        raise ArchiveRefused(
            f"expected at most {limits.max_members} members in a ZIP file, got {len(found)}", "split it"
        )
    seen, total = set[str](), 0
    for number, info in enumerate(found, 1):
        why = _wrong(info, limits)
        if not why and info.filename.casefold() in seen:
            why = "it stands there twice"
        if why:
            raise ArchiveRefused(f"member {number} of the ZIP file is refused: {why}", _HINT)
        seen.add(info.filename.casefold())
        total += info.file_size
        if total > limits.max_all_bytes:
            raise ArchiveRefused(
                f"expected at most {limits.max_all_bytes} bytes in a ZIP file, got more", "split it"
            )
        if not info.is_dir():
            yield info.filename


_HINT: Final = "unpack it with a program that you trust, look at it, and give the folder"


def _wrong(info: zipfile.ZipInfo, limits: ZipLimits) -> str:
    """What is wrong with a member, '' where nothing is."""
    name = info.filename
    parts = name.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or ":" in parts[0] or "\\" in info.orig_filename:
        return "its name is no plain relative path"
    if any(ord(each) < 0x20 or ord(each) == 0x7F for each in info.orig_filename):
        return "its name holds control characters"
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link or a device"
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if info.compress_type not in _METHODS:
        return "its method is neither stored nor deflated"
    if info.file_size > limits.max_member_bytes:
        return f"it has more than {limits.max_member_bytes} bytes"
    if info.file_size > limits.free_bytes + info.compress_size * limits.max_ratio:
        return "so few bytes cannot become so many"
    return ""


def read_member(path: Path, name: str, most: int) -> bytes:
    """A member that `members` passed; `most + 1` bytes at most. Raises OSError and what zipfile raises."""
    with _opened(path, path.stat().st_mtime_ns, os.getpid()).open(name) as file:
        return file.read(most + 1)


@lru_cache(maxsize=1)
def _opened(path: Path, changed: int, process: int) -> zipfile.ZipFile:
    """One archive stays open in each process: its directory is read once, and no two share a position in the file."""
    return zipfile.ZipFile(path)


def write_archive(path: Path, folder: Path) -> None:
    """All files below a folder as a new ZIP file (rule 5), by pieces. Raises OSError."""
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for each in sorted(each for each in folder.rglob("*") if each.is_file()):
            info = zipfile.ZipInfo(each.relative_to(folder).as_posix(), _DATE)
            info.external_attr = (stat.S_IFREG | _MODE) << 16
            info.create_system = 3
            large = each.stat().st_size > _ZIP64
            with each.open("rb") as source, archive.open(info, "w", force_zip64=large) as target:
                while piece := source.read(_PIECE):
                    target.write(piece)


def write_new_archive(path: Path, folder: Path) -> None:
    """A working folder's files as an archive, there whole or not at all; the folder goes. Raises OSError."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    write_archive(part, folder)
    part.replace(path)
    shutil.rmtree(folder)


def _broken() -> ArchiveRefused:
    return ArchiveRefused("expected a ZIP file, got one that is damaged or of another kind", _HINT)
