"""The console's files: only what the manifest names, to whom it may go, and under which policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.web_server import Answer, Papers, WebServer, make_papers
from ribcage.console.errors import NotBuilt
from ribcage.console.library import Library
from ribcage.console.routes import NOT_BUILT, console_routes
from ribcage.transfer.dicomweb.principal import session_cookie

Serve = Callable[[Path], WebServer]
FILES = {
    "viewer/index.html": b"<!doctype html><title>viewer</title>",
    "viewer/app.bundle.0123456789abcdef.js": b"run();" * 400,
    "viewer/8097.bundle.0123456789abcdef.js": b"decode();",
    "viewer/app-config.js": b"window.config = {};",
    "viewer/0123456789abcdef.wasm": b"\0asm",
    "app/index.html": b"<!doctype html><title>app</title>",
    "app/patient.html": b"<!doctype html><title>patient</title>",
    "app/assets/index-Y8nQGUzx.js": b"start();",
    "NOTICES.txt": b"licences",
}
PACKED = b"packed form"


def build(folder: Path, **changes: object) -> Path:
    """A build as `console/build` writes it; `changes` go into the manifest."""
    entries: dict[str, dict[str, object]] = {}
    for name, body in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        entries[name] = {
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "immutable": ".0123456789abcdef." in name or "assets" in name,
        }
    script = "viewer/app.bundle.0123456789abcdef.js"
    (folder / f"{script}.br").write_bytes(PACKED)
    entries[script]["packed"] = len(PACKED)
    entries["viewer/8097.bundle.0123456789abcdef.js"]["worker"] = "evaluates"
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "files": entries} | changes))
    return folder


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def serve(papers: Papers, tmp_path: Path) -> Iterator[Serve]:
    running: list[WebServer] = []

    def start(folder: Path) -> WebServer:
        server = WebServer(papers, tmp_path / "objects")
        server.more = lambda context: console_routes(context, folder)
        running.append(server.__enter__())
        return server

    yield start
    for server in running:
        server.__exit__()


def get(server: WebServer, path: str, **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("GET", path, headers=given, device=False)


def directives(answer: Answer) -> dict[str, set[str]]:
    pieces = [each.split() for each in answer.headers["content-security-policy"].split(";")]
    return {piece[0]: set(piece[1:]) for piece in pieces}


def test_a_file_comes_with_its_type_and_is_kept_for_good_only_under_its_hash(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(build(tmp_path / "static"))
    script = get(server, "/viewer/app.bundle.0123456789abcdef.js")
    assert script.status == 200
    assert script.body == FILES["viewer/app.bundle.0123456789abcdef.js"]
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in script.headers
    assert get(server, "/viewer/app-config.js").headers["cache-control"] == "no-cache"
    assert get(server, "/viewer/0123456789abcdef.wasm").headers["content-type"] == "application/wasm"
    assert get(server, "/NOTICES.txt").body == b"licences"


def test_the_packed_form_goes_to_those_who_take_it(serve: Serve, tmp_path: Path) -> None:
    server = serve(build(tmp_path / "static"))
    path = "/viewer/app.bundle.0123456789abcdef.js"
    packed = get(server, path, Accept_Encoding="gzip, br;q=0.9")
    assert (packed.body, packed.headers["content-encoding"]) == (PACKED, "br")
    assert packed.headers["content-length"] == str(len(PACKED))
    assert packed.headers["vary"] == "Accept-Encoding"
    plain = get(server, path, Accept_Encoding="gzip, br;q=0")
    assert plain.headers["etag"] != packed.headers["etag"]
    assert plain.body == FILES[path[1:]]


def test_what_is_known_is_not_sent_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(build(tmp_path / "static"))
    tag = get(server, "/viewer/app-config.js").headers["etag"]
    again = get(server, "/viewer/app-config.js", If_None_Match=f'"other", W/{tag}')
    assert (again.status, again.body) == (304, b"")
    assert get(server, "/viewer/app-config.js", If_None_Match='"other"').status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/viewer/../manifest.json",
        "/viewer/..%2fmanifest.json",
        "/viewer/%2e%2e/%2e%2e/routes.py",
        "/viewer//etc/passwd",
        "/viewer/app.bundle.0123456789abcdef.js.br",
        "/viewer/app.bundle.0123456789abcdef.js/",
        "/viewer/../viewer/app-config.js",
        "/viewer/index.html",
        "/viewer/",
        "/app/assets/../index.html",
        "/app/assets/missing.js",
    ],
)
def test_no_path_leads_out_of_the_manifest(serve: Serve, tmp_path: Path, path: str) -> None:
    assert get(serve(build(tmp_path / "static")), path).status == 404


def test_the_viewer_is_for_a_live_session(serve: Serve, tmp_path: Path) -> None:
    server = serve(build(tmp_path / "static"))
    for cookie in ("", session_cookie(bytes(48), 100).partition(";")[0], "__Host-ribcage=%%%"):
        answer = get(server, "/viewer/viewer?StudyInstanceUIDs=1.2", **({"Cookie": cookie} if cookie else {}))
        assert (answer.status, answer.headers["location"], answer.body) == (303, "/app/login", b"")
    device = server.request("GET", "/viewer/viewer", device=True)
    assert device.status == 303  # a certificate is no reader
    cookie = session_cookie(server.guard.new_session(), 100).partition(";")[0]
    page = get(server, "/viewer/viewer?StudyInstanceUIDs=1.2", Cookie=cookie)
    assert (page.status, page.body) == (200, FILES["viewer/index.html"])
    assert page.headers["cache-control"] == "no-store"


def test_staff_and_patients_have_pages_of_their_own(serve: Serve, tmp_path: Path) -> None:
    server = serve(build(tmp_path / "static"))
    assert get(server, "/app/").body == FILES["app/index.html"]
    for cookie in ("", "__Host-ribcage=%%%", "__Host-ribcage-patient=%%%"):  # it holds and asks nothing
        page = get(server, "/patient", **({"Cookie": cookie} if cookie else {}))
        assert (page.status, page.body) == (200, FILES["app/patient.html"])
        assert "set-cookie" not in page.headers
        assert page.headers["cache-control"] == "no-store"
    for path in ("/patient/", "/patient/x", "/patient.html"):
        assert get(server, path).status == 404


def test_no_page_runs_inline_script_or_text_or_is_framed_by_strangers(serve: Serve, tmp_path: Path) -> None:
    server = serve(build(tmp_path / "static"))
    cookie = session_cookie(server.guard.new_session(), 100).partition(";")[0]
    viewer = get(server, "/viewer/viewer", Cookie=cookie)
    none, own = {"'none'"}, {"'self'"}
    for answer, scripts, styles, framed_by, frames in (
        (viewer, {"'self'", "'wasm-unsafe-eval'"}, {"'self'", "'unsafe-inline'"}, own, none),
        (get(server, "/app/"), own, own, none, own),
        (get(server, "/app/admin/persons"), own, own, none, own),
        (get(server, "/patient"), own, own, none, none),
    ):
        policy = directives(answer)
        assert policy["default-src"] == policy["base-uri"] == none
        assert policy["frame-ancestors"] == framed_by  # the viewer alone, by the console alone
        assert policy.get("frame-src", policy["default-src"]) == frames
        assert policy["script-src"] == scripts
        assert policy["style-src"] == styles
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]
        for sources in policy.values():  # no other host is named anywhere
            assert sources <= {"'none'", "'self'", "'unsafe-inline'", "'wasm-unsafe-eval'", "data:", "blob:"}


def test_text_becomes_code_in_the_decoding_worker_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve(build(tmp_path / "static"))
    for name in FILES:
        if name.endswith(".js"):
            policy = directives(get(server, f"/{name}"))
            evaluates = "'unsafe-eval'" in policy.get("script-src", set())
            assert evaluates == (name == "viewer/8097.bundle.0123456789abcdef.js"), name
            assert policy["default-src"] == {"'none'"}


def test_without_a_build_each_address_says_what_to_do(serve: Serve, tmp_path: Path) -> None:
    server = serve(tmp_path / "missing")
    cookie = session_cookie(server.guard.new_session(), 100).partition(";")[0]
    for path in ("/viewer/viewer", "/viewer/x.js", "/app/", "/patient", "/app/assets/x.js", "/NOTICES.txt"):
        answer = get(server, path, Cookie=cookie)
        assert (answer.status, answer.body.decode()) == (503, NOT_BUILT)
        assert "make console" in NOT_BUILT
    assert get(server, "/viewer/viewer").status == 303
    assert get(server, "/login").status == 200  # the plain pages need no build


def test_a_disturbed_file_is_not_given_out(serve: Serve, tmp_path: Path) -> None:
    folder = build(tmp_path / "static")
    server = serve(folder)
    (folder / "viewer/app-config.js").write_bytes(b"longer than what the build wrote")
    (folder / "NOTICES.txt").unlink()
    assert get(server, "/viewer/app-config.js").status == 503
    assert get(server, "/NOTICES.txt").status == 503
    assert get(server, "/app/").status == 200


_GOOD = {"size": 1, "sha256": "00", "immutable": False}


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"files": []},
        {"files": {"../routes.py": _GOOD}},
        {"files": {"/etc/passwd": _GOOD}},
        {"files": {"viewer/..": _GOOD}},
        {"files": {"viewer/\n": _GOOD}},
        {"files": {"x.js": _GOOD | {"worker": "everything"}}},
        {"files": {"x.js": _GOOD | {"more": 1}}},
        {"files": {"x.js": _GOOD}, "padding": "x" * (1024 * 1024)},
    ],
)
def test_a_manifest_of_another_shape_is_refused_whole(tmp_path: Path, changes: dict[str, object]) -> None:
    assert Library.read(build(tmp_path / "good")).get("NOTICES.txt") is not None
    with pytest.raises(NotBuilt):
        Library.read(build(tmp_path / "static", **changes))


def test_only_get_is_answered(serve: Serve, tmp_path: Path) -> None:
    server = serve(build(tmp_path / "static"))
    for method in ("HEAD", "POST", "PUT", "DELETE"):
        headers = {"Origin": server.origin}
        assert server.request(method, "/viewer/app-config.js", headers=headers, device=False).status == 405
