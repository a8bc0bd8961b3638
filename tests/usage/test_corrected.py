"""The full view after a correction: a new patient module, the former one kept, everything else as stored."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ribcage.dicom.part10 import split
from ribcage.guard.protocol import CorrectedPatient
from ribcage.usage.corrected import corrected_header

NAMED = CorrectedPatient("P2", "HOSP", "Wang^Lei=王^磊", "19800102", "M", 1_800_000_000.0)


def stored(syntax: str, charset: str) -> tuple[bytes, bytes]:
    """`(file prefix, data set)` of a small film."""
    film = Dataset()
    film.SpecificCharacterSet = charset
    film.SOPClassUID, film.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4"
    film.StudyInstanceUID, film.SeriesInstanceUID = "1.2.3", "1.2.3.0"
    film.StudyDescription = "Größe" if charset == "ISO_IR 100" else "chest"
    film.PatientName, film.PatientID = "Muster^Erika", "P1"
    film.PatientBirthDate, film.PatientSex, film.OtherPatientNames = "19700101", "F", "Muster^E"
    film.Rows = film.Columns = 4
    film.BitsAllocated = film.BitsStored = 8
    film.HighBit, film.PixelRepresentation, film.SamplesPerPixel = 7, 0, 1
    film.PhotometricInterpretation, film.PixelData = "MONOCHROME2", bytes(range(16))
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = syntax
    film.file_meta.MediaStorageSOPClassUID, film.file_meta.MediaStorageSOPInstanceUID = (
        film.SOPClassUID,
        film.SOPInstanceUID,
    )
    out = io.BytesIO()
    dcmwrite(out, film, enforce_file_format=True)
    data = out.getvalue()
    at = split(data).prefix_bytes
    return data[:at], data[at:]


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", ""])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
)
def test_corrected_patient_with_the_former_one_in_original_attributes(syntax: str, charset: str) -> None:
    prefix, data_set = stored(syntax, charset)
    before, after = (
        dcmread(io.BytesIO(prefix + each)) for each in (data_set, corrected_header(data_set, syntax, NAMED))
    )
    assert (after.PatientID, after.IssuerOfPatientID, str(after.PatientName)) == (
        "P2",
        "HOSP",
        "Wang^Lei=王^磊",
    )
    assert (after.PatientBirthDate, after.PatientSex) == ("19800102", "M")
    assert "OtherPatientNames" not in after
    former = after.OriginalAttributesSequence[0]
    assert former.ReasonForTheAttributeModification == "CORRECT"
    assert former.ModifyingSystem == "Ribcage"
    was = former.ModifiedAttributesSequence[0]
    assert (was.PatientID, str(was.PatientName), was.PatientSex) == ("P1", "Muster^Erika", "F")
    assert after.StudyDescription == before.StudyDescription
    assert after.PixelData == before.PixelData
    changed = {each.tag for each in after if each.tag not in before or after[each.tag] != before[each.tag]}
    assert {f"{tag:08X}" for tag in changed} <= {
        "00080005", "00100010", "00100020", "00100021", "00100030", "00100040", "04000561",
    }  # fmt: skip
