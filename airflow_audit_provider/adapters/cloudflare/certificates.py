"""Certificate authorities that a TLS connection trusts, and the error of a certificate that none of them signed.

Invariant: certificates are always checked, and so is the host's name in them.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from airflow_audit_provider.exceptions import ConfigurationError

_OWN = "the connection's extra ca_bundle"


def trust(ca_bundle: str | None, environment: Mapping[str, str]) -> ssl.SSLContext:
    """Returns a context that trusts the authorities of ``ca_bundle``, of the environment, or of certifi, in this order.

    ``ca_bundle`` and ``SSL_CERT_FILE`` are a file of PEM certificates, ``SSL_CERT_DIR`` is a directory as
    ``openssl rehash`` makes it; ``ca_bundle`` may be either. Raises ``ConfigurationError`` that names the setting and
    its path if they cannot be read.
    """
    if ca_bundle is not None:
        return _context(_OWN, ca_bundle, is_directory=Path(ca_bundle).is_dir())
    if environment.get("SSL_CERT_FILE"):
        return _context("the environment variable SSL_CERT_FILE", environment["SSL_CERT_FILE"], is_directory=False)
    if environment.get("SSL_CERT_DIR"):
        return _context("the environment variable SSL_CERT_DIR", environment["SSL_CERT_DIR"], is_directory=True)
    # Imported here: plain http to this machine needs no authorities, and loading them takes tens of milliseconds.
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def trust_nobody() -> ssl.SSLContext:
    """Returns a context that accepts no certificate, for a client that only sends plain http; it loads fast."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _context(source: str, path: str, *, is_directory: bool) -> ssl.SSLContext:
    # OpenSSL ignores a directory that does not exist; several may be given, separated as in PATH.
    if is_directory and not any(Path(part).is_dir() for part in path.split(os.pathsep)):
        raise ConfigurationError(_unreadable(source, path, "there is no such directory"))
    try:
        if is_directory:
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise ConfigurationError(_unreadable(source, path, "it contains no certificate in PEM format")) from error
    except OSError as error:
        raise ConfigurationError(_unreadable(source, path, error.strerror or type(error).__name__)) from error


def _unreadable(source: str, path: str, reason: str) -> str:
    return (
        f"The certificates in {source} cannot be read from {path!r} ({reason}). Give the path of a file of PEM "
        "certificates that exists on every worker and triggerer, or remove the setting."
    )


def check_trusted(error: BaseException, host: str) -> None:
    """Raises ``ConfigurationError`` if an error of a request was caused by a certificate that is not trusted."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        raise ConfigurationError(
            f"The TLS certificate of {host}, or of the proxy before it, is not trusted ({cause.verify_message}). If it "
            "is signed by a private certificate authority, give the authority's certificate: as the connection's extra "
            "ca_bundle, or in the environment variable SSL_CERT_FILE or SSL_CERT_DIR. REQUESTS_CA_BUNDLE is not read."
        ) from error
