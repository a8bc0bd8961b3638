"""Network namespaces of a test's own: hosts that share nothing but cables. Needs root and iproute2."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_ALL_PROTOCOLS = 0x0003  # ETH_P_ALL
_IPV4, _TCP = 0x0800, 6
_Answer = TypeVar("_Answer")


def why_not() -> str:
    """Why this machine has none; '' where it has."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed: apt-get install iproute2"
    probe = f"rbprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine permits no network namespaces"
    subprocess.run(["ip", "netns", "delete", probe], check=True)
    return ""


class Host:
    """One namespace. What runs by `inside`, and every process started there, has its network alone."""

    def __init__(self, name: str) -> None:
        self.name = f"rb{os.getpid()}{name}"
        _ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")
        path = Path("/run/netns") / self.name

        def enter() -> None:
            library = ctypes.CDLL(None, use_errno=True)
            with path.open() as file:
                if library.setns(file.fileno(), _NEW_NETWORK):
                    raise OSError(ctypes.get_errno(), "setns")

        self._threads = ThreadPoolExecutor(4, initializer=enter)

    def inside(self, act: Callable[[], _Answer]) -> _Answer:
        """`act()` in this namespace, on a thread of its own."""
        return self._threads.submit(act).result()

    def ip(self, *words: str) -> None:
        """`ip` in this namespace."""
        _ip("-n", self.name, *words)

    def close(self) -> None:
        """Remove it; its cables go with it."""
        self._threads.shutdown()
        _ip("netns", "delete", self.name)


class Cable:
    """Between two hosts, an address at each end (/30). `cut` and `mend` it."""

    def __init__(self, one: Host, one_address: str, other: Host, other_address: str) -> None:
        self._ends = (
            (one, f"c{other_address.replace('.', '')}"[:15]),
            (other, f"d{one_address.replace('.', '')}"[:15]),
        )
        (_, first), (_, second) = self._ends
        _ip(
            "link",
            "add",
            first,
            "netns",
            one.name,
            "type",
            "veth",
            "peer",
            "name",
            second,
            "netns",
            other.name,
        )
        for (host, device), address in zip(self._ends, (one_address, other_address), strict=True):
            host.ip("addr", "add", f"{address}/30", "dev", device)
            host.ip("link", "set", device, "up")

    def cut(self) -> None:
        """Nothing passes any more."""
        host, device = self._ends[0]
        host.ip("link", "set", device, "down")

    def mend(self) -> None:
        """It passes again."""
        host, device = self._ends[0]
        host.ip("link", "set", device, "up")

    def tap(self) -> Tap:
        """Copy what passes from now on."""
        host, device = self._ends[1]
        return host.inside(lambda: Tap(device))


class Tap:
    """What a listener on the wire reads: TCP payloads, in order, each direction of each connection apart."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024 * 1024)
        self._socket.bind((device, 0))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self._streams: dict[bytes, bytearray] = {}
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                frame = self._socket.recv(1 << 17)
            except TimeoutError:
                continue
            if len(frame) > 34 and int.from_bytes(frame[12:14], "big") == _IPV4 and frame[23] == _TCP:
                start = 14 + (frame[14] & 15) * 4
                end = 14 + int.from_bytes(frame[16:18], "big")
                payload = frame[start + (frame[start + 12] >> 4) * 4 : end]
                self._streams.setdefault(frame[26:34] + frame[start : start + 4], bytearray()).extend(payload)

    def stop(self) -> list[bytes]:
        """The streams."""
        self._over.set()
        self._thread.join()
        self._socket.close()
        return [bytes(stream) for stream in self._streams.values() if stream]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)
