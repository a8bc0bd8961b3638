"""Reports as a viewer saves them: a measurement (TID 1500) that refers to one image, written as dcmjs writes it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMMENT = "Länge 长度"
_CR = "1.2.840.10008.5.1.4.1.1.1"
_numbers = itertools.count(1)


def uid() -> str:
    """A UID that was not used in this run."""
    return f"1.2.826.0.1.3680043.8.498.77.{next(_numbers)}"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def image(instance: str) -> Dataset:
    """A reference to one image."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = _CR, instance
    return item


def evidence(study: str, series: str, instances: Sequence[str]) -> Dataset:
    """Current Requested Procedure Evidence of one study."""
    of_series, of_study = Dataset(), Dataset()
    of_series.ReferencedSOPSequence = [image(each) for each in instances]
    of_series.SeriesInstanceUID = series
    of_study.ReferencedSeriesSequence = [of_series]
    of_study.StudyInstanceUID = study
    return of_study


def report(study: str, series: str, instances: Sequence[str], name: str, identifier: str) -> Dataset:
    """A length with a comment in German and Chinese, of whoever `name` and `identifier` say."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = COMPREHENSIVE_3D_SR, uid()
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.ContentDate, data.ContentTime = "20260102", "101500"
    data.Modality, data.Manufacturer, data.SeriesDescription = "SR", "OHIF", "Measurements"
    data.PatientName, data.PatientID = name, identifier
    data.PatientBirthDate = data.PatientSex = ""
    data.StudyInstanceUID, data.SeriesInstanceUID = study, uid()
    data.SeriesNumber = data.InstanceNumber = 1
    data.ValueType, data.ContinuityOfContent = "CONTAINER", "SEPARATE"
    data.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    data.CompletionFlag, data.VerificationFlag = "PARTIAL", "UNVERIFIED"
    data.ReferencedPerformedProcedureStepSequence = []
    data.PerformedProcedureCodeSequence = []
    data.CurrentRequestedProcedureEvidenceSequence = [evidence(study, series, instances)]
    comment = Dataset()
    comment.RelationshipType, comment.ValueType, comment.TextValue = "CONTAINS", "TEXT", COMMENT
    comment.ConceptNameCodeSequence = [code("121106", "DCM", "Comment")]
    seen = Dataset()
    seen.RelationshipType, seen.ValueType = "CONTAINS", "IMAGE"
    seen.ReferencedSOPSequence = [image(each) for each in instances]
    data.ContentSequence = [comment, seen]
    return data


def file_of(data: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The data set as a file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    data.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()
