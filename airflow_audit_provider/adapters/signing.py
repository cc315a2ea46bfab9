"""Ed25519 keys: signs seals, and checks signatures with nothing but public keys.

Knows: the cryptography library, imported when a key is read. Must not know: seals, where a key's text comes from.
Its one rule: a key is named by the SHA-256 of its public half in DER, as ``openssl pkey -pubin -outform DER`` gives it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.core.verification.seals import Signature
from airflow_audit_provider.exceptions import ConfigurationError

ALGORITHM = "ed25519"
_PUBLIC_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class Ed25519Signer:
    """Satisfies :class:`~airflow_audit_provider.core.verification.seals.Signer` with an unencrypted private key in PEM.

    Raises ``ConfigurationError`` for a text that is no such key; the text never shows in it.
    """

    def __init__(self, private_pem: str) -> None:
        _require_library()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            # A connection's one-line field turns line breaks into two characters.
            key = load_pem_private_key(private_pem.replace("\\n", "\n").encode(), password=None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"The signing key cannot be read ({type(error).__name__}). {_MAKE_ONE}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"The signing key is of another kind than Ed25519. {_MAKE_ONE}")
        self._key = key

    def sign(self, content: bytes) -> Signature:
        """Return the signature over these bytes; the same bytes always have the same one."""
        return Signature(ALGORITHM, _key_id(self._key.public_key()), self._key.sign(content))


_MAKE_ONE = "Make one with: openssl genpkey -algorithm ed25519 -out seal.pem, and give its whole text, not encrypted."


class Ed25519Verifier:
    """Satisfies :class:`~airflow_audit_provider.core.verification.seals.SignatureVerifier` with public keys in PEM.

    A text may hold several keys, for seals signed before and after the key was changed. Raises ``ConfigurationError``
    for a text without one, and for one of another kind.
    """

    def __init__(self, public_pems: Iterable[str]) -> None:
        _require_library()
        self._keys = {_key_id(key): key for pem in public_pems for key in _public_keys(pem)}

    def verify(self, content: bytes, signature: Signature) -> str | None:
        """Return why the signature over these bytes does not hold, None when it does."""
        from cryptography.exceptions import InvalidSignature

        key = self._keys.get(signature.key_id)
        if signature.algorithm != ALGORITHM or key is None:
            return f"The signature names the {signature.algorithm} key {signature.key_id[:16]}, which was not given."
        try:
            key.verify(signature.signature, content)
        except InvalidSignature:
            return "The signature is not one of these bytes by the key it names."
        return None


def _require_library() -> None:
    if find_spec("cryptography") is None:
        raise ConfigurationError(
            "Signatures need the cryptography library. Run: pip install 'airflow-audit-provider[seal]'."
        )


def _public_keys(pem: str) -> Iterator[Any]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    texts = _PUBLIC_PEM.findall(pem)
    if not texts:
        raise ConfigurationError(f"The public key is no PEM text. {_TAKE_PUBLIC_HALF}")
    for text in texts:
        try:
            key = load_pem_public_key(text.encode())
        except ValueError as error:
            raise ConfigurationError(f"The public key cannot be read ({error}). {_TAKE_PUBLIC_HALF}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError(f"The public key is of another kind than Ed25519. {_TAKE_PUBLIC_HALF}")
        yield key


_TAKE_PUBLIC_HALF = "Take it from the signing key with: openssl pkey -in seal.pem -pubout -out seal.pub.pem."


def _key_id(public_key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
