"""Time stamps: openssl makes and verifies them as the reference, and each wrong response is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import util

import pytest

from airflow_audit_provider.adapters.timestamps import CertificateVerifier, HttpTimestamper, TimestampAuthority
from airflow_audit_provider.exceptions import ConfigurationError, TimestampUnavailableError
from tests.pipelines.verify.authority import Authority, served

CONTENT = b'{"number":1}'
ADDRESS = "https://tsa.example.com/tsr"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority with its own root certificate."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    """The address of the authority, which behaves well until a test says otherwise."""
    with served(authority) as address:
        yield address
    authority.mode = "good"


@pytest.mark.integration
def test_response_is_verified_offline_here_and_by_openssl(authority: Authority, url: str) -> None:
    """A response proves when its content existed, and is about no other content."""
    response = HttpTimestamper(TimestampAuthority(url)).stamp(CONTENT)
    at = CertificateVerifier([authority.root_pem]).verify(CONTENT, response)
    assert isinstance(at, datetime)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    assert authority.openssl_accepts(CONTENT, response)
    assert isinstance(CertificateVerifier([authority.root_pem]).verify(CONTENT + b" ", response), str)
    assert not authority.openssl_accepts(CONTENT + b" ", response)


@pytest.mark.integration
def test_response_of_another_authority_is_refused(
    authority: Authority, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A time stamp counts only with the root certificate of its authority; an error otherwise, also when it is made."""
    other = Authority(tmp_path_factory.mktemp("other"))
    response = HttpTimestamper(TimestampAuthority(url)).stamp(CONTENT)
    assert isinstance(CertificateVerifier([other.root_pem]).verify(CONTENT, response), str)
    assert isinstance(CertificateVerifier([other.root_pem, authority.root_pem]).verify(CONTENT, response), datetime)
    with pytest.raises(TimestampUnavailableError, match="does not prove"):
        HttpTimestamper(TimestampAuthority(url, certificates=(other.root_pem,))).stamp(CONTENT)


@pytest.mark.integration
@pytest.mark.parametrize("has_certificate", [True, False])
def test_stored_response_is_checked_before_a_seal_counts_as_stamped(
    authority: Authority, url: str, has_certificate: bool
) -> None:
    """Garbage and a response about other bytes do not count, with the certificate and without it."""
    timestamper = HttpTimestamper(TimestampAuthority(url, certificates=(authority.root_pem,) * has_certificate))
    response = timestamper.stamp(CONTENT)
    assert timestamper.check(CONTENT, response) is None
    for content, stored in ((CONTENT + b" ", response), (CONTENT, b"x"), (CONTENT, b""), (CONTENT, response[:-20])):
        assert timestamper.check(content, stored)


@pytest.mark.integration
def test_stored_response_of_another_authority_does_not_count_with_the_certificate(
    authority: Authority, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without a certificate, a stored response of any authority counts."""
    other = Authority(tmp_path_factory.mktemp("other"))
    response = HttpTimestamper(TimestampAuthority(url)).stamp(CONTENT)
    assert HttpTimestamper(TimestampAuthority(url, certificates=(other.root_pem,))).check(CONTENT, response)
    assert HttpTimestamper(TimestampAuthority(url)).check(CONTENT, response) is None


@pytest.mark.integration
def test_flipped_byte_proves_no_other_time_or_content(authority: Authority, url: str) -> None:
    """A damaged response is refused, or proves the same time still; it never raises and never proves another time."""
    response = HttpTimestamper(TimestampAuthority(url)).stamp(CONTENT)
    verifier = CertificateVerifier([authority.root_pem])
    at = verifier.verify(CONTENT, response)
    for place in range(0, len(response), 7):
        damaged = response[:place] + bytes([response[place] ^ 1]) + response[place + 1 :]
        checked = verifier.verify(CONTENT, damaged)
        assert checked == at or isinstance(checked, str), place
    for damaged in (b"", response[:-20], response + b"x", b"<html>"):
        assert isinstance(verifier.verify(CONTENT, damaged), str)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (503, "status 503"),
        (404, "status 404"),
        ("nonsense", "not a time stamp"),
        ("other request", "about another request"),
        ("endless", "larger than"),
    ],
)
def test_authority_without_a_time_stamp_is_an_error_that_is_retried(
    authority: Authority, url: str, mode: str | int, words: str
) -> None:
    """The error names the host and what is wrong."""
    timestamper = HttpTimestamper(TimestampAuthority(url))
    timestamper.stamp(CONTENT)
    authority.mode = mode
    with pytest.raises(TimestampUnavailableError, match=rf"127\.0\.0\.1 gave no time stamp .*{words}") as caught:
        timestamper.stamp(CONTENT + b"2")
    assert caught.value.retryable


@pytest.mark.integration
def test_authority_that_is_down_is_an_error_that_is_retried(authority: Authority) -> None:
    """Nobody listens at the address."""
    with served(authority) as address:
        timestamper = HttpTimestamper(TimestampAuthority(address))
    with pytest.raises(TimestampUnavailableError, match="ConnectError"):
        timestamper.stamp(CONTENT)


@pytest.mark.integration
def test_password_is_sent_and_never_shown(authority: Authority, url: str) -> None:
    """Requests have basic authentication if the connection has a password; its text is in no representation."""
    address = TimestampAuthority(url, "me", "secret words", (authority.root_pem,))
    HttpTimestamper(address).stamp(CONTENT)
    assert authority.requests[-1]["Authorization"].startswith("Basic ")
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    "address", ["", "tsa.example.com", "ftp://tsa.example.com", "https://me:x@tsa", "https://tsa:x/tsr"]
)
def test_address_that_is_no_url_fails(address: str) -> None:
    """An address without scheme or host, or with credentials, is an error."""
    with pytest.raises(ConfigurationError, match="Set the connection's host to a URL"):
        HttpTimestamper(TimestampAuthority(address))


def test_password_over_plain_http_fails() -> None:
    """A password is not sent unencrypted to another machine."""
    with pytest.raises(ConfigurationError, match="unencrypted"):
        HttpTimestamper(TimestampAuthority("http://tsa.example.com/tsr", "me", "x"))


@pytest.mark.parametrize("pem", ["", "secret words", "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----"])
def test_certificate_that_cannot_be_read_fails(pem: str) -> None:
    """A text without a certificate, or with a damaged one, is an error that does not contain it."""
    with pytest.raises(ConfigurationError, match="root certificate") as caught:
        CertificateVerifier([pem])
    assert "secret words" not in str(caught.value)


@pytest.mark.parametrize("missing", ["cryptography", "rfc3161_client"])
def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without a library the error names it and the extra to install."""
    known = util.find_spec
    monkeypatch.setattr(
        "airflow_audit_provider.adapters.timestamps.find_spec", lambda name: None if name == missing else known(name)
    )
    with pytest.raises(ConfigurationError, match=rf"{missing} library.*airflow-audit-provider\[seal\]"):
        HttpTimestamper(TimestampAuthority(ADDRESS))
