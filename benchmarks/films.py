"""Made-up instances of three sizes, and a sender that is the same for every archive.

PDUs are built before the clock starts; each status is read and checked, and each response is waited for before the
next request leaves (no peer here negotiates asynchronous operations).
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import harness  # noqa: F401 - puts the tests' harness on the path

from helpers.archive import Identity
from helpers.raw_scu import RawAssociation
from ribcage.dicom import dimse
from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.limits import UpperLayerLimits

CR = "1.2.840.10008.5.1.4.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
PDU_BYTES = 131_072


@dataclass(frozen=True)
class Kind:
    """One kind of instance: pixels of 16 bit, and how many make one study."""

    name: str
    sop_class: str
    modality: str
    rows: int
    columns: int
    count: int

    @property
    def pixel_bytes(self) -> int:
        return 2 * self.rows * self.columns


KINDS = {
    each.name: each
    for each in (
        Kind("dx", CR, "CR", 2560, 1954, 6),
        Kind("ct", CT, "CT", 512, 512, 60),
        Kind("small", CT, "CT", 128, 128, 120),
    )
}
_NOISE = os.urandom(1 << 20)


@dataclass(frozen=True)
class Made:
    """One instance: its UIDs and its data set in Explicit VR Little Endian."""

    kind: Kind
    study: str
    series: str
    instance: str
    data_set: bytes


def study_of(
    kind: Kind, number: int, count: int = 0, patient: str = "", name: str = "Bench^Mark"
) -> list[Made]:
    """One study of one series. The same number gives the same UIDs, pixels differ from instance to instance."""
    study = f"2.25.{int.from_bytes(kind.name.encode(), 'big') % 10**9}{number:09d}"
    return [
        _instance(kind, study, index, patient or f"B{study[5:]}", name)
        for index in range(count or kind.count)
    ]


def _instance(kind: Kind, study: str, index: int, patient: str, name: str) -> Made:
    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        head = group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr
        if vr == b"OW":
            return head + b"\0\0" + len(value).to_bytes(4, "little") + value
        return head + len(value).to_bytes(2, "little") + value

    def us(value: int) -> bytes:
        return value.to_bytes(2, "little")

    series, instance = f"{study}.1", f"{study}.1.{index + 1}"
    at = (index * 7919) % 4096
    pixels = (_NOISE[at:] + _NOISE * (kind.pixel_bytes // len(_NOISE) + 1))[: kind.pixel_bytes]
    parts = [
        element(0x0008, 0x0016, b"UI", kind.sop_class.encode()),
        element(0x0008, 0x0018, b"UI", instance.encode()),
        element(0x0008, 0x0020, b"DA", b"20260101"),
        element(0x0008, 0x0030, b"TM", b"083000"),
        element(0x0008, 0x0050, b"SH", study[-12:].encode()),
        element(0x0008, 0x0060, b"CS", kind.modality.encode()),
        element(0x0010, 0x0010, b"PN", name.encode()),
        element(0x0010, 0x0020, b"LO", patient[:60].encode()),
        element(0x0010, 0x0030, b"DA", b"19500101"),
        element(0x0010, 0x0040, b"CS", b"O"),
        element(0x0020, 0x000D, b"UI", study.encode()),
        element(0x0020, 0x000E, b"UI", series.encode()),
        element(0x0020, 0x0010, b"SH", b"1"),
        element(0x0020, 0x0011, b"IS", b"1"),
        element(0x0020, 0x0013, b"IS", str(index + 1).encode()),
        element(0x0028, 0x0002, b"US", us(1)),
        element(0x0028, 0x0004, b"CS", b"MONOCHROME2"),
        element(0x0028, 0x0010, b"US", us(kind.rows)),
        element(0x0028, 0x0011, b"US", us(kind.columns)),
        element(0x0028, 0x0100, b"US", us(16)),
        element(0x0028, 0x0101, b"US", us(16)),
        element(0x0028, 0x0102, b"US", us(15)),
        element(0x0028, 0x0103, b"US", us(0)),
        element(0x7FE0, 0x0010, b"OW", pixels),
    ]
    return Made(kind, study, series, instance, b"".join(parts))


@dataclass(frozen=True)
class Target:
    """An archive that takes C-STORE over mutual TLS."""

    name: str
    port: int
    title: str
    process: int  # of its supervisor

    def context(self, scu: Identity) -> ssl.SSLContext:
        """TLS with our certificate; the peers' own certificates are of no interest here."""
        context = ssl.create_default_context()
        context.load_cert_chain(str(scu.certificate), str(scu.key))
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def send(
    target: Target, scu: Identity, sets: Sequence[Made], together: threading.Barrier | None = None
) -> list[float]:
    """Store them one after another over one association; seconds of each. Raises SystemExit on any status but 0."""
    sop_class = sets[0].kind.sop_class
    limits = UpperLayerLimits(max_pdu_bytes=PDU_BYTES)
    with RawAssociation(
        ("127.0.0.1", target.port),
        [(sop_class, [EXPLICIT])],
        ssl_context=target.context(scu),
        calling=scu.ae_title,
        called=target.title,
        limits=limits,
        timeout_seconds=120,
    ) as association:
        ready = [list(_pdus(association, each, number)) for number, each in enumerate(sets, 1)]
        if together is not None:
            together.wait()
        taken = []
        for pdus in ready:
            start = time.perf_counter()
            for pdu in pdus:
                association.socket.sendall(pdu)
            answer = association.next_event()
            taken.append(time.perf_counter() - start)
            if not isinstance(answer, MessageReceived) or not isinstance(answer.command, dimse.CStoreRsp):
                raise SystemExit(f"{target.name}: expected a C-STORE response, got {answer!r}")
            if answer.command.status != 0:
                raise SystemExit(f"{target.name} answered {answer.command.status:04X}")
        return taken


def _pdus(association: RawAssociation, made: Made, number: int) -> Iterator[bytes]:
    request = dimse.CStoreRq(number, made.kind.sop_class, made.instance)
    context = association.context_for(made.kind.sop_class)
    yield from association.upper_layer.stream_data(context, request, (made.data_set,))


def send_together(
    target: Target, scu: Identity, bursts: Sequence[Sequence[Made]]
) -> tuple[float, list[float]]:
    """One association a burst, all starting at once: seconds from first byte to last answer, and of each."""
    gate = threading.Barrier(len(bursts) + 1)
    found: list[float] = []
    failed: list[BaseException] = []

    def one(burst: Sequence[Made]) -> None:
        try:
            found.extend(send(target, scu, burst, gate))
        except BaseException as failure:  # told below, on the main thread
            failed.append(failure)
            gate.abort()

    threads = [threading.Thread(target=one, args=(burst,)) for burst in bursts]
    for thread in threads:
        thread.start()
    try:
        gate.wait()
        start = time.perf_counter()
    except threading.BrokenBarrierError:
        start = 0.0
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{target.name}: {failed[0]}")
    return time.perf_counter() - start, found
