"""stunnel as a workstation's TLS, for foreign programs that have none of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from helpers.archive import Archive, Identity

STUNNEL = Path("/usr/bin/stunnel4")


@contextlib.contextmanager
def tunnel(folder: Path, archive: Archive, who: Identity) -> Iterator[str]:
    """The port on 127.0.0.1 where plain DICOM goes in and comes out at the archive as this device."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = folder / f"stunnel-{port}.conf"
    settings.write_text(
        f"foreground = yes\npid =\n[ws]\nclient = yes\naccept = 127.0.0.1:{port}\n"
        f"connect = {archive.dicom[0]}:{archive.dicom[1]}\ncert = {who.certificate}\nkey = {who.key}\n"
        f"CAfile = {who.authority}\nverifyChain = yes\ncheckHost = localhost\n"
        "socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
    )
    process = subprocess.Popen([STUNNEL, settings], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        assert any("Configuration successful" in line for line in said)
        yield str(port)
    finally:
        process.terminate()
        process.communicate()
