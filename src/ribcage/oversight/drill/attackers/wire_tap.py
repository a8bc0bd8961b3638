"""A relay between modality and archive copies every byte; the copy is searched for the identities."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from .dicom import open_association, split_file
from .kit import SECONDS, Brief, NotArmed, Result, load_seeds, run
from .search import Search


class Relay:
    """Forwards one connection after another to `there`, keeping a copy of both directions. `port` 0: any."""

    def __init__(self, there: tuple[str, int], port: int = 0) -> None:
        self._there = there
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self.copies: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._there, timeout=SECONDS)
            for source, sink in ((near, far), (far, near)):
                copy = bytearray()
                self.copies.append(copy)
                threading.Thread(target=self._pump, args=(source, sink, copy), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
        try:
            while data := source.recv(65536):
                copy += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


def attack(brief: Brief) -> Result:
    """Succeeds when an identity is read from the copied bytes. The sender's store itself must work."""
    relay = Relay((brief["dicom"]["host"], brief["dicom"]["port"]))
    tapped = {**brief, "dicom": {**brief["dicom"], "host": "127.0.0.1", "port": relay.port}}
    device = brief["device"]
    files = [split_file(Path(name).read_bytes()) for name in brief["files"]]
    stored = 0
    try:
        contexts = [(file.sop_class, file.syntax) for file in files[:1]]
        association = open_association(tapped, device["ae"], contexts, device)
        for file in files:
            stored += association.store(file) == 0
        association.release()
    finally:
        relay.close()
    if stored != len(files):
        raise NotArmed(f"the modality itself stored {stored} of {len(files)}")
    search = Search(load_seeds(brief))
    for copy in relay.copies:
        search.feed(bytes(copy))
    total = sum(len(copy) for copy in relay.copies)
    return Result(
        bool(search.found), f"{len(search.found)} identities in {total} copied bytes, {stored} stored"
    )


if __name__ == "__main__":
    run(attack)
