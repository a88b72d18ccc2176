"""The authority that vouches for localhost, and for nothing else."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from audiosocket_agent.lab import certificate
from audiosocket_agent.lab.certificate import ensure_certificate


def test_a_certificate_for_localhost(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls")
    leaf = x509.load_pem_x509_certificate(files.certificate_file.read_bytes())
    ca = x509.load_pem_x509_certificate(files.ca_file.read_bytes())
    leaf.verify_directly_issued_by(ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert isinstance(files.server_context(), ssl.SSLContext)


def test_the_key_is_for_its_owner_and_the_authoritys_is_gone(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path)
    assert files.key_file.stat().st_mode & 0o077 == 0
    assert {file.name for file in tmp_path.iterdir()} == {
        "ca.pem",
        "localhost.pem",
        "localhost.key",
    }
    assert b"PRIVATE" not in files.ca_file.read_bytes() + files.certificate_file.read_bytes()


def test_a_certificate_is_kept_while_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure_certificate(tmp_path).ca_file.read_bytes()
    assert ensure_certificate(tmp_path).ca_file.read_bytes() == first
    monkeypatch.setattr(certificate, "RENEW_BEFORE_DAYS", certificate.VALID_DAYS + 1)
    assert ensure_certificate(tmp_path).ca_file.read_bytes() != first


def test_a_certificate_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path)
    files.certificate_file.write_text("not a certificate")
    ensure_certificate(tmp_path)
    leaf = x509.load_pem_x509_certificate(files.certificate_file.read_bytes())
    assert leaf.not_valid_after_utc > datetime.datetime.now(datetime.UTC)
