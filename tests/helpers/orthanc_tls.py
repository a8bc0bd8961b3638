"""Debian's Orthanc as a registered device: DICOM TLS as asker and as listener, with the certificate it was given.

Its REST interface is how a person works with it; it is plain HTTP on loopback.
"""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from helpers.archive import Archive, Identity
from ribcage.oversight.drill import twin

SECONDS = 120


class TlsOrthanc(twin.OrthancTarget):
    """Orthanc under its device's AE title; its listener takes TLS with a certificate of the archive's authority."""

    def __init__(self, folder: Path, archive: Archive, who: Identity) -> None:
        os.environ.setdefault("TCP_NODELAY", "1")  # it waits 40 ms for each instance without
        self._archive, self._who = archive, who
        stock: Any = SimpleNamespace(studies=())  # all it reads
        super().__init__(folder, stock, twin.find_orthanc())

    def _configuration(self) -> dict[str, object]:
        archive = {"AET": "RIBCAGE", "Host": "127.0.0.1", "Port": self._archive.dicom[1], "UseDicomTls": True}
        return super()._configuration() | {
            "DefaultEncoding": "Utf8",
            "DicomAet": self._who.ae_title,
            "DicomCheckCalledAet": True,
            "DicomModalities": {"ribcage": archive},
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(self._who.certificate),
            "DicomTlsPrivateKey": str(self._who.key),
            "DicomTlsTrustedCertificates": str(self._who.authority),
            "DicomTlsRemoteCertificateRequired": True,
        }

    @property
    def port(self) -> int:
        """Of its DICOM TLS listener."""
        return self._dicom_port

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One call of its REST interface, text as it is and anything else as JSON: status and body."""
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=SECONDS)
        try:
            connection.request(method, path, body=text)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """As `call`, where it must succeed: the JSON of the answer."""
        status, text = self.call(method, path, body)
        assert status == 200, text
        return json.loads(text)

    def key(self, uid: str) -> str:
        """Its own name for this instance; '' when it has none."""
        found = self.ask("POST", "/tools/lookup", uid)
        return str(found[0]["ID"]) if found else ""

    def file(self, uid: str) -> bytes:
        """The file of one instance, as Orthanc stored it."""
        status, data = self.call("GET", f"/instances/{self.key(uid)}/file")
        assert status == 200, data
        return data
