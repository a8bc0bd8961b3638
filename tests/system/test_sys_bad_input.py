"""Bad input to the running archive: a clear error, the standard's status, nothing lost, nothing revealed."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from helpers.archive import Archive, Browser, Identity, new_archive, parts
from helpers.raw_scu import AssociationFailed, RawAssociation, echo
from ribcage.dicom import dimse
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import BOUNDARY, SUCCESS, instance_of, multipart, send, stow

STUDY = make_study(21, 1)
ONE = instance_of(STUDY.file)
PRIVATE_CLASS = "1.2.3.4.5.6.7"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("bad")) as running:
        yield running


@pytest.fixture(scope="module")
def modality(archive: Archive) -> Identity:
    return archive.device("cr1", "CR1", "store")


@pytest.fixture(scope="module")
def doctor(archive: Archive) -> Browser:
    browser = archive.person("li", "radiologist")
    archive.grant("person:li", "department:radiology", "full")
    assert browser.step_up().status == 200
    return browser


def associate(
    archive: Archive, modality: Identity, *proposals: tuple[str, list[str]], **more: str
) -> RawAssociation:
    wanted = proposals or ((ONE.sop_class, [ONE.transfer_syntax]),)
    return RawAssociation(
        archive.dicom, list(wanted), ssl_context=modality.context(), calling=modality.ae_title, **more
    )


def entries(archive: Archive) -> str:
    page = archive.ask(p.AuditPage(start=0, count=1000), p.AuditEntries)
    return "\n".join(text for _, text in page.entries)


def test_wrong_called_title_is_rejected(archive: Archive, modality: Identity) -> None:
    with pytest.raises(AssociationFailed) as caught:
        echo(archive.dicom, modality.context(), modality.ae_title, "SOMEBODY")
    assert caught.value.rejection is not None
    assert (caught.value.rejection.source, caught.value.rejection.reason) == (1, 7)


def test_unknown_class_and_syntax_get_the_standards_result(archive: Archive, modality: Identity) -> None:
    unknown_class = (PRIVATE_CLASS, [ONE.transfer_syntax])
    unknown_syntax = (ONE.sop_class, ["1.2.3.4.5"])
    with associate(archive, modality, unknown_class, unknown_syntax) as association:
        answer = association.upper_layer.contexts
    assert not answer  # neither context was accepted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ONE.data_set[:-100],
        ONE.data_set[:7],
        b"\xff" * 4000,
        ONE.data_set.replace(ONE.study.encode(), b"not-a-uid".ljust(len(ONE.study), b"\0")),
    ],
    ids=["empty", "cut", "header only", "noise", "no uid"],
)
def test_malformed_data_sets_are_refused_and_the_association_lives(
    archive: Archive, modality: Identity, data: bytes
) -> None:
    before = archive.ask(p.GetStatus(), p.Status).instances
    with associate(archive, modality) as association:
        response = association.store_response(ONE.sop_class, ONE.uid, data)
        assert response.status != SUCCESS
        assert association.store_response(ONE.sop_class, ONE.uid, data).status != SUCCESS  # it still answers
    assert archive.ask(p.GetStatus(), p.Status).instances == before


def test_another_class_or_uid_than_the_command_says(archive: Archive, modality: Identity) -> None:
    with associate(archive, modality) as association:
        assert association.store(ONE.sop_class, "1.2.3.4", ONE.data_set) == 0xA900


def test_plain_bytes_on_the_listeners_are_refused(archive: Archive) -> None:
    for address in (archive.dicom, archive.https):
        with socket.create_connection(address, 5) as raw:
            raw.sendall(b"\x01\x00\x00\x00\x00\x04ABCD GET / HTTP/1.1\r\n\r\n")
            raw.settimeout(15)
            while raw.recv(100):
                pass


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """One PDU (PS3.8 9.3.1), with a false length on demand."""
    return bytes((kind, 0)) + (len(body) if length is None else length).to_bytes(4, "big") + body


def answer_to(connection: ssl.SSLSocket, data: bytes) -> bytes:
    """One short PDU that comes back; then it is ours to close (PS3.8 9.2.3, Sta13)."""
    connection.settimeout(20)
    connection.sendall(data)
    answer = b""
    while len(answer) < 10 and (piece := connection.recv(4096)):
        answer += piece
    return answer


ABORT, REJECT = 0x07, 0x03


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (pdu(0x42, b"12345678"), {ABORT}),
        (pdu(0x04, b"\0\0\0\6\1\3" + bytes(4)), {ABORT}),
        (pdu(0x05, bytes(4)), {ABORT}),
        (pdu(0x01, b"\0\1" + bytes(30)), {ABORT, REJECT}),
        (pdu(0x01, b"\0\1\0\0" + b"RIBCAGE".ljust(16) * 2 + bytes(32) + b"\x10\0\xff\xff1.2"), {ABORT}),
        (pdu(0x01, b"", 0xFFFF_FFFF), {ABORT}),
    ],
    ids=["unknown type", "data first", "release first", "cut request", "item too long", "four gigabytes"],
)
def test_malformed_first_pdus_are_aborted(
    archive: Archive, modality: Identity, data: bytes, kinds: set[int]
) -> None:
    with (
        socket.create_connection(archive.dicom, 5) as raw,
        modality.context().wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        answer = answer_to(connection, data)
    assert len(answer) == 10  # one A-ABORT or A-ASSOCIATE-RJ, nothing else
    assert answer[0] in kinds


@pytest.mark.parametrize(
    "data",
    [
        pdu(0x04, (9999).to_bytes(4, "big") + b"\1\3" + bytes(20)),
        pdu(0x04, b"\0\0\0\6\xfe\3" + bytes(4)),
        pdu(0x04, b"\0\0\0\1\1"),
        pdu(0x04, b"\0\0\0\x0a\1\3" + b"\xff" * 8),
        pdu(0x04, b"", 0x7FFF_FFFF),
        pdu(0x01, b"\0\1" + bytes(66)),
    ],
    ids=[
        "value beyond the PDU",
        "unknown context",
        "no header",
        "no command",
        "two gigabytes",
        "second request",
    ],
)
def test_malformed_pdus_inside_an_association_are_aborted(
    archive: Archive, modality: Identity, data: bytes
) -> None:
    association = associate(archive, modality)
    assert isinstance(association.socket, ssl.SSLSocket)
    answer = answer_to(association.socket, data)
    association.close()
    assert (len(answer), answer[0]) == (10, ABORT)


def test_a_pdu_that_never_ends_leaves_no_instance(archive: Archive, modality: Identity) -> None:
    before = archive.ask(p.GetStatus(), p.Status).instances
    association = associate(archive, modality)
    command = dimse.CStoreRq(1, ONE.sop_class, ONE.uid)
    context = association.context_for(ONE.sop_class)
    pdus = b"".join(association.upper_layer.stream_data(context, command, (ONE.data_set,)))
    association.socket.sendall(pdus[:-100])
    association.close()
    assert echo(archive.dicom, modality.context(), modality.ae_title, "RIBCAGE") == SUCCESS
    assert archive.ask(p.GetStatus(), p.Status).instances == before


def test_no_certificate_gets_no_association(archive: Archive, modality: Identity) -> None:
    context = ssl.create_default_context(cafile=str(modality.authority))
    with pytest.raises((AssociationFailed, OSError)):
        echo(archive.dicom, context, modality.ae_title, "RIBCAGE")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/dicom", STUDY.file, 415),
        ('multipart/related; type="application/dicom"', multipart([STUDY.file]), 400),
        ('multipart/related; type="application/dicom"; boundary=system-tests', b"--system-tests\r\n", 400),
        ('multipart/related; type="application/dicom"; boundary=system-tests', multipart([b"no image"]), 409),
    ],
    ids=["not multipart", "no boundary", "cut", "not DICOM"],
)
def test_malformed_stow(archive: Archive, kind: str, body: bytes, status: int) -> None:
    # only technologists and radiologists may store by session
    storing = archive.person(f"technologist-{status}-{len(body)}", "technologist")
    assert storing.request("/dicom-web/studies", body, Content_Type=kind).status == status


def test_partial_stow_keeps_the_good_one(doctor: Browser) -> None:
    good = make_study(21, 2)
    reply = stow(doctor, good.file, b"not an image at all")
    assert reply.status == 202
    (back,) = parts(doctor.retrieve(f"studies/{good.study_uid}"))
    assert back == good.file


@pytest.mark.parametrize(
    "query",
    ["StudyDate=yesterday", "NoSuchKeyword=1", "StudyInstanceUID=x", "limit=-1", "limit=many", "offset=-2"],
)
def test_malformed_queries_are_400(doctor: Browser, query: str) -> None:
    assert doctor.request(f"/dicom-web/studies?{query}").status == 400


def test_another_syntax_than_stored_is_406(archive: Archive, modality: Identity, doctor: Browser) -> None:
    assert send(archive, modality, ONE) == SUCCESS
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.90'
    assert doctor.request(f"/dicom-web/studies/{ONE.study}", Accept=accept).status == 406


def test_every_refusal_is_in_the_audit(archive: Archive) -> None:
    archive.stop()  # what is counted per minute is written at the latest when a front ends
    archive.start()
    log = entries(archive)
    for reason in ("called-ae", "malformed", "plain-bytes", "no-certificate"):
        assert reason in log, reason


def test_afterwards_everything_verifies_and_nothing_was_told(archive: Archive) -> None:
    assert archive.verify().clean
    log = Path(archive.folder / "server.log").read_text()
    for text in (*STUDY.identity.needles(), ONE.study, ONE.uid):
        assert text not in log
        assert text not in entries(archive)


def test_metadata_and_bulk_data_become_one_durable_film(archive: Archive, doctor: Browser) -> None:
    """As another archive gives them, under new UIDs; what points elsewhere is not stored."""
    told = pydicom.dcmread(pydicom.filebase.DicomBytesIO(make_study(21, 77).file))
    pixels, address = told.PixelData, f"https://127.0.0.1:{archive.dicom[1]}/pixels"
    model = told.to_json_dict(bulk_data_threshold=0, bulk_data_element_handler=lambda _: address)
    boundary = f"--{BOUNDARY.decode()}\r\n".encode()
    first = boundary + b"Content-Type: application/dicom+json\r\n\r\n" + json.dumps([model]).encode()
    end = b"\r\n--" + BOUNDARY + b"--\r\n"
    part = f"\r\nContent-Type: application/octet-stream\r\nContent-Location: {address}\r\n\r\n".encode()
    whole = first + b"\r\n--" + BOUNDARY + part + pixels + end
    kind = f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY.decode()}'
    refused = doctor.request("/dicom-web/studies", first + end, Content_Type=kind)
    assert refused.status == 409
    stored = doctor.request("/dicom-web/studies", whole, Content_Type=kind)
    assert stored.status == 200, stored.body
    (back,) = parts(doctor.retrieve(f"studies/{told.StudyInstanceUID}"))
    kept = pydicom.dcmread(pydicom.filebase.DicomBytesIO(back))
    assert kept.PixelData == pixels
    assert str(kept.PatientName) == str(told.PatientName)
    told.SpecificCharacterSet = "ISO_IR 192"  # JSON is Unicode, and is stored so
    assert kept.to_json_dict(bulk_data_threshold=1 << 30) == told.to_json_dict(bulk_data_threshold=1 << 30)
    assert archive.verify().clean
