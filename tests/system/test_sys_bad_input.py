"""Bad input to the running archive: a clear error, the standard's status, nothing lost, nothing revealed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.archive import Archive, Browser, Identity, new_archive, parts
from helpers.raw_scu import AssociationFailed, RawAssociation, echo
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, multipart, send, stow

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


def test_wrong_called_title_is_rejected_and_in_the_log(archive: Archive, modality: Identity) -> None:
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


def test_raw_bytes_on_the_listeners_are_refused_and_counted(archive: Archive) -> None:
    for address in (archive.dicom, archive.https):
        with socket.create_connection(address, 5) as raw:
            raw.sendall(b"\x01\x00\x00\x00\x00\x04ABCD GET / HTTP/1.1\r\n\r\n")
            raw.settimeout(15)
            while raw.recv(100):
                pass


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


def test_afterwards_everything_verifies_and_nothing_was_told(archive: Archive) -> None:
    assert archive.verify().clean
    log = Path(archive.folder / "server.log").read_text()
    for text in (*STUDY.identity.needles(), ONE.study, ONE.uid):
        assert text not in log
        assert text not in entries(archive)
