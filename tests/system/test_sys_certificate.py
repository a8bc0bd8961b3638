"""Renewing the listeners' certificate under running fronts: none is restarted, no open connection ends."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from pathlib import Path

import pytest

from helpers.archive import Archive, new_archive
from helpers.guard_house import PASSPHRASE, PLAN
from ribcage.crypto import authority
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import TLS_CHAIN_BLOB, TLS_KEY_BLOB, create_home, open_core
from ribcage.guard.limits import GuardLimits


def shown(archive: Archive) -> tuple[http.client.HTTPSConnection, bytes]:
    """A connection of its own, verified against the authority, and the certificate that it was shown."""
    context = ssl.create_default_context(cafile=str(archive.authority))
    link = http.client.HTTPSConnection("localhost", archive.https[1], context=context, timeout=20)
    link.connect()
    certificate = link.sock.getpeercert(True)
    assert certificate is not None
    return link, certificate


def answers(link: http.client.HTTPSConnection) -> int:
    link.request("GET", "/healthz")
    reply = link.getresponse()
    reply.read()
    return reply.status


def test_running_fronts_show_the_new_certificate_at_once_and_keep_their_connections(tmp_path: Path) -> None:
    with new_archive(tmp_path, fronts=2) as archive:
        archive.device("cr1", "CR1", "store")
        processes = archive.children()
        before, old = shown(archive)
        assert answers(before) == 200
        renewed = archive.ask(p.RenewCertificate(["pacs.localhost"], ["10.1.2.3"]), p.CertificateRenewed)
        assert renewed.fingerprint != hashlib.sha256(old).digest()
        assert {*authority.names_of(old), "pacs.localhost", "10.1.2.3"} == set(renewed.names)
        links = [shown(archive) for _ in range(8)]  # more than fronts
        assert {hashlib.sha256(each).digest() for _, each in links} == {renewed.fingerprint}
        assert [answers(link) for link, _ in links] == [200] * 8
        assert answers(before) == 200
        assert archive.children() == processes
        for link, _ in (*links, (before, b"")):
            link.close()
        for wrong in (p.RenewCertificate(["pacs.example.org"]), p.RenewCertificate([], ["8.8.8.8"])):
            with pytest.raises(GuardRefused) as refused:
                archive.ask(wrong, p.CertificateRenewed)
            assert refused.value.reason == "invalid"
        log = archive.ask(p.AuditPage(0, 1000), p.AuditEntries)
        assert sum("listener-certificate" in body for _, body in log.entries) == 1


def test_certificate_and_key_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    create_home(tmp_path / "home", tmp_path / "root", PASSPHRASE, PLAN)
    core, _ = open_core(tmp_path / "home", PASSPHRASE, GuardLimits())
    try:
        keyring = core.keyring
        before = keyring.load_blob(TLS_CHAIN_BLOB), keyring.load_blob(TLS_KEY_BLOB)
        with pytest.raises(TypeError):
            keyring.store_blob(TLS_CHAIN_BLOB, b"new", (TLS_KEY_BLOB, None))  # type: ignore[arg-type]
        keyring._write.execute(
            "CREATE TRIGGER full BEFORE INSERT ON blob WHEN NEW.name = 'tls-key' "
            "BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        with pytest.raises(Exception, match="key store"):
            keyring.store_blob(TLS_CHAIN_BLOB, b"new", (TLS_KEY_BLOB, b"new"))
        assert (keyring.load_blob(TLS_CHAIN_BLOB), keyring.load_blob(TLS_KEY_BLOB)) == before
    finally:
        core.close()
