"""Ed25519 signatures, which anyone can verify with the public key alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from importlib import util
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.core.verification.seals import Signature
from airflow_audit_provider.exceptions import ConfigurationError
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM

CONTENT = b'{"number": 1}\n'


def signed() -> Signature:
    """Returns the signature of the content."""
    return Ed25519Signer(PRIVATE_PEM).sign(CONTENT)


def test_signature_is_valid_for_its_content_only() -> None:
    """A signature is invalid for other content, and with another signature, algorithm or key."""
    verifier = Ed25519Verifier([PUBLIC_PEM])
    assert verifier.verify(CONTENT, signed()) is None
    assert "does not match" in (verifier.verify(CONTENT + b" ", signed()) or "")
    for changes in ({"signature": b"\0" * 64}, {"signature": b""}, {"algorithm": "rsa"}, {"key_id": "ab" * 32}):
        assert verifier.verify(CONTENT, msgspec.structs.replace(signed(), **changes)) is not None


def test_same_content_has_the_same_signature() -> None:
    """Two signatures of the same content have the same bytes."""
    assert signed().to_bytes() == signed().to_bytes()


def test_key_with_escaped_line_breaks_is_read() -> None:
    """A key in which a form has escaped the line breaks is read correctly."""
    assert Ed25519Signer(PRIVATE_PEM.replace("\n", "\\n")).sign(CONTENT) == signed()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command as an independent reference")
def test_openssl_verifies_the_signature(tmp_path: Path) -> None:
    """An auditor needs the seal, the signature's bytes, the public key and openssl; the key id is openssl's digest."""
    files = {"seal.json": CONTENT, "signature": signed().signature, "seal.pub.pem": PUBLIC_PEM.encode()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = "openssl pkeyutl -verify -pubin -inkey seal.pub.pem -rawin -in seal.json -sigfile signature".split()
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "seal.json").write_bytes(CONTENT + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0
    der = subprocess.run(
        "openssl pkey -pubin -in seal.pub.pem -outform DER".split(), cwd=tmp_path, capture_output=True, check=True
    )
    assert hashlib.sha256(der.stdout).hexdigest() == signed().key_id


def _other_keys() -> list[str]:
    curve = ec.generate_private_key(ec.SECP256R1())
    ours = load_pem_private_key(PRIVATE_PEM.encode(), None)
    return [
        "",
        "secret words",
        PUBLIC_PEM,
        curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        ours.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode(),
    ]


@pytest.mark.parametrize("pem", _other_keys())
def test_invalid_signing_key_fails(pem: str) -> None:
    """A key of another algorithm, an encrypted or a public key is an error, which does not contain its text."""
    with pytest.raises(ConfigurationError, match="openssl genpkey") as caught:
        Ed25519Signer(pem)
    assert caught.value.__cause__ is None
    assert "secret words" not in str(caught.value)


@pytest.mark.parametrize("pem", ["", PRIVATE_PEM, PUBLIC_PEM.replace("MCow", "MCox"), "curve"])
def test_invalid_public_key_fails(pem: str) -> None:
    """A private key, a damaged key or a key of another algorithm is an error."""
    if pem == "curve":
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ConfigurationError, match=r"public key.*openssl pkey"):
        Ed25519Verifier([PUBLIC_PEM, pem])


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cryptography the error names the extra to install."""
    known = util.find_spec
    monkeypatch.setattr(
        "airflow_audit_provider.adapters.signing.find_spec",
        lambda name: None if name == "cryptography" else known(name),
    )
    with pytest.raises(ConfigurationError, match=r"airflow-audit-provider\[seal\]"):
        Ed25519Signer(PRIVATE_PEM)
