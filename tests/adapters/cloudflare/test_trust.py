"""A credential is shown to no server whose certificate nobody vouches for, whatever the connection's host says."""

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


# Asks for a URL by the client of a base URL; returns the status.
Ask: TypeAlias = Callable[[str, str], int]


class Server(NamedTuple):
    """A TLS server whose certificate is its own."""

    url: str
    certificate: Path


class Answering(BaseHTTPRequestHandler):
    """Answers everybody."""

    def do_GET(self) -> None:
        """Answer with nothing."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running one."""
    certificate = _certificate(tmp_path / "own.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), Answering)
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


def _ask(url: str, base_url: str) -> int:
    with open_client(Endpoint(Credentials(token="t"), base_url)) as client:
        return client.get(url).status_code


async def _ask_in_loop(url: str, base_url: str) -> int:
    async with open_async_client(Endpoint(Credentials(token="t"), base_url)) as client:
        return (await client.get(url)).status_code


def _ask_by_loop(url: str, base_url: str) -> int:
    return asyncio.run(_ask_in_loop(url, base_url))


@pytest.mark.parametrize("ask", [_ask, _ask_by_loop])
@pytest.mark.parametrize("base_url", ["http://localhost:1", "https://localhost:1"])
def test_an_unvouched_certificate_is_refused(server: Server, ask: Ask, base_url: str) -> None:
    """Neither a client for this machine's plain http nor one for https talks to a server that vouches for itself."""
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(server.url, base_url)


@pytest.mark.parametrize("ask", [_ask, _ask_by_loop])
def test_a_vouched_certificate_is_enough(server: Server, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the certificate is among the authorities, a client for https is answered; one for plain http is not."""
    monkeypatch.setattr(certifi, "where", lambda: str(server.certificate))
    assert ask(server.url, "https://localhost:1") == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(server.url, "http://localhost:1")
