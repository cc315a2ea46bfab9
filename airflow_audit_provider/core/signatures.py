"""Signatures of seals: their bytes, and what is asked of a signing key.

Knows: the shape of a detached signature. Must not know: any algorithm, where keys are kept.
Its one rule: a signature is over the bytes of a seal as they are stored, never over a reading of them.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Signature(msgspec.Struct, frozen=True):
    """A detached signature; ``key_id`` is the SHA-256 of the public key, ``signature`` is base64 in the JSON."""

    algorithm: str
    key_id: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: JSON, sorted keys, two-space indent, one line feed at the end."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"


class Signer(Protocol):
    """Signs with a private key."""

    def sign(self, content: bytes) -> Signature:
        """Return the signature over these bytes."""
        ...


class SignatureVerifier(Protocol):
    """Knows public keys."""

    def objection(self, content: bytes, signature: Signature) -> str | None:
        """Return a sentence saying why the signature over these bytes does not hold, None when it does."""
        ...


def read_signature(content: bytes) -> Signature | None:
    """Return a signature from its bytes, None when they are not the canonical bytes of one."""
    try:
        signature = msgspec.json.decode(content, type=Signature)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return signature if signature.to_bytes() == content else None
