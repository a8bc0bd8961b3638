"""`make bench`: ingest over mutual TLS, ours beside Orthanc in the same run, interleaved; medians and spread.

`--quick` does fewer rounds, `--json` prints one JSON object. Sender and data sets are the same for both; every
status is checked. Figures are ratios: above 1 means ours is faster. Orthanc writes without fsync guarantees and
stores in clear; ours seals, hashes, asks the guard and syncs before it answers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.archive import Identity, new_archive  # noqa: E402 - the tests' own harness
from helpers.raw_scu import RawAssociation  # noqa: E402 - as above

CR = "1.2.840.10008.5.1.4.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
ORTHANC = "/usr/sbin/Orthanc"
SIZES = {"dx": (CR, 10_000_000, 6), "ct": (CT, 524_288, 40), "small": (CT, 32_768, 80)}


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not Path(ORTHANC).exists():
        print("missing: Orthanc (apt-get install orthanc); only our own figures are shown", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="ribcage-bench-") as name:
        figures = _measure(Path(name), rounds=3 if options.quick else 5)
        sync = _fsync_milliseconds(Path(name))
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "fsync_ms": sync,
        "figures": figures,
    }
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"{report['machine']}, fsync {sync:.2f} ms")
    for each in figures:
        ratio = f"{each['ratio']:.2f}x" if each["ratio"] else "-"
        print(
            f"{each['name']:24} ours {each['ours']:8.2f}  {each['peer_name']} {each['peer']:8.2f} {each['unit']}"
            f"  ratio {ratio}  spread {each['spread']:.0%}"
        )
    return 0


def _measure(folder: Path, rounds: int) -> list[dict[str, object]]:
    (folder / "ours").mkdir()
    with new_archive(folder / "ours", fronts=2) as archive:
        modality = archive.device("cr1", "CR1", "store")
        with _orthanc(folder, modality) as port:
            targets = {"ours": (archive.dicom[1], "RIBCAGE")} | (
                {"orthanc": (port, "ORTHANC")} if port else {}
            )
            return [_figure(name, *SIZES[name], rounds, targets, modality) for name in SIZES]


def _figure(
    name: str,
    sop_class: str,
    size: int,
    count: int,
    rounds: int,
    targets: dict[str, tuple[int, str]],
    scu: Identity,
) -> dict[str, object]:
    taken: dict[str, list[float]] = {target: [] for target in targets}
    for number in range(rounds):
        for target, (port, title) in targets.items():
            sets = [_data_set(sop_class, f"{name}{number}{target}", index, size) for index in range(count)]
            taken[target].append(_send(port, title, scu, sop_class, sets) / count * 1000)
    ours = statistics.median(taken["ours"])
    peer = statistics.median(taken.get("orthanc", [0.0]))
    return {
        "name": f"ingest.{name}.1.orthanc",
        "ours": ours,
        "peer": peer,
        "peer_name": "Orthanc",
        "unit": "ms/instance",
        "ratio": peer / ours if peer else 0.0,
        "spread": (max(taken["ours"]) - min(taken["ours"])) / ours,
    }


def _send(port: int, called: str, scu: Identity, sop_class: str, sets: list[tuple[str, bytes]]) -> float:
    context = ssl.create_default_context(cafile=str(scu.authority))
    context.load_cert_chain(str(scu.certificate), str(scu.key))
    context.check_hostname = False
    if called == "ORTHANC":
        context.verify_mode = ssl.CERT_NONE
    with RawAssociation(
        ("127.0.0.1", port),
        [(sop_class, [EXPLICIT])],
        ssl_context=context,
        calling=scu.ae_title,
        called=called,
    ) as association:
        start = time.perf_counter()
        for uid, data in sets:
            status = association.store(sop_class, uid, data)
            if status != 0:
                raise SystemExit(f"{called} answered {status:04X}")
        return time.perf_counter() - start


def _data_set(sop_class: str, run: str, index: int, size: int) -> tuple[str, bytes]:
    """A minimal image with random-looking pixels: UIDs, patient, geometry, one pixel element."""
    seed = f"{int.from_bytes(run.encode(), 'big') % 10**20}.{index}"
    uid, study = f"2.25.{seed}", f"2.25.{seed.split('.')[0]}"
    side = int((size // 2) ** 0.5)

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        head = group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr
        if vr == b"OW":
            return head + b"\0\0" + len(value).to_bytes(4, "little") + value
        return head + len(value).to_bytes(2, "little") + value

    def us(value: int) -> bytes:
        return value.to_bytes(2, "little")

    pixels = os.urandom(65536) * (2 * side * side // 65536 + 1)
    parts = [
        element(0x0008, 0x0016, b"UI", sop_class.encode()),
        element(0x0008, 0x0018, b"UI", uid.encode()),
        element(0x0008, 0x0020, b"DA", b"20260101"),
        element(0x0008, 0x0060, b"CS", b"CR" if sop_class == CR else b"CT"),
        element(0x0010, 0x0010, b"PN", b"Bench^Mark"),
        element(0x0010, 0x0020, b"LO", f"B{seed.split('.')[0]}".encode()[:60]),
        element(0x0020, 0x000D, b"UI", study.encode()),
        element(0x0020, 0x000E, b"UI", f"{study}.1".encode()),
        element(0x0028, 0x0002, b"US", us(1)),
        element(0x0028, 0x0004, b"CS", b"MONOCHROME2"),
        element(0x0028, 0x0010, b"US", us(side)),
        element(0x0028, 0x0011, b"US", us(side)),
        element(0x0028, 0x0100, b"US", us(16)),
        element(0x0028, 0x0101, b"US", us(16)),
        element(0x0028, 0x0102, b"US", us(15)),
        element(0x0028, 0x0103, b"US", us(0)),
        element(0x7FE0, 0x0010, b"OW", pixels[: 2 * side * side]),
    ]
    return uid, b"".join(parts)


@contextlib.contextmanager
def _orthanc(folder: Path, scu: Identity) -> Iterator[int]:
    """Orthanc with DICOM TLS and client certificates, on a free port; 0 where it is not installed."""
    if not Path(ORTHANC).exists():
        yield 0
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = folder / "orthanc"
    place.mkdir()
    configuration = {
        "StorageDirectory": str(place / "db"),
        "IndexDirectory": str(place / "db"),
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomAet": "ORTHANC",
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(scu.certificate),
        "DicomTlsPrivateKey": str(scu.key),
        "DicomTlsTrustedCertificates": str(scu.authority),
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }
    (place / "orthanc.json").write_text(json.dumps(configuration))
    environment = dict(os.environ, TCP_NODELAY="1")
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [ORTHANC, str(place / "orthanc.json")], stdout=log, stderr=log, env=environment
        )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(place, ignore_errors=True)


def _fsync_milliseconds(folder: Path) -> float:
    """Median latency of write and fsync of 4 KiB on this disk."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(50):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    sys.exit(main())
