"""A thief copied the disk, or found a backup: read the identities, find keys, open the rest with them."""

from __future__ import annotations

from pathlib import Path

from . import loot
from .kit import Brief, Result, load_seeds, run
from .search import Search


def attack(brief: Brief) -> Result:
    """Succeeds when one identity is read, a private key lies open, or something found opens the home."""
    folder = Path(brief["folder"])
    search = Search(load_seeds(brief))
    files = search.feed_folder(folder)
    total = len(load_seeds(brief))
    open_keys = loot.private_keys(folder)
    candidates = loot.candidates(folder)
    opened = loot.open_databases(folder, candidates, search) + loot.open_objects(folder, candidates)
    evidence = (
        f"{len(search.found)} of {total} identities in {files} files, {search.searched_bytes} bytes searched "
        f"(decoded forms included); {open_keys} private keys in clear; {len(candidates)} key-like strings "
        f"opened {len(opened)} things"
    )
    return Result(bool(search.found or open_keys or opened), evidence)


if __name__ == "__main__":
    run(attack)
