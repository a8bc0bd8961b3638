"""The home's certificate authority (RFC 5280), checked by OpenSSL with X509_STRICT.

Rules, in order:
1. Root (path length 1) → intermediate (path length 0, name constraints) → leaves. The root's private key is
   returned once and kept apart; every-day issuing needs only the intermediate's.
2. The intermediate may name servers only within its permitted DNS names and networks.
3. A server leaf is RSA (DICOM PS3.15 B.12 peers expect it) and may also call others (C-MOVE).
4. A device leaf names the device in CN and is for clients only. From a CSR only the key is taken, after its
   signature proved possession (RFC 2986); names and uses are ours.
5. Identity is the certificate's fingerprint, never its names (DESIGN rule 4).
6. Times are arguments, aware of their zone. A leaf never outlives its issuer.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ribcage.crypto.errors import CertificateRefused

RSA_BITS = 3072
MIN_RSA_BITS = 2048  # of foreign keys (BCP 195)
ROOT_DAYS = 7300
INTERMEDIATE_DAYS = 3650
LEAF_DAYS = 397
_SKEW = timedelta(minutes=5)
_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

PRIVATE_NETWORKS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key (PKCS #8, not encrypted: seal it at once), both PEM."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)


@dataclass(frozen=True)
class CertificateInfo:
    """What others may know of a certificate. `fingerprint` is SHA-256 of the DER."""

    common_name: str
    not_before: datetime
    not_after: datetime
    fingerprint: bytes
    der: bytes
    is_authority: bool

    @property
    def pem(self) -> bytes:
        """The certificate alone, normalised PEM."""
        return x509.load_der_x509_certificate(self.der).public_bytes(serialization.Encoding.PEM)


def make_root(name: str, *, now: datetime, days: int = ROOT_DAYS) -> Issued:
    """A self-signed root for this home. Takes the time of an RSA key, about half a second."""
    key = rsa.generate_private_key(65537, RSA_BITS)
    subject = _subject(name, "Root CA")
    builder = _builder(subject, subject, key.public_key(), now, now + timedelta(days=days))
    return _issued(_authority_uses(builder, 1).sign(key, SHA256()), key)


def make_intermediate(
    root: Issued,
    name: str,
    *,
    now: datetime,
    dns_names: Iterable[str] = ("localhost",),
    networks: Iterable[Network] = PRIVATE_NETWORKS,
    days: int = INTERMEDIATE_DAYS,
) -> Issued:
    """The authority of every day: may name only these DNS names (and below) and networks (rule 2)."""
    issuer, issuer_key = _issuer(root, now)
    key = rsa.generate_private_key(65537, RSA_BITS)
    builder = _builder(
        _subject(name, "Issuing CA"), issuer.subject, key.public_key(), now, _until(issuer, now, days)
    )
    permitted: list[x509.GeneralName] = [_dns_name(each) for each in dns_names]
    permitted += [x509.IPAddress(each) for each in networks]
    builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(_key_id_of(issuer), critical=False)
    return _issued(_authority_uses(builder, 0).sign(issuer_key, SHA256()), key)


def issue_server(
    issuer: Issued,
    *,
    now: datetime,
    hostnames: Sequence[str] = (),
    addresses: Iterable[str] = ("127.0.0.1", "::1"),
    days: int = LEAF_DAYS,
) -> Issued:
    """The listener's leaf for localhost, these host names and addresses (rule 3).

    CertificateRefused for names outside the issuer's constraints: no peer would accept that leaf.
    """
    names = list(dict.fromkeys([*hostnames, "localhost"]))
    try:
        places = [ipaddress.ip_address(each) for each in dict.fromkeys(addresses)]
    except ValueError:
        raise CertificateRefused("expected IPv4 or IPv6 addresses for the server's leaf") from None
    general: list[x509.GeneralName] = [_dns_name(each) for each in names]
    general += [x509.IPAddress(each) for each in places]
    _check_permitted(_load(issuer.certificate_pem), names, places)
    key = rsa.generate_private_key(65537, RSA_BITS)
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issued(_leaf(issuer, names[0], key.public_key(), uses, now, days, general), key)


def make_self_signed(
    name: str, *, now: datetime, addresses: Iterable[str] = (), days: int = ROOT_DAYS
) -> Issued:
    """A server's certificate that nobody vouches for: callers pin its fingerprint. On P-256."""
    places = [x509.IPAddress(ipaddress.ip_address(each)) for each in dict.fromkeys(addresses)]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key(), now, now + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    alternative = x509.SubjectAlternativeName([_dns_name("localhost"), *places])
    return _issued(builder.add_extension(alternative, critical=False).sign(key, SHA256()), key)


def issue_client(
    issuer: Issued, name: str, *, now: datetime, kind: Literal["rsa", "ec"] = "rsa", days: int = LEAF_DAYS
) -> Issued:
    """A device's leaf with a fresh key; `name` becomes the CN. The private key is not kept here."""
    key: PrivateKey = (
        rsa.generate_private_key(65537, RSA_BITS)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issued(_leaf(issuer, _device_name(name), key.public_key(), uses, now, days), key)


def make_request(name: str) -> Issued:
    """A PKCS #10 request (in the certificate's place) and its new key on P-256; the key never leaves its maker."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _device_name(name))])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    form, no_encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Issued(
        request.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, form, no_encryption),
    )


def issue_from_csr(
    issuer: Issued, name: str, csr_pem: bytes, *, now: datetime, days: int = LEAF_DAYS
) -> bytes:
    """A device's leaf (PEM) for the key of a PKCS #10 request; CertificateRefused without possession."""
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        proven = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateRefused("expected a PKCS #10 request in PEM; make one with 'openssl req'") from None
    if not proven:
        raise CertificateRefused("the request is not signed by its own key: possession is not proven")
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf = _leaf(issuer, _device_name(name), check_public_key(key), uses, now, days)
    return leaf.public_bytes(serialization.Encoding.PEM)


def check_public_key(key: object) -> PublicKey:
    """Return a key that is strong enough (RSA of 2048 bits, P-256, P-384, P-521), else CertificateRefused."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    ):
        return key
    raise CertificateRefused(f"expected RSA of {MIN_RSA_BITS} bits or more, or EC P-256, P-384, P-521")


def read_certificate(pem_or_der: bytes) -> CertificateInfo:
    """Read exactly one certificate whose key is strong enough; CertificateRefused otherwise."""
    certificate = _load(pem_or_der)
    try:
        check_public_key(certificate.public_key())
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        try:
            authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            authority = False
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        raise CertificateRefused("the certificate has a key or extension that cannot be read") from None
    der = certificate.public_bytes(serialization.Encoding.DER)
    return CertificateInfo(
        common_name=str(names[0].value) if names else "",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=hashlib.sha256(der).digest(),
        der=der,
        is_authority=authority,
    )


def read_chain(pem: bytes) -> list[CertificateInfo]:
    """Every certificate of a chain, in its order; CertificateRefused when one cannot be read."""
    return [read_certificate(_PEM_BEGIN + one) for one in pem.split(_PEM_BEGIN)[1:]]


def names_of(pem_or_der: bytes) -> tuple[str, ...]:
    """DNS names and addresses that a certificate is for (RFC 5280 4.2.1.6); CertificateRefused when unreadable."""
    try:
        names = _load(pem_or_der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except ValueError:
        raise CertificateRefused("the certificate has a name that cannot be read") from None
    dns = names.get_values_for_type(x509.DNSName)
    return (*dns, *(str(each) for each in names.get_values_for_type(x509.IPAddress)))


def fingerprint(pem_or_der: bytes) -> bytes:
    """SHA-256 of the DER: 32 bytes. CertificateRefused when it is not exactly one certificate."""
    return hashlib.sha256(_load(pem_or_der).public_bytes(serialization.Encoding.DER)).digest()


def key_fingerprint(pem_or_der: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo, as browsers name a key (RFC 7469 2.4). Raises CertificateRefused."""
    key = _load(pem_or_der).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()


def encrypt_private_key(private_key_pem: bytes, passphrase: bytes) -> bytes:
    """The key as encrypted PKCS #8 PEM, which OpenSSL reads: for the root key that is kept apart."""
    encryption = serialization.BestAvailableEncryption(passphrase)
    return _private_key(private_key_pem).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def _load(pem_or_der: bytes) -> x509.Certificate:
    try:
        if _PEM_BEGIN not in pem_or_der:
            return x509.load_der_x509_certificate(pem_or_der)
        if pem_or_der.count(_PEM_BEGIN) != 1:
            raise CertificateRefused("expected one certificate, got a chain: give the leaf alone")
        return x509.load_pem_x509_certificate(pem_or_der)
    except ValueError:
        raise CertificateRefused("expected a certificate in PEM or DER") from None


def _leaf(
    issuer: Issued,
    name: str,
    key: PublicKey,
    uses: list[x509.ObjectIdentifier],
    now: datetime,
    days: int,
    alternative: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    certificate, issuer_key = _issuer(issuer, now)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, certificate.subject, key, now, _until(certificate, now, days))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(_key_id_of(certificate), critical=False)
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder.sign(issuer_key, SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    if now.tzinfo is None:
        raise ValueError("`now` carries its time zone")
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _SKEW).not_valid_after(until)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _authority_uses(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _key_id_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _until(issuer: x509.Certificate, now: datetime, days: int) -> datetime:
    return min(now + timedelta(days=days), issuer.not_valid_after_utc)


def _issuer(issued: Issued, now: datetime) -> tuple[x509.Certificate, PrivateKey]:
    certificate = _load(issued.certificate_pem)
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise CertificateRefused("the issuing authority is not valid now: renew it, or set the clock")
    return certificate, _private_key(issued.private_key_pem)


def _private_key(pem: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateRefused("expected a private key in unencrypted PEM") from None
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise CertificateRefused("expected an RSA or EC private key")
    return key


def _issued(certificate: x509.Certificate, key: PrivateKey) -> Issued:
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _subject(organisation: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Ribcage {role}"),
        ]
    )


def _dns_name(name: str) -> x509.DNSName:
    try:
        return x509.DNSName(name)
    except ValueError:
        raise CertificateRefused("expected a host name in ASCII (IDNA for others)") from None


def _check_permitted(issuer: x509.Certificate, names: Iterable[str], places: Iterable[Address]) -> None:
    """RFC 5280 4.2.1.10 for the names of a server's leaf, before it is signed."""
    try:
        found = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return
    permitted = found.permitted_subtrees or []
    domains = [each.value.lower() for each in permitted if isinstance(each, x509.DNSName)]
    networks = [each.value for each in permitted if isinstance(each, x509.IPAddress)]
    for name in names:
        if domains and not any(f".{name.lower()}".endswith(f".{domain}") for domain in domains):
            raise CertificateRefused("a host name is outside the issuing authority's names: make a new one")
    for place in places:
        if networks and not any(place in network for network in networks if isinstance(network, Network)):
            raise CertificateRefused("an address is outside the issuing authority's networks: make a new one")


def _device_name(name: str) -> str:
    """A CN with dots would be taken for a DNS name and meet the name constraints (RFC 6125 6.4.4)."""
    if not 1 <= len(name) <= 64 or not name.isprintable() or "." in name or name != name.strip():
        raise CertificateRefused("a device's name has 1-64 printable characters and no dot")
    return name
