"""Frames over the wire: each equal to an independent extraction, in the type that was asked for."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from helpers.web_server import Answer, Papers, WebServer, make_ct, make_papers
from ribcage.guard.protocol import Disclose, DisclosureClosed

SAMPLES = Path(os.environ.get("RIBCAGE_DICOM_FILES", Path(__file__).parents[3] / "shared" / "data" / "dicom"))
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
AS_STORED = "multipart/related; type=application/octet-stream; transfer-syntax=*"  # as OHIF asks


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def shared(papers, tmp_path_factory):
    with WebServer(papers, tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture
def server(papers, tmp_path):
    with WebServer(papers, tmp_path / "objects") as running:
        yield running


def place(data_set: pydicom.Dataset) -> str:
    return (
        f"/dicom-web/studies/{data_set.StudyInstanceUID}/series/{data_set.SeriesInstanceUID}"
        f"/instances/{data_set.SOPInstanceUID}"
    )


def frames(server: WebServer, data_set: pydicom.Dataset, which: str = "1", accept: str = AS_STORED) -> Answer:
    return server.request("GET", f"{place(data_set)}/frames/{which}", headers={"Accept": accept})


def parts(answer: Answer) -> list[tuple[str, bytes]]:
    """Content-Type and body of each part."""
    boundary = answer.headers["content-type"].split("boundary=")[1].encode()
    found = []
    for piece in answer.body.split(b"\r\n--" + boundary)[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        found.append((head.decode().strip().removeprefix("Content-Type: "), body))
    return found


def expected_frames(data_set: pydicom.Dataset) -> list[bytes]:
    """What pydicom finds, or arithmetic of our own for native pixels."""
    count = int(data_set.get("NumberOfFrames", 1) or 1)
    if data_set.file_meta.TransferSyntaxUID not in NATIVE:
        return list(generate_frames(data_set.PixelData, number_of_frames=count))
    data = data_set.PixelData
    if data_set.file_meta.TransferSyntaxUID == ExplicitVRBigEndian and data_set["PixelData"].VR == "OW":
        swapped = bytearray(data)
        swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
        data = bytes(swapped)
    cells = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel
    if data_set.BitsAllocated == 1:
        bits = "".join(f"{byte:08b}"[::-1] for byte in data)
        cut = (bits[cells * n : cells * (n + 1)] for n in range(count))
        return [bytes(int(one[i : i + 8][::-1], 2) for i in range(0, len(one), 8)) for one in cut]
    size = cells * data_set.BitsAllocated // 8
    return [data[size * number : size * (number + 1)] for number in range(count)]


PICTURES = [path for path in sorted(SAMPLES.glob("*.dcm")) if b"\xe0\x7f\x10\x00" in path.read_bytes()]


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # pydicom on odd values in the public files
@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem[:40])
def test_frames_of_the_public_files_equal_an_independent_extraction(shared: WebServer, path: Path) -> None:
    file = path.read_bytes()
    if shared.store(file).status not in (200, 409):
        pytest.fail("the store neither took nor refused it")
    data_set = pydicom.dcmread(path, force=True)
    if not any(
        each.admit.attributes.sop_instance_uid == data_set.get("SOPInstanceUID")
        for each in shared.guard.committed()
    ):
        pytest.skip("refused at the way in")
    due = expected_frames(data_set)
    numbers = range(1, len(due) + 1)
    answer = frames(shared, data_set, ",".join(map(str, numbers)))
    assert answer.status == 200
    got = parts(answer)
    assert [body for _, body in got] == due
    stored = data_set.file_meta.TransferSyntaxUID
    syntax = stored if stored not in NATIVE else "1.2.840.10008.1.2.1"
    assert {kind.split("transfer-syntax=")[1] for kind, _ in got} == {syntax}
    one = frames(shared, data_set, str(len(due)), got[0][0])
    assert (one.status, one.body) == (200, due[-1])
    assert one.headers["content-length"] == str(len(due[-1]))
    assert frames(shared, data_set, str(len(due) + 1)).status == 404


@pytest.mark.parametrize("syntax", ["", ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (AS_STORED, 200),
        ('multipart/related; type="application/octet-stream"', 200),
        ("multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", 200),
        ("application/octet-stream", 200),
        ("application/octet-stream; transfer-syntax=*", 200),
        ("multipart/related", 200),
        ("*/*", 200),
        ("", 200),
        ("image/jpeg; q=1, application/octet-stream; q=0.5", 200),
        ("image/jpeg", 406),
        ("multipart/related; type=image/jp2", 406),
        ("application/dicom", 406),
        ("application/octet-stream;q=0", 406),
        ("no type", 400),
    ],
)
def test_media_types_of_native_frames(shared: WebServer, syntax: str, accept: str, status: int) -> None:
    file, data_set = make_ct(**({"syntax": syntax} if syntax else {}))
    assert shared.store(file).status == 200
    answer = frames(shared, data_set, "1", accept)
    assert answer.status == status
    if status == 200:
        due = expected_frames(data_set)[0]
        single = answer.headers["content-type"].startswith("application/octet-stream")
        assert (answer.body if single else parts(answer)[0][1]) == due


@pytest.mark.parametrize(
    ("which", "status"),
    [
        ("1,1", 200),
        ("2", 404),
        ("0", 400),
        ("1,", 400),
        ("a", 400),
        ("1" * 10, 400),
        (",".join("1" * 1001), 400),
    ],
)
def test_frame_lists(shared: WebServer, which: str, status: int) -> None:
    file, data_set = make_ct()
    assert shared.store(file).status == 200
    answer = frames(shared, data_set, which)
    assert answer.status == status
    if status == 200:
        assert len(parts(answer)) == 2


def test_frames_of_one_study_share_a_disclosure_and_count_what_left(server: WebServer) -> None:
    file, data_set = make_ct(rows=64)
    assert server.store(file).status == 200
    for _ in range(3):
        assert frames(server, data_set, "1").status == 200
    assert frames(server, data_set, "1", "image/jpeg").status == 406
    assert len(server.guard.of(Disclose)) == 1
    server.end_viewings()
    (closed,) = server.guard.of(DisclosureClosed)
    assert (closed.instances, closed.octets, closed.outcome) == (1, 3 * 64 * 64 * 2, "complete")


def test_single_part_frames_need_one_frame(shared: WebServer) -> None:
    file, data_set = make_ct()
    assert shared.store(file).status == 200
    assert frames(shared, data_set, "1,1", "application/octet-stream").status == 406


def test_an_instance_without_pixels_has_no_frames(shared: WebServer) -> None:
    _, data_set = make_ct()
    del data_set.PixelData
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    buffer = BytesIO()
    data_set.save_as(buffer)
    assert shared.store(buffer.getvalue()).status == 200
    assert frames(shared, data_set).status == 404
