"""A credential is sent only to a server with a trusted certificate, whatever the host of the connection."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple, TypeAlias

import certifi
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint, open_async_client, open_client

pytestmark = pytest.mark.integration

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])


# Requests a URL with the client of a base URL; returns the status.
RequestStatus: TypeAlias = Callable[[str, str], int]


class Server(NamedTuple):
    """A TLS server with a self-signed certificate."""

    url: str
    certificate: Path


class OkHandler(BaseHTTPRequestHandler):
    """Handler that responds to every request."""

    def do_GET(self) -> None:
        """Responds without a body."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server."""
    certificate = _certificate(tmp_path / "own.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), OkHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Server(f"https://localhost:{server.server_port}", certificate)
    server.shutdown()
    server.server_close()
    thread.join()


def _certificate(file: Path) -> Path:
    key, today = Ed25519PrivateKey.generate(), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
    builder = builder.not_valid_before(today - timedelta(days=1)).not_valid_after(today + timedelta(days=1))
    builder = builder.serial_number(1).add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + builder.sign(key, None).public_bytes(Encoding.PEM))
    return file


def _request_status(url: str, base_url: str) -> int:
    with open_client(Endpoint(Credentials(token="t"), base_url)) as client:
        return client.get(url).status_code


async def _request_status_in_loop(url: str, base_url: str) -> int:
    async with open_async_client(Endpoint(Credentials(token="t"), base_url)) as client:
        return (await client.get(url)).status_code


def _request_status_by_loop(url: str, base_url: str) -> int:
    return asyncio.run(_request_status_in_loop(url, base_url))


@pytest.mark.parametrize("request_status", [_request_status, _request_status_by_loop])
@pytest.mark.parametrize("base_url", ["http://localhost:1", "https://localhost:1"])
def test_untrusted_certificate_is_an_error(server: Server, request_status: RequestStatus, base_url: str) -> None:
    """Clients of a loopback http URL and of an https URL reject a self-signed certificate."""
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        request_status(server.url, base_url)


@pytest.mark.parametrize("request_status", [_request_status, _request_status_by_loop])
def test_trusted_certificate_is_accepted(
    server: Server, request_status: RequestStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the certificate among the authorities a client for https gets a response, one for plain http does not."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(certifi, "where", lambda: str(server.certificate))
    assert request_status(server.url, "https://localhost:1") == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        request_status(server.url, "http://localhost:1")
