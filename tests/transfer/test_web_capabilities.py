"""The capabilities document says what the route table has, to who shows himself."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from helpers.web_server import Papers, WebServer, make_papers
from ribcage.transfer.dicomweb.routes import routes

WADL = "{http://wadl.dev.java.net/2009/02}"


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def server(papers, tmp_path_factory):
    with WebServer(papers, tmp_path_factory.mktemp("objects")) as running:
        yield running


def served(server: WebServer) -> set[tuple[str, str]]:
    """Method and path below the service of every reviewed route."""
    return {
        (method, entry.route.path.removeprefix("/dicom-web").strip("/").replace(":path}", "}"))
        for entry in routes(server.context)
        if entry.route.path.startswith("/dicom-web/")
        for method in entry.route.methods
    }


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_capabilities_are_the_route_table(server, method):
    as_json = json.loads(server.request(method, "/dicom-web/", headers={"Accept": "application/json"}).body)
    assert as_json["base"] == server.dicom
    assert {(each["method"], each["path"]) for each in as_json["resources"]} == served(server)
    answer = server.request(method, "/dicom-web/")
    assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
    found = {
        (each.get("name"), resource.get("path"))
        for resource in ElementTree.fromstring(answer.body).iter(f"{WADL}resource")
        for each in resource.iter(f"{WADL}method")
    }
    assert found == served(server)


def test_every_media_type_that_is_told_is_negotiated(server):
    told = json.loads(server.request("GET", "/dicom-web/", headers={"Accept": "application/json"}).body)
    (search,) = [each for each in told["resources"] if (each["method"], each["path"]) == ("GET", "studies")]
    for media_type in search["gives"]:
        answer = server.request("GET", "/dicom-web/studies", headers={"Accept": media_type})
        assert answer.status in (200, 204), media_type


def test_capabilities_are_not_for_strangers_and_hold_no_other_form(server):
    assert server.request("OPTIONS", "/dicom-web/", device=False).status == 401
    assert server.request("OPTIONS", "/dicom-web/", headers={"Accept": "text/html"}).status == 406
