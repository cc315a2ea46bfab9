"""Secrets that Airflow does not mask by itself, and the privacy rule whose key is one.

Invariant: a secret is masked before it is used, in every form in which a log line could show it.
"""

from __future__ import annotations

from typing import Any

from airflow_audit_provider._airflow.connection import get_connection
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy

# Shorter lines of a PEM text are its header or padding; masking them would mask unrelated text.
_MIN_MASKED_LENGTH = 16


def open_privacy(privacy: Any) -> PrivacyRule | None:
    """Returns the privacy rule of an operator's argument, None for no rule.

    Raises ``ConfigurationError`` for an invalid rule, a missing connection, or a key shorter than 32 bytes.
    """
    request = read_privacy(privacy)
    if request is None:
        return None
    return PrivacyRule(request, _key(request.conn_id) if request.pseudonymise and request.conn_id else b"")


def _key(conn_id: str) -> bytes:
    conn = get_connection(conn_id, "Create it, with the secret key of the privacy rule as its password.")
    return (conn.password or "").strip().encode()


def mask(secret: str) -> None:
    """Masks a secret in all further logs, as a whole and each of its lines."""
    from airflow.sdk.log import mask_secret

    lines = [line for line in secret.split("\n") if not line.startswith("-----")]
    for text in {secret, *(line.strip() for line in lines)}:
        if len(text) >= _MIN_MASKED_LENGTH:
            mask_secret(text)
