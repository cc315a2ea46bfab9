"""Proxies and certificate authorities: of the connection, or of the environment, for every host."""

from __future__ import annotations

import os
import shutil
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint
from airflow_audit_provider.exceptions import ConfigurationError, SourceUnavailableError
from tests.adapters.cloudflare.authority import Authority
from tests.adapters.cloudflare.scripted_server import answering, response
from tests.adapters.cloudflare.senders import BOTH, Send

pytestmark = pytest.mark.integration

OK = response(b"{}", headers="Content-Length: 2\r\nConnection: close\r\n")
SECRET = "token-0123456789"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the proxies and certificates of this machine."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT_", "REQUESTS_CA")):
            monkeypatch.delenv(name)


def _endpoint(base_url: str, proxy: str | None = None, ca_bundle: str | None = None) -> Endpoint:
    return Endpoint(Credentials(token=SECRET), base_url, timeout_seconds=5, proxy=proxy, ca_bundle=ca_bundle)


@BOTH
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("setting", ["extra", "SSL_CERT_FILE", "SSL_CERT_DIR", "extra directory"])
def test_private_authority_is_trusted_where_it_is_named(
    send: Send, host: str, setting: str, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The extra ``ca_bundle`` and both environment variables work, also for this machine."""
    bundle, is_directory = str(authority.file), setting in ("SSL_CERT_DIR", "extra directory")
    if is_directory:
        bundle = str(tmp_path)
        _write_hashed(authority.file, tmp_path)
    if setting.startswith("SSL"):
        monkeypatch.setenv(setting, bundle)
    with answering(OK, authority.context) as server:
        own = bundle if setting.startswith("extra") else None
        assert send(_endpoint(f"https://{host}:{server.port}", ca_bundle=own)).status == 200


def _write_hashed(certificate: Path, folder: Path) -> None:
    # OpenSSL looks a certificate up in a directory by this hash, which only its own command computes.
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(certificate, folder / f"{name}.0")


@BOTH
def test_certificate_of_a_private_authority_is_named_at_once(send: Send, authority: Authority) -> None:
    """An untrusted certificate fails without a retry, with an error that explains how to trust its authority."""
    with (
        answering(OK, authority.context) as server,
        pytest.raises(ConfigurationError, match=r"certificate of localhost.*not trusted.*ca_bundle.*SSL_CERT_FILE"),
    ):
        send(_endpoint(f"https://localhost:{server.port}"))


@BOTH
def test_certificate_of_another_host_is_named_at_once(send: Send, authority: Authority) -> None:
    """A trusted authority is not enough: the name in the certificate is checked."""
    with (
        answering(OK, authority.other_host) as server,
        pytest.raises(ConfigurationError, match=r"not trusted.*Hostname mismatch"),
    ):
        send(_endpoint(f"https://localhost:{server.port}", ca_bundle=str(authority.file)))


@BOTH
def test_expired_certificate_is_named_at_once(send: Send, authority: Authority) -> None:
    """A certificate of a trusted authority whose time is over is no reason to retry."""
    with (
        answering(OK, authority.expired) as server,
        pytest.raises(ConfigurationError, match=r"not trusted.*certificate has expired"),
    ):
        send(_endpoint(f"https://localhost:{server.port}", ca_bundle=str(authority.file)))


@BOTH
def test_tls_that_breaks_off_is_retried(send: Send) -> None:
    """A server without TLS, such as one that is starting, is not a matter of certificates."""
    with answering(OK) as server, pytest.raises(SourceUnavailableError) as caught:
        send(_endpoint(f"https://localhost:{server.port}"))
    assert caught.value.retryable


@BOTH
@pytest.mark.parametrize("setting", ["extra", "SSL_CERT_DIR"])
def test_directory_without_certificates_is_named(
    send: Send, setting: str, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenSSL would read none of the files in it, and say nothing."""
    shutil.copy(authority.file, tmp_path / "root.pem")
    if setting != "extra":
        monkeypatch.setenv(setting, str(tmp_path))
    with pytest.raises(ConfigurationError, match=rf"(?:ca_bundle|{setting}) cannot be read.*openssl rehash"):
        send(_endpoint("https://localhost:1", ca_bundle=str(tmp_path) if setting == "extra" else None))


@BOTH
@pytest.mark.parametrize("path", ["a" * 5000, "a\0b"])
def test_text_that_no_path_can_be_is_named(send: Send, path: str) -> None:
    """A path that is too long, or has a zero byte, is unreadable like any other."""
    with pytest.raises(ConfigurationError, match="ca_bundle cannot be read"):
        send(_endpoint("https://localhost:1", ca_bundle=path))


@BOTH
@pytest.mark.parametrize("port", ["65536", "99999999999"])
def test_port_that_no_socket_takes_is_named(send: Send, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before any request, with a proxy and without."""
    for proxy in ("", "http://127.0.0.1:1"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(ConfigurationError, match="host is not a URL"):
            send(_endpoint(f"https://api.example.com:{port}"))


@BOTH
@pytest.mark.parametrize("setting", ["extra", "SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("content", [None, "", "not PEM"])
def test_certificates_that_cannot_be_read_are_named(
    send: Send, setting: str, content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that is missing, empty or something else is named with its path before any request."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    if setting != "extra":
        monkeypatch.setenv(setting, str(path))
    own = str(path) if setting == "extra" else None
    with pytest.raises(ConfigurationError, match=rf"(?:ca_bundle|{setting}) cannot be read from '{path}'"):
        send(_endpoint("https://localhost:1", ca_bundle=own))


def _tunnel(status: str = "200 Connection established") -> Iterator[bytes]:
    yield f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


@BOTH
@pytest.mark.parametrize("setting", ["extra", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize("host", ["api.example.com", "localhost"])
def test_proxy_is_asked_for_a_tunnel(send: Send, setting: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An https request goes to the proxy of the extra or the environment as CONNECT, without the credential."""
    with answering(lambda _: _tunnel("502 Bad Gateway")) as proxy:
        url = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
        if setting != "extra":
            monkeypatch.setenv(setting, url)
        with pytest.raises(SourceUnavailableError, match="502"):
            send(_endpoint(f"https://{host}/client/v4", proxy=url if setting == "extra" else None))
        (head,) = proxy.received
    assert head.startswith(f"CONNECT {host}:443 ".encode())
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz" in head
    assert SECRET.encode() not in head


@BOTH
def test_extra_proxy_replaces_the_environment(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection's own proxy is used although NO_PROXY excludes the host and another one is configured."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    with answering(lambda _: _tunnel("502 Bad Gateway")) as proxy:
        with pytest.raises(SourceUnavailableError, match="502"):
            send(_endpoint("https://api.example.com", proxy=f"127.0.0.1:{proxy.port}"))
        assert len(proxy.received) == 1


@BOTH
def test_proxy_that_wants_a_password_is_named_at_once(send: Send) -> None:
    """Status 407 is not the API's, and no retry fixes it."""
    with (
        answering(lambda _: _tunnel("407 Proxy Authentication Required")) as proxy,
        pytest.raises(ConfigurationError, match="proxy asks for authentication"),
    ):
        send(_endpoint("https://api.example.com", proxy=f"http://127.0.0.1:{proxy.port}"))


@BOTH
@pytest.mark.parametrize(
    "excluded", ["", "::1/128", "localhost,10.0.0.0/8,::1/128", "fd07:b51a:cc66:f0::/64", "[::1]", "fe80::/10"]
)
def test_no_proxy_with_ipv6_networks_is_read(send: Send, excluded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a list, which platforms inject, disturbs neither a direct request nor one through a proxy."""
    monkeypatch.setenv("NO_PROXY", excluded)
    with answering(OK) as server:
        assert send(_endpoint(f"http://127.0.0.1:{server.port}")).status == 200
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
        with pytest.raises(SourceUnavailableError):
            send(_endpoint("https://api.example.com"))
        assert server.received[1].startswith(b"CONNECT api.example.com:443")


@BOTH
def test_excluded_host_is_reached_directly(send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY applies to this machine as to every host."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with answering(OK, authority.context) as server:
        with pytest.raises(SourceUnavailableError):
            send(_endpoint(f"https://127.0.0.1:{server.port}"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert send(_endpoint(f"https://127.0.0.1:{server.port}")).status == 200


@BOTH
@pytest.mark.parametrize("proxy", ["http://10.255.255.1:3128", "http://proxy.example.com:3128"])
def test_plain_http_goes_through_no_proxy_elsewhere(send: Send, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a plain http host, a proxy of the environment is not used and one of the connection is refused."""
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with answering(OK) as server:
        assert send(_endpoint(f"http://127.0.0.1:{server.port}")).status == 200
        with pytest.raises(ConfigurationError, match="would see the credential"):
            send(_endpoint(f"http://127.0.0.1:{server.port}", proxy=proxy))


@BOTH
def test_plain_http_goes_through_a_proxy_of_this_machine(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is honoured where nothing leaves the machine."""
    with answering(OK) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert send(_endpoint("http://localhost:9/v4")).status == 200
        assert proxy.received[0].startswith(b"GET http://localhost:9/v4/accounts/0/audit_logs ")


@BOTH
@pytest.mark.parametrize("user", ["user:" + "hidden" * 50, "hidden:"])
def test_socks_password_that_cannot_be_sent_is_named(send: Send, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS has one byte for the length of user and password."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    with pytest.raises(ConfigurationError, match=r"connection's extra is empty or too long.*1 to 255") as caught:
        send(_endpoint("https://api.example.com", proxy=f"socks5://{user}@127.0.0.1:1080"))
    assert "hidden" not in str(caught.value)


@BOTH
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("setting", ["extra", "ALL_PROXY"])
def test_socks_proxy_without_its_package_is_named(
    send: Send, scheme: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the package to install, before any request."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    url = f"{scheme}://user:hidden@127.0.0.1:1080"
    if setting != "extra":
        monkeypatch.setenv(setting, url)
    with pytest.raises(ConfigurationError, match=rf"{setting}.*httpx\[socks\]") as caught:
        send(_endpoint("https://api.example.com", proxy=url if setting == "extra" else None))
    assert "hidden" not in str(caught.value)


@BOTH
@pytest.mark.parametrize(
    "proxy",
    [
        "ftp://proxy.example.com",
        "http://",
        "http://user:hidden@proxy:port",
        "://hidden",
        "http://user:hidden@[::1",
        # The host has a character that no host can have, in which normalization finds a slash.
        "http://user:hidden@a\u2100b:3128",
    ],
)
def test_proxy_that_is_no_url_is_named(send: Send, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows how to write the URL of a proxy, and no password."""
    for own in (proxy, None):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(ConfigurationError, match=r"http://proxy\.example\.com:3128") as caught:
            send(_endpoint("https://api.example.com", proxy=own))
        assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_repr_of_an_endpoint_shows_no_password() -> None:
    """Neither the credential nor the proxy's is in it."""
    text = repr(_endpoint("https://api.example.com", proxy="http://user:hidden@proxy.example.com"))
    assert SECRET not in text
    assert "hidden" not in text
