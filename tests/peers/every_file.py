"""The public sample files in running archives, and what comes out by each protocol in each transfer syntax."""

from __future__ import annotations

import contextlib
import io
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pynetdicom import AE, build_role, evt
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as STUDY_GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as STUDY_MOVE
from pynetdicom.sop_class import register_uid

from helpers.archive import Archive, Browser, Identity, new_archive, parts
from helpers.front_house import EXPLICIT_LE
from helpers.retrieve_peers import identifier
from ribcage.dicom import part10
from ribcage.guard import protocol as p
from system.senders import SUCCESS, Instance, instance_of, send
from system.test_sys_formats import FILES, REFUSED, TWINS

IMPLICIT_LE = "1.2.840.10008.1.2"
SECONDS = 60
Protocol = Literal["C-GET", "C-MOVE", "WADO-RS"]
PROTOCOLS: tuple[Protocol, ...] = ("C-GET", "C-MOVE", "WADO-RS")
STORED = "stored"
SYNTAXES = (STORED, EXPLICIT_LE, IMPLICIT_LE)
TITLES = ("STORED", "EXPLICIT", "IMPLICIT")  # destinations, one for each of them
DETAIL_SR_TRIAL = "1.2.840.10008.5.1.4.1.1.88.3"
register_uid(
    DETAIL_SR_TRIAL, "DetailSRStorageTrial", StorageServiceClass
)  # retired: pynetdicom has forgotten it


@dataclass
class Answer:
    """What came of one instance; `syntax` is '' where nothing did, and `status` says why."""

    status: int
    syntax: str = ""
    data_set: bytes = b""


@dataclass
class Node:
    """A storage SCP behind mutual TLS that takes one transfer syntax, or every one."""

    title: str
    got: dict[str, Answer] = field(default_factory=dict)

    def keep(self, event: evt.Event) -> int:
        assert event.request.DataSet is not None
        syntax = str(event.context.transfer_syntax)
        kept = Answer(SUCCESS, syntax, event.request.DataSet.getvalue())
        self.got[str(event.request.AffectedSOPInstanceUID)] = kept
        return SUCCESS


@dataclass
class Shelf:
    """One archive with sample files, a workstation that may see them all, and a reader without a second factor."""

    archive: Archive
    station: Identity
    web: Browser
    reader: Browser
    nodes: dict[str, Node]
    _asked: dict[tuple[str, str, str], Answer] = field(default_factory=dict)

    def ask(self, protocol: Protocol, one: Instance, wanted: str) -> Answer:
        """The instance by this protocol in this syntax (STORED: as it is stored); asked once."""
        key = (protocol, one.uid, wanted)
        if key not in self._asked:
            asks = {"C-GET": self._get, "C-MOVE": self._move, "WADO-RS": self._wado}
            self._asked[key] = asks[protocol](one, wanted)
        return self._asked[key]

    def masked(self, one: Instance) -> bytes:
        """The file in the masked view; b'' where there is none."""
        reply = self.reader.retrieve(one.path)
        if reply.status != 200:
            return b""
        assert reply.headers["x-ribcage-view"] == "masked"
        return parts(reply)[0]

    def _wado(self, one: Instance, wanted: str) -> Answer:
        syntax = "*" if wanted == STORED else wanted
        accept = f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'
        reply = self.web.request(f"/dicom-web/{one.path}", Accept=accept)
        if reply.status != 200:
            return Answer(reply.status)
        (file,) = parts(reply)
        meta = part10.split(file)
        return Answer(SUCCESS, meta.transfer_syntax_uid, file[meta.prefix_bytes :])

    def _get(self, one: Instance, wanted: str) -> Answer:
        node, ae = Node("WS1"), _peer("WS1")
        ae.add_requested_context(STUDY_GET)
        ae.add_requested_context(one.sop_class, one.transfer_syntax if wanted == STORED else wanted)
        more = {
            "ext_neg": [build_role(one.sop_class, scp_role=True)],
            "evt_handlers": [(evt.EVT_C_STORE, node.keep)],
        }
        return self._retrieve(ae, one, node, more)

    def _move(self, one: Instance, wanted: str) -> Answer:
        ae = _peer("WS1")
        ae.add_requested_context(STUDY_MOVE)
        return self._retrieve(ae, one, self.nodes[wanted], {})

    def _retrieve(self, ae: AE, one: Instance, node: Node, more: dict[str, object]) -> Answer:
        node.got.clear()
        tls = (self.station.context(), "localhost")
        association = ae.associate(*self.archive.dicom, ae_title="RIBCAGE", tls_args=tls, **more)
        assert association.is_established
        uids = {"StudyInstanceUID": one.study, "SeriesInstanceUID": one.series, "SOPInstanceUID": one.uid}
        keys = identifier("IMAGE", **uids)
        if more:
            answers = association.send_c_get(keys, STUDY_GET)
        else:
            answers = association.send_c_move(keys, node.title, STUDY_MOVE)
        statuses = [int(status.Status) for status, _ in answers]
        association.release()
        return node.got.get(one.uid) or Answer(statuses[-1])


def _peer(title: str) -> AE:
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = SECONDS
    return ae


@contextlib.contextmanager
def _serving(archive: Archive, title: str, who: Identity, classes: dict[str, set[str]]) -> Iterator[Node]:
    """A registered destination that takes these syntaxes."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(who.authority)
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.load_cert_chain(who.certificate, who.key)
    node, ae = Node(title), _peer(title)
    for sop_class, syntaxes in classes.items():
        ae.add_supported_context(sop_class, sorted(syntaxes))
    handlers = [(evt.EVT_C_STORE, node.keep)]
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=tls, evt_handlers=handlers)
    assert server is not None
    port = server.socket.getsockname()[1]
    archive.ask(p.AddDestination(title, who.name, "127.0.0.1", port), p.Noted)
    try:
        yield node
    finally:
        server.shutdown()


def _shelf(stack: ExitStack, folder: Path, instances: list[Instance]) -> Shelf:
    folder.mkdir()
    archive = stack.enter_context(new_archive(folder))
    station = archive.device("ws1", " ".join(["WS1", *TITLES]), "store", "query", "retrieve")
    archive.grant("device:ws1", "department:radiology", "full")
    reader = archive.person("li", "radiologist")
    archive.grant("person:li", "department:radiology", "full")
    web = Browser(archive, reader.totp)
    web.context = station.context()
    stored: dict[str, set[str]] = {}
    for one in instances:
        assert send(archive, station, one) == SUCCESS, one.uid
        stored.setdefault(one.sop_class, set()).add(one.transfer_syntax)
    nodes = {}
    for title, wanted in zip(TITLES, SYNTAXES, strict=True):
        classes = stored if wanted == STORED else {key: {wanted} for key in stored}
        nodes[wanted] = stack.enter_context(_serving(archive, title, station, classes))
    return Shelf(archive, station, web, reader, nodes)


@dataclass
class EveryFile:
    """Two archives: some files are other versions of others' instances."""

    first: Shelf
    second: Shelf

    def shelf(self, name: str) -> Shelf:
        """Where this file is."""
        return self.second if name in TWINS else self.first


@contextlib.contextmanager
def stored_files(folder: Path) -> Iterator[EveryFile]:
    """Every file that the archive takes, stored."""
    taken = [file for file in FILES if file.name not in REFUSED]
    with ExitStack() as stack:
        shelves = []
        for twins in (False, True):
            chosen = [instance_of(file.read_bytes()) for file in taken if (file.name in TWINS) == twins]
            shelves.append(_shelf(stack, folder / str(twins), chosen))
        yield EveryFile(*shelves)


def as_file(one: Instance, syntax: str, data_set: bytes) -> bytes:
    """A DICOM file of this data set."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, "1.2.826.0.1.3680043.10.9"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = one.sop_class, one.uid
    out = io.BytesIO()
    out.write(bytes(128) + b"DICM")
    write_file_meta_info(out, meta)
    return out.getvalue() + data_set
