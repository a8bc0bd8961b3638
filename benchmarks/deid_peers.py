"""The de-identifiers we stand beside, each as one call: a folder of films in, a folder out, whole process.

Those of PyPI are installed into virtual environments of their own in a temporary folder (`RIBCAGE_DEID_PEERS` names
one that stays), called as their documents show, without options, file by file in one process. gdcmanon encrypts what
it takes out, so it gets a certificate; Orthanc answers on this machine alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from peers import ORTHANC, free_port

GDCMANON = "/usr/bin/gdcmanon"
MOST_SECONDS = 900
_START_SECONDS = 20.0

Call = Callable[[Path, Path], None]

_PRELUDE = """
import pathlib, sys
{imports}
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
def out(path): return pathlib.Path(sys.argv[2]) / path.name
"""
_LOOP = """
for s in files:
    try: one(s)
    except Exception as e: print(s.name, type(e).__name__, file=sys.stderr)
"""
# What is imported, and what is done with the file `s`.
PROGRAMS = {
    "dcmanon": (
        "import dcmanon\na = dcmanon.Anonymizer()",
        "def one(s): out(s).write_bytes(a.anonymize(str(s)))",
    ),
    "dicognito": (
        "import dicognito.anonymizer, pydicom\na = dicognito.anonymizer.Anonymizer()",
        "def one(s):\n d = pydicom.dcmread(s); a.anonymize(d); d.save_as(out(s))",
    ),
    "dicom-anonymizer": (
        "import dicomanonymizer",
        "def one(s): dicomanonymizer.anonymize_dicom_file(str(s), str(out(s)))",
    ),
    "deid": (
        "import os\nos.environ['MESSAGELEVEL'] = 'QUIET'\n"
        "from deid.dicom import get_identifiers, replace_identifiers",
        "def one(s):\n ids = get_identifiers([str(s)])\n"
        " replace_identifiers([str(s)], ids=ids, save=True, overwrite=True, output_folder=sys.argv[2])",
    ),
}
_POOL = """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool() as pool: pool.map(one, files, 8)
"""


@dataclass(frozen=True)
class Peer:
    """One of the others, ready to be called."""

    name: str
    version: str
    call: Call


def packaged(name: str, places: Path) -> Peer:
    """One of PyPI, installed if it is not yet. Raises CalledProcessError where the registry does not answer."""
    place = Path(os.environ.get("RIBCAGE_DEID_PEERS", places)) / f"{name}-venv"
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        venv.create(place, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
        subprocess.run(pip, check=True, timeout=MOST_SECONDS)
        (place / "ready").touch()
    ask = f"from importlib.metadata import version; print(version({name!r}))"
    told = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True, timeout=60)
    return Peer(name, told.stdout.strip(), lambda films, out: _python(name, python, films, out, _LOOP))


def in_several_processes(peer: Peer, places: Path) -> Peer:
    """The same in as many processes as the machine has processors, which its documents do not show."""
    python = Path(os.environ.get("RIBCAGE_DEID_PEERS", places)) / f"{peer.name}-venv" / "bin" / "python"
    return Peer(
        f"{peer.name} in a pool",
        peer.version,
        lambda films, out: _python(peer.name, python, films, out, _POOL),
    )


def _python(name: str, python: Path, films: Path, out: Path, rest: str) -> None:
    imports, one = PROGRAMS[name]
    program = _PRELUDE.format(imports=imports) + one + rest
    command = [python, "-W", "ignore", "-c", program, films, out]
    subprocess.run(
        command, check=True, timeout=MOST_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def gdcmanon(places: Path) -> Peer | None:
    """GDCM's tool; None where it is not installed (apt-get install libgdcm-tools)."""
    if not Path(GDCMANON).exists():
        return None
    told = subprocess.run([GDCMANON, "--version"], capture_output=True, text=True, timeout=60).stdout.split()
    certificate = places / "gdcmanon.pem"
    certificate.write_bytes(_certificate())

    def call(films: Path, out: Path) -> None:
        for film in sorted(films.iterdir()):
            command = [GDCMANON, "-e", "-c", certificate, "-i", film, "-o", out / film.name]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            if done.returncode:
                (out / film.name).unlink(missing_ok=True)

    return Peer("gdcmanon", told[2], call)


def _certificate() -> bytes:
    """Of a key that nobody keeps: what gdcmanon takes out is not read again."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def orthanc() -> Peer | None:
    """Orthanc's REST, the anonymisation of one instance; None where it is not installed (apt-get install orthanc)."""
    if not Path(ORTHANC).exists():
        return None
    told = subprocess.run([ORTHANC, "--version"], capture_output=True, text=True, timeout=60).stdout.split()

    def call(films: Path, out: Path) -> None:
        with _running() as base:
            for film in sorted(films.iterdir()):
                with contextlib.suppress(urllib.error.HTTPError):
                    stored = json.loads(_post(f"{base}/instances", film.read_bytes()))
                    answer = _post(f"{base}/instances/{stored['ID']}/anonymize", b"{}")
                    (out / film.name).write_bytes(answer)

    return Peer("Orthanc", told[1], call)


def _post(address: str, body: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, body), timeout=60) as answer:
        return bytes(answer.read())


@contextlib.contextmanager
def _running() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ribcage-bench-orthanc-") as name:
        place, http = Path(name), free_port()
        settings = {
            "StorageDirectory": name,
            "IndexDirectory": name,
            "HttpPort": http,
            "RemoteAccessAllowed": False,
            "DicomServerEnabled": False,
            "Plugins": [],
        }
        (place / "orthanc.json").write_text(json.dumps(settings))
        with (place / "log").open("wb") as log:
            process = subprocess.Popen([ORTHANC, place / "orthanc.json"], stdout=log, stderr=log)
        try:
            base = f"http://127.0.0.1:{http}"
            deadline = time.monotonic() + _START_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/system", timeout=5):
                    break
                time.sleep(0.05)
            yield base
        finally:
            process.terminate()
            process.wait(30)
