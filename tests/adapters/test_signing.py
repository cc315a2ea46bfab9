"""Ed25519 signatures in DSSE envelopes, which anyone can verify with the public key and another DSSE implementation."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from importlib import util
from pathlib import Path
from typing import Any

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
from airflow_audit_provider.core.verification.envelopes import SEAL_PAYLOAD_TYPE, Envelope, EnvelopeSignature
from airflow_audit_provider.exceptions import ConfigurationError
from tests.pipelines.verify.dataset import OTHER_PRIVATE_PEM, PRIVATE_PEM, PUBLIC_PEM

CONTENT = b'{"number": 1}\n'


def signed() -> Envelope:
    """Returns the envelope of the content."""
    return Ed25519Signer(PRIVATE_PEM).sign(CONTENT)


def with_signature(**changes: Any) -> Envelope:
    """Returns the envelope with another signature in it."""
    (one,) = signed().signatures
    return msgspec.structs.replace(signed(), signatures=(msgspec.structs.replace(one, **changes),))


def test_signature_is_valid_for_its_content_only() -> None:
    """A signature is invalid for other content, and with another signature or key."""
    verifier = Ed25519Verifier([PUBLIC_PEM])
    assert verifier.verify(CONTENT, signed()) is None
    assert "does not match" in (verifier.verify(CONTENT + b" ", signed()) or "")
    for changes in ({"sig": b"\0" * 64}, {"sig": b""}, {"keyid": "ab" * 32}):
        assert verifier.verify(CONTENT, with_signature(**changes)) is not None
    assert verifier.verify(CONTENT, msgspec.structs.replace(signed(), signatures=())) is not None
    other = Ed25519Signer(OTHER_PRIVATE_PEM).sign(CONTENT).signatures
    both = msgspec.structs.replace(signed(), signatures=(*other, *signed().signatures))
    assert verifier.verify(CONTENT, both) is None


def test_same_content_has_the_same_signature() -> None:
    """Two signatures of the same content have the same bytes."""
    assert signed().to_bytes() == signed().to_bytes()


def test_key_with_escaped_line_breaks_is_read() -> None:
    """A key in which a form has escaped the line breaks is read correctly."""
    assert Ed25519Signer(PRIVATE_PEM.replace("\n", "\\n")).sign(CONTENT) == signed()


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Returns what a DSSE signature is over, as the specification says it, without this package or its library."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def openssl(command: str, folder: Path) -> bool:
    """Runs openssl, the independent reference; returns whether it succeeded."""
    return subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, check=False).returncode == 0


def test_encoding_of_this_test_is_that_of_the_specification() -> None:
    """The reference gives the example of the DSSE specification."""
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.integration
def test_openssl_verifies_the_envelope(tmp_path: Path) -> None:
    """An auditor needs the envelope, the public key and openssl; the key id is openssl's digest of the key."""
    envelope = json.loads(signed().to_bytes())
    payload = base64.b64decode(envelope["payload"])
    assert payload == CONTENT
    encoded = pre_authentication_encoding(envelope["payloadType"], payload)
    (one,) = envelope["signatures"]
    files = {"encoded": encoded, "signature": base64.b64decode(one["sig"]), "seal.pub.pem": PUBLIC_PEM.encode()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    verify = "pkeyutl -verify -pubin -inkey seal.pub.pem -rawin -in encoded -sigfile signature"
    assert openssl(verify, tmp_path)
    (tmp_path / "encoded").write_bytes(encoded + b" ")
    assert not openssl(verify, tmp_path)
    assert openssl("pkey -pubin -in seal.pub.pem -outform DER -out key.der", tmp_path)
    assert hashlib.sha256((tmp_path / "key.der").read_bytes()).hexdigest() == one["keyid"]


@pytest.mark.integration
def test_envelope_signed_by_openssl_is_verified(tmp_path: Path) -> None:
    """An envelope that another DSSE implementation made with the key is valid, and is ours byte for byte."""
    (tmp_path / "seal.pem").write_text(PRIVATE_PEM)
    (tmp_path / "encoded").write_bytes(pre_authentication_encoding(SEAL_PAYLOAD_TYPE, CONTENT))
    assert openssl("pkeyutl -sign -inkey seal.pem -rawin -in encoded -out signature", tmp_path)
    key_id = signed().signatures[0].keyid
    theirs = Envelope(CONTENT, SEAL_PAYLOAD_TYPE, (EnvelopeSignature(key_id, (tmp_path / "signature").read_bytes()),))
    assert Ed25519Verifier([PUBLIC_PEM]).verify(CONTENT, theirs) is None
    assert theirs.to_bytes() == signed().to_bytes()


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


@pytest.mark.parametrize("missing", ["cryptography", "securesystemslib"])
def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without a library the error names it and the extra to install."""
    known = util.find_spec
    monkeypatch.setattr(
        "airflow_audit_provider.adapters.signing.find_spec", lambda name: None if name == missing else known(name)
    )
    with pytest.raises(ConfigurationError, match=rf"{missing} library.*airflow-audit-provider\[seal\]"):
        Ed25519Signer(PRIVATE_PEM)
