"""Arguments with keys and certificates, and what is made from their files.

Invariant: keys come from files that the caller names, never from the destination that they check.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from airflow_audit_provider.adapters.signing import Ed25519Verifier
from airflow_audit_provider.adapters.timestamps import CertificateVerifier, HttpTimestamper, TimestampAuthority
from airflow_audit_provider.cli.arguments import hours
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.pipelines.verify import TrustAnchors


def add_public_key(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Adds the argument for public keys of seals; ``meaning`` is the first part of its help."""
    parser.add_argument("--public-key", type=Path, action="append", metavar="FILE", help=f"{meaning}; may be repeated")


def add_tsa_certificate(parser: argparse.ArgumentParser) -> None:
    """Adds the argument for certificates of a time stamp authority."""
    parser.add_argument(
        "--tsa-certificate",
        type=Path,
        action="append",
        metavar="FILE",
        help="root certificate of the time stamp authority in PEM format, to verify its time stamps; may be repeated",
    )


def add_trust_anchors(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for what an auditor holds outside of the destination."""
    add_public_key(parser, "public key in PEM format that checks the signatures of seals")
    parser.add_argument(
        "--expect-seal",
        metavar="SHA256",
        help="SHA-256 digest of a seal that must exist; keep the digest outside the store",
    )
    add_tsa_certificate(parser)
    parser.add_argument(
        "--sealed-within",
        type=hours,
        metavar="HOURS",
        help="a time stamp must prove that each window was sealed at most this many hours after the end of the UTC day "
        "on which it starts, or after its own end if that is later",
    )


def trust_anchors(options: argparse.Namespace) -> TrustAnchors:
    """Returns what the arguments of :func:`add_trust_anchors` name."""
    return TrustAnchors(
        seal_verifier(options),
        options.expect_seal,
        CertificateVerifier(map(read_key_file, options.tsa_certificate)) if options.tsa_certificate else None,
        options.sealed_within,
    )


def seal_verifier(options: argparse.Namespace) -> Ed25519Verifier | None:
    """Returns the verifier with the public keys, None without one."""
    return Ed25519Verifier(map(read_key_file, options.public_key)) if options.public_key else None


def timestamper(options: argparse.Namespace) -> HttpTimestamper | None:
    """Returns the client of the time stamp authority that ``--tsa`` names, None without one."""
    certificates = tuple(map(read_key_file, options.tsa_certificate or ()))
    return HttpTimestamper(TimestampAuthority(options.tsa, certificates=certificates)) if options.tsa else None


def read_key_file(path: Path) -> str:
    """Returns the text of a key or certificate file."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The key file {path} cannot be read ({error}). Pass a key in PEM format.") from error
