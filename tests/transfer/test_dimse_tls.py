"""The TLS profile: versions, resumption, partial chains; checked with OpenSSL's client through Python."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ribcage.crypto import authority
from ribcage.guard.protocol import TlsIdentity
from ribcage.transfer.errors import IdentityUnusable
from ribcage.transfer.tls import TlsContexts


@dataclass(frozen=True)
class Pki:
    root: authority.Issued
    middle: authority.Issued
    server: authority.Issued
    client: authority.Issued

    def identity(self, leaves: bytes = b"") -> TlsIdentity:
        chain = self.server.certificate_pem + self.middle.certificate_pem
        trusted = self.middle.certificate_pem + self.root.certificate_pem
        return TlsIdentity(chain, self.server.private_key_pem, trusted, leaves, 1)


def _pki(name: str) -> Pki:
    now = datetime.now(UTC)
    root = authority.make_root(name, now=now)
    middle = authority.make_intermediate(root, name, now=now)
    return Pki(
        root, middle, authority.issue_server(middle, now=now), authority.issue_client(middle, "CT1", now=now)
    )


@pytest.fixture(scope="module")
def pki() -> Pki:
    return _pki("Here")


@pytest.fixture(scope="module")
def elsewhere() -> Pki:
    return _pki("Elsewhere")


def _client(pki: Pki, who: authority.Issued | None) -> ssl.SSLContext:
    from helpers.front_house import client_context

    if who is None:
        return client_context(pki.root.certificate_pem)
    return client_context(pki.root.certificate_pem, who.certificate_pem, who.private_key_pem)


def _talk(server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None):
    """One handshake in memory: (server's object, client's object). Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    other = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    done: set[str] = set()
    for _ in range(8):
        for name, side in (("client", other), ("server", one)):
            if name not in done:
                try:
                    side.do_handshake()
                    done.add(name)
                except ssl.SSLWantReadError:
                    pass
    if done == {"client", "server"}:
        one.write(b"x")
        assert other.read(1) == b"x"
    return one, other


def test_registered_peer_is_seen_by_its_leaf(pki: Pki) -> None:
    one, _ = _talk(TlsContexts(pki.identity()).fresh("dicom"), _client(pki, pki.client))
    leaf = one.getpeercert(True)
    assert leaf is not None
    assert hashlib.sha256(leaf).digest() == authority.fingerprint(pki.client.certificate_pem)


@pytest.mark.parametrize("listener", ["dicom", "https"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_is_never_resumed(pki: Pki, listener, version: ssl.TLSVersion) -> None:
    contexts, client = TlsContexts(pki.identity()), _client(pki, pki.client)
    client.maximum_version = version
    _, first = _talk(contexts.fresh(listener), client)
    one, second = _talk(contexts.fresh(listener), client, first.session)
    assert not one.session_reused
    assert not second.session_reused


@pytest.mark.parametrize(
    "ciphers", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"]
)
def test_cipher_without_forward_secrecy_or_aead_is_refused(pki: Pki, ciphers: str) -> None:
    client = _client(pki, pki.client)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError):
        _talk(TlsContexts(pki.identity()).fresh("dicom"), client)


def test_https_takes_a_browser_without_certificate_and_dicom_does_not(pki: Pki) -> None:
    contexts = TlsContexts(pki.identity())
    one, _ = _talk(contexts.fresh("https"), _client(pki, None))
    assert one.getpeercert(True) is None
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        _talk(contexts.fresh("dicom"), _client(pki, None))


@pytest.mark.parametrize("listener", ["dicom", "https"])
def test_registered_leaf_of_a_foreign_authority_opens_and_its_sibling_does_not(
    pki: Pki, elsewhere: Pki, listener
) -> None:
    sibling = authority.issue_client(elsewhere.middle, "CT2", now=datetime.now(UTC))
    contexts = TlsContexts(pki.identity(authority.read_certificate(elsewhere.client.certificate_pem).pem))
    _talk(contexts.fresh(listener), _client(pki, elsewhere.client))
    with pytest.raises(ssl.SSLError):
        _talk(contexts.fresh(listener), _client(pki, sibling))


def test_broken_identity_is_refused_when_it_comes_not_when_it_is_used(pki: Pki, elsewhere: Pki) -> None:
    good = pki.identity()
    bad = TlsIdentity(
        good.certificate_chain_pem, elsewhere.server.private_key_pem, good.client_authorities_pem, b"", 2
    )
    with pytest.raises(IdentityUnusable):
        TlsContexts(bad)
