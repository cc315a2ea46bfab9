"""A private certificate authority, and servers of this machine with its certificates."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority(NamedTuple):
    """A private authority's certificate, and TLS contexts that it signed: this machine's, another's, an expired one."""

    file: Path
    context: ssl.SSLContext
    other_host: ssl.SSLContext
    expired: ssl.SSLContext


def new_authority(folder: Path) -> Authority:
    """Returns an authority whose server is ``localhost`` and ``127.0.0.1``; its files are in a folder."""
    root_key = generate_private_key(SECP256R1())
    root = _certificate("Private CA", root_key, root_key, is_authority=True)
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    return Authority(
        folder / "root.pem",
        _server_context(folder / "server.pem", "localhost", root_key),
        _server_context(folder / "other.pem", "other.example.com", root_key),
        _server_context(folder / "expired.pem", "localhost", root_key, days=-0.5),
    )


def _server_context(chain: Path, name: str, signer: EllipticCurvePrivateKey, days: float = 1) -> ssl.SSLContext:
    key = generate_private_key(SECP256R1())
    leaf = _certificate(name, key, signer, is_authority=False, days=days)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain.write_bytes(private + leaf.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def _certificate(
    subject: str, key: EllipticCurvePrivateKey, signer: EllipticCurvePrivateKey, *, is_authority: bool, days: float = 1
) -> x509.Certificate:
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName(subject)]
    if subject == "localhost":
        names.append(x509.IPAddress(ip_address("127.0.0.1")))
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Private CA")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer, hashes.SHA256())
    )
