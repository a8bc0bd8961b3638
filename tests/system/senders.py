"""What the system tests send with: whole files by STOW-RS, raw data sets by C-STORE."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread

from helpers import raw_scu
from helpers.archive import Archive, Browser, Identity, Reply
from ribcage.dicom import part10

SUCCESS = 0x0000
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
BOUNDARY = b"system-tests"


@dataclass(frozen=True)
class Instance:
    """One file, taken apart by pydicom and by the file meta reader."""

    file: bytes
    data_set: bytes
    transfer_syntax: str
    sop_class: str
    uid: str
    study: str
    series: str

    @property
    def path(self) -> str:
        return f"studies/{self.study}/series/{self.series}/instances/{self.uid}"


def instance_of(file: bytes) -> Instance:
    """Read `file`; what it does not say is ''."""
    meta = part10.split(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of UIDs that are long since in use
        found = dcmread(BytesIO(file), stop_before_pixels=True, force=True)
        uids = [str(found.get(each, "")) for each in _UIDS]
    return Instance(
        file=file,
        data_set=file[meta.prefix_bytes :],
        transfer_syntax=meta.transfer_syntax_uid,
        sop_class=uids[0],
        uid=uids[1],
        study=uids[2],
        series=uids[3],
    )


def multipart(files: Iterable[bytes], boundary: bytes = BOUNDARY) -> bytes:
    """A STOW-RS request body."""
    parts = [b"--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + f + b"\r\n" for f in files]
    return b"".join(parts) + b"--" + boundary + b"--\r\n"


def stow(browser: Browser, *files: bytes) -> Reply:
    """Store whole files."""
    return browser.request(
        "/dicom-web/studies",
        multipart(files),
        Content_Type=f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}',
        Accept="application/dicom+json",
    )


def send(archive: Archive, identity: Identity, one: Instance, *, uid: str = "") -> int:
    """C-STORE of the data set as it stands behind the file meta; the status."""
    return raw_scu.store(
        archive.dicom,
        identity.context(),
        identity.ae_title,
        "RIBCAGE",
        one.sop_class or SECONDARY_CAPTURE,
        uid or one.uid or "1.2.3",
        one.transfer_syntax,
        one.data_set,
    )
