"""Attacks on what was de-identified: an identity where tools do not look, links that nobody should be able to do."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from pydicom.encaps import encapsulate

from dicom.data_builders import JPEG, item, sequence
from helpers.deid_objects import KEY, NUMBER, ct, engine, file_of, leaks, read
from ribcage.usage.deid.batch import BatchLimits, Job, entries, run
from ribcage.usage.deid.errors import NotReleased
from ribcage.usage.deid.profile import packaged
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.tables import Option


def _leaves(data: bytes) -> bool:
    """Whether a name leaves with this file."""
    try:
        return bool(leaks(bytes(engine(Option.DESCRIPTORS).release(data))))
    except NotReleased:
        return False


def name_in_a_private_item(_: Path) -> bool:
    """A name in a private attribute of an item of a sequence that stays."""
    inner = item(CodeValue="121106", CodingSchemeDesignator="DCM", CodeMeaning="Comment")
    inner.add_new(0x00090010, "LO", "SOME VENDOR")
    inner.add_new(0x00091001, "LO", "LEAKED ZHANGWEI")
    return _leaves(file_of(ct(ViewCodeSequence=sequence(inner))))


def name_in_an_unknown_attribute(_: Path) -> bool:
    """A name in an attribute that the table does not name."""
    return _leaves(file_of(ct(PatientSpeciesDescription="LEAKED ZHANGWEI")))


def name_in_the_preamble(_: Path) -> bool:
    """A picture's head with a name before the file begins."""
    return _leaves(file_of(ct(), preamble=b"II*\0 LEAKED ZHANGWEI"))


def name_behind_the_pixels(_: Path) -> bool:
    """A name in the padding behind the last attribute."""
    ds = ct()
    ds.add_new(0xFFFCFFFC, "OB", b"LEAKED ZHANGWEI ")
    return _leaves(file_of(ds))


def name_in_a_jpeg_comment(_: Path) -> bool:
    """A name in a comment inside a compressed frame."""
    frame = io.BytesIO()
    Image.new("L", (16, 16), 80).save(frame, "JPEG", comment=b"LEAKED ZHANGWEI")
    ds = ct(Rows=16, Columns=16, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = encapsulate([frame.getvalue()])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return _leaves(file_of(ds, JPEG))


def name_in_a_description(_: Path) -> bool:
    """A name in a description that is reduced to known words."""
    return _leaves(file_of(ct(StudyDescription="chest of LEAKED ZHANGWEI")))


def text_in_the_pixels(_: Path) -> bool:
    """A screen shot that nobody has read."""
    try:
        engine().release(file_of(ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ConversionType="WSD")))
    except NotReleased:
        return False
    return True


def guessed_patient_ids(_: Path) -> bool:
    """Somebody without the key tries all patient IDs of the hospital."""
    out = read(engine().release(file_of(ct())))
    guesses = Pseudonyms(b"\0" * 32)
    return out.PatientID in {guesses.name(guesses.patient(one, "", "")) for one in (NUMBER, "RB7734216")}


def linked_projects(_: Path) -> bool:
    """Two projects' sets are laid side by side."""
    data = file_of(ct(StudyInstanceUID="1.2.77"))
    one, other = (read(engine(key=bytes([number]) * 32).release(data)) for number in (1, 2))
    return bool({one.PatientID, one.StudyInstanceUID} & {other.PatientID, other.StudyInstanceUID})


def two_patients_in_a_study(folder: Path) -> bool:
    """A stranger's slice among a patient's, so that both get one pseudonymous study."""
    (folder / "in").mkdir()
    (folder / "in" / "1").write_bytes(file_of(ct()))
    (folder / "in" / "2").write_bytes(file_of(ct(SOPInstanceUID="1.2.3.5", PatientID="SOMEBODY77")))
    job = Job(packaged("research-basic"), KEY, folder / "out")
    run(job, entries(folder / "in", BatchLimits()), folder / "journal", processes=1)
    return bool(list((folder / "out").rglob("*.dcm")))
