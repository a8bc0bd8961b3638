"""The authority: OpenSSL accepts its chains under X509_STRICT, and refuses what the rules forbid."""

from __future__ import annotations

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ribcage.crypto import authority
from ribcage.crypto.authority import Issued
from ribcage.crypto.errors import CertificateRefused
from ribcage.crypto.memory import SecretFile

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def root() -> Issued:
    return authority.make_root("Test 医院", now=NOW)


@pytest.fixture(scope="module")
def issuing(root: Issued) -> Issued:
    return authority.make_intermediate(root, "Test 医院", now=NOW, dns_names=("localhost", "example.org"))


@pytest.fixture(scope="module")
def server(issuing: Issued) -> Issued:
    return authority.issue_server(issuing, now=NOW, hostnames=["pacs.example.org"])


@pytest.fixture(scope="module")
def client(issuing: Issued) -> Issued:
    return authority.issue_client(issuing, "ct-1", now=NOW, kind="ec")


def context(side: int, leaf: Issued, issuing: Issued, trusted: bytes) -> ssl.SSLContext:
    made = ssl.SSLContext(side)
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=trusted.decode())
    chain = leaf.certificate_pem + issuing.certificate_pem + leaf.private_key_pem
    with SecretFile(chain) as secret:
        made.load_cert_chain(secret.path)
    return made


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> bytes:
    """Both sides over memory; returns the client certificate that the server saw (DER)."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = ends[:]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    seen = ends[1].getpeercert(binary_form=True)
    assert seen is not None
    return seen


@pytest.mark.parametrize("host", ["localhost", "pacs.example.org", "127.0.0.1", "::1"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_openssl_strict_accepts_both_sides(
    root: Issued, issuing: Issued, server: Issued, client: Issued, host: str, version: ssl.TLSVersion
) -> None:
    ours = context(ssl.PROTOCOL_TLS_SERVER, server, issuing, root.certificate_pem)
    theirs = context(ssl.PROTOCOL_TLS_CLIENT, client, issuing, root.certificate_pem)
    theirs.maximum_version = theirs.minimum_version = version
    seen = handshake(theirs, ours, host)
    assert authority.fingerprint(seen) == authority.fingerprint(client.certificate_pem)


def test_the_server_leaf_may_call_others(root: Issued, issuing: Issued, server: Issued) -> None:
    ours = context(ssl.PROTOCOL_TLS_SERVER, server, issuing, root.certificate_pem)
    theirs = context(ssl.PROTOCOL_TLS_CLIENT, server, issuing, root.certificate_pem)
    assert authority.fingerprint(handshake(theirs, ours, "localhost")) == authority.fingerprint(
        server.certificate_pem
    )


def test_a_device_leaf_cannot_pose_as_the_server(root: Issued, issuing: Issued, client: Issued) -> None:
    posing = context(ssl.PROTOCOL_TLS_SERVER, client, issuing, root.certificate_pem)
    caller = context(ssl.PROTOCOL_TLS_CLIENT, client, issuing, root.certificate_pem)
    caller.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(caller, posing, "localhost")


def test_a_leaf_outside_the_name_constraints_is_refused_by_us_and_by_openssl(
    root: Issued, issuing: Issued, client: Issued
) -> None:
    for wrong in ({"hostnames": ["pacs.example.com"]}, {"addresses": ["8.8.8.8"]}, {"addresses": ["x"]}):
        with pytest.raises(CertificateRefused):
            authority.issue_server(issuing, now=NOW, **wrong)  # type: ignore[arg-type]
    # an attacker with the issuing key signs it all the same
    key = ec.generate_private_key(ec.SECP256R1())
    uses = [x509.ExtendedKeyUsageOID.SERVER_AUTH]
    names: list[x509.GeneralName] = [x509.DNSName("pacs.example.com")]
    leaf = authority._leaf(issuing, "pacs", key.public_key(), uses, NOW, 9, names)
    posing = context(ssl.PROTOCOL_TLS_SERVER, authority._issued(leaf, key), issuing, root.certificate_pem)
    caller = context(ssl.PROTOCOL_TLS_CLIENT, client, issuing, root.certificate_pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        handshake(caller, posing, "pacs.example.com")


def test_a_leaf_cannot_issue_and_the_issuing_authority_makes_no_authority(
    root: Issued, issuing: Issued, client: Issued
) -> None:
    deeper = authority.make_intermediate(issuing, "deeper", now=NOW)
    leaf = authority.issue_client(deeper, "ct-2", now=NOW, kind="ec")
    posing = Issued(deeper.certificate_pem + issuing.certificate_pem, b"")
    ours = context(
        ssl.PROTOCOL_TLS_SERVER, authority.issue_server(issuing, now=NOW), issuing, root.certificate_pem
    )
    theirs = context(ssl.PROTOCOL_TLS_CLIENT, leaf, posing, root.certificate_pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="path length constraint exceeded"):
        handshake(theirs, ours, "localhost")


def request(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    name = x509.Name.from_rfc4514_string("CN=I am the server,O=else")
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def test_only_the_key_is_taken_from_a_request(issuing: Issued) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = authority.issue_from_csr(issuing, "mr-1", request(key), now=NOW)
    info = authority.read_certificate(pem)
    assert (info.common_name, info.is_authority) == ("mr-1", False)
    made = x509.load_pem_x509_certificate(pem)
    assert made.public_key() == key.public_key()
    assert made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage(
        [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    )


def test_a_request_without_possession_of_its_key_is_refused(issuing: Issued) -> None:
    pem = request(ec.generate_private_key(ec.SECP256R1()))
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER))
    der[-3] ^= 1
    broken = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    with pytest.raises(CertificateRefused, match="possession"):
        authority.issue_from_csr(issuing, "mr-1", broken, now=NOW)


def test_weak_or_unusual_keys_and_noise_are_refused(issuing: Issued) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    for bad in (request(weak), request(ed25519.Ed25519PrivateKey.generate()), b"", b"-----BEGIN"):
        with pytest.raises(CertificateRefused):
            authority.issue_from_csr(issuing, "mr-1", bad, now=NOW)
    for noise in (b"", b"noise", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(CertificateRefused):
            authority.read_certificate(noise)


@pytest.mark.parametrize("name", ["", "x" * 65, "ct.example.org", " ct", "ct\n1", "ct\x00"])
def test_names_that_could_mislead_are_refused(issuing: Issued, name: str) -> None:
    with pytest.raises(CertificateRefused):
        authority.issue_client(issuing, name, now=NOW, kind="ec")


def test_a_chain_is_not_taken_for_a_leaf(issuing: Issued, client: Issued) -> None:
    with pytest.raises(CertificateRefused, match="chain"):
        authority.fingerprint(client.certificate_pem + issuing.certificate_pem)


def test_an_expired_authority_issues_nothing_and_leaves_never_outlive_it(
    root: Issued, issuing: Issued
) -> None:
    with pytest.raises(CertificateRefused, match="not valid now"):
        authority.issue_client(issuing, "ct", now=NOW + datetime.timedelta(days=9000), kind="ec")
    late = NOW + datetime.timedelta(days=authority.INTERMEDIATE_DAYS - 10)
    leaf = authority.issue_client(issuing, "ct", now=late, kind="ec")
    assert (
        authority.read_certificate(leaf.certificate_pem).not_after
        == authority.read_certificate(issuing.certificate_pem).not_after
    )


def test_certificates_read_alike_as_pem_and_der_and_keys_stay_out_of_reprs(client: Issued) -> None:
    info = authority.read_certificate(client.certificate_pem)
    assert authority.read_certificate(info.der) == info
    assert info.pem == client.certificate_pem
    assert info.common_name == "ct-1"
    assert "PRIVATE" not in repr(client)


def test_the_root_key_is_kept_encrypted_and_openssl_formats_it(root: Issued) -> None:
    sealed = authority.encrypt_private_key(root.private_key_pem, b"a long passphrase")
    assert sealed.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    opened = serialization.load_pem_private_key(sealed, b"a long passphrase")
    plain = serialization.load_pem_private_key(root.private_key_pem, None)
    assert opened.private_bytes(*_raw()) == plain.private_bytes(*_raw())  # type: ignore[union-attr]


def _raw() -> tuple[serialization.Encoding, serialization.PrivateFormat, serialization.NoEncryption]:
    return serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
