"""Rights that fall while bytes flow: the stream ends before its end."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.archive import Archive, Browser, new_archive
from helpers.raw_scu import RawAssociation
from ribcage.guard import protocol as p

CR = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY = "2.25.4711"
SIDE = 5000  # a picture of 50 MB


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("revocation")) as running:
        modality = running.device("cr1", "CR1", "store")
        with RawAssociation(
            running.dicom, [(CR, [EXPLICIT])], ssl_context=modality.context(), calling="CR1"
        ) as association:
            assert association.store(CR, f"{STUDY}.1.1", film()) == 0
        yield running


def film() -> bytes:
    """A large CR data set, made by hand."""

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        head = group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr
        long = vr == b"OW"
        return (
            head
            + (b"\0\0" + len(value).to_bytes(4, "little") if long else len(value).to_bytes(2, "little"))
            + value
        )

    us = {0x0002: 1, 0x0010: SIDE, 0x0011: SIDE, 0x0100: 16, 0x0101: 16, 0x0102: 15, 0x0103: 0}
    return b"".join(
        [
            element(0x0008, 0x0016, b"UI", CR.encode()),
            element(0x0008, 0x0018, b"UI", f"{STUDY}.1.1".encode()),
            element(0x0008, 0x0060, b"CS", b"CR"),
            element(0x0010, 0x0010, b"PN", b"Muster^Erika"),
            element(0x0010, 0x0020, b"LO", b"P4711"),
            element(0x0020, 0x000D, b"UI", STUDY.encode()),
            element(0x0020, 0x000E, b"UI", f"{STUDY}.1".encode()),
            *(element(0x0028, number, b"US", value.to_bytes(2, "little")) for number, value in us.items()),
            element(0x7FE0, 0x0010, b"OW", os.urandom(1 << 16) * (2 * SIDE * SIDE // (1 << 16) + 1)),
        ]
    )


def stream(browser: Browser) -> http.client.HTTPResponse:
    """An open WADO answer whose body is not read yet."""
    context = ssl.create_default_context(cafile=str(browser.archive.authority))
    connection = http.client.HTTPSConnection(
        "localhost", browser.archive.https[1], context=context, timeout=30
    )
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    connection.request("GET", f"/dicom-web/studies/{STUDY}", headers=_headers(browser, accept))
    return connection.getresponse()


def _headers(browser: Browser, accept: str) -> dict[str, str]:
    return {"Cookie": browser.cookie, "Accept": accept, "User-Agent": browser.agent}


def read_to_the_end(answer: http.client.HTTPResponse) -> tuple[int, bool]:
    """`(bytes, complete)`."""
    count = 0
    try:
        while part := answer.read(1 << 16):
            count += len(part)
    except (http.client.IncompleteRead, ssl.SSLError, ConnectionError):
        return count, False
    return count, True


@pytest.mark.parametrize("how", ["revoke", "suspend", "object", "log_out"])
def test_open_stream_ends_when_the_right_falls(archive: Archive, how: str) -> None:
    doctor = archive.person(f"li-{how}", "clinician")
    grant = archive.grant(f"person:li-{how}", f"study:{STUDY}", "full")
    assert doctor.step_up().status == 200
    answer = stream(doctor)
    assert answer.status == 200
    assert len(answer.read(1 << 16)) == 1 << 16
    started = time.monotonic()
    if how == "revoke":
        archive.revoke(grant)
    elif how == "suspend":
        archive.ask(p.SuspendPerson(username=f"li-{how}", suspended=True), p.Noted)
    elif how == "object":
        archive.ask(p.Object(patient="P4711", subject=f"person:li-{how}", standing=True), p.Noted)
    else:
        assert doctor.request("/api/logout", b"{}", Content_Type="application/json").status in (200, 204)
    count, complete = read_to_the_end(answer)
    assert not complete
    assert count < 2 * SIDE * SIDE
    assert time.monotonic() - started < 10
    assert doctor.retrieve(f"studies/{STUDY}").status in (401, 403)


def test_open_stream_ends_when_the_grant_runs_out(archive: Archive) -> None:
    doctor = archive.person("li-expiring", "clinician")
    until = time.time() + 3
    request = p.AddGrant(
        subject="person:li-expiring", resource=f"study:{STUDY}", view="full", valid_until=until
    )
    archive.ask(request, p.GrantAdded)
    assert doctor.step_up().status == 200
    answer = stream(doctor)
    assert (answer.status, answer.getheader("X-Ribcage-View")) == (200, "full")
    assert len(answer.read(1 << 16)) == 1 << 16
    while (status := doctor.request(f"/dicom-web/studies/{STUDY}/metadata").status) == 200:
        assert time.time() < until + 5
    assert status == 403
    count, complete = read_to_the_end(answer)
    assert not complete
    assert count < 2 * SIDE * SIDE


def test_masked_until_the_second_factor_and_a_code_works_once(archive: Archive) -> None:
    doctor = archive.person("li-masked", "clinician")
    archive.grant("person:li-masked", f"study:{STUDY}", "full")
    masked = doctor.retrieve(f"studies/{STUDY}")
    assert (masked.status, masked.headers["x-ribcage-view"]) == (200, "masked")
    for text in (b"Muster", b"P4711"):
        assert text not in masked.body
    forced = doctor.retrieve(f"studies/{STUDY}", X_Ribcage_View="full")
    assert forced.headers.get("x-ribcage-view") != "full"
    code = json.dumps({"code": doctor.totp.now()}).encode()
    answers = [doctor.request("/api/step-up", code, Content_Type="application/json") for _ in range(2)]
    assert [answers[0].status < 300, answers[1].status] == [True, 401]
    full = doctor.retrieve(f"studies/{STUDY}")
    assert (full.status, full.headers["x-ribcage-view"]) == (200, "full")
    assert b"Muster^Erika" in full.body


def test_a_slow_reader_holds_nobody_back(archive: Archive) -> None:
    slow = archive.person("slow", "clinician")
    quick = archive.person("quick", "clinician")
    for name in ("slow", "quick"):
        archive.grant(f"person:{name}", f"study:{STUDY}", "masked")
    held = stream(slow)
    held.read(1 << 10)
    done = threading.Event()

    def whole() -> None:
        if quick.retrieve(f"studies/{STUDY}").status == 200:
            done.set()

    thread = threading.Thread(target=whole)
    thread.start()
    thread.join(30)
    held.close()
    assert done.is_set()


def test_closing_entries_tell_what_really_left(archive: Archive, tmp_path: Path) -> None:
    page = archive.ask(p.AuditPage(start=0, count=1000), p.AuditEntries)
    closed = [text for _, text in page.entries if "disclosure-closed" in text]
    assert any('"cut"' in text for text in closed)
    assert any('"complete"' in text for text in closed)
    assert not any("Muster" in text or "P4711" in text for _, text in page.entries)
