"""Certificate authorities that a TLS connection trusts, and the error of a certificate that none of them signed.

Invariant: certificates are always checked, and so is the host's name in them.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from airflow_audit_provider.exceptions import ConfigurationError

_OWN = "the connection's extra ca_bundle"
# OpenSSL finds an authority in a directory by a hash of its name: https://docs.openssl.org/3.0/man1/openssl-rehash/.
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


def trust(ca_bundle: str | None, environment: Mapping[str, str]) -> ssl.SSLContext:
    """Returns a context that trusts the authorities of ``ca_bundle``, of the environment, or of certifi, in this order.

    ``ca_bundle`` and ``SSL_CERT_FILE`` are a file of PEM certificates, ``SSL_CERT_DIR`` is a directory as
    ``openssl rehash`` makes it; ``ca_bundle`` may be either. Raises ``ConfigurationError`` that names the setting and
    its path if they cannot be read.
    """
    if ca_bundle is not None:
        return _context(_OWN, ca_bundle, is_directory=_is_directory(ca_bundle))
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
    parts = [part for part in path.split(os.pathsep) if _is_directory(part)] if is_directory else []
    if is_directory and not parts:
        raise ConfigurationError(_unreadable(source, path, "there is no such directory"))
    try:
        if is_directory and not any(_HASHED.fullmatch(file.name) for part in parts for file in Path(part).iterdir()):
            raise ConfigurationError(_unreadable(source, path, "no file in it has a name that openssl rehash gives"))
        if is_directory:
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise ConfigurationError(_unreadable(source, path, "it contains no certificate in PEM format")) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(_unreadable(source, path, reason)) from error


def _is_directory(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for a text that is too long for a path


def _unreadable(source: str, path: str, reason: str) -> str:
    return (
        f"The certificates in {source} cannot be read from {path!r} ({reason}). Give the path of a file of PEM "
        "certificates that exists on every worker and triggerer, or remove the setting."
    )


def check_trusted(error: BaseException, host: str, *, has_extra: bool = True) -> None:
    """Raises ``ConfigurationError`` if an error of a request was caused by a certificate that is not trusted.

    Without ``has_extra`` the connection has no extra ``ca_bundle``, and the error does not name it.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        extra = "as the connection's extra ca_bundle, or " if has_extra else ""
        raise ConfigurationError(
            f"The TLS certificate of {host}, or of the proxy before it, is not trusted ({cause.verify_message}). If it "
            "is signed by a private certificate authority, give the authority's certificate: "
            f"{extra}in the environment variable SSL_CERT_FILE or SSL_CERT_DIR. REQUESTS_CA_BUNDLE is not read."
        ) from error
