"""Secrets that Airflow does not know of by itself, kept out of logs.

Knows: Airflow's masker. Must not know: what a secret opens.
Its one rule: a secret is masked before it is used, in every form in which a text could show it.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.exceptions import ConfigurationError


def open_privacy(privacy: Any) -> PrivacyRule | None:
    """Return the rule an argument asks for, None when it asks for none.

    Raises ``ConfigurationError`` for an impossible rule, a missing connection, and a key of less than 32 bytes.
    """
    request = read_privacy(privacy)
    if request is None:
        return None
    return PrivacyRule(request, _key(request.conn_id) if request.pseudonymise and request.conn_id else b"")


def _key(conn_id: str) -> bytes:
    try:
        conn = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"There is no connection {conn_id!r}. Make it, with the secret key of the privacy rule as its password."
        ) from error
    return (conn.password or "").strip().encode()


# Shorter lines of a key's text are its frame, or padding; masking them would mask innocent text.
_SHORTEST_LINE = 16


def mask(secret: str) -> None:
    """Have a secret shown as stars from now on, whole or a line of it."""
    from airflow.sdk.log import mask_secret

    lines = [line for line in secret.split("\n") if not line.startswith("-----")]
    for text in {secret, *(line.strip() for line in lines)}:
        if len(text) >= _SHORTEST_LINE:
            mask_secret(text)
