"""The static files that may be given out: what the build's manifest names, and nothing else.

Rules, in order:
1. A request picks a file by looking its name up in the manifest; no path is ever made from a request, so there is
   nothing to traverse.
2. The manifest is read once, within a limit. A name in it that could leave the folder, or an entry of another
   shape, makes the whole library unusable.
3. A file whose size is not the manifest's is not given out: the build was disturbed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from ribcage.console.errors import NotBuilt

MANIFEST: Final = "manifest.json"
PACKED_SUFFIX: Final = ".br"
_MOST_BYTES: Final = 1024 * 1024
_VERSION: Final = 1
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_\-][A-Za-z0-9_.\-]*/)*[A-Za-z0-9_\-][A-Za-z0-9_.\-]*")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: bytes, SHA-256 in hex; `packed`: bytes of the Brotli form beside it, 0 without one.

    `immutable`: the name holds the content's hash. `worker`: runs as a worker; `evaluates` makes functions from text.
    """

    size: int
    sha256: str
    immutable: bool
    packed: int = 0
    worker: Literal["", "plain", "evaluates"] = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the build wrote."""

    version: int
    files: dict[str, File]


class Library:
    """The files below one folder. Construct with `read`."""

    def __init__(self, folder: Path, files: Mapping[str, File]) -> None:
        self._folder = folder
        self._files = files

    @classmethod
    def read(cls, folder: Path) -> Library:
        """Read the manifest of `folder`. Raises NotBuilt."""
        try:
            with (folder / MANIFEST).open("rb") as source:
                text = source.read(_MOST_BYTES + 1)
            manifest = msgspec.json.decode(text, type=Manifest)
        except (OSError, msgspec.DecodeError) as failure:
            raise NotBuilt(f"expected {MANIFEST} of the console's build; run make console") from failure
        if len(text) > _MOST_BYTES or manifest.version != _VERSION:
            raise NotBuilt(f"expected {MANIFEST} of version {_VERSION}; run make console")
        if not all(_NAME.fullmatch(name) for name in manifest.files):
            raise NotBuilt(f"expected plain names in {MANIFEST}; run make console")
        return cls(folder, manifest.files)

    def get(self, name: str) -> File | None:
        """What the manifest says of `name`; None where it does not name it (rule 1)."""
        return self._files.get(name)

    def path(self, name: str, packed: bool) -> Path:
        """Where the file, or its packed form, stands. Raises NotBuilt unless it is as the manifest says (rule 3)."""
        file = self._files[name]
        path = self._folder / (name + PACKED_SUFFIX if packed else name)
        try:
            size = path.stat().st_size
        except OSError as failure:
            raise NotBuilt("expected a file of the console's build; run make console") from failure
        if size != (file.packed if packed else file.size):
            raise NotBuilt("expected a file of the size that the build wrote; run make console")
        return path
