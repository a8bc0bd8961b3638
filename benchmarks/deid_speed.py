"""De-identification, whole process from start to end, under the full profile with headers only: 1,000 CT, 100 DX.

The CT slices have the header of a real scanner (pydicom's CT_small.dcm), ten patients, and differ within a series in
what differs in a real one; the DX films are of a hundred patients. `python benchmarks/deid_speed.py [--quick]`
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
from deid_peers import Call, Peer, in_several_processes, packaged
from harness import ROOT, Figure, Run, against, in_turns, script
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

SETS = {"ct": 1000, "dx": 100}
QUICK = {"ct": 300, "dx": 30}
BOTH = "all"
TARGETS = {"dcmanon": (1.5, 2.5), "dicom-anonymizer": (8.0, 0.0)}  # over both sets together
SLICES = 100  # of one patient
_NOISE = os.urandom(1 << 20)
_VARYING = (0x0019, 0x0043)  # groups of the scanner whose decimal numbers differ from slice to slice


def main() -> int:
    """Measure against dcmanon and dicom-anonymizer."""
    return script("de-identification beside dcmanon and dicom-anonymizer", measure)


def measure(run: Run) -> list[Figure]:
    """The figures of both sets."""
    peers = []
    for name in TARGETS:
        try:
            peers.append(packaged(name, run.folder))
        except (OSError, subprocess.SubprocessError):
            run.missing.append(f"{name} (pip install {name}, in a virtual environment of its own)")
    counts = dict(QUICK if run.quick else SETS)
    (run.folder / BOTH).mkdir()
    for kind, count in counts.items():
        films = run.folder / kind
        films.mkdir()
        for number, data_set in enumerate((_slices if kind == "ct" else _films)(count)):
            path = films / f"{kind}{number:05}.dcm"
            data_set.save_as(path, enforce_file_format=True)
            os.link(path, run.folder / BOTH / path.name)
    counts[BOTH] = sum(counts.values())
    return [
        figure
        for kind, count in counts.items()
        for peer in peers
        for figure in _beside(run, kind, count, peer)
    ]


def _beside(run: Run, kind: str, count: int, peer: Peer) -> Iterator[Figure]:
    """One peer in turns with ours; a slow one once, after the others have warmed the files."""
    films = run.folder / kind
    target, stretch = TARGETS[peer.name] if kind == BOTH else (0.0, 0.0)
    sides = {
        "ours": _timed(run, "ours", _ours(run), films, count),
        peer.name: _timed(run, peer.name, peer.call, films, count),
    }
    pool = None
    if peer.name == "dcmanon":
        pool = in_several_processes(peer, run.folder)
        sides[pool.name] = _timed(run, pool.name, pool.call, films, count)
        taken = in_turns(sides, run.rounds(3))
    else:
        taken = {name: [side(1)] for name, side in sides.items()}
    rate = {"films_a_second": count / min(taken["ours"])}
    named = f"{peer.name} {peer.version}"
    figures = [
        against(
            f"deid.{kind}.{peer.name}",
            "s",
            taken["ours"],
            named,
            taken[peer.name],
            target,
            stretch,
            more=rate,
        )
    ]
    if pool is not None:
        figures.append(
            against(f"deid.{kind}.{peer.name}-pool", "s", taken["ours"], pool.name, taken[pool.name])
        )
    for each in figures:
        run.say(f"{count} films, {each.name}: {each.ours:.2f} s and {each.peer:.2f} s, {each.ratio:.2f}")
    yield from figures


def _ours(run: Run) -> Call:
    def call(films: Path, out: Path) -> None:
        project = run.folder / "project"
        command = [sys.executable, "-m", "ribcage.cli.entry", "deid", films, out, "--project", project]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, timeout=900)
        shutil.rmtree(project)

    return call


def _timed(run: Run, name: str, call: Call, films: Path, count: int) -> Callable[[int], float]:
    """Seconds of one call; what it wrote is counted before that (harness, rule 3), and removed."""

    def timed(_: int) -> float:
        out = run.folder / "out"
        out.mkdir()
        start = time.perf_counter()
        call(films, out)
        taken = time.perf_counter() - start
        written = [path for path in out.rglob("*.dcm") if path.stat().st_size > 2 * 512 * 512]
        shutil.rmtree(out)
        if len(written) != count:
            raise SystemExit(f"{name}: expected {count} films, got {len(written)}")
        return taken

    return timed


def _slices(count: int) -> Iterator[Dataset]:
    """CT slices of 512 x 512; `count` of them, one series for each patient."""
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    del ds[0xFFFC, 0xFFFC]
    ds.Rows = ds.Columns = 512
    numbers = [each for each in ds if each.tag.group in _VARYING and each.VR == "DS" and each.VM == 1]
    for number in range(count):
        patient, at = divmod(number, SLICES)
        _named(ds, patient, f"1.2.826.0.1.3680043.9.{patient + 1}", at)
        ds.SliceLocation = f"{-200 + at * 1.25:.4f}"
        ds.ImagePositionPatient = ["-158.135803", "-179.035797", ds.SliceLocation]
        ds.AcquisitionTime, ds.ContentTime = f"1129{at % 60:02}.{at:04}00", f"1130{at % 60:02}"
        ds.XRayTubeCurrent, ds.Exposure = 170 + at % 37, 150 + at % 23
        for place, element in enumerate(numbers[:8]):
            element.value = f"{100 + place + at * 0.37:.6f}"
        ds.PixelData = _pixels(512 * 512, number, 16)
        yield ds


def _films(count: int) -> Iterator[Dataset]:
    """DX films of five megapixels and 14 bits, each of another patient."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    for keyword, value in _DX.items():
        setattr(ds, keyword, value)
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399348003", "SCT", "antero-posterior"
    anatomy = Dataset()
    anatomy.CodeValue, anatomy.CodingSchemeDesignator, anatomy.CodeMeaning = "51185008", "SCT", "Chest"
    asked = Dataset()
    asked.RequestedProcedureID, asked.ScheduledProcedureStepID = "RP7", "SP7"
    asked.ScheduledProcedureStepDescription = "Chest pa"
    ds.ViewCodeSequence, ds.AnatomicRegionSequence, ds.RequestAttributesSequence = [view], [anatomy], [asked]
    for number in range(count):
        _named(ds, SETS["ct"] + number, f"1.2.826.0.1.3680043.9.9.{number + 1}", 0)
        ds.PixelData = _pixels(2560 * 1954, number, 14)
        yield ds


def _named(ds: Dataset, patient: int, study: str, at: int) -> None:
    ds.PatientName, ds.PatientID = f"Benchmark{chr(97 + patient % 26)}^Nobody", f"B{patient:06}"
    ds.PatientBirthDate, ds.AccessionNumber = f"19{40 + patient % 60}0101", f"A{patient:06}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"{study}.1.{at + 1}"
    ds.InstanceNumber = at + 1


def _pixels(samples: int, number: int, bits: int) -> bytes:
    at = (number * 7919) % 4096
    raw = bytearray((_NOISE[at:] + _NOISE * (2 * samples // len(_NOISE) + 1))[: 2 * samples])
    raw[1::2] = raw[1::2].translate(bytes(value & (1 << bits - 8) - 1 for value in range(256)))
    return bytes(raw)


_DX = {
    "SpecificCharacterSet": "ISO_IR 192",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "InstanceCreationDate": "20260114",
    "InstanceCreationTime": "101500",
    "StudyDate": "20260114",
    "SeriesDate": "20260114",
    "AcquisitionDate": "20260114",
    "ContentDate": "20260114",
    "StudyTime": "101000",
    "SeriesTime": "101100",
    "AcquisitionTime": "101200",
    "ContentTime": "101201",
    "Modality": "DX",
    "PresentationIntentType": "FOR PRESENTATION",
    "Manufacturer": "Maker",
    "InstitutionName": "Hospital of Nowhere",
    "InstitutionAddress": "1 Nowhere Street",
    "ReferringPhysicianName": "Refer^Nobody",
    "StationName": "DX1",
    "StudyDescription": "Chest pa",
    "SeriesDescription": "Thorax pa",
    "InstitutionalDepartmentName": "Radiology",
    "OperatorsName": "Operate^Nobody",
    "ManufacturerModelName": "Model 5",
    "PatientSex": "F",
    "PatientAge": "052Y",
    "PatientSize": "1.70",
    "PatientWeight": "70",
    "BodyPartExamined": "CHEST",
    "KVP": "125",
    "DeviceSerialNumber": "77301",
    "SoftwareVersions": "3.1",
    "DistanceSourceToDetector": "1800",
    "ExposureTime": "5",
    "XRayTubeCurrent": "320",
    "Exposure": "2",
    "ImagerPixelSpacing": ["0.168", "0.168"],
    "Grid": "FIXED",
    "FocalSpots": "1.2",
    "ViewPosition": "AP",
    "DetectorType": "DIRECT",
    "DetectorID": "D4471",
    "StudyID": "7",
    "SeriesNumber": "1",
    "AcquisitionNumber": "1",
    "PatientOrientation": ["L", "F"],
    "ImageLaterality": "U",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": 2560,
    "Columns": 1954,
    "BitsAllocated": 16,
    "BitsStored": 14,
    "HighBit": 13,
    "PixelRepresentation": 0,
    "BurnedInAnnotation": "NO",
    "PixelIntensityRelationship": "LOG",
    "PixelIntensityRelationshipSign": -1,
    "WindowCenter": "8192",
    "WindowWidth": "16384",
    "RescaleIntercept": "0",
    "RescaleSlope": "1",
    "RescaleType": "US",
    "LossyImageCompression": "00",
    "PresentationLUTShape": "IDENTITY",
}

if __name__ == "__main__":
    sys.exit(main())
