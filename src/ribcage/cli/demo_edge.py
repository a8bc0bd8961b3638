"""The demonstration's edge: the film that waited goes to the archive, and a stranger's program reads the receipt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ribcage.cli.drill import Ground
from ribcage.cli.edge_ground import EdgeGround
from ribcage.oversight.drill.attackers import dicom, kit
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.story import Brought

_VERIFIER = Path(__file__).parents[3] / "tools" / "verify_edge_receipt.py"
_PATIENCE_SECONDS = 60.0


def take(ground: Ground) -> float:
    """The film that nobody has stored yet, in plain, at an edge whose line is cut; milliseconds."""
    return ground.edge().take(_film(ground))


def bring(ground: Ground) -> Brought:
    """Mend the line of that edge, wait for the receipt, end the edge, have the receipt checked. Raises TargetDown."""
    edge, data = ground.edge(), dicom.split_file(_film(ground)).data
    edge.mend((ground.web.host, ground.web.port))
    milliseconds = edge.until_sent()
    line, note = edge.copied(), ground.folder / "edge-receipt.note"
    note.write_bytes(edge.receipt())
    ground.end_edge()
    *_, person = kit.load_seeds(ground.holdings().brief("seeds"))  # the film's comes last
    search = Search([person])
    search.feed(line)
    said = _verify_receipt(edge, note, data)
    changed = _verify_receipt(edge, note, data[:-1] + bytes((data[-1] ^ 1,)))
    verdict = (said.stdout or said.stderr).partition("\n")[0]
    return Brought(
        milliseconds, len(line), bool(search.found), verdict, said.returncode == 0, changed.returncode == 1
    )


def _film(ground: Ground) -> bytes:
    return Path(ground.holdings().files[0]).read_bytes()


def _verify_receipt(edge: EdgeGround, note: Path, data: bytes) -> subprocess.CompletedProcess[str]:
    """A stranger's check: the program shares no code with this one."""
    film = note.with_suffix(".film")
    film.write_bytes(data)
    keys = ["--key", edge.log_key, "--edge-key", edge.signing_key]
    command = [sys.executable, str(_VERIFIER), str(note), *keys, "--data-set", str(film)]
    return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)  # noqa: S603 - our own tool
