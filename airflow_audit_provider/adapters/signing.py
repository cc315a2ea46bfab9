"""Ed25519 signatures of seals in DSSE envelopes.

A key id is the SHA-256 of the public key in DER, as ``openssl pkey -pubin -outform DER`` writes it. The libraries
cryptography and securesystemslib are imported when a key is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

import msgspec

from airflow_audit_provider.core.verification.envelopes import SEAL_PAYLOAD_TYPE, Envelope
from airflow_audit_provider.exceptions import ConfigurationError

_PUBLIC_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class Ed25519Signer:
    """Signs with an unencrypted Ed25519 private key in PEM.

    ``verifier`` verifies the signatures of this key, and of the public keys of earlier ones after a change of keys.
    Raises ``ConfigurationError`` if the text is not such a key; the error never contains the text.
    """

    def __init__(self, private_pem: str, earlier_public_pems: Iterable[str] = ()) -> None:
        _require_library()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
        from securesystemslib.signer import CryptoSigner, SSlibKey

        try:
            # Airflow's one-line connection field stores a line break as the two characters backslash and n.
            key = load_pem_private_key(private_pem.replace("\\n", "\n").encode(), password=None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"The signing key cannot be read ({type(error).__name__}). {_CREATE_KEY}"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"The signing key is not an Ed25519 key. {_CREATE_KEY}")
        self._signer = CryptoSigner(key, SSlibKey.from_crypto(key.public_key(), _key_id(key.public_key())))
        public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.verifier = Ed25519Verifier([public_pem.decode(), *earlier_public_pems])

    def sign(self, content: bytes, payload_type: str = SEAL_PAYLOAD_TYPE) -> Envelope:
        """Returns an envelope with the signature over ``content``; it is deterministic (RFC 8032).

        The payload type is signed with it, so that no other document can stand for a seal.
        """
        from securesystemslib import dsse

        envelope = dsse.Envelope(content, payload_type, {})
        envelope.sign(self._signer)
        return msgspec.convert(envelope.to_dict(), Envelope)


_CREATE_KEY = "Create one with: openssl genpkey -algorithm ed25519 -out seal.pem, and pass its whole text, unencrypted."


class Ed25519Verifier:
    """Verifies signatures with Ed25519 public keys in PEM.

    A text can hold several keys, for seals signed before and after a key rotation. Raises ``ConfigurationError`` for a
    text without a key, and for a key of another kind.
    """

    def __init__(self, public_pems: Iterable[str]) -> None:
        _require_library()
        from securesystemslib.signer import SSlibKey

        keys = [key for pem in public_pems for key in _public_keys(pem)]
        self._keys: list[Any] = [SSlibKey.from_crypto(key, _key_id(key)) for key in keys]

    def verify(self, content: bytes, envelope: Envelope, payload_type: str = SEAL_PAYLOAD_TYPE) -> str | None:
        """Returns why no signature of the envelope over ``content`` is valid, as a sentence; None if one is.

        What is verified is the signature over ``content`` as a seal, or as another type of document, whatever the
        envelope says that it holds.
        """
        from securesystemslib import dsse, exceptions
        from securesystemslib.signer import Signature

        known = {key.keyid for key in self._keys}
        signatures = {one.keyid: Signature(one.keyid, one.sig.hex()) for one in envelope.signatures}
        if known.isdisjoint(signatures):
            named = ", ".join(key_id[:16] for key_id in signatures) or "none"
            return f"No public key was given for the key that the envelope names ({named})."
        try:
            dsse.Envelope(content, payload_type, signatures).verify(self._keys, 1)
        except exceptions.UnverifiedSignatureError:
            return "The signature does not match the seal's bytes and the key that it names."
        return None


def _require_library() -> None:
    missing = [name for name in ("cryptography", "securesystemslib") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"The {missing[0]} library is missing. Run: pip install 'airflow-audit-provider[seal]'."
        )


def _public_keys(pem: str) -> Iterator[Any]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    texts = _PUBLIC_PEM.findall(pem)
    if not texts:
        raise ConfigurationError(f"The public key is not in PEM format. {_EXPORT_PUBLIC_KEY}")
    for text in texts:
        try:
            key = load_pem_public_key(text.encode())
        except ValueError as error:
            raise ConfigurationError(f"The public key cannot be read ({error}). {_EXPORT_PUBLIC_KEY}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError(f"The public key is not an Ed25519 key. {_EXPORT_PUBLIC_KEY}")
        yield key


_EXPORT_PUBLIC_KEY = "Export it from the signing key with: openssl pkey -in seal.pem -pubout -out seal.pub.pem."


def _key_id(public_key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
