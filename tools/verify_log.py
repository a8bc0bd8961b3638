#!/usr/bin/env python3
"""Check a whole Ribcage log offline: Python 3.11 or later, and `verify_proof.py` beside this file.

    ribcage audit export --out log [--open]                     (at the archive)
    ribcage witness show --origin ORIGIN --json > witness.json  (at the witness)
    python3 verify_log.py log --key 'ribcage.local/...+1a2b3c4d+AZ...' \\
        --witness 'w.example+...' --witnessed witness.json --earlier last-month/log --proof proof.json

What the archive shows is held against memory from outside: checkpoints that a witness cosigned, an earlier export,
promises that came with answers, proofs that somebody keeps. Whoever holds all keys of the archive can make a log that
agrees with itself, and cannot change those. Named are rewritten, dropped, inserted and reordered entries, a cut tail,
a fork, and with `--open` entries whose time cannot be true. What came after the newest memory rests on the archive's
word: the last line says how much that is.

It shares no code with Ribcage: RFC 9162, C2SP tlog-tiles and tlog-cosignature, docs/formats.md 5. Keys come from
somewhere you trust. Exit 0: nothing found; 1: found; 2: an input cannot be used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import verify_proof as proofs
from verify_proof import Refused

WIDTH, HASH = 256, 32
EMPTY = hashlib.sha256(b"").digest()


class Finding(NamedTuple):
    """What is wrong with entries `first` to `last`."""

    kind: str
    first: int
    last: int
    text: str


class Held(NamedTuple):
    """A checkpoint that somebody outside kept; `at` is the witness's time in Unix seconds."""

    origin: str
    size: int
    root: bytes
    at: int


class Log(NamedTuple):
    """An export: its signed head and its leaf data."""

    origin: str
    size: int
    root: bytes
    leaves: list[bytes]


class Tree:
    """RFC 9162 2.1 over leaf data, with the tiles that C2SP tlog-tiles makes of it."""

    def __init__(self) -> None:
        self.size = 0
        self._perfect: list[bytes] = []
        self.levels: list[list[bytes]] = []

    def append(self, data: bytes) -> None:
        """Add one leaf."""
        node, level, place = hashlib.sha256(b"\x00" + data).digest(), 0, self.size
        self._keep(0, node)
        while place & 1:
            node = hashlib.sha256(b"\x01" + self._perfect.pop() + node).digest()
            level, place = level + 1, place >> 1
            if level % 8 == 0:
                self._keep(level // 8, node)
        self._perfect.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Of all leaves so far."""
        if not self._perfect:
            return EMPTY
        node = self._perfect[-1]
        for left in reversed(self._perfect[:-1]):
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return node

    def _keep(self, level: int, node: bytes) -> None:
        if level == len(self.levels):
            self.levels.append([])
        self.levels[level].append(node)


# --- reading ---------------------------------------------------------------------------------------------


def numbered(number: int, width: int) -> str:
    """The path of a tile's number: `x001/234`, `005.p/112`."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups)) + ("" if width == WIDTH else f".p/{width}")


def read_bundle(path: Path, width: int) -> list[bytes]:
    """Leaf data of one bundle; raises Refused."""
    data, leaves = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:2], "big")
        leaves.append(data[2 : 2 + length])
        if length != HASH or len(leaves[-1]) != HASH:
            raise Refused(f"{path.name}: an entry is not 32 bytes long")
        data = data[2 + length :]
    if len(leaves) != width:
        raise Refused(f"{path}: expected {width} entries, got {len(leaves)}")
    return leaves


def read_log(folder: Path, keys: list[str]) -> Log:
    """The signed head of an export and every leaf below it; raises Refused."""
    try:
        origin, size, root = check_by_any((folder / "checkpoint").read_bytes().decode(), keys)
        leaves: list[bytes] = []
        for start in range(0, size, WIDTH):
            width = min(WIDTH, size - start)
            leaves += read_bundle(folder / "tile" / "entries" / numbered(start // WIDTH, width), width)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the export in {folder} is not whole: {error}") from error
    return Log(origin, size, root, leaves)


def check_by_any(note: str, keys: list[str]) -> tuple[str, int, bytes]:
    """The head that one of the keys signs; raises Refused."""
    origin = note.partition("\n")[0]
    fitting = [key for key in keys if key.partition("+")[0] == origin]
    if not fitting:
        raise Refused("a checkpoint is of a log whose key you did not give")
    return proofs.check_log(note, fitting[0])


def read_held(path: Path, keys: list[str], witnesses: list[str]) -> tuple[list[Held], list[dict[str, Any]]]:
    """Cosigned checkpoints of a witness's answer or a single note, and the forks it recorded; raises Refused."""
    text = path.read_text(encoding="utf-8")
    notes, forks = [text], []
    if text.startswith("{"):
        told = json.loads(text)
        notes = [one["note"] for log in told["logs"] for one in log.get("checkpoints", [])]
        forks = told.get("forks", [])
    held = []
    for note in notes:
        origin, size, root = check_by_any(note, keys)
        moments = [proofs.check_witness(note, key) for key in witnesses]
        if max(moments, default=-1) < 0:
            raise Refused(f"the checkpoint of {size} entries has no cosignature by a witness you named")
        held.append(Held(origin, size, root, max(moments)))
    return held, forks


def read_promise(path: Path, keys: list[str]) -> Held:
    """A checkpoint that a peer got with its answer, as a note or in Base64 (5.11); raises Refused."""
    text = path.read_text(encoding="utf-8")
    if "\n\n" not in text:
        text = proofs.unbase64(text.strip()).decode()
    return Held(*check_by_any(text, keys), at=-1)


# --- comparing -------------------------------------------------------------------------------------------


def check_tree(folder: Path, log: Log, held: list[Held]) -> list[Finding]:
    """Head, tiles and every held checkpoint against the leaves."""
    sizes, roots, tree = {one.size for one in held}, {0: EMPTY}, Tree()
    for data in log.leaves:
        tree.append(data)
        if tree.size in sizes:
            roots[tree.size] = tree.root()
    found = []
    if tree.root() != log.root:
        found.append(
            Finding("changed", 0, log.size - 1, "the entries do not have the root that the log signs")
        )
    found += check_tiles(folder, tree)
    return found + check_held(log, held, roots)


def check_tiles(folder: Path, tree: Tree) -> list[Finding]:
    """Each tile must hold the hashes of these leaves."""
    found = []
    for level, hashes in enumerate(tree.levels):
        for start in range(0, len(hashes), WIDTH):
            part = hashes[start : start + WIDTH]
            path = folder / "tile" / str(level) / numbered(start // WIDTH, len(part))
            first, last = start * WIDTH**level, (start + len(part)) * WIDTH**level - 1
            if not path.is_file() or path.read_bytes() != b"".join(part):
                found.append(Finding("tile", first, last, f"tile {path.relative_to(folder)} is not theirs"))
    return found


def check_held(log: Log, held: list[Held], roots: dict[int, bytes]) -> list[Finding]:
    """A cut tail, a fork, and between which two checkpoints entries were changed."""
    found, good = [], 0
    by_size: dict[int, Held] = {}
    for one in sorted(held, key=lambda each: (each.size, each.at)):
        other = by_size.setdefault(one.size, one)
        if other.root != one.root:
            found.append(Finding("forked", 0, one.size - 1, f"two signed histories of {one.size} entries"))
    for size, one in sorted(by_size.items()):
        if size > log.size:
            text = f"{source(one)} {size} entries, the log shows {log.size}"
            found.append(Finding("cut", log.size, size - 1, text))
            break
        if roots[size] != one.root:
            text = f"not these were there when {source(one)} {size} entries"
            found.append(Finding("changed", good, size - 1, text))
            break
        good = size
    return found


def source(one: Held) -> str:
    """Who says so."""
    return "an answer promised" if one.at < 0 else f"the witness saw, at {moment(one.at)},"


def check_earlier(log: Log, earlier: list[bytes]) -> list[Finding]:
    """Which entries of an earlier export are not where they were."""
    if log.leaves[: len(earlier)] == earlier:
        return []
    found, then, now = [], set(earlier), set(log.leaves)
    for index, data in enumerate(earlier):
        if data in now:
            continue
        if index >= log.size:
            found.append(Finding("cut", index, index, "the log ends before this entry"))
        elif log.leaves[index] not in then:
            found.append(Finding("rewritten", index, index, "another entry stands in its place"))
        else:
            found.append(Finding("dropped", index, index, "gone; later entries moved up"))
    replaced = {one.first for one in found if one.kind == "rewritten"}
    for index, data in enumerate(log.leaves[: len(earlier)]):
        if data not in then and index not in replaced:
            found.append(Finding("inserted", index, index, "was not there before"))
    places = {data: index for index, data in enumerate(log.leaves)}
    kept = [(index, places[data]) for index, data in enumerate(earlier) if data in now]
    latest = -1
    for index, place in kept:
        if place < latest:
            found.append(Finding("reordered", index, index, f"stands at {place} now, before older entries"))
        latest = max(latest, place)
    if not found:
        found.append(Finding("changed", 0, len(earlier) - 1, "not the entries of the earlier export"))
    return found


def check_proof(log: Log, path: Path, keys: list[str]) -> list[Finding]:
    """A proof that somebody keeps must still be true; raises Refused when it never was one."""
    data = path.read_bytes()
    bundle = proofs.parse_bundle(data)
    fitting = [key for key in keys if key.strip() == bundle["verifier_key"].strip()]
    if not fitting:
        raise Refused(f"{path.name} was made for a key you did not give")
    proofs.check_bundle(data, fitting[0])
    index = bundle["index"]
    if index >= log.size:
        return [Finding("cut", log.size, index, f"{path.name} proves an entry behind the log's end")]
    if hashlib.sha256(b"\x00" + log.leaves[index]).hexdigest() != bundle["leaf"]:
        return [Finding("rewritten", index, index, f"{path.name} proves another entry in its place")]
    return []


def check_opened(path: Path, log: Log, held: list[Held], tolerance: int) -> list[Finding]:
    """Openings must fit their leaves, and times must fit the order and the witness's clock; raises Refused."""
    found, latest = [], 0.0
    marks = sorted({one.size: one.at for one in held if one.size <= log.size}.items())
    with path.open(encoding="utf-8") as lines:
        for index, line in enumerate(lines):
            if index >= log.size:
                break
            value = json.loads(line)
            body, salt = value["body"].encode(), bytes.fromhex(value["salt"])
            if hashlib.sha256(b"\x01" + salt + body).digest() != log.leaves[index]:
                found.append(Finding("unopened", index, index, "salt and body do not open this entry"))
                continue
            at = recorded(json.loads(body))
            not_before = max((seen for size, seen in marks if size <= index), default=0)
            not_after = min((seen for size, seen in marks if size > index), default=None)
            if at + tolerance < max(not_before, latest):
                text = f"says {moment(at)}, but came after {moment(max(not_before, latest))}"
                found.append(Finding("back-dated", index, index, text))
            elif not_after is not None and at - tolerance > not_after:
                text = f"says {moment(at)}, but the witness saw it by {moment(not_after)}"
                found.append(Finding("post-dated", index, index, text))
            latest = max(latest, min(at, not_after if not_after is not None else at))
    return found


def recorded(entry: dict[str, Any]) -> float:
    """An entry's time in Unix seconds; raises Refused."""
    try:
        return datetime.fromisoformat(entry["recorded"].replace("Z", "+00:00")).timestamp()
    except (KeyError, ValueError, AttributeError) as error:
        raise Refused("an entry has no time") from error


def moment(seconds: float) -> str:
    """UTC to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def lawful(held: list[Held], forks: list[dict[str, Any]]) -> tuple[list[Held], list[str]]:
    """Without what a recorded restore gave up; lines that say so."""
    said = []
    for fork in forks:
        if fork["old_size"] > fork["restored_size"]:
            lost = f"entries {fork['restored_size']} to {fork['old_size'] - 1} of {fork['old']}"
            said.append(f"given up by a restore that the witness recorded at {moment(fork['at'])}: {lost}")
        held = [one for one in held if one.origin != fork["old"] or one.size <= fork["restored_size"]]
    return held, said


def check(chosen: argparse.Namespace) -> tuple[Log, list[Finding], list[str]]:
    """All checks; raises Refused."""
    log = read_log(chosen.log, chosen.key)
    held: list[Held] = []
    forks: list[dict[str, Any]] = []
    for path in chosen.witnessed:
        more, recorded_forks = read_held(path, chosen.key, chosen.witness)
        held, forks = held + more, forks + recorded_forks
    promises = [read_promise(path, chosen.key) for path in chosen.promise]
    kept, said = lawful(held + promises, forks)
    held = [one for one in kept if one.at >= 0]
    found = check_tree(chosen.log, log, kept)
    for folder in chosen.earlier:
        found += check_earlier(log, read_log(folder, chosen.key).leaves)
    for path in chosen.proof:
        found += check_proof(log, path, chosen.key)
    opened = chosen.log / "opened.jsonl"
    if opened.is_file():
        found += check_opened(opened, log, held, chosen.tolerance)
    newest: Held | None = max(held, key=lambda one: one.size, default=None)
    if newest is None:
        said.append("no witness: the whole log rests on the archive's own word")
    elif newest.size <= log.size:
        rest = f"the last {log.size - newest.size} of {log.size} entries rest on the archive's own word"
        said.append(f"cosigned up to {newest.size} entries at {moment(newest.at)}; {rest}")
    return log, found, said


def main(arguments: list[str]) -> int:
    """0: nothing found; 1: found; 2: an input cannot be used."""
    parser = argparse.ArgumentParser(description="Check a Ribcage log offline.")
    parser.add_argument("log", type=Path, help="folder of `ribcage audit export`")
    parser.add_argument(
        "--key", action="append", required=True, help="the log's verifier key; one for each epoch"
    )
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key")
    parser.add_argument(
        "--witnessed", action="append", default=[], type=Path, help="what the witness remembers"
    )
    parser.add_argument("--promise", action="append", default=[], type=Path, help="what an answer promised")
    parser.add_argument("--earlier", action="append", default=[], type=Path, help="an earlier export")
    parser.add_argument("--proof", action="append", default=[], type=Path, help="a proof that somebody kept")
    parser.add_argument("--tolerance", type=int, default=300, help="seconds that clocks may differ")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        log, found, said = check(chosen)
    except (Refused, OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"NOT CHECKED: {error}\n")
        return 2
    if chosen.json:
        whole = {
            "origin": log.origin,
            "size": log.size,
            "clean": not found,
            "findings": [one._asdict() for one in found],
            "notes": said,
        }
        sys.stdout.write(json.dumps(whole, indent=1) + "\n")
        return 1 if found else 0
    for one in found:
        where = f"entry {one.first}" if one.first == one.last else f"entries {one.first} to {one.last}"
        sys.stdout.write(f"FOUND {one.kind}: {where}: {one.text}\n")
    sys.stdout.write("".join(f"{line}\n" for line in said))
    sys.stdout.write(f"{log.origin}: {log.size} entries, {len(found)} findings\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
