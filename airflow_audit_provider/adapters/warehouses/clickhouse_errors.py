"""Names the errors of ClickHouse's HTTP interface by their remedy, from the code of the server's exception.

The codes are those of ClickHouse's source, ``src/Common/ErrorCodes.cpp``; they never change their meaning.
"""

from __future__ import annotations

import re

from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError, WarehouseUnavailableError

# UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED.
_WRONG_LOGIN = frozenset({192, 193, 194, 516})
# READONLY, ACCESS_DENIED.
_NO_RIGHTS = frozenset({164, 497})
_NO_DATABASE = 81
# UNKNOWN_TABLE: a table that was there when the load began.
_NO_TABLE = 60
# TIMEOUT_EXCEEDED, CANNOT_ALLOCATE_MEMORY, TOO_MANY_SIMULTANEOUS_QUERIES, NO_FREE_CONNECTION, SOCKET_TIMEOUT,
# NETWORK_ERROR, ABORTED, MEMORY_LIMIT_EXCEEDED, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE, TOO_MANY_PARTS,
# ALL_CONNECTION_TRIES_FAILED, UNKNOWN_STATUS_OF_INSERT, UNFINISHED, QUERY_WAS_CANCELLED, KEEPER_EXCEPTION.
_UNAVAILABLE = frozenset({159, 173, 202, 203, 209, 210, 236, 241, 242, 243, 252, 279, 319, 341, 394, 999})
# TOO_FEW_LIVE_REPLICAS, UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE, REPLICA_IS_NOT_IN_QUORUM, CANNOT_SCHEDULE_TASK,
# SERVER_OVERLOADED.
_OVERLOADED = frozenset({285, 286, 289, 439, 745})
_CODE = re.compile(r"Code: (\d+)")
_LONGEST_TEXT = 500
_SERVER_FAULT = 500


def unreachable(url: str, error: Exception) -> WarehouseUnavailableError:
    """Returns the error for a request without a response: the statement may have run, or may still run."""
    return WarehouseUnavailableError(
        f"ClickHouse at {url} did not respond ({type(error).__name__}: {error}). The window that was being loaded is "
        "loaded as a whole or not at all; the load ledger shows which. Check that the server runs and that host, port "
        "and the extra 'secure' are right; then run the task again."
    )


def refusal(url: str, status: int, code_text: str, text: str) -> AuditProviderError:
    """Returns the error for a response that is not a success."""
    found = _CODE.search(text)
    code = int(code_text) if code_text.isdigit() else int(found[1]) if found else 0
    shown = " ".join(text.split())[:_LONGEST_TEXT] or f"HTTP status {status}"
    if code in _WRONG_LOGIN:
        return ConfigurationError(
            f"ClickHouse at {url} does not accept the login ({shown}). Correct login and password of the connection."
        )
    if code in _NO_RIGHTS:
        return ConfigurationError(
            f"The login of the connection may not run a statement of the load on {url} ({shown}). Grant it SELECT, "
            "INSERT, ALTER DELETE, ALTER ADD COLUMN, CREATE TABLE, CREATE VIEW and DROP VIEW on the database."
        )
    if code == _NO_DATABASE:
        return ConfigurationError(
            f"The database of the table does not exist on {url} ({shown}). Create it with CREATE DATABASE, or correct "
            "the argument table or the schema of the connection."
        )
    if code in _UNAVAILABLE | _OVERLOADED | {_NO_TABLE} or (code == 0 and status >= _SERVER_FAULT):
        return WarehouseUnavailableError(
            f"ClickHouse at {url} could not run a statement of the load ({shown}). The window that was being loaded is "
            "loaded as a whole or not at all. Check the server's memory, disk space and load; then run the task again."
        )
    if code == 0:
        return ConfigurationError(
            f"The server at {url} does not answer as ClickHouse's HTTP interface does (HTTP status {status}: {shown}). "
            "Correct host and port of the connection; the port is 8123, or 8443 with TLS."
        )
    return ConfigurationError(
        f"ClickHouse at {url} refused a statement of the load ({shown}). Correct the table or the login's settings as "
        "the message says, or give the name of a new table."
    )
