"""The privacy rule of a task: its argument and the key in a connection → a rule that can be applied.

Knows: Airflow's connections. Must not know: what a rule does to a record.
Its one rule: the key goes into the rule and nowhere else: no log, no error, no rendered field shows it.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_audit_provider.core.privacy import PrivacyRule, read_privacy
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
