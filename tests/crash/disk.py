"""The disk as it could look after power loss: from a first state and a trace, at any position, with seeded dice.

The model, strict on purpose. What a file system has promised is kept:
1. Bytes and sizes that were written before a completed `fsync` or `fdatasync` of the file began.
2. Names (create, remove, rename, mkdir) that were made before a completed `fsync` of their folder began.
3. A rename is one step: the old name or the new one.

Everything later is up to the dice, each operation by itself, in any combination:
4. A write is kept, lost, or torn at 512-byte sectors (any subset of them); where it would have made the file longer,
   the longer size may stay with zeros in it. A change of size is kept or lost.
5. A name is kept or lost, whatever the file's content; a name may be lost although its file was synced.

ext4 and xfs promise more than that: one journal orders all metadata (3 and 5 happen in order), syncing a new file
makes its name durable too, and ext4 by default writes data before the metadata that shows it. An archive that holds
here relies on none of these. Modes are taken as durable at once. A folder is renamed inside its parent only.
`-shm` files, sockets and locks are left out: SQLite makes the first anew, the others mean nothing after a reboot.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crash.recorder import Record

SECTOR_BYTES = 512
LEFT_OUT = ("-shm", ".sock", ".lock")
Keep = Callable[[], bool]


class Unrebuildable(Exception):
    """The trace has an operation that this model does not know."""


@dataclass(slots=True)
class Write:
    """Bytes at an offset."""

    position: int
    offset: int
    data: bytes

    def apply(self, content: bytearray) -> None:
        end = self.offset + len(self.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        content[self.offset : end] = self.data

    def apply_torn(self, content: bytearray, dice: random.Random) -> None:
        """Some sectors of it; what was not written and lies behind the end is zeros, or not there."""
        if dice.random() < 0.5:
            end = self.offset + len(self.data)
            content.extend(bytes(max(0, end - len(content))))
        at = self.offset
        while at < self.offset + len(self.data):
            following = min((at // SECTOR_BYTES + 1) * SECTOR_BYTES, self.offset + len(self.data))
            if dice.random() < 0.5:
                Write(0, at, self.data[at - self.offset : following - self.offset]).apply(content)
            at = following


@dataclass(slots=True)
class Resize:
    """A new size; `grow_only` for what fallocate does."""

    position: int
    size: int
    grow_only: bool

    def apply(self, content: bytearray) -> None:
        if len(content) < self.size:
            content.extend(bytes(self.size - len(content)))
        elif not self.grow_only:
            del content[self.size :]


@dataclass(slots=True)
class Name:
    """`new` now leads to `node` (None: nowhere); `old` (if any) no longer does."""

    position: int
    new: str
    node: Node | None
    old: str = ""

    def apply(self, entries: dict[str, Node]) -> None:
        if self.old and entries.get(self.old) is self.node:
            del entries[self.old]
        if self.node is None:
            entries.pop(self.new, None)
        else:
            entries[self.new] = self.node


@dataclass(eq=False, slots=True)
class Node:
    """A file or a folder: what is durable, and what is not yet."""

    mode: int
    folder: bool
    content: bytearray = field(default_factory=bytearray)
    changes: list[Write | Resize] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    renames: list[Name] = field(default_factory=list)
    live: dict[str, Node] = field(default_factory=dict)

    def settle(self, covered: int) -> None:
        """A sync that began at `covered` has completed."""
        while self.changes and self.changes[0].position <= covered:
            self.changes.pop(0).apply(self.content)
        while self.renames and self.renames[0].position <= covered:
            self.renames.pop(0).apply(self.entries)


class Disk:
    """Follows a trace from a first state."""

    def __init__(self, root: Path) -> None:
        """Take what is below `root` now as durable."""
        self.root = root.resolve()
        self.position = 0
        self._nodes: dict[int, Node] = {}
        self.top = self._scan(self.root)

    def _scan(self, path: Path) -> Node:
        status = path.lstat()
        node = Node(stat.S_IMODE(status.st_mode), path.is_dir())
        self._nodes[status.st_ino] = node
        if node.folder:
            for each in path.iterdir():
                if each.is_dir() or stat.S_ISREG(each.lstat().st_mode):
                    node.entries[each.name] = self._scan(each)
            node.live = dict(node.entries)
        else:
            node.content = bytearray(path.read_bytes())
        return node

    def advance(self, records: Iterable[Record], until: int) -> None:
        """Apply the records after the present position up to `until`."""
        for record in records:
            if self.position < record.position <= until:
                self._apply(record)
        self.position = max(self.position, until)

    def _apply(self, record: Record) -> None:
        match record.operation:
            case "C" | "D":
                folder, name = self._place(record.names[0])
                node = Node(stat.S_IMODE(record.first), record.operation == "D")
                self._nodes[record.inode] = node
                self._name(folder, Name(record.position, name, node))
            case "U":
                folder, name = self._place(record.names[0])
                if name in folder.live:
                    self._name(folder, Name(record.position, name, None))
            case "R":
                source, old = self._place(record.names[0])
                folder, new = self._place(record.names[1])
                if source is not folder:
                    raise Unrebuildable("a rename across folders: the model does not know it")
                self._name(folder, Name(record.position, new, folder.live[old], old))
            case "L":
                source, old = self._place(record.names[0])
                folder, new = self._place(record.names[1])
                self._name(folder, Name(record.position, new, source.live[old]))
            case "X":
                raise Unrebuildable(f"the model does not know {record.names[0]}")
            case _:
                self._change(record)

    def _change(self, record: Record) -> None:
        node = self._nodes[record.inode]
        match record.operation:
            case "W":
                node.changes.append(Write(record.position, record.first, record.data))
            case "T" | "E":
                node.changes.append(Resize(record.position, record.first, record.operation == "E"))
            case "M":
                node.mode = stat.S_IMODE(record.first)
            case "F":
                node.settle(record.first)
            case other:
                raise Unrebuildable(f"the model does not know operation {other!r}")

    @staticmethod
    def _name(folder: Node, change: Name) -> None:
        change.apply(folder.live)
        folder.renames.append(change)

    def _place(self, path: str) -> tuple[Node, str]:
        relative = Path(os.path.normpath(path)).relative_to(self.root)
        node = self.top
        for part in relative.parts[:-1]:
            node = node.live[part]
        return node, relative.name

    # --- what may be left of it -------------------------------------------------------------------------

    def write(self, target: Path, dice: random.Random) -> None:
        """One way it could look, written below `target`, which is made."""
        luck = dice.choice((0.0, 0.15, 0.5, 0.85, dice.random()))
        _write(self.top, target, lambda: dice.random() < luck, dice)

    def write_all(self, target: Path) -> None:
        """As it looks when nothing is lost: a check on the recorder."""
        _write(self.top, target, lambda: True, random.Random(0))


def _write(node: Node, target: Path, keep: Keep, dice: random.Random) -> None:
    if not node.folder:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_content(node, keep, dice))
        target.chmod(node.mode)
        return
    target.mkdir(mode=0o700)
    entries = dict(node.entries)
    for change in node.renames:
        if keep():
            change.apply(entries)
    for name, each in entries.items():
        if not name.endswith(LEFT_OUT):
            _write(each, target / name, keep, dice)
    target.chmod(node.mode)


def _content(node: Node, keep: Keep, dice: random.Random) -> bytearray:
    if not node.changes:
        return node.content
    content = bytearray(node.content)
    for change in node.changes:
        if keep():
            change.apply(content)
        elif isinstance(change, Write) and dice.random() < 0.5:
            change.apply_torn(content, dice)
    return content
