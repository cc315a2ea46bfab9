"""Is the credential good, and may it read audit logs? Two questions, because the first proves nothing of the second.

Knows: the API's token checks and the reading of one page. Must not know: Airflow.
Its one rule: the answer names what is missing and never repeats a secret.
"""

from __future__ import annotations

from datetime import timedelta

from airflow_audit_provider._airflow.connection import ConnectionSettings
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery, Direction
from airflow_audit_provider.core.api.responses import error_of, token_is_active
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader
from airflow_audit_provider.core.ports import Request, Transport
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import SourceAuthError


def test_connection(
    settings: ConnectionSettings, query: AuditQuery, transport: Transport, source: AuditLogReader
) -> tuple[bool, str]:
    """Return whether the connection can read the query's audit log, with a sentence that says what is missing.

    Raises the ``AuditProviderError`` of anything that is neither a yes nor a no.
    """
    if settings.endpoint.credentials.token is not None and not _token_is_active(settings, transport, source):
        return False, "The API token is not valid or not active. Create a new one and put it into the password."
    log_name = f"{query.scope} {query.scope_id}".rstrip()
    try:
        _read_one(query, source)
    except SourceAuthError as error:
        known = "The API token is active" if settings.endpoint.credentials.token else "The key was sent"
        return False, f"{known}, but it may not read the audit log of {log_name}. {error}"
    return True, f"The credential is active and may read the audit log of {log_name}."


def _token_is_active(settings: ConnectionSettings, transport: Transport, source: AuditLogReader) -> bool:
    """Ask both token checks: the user's answers 401 to an account's token, and the other way round."""
    paths = ["/user/tokens/verify"]
    if settings.account_id:
        paths.append(f"/accounts/{settings.account_id}/tokens/verify")
    return any(_verifies(Request(path), transport, source) for path in paths)


def _verifies(request: Request, transport: Transport, source: AuditLogReader) -> bool:
    answer = transport.send(request)
    if answer.status in (400, 401, 403):
        return False
    if answer.status != 200:
        raise error_of(answer, source.clock.now())
    return token_is_active(answer)


def _read_one(query: AuditQuery, source: AuditLogReader) -> None:
    """Ask for one record of the last hour; an empty answer is as good as a full one."""
    now = source.clock.now()
    window = TimeWindow(now - timedelta(hours=1), now)
    request = ReadRequest(query.version, window, Direction.DESC, page_size=1)
    for _records in source.read(query, SinglePageReader(request)):
        return
