"""dicomweb-client against the running archive: STOW, QIDO and WADO, by certificate and by session."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import BytesIO

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from helpers.archive import Archive, new_archive
from ribcage.oversight.studies import Study, make_study

pytestmark = pytest.mark.peers
STUDIES = [make_study(9, number) for number in range(4)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("dicomweb")) as running:
        yield running


@pytest.fixture(scope="module")
def client(archive: Archive) -> Iterator[DICOMwebClient]:
    """A workstation with its own certificate, granted the department."""
    device = archive.device("ws1", "WS1", "store", "query", "retrieve")
    archive.grant("device:ws1", "department:radiology", "full")
    with requests.Session() as session:
        session.trust_env = False  # a machine-wide CA bundle would prevail over `verify`
        session.verify = str(device.authority)
        session.cert = (str(device.certificate), str(device.key))
        client = DICOMwebClient(f"https://localhost:{archive.https[1]}/dicom-web", session=session)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client.store_instances([pydicom.dcmread(BytesIO(study.file)) for study in STUDIES])
        yield client


@pytest.mark.parametrize("study", STUDIES, ids=lambda each: each.study_uid[-6:])
def test_search_finds_names_as_written(client: DICOMwebClient, study: Study) -> None:
    found = client.search_for_studies(search_filters={"PatientName": study.identity.chinese_name})
    assert study.study_uid in {each["0020000D"]["Value"][0] for each in found}


def test_search_by_id_series_and_instances(client: DICOMwebClient) -> None:
    study = STUDIES[1]
    found = client.search_for_studies(search_filters={"PatientID": study.identity.patient_id})
    assert [each["0020000D"]["Value"][0] for each in found] == [study.study_uid]
    (series,) = client.search_for_series(study_instance_uid=study.study_uid)
    assert series["0020000E"]["Value"] == [study.series_uid]
    (instance,) = client.search_for_instances(study.study_uid, study.series_uid)
    assert instance["00080018"]["Value"] == [study.instance_uid]


def test_paging_reaches_everything_once(client: DICOMwebClient) -> None:
    seen = [
        each["0020000D"]["Value"][0]
        for offset in range(len(STUDIES))
        for each in client.search_for_studies(limit=1, offset=offset)
    ]
    assert sorted(seen) == sorted(study.study_uid for study in STUDIES)


def test_retrieve_study_series_instance_and_metadata(client: DICOMwebClient) -> None:
    study = STUDIES[2]
    any_syntax = (("application/dicom", "*"),)
    (whole,) = client.retrieve_study(study.study_uid, media_types=any_syntax)
    (one,) = client.retrieve_series(study.study_uid, study.series_uid, media_types=any_syntax)
    alone = client.retrieve_instance(
        study.study_uid, study.series_uid, study.instance_uid, media_types=any_syntax
    )
    assert whole.PatientID == one.PatientID == alone.PatientID == study.identity.patient_id
    assert alone.PixelData == pydicom.dcmread(BytesIO(study.file)).PixelData
    metadata = client.retrieve_instance_metadata(study.study_uid, study.series_uid, study.instance_uid)
    assert metadata["00100020"]["Value"] == [study.identity.patient_id]


def test_a_session_stores_searches_and_retrieves(client: DICOMwebClient, archive: Archive) -> None:
    study = make_study(9, 17)
    reader = archive.person("rao", "radiologist")
    archive.grant("person:rao", "department:radiology", "full")
    assert reader.step_up().status == 200
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(archive.authority)
        session.headers.update(
            {"Cookie": reader.cookie, "Origin": "https://localhost", "User-Agent": reader.agent}
        )  # its Host field has no port
        web = DICOMwebClient(f"{reader.base}/dicom-web", session=session)
        answer = web.store_instances([pydicom.dcmread(BytesIO(study.file))])
        assert len(answer.ReferencedSOPSequence) == 1
        (found,) = web.search_for_studies(search_filters={"PatientName": study.identity.chinese_name})
        assert found["0020000D"]["Value"] == [study.study_uid]
        (whole,) = web.retrieve_study(study.study_uid, media_types=(("application/dicom", "*"),))
        assert whole.PatientID == study.identity.patient_id


def test_a_session_is_masked_until_the_second_factor(client: DICOMwebClient, archive: Archive) -> None:
    study = STUDIES[3]
    doctor = archive.person("li", "clinician")
    archive.grant("person:li", f"study:{study.study_uid}", "full")
    with requests.Session() as session:
        session.trust_env = False  # a machine-wide CA bundle would prevail over `verify`
        session.verify = str(archive.authority)
        session.headers.update({"Cookie": doctor.cookie, "User-Agent": doctor.agent})
        web = DICOMwebClient(f"https://localhost:{archive.https[1]}/dicom-web", session=session)
        (masked,) = web.retrieve_study(study.study_uid, media_types=(("application/dicom", "*"),))
        assert study.identity.patient_id not in str(masked)
        assert doctor.step_up().status == 200
        (full,) = web.retrieve_study(study.study_uid, media_types=(("application/dicom", "*"),))
        assert full.PatientID == study.identity.patient_id
