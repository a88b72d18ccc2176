"""A private certificate authority of one directory, and its certificate for this host.

The SDK only speaks TLS and checks whom it talks to, so that a stand-in for the service needs a
certificate the client trusts: `SSL_CERT_FILE=<ca_file>`. The names are `localhost` and the loopback
addresses; nobody else's name is ever signed, and the authority's key is thrown away once it has
signed, so that a trusted `ca.pem` cannot be turned against its user.
"""

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS: Final = 365
RENEW_BEFORE_DAYS: Final = 7
"""A kept certificate with less left is replaced, so that a long run does not outlive it."""

_HOST_NAMES: Final = ("localhost",)
_HOST_ADDRESSES: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM; the key is readable by its owner only."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """A TLS context for a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context


def ensure_certificate(directory: Path) -> Certificate:
    """The certificate kept in `directory`, made now if there is none that lasts."""
    directory.mkdir(parents=True, exist_ok=True)
    files = Certificate(
        directory / "ca.pem", directory / "localhost.pem", directory / "localhost.key"
    )
    if not _is_usable(files):
        _make(files)
    return files


def _is_usable(files: Certificate) -> bool:
    if not (files.ca_file.exists() and files.key_file.exists()):
        return False
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate_file.read_bytes())
    except (OSError, ValueError):
        return False
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left > datetime.timedelta(days=RENEW_BEFORE_DAYS)


def _make(files: Certificate) -> None:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("audiosocket-agent simulator CA")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _HOST_NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _HOST_ADDRESSES]
    certificate = (
        _builder(_name("localhost"), ca_name, key.public_key(), ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(files.key_file, private, mode=0o600)
    _write(files.certificate_file, certificate.public_bytes(pem), mode=0o644)
    _write(files.ca_file, ca.public_bytes(pem), mode=0o644)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    subject_key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    # Both key identifiers are there because Python 3.13 verifies strictly (RFC 5280).
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(subject_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, *, mode: int) -> None:
    # Written aside and renamed: a reader never sees half a file, nor a key before its mode is set.
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    aside.replace(path)
