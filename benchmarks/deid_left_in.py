"""What de-identifiers leave in the truth set, each judged by `ribcage deid check` under the Basic Profile.

The others are installed into a virtual environment of a temporary folder, called as their documents show, without
options; what one does not write counts as refused. `python benchmarks/deid_left_in.py [films]`
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import harness  # noqa: F401 - puts the tests' harness on the path

from deid import truth
from ribcage.oversight.deid_check.checking import check
from ribcage.usage.deid.engine import Engine
from ribcage.usage.deid.errors import NotReleased
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.pseudonyms import Pseudonyms

# Package, and the program that takes a folder `sys.argv[1]` and fills `sys.argv[2]`, file by file.
OTHERS = {
    "dcmanon": "a = dcmanon.Anonymizer()\nfor s in files: out(s).write_bytes(a.anonymize(str(s)))",
    "dicognito": "import pydicom\na = dicognito.anonymizer.Anonymizer()\n"
    "for s in files:\n d = pydicom.dcmread(s); a.anonymize(d); d.save_as(out(s))",
    "dicom-anonymizer": "for s in files: dicomanonymizer.anonymize_dicom_file(str(s), str(out(s)))",
}
MODULES = {"dcmanon": "dcmanon", "dicognito": "dicognito.anonymizer", "dicom-anonymizer": "dicomanonymizer"}
PRELUDE = """
import pathlib, sys
import {module}
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
def out(path): return pathlib.Path(sys.argv[2]) / path.name
"""
MOST_SECONDS = 300


@dataclass(frozen=True)
class Row:
    """What one tool left in."""

    name: str
    written: int
    identities: int  # findings of an identity or a pattern
    films: int  # films with at least one of them
    kinds: Counter[str]


def judged(name: str, out: Path, originals: Path) -> Row:
    """Its row of the table."""
    report = check(out, originals, options=frozenset())
    left = [each for each in report.findings if each.kind in ("identity", "pattern")]
    kinds = Counter(each.kind for each in report.findings)
    return Row(name, len(list(out.iterdir())), len(left), len({each.file for each in left}), kinds)


def ours(originals: Path, out: Path) -> None:
    """The engine under the Basic Profile; the pixels of the truth set carry no text."""
    engine = Engine(Profile("basic", unread="release"), Pseudonyms(bytes(32)))
    for path in sorted(originals.iterdir()):
        try:
            (out / path.name).write_bytes(bytes(engine.release(path.read_bytes())))
        except NotReleased:
            continue


def other(name: str, python: Path, originals: Path, out: Path) -> None:
    """One of the others, file by file in one process; a file that it fails on is left out."""
    program = PRELUDE.format(module=MODULES[name]) + OTHERS[name].replace("for s in files:", "def one(s):", 1)
    program += "\nfor s in files:\n try: one(s)\n except Exception as e: print(s.name, type(e).__name__)\n"
    subprocess.run(
        [python, "-W", "ignore", "-c", program, originals, out], check=True, timeout=MOST_SECONDS, text=True
    )


def main(count: int) -> None:
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        originals = root / "in"
        originals.mkdir()
        for data, film in truth.films(count=count):
            (originals / film.name).write_bytes(data)
        for name in ("Ribcage", *OTHERS):
            out = root / name
            out.mkdir()
            if name != "Ribcage":
                place = root / f"{name}-venv"
                venv.create(place, with_pip=True)
                pip = [place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", name]
                subprocess.run(pip, check=True, timeout=MOST_SECONDS)
            if name == "Ribcage":
                ours(originals, out)
            else:
                other(name, root / f"{name}-venv" / "bin" / "python", originals, out)
            rows.append(judged(name, out, originals))
    print(f"{'tool':<18}{'written':>8}{'identities':>12}{'films':>7}  other findings")
    for row in rows:
        rest = ", ".join(
            f"{kind} {n}" for kind, n in row.kinds.most_common() if kind not in ("identity", "pattern")
        )
        print(f"{row.name:<18}{row.written:>8}{row.identities:>12}{row.films:>7}  {rest}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 330)
