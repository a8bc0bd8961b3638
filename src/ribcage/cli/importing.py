"""`ribcage import PATH…`: whole files, bit for bit, resumable because duplicates are acknowledged at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ribcage.capture.admit import WayIn, admit_file
from ribcage.capture.errors import AdmissionError
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import AlreadyHeld, IngestClosed, IngestNoted, Operator
from ribcage.storage.objects import ObjectStore

_NAME = "import"


async def import_paths(client: GuardClient, options: argparse.Namespace) -> int:
    """Import files and folders. Exit status 1 when a file was refused."""
    way = WayIn(client, ObjectStore(options.home / "objects"))
    operator = Operator(name=_NAME)
    stored, held, refused = 0, 0, 0
    studies: dict[str, int] = {}
    files = list(_files(options.path))
    for number, path in enumerate(files, 1):
        try:
            admission = await admit_file(way, operator, "import", path.read_bytes())
        except (AdmissionError, OSError) as failure:
            refused += 1
            print(f"refused: {path}: {failure}", file=sys.stderr)
            continue
        if isinstance(admission.outcome, AlreadyHeld):
            held += 1
        else:
            stored += 1
            uid = admission.study_instance_uid
            studies[uid] = studies.get(uid, 0) + 1
        if sys.stderr.isatty():
            print(f"\r{number}/{len(files)}", end="", file=sys.stderr, flush=True)
    if studies:
        closed = IngestClosed(principal=operator, channel="import", studies=studies, failed=refused)
        await client.call(closed, IngestNoted)
    print(f"{stored} stored, {held} held already, {refused} refused, of {len(files)}")
    return 1 if refused else 0


def _files(paths: list[str]) -> Iterator[Path]:
    for each in map(Path, paths):
        if each.is_dir():
            yield from sorted(path for path in each.rglob("*") if path.is_file())
        else:
            yield each
