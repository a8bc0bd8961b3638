"""Orthanc, naked on loopback, and a shield before it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.archive import Archive, new_archive
from helpers.orthanc_tls import TlsOrthanc
from ribcage.cli import settings
from ribcage.oversight.drill import twin

AE_TITLE, CALLING = "OPEN", "VIEWER"


class NakedOrthanc(TlsOrthanc):
    """As the drill's twin: plain DICOM, one AE title, loopback; queries and C-GET are answered."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("TCP_NODELAY", "1")
        stock: Any = SimpleNamespace(studies=())
        twin.OrthancTarget.__init__(self, folder, stock, twin.find_orthanc())

    def _configuration(self) -> dict[str, object]:
        return twin.OrthancTarget._configuration(self) | {
            "DefaultEncoding": "Utf8",
            "LimitFindResults": 0,
            "DicomModalities": {
                "viewer": {
                    "AET": CALLING,
                    "Host": "127.0.0.1",
                    "Port": 104,
                    "AllowFind": True,
                    "AllowGet": True,
                    "AllowStore": True,
                    "AllowEcho": True,
                }
            },
        }


def need_orthanc() -> None:
    """Skip here, fail in CI."""
    if not twin.find_orthanc():
        if os.environ.get("CI"):
            pytest.fail("Orthanc is not installed: .ci/run installs it")
        pytest.skip("Orthanc is not installed: apt-get install orthanc")


@contextlib.contextmanager
def shield_before(pacs_port: int, folder: Path, *, fronts: int = 1, patch: str = "") -> Iterator[Archive]:
    """A running shield before the PACS at this port of loopback."""
    before = settings.Shield("127.0.0.1", pacs_port, AE_TITLE, CALLING)
    with new_archive(folder, fronts=fronts, patch=patch, shield=before) as running:
        yield running
