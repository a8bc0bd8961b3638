"""An old PACS that speaks DICOMweb: QIDO-RS for what there is, WADO-RS instance by instance (PS3.18 10.4, 10.6).

Rules, in order:
1. Lists are asked for page by page; a page is bounded in bytes.
2. Instances come as they are stored (`transfer-syntax=*`), one request each; an answer over the limit is refused.
3. A file is opened as any import is (`capture.disarm`): no program in its preamble, a known syntax.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ribcage.capture.disarm import Expected, arrival_of_file
from ribcage.capture.errors import AdmissionError
from ribcage.transfer.migration.association import LIMITS
from ribcage.transfer.migration.errors import NotOffered, PeerLost, PeerRefused
from ribcage.transfer.migration.journal import Listed
from ribcage.transfer.migration.peer import Peer
from ribcage.transfer.migration.source import UID, Arrived, Take

_PAGE = 100
_PAGE_BYTES = 16 * 1024 * 1024
_FILE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_GONE = (404, 410)


class WebSource:
    """One worker's connection."""

    def __init__(self, peer: Peer, dates: str = "") -> None:
        self._peer = peer
        self._dates = dates
        self._connection: http.client.HTTPConnection | None = None

    def studies(self) -> Iterator[tuple[str, int]]:
        """See `Source`."""
        dates = f"&StudyDate={self._dates}" if self._dates else ""
        for one in self._pages(f"studies?includefield=00201208{dates}"):
            uid, count = _value(one, "0020000D"), _value(one, "00201208")
            readable = UID.fullmatch(uid) is not None
            yield (uid, int(count) if count.isdecimal() else 0) if readable else ("", 0)

    def instances(self, study_uid: str) -> list[Listed]:
        """See `Source`."""
        found = []
        for one in self._pages(f"studies/{study_uid}/instances?includefield=0020000E"):
            uid, series = _value(one, "00080018"), _value(one, "0020000E")
            if UID.fullmatch(uid) and UID.fullmatch(series):
                found.append(Listed(uid, series, _value(one, "00080016")))
        return found

    def fetch(self, study_uid: str, wanted: Sequence[Listed], whole: bool, take: Take) -> None:
        """See `Source`: one request for each instance; what is gone is left out."""
        for each in wanted:
            path = f"studies/{study_uid}/series/{each.series_uid}/instances/{each.uid}"
            status, kind, body = self._get(path, _FILE, LIMITS.max_data_set_bytes)
            if status in _GONE:
                continue
            self._check(status)
            file = _only_part(kind, body)
            try:
                arrival = arrival_of_file(file, Expected())
            except AdmissionError:
                continue  # found missing
            data = memoryview(file)[arrival.prefix_bytes :]
            take(Arrived(each.sop_class, each.uid, arrival.transfer_syntax_uid, data))

    def close(self) -> None:
        """See `Source`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- inside -----------------------------------------------------------------------------------------

    def _pages(self, query: str) -> Iterator[Mapping[str, Any]]:
        offset = 0
        while True:
            path = f"{query}&limit={_PAGE}&offset={offset}"
            status, _, body = self._get(path, "application/dicom+json", _PAGE_BYTES)
            if status == http.HTTPStatus.NO_CONTENT:
                return
            self._check(status)
            try:
                page = json.loads(body)
            except (ValueError, RecursionError):
                page = None
            if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
                raise PeerRefused(f"{self._peer.name} answered QIDO-RS with something else")
            yield from page
            offset += len(page)
            if not page:
                return

    def _check(self, status: int) -> None:
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise PeerLost(f"{self._peer.name} answered {status}")
        if status == http.HTTPStatus.NOT_FOUND:
            raise NotOffered(f"{self._peer.name} has no DICOMweb at that address", "check its path")
        if status != http.HTTPStatus.OK:
            raise PeerRefused(
                f"{self._peer.name} answered {status}", "check our certificate and rights there"
            )

    def _get(self, path: str, accept: str, most: int) -> tuple[int, str, bytes]:
        if self._connection is None:
            made: http.client.HTTPConnection
            if self._peer.context is not None:
                made = http.client.HTTPSConnection(
                    self._peer.host, self._peer.port, timeout=self._peer.seconds, context=self._peer.context
                )
            else:
                made = http.client.HTTPConnection(
                    self._peer.host, self._peer.port, timeout=self._peer.seconds
                )
            self._connection = made
        try:
            self._connection.request("GET", f"/{self._peer.path}/{path}", headers={"Accept": accept})
            answer = self._connection.getresponse()
            body = answer.read(most + 1)
        except (OSError, http.client.HTTPException) as failure:
            self.close()
            raise PeerLost(f"{self._peer.name} broke off, or does not answer") from failure
        if len(body) > most:
            self.close()
            raise PeerRefused(f"{self._peer.name} answered with more than {most} bytes")
        return answer.status, answer.headers.get("Content-Type", ""), body


def _value(one: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute, as text (PS3.18 F.2)."""
    attribute = one.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _only_part(kind: str, body: bytes) -> memoryview:
    """The file in a multipart answer of one part, or the whole of a single-part one. Raises PeerRefused."""
    if kind.startswith("application/dicom"):
        return memoryview(body)
    found = _BOUNDARY.search(kind)
    start = body.find(b"\r\n\r\n")
    end = body.rfind(b"\r\n--" + found[1].encode()) if found else -1
    if start < 0 or end < start + 4:
        raise PeerRefused("the old PACS answered WADO-RS with something else than one part")
    return memoryview(body)[start + 4 : end]
