"""What de-identifiers leave in the truth set, each judged by `ribcage deid check` under the Basic Profile.

The others are those of `deid_peers`; what is missing on the machine is named, with how to get it. An input that a
tool does not write counts as refused. `python benchmarks/deid_left_in.py [films]`
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import harness  # noqa: F401 - puts the tests' harness on the path
from deid_peers import PROGRAMS, Peer, gdcmanon, orthanc, packaged

from deid import truth
from ribcage import __version__
from ribcage.oversight.deid_check.checking import check
from ribcage.usage.deid.engine import Engine
from ribcage.usage.deid.errors import NotReleased
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.pseudonyms import Pseudonyms

APART = ("identity", "pattern")


@dataclass(frozen=True)
class Row:
    """What one tool left in."""

    name: str
    seconds: float
    written: int
    identities: int  # findings of an identity or a pattern
    films: int  # films with at least one of them
    kinds: Counter[str]


def row(peer: Peer, originals: Path, out: Path) -> Row:
    """Its row of the table."""
    start = time.perf_counter()
    peer.call(originals, out)
    seconds = time.perf_counter() - start
    report = check(out, originals, options=frozenset())
    left = [each for each in report.findings if each.kind in APART]
    kinds = Counter(each.kind for each in report.findings)
    films = len({each.file for each in left})
    return Row(f"{peer.name} {peer.version}", seconds, len(list(out.iterdir())), len(left), films, kinds)


def ours(originals: Path, out: Path) -> None:
    """The engine under the Basic Profile; the pixels of the truth set carry no text."""
    engine = Engine(Profile("basic", unread="release"), Pseudonyms(bytes(32)))
    for path in sorted(originals.iterdir()):
        try:
            (out / path.name).write_bytes(bytes(engine.release(path.read_bytes())))
        except NotReleased:
            continue


def peers(places: Path) -> Iterator[Peer]:
    """Ours and all that can be had."""
    yield Peer("Ribcage", __version__, ours)
    for name in PROGRAMS:
        try:
            yield packaged(name, places)
        except (OSError, subprocess.SubprocessError):
            print(f"missing: {name} (pip install {name}, in a virtual environment of its own)")
    for name, found in (("libgdcm-tools", gdcmanon(places)), ("orthanc", orthanc())):
        if found is None:
            print(f"missing: apt-get install {name}")
        else:
            yield found


def main(count: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        originals = root / "in"
        originals.mkdir()
        for data, film in truth.films(count=count):
            (originals / film.name).write_bytes(data)
        print(f"{'tool':<24}{'seconds':>8}{'written':>8}{'identities':>12}{'films':>7}  other findings")
        for peer in peers(root):
            out = root / peer.name
            out.mkdir()
            one = row(peer, originals, out)
            rest = ", ".join(f"{kind} {n}" for kind, n in one.kinds.most_common() if kind not in APART)
            print(
                f"{one.name:<24}{one.seconds:>8.1f}{one.written:>8}{one.identities:>12}{one.films:>7}  {rest}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 330)
