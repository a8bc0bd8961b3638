"""Sessions, foreign sites, limits of the head, and what must never be logged."""

from __future__ import annotations

import json
import logging
import re

import pytest

from helpers.web_server import Papers, WebServer, make_ct, make_papers
from ribcage.guard.protocol import Device, LogIn, Query, Session, StepUp
from ribcage.transfer.dicomweb import qido, store_response
from ribcage.transfer.dicomweb.app import make_app
from ribcage.transfer.dicomweb.errors import BadRequest, NotAcceptable, Unavailable
from ribcage.transfer.dicomweb.limits import WebLimits, WebLimitsInvalid
from ribcage.transfer.dicomweb.negotiation import parse_accept, parse_media_type, require_model
from ribcage.transfer.dicomweb.principal import session_cookie
from ribcage.transfer.dicomweb.routes import routes

SMALL = WebLimits(max_head_bytes=4096, max_headers=20, max_form_bytes=512, max_pipelined=2, head_seconds=1.0)


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def server(papers, tmp_path):
    with WebServer(papers, tmp_path / "objects", SMALL) as running:
        yield running


def cookie_of(server: WebServer) -> str:
    return session_cookie(server.guard.new_session(), 100).partition(";")[0]


def talk(server: WebServer, head: bytes, certificate=None) -> bytes:
    """Raw bytes out, everything in until the server closes."""
    got = b""
    with server.tls_socket(certificate) as peer:
        peer.sendall(head)
        try:
            while piece := peer.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
    return got


# --- who asks -------------------------------------------------------------------------------------------


def test_without_cookie_and_certificate_everything_with_data_is_401(server):
    for entry in routes(server.context):
        if entry.gives != "receipt":
            continue
        template = entry.route.path.replace("{path:path}", "7FE00010")
        path = template.format(study="1.2", series="1.3", instance="1.4", frames="1")
        (method,) = entry.route.methods
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if path == "/search" else {}
        answer = server.request(method, path, b"" if method == "POST" else None, headers, device=False)
        assert answer.status == 401, path
        assert json.loads(answer.body)["error"] == "not_authenticated"
        assert answer.headers["www-authenticate"]
    assert server.guard.asked == []


def test_the_certificate_is_the_device_and_no_header_can_say_so(server):
    assert server.request("GET", "/dicom-web/studies").status == 204
    asked = server.guard.of(Query)[-1].principal
    assert asked == Device(server.papers.device_fingerprint, "", "127.0.0.1")
    claims = {
        name: server.papers.device_fingerprint.hex()
        for name in ("X-Client-Cert", "X-SSL-Client-Fingerprint", "X-Forwarded-Client-Cert")
    }
    assert server.request("GET", "/dicom-web/studies", headers=claims, device=False).status == 401
    forwarded = {"X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7"}
    server.request("GET", "/dicom-web/studies", headers=forwarded)
    assert server.guard.of(Query)[-1].principal.address == "127.0.0.1"


def test_a_certificate_of_a_foreign_authority_ends_the_connection(server):
    try:
        got = talk(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", server.papers.stranger)
    except OSError:
        got = b""
    assert got == b""


def test_a_cookie_makes_a_session_and_prevails_over_the_certificate(server):
    answer = server.request("GET", "/dicom-web/studies", headers={"Cookie": cookie_of(server)})
    assert answer.status == 204
    assert isinstance(server.guard.of(Query)[-1].principal, Session)


@pytest.mark.parametrize(
    "cookie",
    ["__Host-ribcage=", "__Host-ribcage=short", "__Host-ribcage=!!!!" * 5, "__Host-ribcage=" + "A" * 2000],
)
def test_an_unreadable_cookie_never_falls_back_to_the_certificate(server, cookie):
    assert server.request("GET", "/dicom-web/studies", headers={"Cookie": cookie}).status == 401
    assert server.guard.asked == []


def test_two_session_cookies_are_refused(server):
    both = f"{cookie_of(server)}; {cookie_of(server)}"
    assert server.request("GET", "/dicom-web/studies", headers={"Cookie": both}).status == 401


def test_a_proof_in_the_url_is_not_a_session(server):
    proof = cookie_of(server).partition("=")[2]
    for query in (f"__Host-ribcage={proof}", f"token={proof}", f"access_token={proof}"):
        assert server.request("GET", f"/api/session?{query}", device=False).status == 401
    assert server.guard.asked == []
    bearer = {"Authorization": f"Bearer {proof}"}
    assert server.request("GET", "/dicom-web/studies", headers=bearer, device=False).status == 401


def test_log_in_step_up_and_log_out(server):
    headers = {"Content-Type": "application/json", "Origin": server.origin}
    body = json.dumps({"username": "reader", "password": server.guard.password}).encode()
    answer = server.request("POST", "/api/login", body, headers, device=False)
    assert answer.status == 200
    cookie = answer.headers["set-cookie"]
    pattern = r"__Host-ribcage=[\w-]{64}; Max-Age=\d+; Path=/; Secure; HttpOnly; SameSite=Strict"
    assert re.fullmatch(pattern, cookie)
    proof = cookie.partition(";")[0].partition("=")[2]
    assert proof not in answer.body.decode()
    headers["Cookie"] = cookie.partition(";")[0]
    session = json.loads(server.request("GET", "/api/session", headers=headers, device=False).body)
    assert session["assurance"] == 1
    code = json.dumps({"code": server.guard.code}).encode()
    assert (
        json.loads(server.request("POST", "/api/step-up", code, headers, device=False).body)["assurance"] == 2
    )
    ended = server.request("POST", "/api/logout", b"", headers, device=False)
    assert ended.status == 204
    assert ended.headers["set-cookie"].startswith("__Host-ribcage=; Max-Age=0;")
    assert server.request("GET", "/api/session", headers=headers, device=False).status == 401
    assert server.request("POST", "/api/logout", b"", headers, device=False).status == 204


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"username":"a","password":"b"}', "application/json", 401),
        (b'{"username":"a","password":"b","extra":1}', "application/json", 400),
        (b'{"username":1,"password":"b"}', "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"username":"\xff","password":"b"}', "application/json", 400),
        (b'{"username":"a","password":"b"}', "text/plain", 415),
        (b'{"username":"a","password":"' + b"x" * 600 + b'"}', "application/json", 413),
    ],
)
def test_bad_log_ins(server, body, content_type, status):
    headers = {"Content-Type": content_type, "Origin": server.origin}
    answer = server.request("POST", "/api/login", body, headers, device=False)
    assert answer.status == status
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("reason", "status", "header"),
    [
        ("not_authenticated", 401, "www-authenticate"),
        ("not_permitted", 403, "content-type"),
        ("second_factor_needed", 403, "x-ribcage-step-up"),
        ("not_found", 404, "content-type"),
        ("conflict", 409, "content-type"),
        ("invalid", 400, "content-type"),
        ("unavailable", 503, "retry-after"),
        ("throttled", 429, "retry-after"),
    ],
)
def test_a_refusal_has_the_status_of_its_reason(server, reason, status, header):
    for message, path in (("Query", "/dicom-web/studies"), ("Disclose", "/dicom-web/studies/1.2.3")):
        if (message, reason) == ("Disclose", "conflict"):
            continue
        server.guard.refuse[message] = reason
        answer = server.request("GET", path)
        assert answer.status == status
        assert header in answer.headers
        assert set(json.loads(answer.body)) == {"error", "hint"}


def test_without_the_guard_the_answer_is_503_and_health_still_answers(server):
    server.guard.gone = True
    assert server.request("GET", "/dicom-web/studies").status == 503
    assert server.store(make_ct()[0]).status == 503
    assert server.request("GET", "/healthz", device=False).body == b"ok\n"
    ready = server.request("GET", "/readyz", device=False)
    assert (ready.status, ready.body) == (503, b"closed: guard\n")


# --- foreign sites --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {},
    ],
)
def test_a_foreign_page_cannot_act_with_the_cookie(server, fields):
    headers = {"Cookie": cookie_of(server), "Content-Type": "application/json"} | fields
    for path in (
        "/api/step-up",
        "/api/logout",
        "/api/break-glass",
        "/dicom-web/studies",
        "/logout",
        "/search",
    ):
        answer = server.request("POST", path, b"{}", headers, device=False)
        assert answer.status == 403, path
        assert json.loads(answer.body)["error"] == "foreign_origin"
    assert server.guard.asked == []


@pytest.mark.parametrize(
    "fields",
    [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {"own": ""}],
)
def test_our_own_page_may_act(server, fields):
    fields = {"Origin": server.origin} if "own" in fields else fields
    headers = {"Cookie": cookie_of(server)} | fields
    assert server.request("POST", "/api/logout", b"", headers, device=False).status == 204


def test_a_foreign_page_cannot_use_the_browsers_certificate(server):
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
        assert server.request("GET", "/dicom-web/studies", headers=headers).status == 403
        assert server.request("GET", "/studies/1.2/download", headers=headers).status == 403
        assert server.store(make_ct()[0], headers=headers).status == 403
    assert server.store(make_ct()[0], headers={"Origin": "https://evil.example"}).status == 403
    assert server.guard.asked == []


def test_another_site_may_link_to_the_log_in_alone(server):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert server.request("GET", "/login", headers=headers, device=False).status == 200
    assert server.request("GET", "/step-up", headers=headers, device=False).status == 403


# --- heads ----------------------------------------------------------------------------------------------


def test_every_answer_forbids_storing_and_sniffing(server):
    paths = ["/healthz", "/login", "/dicom-web/studies", "/nowhere", "/api/session", "/dicom-web/studies/x"]
    for path in paths:
        headers = server.request("GET", path).headers
        assert headers["cache-control"] == "no-store", path
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["strict-transport-security"]
        assert "date" in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 40 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"never ends" * 2000,
    ],
)
def test_a_head_beyond_its_limits_is_431(server, head):
    got = talk(server, head)
    assert got.startswith(b"HTTP/1.1 431")
    assert b"aaaa" not in got
    assert b"no-store" in got


@pytest.mark.parametrize(
    "head",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    ],
)
def test_a_malformed_head_is_400_and_closes(server, head):
    assert talk(server, head).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a/b\r\n", b"Host: a b\r\n", b"Host: <script>\r\n"]
)
def test_exactly_one_plain_host(server, hosts):
    got = talk(server, b"GET /healthz HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400")
    assert b"script" not in got


def test_a_slow_head_is_cut_after_its_time(server):
    assert talk(server, b"GET /healthz HTT") == b""


def test_pipelining_is_bounded(server):
    one = b"GET /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n\r\n"
    got = talk(server, one * 50, server.papers.device)
    assert got.count(b"HTTP/1.1 204") <= 3
    assert len(server.guard.of(Query)) <= 3


def test_keep_alive_serves_the_next_request(server):
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.tls_socket() as peer:
        for _ in range(3):
            peer.sendall(one)
            got = b""
            while not got.endswith(b"ok\n"):
                got += peer.recv(4096)
            assert got.startswith(b"HTTP/1.1 200")


def test_plain_bytes_get_no_answer(server):
    import socket

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            got = peer.recv(4096)
        except ConnectionResetError:
            got = b""
    assert b"HTTP" not in got


def test_methods_and_paths_outside_the_list(server):
    assert server.request("HEAD", "/dicom-web/studies/1.2").status == 405
    deleted = server.request("DELETE", "/dicom-web/studies/1.2")
    assert (deleted.status, deleted.headers["allow"]) == (405, "GET, POST")
    assert "never deleted" in json.loads(deleted.body)["hint"]
    assert server.request("OPTIONS", "/dicom-web/studies").status == 405
    for path in ("/docs", "/openapi.json", "/dicom-web/studies/", "/dicom-web/../healthz", "//"):
        answer = server.request("GET", path)
        assert answer.status == 404, path
        assert json.loads(answer.body)["error"] == "not_found"
    assert server.guard.asked == []


# --- bodies ---------------------------------------------------------------------------------------------


def test_a_body_beyond_its_limit_is_413(papers, tmp_path):
    limits = WebLimits(max_store_bytes=20_000, max_instance_bytes=10_000, max_held_bytes=10_000)
    with WebServer(papers, tmp_path, limits) as server:
        assert server.store(make_ct(rows=64)[0]).status == 200
        assert server.store(make_ct(rows=80)[0]).status == 413  # the part
        assert server.store(make_ct(rows=64)[0], make_ct(rows=64)[0], make_ct(rows=64)[0]).status == 413
        assert server.context.budget.left == 10_000


def test_bodies_beyond_the_budget_are_asked_to_come_back(papers, tmp_path):
    with WebServer(papers, tmp_path, WebLimits(max_instance_bytes=10_000, max_held_bytes=10_000)) as server:
        with server.context.budget.hold() as held:
            held.take(9_000)
            answer = server.store(make_ct()[0])
            assert answer.status == 503
            assert answer.headers["retry-after"]
        assert server.store(make_ct()[0]).status == 200
        with server.context.budget.hold() as held, pytest.raises(Unavailable):
            held.take(10_001)


def test_limits_that_cannot_work_do_not_start():
    for bad in ({"head_seconds": 0}, {"max_instance_bytes": 2**40}, {"default_results": 10**6}):
        with pytest.raises(WebLimitsInvalid):
            WebLimits(**bad)


# --- pages ----------------------------------------------------------------------------------------------


def test_the_pages_work_without_script_and_escape(server):
    own = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    assert server.request("GET", "/", device=False).headers["location"] == "/login"
    wrong = server.request("POST", "/login", b"username=reader&password=no", own, device=False)
    assert wrong.status == 401
    assert "密码不正确" in wrong.body.decode()
    server.guard.password = "right"
    done = server.request("POST", "/login", b"username=reader&password=right", own, device=False)
    assert (done.status, done.headers["location"]) == (303, "/")
    own["Cookie"] = done.headers["set-cookie"].partition(";")[0]
    home = server.request("GET", "/", headers=own, device=False)
    assert "Reader &lt;One&gt;" in home.body.decode()
    assert "script" not in home.body.decode()
    server.store(make_ct(name='<img src=x onerror="1">')[0])
    found = server.request("POST", "/search", b"PatientID=ID-4711&StudyDate=", own, device=False)
    assert found.status == 200
    assert "&lt;img src=x onerror=&quot;1&quot;&gt;" in found.body.decode()
    assert b"<img" not in found.body
    assert b"/download" in found.body
    assert "X-Ribcage-Receipt".lower() in found.headers
    assert server.request("POST", "/search", b"Rows=1", own, device=False).status == 400
    assert server.request("POST", "/search", b"PatientID=1&PatientID=2", own, device=False).status == 400
    assert server.request("POST", "/step-up", b"code=000000", own, device=False).status == 403
    assert server.request("POST", "/step-up", b"code=123456", own, device=False).status == 303
    assert server.guard.of(StepUp)[-1].code == "123456"
    assert server.request("POST", "/logout", b"", own, device=False).headers["location"] == "/login"
    assert server.request("POST", "/search", b"PatientID=1", own, device=False).status == 401


# --- logs, errors, routes -------------------------------------------------------------------------------


def test_no_url_name_or_secret_is_logged(server, caplog):
    with caplog.at_level(logging.DEBUG):
        server.store(make_ct()[0])
        server.request("GET", "/dicom-web/studies?PatientName=Wang*&PatientID=ID-4711")
        server.request("GET", "/dicom-web/studies?PatientName=Wang*&bad=ID-4711")
        talk(server, b"GET /dicom-web/studies?PatientID=ID-4711 HTTP/9\r\n\r\n")
        headers = {"Content-Type": "application/json", "Origin": server.origin}
        body = b'{"username":"reader","password":"hunter-secret"}'
        server.request("POST", "/api/login", body, headers, device=False)
    assert server.guard.of(LogIn)
    text = "\n".join(
        f"{record.getMessage()} {record.exc_text} {record.exc_info}" for record in caplog.records
    )
    for secret in ("ID-4711", "Wang", "dicom-web", "hunter-secret", "reader"):
        assert secret not in text


def test_a_failure_inside_is_500_without_its_text(server, caplog):
    def broken():
        raise RuntimeError("PatientID ID-4711")

    server.guard._on_query = lambda request: broken()
    answer = server.request("GET", "/dicom-web/studies")
    assert answer.status == 500
    assert b"4711" not in answer.body
    assert any("RuntimeError" in record.getMessage() for record in caplog.records)
    assert "4711" not in caplog.text


def test_every_route_is_reviewed(server):
    reviewed = routes(server.context)
    app = make_app(server.context)
    listed = {(entry.route.path, *entry.route.methods) for entry in reviewed}
    assert listed == {(route.path, *route.methods) for route in app.routes}
    assert len(listed) == len(reviewed)
    for entry in reviewed:
        assert (entry.gives == "receipt") == (entry.through in ("capture.admit", "usage.disclose", "Query"))
        if "{study}" in entry.route.path or "dicom-web" in entry.route.path:
            assert entry.gives == ("nothing" if entry.route.path == "/dicom-web/" else "receipt")
    assert sorted(entry.route.path for entry in reviewed if entry.gives == "nothing") == [
        "/api/device/certificate",  # for the asker's own key
        "/api/login/passkey/begin",
        "/dicom-web/",  # OPTIONS and GET: what the service can do
        "/dicom-web/",
        "/edge/state",
        "/healthz",
        "/login",
        "/metrics",
        "/readyz",
        "/step-up",
    ]


def test_accept_is_read_by_quality_and_quotes():
    entries = parse_accept(
        'text/html;q=0.2, multipart/related; type="application/dicom, x"; q=0.9, image/*;q=0'
    )
    assert [entry.essence for entry in entries] == ["multipart/related", "text/html"]
    assert entries[0].parameters == {"type": "application/dicom, x"}
    assert (
        require_model(parse_accept("application/json;q=0.5, application/dicom+json"))
        == "application/dicom+json"
    )
    with pytest.raises(NotAcceptable):
        require_model(parse_accept("multipart/related; type=image/jpeg"))
    for bad in ("a/b; q=2", "a/b; x", "a/b x", "nonsense", "a/b; c=1; c=2", "x" * 9000):
        with pytest.raises(BadRequest):
            parse_accept(bad)
    assert parse_media_type(r'a/b; c="q\"d"').parameters == {"c": 'q"d'}


def test_xml_of_a_store_response_escapes():
    report = store_response.StoreReport(failed=[(store_response.Named("1.2", "<&>"), 0xC000)])
    text = store_response.encode(report, "https://localhost/dicom-web", xml=True).decode()
    assert "&lt;&amp;&gt;" in text
    assert qido.check_uid("1.2.3") == "1.2.3"
