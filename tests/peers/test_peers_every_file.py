"""Every public sample file out by each protocol in each transfer syntax; and what a validator says of what left.

The validator is dciodvfy (dicom3tools). What it says of an object that came is the sender's affair; of what left it
must say no more.
"""

from __future__ import annotations

import os
import re
import subprocess
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from helpers.front_house import EXPLICIT_LE
from helpers.reports import file_of, report
from peers.every_file import (
    IMPLICIT_LE,
    PROTOCOLS,
    STORED,
    SYNTAXES,
    EveryFile,
    as_file,
    stored_files,
)
from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.guard.protocol import CorrectedPatient
from ribcage.oversight.studies import make_study
from ribcage.usage.corrected import corrected_header
from ribcage.usage.pseudonyms import masked_id, masked_name
from system.senders import SUCCESS, Instance, instance_of, send, stow
from system.test_sys_formats import FILES, FOLDER, REFUSED

MASKED, SAVED, CORRECTED = "masked", "saved", "corrected"
DCIODVFY = Path("/usr/bin/dciodvfy")
NAMES = [file.name for file in FILES if file.name not in REFUSED]
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not FILES, reason=f"no sample files in {FOLDER.name}: set RIBCAGE_DICOM_FILES"),
]
# Compressed with JPEG XL, which nothing in the cage reads: leaves as stored and not otherwise.
NOT_CONVERTIBLE = {"dcm4che__will-jxl.dcm"}
# Findings besides those of the original, each with the reason for which it stands.
EXPECTED = {
    # PS3.3 C.8.5.6.1.2 has YBR_FULL for RLE alone; another colour space would change the samples by rounding
    EXPLICIT_LE: r"Error - Unrecognized enumerated value <0> for value 1 of attribute <Planar Configuration>"
    r"|Error - Unrecognized enumerated value <…> for value 1 of attribute <Photometric Interpretation>",
    # the same; and the validator takes the VR of a private element, which Implicit VR does not tell, from a list of
    # other makers' elements
    IMPLICIT_LE: r"Error - Unrecognized enumerated value <(0|…)> for value 1 of attribute <P\w+ \w+>"
    r"|Error - Value invalid for this VR - \(0x[0-9a-f]{3}[13579bdf],.*",
    # empty on purpose (type 2); nobody makes a DICOMDIR of the masked view
    MASKED: "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study (Date|Time|ID)",
    # the validator shows bytes: of a name that became UTF-8 the same finding is another line
    CORRECTED: "Warning - Value dubious for this VR - .* PN .* - Retired Person Name form",
    # PS3.5 6.2, DT: the offset may stand behind a day without hours; the validator wants hours before it
    SAVED: r"Error - Value invalid for this VR - \(0x0400,0x0562\) DT .* DT \[1\] = <\d{8}\+0000> - .*"
    "|Error - Dicom dataset contains invalid data values for Value Representations",
}
NAMED = CorrectedPatient("P2", "HOSP", "Wang^Lei=王^磊", "19800102", "M", 1_800_000_000.0)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryFile]:
    with stored_files(tmp_path_factory.mktemp("every")) as made:
        yield made


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom on files that are as they are
        yield


@pytest.fixture(scope="module")
def validator() -> Path:
    if not DCIODVFY.exists():
        if os.environ.get("CI"):
            pytest.fail("dciodvfy is not installed: .ci/run installs it")
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    return DCIODVFY


def original(name: str) -> Instance:
    return instance_of((FOLDER / name).read_bytes())


def inflated(one: Instance) -> bytes:
    """The file with this data set, deflated ones inflated: the validator reads no deflated ones."""
    if lookup(one.transfer_syntax).deflated:
        return as_file(one, EXPLICIT_LE, zlib.decompress(one.data_set, -zlib.MAX_WBITS))
    return as_file(one, one.transfer_syntax, one.data_set)


def findings(validator: Path, folder: Path, file: bytes) -> Counter[str]:
    """Its lines, without what differs by the encoding alone: names in another character set, the colour space."""
    path = folder / "object.dcm"
    path.write_bytes(file)
    done = subprocess.run([validator, path], capture_output=True, timeout=60, check=False)
    text = re.sub(r"[^\x00-\x7f]+", "?", (done.stdout + done.stderr).decode("ascii", "replace"))
    text = re.sub(r"<(YBR_\w+|RGB)>", "<…>", text)
    return Counter(line for line in text.split("\n") if line.startswith(("Error", "Warning", "(0x")))


def new_findings(kind: str, before: Counter[str], after: Counter[str]) -> list[str]:
    """What the validator says of what left and did not say of what came, but for what is expected."""
    return [each for each in after - before if not re.fullmatch(EXPECTED[kind], each)]


def elements(file: bytes, *, with_pixels: bool) -> list[tuple[int, str]]:
    """What a reader sees, but for what a conversion must change: bulk data and what tells how it is encoded."""
    data = dcmread(BytesIO(file))
    pixels = set() if with_pixels else {0x7FE00010, 0x7FE00001, 0x7FE00002, 0x00280004, 0x00280006}
    return [
        (int(each.tag), each.keyword) for each in data if int(each.tag) not in pixels and each.tag.element
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_gives_every_syntax(name: str, every: EveryFile) -> None:
    one, shelf = original(name), every.shelf(name)
    compressed = lookup(one.transfer_syntax).encapsulated
    for wanted in SYNTAXES:
        answers = {protocol: shelf.ask(protocol, one, wanted) for protocol in PROTOCOLS}
        web = answers["WADO-RS"]
        if wanted == IMPLICIT_LE != one.transfer_syntax:  # PS3.18 8.7.3.5.2: Implicit VR is not for DICOMweb
            assert (web.status, web.data_set) == (406, b"")
            del answers["WADO-RS"]
        if wanted != STORED and name in NOT_CONVERTIBLE:
            assert {answer.data_set for answer in answers.values()} == {b""}
            assert all(answer.status in (0xA702, 406) for answer in answers.values())
            continue
        assert {answer.status for answer in answers.values()} == {SUCCESS}, wanted
        assert {answer.syntax for answer in answers.values()} == {
            one.transfer_syntax if wanted == STORED else wanted
        }
        (data_set,) = {answer.data_set for answer in answers.values()}  # the same bytes by each protocol
        if wanted in (STORED, one.transfer_syntax):
            assert data_set == one.data_set
            continue
        came, left = as_file(one, one.transfer_syntax, one.data_set), as_file(one, wanted, data_set)
        assert elements(came, with_pixels=not compressed) == elements(left, with_pixels=not compressed)
        if not compressed and "PixelData" in (before := dcmread(BytesIO(came))):
            assert np.array_equal(before.pixel_array, dcmread(BytesIO(left)).pixel_array)


@pytest.mark.parametrize("name", NAMES)
def test_what_leaves_has_no_finding_that_the_original_had_not(
    name: str, every: EveryFile, validator: Path, tmp_path: Path
) -> None:
    one, shelf = original(name), every.shelf(name)
    known = findings(validator, tmp_path, inflated(one))
    left: dict[str, bytes] = {}
    if name not in NOT_CONVERTIBLE:
        for wanted in (EXPLICIT_LE, IMPLICIT_LE):
            left[wanted] = as_file(one, wanted, shelf.ask("C-GET", one, wanted).data_set)
    if masked := shelf.masked(one):
        left[MASKED] = masked
    for kind, file in left.items():
        assert new_findings(kind, known, findings(validator, tmp_path, file)) == [], kind


@pytest.mark.parametrize("name", NAMES)
def test_a_corrected_patient_adds_no_finding(name: str, validator: Path, tmp_path: Path) -> None:
    one = original(name)
    known = findings(validator, tmp_path, inflated(one))
    data_set = corrected_header(one.data_set, one.transfer_syntax, NAMED)
    after = findings(validator, tmp_path, inflated(replace(one, data_set=data_set)))
    assert new_findings(CORRECTED, known, after) == []


def saved_objects() -> dict[str, Dataset]:
    """What a viewer makes of a masked study: a report, a presentation state, a segmentation."""
    film = make_study(73, 1)
    name, identifier = masked_name(film.study_uid), masked_id(film.study_uid)
    made = {}
    for number, (kind, sop_class, modality) in enumerate(
        (("SR", "", "SR"), ("GSPS", "1.2.840.10008.5.1.4.1.1.11.1", "PR"), ("SEG", "", "SEG"))
    ):
        data = report(film.study_uid, film.series_uid, (film.instance_uid,), name, identifier)
        if kind == "SEG":
            mine = data
            data = dcmread(FOLDER / "highdicom__seg_image_cr_binary.dcm")
            for keyword in (
                "StudyInstanceUID",
                "SeriesInstanceUID",
                "SOPInstanceUID",
                "PatientName",
                "PatientID",
            ):
                setattr(data, keyword, mine[keyword].value)
            for each in data.iterall():
                if each.keyword == "ReferencedSOPInstanceUID":
                    each.value = film.instance_uid
        data.SOPClassUID, data.Modality = sop_class or data.SOPClassUID, modality
        data.InstanceNumber = number + 1
        made[kind] = data
    return made


@pytest.mark.parametrize("kind", ["SR", "GSPS", "SEG"])
def test_what_a_masked_session_saved_has_no_finding_that_it_had_not(
    kind: str, every: EveryFile, validator: Path, tmp_path: Path
) -> None:
    shelf, film = every.first, make_study(73, 1)
    assert send(shelf.archive, shelf.station, instance_of(film.file)) == SUCCESS
    file = file_of(saved_objects()[kind])
    one = instance_of(file)
    assert stow(shelf.reader, file).status == 202
    saved = as_file(one, one.transfer_syntax, shelf.ask("C-GET", one, STORED).data_set)
    assert str(dcmread(BytesIO(saved)).PatientID) == film.identity.patient_id
    before, after = (findings(validator, tmp_path, each) for each in (file, saved))
    assert new_findings(SAVED, before, after) == []
