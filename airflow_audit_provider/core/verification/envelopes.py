"""Signature of a seal: a DSSE envelope (Dead Simple Signing Envelope, version 1.0.2), as other DSSE tools read it.

Invariant: an envelope holds the seal's bytes, so that a tool that knows DSSE needs no other object.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from airflow_audit_provider.core.archive.manifest import canonical_json, is_canonical

SEAL_PAYLOAD_TYPE = "application/vnd.airflow-audit-provider.seal+json"


class EnvelopeSignature(msgspec.Struct, frozen=True):
    """One signature; ``keyid`` is the SHA-256 of the public key in DER, ``sig`` is base64 in the JSON."""

    keyid: str
    sig: bytes


class Envelope(msgspec.Struct, frozen=True, rename={"payload_type": "payloadType"}):
    """DSSE envelope; ``payload`` is base64 in the JSON."""

    payload: bytes
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes, see :func:`canonical_json`."""
        return canonical_json(self)


class Signer(Protocol):
    """Signs with a private key."""

    @property
    def verifier(self) -> SignatureVerifier:
        """Verifies the signatures of this key, and of earlier ones."""
        ...

    def sign(self, content: bytes) -> Envelope:
        """Returns an envelope with ``content`` and the signature over it."""
        ...


class SignatureVerifier(Protocol):
    """Verifies envelopes with public keys."""

    def verify(self, content: bytes, envelope: Envelope) -> str | None:
        """Returns why no signature of the envelope over ``content`` is valid, as a sentence; None if one is."""
        ...


def read_envelope(stored: bytes, content: bytes) -> Envelope | str:
    """Decodes the envelope of a seal with these bytes; returns a sentence with the reason if it is none."""
    try:
        envelope = msgspec.json.decode(stored, type=Envelope)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return f"The signature is not a DSSE envelope ({error})."
    if not is_canonical(envelope, stored):
        return "The envelope's bytes differ from the canonical bytes of its content."
    if envelope.payload_type != SEAL_PAYLOAD_TYPE or envelope.payload != content:
        return "The envelope does not hold the bytes of its seal."
    return envelope
