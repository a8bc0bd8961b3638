"""A masked session's every byte, over every route, holds none of the seeded identities."""

from __future__ import annotations

import io
import json

import numpy
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from helpers.web_server import Answer, Papers, WebServer, make_ct, make_papers
from ribcage.cage import Cage
from ribcage.transfer.dicomweb.principal import session_cookie

SEEDS = ("Wang", "Xiaodong", "王", "小东", "ID-4711", "Chest", "20240102", "Zhongshan", "ACC-99")


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def server(papers, tmp_path_factory):
    with WebServer(papers, tmp_path_factory.mktemp("objects"), cage=Cage()) as running:
        running.guard.view = "masked"
        yield running


def seeded(compressed: bool) -> tuple[bytes, pydicom.Dataset]:
    """An image with identities wherever a modality may leave them: nested, private, behind and inside the pixels."""
    _, data_set = make_ct()
    data_set.AccessionNumber, data_set.InstitutionName = "ACC-99", "Zhongshan"
    data_set.ImageComments = "Wang Xiaodong ID-4711 " * 100
    item = pydicom.Dataset()
    item.PatientID, item.StudyDescription = "ID-4711", "Chest"
    data_set.ReferencedStudySequence = [item]
    data_set.add_new(0x00091001, "UN", b"Wang^Xiaodong" * 200)
    data_set.add_new(0x00090010, "LO", "Zhongshan")
    data_set.add_new(0xFFFCFFFC, "OB", b"Wang^Xiaodong ID-4711 ")
    if compressed:
        picture = Image.fromarray(numpy.arange(64 * 64, dtype="uint8").reshape(64, 64))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", exif=b"Exif\0\0Wang^Xiaodong ID-4711", comment=b"Zhongshan ACC-99")
        frame = buffer.getvalue() + b"Wang^Xiaodong"
        data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        data_set.BitsAllocated = data_set.BitsStored = 8
        data_set.HighBit = 7
        data_set.NumberOfFrames = 2
        data_set.PixelData = encapsulate([frame, frame])
        data_set["PixelData"].VR = "OB"
        data_set["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    assert all(seed.encode() in file.getvalue() for seed in SEEDS)
    return file.getvalue(), data_set


def search(answer: Answer) -> list[str]:
    """Seeds in head or body."""
    head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    texts = (head.encode(), answer.body)
    return [
        seed for seed in SEEDS for text in texts if seed.encode() in text or seed.encode("utf-16-le") in text
    ]


@pytest.mark.parametrize("compressed", [False, True])
def test_no_route_gives_a_masked_session_an_identity(server: WebServer, compressed: bool) -> None:
    file, data_set = seeded(compressed)
    assert server.store(file).status == 200
    study = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    series = f"{study}/series/{data_set.SeriesInstanceUID}"
    instance = f"{series}/instances/{data_set.SOPInstanceUID}"
    cookie = session_cookie(server.guard.new_session(1), 100).partition(";")[0]

    def ask(path: str, **headers: str) -> Answer:
        given = {"Cookie": cookie} | {name.replace("_", "-"): value for name, value in headers.items()}
        return server.request("GET", path, headers=given, device=False)

    good = [
        *(path + suffix for path in (study, series, instance) for suffix in ("", "/metadata", "/thumbnail")),
        f"{instance}/frames/1", f"{instance}/rendered", f"{instance}/rendered?accept=image/png",
        f"{instance}/frames/1/rendered?window=40,400&annotation=patient,technique", f"{instance}/frames/1/thumbnail",
        f"{instance}/bulkdata/7FE00010", f"/studies/{data_set.StudyInstanceUID}/download",
    ]  # fmt: skip
    bad = [
        f"{instance}/frames/99", f"{instance}/bulkdata/00091001", f"{instance}/bulkdata/00204000",
        f"{instance}/bulkdata/FFFCFFFC", f"{instance}/bulkdata/00081110/0/00100020", f"{instance}/frames/x",
    ]  # fmt: skip
    for path in good:
        answer = ask(path)
        assert answer.status == 200, (path, answer.body)
        assert answer.headers["x-ribcage-view"] == "masked"
        assert search(answer) == [], path
    for path in bad:
        answer = ask(path)
        assert answer.status in (400, 404), path
        assert search(answer) == [], path
    if compressed:
        assert (
            search(
                ask(f"{instance}/frames/1,2", Accept="multipart/related; type=image/jpeg; transfer-syntax=*")
            )
            == []
        )
        plain = ask(f"{instance}/frames/2", Accept="application/octet-stream")
        assert (plain.status, len(plain.body), search(plain)) == (200, 64 * 64, [])
    (item,) = json.loads(ask(f"{instance}/metadata").body)
    assert [name for name, each in item.items() if "BulkDataURI" in each] == ["7FE00010"]


def test_the_masked_file_of_compressed_frames_shows_the_same_pixels(server: WebServer) -> None:
    file, data_set = seeded(True)
    assert server.store(file).status == 200
    answer = server.request("GET", f"/dicom-web/studies/{data_set.StudyInstanceUID}")
    body = answer.body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
    masked = pydicom.dcmread(io.BytesIO(body))
    shown, due = (
        list(pydicom.encaps.generate_frames(each.PixelData, number_of_frames=2))
        for each in (masked, data_set)
    )
    assert [Image.open(io.BytesIO(frame)).tobytes() for frame in shown] == [
        Image.open(io.BytesIO(frame)).tobytes() for frame in due
    ]


def test_a_compression_without_rule_is_withheld_with_the_offer_of_a_step_up(server: WebServer) -> None:
    _, data_set = make_ct(sop_class="1.2.840.10008.5.1.4.1.1.3.1")
    data_set.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    data_set.PixelData = encapsulate([bytes(5000)])
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    assert server.store(file.getvalue()).status == 200
    study = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    instance = f"{study}/series/{data_set.SeriesInstanceUID}/instances/{data_set.SOPInstanceUID}"
    for path in (
        study,
        instance,
        f"{instance}/frames/1",
        f"{instance}/rendered",
        f"{instance}/bulkdata/7FE00010",
    ):
        answer = server.request("GET", path)
        assert (answer.status, answer.headers.get("x-ribcage-step-up")) == (403, "totp"), path
    assert server.request("GET", instance + "/metadata").status == 200
