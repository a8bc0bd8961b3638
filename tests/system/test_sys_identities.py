"""A thousand made-up people go through the archive, also by failing log-ins, refusals and malformed data: none stays.

What is searched is every byte of the home, of the server's log and of the server's temporary folder, raw and in
every dress the drill's thief knows; first while the archive runs, then after it stopped.
"""

from __future__ import annotations

import contextlib
import json
import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from helpers.archive import Archive, Browser, Identity, new_archive, parts
from helpers.raw_scu import AssociationFailed, RawAssociation, echo
from ribcage.guard import protocol as p
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.studies import Study, generate
from system.senders import SUCCESS, instance_of, send, stow

PEOPLE = 1000
SEED = 77
BY_STOW = 40


@dataclass
class Aftermath:
    """Where things lie, and what of the people's texts was found there."""

    studies: list[Study]
    home: Path
    log: Path
    temporary: Path
    while_running: Search
    stopped: Search

    def search(self) -> Search:
        return Search([study.identity.needles() for study in self.studies])


def _store_everybody(archive: Archive, modality: Identity, doctor: Browser, studies: list[Study]) -> None:
    first = instance_of(studies[0].file)
    with RawAssociation(
        archive.dicom,
        [(first.sop_class, [first.transfer_syntax])],
        ssl_context=modality.context(),
        calling=modality.ae_title,
    ) as association:
        for study in studies[BY_STOW:]:
            one = instance_of(study.file)
            assert association.store(one.sop_class, one.uid, one.data_set) == SUCCESS
    assert stow(doctor, *(study.file for study in studies[:BY_STOW])).status == 200


def _fail_with_identities(
    archive: Archive, modality: Identity, doctor: Browser, studies: list[Study]
) -> None:
    """Whatever people type or send in the wrong place."""
    for study in studies[:4]:
        who = study.identity
        wrong = json.dumps({"username": who.chinese_name, "password": who.id_number}).encode()
        assert doctor.request("/api/login", wrong, Content_Type="application/json").status in (401, 429)
        assert doctor.request(f"/{quote(who.chinese_name)}?phone={who.telephone}").status == 404
        assert doctor.request(f"/dicom-web/studies/{quote(who.latin_name)}").status in (400, 403, 404)
        assert doctor.request(f"/dicom-web/studies?{quote(who.latin_name)}={who.id_number}").status == 400
        with pytest.raises(AssociationFailed):
            echo(archive.dicom, modality.context(), who.id_number[:16], "RIBCAGE")
        with pytest.raises(AssociationFailed):
            echo(archive.dicom, modality.context(), modality.ae_title, who.telephone)
        _plain_bytes(archive, f"{who.person_name}\r\n{who.telephone}\r\n\r\n".encode())
        _malformed(archive, modality, doctor, study)


def _plain_bytes(archive: Archive, data: bytes) -> None:
    for address in (archive.dicom, archive.https):
        with contextlib.suppress(OSError), socket.create_connection(address, 5) as raw:
            raw.sendall(data)
            raw.recv(100)


def _malformed(archive: Archive, modality: Identity, doctor: Browser, study: Study) -> None:
    one = instance_of(study.file)
    wrong_uid = study.identity.patient_id

    def association() -> RawAssociation:
        proposals = [(one.sop_class, [one.transfer_syntax])]
        context = modality.context()
        return RawAssociation(archive.dicom, proposals, ssl_context=context, calling=modality.ae_title)

    with association() as sender:
        assert sender.store(one.sop_class, one.uid, one.data_set[:-300]) != SUCCESS
    with pytest.raises(AssociationFailed), association() as sender:
        sender.store(one.sop_class, wrong_uid, one.data_set)  # no UID: the command is malformed
    for bad in (study.file[:-300], study.file[200:], study.identity.person_name.encode()):
        assert stow(doctor, bad).status in (400, 409)
    body = study.file * 2
    kind = f'multipart/related; type="application/dicom"; boundary={study.identity.telephone}'
    assert doctor.request("/dicom-web/studies", body, Content_Type=kind).status == 400


def _use(archive: Archive, doctor: Browser, studies: list[Study]) -> None:
    """Search and read, masked and in full; a conflict waits."""
    for study in studies[:5]:
        path = f"studies/{study.study_uid}"
        assert doctor.retrieve(path).headers["x-ribcage-view"] == "masked"
    assert doctor.step_up().status == 200
    for study in studies[:5]:
        (back,) = parts(doctor.retrieve(f"studies/{study.study_uid}"))
        assert back == study.file
        name = quote(study.identity.chinese_name)
        reply = doctor.request(f"/dicom-web/studies?PatientName={name}")
        assert study.identity.telephone not in reply.body.decode()
        assert reply.status == 200
    twin = bytearray(studies[0].file)
    twin[-1] ^= 1
    assert stow(doctor, bytes(twin)).status == 200
    assert archive.ask(p.GetStatus(), p.Status).parked == 1


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    folder = tmp_path_factory.mktemp("identities")
    temporary = folder / "tmp"
    temporary.mkdir()
    studies = list(generate(SEED, PEOPLE, 8, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        with new_archive(folder) as archive:
            modality = archive.device("modality", "MODALITY", "store")
            doctor = archive.person("li", "radiologist")
            archive.grant("person:li", "department:radiology", "full")
            _store_everybody(archive, modality, doctor, studies)
            assert archive.ask(p.GetStatus(), p.Status).instances == PEOPLE
            _use(archive, doctor, studies)
            _fail_with_identities(archive, modality, doctor, studies)
            assert send(archive, modality, instance_of(studies[0].file)) == SUCCESS  # it still serves
            found = Aftermath(studies, archive.home, folder / "server.log", temporary, *_no_search())
            found.while_running = _search(found, "database", "keys", "run")  # objects never change
    found.stopped = _search(found, ".")
    yield found


def _no_search() -> tuple[Search, Search]:
    return Search([]), Search([])


def _search(aftermath: Aftermath, *below_home: str) -> Search:
    search = aftermath.search()
    for folder in (*(aftermath.home / each for each in below_home), aftermath.temporary):
        search.feed_folder(folder)
    search.feed_file(aftermath.log)
    return search


def test_no_identity_lies_in_home_log_or_temporary_files(aftermath: Aftermath) -> None:
    there = sum(each.stat().st_size for each in aftermath.home.rglob("*") if each.is_file())
    assert aftermath.stopped.searched_bytes >= there
    assert aftermath.while_running.searched_bytes > 1 << 20
    for search in (aftermath.while_running, aftermath.stopped):
        assert search.found == set()


def test_no_file_is_named_after_a_person_or_a_uid(aftermath: Aftermath) -> None:
    names = "\n".join(str(each) for each in aftermath.home.rglob("*"))
    for study in aftermath.studies:
        assert study.instance_uid not in names
        assert study.study_uid not in names
        assert study.identity.patient_id not in names


def test_no_uid_lies_in_the_clear(aftermath: Aftermath) -> None:
    search = Search([[study.study_uid, study.instance_uid] for study in aftermath.studies])
    search.feed_folder(aftermath.home)
    search.feed_file(aftermath.log)
    assert search.found == set()


def test_search_finds_everybody_in_an_unsealed_copy(aftermath: Aftermath, tmp_path: Path) -> None:
    for number, study in enumerate(aftermath.studies):
        file = study.file if number % 2 else zlib.compress(study.file)
        (tmp_path / f"{number}.dcm").write_bytes(file)
    search = aftermath.search()
    search.feed_folder(tmp_path)
    assert search.found == set(range(PEOPLE))


def test_search_finds_one_line_in_a_log_and_one_file_name(aftermath: Aftermath, tmp_path: Path) -> None:
    third, ninth = aftermath.studies[3].identity, aftermath.studies[9].identity
    (tmp_path / f"{ninth.patient_id}.bin").write_bytes(b"")
    line = f"ERROR failed: {json.dumps(third.chinese_name)} {third.telephone}\n"
    (tmp_path / "server.log").write_bytes(aftermath.log.read_bytes() + line.encode())
    search = aftermath.search()
    search.feed_folder(tmp_path)
    assert search.found == {3, 9}
