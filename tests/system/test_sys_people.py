"""The people side over HTTPS: event streams on every tab and front, stolen cookies, passkeys, administration."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator

import pytest

from helpers.archive import Archive, Browser, Reply, new_archive
from helpers.authenticator import Authenticator
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send


class Tab:
    """One open event stream."""

    def __init__(self, browser: Browser) -> None:
        context = ssl.create_default_context(cafile=str(browser.archive.authority))
        place = ("localhost", browser.archive.https[1])
        self._connection = http.client.HTTPSConnection(*place, context=context, timeout=20)
        headers = {"Cookie": browser.cookie, "User-Agent": browser.agent}
        self._connection.request("GET", "/api/events", headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        if self.status == 200:
            assert self._answer.headers["content-type"].startswith("text/event-stream")
            assert self.next() == {"type": "hello"}

    def next(self) -> dict[str, object] | None:
        """The next event; None when the stream has ended."""
        while line := self._answer.readline():
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        return None

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("people"), fronts=2) as running:
        assert (
            send(running, running.device("cr1", "CR1", "store"), instance_of(make_study(41, 1).file))
            == SUCCESS
        )
        yield running


def ask(browser: Browser, path: str, body: object = None, **headers: str) -> Reply:
    data = None if body is None else json.dumps(body).encode()
    return browser.request(path, data, Content_Type="application/json", **headers)


def told(reply: Reply) -> dict:
    return json.loads(reply.body)


@contextlib.contextmanager
def tabs(browser: Browser, count: int) -> Iterator[list[Tab]]:
    opened = [Tab(browser) for _ in range(count)]
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


def test_every_tab_on_every_front_hears_at_once(archive: Archive) -> None:
    study = make_study(41, 1).study_uid
    doctor = archive.person("li", "clinician")
    archive.grant("person:li", f"study:{study}", "full")
    number = archive.ask(p.AddGrant("person:li", "department:x", "masked"), p.GrantAdded).grant_id - 1
    with tabs(doctor, 6) as opened:  # more than one front takes: both have some
        assert {each.status for each in opened} == {200}
        assert doctor.step_up().status == 200
        for each in opened:
            event = each.next()
            assert event and (event["type"], event["until"] > time.time()) == ("assurance", True)
        assert doctor.retrieve(f"studies/{study}").status == 200
        begun = time.monotonic()
        archive.ask(p.RevokeGrant(number), p.Noted)
        for each in opened:
            assert each.next() == {"type": "revoked", "study": study}
        assert time.monotonic() - begun < 1.0
        assert doctor.request("/api/logout", b"").status == 204
        for each in opened:
            assert each.next() == {"type": "session-ended"}
            assert each.next() is None


def test_streams_of_one_session_are_counted_and_given_back(archive: Archive) -> None:
    doctor = archive.person("mo", "clinician")
    with tabs(doctor, 12) as opened:  # four on each of two fronts
        status = [each.status for each in opened]
        assert 4 <= status.count(200) <= 8
        assert status.count(200) + status.count(429) == 12
    stranger = Browser(archive, doctor.totp)
    with tabs(stranger, 1) as opened:
        assert opened[0].status == 401


def test_a_cookie_in_another_browser_is_refused(archive: Archive) -> None:
    doctor = archive.person("na", "clinician")
    assert doctor.request("/api/session").status == 200
    assert doctor.request("/api/session", User_Agent="curl/8").status == 401
    assert doctor.request("/api/session").status == 200


def test_the_session_tells_what_a_page_needs(archive: Archive) -> None:
    doctor = archive.person("pu", "clinician")
    answer = told(doctor.request("/api/session", Accept_Language="zh-CN,zh;q=0.9,en;q=0.8"))
    assert answer["factors"] == {"totp": True, "passkeys": 0, "recovery_codes": 0}
    assert (answer["language"], answer["assurance"], answer["assurance_until"]) == ("zh", 1, 0)
    assert answer["roles"] == ["clinician"]
    assert answer["hospital"]
    before = doctor.cookie
    assert doctor.step_up().status == 200
    assert doctor.cookie != before
    assert told(doctor.request("/api/session"))["second_factor"] == "totp"


def test_passkeys_and_codes_over_https(archive: Archive) -> None:
    doctor, device = archive.person("qi", "clinician"), Authenticator(f"https://localhost:{archive.https[1]}")
    assert ask(doctor, "/api/passkeys/begin", {}).status == 403
    assert doctor.step_up().status == 200
    options = ask(doctor, "/api/passkeys/begin", {}).body.decode()
    made = ask(doctor, "/api/passkeys", {"label": "钥匙", "credential": json.loads(device.create(options))})
    assert told(made)["label"] == "钥匙"
    other = Browser(archive, doctor.totp)
    options = ask(other, "/api/login/passkey/begin", {}).body.decode()
    assert "allowCredentials" not in options or json.loads(options)["allowCredentials"] == []
    entered = ask(other, "/api/login/passkey", {"credential": json.loads(device.get(options))})
    assert (entered.status, told(entered)["assurance"]) == (200, 2)
    other.cookie = entered.headers["set-cookie"].split(";")[0]
    assert told(other.request("/api/session"))["username"] == "qi"
    options = ask(doctor, "/api/step-up/passkey/begin", {}).body.decode()
    stepped = ask(doctor, "/api/step-up/passkey", {"credential": json.loads(device.get(options))})
    assert told(stepped)["second_factor"] == "passkey"
    codes = told(ask(doctor, "/api/recovery-codes", {}))["codes"]
    assert told(ask(doctor, "/api/step-up/recovery", {"code": codes[0]}))["notices"] == ["recovery_code_used"]
    listed = told(doctor.request("/api/sessions"))["sessions"]
    assert len(listed) == 2
    mine = [each["id"] for each in listed if not each["this"]]
    assert ask(doctor, "/api/sessions/end", {"id": mine[0]}).status == 204
    assert other.request("/api/session").status == 401
    assert ask(doctor, "/api/passkeys/remove", {"id": told(made)["id"]}).status == 204
    assert told(doctor.request("/api/passkeys")) == {"passkeys": []}
    for bad in ({"id": "x"}, {"id": "é" * 22}, {}, [], {"id": mine[0], "more": 1}):
        assert ask(doctor, "/api/sessions/end", bad).status == 400
    too_long = {"credential": {"id": "x" * 20_000}}
    assert ask(doctor, "/api/step-up/passkey", too_long).status == 413


def test_an_administrator_s_minimum_over_https(archive: Archive) -> None:
    root = archive.person("root", "administrator")
    assert root.request("/api/admin/persons").status == 403
    assert root.step_up().status == 200
    added = ask(
        root, "/api/admin/persons", {"username": "xu", "display_name": "Xu", "roles": ["radiologist"]}
    )
    assert set(told(added)) == {"password", "totp_uri"}
    grant = ask(
        root,
        "/api/admin/grants",
        {"subject": "person:xu", "resource": "department:radiology", "view": "full"},
    )
    listed = told(root.request("/api/admin/grants"))["grants"]
    assert listed[0]["grant_id"] == told(grant)["grant_id"]
    assert ask(root, "/api/admin/grants/revoke", told(grant)).status == 204
    assert told(grant) not in [
        {"grant_id": g["grant_id"]} for g in told(root.request("/api/admin/grants"))["grants"]
    ]
    assert ask(root, "/api/admin/persons/suspend", {"username": "xu", "suspended": True}).status == 204
    persons = {each["username"]: each for each in told(root.request("/api/admin/persons"))["persons"]}
    assert persons["xu"]["suspended"]
    assert "password_hash" not in persons["xu"]
    devices = told(root.request("/api/admin/devices"))["devices"]
    assert len(bytes.fromhex(devices[0]["fingerprint"])) == 32
    assert told(root.request("/api/admin/status"))["log_size"] > 0
    assert told(root.request("/api/admin/parked")) == {"parked": []}
    foreign = ask(root, "/api/admin/grants/revoke", {"grant_id": 1}, Origin="https://evil.example")
    assert (foreign.status, told(foreign)["error"]) == (403, "foreign_origin")
    plain = root.request("/api/admin/grants/revoke", b'{"grant_id": 1}', Content_Type="text/plain")
    assert plain.status == 415


def test_who_is_throttled_hears_for_how_long_and_an_administrator_sees_who(archive: Archive) -> None:
    root, officer = archive.person("root2", "administrator"), archive.person("fu2", "officer")
    archive.person("qin", "clinician")
    stranger = Browser(archive, root.totp)
    for name, most in (("qin", 5), ("hunter2-typed-as-name", 5)):
        for _ in range(most):
            assert stranger.log_in(name, "wrong").status == 401
        refused = stranger.log_in(name, "wrong")
        assert refused.status == 429
        assert 280 < int(refused.headers["retry-after"]) <= 300
    form = stranger.request(
        "/login", b"username=qin&password=x", Content_Type="application/x-www-form-urlencoded"
    )
    assert form.status == 429
    assert re.search("Try again in [0-9]{3} seconds", form.body.decode())
    assert root.request("/api/admin/throttled").status == 403
    for each in (root, officer):
        assert each.step_up().status == 200
        listed = told(each.request("/api/admin/throttled"))["throttled"]
        assert {(one["what"], one["username"]) for one in listed} >= {("log-in", "qin"), ("log-in", "")}
        assert all(one["address"] and one["until"] > time.time() for one in listed)
