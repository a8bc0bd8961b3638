"""Bulk data, ranges and pictures over the wire; the cage is the real one."""

from __future__ import annotations

import io
import json
import os
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian

from helpers.web_server import Answer, Papers, WebServer, make_ct, make_papers
from ribcage.cage import Cage
from ribcage.transfer.dicomweb.principal import session_cookie

SAMPLES = Path(os.environ.get("RIBCAGE_DICOM_FILES", Path(__file__).parents[3] / "shared" / "data" / "dicom"))


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def server(papers, tmp_path_factory):
    with WebServer(papers, tmp_path_factory.mktemp("objects"), cage=Cage()) as running:
        yield running


def place(data_set: pydicom.Dataset) -> str:
    return (
        f"/dicom-web/studies/{data_set.StudyInstanceUID}/series/{data_set.SeriesInstanceUID}"
        f"/instances/{data_set.SOPInstanceUID}"
    )


def stored(server: WebServer, data_set: pydicom.Dataset) -> pydicom.Dataset:
    buffer = BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    assert server.store(buffer.getvalue()).status == 200
    return data_set


def get(server: WebServer, path: str, **headers: str) -> Answer:
    return server.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})


def uris(model: object) -> list[str]:
    """Every BulkDataURI of a metadata answer."""
    if isinstance(model, list):
        return [uri for each in model for uri in uris(each)]
    if isinstance(model, dict):
        own = [model["BulkDataURI"]] if "BulkDataURI" in model else []
        return own + [uri for each in model.values() for uri in uris(each)]
    return []


def test_every_bulk_data_uri_resolves_nested_ones_too(server: WebServer) -> None:
    _, data_set = make_ct()
    waveform = pydicom.Dataset()
    waveform.WaveformBitsAllocated = 16
    waveform.WaveformData = bytes(range(256)) * 8
    waveform["WaveformData"].VR = "OW"
    data_set.WaveformSequence = [pydicom.Dataset(), waveform]
    stored(server, data_set)
    (item,) = json.loads(get(server, place(data_set) + "/metadata").body)
    found = {uri.rpartition("/bulkdata/")[2]: uri for uri in uris(item)}
    assert set(found) == {"54000100/1/54001010", "7FE00010"}
    for path, due in (("54000100/1/54001010", waveform.WaveformData), ("7FE00010", data_set.PixelData)):
        assert found[path].startswith(server.origin + place(data_set))
        answer = get(server, found[path].removeprefix(server.origin))
        assert (answer.status, answer.body) == (200, due)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-length"] == str(len(due))
        many = get(
            server,
            found[path].removeprefix(server.origin),
            Accept="multipart/related; type=application/octet-stream",
        )
        assert many.body.split(b"\r\n\r\n", 1)[1].startswith(due)


@pytest.mark.parametrize(
    "path",
    [
        "54000100",
        "00100010",
        "7FE00009",
        "7fe00010",
        "0/1",
        "7FE00010/0",
        "54000100/9/54001010",
        "x" * 500,
        "%00",
        "00080005/../..",
    ],
)
def test_addresses_that_metadata_never_named_are_not_found(server: WebServer, path: str) -> None:
    data_set = stored(server, make_ct()[1])
    assert get(server, f"{place(data_set)}/bulkdata/{path}").status in (400, 404)


@pytest.mark.parametrize(
    ("field", "status", "due"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=4096-", 206, slice(4096, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=0-99999999", 206, slice(0, None)),
        ("bytes=8191-8191", 206, slice(8191, None)),
        ("bytes=8192-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-2", 200, slice(0, None)),
        ("bytes=0-1,5-6", 200, slice(0, None)),
        ("bytes=a-b", 200, slice(0, None)),
        ("items=0-1", 200, slice(0, None)),
    ],
)
def test_ranges(server: WebServer, field: str, status: int, due: slice | None) -> None:
    data_set = stored(server, make_ct()[1])
    answer = get(server, place(data_set) + "/bulkdata/7FE00010", Range=field)
    assert answer.status == status
    if due is None:
        assert answer.headers["content-range"] == "bytes */8192"
    else:
        assert answer.body == data_set.PixelData[due]
        assert answer.headers["content-length"] == str(len(answer.body))


def test_big_endian_pixels_leave_little_endian(server: WebServer) -> None:
    file, data_set = make_ct(syntax=ExplicitVRBigEndian)
    assert server.store(file).status == 200
    answer = get(server, place(data_set) + "/bulkdata/7FE00010")
    assert answer.body[0::2] == data_set.PixelData[1::2]


def encapsulated(sop_class: str, syntax: str, value: bytes) -> pydicom.Dataset:
    """An instance of one fragment that nobody decodes."""
    _, data_set = make_ct(sop_class=sop_class)
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.NumberOfFrames = 30
    data_set.PixelData = pydicom.encaps.encapsulate([value], has_bot=False)
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return data_set


def test_video_is_played_as_it_is_with_range(server: WebServer) -> None:
    movie = os.urandom(70_000)
    data_set = encapsulated("1.2.840.10008.5.1.4.1.1.77.1.4.1", "1.2.840.10008.1.2.4.102", movie)
    data_set = stored(server, data_set)
    for suffix in ("/rendered", "/rendered?accept=video/mp4", "/bulkdata/7FE00010?accept=video/mp4"):
        answer = get(server, place(data_set) + suffix)
        assert (answer.status, answer.body) == (200, movie)
        assert answer.headers["content-type"] == "video/mp4"
    part = get(server, place(data_set) + "/rendered", Range="bytes=69990-", Accept="video/*")
    assert (part.status, part.body) == (206, movie[-10:])
    assert get(server, place(data_set) + "/thumbnail").status == 406


def test_a_document_is_its_own_rendering(server: WebServer) -> None:
    pdf = b"%PDF-1.4 " + bytes(5000) + b"%%EOF"
    _, data_set = make_ct(sop_class="1.2.840.10008.5.1.4.1.1.104.1")
    del data_set.PixelData
    data_set.MIMETypeOfEncapsulatedDocument = "application/pdf"
    data_set.EncapsulatedDocument = pdf
    stored(server, data_set)
    for suffix in (
        "/rendered",
        "/rendered?accept=application/pdf",
        "/bulkdata/00420011?accept=application/pdf",
    ):
        answer = get(server, place(data_set) + suffix)
        assert (answer.status, answer.body) == (200, pdf)
        assert answer.headers["content-type"] == "application/pdf"
    assert get(server, place(data_set) + "/rendered", Range="bytes=0-3").body == b"%PDF"
    plain = get(server, place(data_set) + "/bulkdata/00420011", Accept="application/octet-stream")
    assert plain.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("suffix", "status", "media_type"),
    [
        ("/rendered", 200, "image/jpeg"),
        ("/rendered?accept=image/png", 200, "image/png"),
        ("/frames/1/rendered?window=40,400,linear&viewport=32,32&quality=50", 200, "image/jpeg"),
        ("/rendered?window=40,400&annotation=patient", 200, "image/jpeg"),
        ("/thumbnail", 200, "image/jpeg"),
        ("/frames/1/thumbnail", 200, "image/jpeg"),
        ("/frames/2/rendered", 404, ""),
        ("/frames/1,2/rendered", 400, ""),
        ("/rendered?window=a,b", 400, ""),
        ("/rendered?window=40", 400, ""),
        ("/rendered?window=40,-1,linear", 400, ""),
        ("/rendered?viewport=1", 400, ""),
        ("/rendered?quality=0", 400, ""),
        ("/rendered?quality=abc", 400, ""),
        ("/rendered?accept=application/pdf", 406, ""),
    ],
)
def test_pictures(server: WebServer, suffix: str, status: int, media_type: str) -> None:
    data_set = stored(server, make_ct()[1])
    answer = get(server, place(data_set) + suffix)
    assert answer.status == status
    if status == 200:
        assert answer.headers["content-type"] == media_type
        assert Image.open(io.BytesIO(answer.body)).format == media_type.removeprefix("image/").upper()
        assert answer.headers["content-location"].split("/")[-3:-1] == ["frames", "1"]
        assert ("annotation" in suffix) == ("warning" in answer.headers)


def test_thumbnails_of_study_and_series(server: WebServer) -> None:
    data_set = stored(server, make_ct()[1])
    study = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    for path in (study, f"{study}/series/{data_set.SeriesInstanceUID}"):
        answer = get(server, path + "/thumbnail", Accept="image/jpeg")
        assert answer.status == 200
        assert max(Image.open(io.BytesIO(answer.body)).size) <= 256
        picture = get(server, path + "/rendered", Accept="image/jpeg")
        assert picture.status == 200
        assert data_set.SOPInstanceUID in picture.headers["content-location"]


def test_a_persons_picture_carries_a_visible_mark_and_a_devices_none(server: WebServer) -> None:
    data_set = stored(server, make_ct(rows=512)[1])
    path = place(data_set) + "/rendered?accept=image/png"
    cookie = session_cookie(server.guard.new_session(), 100).partition(";")[0]
    marked = server.request("GET", path, headers={"Cookie": cookie}, device=False)
    plain = get(server, path)
    assert (marked.status, plain.status) == (200, 200)
    assert Image.open(io.BytesIO(marked.body)).tobytes() != Image.open(io.BytesIO(plain.body)).tobytes()


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on odd values in the public files
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.dcm")), ids=lambda path: path.stem[:40])
def test_every_public_file_is_a_picture_or_a_clear_refusal(server: WebServer, path: Path) -> None:
    if server.store(path.read_bytes()).status != 200:
        pytest.skip("refused at the way in")
    data_set = pydicom.dcmread(path, force=True)
    answer = get(server, place(data_set) + "/rendered")
    assert answer.status in (200, 404, 406, 422), answer.body
    if answer.status == 200:
        assert Image.open(io.BytesIO(answer.body)).format == "JPEG"
    else:
        assert set(json.loads(answer.body)) == {"error", "hint"}
    decoded = get(server, place(data_set) + "/frames/1", Accept="application/octet-stream")
    assert decoded.status in (200, 404, 406, 422)
    if decoded.status == 200 and "Rows" in data_set:
        bits = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel * data_set.BitsAllocated
        assert len(decoded.body) in (-(-bits // 8), -(-bits // 12))
    print(path.name, answer.status, decoded.status)
