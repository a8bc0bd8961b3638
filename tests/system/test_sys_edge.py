"""A modality that cannot speak TLS, an edge beside it, and the archive: three parties on loopback."""

from __future__ import annotations

import base64
import http.client
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers import raw_scu
from helpers.archive import Archive, Browser, new_archive, parts
from helpers.edge_house import EDGE_AE, MODALITY, QUICK, EdgeProcess, keep_ports, new_edge
from helpers.raw_scu import AssociationFailed, RawAssociation
from ribcage.dicom import commitment, dimse
from ribcage.dicom.commitment import Reference
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_INSTANCE, STORAGE_COMMITMENT_PUSH, STUDY_ROOT_FIND
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from ribcage.guard import protocol as p
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.studies import make_study
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.edge.spool import read_receipts
from system.senders import SUCCESS, Instance, instance_of, multipart

TOOL = Path(__file__).resolve().parents[2] / "tools" / "verify_edge_receipt.py"
OUT_OF_RESOURCES = 0xA700


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("site")) as archive:
        keep_ports(archive)
        yield archive


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, site: Archive) -> Iterator[EdgeProcess]:
    with new_edge(tmp_path_factory.mktemp("edge"), site) as running:
        yield running


@pytest.fixture(scope="module")
def doctor(site: Archive) -> Browser:
    browser = site.person("li", "radiologist")
    site.grant("person:li", "department:radiology", "original")
    assert browser.step_up().status == 200
    return browser


def film(number: int) -> Instance:
    return instance_of(make_study(90, number).file)


def named(folder: Path, numbers: Sequence[int]) -> set[int]:
    """Which of these films' people, UIDs and AE titles somebody finds who has the folder, decoded forms included."""
    studies = [make_study(90, number) for number in numbers]
    words = [(*each.identity.needles(), each.instance_uid, each.study_uid) for each in studies]
    search = Search([*words, (MODALITY, EDGE_AE)])
    search.feed_folder(folder)
    return search.found


def held(doctor: Browser, one: Instance) -> bytes:
    """The data set as the archive gives it back."""
    reply = doctor.retrieve(one.path)
    assert reply.status == 200
    return instance_of(parts(reply)[0]).data_set


def test_a_film_arrives_bit_exact_in_the_modalitys_name(
    site: Archive, edge: EdgeProcess, doctor: Browser
) -> None:
    one = film(1)
    assert edge.store(one) == SUCCESS
    edge.until_sent()
    assert held(doctor, one) == one.data_set
    listed = site.ask(p.ListDevices(), p.DeviceItems).items
    assert {item.name: item.may for item in listed if item.name.startswith("edge-1")} == {
        "edge-1": ["edge"],
        f"edge-1/{MODALITY}": ["store"],
    }


def test_the_receipt_proves_offline_which_bytes_the_edge_took(edge: EdgeProcess, tmp_path: Path) -> None:
    one = film(2)
    assert edge.store(one) == SUCCESS
    edge.until_sent()
    assert edge.request is not None and edge.enrolment is not None
    assert edge.cli("receipts", "--out", str(tmp_path)).returncode == 0
    number = read_receipts(edge.home)[-1][0]
    film_file, other = tmp_path / "film", tmp_path / "other"
    film_file.write_bytes(one.data_set)
    other.write_bytes(one.data_set[:-1] + bytes([one.data_set[-1] ^ 1]))

    def prove(data: Path, key: str, edge_key: bytes) -> int:
        words = [str(tmp_path / f"{number}.note"), "--key", key, "--data-set", str(data)]
        words += ["--edge-key", base64.b64encode(edge_key).decode()]
        return subprocess.run(
            [sys.executable, str(TOOL), *words], capture_output=True, check=False
        ).returncode

    key, edge_key = edge.enrolment.log_key, edge.request.signing_key
    assert prove(film_file, key, edge_key) == 0
    assert prove(other, key, edge_key) == 1
    assert prove(film_file, key, bytes(32)) == 1


def test_a_stranger_is_rejected_as_the_standard_says_and_counted(edge: EdgeProcess) -> None:
    for calling, called, reason, word in (
        ("DX2", EDGE_AE, 3, "calling_ae"),
        (MODALITY, "RIBCAGE", 7, "called_ae"),
    ):
        before = edge.state()["turned_away"].get(word, 0)
        with pytest.raises(AssociationFailed) as failed:
            raw_scu.echo(edge.dicom, None, calling, called)
        rejection = failed.value.rejection
        assert rejection is not None and (rejection.result, rejection.source, rejection.reason) == (
            1,
            1,
            reason,
        )
        assert edge.state()["turned_away"][word] == before + 1


def test_echo_is_answered_locally_and_a_malformed_film_at_once(edge: EdgeProcess) -> None:
    one = film(3)
    assert raw_scu.echo(edge.dicom, None, MODALITY, EDGE_AE) == SUCCESS
    with RawAssociation(
        edge.dicom, [(one.sop_class, [one.transfer_syntax])], calling=MODALITY, called=EDGE_AE
    ) as link:
        assert link.store(one.sop_class, one.uid, one.data_set[:-10], one.transfer_syntax) == 0xC000
        assert link.store(one.sop_class, "2.25.9", one.data_set, one.transfer_syntax) == 0xA900
    assert edge.state()["waiting"] == 0
    assert list((edge.home / "spool").iterdir()) == []


def test_nothing_but_storing_is_offered(edge: EdgeProcess) -> None:
    with (
        pytest.raises(KeyError),
        RawAssociation(
            edge.dicom, [(STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN])], calling=MODALITY, called=EDGE_AE
        ) as link,
    ):
        link.context_for(STUDY_ROOT_FIND)


def test_days_without_the_archive_and_kills_lose_and_double_nothing(
    site: Archive, edge: EdgeProcess, doctor: Browser
) -> None:
    before = site.ask(p.GetStatus(), p.Status)
    site.stop()
    films = [film(number) for number in range(10, 16)]
    for number, one in enumerate(films):
        assert edge.store(one) == SUCCESS
        if number % 2:
            edge.kill()
            edge.start()
    assert edge.store(films[0]) == SUCCESS  # sent again while it waits
    state = edge.until(lambda told: told["archive"] != "well")
    assert state["waiting"] == len(films)
    assert not named(edge.home, range(10, 16))  # a stolen disk shows nobody
    (edge.home.parent / "plain").mkdir()
    for one in films:  # the control: the same search finds each in what came over the plain wire
        (edge.home.parent / "plain" / "spool.bin").open("ab").write(one.data_set)
    assert named(edge.home.parent / "plain", range(10, 16)) == set(range(len(films)))
    site.start()
    edge.until_sent()
    after = site.ask(p.GetStatus(), p.Status)
    assert after.instances == before.instances + len(films)
    for one in films:
        assert held(doctor, one) == one.data_set
    assert {each.name: each.sequence for each in after.edges}["edge-1"] == read_receipts(edge.home)[-1][0]
    assert site.verify().clean


def test_a_full_spool_refuses_and_takes_again(site: Archive, tmp_path: Path) -> None:
    small = EdgeLimits(
        **{**{n: getattr(QUICK, n) for n in QUICK.__dataclass_fields__}, "max_spool_bytes": 14_000}
    )
    full = EdgeProcess(tmp_path / "edge", limits=small)
    full.create()
    full.enrol(site, "edge-small", url="https://localhost:1")
    full.start()
    try:
        statuses = [full.store(film(number)) for number in range(20, 28)]
        assert statuses[0] == SUCCESS and statuses[-1] == OUT_OF_RESOURCES
        taken = statuses.count(SUCCESS)
        assert full.state()["waiting"] == taken
        assert len(list((full.home / "spool").iterdir())) == taken
        full.stop()
        full.enrol(site, "edge-small")
        full.start()
        full.until_sent()
        assert full.store(film(27)) == SUCCESS
    finally:
        full.stop()


def _ask_commitment(link: RawAssociation, refs: list[Reference], transaction: str) -> None:
    command = dimse.OtherCommand(
        dimse.N_ACTION_RQ,
        {
            dimse.REQUESTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH,
            dimse.MESSAGE_ID: 7,
            dimse.REQUESTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
            dimse.ACTION_TYPE_ID: 1,
        },
        has_data_set=True,
    )
    data = commitment.write(transaction, refs, [], EXPLICIT_VR_LITTLE_ENDIAN)
    answer = link.call(link.context_for(STORAGE_COMMITMENT_PUSH), command, (data,)).command
    assert isinstance(answer, dimse.OtherCommand) and answer.elements[dimse.STATUS] == SUCCESS


def _reported(link: RawAssociation) -> tuple[object, commitment.CommitmentRequest]:
    message = link.next_message()
    assert isinstance(message.command, dimse.OtherCommand)
    read = commitment.read(bytes(message.data_set or b""), EXPLICIT_VR_LITTLE_ENDIAN)
    elements = {
        dimse.MESSAGE_ID_RESPONDED: message.command.elements[dimse.MESSAGE_ID],
        dimse.STATUS: SUCCESS,
        dimse.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH,
    }
    reply = dimse.OtherCommand(dimse.N_EVENT_REPORT_RQ | dimse.RESPONSE, elements, has_data_set=False)
    link.send(message.context_id, reply)
    return message.command.elements[dimse.EVENT_TYPE_ID], read


def test_commitment_waits_for_the_archives_receipt(site: Archive, edge: EdgeProcess) -> None:
    one = film(30)
    proposal = [(STORAGE_COMMITMENT_PUSH, [EXPLICIT_VR_LITTLE_ENDIAN])]
    refs = [Reference(one.sop_class, one.uid)]
    site.stop()
    try:
        assert edge.store(one) == SUCCESS
        with RawAssociation(edge.dicom, proposal, calling=MODALITY, called=EDGE_AE) as link:
            _ask_commitment(link, refs, "2.25.1")
            link.socket.settimeout(3.0)
            with pytest.raises(TimeoutError):
                link.next_message()
    finally:
        site.start()
    edge.until_sent()
    with RawAssociation(edge.dicom, proposal, calling=MODALITY, called=EDGE_AE) as link:
        kind, told = _reported(link)  # unasked
    assert (kind, told.transaction) == (1, "2.25.1")
    assert [each.sop_instance for each in told.references] == [one.uid]
    with RawAssociation(edge.dicom, proposal, calling=MODALITY, called=EDGE_AE) as link:
        _ask_commitment(link, [*refs, Reference(one.sop_class, "2.25.404")], "2.25.2")
        kind, told = _reported(link)  # on the same association
    assert kind == 2  # one was never taken here
    assert told.transaction == "2.25.2" and [each.sop_instance for each in told.references] == [one.uid]


def test_a_stolen_edge_credential_writes_and_neither_reads_nor_lists(
    site: Archive, edge: EdgeProcess, doctor: Browser, tmp_path: Path
) -> None:
    one = film(40)
    assert edge.store(one) == SUCCESS
    edge.until_sent()
    assert held(doctor, one) == one.data_set
    context = edge.credential(tmp_path / "stolen")

    def ask(method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        link = http.client.HTTPSConnection("localhost", site.https[1], context=context, timeout=20)
        link.request(method, path, body or None, {"Content-Type": kind} if kind else {})
        answer = link.getresponse()
        told = answer.status, answer.read()
        link.close()
        return told

    stow = 'multipart/related; type="application/dicom"; boundary=system-tests'
    for method, path, body, kind in (
        ("GET", "/dicom-web/studies", b"", ""),
        ("GET", f"/dicom-web/{one.path}", b"", ""),
        ("GET", f"/dicom-web/studies/{one.study}/metadata", b"", ""),
        ("POST", "/dicom-web/studies", multipart([film(41).file]), stow),
        ("GET", "/metrics", b"", ""),
    ):
        status, text = ask(method, path, body, kind)
        assert status in (401, 403, 404), (path, status)
        assert one.uid.encode() not in text
    assert ask("POST", "/edge/entries", b"x" * 2000, "application/octet-stream")[0] in (400, 403)
    with RawAssociation(
        site.dicom,
        [(STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN]), (one.sop_class, [one.transfer_syntax])],
        ssl_context=context,
        calling=EDGE_AE,
        called="RIBCAGE",
    ) as link:
        assert not link.upper_layer.contexts  # nothing is negotiated
