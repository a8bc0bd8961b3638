"""What a peer accepts against what each resource can give: a table, q-values, XML, gzip, and refusals."""

from __future__ import annotations

import email
import gzip
import io
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ImplicitVRLittleEndian

from helpers.web_server import Papers, WebServer, make_ct, make_papers
from ribcage.dicom.json_model import to_json_model
from ribcage.dicom.native_model import NAMESPACE, to_native_model
from ribcage.dicom.scan import scan
from ribcage.transfer.dicomweb.errors import BadRequest, NotAcceptable
from ribcage.transfer.dicomweb.negotiation import (
    choose_syntaxes,
    file_forms,
    parse_accept,
    require_charset,
    require_model,
    require_response,
)
from ribcage.transfer.dicomweb.principal import session_cookie

EXPLICIT, IMPLICIT, J2K = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90"
XML = 'multipart/related; type="application/dicom+xml"'
FILES = 'multipart/related; type="application/dicom"'
DCM2XML = "/usr/bin/dcm2xml"


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def server(papers, tmp_path_factory):
    with WebServer(papers, tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture(scope="module")
def stored(server):
    file, data_set = make_ct()
    assert server.store(file).status == 200
    study = f"/dicom-web/studies/{data_set.StudyInstanceUID}"
    instance = f"{study}/series/{data_set.SeriesInstanceUID}/instances/{data_set.SOPInstanceUID}"
    return {
        "study": study, "instance": instance, "metadata": f"{study}/metadata", "one metadata": f"{instance}/metadata",
        "search": "/dicom-web/studies?limit=1", "frames": f"{instance}/frames/1",
        "bulk data": f"{instance}/bulkdata/7FE00010", "file": file, "data set": data_set,
    }  # fmt: skip


JSON_ANSWER, XML_ANSWER = "application/dicom+json", 'multipart/related; type="application/dicom+xml"'
PARTS, OCTETS = 'multipart/related; type="application/dicom"', "application/octet-stream"
OCTET_PARTS = 'multipart/related; type="application/octet-stream"'
NO = None
TABLE = {  # Accept: what answers for study, instance, metadata, search, frames, bulk data; None is 406
    "": (PARTS, PARTS, JSON_ANSWER, JSON_ANSWER, OCTET_PARTS, OCTETS),
    "*/*": (PARTS, PARTS, JSON_ANSWER, JSON_ANSWER, OCTET_PARTS, OCTETS),
    "application/dicom+json": (NO, NO, JSON_ANSWER, JSON_ANSWER, NO, NO),
    "application/json": (NO, NO, "application/json", "application/json", NO, NO),
    "application/dicom+json; charset=utf-8": (NO, NO, JSON_ANSWER, JSON_ANSWER, NO, NO),
    "application/dicom+json; charset=gb18030": (NO,) * 6,
    XML: (NO, NO, XML_ANSWER, XML_ANSWER, NO, NO),
    f"{XML}; q=0.9, application/dicom+json; q=0.8": (NO, NO, XML_ANSWER, XML_ANSWER, NO, NO),
    f"{XML}; q=0.1, application/dicom+json; q=0.8": (NO, NO, JSON_ANSWER, JSON_ANSWER, NO, NO),
    FILES: (PARTS, PARTS, NO, NO, NO, NO),
    "multipart/related; type=application/dicom": (PARTS, PARTS, NO, NO, NO, NO),
    f"{FILES}; transfer-syntax=*": (PARTS, PARTS, NO, NO, NO, NO),
    f"{FILES}; transfer-syntax={EXPLICIT}": (PARTS, PARTS, NO, NO, NO, NO),
    f"{FILES}; transfer-syntax={J2K}": (NO,) * 6,
    f"{FILES}; transfer-syntax={J2K}, {FILES}; transfer-syntax={EXPLICIT}; q=0.5": (PARTS, PARTS, NO, NO, NO, NO),
    "application/dicom": (NO, "application/dicom", NO, NO, NO, NO),
    f"application/dicom; transfer-syntax={J2K}": (NO,) * 6,
    f"application/dicom; transfer-syntax={J2K}, {FILES}; q=0.2": (PARTS, PARTS, NO, NO, NO, NO),
    "application/octet-stream": (NO, NO, NO, NO, OCTETS, OCTETS),
    'multipart/related; type="application/octet-stream"': (NO, NO, NO, NO, OCTET_PARTS, OCTET_PARTS),
    "image/jpeg": (NO,) * 6,
    "text/html": (NO,) * 6,
    "*/*; q=0": (NO,) * 6,
    "application/dicom+json; q=0, */*": (PARTS, PARTS, NO, NO, OCTET_PARTS, OCTETS),
}  # fmt: skip
RESOURCES = ("study", "instance", "metadata", "search", "frames", "bulk data")


@pytest.mark.parametrize("accept", TABLE, ids=lambda accept: accept or "nothing")
def test_every_accept_meets_every_resource(server, stored, accept):
    for resource, expected in zip(RESOURCES, TABLE[accept], strict=True):
        for by_query in (False, True) if accept else (False,):
            path, fields = stored[resource], {"Accept": accept} if accept else {}
            if by_query:
                path, fields = (
                    f"{path}{'&' if '?' in path else '?'}accept={quote(accept)}",
                    {"Accept": "text/css"},
                )
            answer = server.request("GET", path, headers=fields)
            assert answer.status == (406 if expected is None else 200), (resource, accept, answer.body)
            if expected is not None:
                assert answer.headers["content-type"].startswith(expected), resource


def test_a_refusal_says_what_is_offered(server, stored):
    for resource in RESOURCES:
        answer = server.request("GET", stored[resource], headers={"Accept": "text/html"})
        offered = json.loads(answer.body)["offered"]
        assert answer.status == 406
        again = server.request("GET", stored[resource], headers={"Accept": offered[0]})
        assert again.status == 200, (resource, offered)
    refused = server.request("POST", "/dicom-web/studies", b"x", {"Content-Type": "text/plain"})
    assert refused.status == 415
    assert refused.headers["accept"] == ", ".join(json.loads(refused.body)["offered"])
    coded = {"Content-Type": FILES + "; boundary=xyz", "Content-Encoding": "gzip"}
    assert server.request("POST", "/dicom-web/studies", gzip.compress(b"x"), coded).status == 415


@pytest.mark.parametrize(
    ("charset", "status"),
    [("utf-8", 200), ("gb18030,UTF-8;q=0.1", 200), ("gb18030", 406), ("utf-8;q=0", 406)],
)
def test_text_is_utf_8_or_refused(server, stored, charset, status):
    for resource in ("metadata", "search"):
        mark = "&" if "?" in stored[resource] else "?"
        assert server.request("GET", f"{stored[resource]}{mark}charset={quote(charset)}").status == status


def test_one_instance_as_a_single_part_is_the_stored_file(server, stored):
    answer = server.request("GET", stored["instance"], headers={"Accept": "application/dicom"})
    assert answer.body == stored["file"]
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"


def test_what_is_stored_implicit_leaves_explicit_to_who_takes_that_alone(server):
    file, data_set = make_ct(syntax=ImplicitVRLittleEndian)
    assert server.store(file).status == 200
    series = f"/dicom-web/studies/{data_set.StudyInstanceUID}/series/{data_set.SeriesInstanceUID}"
    path = f"{series}/instances/{data_set.SOPInstanceUID}"
    answer = server.request("GET", path, headers={"Accept": "application/dicom"})
    got = pydicom.dcmread(io.BytesIO(answer.body))
    assert got.file_meta.TransferSyntaxUID == EXPLICIT
    assert got.PixelData == data_set.PixelData
    assert got.PatientName == data_set.PatientName
    assert (
        server.request("GET", path, headers={"Accept": "application/dicom; transfer-syntax=*"}).body == file
    )


# --- XML ------------------------------------------------------------------------------------------------


def parts_of(answer) -> list[bytes]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body)
    return [part.get_payload(decode=True) for part in message.get_payload()]


def test_xml_metadata_and_search_say_what_json_says(server, stored):
    for resource in ("metadata", "search"):
        as_json = json.loads(server.request("GET", stored[resource], headers={"Accept": JSON_ANSWER}).body)
        parts = parts_of(server.request("GET", stored[resource], headers={"Accept": XML}))
        assert len(parts) == len(as_json)
        for part, model in zip(parts, as_json, strict=True):
            root = ElementTree.fromstring(part)
            assert root.tag == f"{{{NAMESPACE}}}NativeDicomModel"
            assert {each.get("tag"): each.get("vr") for each in root} == {
                tag: v["vr"] for tag, v in model.items()
            }
            uid = root.find(f"*[@tag='0020000D']/{{{NAMESPACE}}}Value").text
            assert [uid] == model["0020000D"]["Value"]


def canonical(root: ElementTree.Element) -> object:
    """An XML model without white space between elements, bulk data by its place alone, numbers as numbers."""
    name = root.tag.rpartition("}")[2]
    attributes = {
        key: value for key, value in root.attrib.items() if key in ("tag", "vr", "number", "privateCreator")
    }
    text = (root.text or "").strip() if not len(root) else ""
    if name == "Value" and re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", text) and text.count(".") < 2:
        text = repr(float(text))
    return (name, attributes, text, [canonical(each) for each in root])


@pytest.mark.skipif(not Path(DCM2XML).exists(), reason="needs DCMTK")
def test_dcmtk_writes_the_same_native_model(tmp_path):
    data_set = make_ct()[1]
    del data_set.PixelData
    data_set.StudyDescription = "a<b & \"c\" 'd'"
    data_set.ImageType = ["ORIGINAL", "", "AXIAL"]
    data_set.PatientID = ""
    data_set.SliceThickness = "1.50"
    data_set.private_block(0x0009, "ACME", create=True).add_new(0x02, "LO", "private")
    inner = pydicom.Dataset()
    inner.CodeValue = "T-1"
    inner.RequestAttributesSequence = [pydicom.Dataset()]
    data_set.ConceptNameCodeSequence = [inner, pydicom.Dataset()]
    path = tmp_path / "one.dcm"
    data_set.save_as(path, enforce_file_format=True)
    theirs = subprocess.run([DCM2XML, "--native-format", path], capture_output=True, check=True, timeout=20)
    raw = path.read_bytes()
    start = raw.index(b"\x08\0\x05\0CS")
    ours = to_native_model(to_json_model(scan(raw[start:], EXPLICIT)))
    assert canonical(ElementTree.fromstring(ours)) == canonical(ElementTree.fromstring(theirs.stdout))


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40), st.text(max_size=20))
def test_any_text_becomes_well_formed_xml_and_comes_back(text, name):
    model = {
        "00100020": {"vr": "LO", "Value": [text]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
    }
    root = ElementTree.fromstring(to_native_model(model))
    value = root.find(f"*[@tag='00100020']/{{{NAMESPACE}}}Value").text or ""
    legal = "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd"
        for c in text
    )
    assert value == legal


# --- gzip -----------------------------------------------------------------------------------------------


def test_a_program_gets_gzip_and_a_browser_never(server, stored):
    for resource in ("metadata", "search"):
        plain = server.request("GET", stored[resource])
        assert "content-encoding" not in plain.headers
        coded = server.request("GET", stored[resource], headers={"Accept-Encoding": "br, gzip;q=0.5"})
        assert coded.headers["content-encoding"] == "gzip"
        assert json.loads(gzip.decompress(coded.body)) == json.loads(plain.body)
        cookie = session_cookie(server.guard.new_session(), 60).partition(";")[0]
        for fields in ({"Cookie": cookie}, {"Sec-Fetch-Site": "same-origin"}, {"Referer": "https://x/"}):
            answer = server.request("GET", stored[resource], headers={"Accept-Encoding": "gzip", **fields})
            assert answer.status == 200
            assert "content-encoding" not in answer.headers
        refused = server.request("GET", stored[resource], headers={"Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in refused.headers
    for resource in ("study", "frames", "bulk data"):
        answer = server.request("GET", stored[resource], headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers


# --- sans-IO --------------------------------------------------------------------------------------------


def test_among_equal_q_the_stored_syntax_wins_and_the_higher_q_before_it():
    def chosen(accept: str, stored: str) -> str:
        forms = file_forms(parse_accept(accept), single=False)
        return choose_syntaxes(forms, [stored], lambda _, target: target == EXPLICIT)[1][0]

    both = f"{FILES}; transfer-syntax={EXPLICIT}, {FILES}; transfer-syntax={J2K}"
    assert chosen(both, J2K) == J2K
    assert chosen(f"{both}; q=0.4", J2K) == EXPLICIT
    assert chosen(f"{FILES}, {FILES}; transfer-syntax=*; q=0.1", J2K) == EXPLICIT


_TYPES = st.sampled_from(
    ["*/*", "application/*", "application/dicom", "application/dicom+json", XML, FILES, "text/html"]
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(_TYPES, st.sampled_from(["", ";q=0", ";q=0.3", ";q=1", ";q=1.5", ";transfer-syntax=*"])),
        max_size=5,
    )
)
def test_negotiation_answers_or_refuses_and_nothing_else(entries):
    field = ", ".join(kind + more for kind, more in entries)
    for ask in (require_model, require_response, lambda each: file_forms(each, single=True)):
        try:
            found = ask(parse_accept(field))
        except (BadRequest, NotAcceptable):
            continue
        assert found
        named = {more for kind, more in entries if kind == found}
        assert named != {";q=0"}  # what is excluded alone is not given, whatever a wildcard says


def test_a_charset_list_is_read_by_name_and_q():
    for good in (None, "", "utf-8", "iso-8859-1, utf-8", "*"):
        require_charset(good)
    for bad in ("iso-8859-1", "utf-8;q=0.0"):
        with pytest.raises(NotAcceptable):
            require_charset(bad)
