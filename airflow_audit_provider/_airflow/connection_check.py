"""Check behind the "Test" button of a connection: checks the credential and its permission to read the audit log.

A page of the audit log proves both. The token check only explains a refusal: it proves that a token is active, not that
it may read audit logs, and it does not know the token of another account.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from airflow_audit_provider._airflow.connection import ConnectionSettings
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery, Direction
from airflow_audit_provider.core.api.responses import error_of, token_is_active
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader
from airflow_audit_provider.core.ports import Request, Transport
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import AuditProviderError, SourceAuthError


def answer_of(check: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    """Returns what a check answers; an error of this provider is a negative answer, in its own words."""
    try:
        return check()
    except AuditProviderError as error:
        return False, str(error)


def check_connection(
    settings: ConnectionSettings, query: AuditQuery, transport: Transport, reader: AuditLogReader
) -> tuple[bool, str]:
    """Returns whether the connection can read the query's audit log, and a sentence that names what is missing.

    Raises the ``AuditProviderError`` of a response that shows neither.
    """
    try:
        _read_one(query, reader)
    except SourceAuthError as error:
        if settings.endpoint.credentials.token is None:
            return False, f"The e-mail with its Global API key may not read {query.log_name}. {error}"
        if _token_is_active(settings, transport, reader):
            return False, f"The API token is active, but it may not read {query.log_name}. {error}"
        return False, (
            "The API token is not valid or not active. Create a new token in Cloudflare's dashboard and set it as the "
            f"connection's password. {error}"
        )
    return True, f"The credential is active and may read {query.log_name}."


def _token_is_active(settings: ConnectionSettings, transport: Transport, reader: AuditLogReader) -> bool:
    """Requests both token checks: the one for user tokens returns 401 for an account token, and the reverse."""
    paths = ["/user/tokens/verify"]
    if settings.account_id:
        paths.append(f"/accounts/{settings.account_id}/tokens/verify")
    return any(_accepts(Request(path), transport, reader) for path in paths)


def _accepts(request: Request, transport: Transport, reader: AuditLogReader) -> bool:
    response = transport.send(request)
    if response.status in (400, 401, 403):
        return False
    if response.status != 200:
        raise error_of(response, reader.clock.now())
    return token_is_active(response)


def _read_one(query: AuditQuery, reader: AuditLogReader) -> None:
    """Requests one record of the last hour; an empty response proves the permission as well."""
    now = reader.clock.now()
    window = TimeWindow(now - timedelta(hours=1), now)
    request = ReadRequest(query.version, window, Direction.DESC, page_size=1)
    for _records in reader.read(query, SinglePageReader(request)):
        return
