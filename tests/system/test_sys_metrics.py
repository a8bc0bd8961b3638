"""The numbers over real TLS: one device reads them, nobody else, and no name that passed stands in them."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from pathlib import Path

from helpers.archive import Archive, Browser, Identity, new_archive
from ribcage.cli import operator as operators
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send


def fetch(archive: Archive, device: Identity | None) -> tuple[int, str]:
    """GET /metrics with this device's certificate, or with none."""
    context = device.context() if device else ssl.create_default_context(cafile=str(archive.authority))
    url = f"https://localhost:{archive.https[1]}/metrics"
    try:
        with urllib.request.urlopen(url, context=context, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_go_to_the_observer_alone_and_name_nobody(tmp_path: Path) -> None:
    study = make_study(41, 1)
    one, patient = instance_of(study.file), study.identity
    with new_archive(tmp_path) as archive:
        modality = archive.device("cr1", "CR1", "store")
        observer = archive.device("prometheus", "PROM", "observe")
        assert send(archive, modality, one) == SUCCESS
        doctor = archive.person("li", "radiologist")
        guess(doctor, patient.latin_name)
        assert doctor.request(f"/dicom-web/studies?PatientName={patient.patient_id}").status in (200, 204)
        assert doctor.retrieve(f"studies/{one.study}").status == 403
        refused = [fetch(archive, None), fetch(archive, modality)]
        assert [status for status, _ in refused] == [401, 403]
        assert doctor.request("/metrics").status == 403
        status, text = fetch(archive, observer)
        assert status == 200
        assert 'ribcage_instances_total{outcome="stored"} 1.0' in text
        assert 'ribcage_log_ins_total{outcome="failed"} 1.0' in text
        assert 'ribcage_disclosures_refused_total{reason="not_permitted"} 1.0' in text
        for answer in (text, *(body for _, body in refused)):
            for secret in (patient.latin_name, patient.patient_id, one.study, one.uid, "CR1", "127.0.0.1"):
                assert secret not in answer
        assert operators.login() not in text


def guess(doctor: Browser, name: str) -> None:
    cookie = doctor.cookie
    assert doctor.log_in(name, "not the password").status == 401
    doctor.cookie = cookie
