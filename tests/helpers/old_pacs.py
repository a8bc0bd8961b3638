"""Old PACS to be emptied: pynetdicom in this process, and Orthanc as a program that can be killed; the tool itself.

All speak plain DICOM on loopback.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComputedRadiographyImageStorage as CR
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MOVE

from helpers.archive import TESTS, Archive
from helpers.guard_house import PASSPHRASE
from ribcage.cli.main import main
from ribcage.oversight.drill import twin
from ribcage.oversight.studies import Study

AE_TITLE = "MIGRATE"
_ANSWERS = {
    "STUDY": ("StudyInstanceUID",),
    "SERIES": ("SeriesInstanceUID",),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID"),
}


@dataclass
class PynetdicomPacs:
    """What it holds, and how often it was asked to send. `sending` is called before each instance goes out."""

    studies: Sequence[Study]
    port: int = 0
    extra: int = 0  # instances that each study announces and nobody has
    sending: Callable[[int], None] = lambda _: None
    sent: list[str] = field(default_factory=list)
    moves_to: int = 0

    def data_sets(self, keys: Dataset) -> list[Dataset]:
        """Whole data sets that match UIDs."""
        found = []
        for study in self.studies:
            uids = {
                "StudyInstanceUID": study.study_uid,
                "SeriesInstanceUID": study.series_uid,
                "SOPInstanceUID": study.instance_uid,
            }
            if all(not keys.get(name) or keys.get(name) == uid for name, uid in uids.items()):
                found.append(dcmread(io.BytesIO(study.file)))
        return found

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        keys = event.identifier
        for held in self.data_sets(keys):
            answer = Dataset()
            answer.QueryRetrieveLevel = keys.QueryRetrieveLevel
            for name in _ANSWERS[keys.QueryRetrieveLevel]:
                setattr(answer, name, held.get(name))
            if keys.QueryRetrieveLevel == "STUDY":
                answer.NumberOfStudyRelatedInstances = 1 + self.extra
            yield 0xFF00, answer

    def get(self, event: evt.Event) -> Iterator[Any]:
        held = self.data_sets(event.identifier)
        yield len(held)
        yield from self._send(held)

    def move(self, event: evt.Event) -> Iterator[Any]:
        held = self.data_sets(event.identifier)
        yield ("127.0.0.1", self.moves_to) if event.move_destination == AE_TITLE else (None, None)
        yield len(held)
        yield from self._send(held)

    def _send(self, held: list[Dataset]) -> Iterator[tuple[int, Dataset]]:
        for each in held:
            self.sending(len(self.sent))
            self.sent.append(str(each.SOPInstanceUID))
            yield 0xFF00, each


@contextlib.contextmanager
def pynetdicom_pacs(pacs: PynetdicomPacs, *, get: bool = True) -> Iterator[PynetdicomPacs]:
    """Serve it on loopback."""
    ae = AE("OLD")
    ae.add_supported_context(FIND)
    ae.add_supported_context(MOVE)
    if get:
        ae.add_supported_context(GET)
    ae.add_supported_context(CR, scu_role=True, scp_role=True)
    ae.add_requested_context(CR)
    handlers = [(evt.EVT_C_FIND, pacs.find), (evt.EVT_C_GET, pacs.get), (evt.EVT_C_MOVE, pacs.move)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    pacs.port = server.socket.getsockname()[1]
    try:
        yield pacs
    finally:
        server.shutdown()


class _WebPages(http.server.BaseHTTPRequestHandler):
    """QIDO-RS and WADO-RS over the server's studies; no more than one answer on a page."""

    server: WebPacs

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")[1:]
        offset = int(parse_qs(parts.query).get("offset", ["0"])[0])
        if len(words) == 6:
            self._instance(words[5])
            return
        held = [one for one in self.server.studies if len(words) == 1 or one.study_uid == words[1]]
        page = [
            {
                "0020000D": {"vr": "UI", "Value": [one.study_uid]},
                "0020000E": {"vr": "UI", "Value": [one.series_uid]},
                "00080018": {"vr": "UI", "Value": [one.instance_uid]},
                "00080016": {"vr": "UI", "Value": [one.sop_class_uid]},
            }
            for one in held[offset : offset + 1]
        ]
        self._answer("application/dicom+json", json.dumps(page).encode())

    def _instance(self, uid: str) -> None:
        file = next(one.file for one in self.server.studies if one.instance_uid == uid)
        body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n--x--"
        self._answer('multipart/related; type="application/dicom"; boundary=x', body)

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class WebPacs(http.server.ThreadingHTTPServer):
    """A plain DICOMweb server on loopback."""

    daemon_threads = True

    def __init__(self, studies: Sequence[Study]) -> None:
        super().__init__(("127.0.0.1", 0), _WebPages)
        self.studies = studies


@contextlib.contextmanager
def web_pacs(studies: Sequence[Study]) -> Iterator[int]:
    """Serve these; the port."""
    with WebPacs(studies) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class Orthanc(twin.OrthancTarget):
    """Debian's Orthanc with these studies in it; its ports stay the same over restarts."""

    def __init__(self, folder: Path, studies: Sequence[Study]) -> None:
        os.environ.setdefault("TCP_NODELAY", "1")  # it waits 40 ms for each instance without
        super().__init__(folder, SimpleNamespace(studies=studies), twin.find_orthanc())  # type: ignore[arg-type]  # all it reads

    def _configuration(self) -> dict[str, object]:
        asker = {"AET": AE_TITLE, "Host": "127.0.0.1", "Port": 104, "AllowFind": True, "AllowGet": True}
        return super()._configuration() | {"DicomModalities": {"migration": asker}}

    @property
    def port(self) -> int:
        return self._dicom_port

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None


@dataclass
class Tool:
    """`ribcage migrate` against one archive, as a registered device."""

    archive: Archive
    source: str
    work: Path
    identity: Path

    def words(self, *more: str) -> list[str]:
        words = ["migrate", "pull", "--from", self.source]
        words += ["--to", f"localhost:{self.archive.dicom[1]}/RIBCAGE", "--ae", AE_TITLE]
        return [*words, "--identity", str(self.identity), "--work", str(self.work), *more]

    def start(self, *more: str) -> subprocess.Popen[str]:
        """In a process of its own, to be killed."""
        words = [sys.executable, "-m", "ribcage.cli.main", *self.words(*more)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *more: str) -> tuple[int, str]:
        """To its end, in this process: exit status and what it printed."""
        return _main(self.words(*more))

    def report(self, out: Path) -> tuple[int, str]:
        """`ribcage migrate report`: exit status and what it printed."""
        read, write = os.pipe()
        os.write(write, PASSPHRASE)
        os.close(write)
        words = ["migrate", "report", "--home", str(self.archive.home), "--passphrase-fd", str(read)]
        return _main([*words, "--work", str(self.work), "--out", str(out)])


def _main(words: list[str]) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(words)
    return code, printed.getvalue()


def verified(out: Path, key: str, *more: str) -> tuple[int, str]:
    """`tools/verify_migration.py`: exit status and what it printed."""
    program = TESTS.parent / "tools" / "verify_migration.py"
    words = [sys.executable, "-I", str(program), str(out), "--key", key, *more]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def key_of(printed: str) -> str:
    """The log's key, as the report command printed it."""
    return printed.split("the log's key is ")[1].split()[0]


def tool_for(archive: Archive, source: str, folder: Path) -> Tool:
    """Registers the device, once."""
    if not (archive.folder / "devices" / "migration.crt").exists():
        archive.device("migration", AE_TITLE, "store")
    return Tool(archive, source, folder / "work", archive.folder / "devices")


def once(at: int, event: threading.Event) -> Callable[[int], None]:
    """For `PynetdicomPacs.sending`: sets `event` when so many instances went out."""

    def sending(count: int) -> None:
        if count == at:
            event.set()

    return sending


def assert_proven(tool: Tool, studies: Sequence[Study], folder: Path) -> None:
    """The report is complete, and a stranger finds each of these instances in it."""
    code, printed = tool.report(folder / "report")
    assert code == 0, printed
    (folder / "uids").write_text("\n".join(each.instance_uid for each in studies))
    code, told = verified(folder / "report", key_of(printed), "--uids", str(folder / "uids"))
    assert (code, told.splitlines()[-1]) == (0, "complete"), told
