"""Over the wire: corrected studies, filed conflicts and rejected films by C-GET, C-MOVE and WADO."""

from __future__ import annotations

import io
import time
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from helpers.archive import Archive, Browser, Identity, new_archive, parts
from helpers.front_house import CT, EXPLICIT_LE, ct_slice
from helpers.guard_house import Officer
from helpers.raw_scu import store
from helpers.retrieve_peers import STUDY, c_get, c_move, destination, study
from ribcage.crypto.authority import Issued
from ribcage.guard import protocol as p
from ribcage.storage.verify import VerifyReport

KOS = "1.2.840.10008.5.1.4.1.1.88.59"
NOT_AUTHORIZED = 0x0124


def send(archive: Archive, device: Identity, uid: str, data: bytes, sop_class: str = CT) -> int:
    words = (archive.dicom, device.context(), device.ae_title, "RIBCAGE", sop_class, uid, EXPLICIT_LE, data)
    return store(*words)


def data_set(data: bytes) -> Dataset:
    return dcmread(io.BytesIO(data), force=True)


def officer(archive: Archive, name: str, role: str) -> Officer:
    request = p.AddPerson(username=name, display_name=name.title(), roles=[role])
    return Officer(name, archive.ask(request, p.PersonAdded), time.time)


def retrieved(archive: Archive, ws: Identity, node: Identity, doctor: Browser) -> list[dict[str, bytes]]:
    """What C-GET, C-MOVE and WADO-RS bring of the study: data sets by UID (of WADO-RS: files)."""
    got = c_get(archive.dicom, ws.context(), study())
    leaf = Issued(node.certificate.read_bytes(), node.key.read_bytes())
    with destination("NODE", leaf, archive.authority.read_bytes()) as (moved, port):
        archive.ask(p.AddDestination("NODE", "node", "127.0.0.1", port), p.Noted)
        assert c_move(archive.dicom, ws.context(), study(), "NODE").status == 0
        archive.ask(p.RemoveDestination("NODE"), p.Noted)
    files = parts(doctor.retrieve(f"studies/{STUDY}"))
    by_uid = {str(data_set(file).SOPInstanceUID): file for file in files}
    for uid, file in by_uid.items():
        assert data_set(file).file_meta.MediaStorageSOPInstanceUID == uid
    return [got.data, moved.data, by_uid]


def note(code: str, uid: str, rejected: str) -> bytes:
    """A rejection note (TID 2010) as another maker's workstation writes it."""
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = code, "DCM", "Rejected"
    one = Dataset()
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = CT, rejected
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2.826.0.1.3680043.10.3.1", [one]
    evidence = Dataset()
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = STUDY, [series]
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = KOS, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = STUDY, uid + ".1", "KO"
    ds.PatientID, ds.PatientName = "P-0001", "Muster^Erika"
    ds.ConceptNameCodeSequence, ds.ValueType = [title], "CONTAINER"
    ds.CurrentRequestedProcedureEvidenceSequence = [evidence]
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, ds)
    return out.getvalue()


def verified(archive: Archive) -> VerifyReport:
    report = archive.verify()
    assert report.differences == []
    return report


def test_corrected_filed_and_rejected_by_every_way_out(tmp_path: Path) -> None:
    with new_archive(tmp_path) as archive:
        ct, ws = archive.device("ct1", "CT1", "store"), archive.device("ws1", "WS1", "query", "retrieve")
        node, qc = archive.device("node", "NODE", "retrieve"), archive.device("qc", "QC", "store", "reject")
        doctor = archive.person("doc", "radiologist")
        for subject in ("device:ws1", "device:node", "person:doc"):
            archive.grant(subject, "department:radiology", "full")
        doctor.step_up()
        first, second = officer(archive, "ann", "officer"), officer(archive, "ben", "administrator")
        uid, stored = ct_slice(1)
        assert send(archive, ct, uid, stored) == 0
        assert [found[uid] for found in retrieved(archive, ws, node, doctor)[:2]] == [stored, stored]

        # corrected: the new module, what stood there before in Original Attributes Sequence, pixels as they were
        correct = p.AskIdentityChange(
            "correct", first.approves(), studies=[STUDY], patient_name="Muster^Erika Maria"
        )
        assert archive.ask(correct, p.IdentityChangeItem).state == "done"
        for found in retrieved(archive, ws, node, doctor):
            film = data_set(found[uid])
            assert str(film.PatientName) == "Muster^Erika Maria"
            (change,) = film.OriginalAttributesSequence
            assert change.ReasonForTheAttributeModification == "CORRECT"
            assert str(change.ModifiedAttributesSequence[0].PatientName) == "Muster^Erika"
            assert film.PixelData == data_set(stored).PixelData

        # a conflict is filed beside it, under a UID of its own wherever it is named
        _, other = ct_slice(1, SeriesDescription="again")
        assert send(archive, ct, uid, other) == 0
        filed = archive.ask(p.FileConflict(1, first.approves(), second.approves()), p.ConflictFiled)
        fresh = filed.sop_instance_uid
        for found in retrieved(archive, ws, node, doctor):
            assert found.keys() == {uid, fresh}
            film = data_set(found[fresh])
            assert (film.SOPInstanceUID, film.SeriesDescription) == (fresh, "again")
            assert str(film.PatientName) == "Muster^Erika Maria"
            former = film.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
            assert former.SOPInstanceUID == uid
        metadata = doctor.request(
            f"/dicom-web/studies/{STUDY}/metadata", Accept="application/dicom+json"
        ).json()
        assert {each["00080018"]["Value"][0] for each in metadata} == {uid, fresh}  # type: ignore[attr-defined]

        # rejected: nobody without the right hides anything; with it, it is gone from every way out and comes back
        refused = note("113037", "1.2.826.0.1.3680043.10.9.1", uid)
        assert send(archive, ct, "1.2.826.0.1.3680043.10.9.1", refused, KOS) == NOT_AUTHORIZED
        assert send(archive, qc, "1.2.826.0.1.3680043.10.9.1", refused, KOS) == 0
        assert [list(found) for found in retrieved(archive, ws, node, doctor)] == [[fresh]] * 3
        assert (
            doctor.retrieve(f"studies/{STUDY}/series/{filed.series_instance_uid}/instances/{uid}").status
            == 404
        )
        assert send(archive, ct, uid, stored) == 0, "it is held already"
        verified(archive)
        archive.ask(p.UndoRejection(1, first.approves()), p.RejectionItem)
        assert [set(found) for found in retrieved(archive, ws, node, doctor)] == [{uid, fresh}] * 3
