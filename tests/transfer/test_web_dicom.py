"""STOW, QIDO and WADO over real TLS, with the public dicomweb-client as the peer."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless
from requests.adapters import HTTPAdapter

from helpers.web_server import Papers, WebServer, make_ct, make_papers
from ribcage.guard.protocol import Disclose, DisclosureClosed, IngestClosed, Query, Session
from ribcage.transfer.dicomweb.principal import session_cookie

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def server(papers, tmp_path):
    with WebServer(papers, tmp_path / "objects") as running:
        yield running


class _Pinned(HTTPAdapter):
    def __init__(self, context) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments, **more):
        super().init_poolmanager(*arguments, ssl_context=self._context, **more)


@pytest.fixture
def client(server):
    with requests.Session() as session:
        yield client_of(server, session)


def client_of(server: WebServer, session: requests.Session) -> DICOMwebClient:
    session.trust_env = False
    session.mount("https://", _Pinned(server.client_context(server.papers.device)))
    session.verify = str(server.papers.authority)
    client = DICOMwebClient(server.dicom, session=session)
    client.set_http_retry_params(retry=False)
    return client


def test_stored_files_come_back_bit_for_bit(server):
    small, small_set = make_ct()
    large, large_set = make_ct(rows=1024)
    assert server.store(small, large).status == 200
    for file, data_set in ((small, small_set), (large, large_set)):
        answer = server.request(
            "GET", f"/dicom-web/studies/{data_set.StudyInstanceUID}", headers={"Accept": AS_STORED}
        )
        assert answer.status == 200
        assert file in answer.body
        assert answer.headers["x-ribcage-view"] == "full"
        assert int(answer.headers["x-ribcage-receipt"]) > 0
    closed = server.guard.of(DisclosureClosed)
    assert [(each.instances, each.octets, each.outcome) for each in closed] == [
        (1, len(small), "complete"),
        (1, len(large), "complete"),
    ]


def test_dicomweb_client_stores_finds_and_retrieves(server, client):
    data_sets = [make_ct()[1] for _ in range(3)]
    response = client.store_instances(data_sets)
    assert len(response.ReferencedSOPSequence) == 3
    assert "FailedSOPSequence" not in response
    one = data_sets[1]
    found = client.search_for_studies(search_filters={"StudyInstanceUID": str(one.StudyInstanceUID)})
    assert len(found) == 1
    study = pydicom.Dataset.from_json(found[0])
    assert study.PatientName == one.PatientName
    # this client leaves the port out of Host, which RetrieveURL repeats
    assert study.RetrieveURL == f"https://127.0.0.1/dicom-web/studies/{one.StudyInstanceUID}"
    got = client.retrieve_instance(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
    assert got.PixelData == one.PixelData
    assert got == one
    whole = list(client.iter_study(one.StudyInstanceUID, media_types=(("application/dicom", "*"),)))
    assert [each.SOPInstanceUID for each in whole] == [one.SOPInstanceUID]
    assert client.search_for_series(one.StudyInstanceUID)[0]["0020000E"]["Value"] == [one.SeriesInstanceUID]
    assert len(client.search_for_instances(limit=2)) == 2
    assert len(client.search_for_instances(limit=2, get_remaining=True)) == 3
    assert client.search_for_studies(search_filters={"StudyInstanceUID": "1.2.3"}) == []


def test_metadata_is_the_header_as_dicom_json(client):
    data_set = make_ct()[1]
    client.store_instances([data_set])
    (item,) = client.retrieve_study_metadata(data_set.StudyInstanceUID)
    pixels = item.pop("7FE00010")
    assert set(pixels) == {"vr", "BulkDataURI"}
    parsed = pydicom.Dataset.from_json(item)
    assert parsed.PatientName == data_set.PatientName
    assert parsed.Rows == data_set.Rows
    assert client.retrieve_instance_metadata(
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID
    )


def test_a_new_file_answers_200_a_repeated_one_too(server):
    file, data_set = make_ct()
    for _ in range(2):
        answer = server.store(file)
        assert answer.status == 200
        item = json.loads(answer.body)["00081199"]["Value"][0]
        assert item["00081155"]["Value"] == [data_set.SOPInstanceUID]
        assert item["00081190"]["Value"][0].endswith(f"/instances/{data_set.SOPInstanceUID}")
    assert len(server.guard.committed()) == 1


def test_partial_failure_is_202_and_names_the_failed(server):
    good, data_set = make_ct()
    other, foreign = make_ct()
    answer = server.store(good, other, b"this is no DICOM file", study=data_set.StudyInstanceUID)
    assert answer.status == 202
    body = json.loads(answer.body)
    failed = body["00081198"]["Value"][0]
    assert failed["00081155"]["Value"] == [foreign.SOPInstanceUID]
    assert failed["00081197"]["Value"] == [0xA900]
    assert body["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert answer.headers["x-ribcage-promise"] == base64.b64encode(b"promise").decode()
    (closed,) = server.guard.of(IngestClosed)
    assert closed.studies == {data_set.StudyInstanceUID: 1}
    assert closed.failed == 2


def test_nothing_stored_is_409_and_the_module_can_be_xml(server):
    file, data_set = make_ct()
    answer = server.store(file, study="1.2.3", headers={"Accept": "application/dicom+xml"})
    assert answer.status == 409
    assert answer.headers["content-type"] == "application/dicom+xml"
    assert b'keyword="FailedSOPSequence"' in answer.body
    assert str(data_set.SOPInstanceUID).encode() in answer.body


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/related; type=application/dicom; boundary=xyz", 200),
        ('Multipart/Related;boundary="xyz";type="application/dicom"', 200),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom+json"; boundary=xyz', 409),
        ('multipart/related; type="text/html"; boundary=xyz', 415),
        ("multipart/form-data; boundary=xyz", 415),
        ("application/dicom", 415),
        ("nonsense", 415),
    ],
)
def test_content_types_of_a_store(server, content_type, status):
    assert server.store(make_ct()[0], headers={"Content-Type": content_type}).status == status


def test_a_cut_body_is_refused_and_leaves_nothing(server):
    file, _ = make_ct()
    body = b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + file
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'}
    assert server.request("POST", "/dicom-web/studies", body, headers).status == 400
    assert server.guard.committed() == []
    assert server.context.budget.left == server.context.limits.max_held_bytes


def test_a_body_cut_after_a_stored_instance_is_202(server):
    file, data_set = make_ct()
    body = b"--xyz\r\n\r\n" + file + b"\r\n--xyz\r\n\r\nDICM"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'}
    answer = server.request("POST", "/dicom-web/studies", body, headers)
    assert answer.status == 202
    assert json.loads(answer.body)["00081199"]["Value"][0]["00081155"]["Value"] == [data_set.SOPInstanceUID]


def test_a_part_of_another_type_is_reported_not_stored(server):
    body = b"--xyz\r\nContent-Type: text/html\r\n\r\n<b>\r\n--xyz--"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'}
    assert server.request("POST", "/dicom-web/studies", body, headers).status == 409


@pytest.mark.parametrize(
    ("reason", "status"),
    [("not_permitted", 403), ("not_authenticated", 401), ("throttled", 429), ("unavailable", 503)],
)
def test_a_refused_device_stores_nothing(server, reason, status):
    server.guard.refuse["Admit"] = reason
    assert server.store(*(make_ct()[0] for _ in range(3))).status == status
    assert len([each for each in server.guard.asked if type(each).__name__ == "Admit"]) == 1


@pytest.mark.parametrize(
    ("accept", "stored", "status"),
    [
        (AS_STORED, ImplicitVRLittleEndian, 200),
        ("multipart/related; type=application/dicom; transfer-syntax=*", ImplicitVRLittleEndian, 200),
        ("*/*", ImplicitVRLittleEndian, 200),
        ('multipart/related; type="application/dicom"', "", 200),
        ('multipart/related; type="application/dicom"', ImplicitVRLittleEndian, 200),
        (f'multipart/related; type="application/dicom"; transfer-syntax={ImplicitVRLittleEndian}', "", 406),
        (
            f'text/plain, multipart/related; type="application/dicom"; transfer-syntax={JPEG2000Lossless}',
            "",
            406,
        ),
        ("application/dicom", "", 406),
        ("image/jpeg", "", 406),
        (AS_STORED + ";q=0", "", 406),
        ("no type", "", 400),
    ],
)
def test_the_stored_syntax_or_an_accepted_one_that_can_be_made_leaves(server, accept, stored, status):
    file, data_set = make_ct(**({"syntax": stored} if stored else {}))
    assert server.store(file).status == 200
    path = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    answer = server.request("GET", path, headers={"Accept": accept})
    assert answer.status == status
    if status == 406 and server.guard.of(DisclosureClosed):
        assert server.guard.of(DisclosureClosed)[-1].octets == 0


def test_a_cut_disclosure_ends_the_stream_without_its_last_chunk(server):
    file, data_set = make_ct(rows=2048)
    assert server.store(file).status == 200
    path = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    with server.tls_socket(server.papers.device) as peer:
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode())
        got = peer.recv(2000)
        assert got.startswith(b"HTTP/1.1 200")
        server.in_loop(server.way_out.guard_lost)
        while piece := peer.recv(65536):
            got += piece
    assert not got.endswith(b"0\r\n\r\n")
    assert len(got) < len(file)
    assert server.guard.of(DisclosureClosed)[-1].outcome == "cut"


def test_a_leaving_reader_closes_the_disclosure_as_aborted(papers, tmp_path):
    with WebServer(papers, tmp_path) as server:
        file, data_set = make_ct(rows=2048)
        assert server.store(file).status == 200
        path = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
        with server.tls_socket(server.papers.device) as peer:
            peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode())
            assert peer.recv(2000).startswith(b"HTTP/1.1 200")
    assert [each.outcome for each in server.guard.of(DisclosureClosed)] == ["aborted"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("PatientID=ID-4711", 200),
        ("00100020=ID-4711", 200),
        ("PatientID=nobody", 204),
        ("StudyDate=20240102&includefield=all&limit=1&offset=0", 200),
        ("includefield=00081030,StudyID", 200),
        ("limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060", 200),  # OHIF's list
        ("includefield=00400275.00400009", 200),
        ("PatientComments=x", 400),
        ("Nonsense=x", 400),
        ("PatientID=a&00100020=b", 400),
        ("limit=-1", 400),
        ("limit=1&limit=2", 400),
        ("fuzzymatching=perhaps", 400),
        ("includefield=Nonsense", 400),
        ("PatientName=a%00b", 400),
        ("PatientName=%ff", 400),
        ("PatientName=" + "x" * 9000, 400),
        ("SeriesInstanceUID=1.2", 400),
    ],
)
def test_queries(server, query, status):
    server.store(make_ct()[0])
    answer = server.request("GET", f"/dicom-web/studies?{query}")
    assert answer.status == status
    assert b"ID-4711" not in answer.body or status == 200
    if status == 200:
        assert int(answer.headers["x-ribcage-receipt"]) > 0
        assert len(json.loads(answer.body)) == 1


def test_only_asked_fields_return(server):
    server.store(make_ct()[0])
    (plain,) = json.loads(server.request("GET", "/dicom-web/studies").body)
    assert "00081030" not in plain
    assert plain["00100010"] == {
        "vr": "PN",
        "Value": [{"Alphabetic": "Wang^Xiaodong", "Ideographic": "王^小东"}],
    }
    assert plain["00200010"] == {"vr": "SH"}
    (more,) = json.loads(server.request("GET", "/dicom-web/studies?includefield=StudyDescription").body)
    assert more["00081030"]["Value"] == ["Chest & <b>lungs</b>"]
    (nested,) = json.loads(
        server.request("GET", f"/dicom-web/studies/{plain['0020000D']['Value'][0]}/instances").body
    )
    assert "00100010" not in nested
    assert nested["00280010"]["Value"] == [64]


def test_warnings_of_a_query(server):
    server.store(make_ct()[0], make_ct()[0])
    answer = server.request("GET", "/dicom-web/studies?fuzzymatching=true&limit=1")
    assert answer.headers["warning"].count("299 ribcage") == 2
    assert server.guard.of(Query)[-1].limit == 1


@pytest.mark.parametrize("uid", ["abc", "1..2", "1." + "2" * 70, "1.2;x", "%2e%2e"])
def test_paths_that_are_no_uid_are_refused(server, uid):
    for suffix in ("", "/metadata", "/series"):
        assert server.request("GET", f"/dicom-web/studies/{uid}{suffix}").status in (400, 404)
    assert server.guard.of(Disclose) == []


def test_view_and_purpose_travel_in_headers(server):
    file, data_set = make_ct()
    server.store(file)
    path = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    headers = {"Accept": AS_STORED, "X-Ribcage-View": "full", "X-Ribcage-Purpose": "ETREAT"}
    assert server.request("GET", path, headers=headers).status == 200
    asked = server.guard.of(Disclose)[-1]
    assert (asked.want, asked.purpose) == ("full", "ETREAT")
    for bad in ({"X-Ribcage-View": "none"}, {"X-Ribcage-Purpose": "CURIOSITY"}):
        assert server.request("GET", path, headers=bad).status == 400


def test_a_person_downloads_a_study_as_zip(server):
    file, data_set = make_ct()
    server.store(file)
    cookie = session_cookie(server.guard.new_session(), 100).partition(";")[0]
    answer = server.request(
        "GET", f"/studies/{data_set.StudyInstanceUID}/download", headers={"Cookie": cookie}, device=False
    )
    assert answer.status == 200
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.namelist() == ["000001.dcm"]
        assert archive.read("000001.dcm") == file
    assert isinstance(server.guard.of(Disclose)[-1].principal, Session)


def test_the_masked_view_has_no_identity_in_file_metadata_or_head(server):
    file, data_set = make_ct()
    server.store(file)
    server.guard.view = "masked"
    path = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    whole = server.request("GET", path, headers={"Accept": AS_STORED})
    assert whole.status == 200
    assert whole.headers["x-ribcage-view"] == "masked"
    body = whole.body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
    masked = pydicom.dcmread(io.BytesIO(body))
    assert masked.PixelData == data_set.PixelData
    assert masked.SOPInstanceUID == data_set.SOPInstanceUID
    (item,) = json.loads(server.request("GET", path + "/metadata").body)
    assert item["00280010"]["Value"] == [64]
    assert item["00100010"]["Value"] == [{"Alphabetic": str(masked.PatientName)}]
    for text in (body.decode("latin-1"), json.dumps(item, ensure_ascii=False)):
        for identity in ("Wang", "ID-4711", "王", "Chest"):  # no digits alone: UIDs may hold any
            assert identity not in text


def test_a_class_without_masked_view_is_withheld_with_the_offer_of_a_step_up(server):
    image, data_set = make_ct()
    report, _ = make_ct(study=data_set.StudyInstanceUID, sop_class="1.2.840.10008.5.1.4.1.1.88.11")
    alone, alone_set = make_ct(sop_class="1.2.840.10008.5.1.4.1.1.88.11")
    assert server.store(image, report, alone).status == 200
    server.guard.view = "masked"
    for suffix in ("", "/metadata"):
        partly = server.request("GET", f"/dicom-web/studies/{data_set.StudyInstanceUID}{suffix}")
        assert partly.status == 206
        assert partly.headers["warning"].startswith('299 ribcage "1 instances')
        assert partly.headers["x-ribcage-step-up"] == "totp"
        nothing = server.request("GET", f"/dicom-web/studies/{alone_set.StudyInstanceUID}{suffix}")
        assert nothing.status == 403
        assert nothing.headers["x-ribcage-step-up"] == "totp"
    server.end_viewings()
    assert [each.instances for each in server.guard.of(DisclosureClosed)] == [1, 0, 1, 0]
