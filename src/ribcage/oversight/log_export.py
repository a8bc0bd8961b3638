"""The log outside the archive: a folder in the layout of C2SP tlog-tiles (docs/formats.md 5.10).

Rules, in order:
1. The folder is a memory: what it holds must be the beginning of what the archive shows now, or nothing is changed.
2. Every leaf is hashed here, and the tree must have the root that the checkpoint signs.
3. The checkpoint is written last; without it the newer files count for nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ribcage.evidence import merkle, tiles
from ribcage.evidence.checkpoint import Checkpoint, verify_checkpoint
from ribcage.evidence.errors import ConsistencyBroken, EvidenceError, TreeRange
from ribcage.evidence.leaf import open_leaf
from ribcage.evidence.note import Note
from ribcage.guard.client import GuardClient
from ribcage.guard.durable import make_folder, sync_folder, write_file
from ribcage.guard.protocol import BeginExport, ExportBegun, ExportedLeaves, ExportPage

_PAGE = 64 * tiles.TILE_WIDTH
_OPENED = "opened.jsonl"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exported:
    """What was done: entries in the folder, entries that are new, openings that failed, the log's key."""

    size: int
    added: int
    unopened: int
    verifier_key: str


async def export_log(
    client: GuardClient, folder: Path, *, opened: bool, progress: Progress = lambda _done, _all: None
) -> Exported:
    """Bring the folder up to the archive's newest checkpoint.

    `progress` is told entries done and in all. Raises ConsistencyBroken when the folder is not the beginning of
    the archive's log, other EvidenceErrors for damaged files, OSError, GuardError.
    """
    make_folder(folder)
    known = _known(folder)
    begun = await client.call(BeginExport(known_size=known.size), ExportBegun)
    head = verify_checkpoint(begun.checkpoint, begun.verifier_key)
    _continues(known, head, begun.path)
    start = known.size // tiles.TILE_WIDTH * tiles.TILE_WIDTH
    builder = tiles.TileBuilder.resume(_reader(folder), start)
    while builder.size < head.size:
        request = ExportPage(start=builder.size, count=min(_PAGE, head.size - builder.size), opened=False)
        answer = await client.call(request, ExportedLeaves)
        if not answer.leaves:
            raise TreeRange("the archive ended before its checkpoint: run `ribcage verify`")
        _write_page(folder, builder, answer.leaves)
        progress(builder.size, head.size)
    if builder.root() != head.root:
        raise ConsistencyBroken("the entries are not the log that its checkpoint signs: run `ribcage verify`")
    for level, number, hashes in builder.partials():
        _write(folder / tiles.tile_path(level, number, len(hashes) // merkle.HASH_BYTES), hashes)
    write_file(folder / "checkpoint", begun.checkpoint)
    _tidy(folder, head.size)
    unopened = await _open(client, folder, head.size) if opened else 0
    return Exported(head.size, head.size - known.size, unopened, begun.verifier_key)


def _known(folder: Path) -> Checkpoint:
    try:
        note = (folder / "checkpoint").read_bytes()
    except FileNotFoundError:
        return Checkpoint("", 0, merkle.EMPTY_ROOT)
    return Checkpoint.parse(Note.parse(note).text)


def _continues(known: Checkpoint, head: Checkpoint, path: list[bytes]) -> None:
    if head.size < known.size:
        raise ConsistencyBroken(
            f"this folder holds {known.size} entries, the archive's log has {head.size}: it was rolled back, cut or "
            "restored. The folder is evidence and stays as it is: compare it with a new export in another folder"
        )
    try:
        merkle.verify_consistency(known.size, known.root, head.size, head.root, path)
    except EvidenceError as failure:
        raise ConsistencyBroken(
            f"the archive's log does not begin with the {known.size} entries of this folder. The folder is evidence "
            "and stays as it is: compare it with a new export in another folder"
        ) from failure


def _reader(folder: Path) -> tiles.ReadTile:
    def read(level: int, number: int, width: int) -> bytes:
        full = folder / tiles.tile_path(level, number)
        for path in (full, *(folder / tiles.tile_path(level, number, w) for w in range(width, 256))):
            if path.is_file():
                return path.read_bytes()[: width * merkle.HASH_BYTES]
        raise TreeRange(f"{full.relative_to(folder)} is missing: export into a new folder")

    return read


def _write_page(folder: Path, builder: tiles.TileBuilder, leaves: list[bytes]) -> None:
    for at in range(0, len(leaves), tiles.TILE_WIDTH):
        bundle = leaves[at : at + tiles.TILE_WIDTH]
        number = builder.size // tiles.TILE_WIDTH
        for data in bundle:
            builder.append(merkle.leaf_hash(data))
        content = b"".join(len(data).to_bytes(2, "big") + data for data in bundle)
        _write(folder / tiles.entries_path(number, len(bundle)), content)
    for level, index, hashes in builder.take_full():
        _write(folder / tiles.tile_path(level, index), hashes)


def _write(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    write_file(path, content)


def _tidy(folder: Path, size: int) -> None:
    """Partial tiles of earlier sizes are no longer needed."""
    wanted = {folder / tiles.tile_path(level, number, width) for level, number, width in tiles.tiles_of(size)}
    if size % tiles.TILE_WIDTH:
        wanted.add(folder / tiles.entries_path(size // tiles.TILE_WIDTH, size % tiles.TILE_WIDTH))
    for partial in list((folder / "tile").rglob("*.p")):
        kept = {each for each in wanted if each.parent == partial}
        if not kept:
            shutil.rmtree(partial)
        for old in partial.iterdir() if kept else ():
            if old not in kept:
                old.unlink()


async def _open(client: GuardClient, folder: Path, size: int) -> int:
    """Append openings; how many entries did not open."""
    path, failed = folder / _OPENED, 0
    done = _whole_lines(path)
    with path.open("ab") as file:
        while done < size:
            request = ExportPage(start=done, count=min(_PAGE, size - done), opened=True)
            answer = await client.call(request, ExportedLeaves)
            for data, (salt, body) in zip(answer.leaves, answer.openings, strict=True):
                text = _checked(data, salt, body)
                failed += not text
                line = {"index": done, "salt": salt.hex(), "body": text}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                done += 1
        file.flush()
    sync_folder(folder)
    return failed


def _checked(data: bytes, salt: bytes, body: bytes) -> str:
    try:
        open_leaf(body, salt, merkle.leaf_hash(data))
        return body.decode()
    except (EvidenceError, UnicodeDecodeError):
        return ""


def _whole_lines(path: Path) -> int:
    """Lines in the file of openings; a torn last one is cut off."""
    if not path.is_file():
        path.touch(mode=0o600)
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    return content[:whole].count(b"\n")
