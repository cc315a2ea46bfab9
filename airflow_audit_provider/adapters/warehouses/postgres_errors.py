"""Names the errors of PostgreSQL's drivers by their remedy, from the SQLSTATE.

The states are those of the PostgreSQL documentation, Appendix A. libpq has no SQLSTATE for a connection that was
lost or not established; its errors are recognized by the name of their class, which psycopg 2 and 3 share, and by text.
"""

from __future__ import annotations

from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)

# serialization_failure, deadlock_detected, lock_not_available.
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
_UNIQUE_VIOLATION, _QUERY_CANCELED, _NO_SCHEMA = "23505", "57014", "3F000"
# insufficient_privilege, read_only_sql_transaction.
_NO_RIGHTS = frozenset({"42501", "25006"})
# duplicate_table, duplicate_object, wrong_object_type.
_NAME_TAKEN = frozenset({"42P07", "42710", "42809"})
# character_not_in_repertoire, untranslatable_character.
_BAD_ENCODING = frozenset({"22021", "22P05"})
# Classes: connection exception, insufficient resources, operator intervention, system error, internal error.
_SERVER_CLASSES = ("08", "53", "57", "58", "XX")
# The two timeouts that end the session: idle_in_transaction_session_timeout, transaction_timeout.
_SESSION_ENDED = frozenset({"25P03", "25P04"})
_INTEGRITY_CLASS = "23"
# Texts of libpq and of the server for a connection that no retry can establish.
_WRONG_LOGIN = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "not permitted to log in",
    "no pg_hba.conf entry",
    "invalid ",
)


def named_postgres_error(error: BaseException) -> AuditProviderError | None:
    """Returns the named error for one of a driver, None for any other error.

    An error of psycopg 3 has ``sqlstate``, one of psycopg 2 has ``pgcode``.
    """
    if not (hasattr(error, "sqlstate") or hasattr(error, "pgcode")):
        return None
    state: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is None:
        return _without_state(error)
    if state in _CONFLICTS or (state == _UNIQUE_VIOLATION and _is_in_catalog(error)):
        return WarehouseBusyError(
            "Another PostgreSQL transaction changed or locked the table or its load ledger at the same time "
            f"(SQLSTATE {state}: {error}). Nothing was changed. Run the task again."
        )
    if state == _QUERY_CANCELED:
        return WarehouseUnavailableError(
            f"PostgreSQL cancelled a statement of the load ({error}). Nothing of the window was changed. Run the task "
            "again, or set a longer statement_timeout for the role."
        )
    if state.startswith(_SERVER_CLASSES) or state in _SESSION_ENDED:
        return WarehouseUnavailableError(
            f"The PostgreSQL server ended the session or lacks resources (SQLSTATE {state}: {error}). Nothing of the "
            "window was changed. Check the server's disk space, memory, connections and timeouts; then run the task "
            "again."
        )
    return _refusal(error, state)


def _is_in_catalog(error: BaseException) -> bool:
    """Returns whether a unique key of the system catalog was violated, by two transactions that create an object."""
    diagnostics = getattr(error, "diag", None)
    return getattr(diagnostics, "schema_name", None) == "pg_catalog"


def _without_state(error: BaseException) -> AuditProviderError | None:
    """Returns the error for a lost connection; None for other errors of the driver itself, which are faults of code."""
    if type(error).__name__ not in {"OperationalError", "InterfaceError"}:
        return None
    return WarehouseUnavailableError(
        f"The connection to PostgreSQL was lost ({error}). The window that was being loaded is loaded as a whole or "
        "not at all; the load ledger shows which. Run the task again."
    )


def _refusal(error: BaseException, state: str) -> ConfigurationError:
    """Returns the error for a statement that the database refuses whenever it is run."""
    if state in _NO_RIGHTS:
        return ConfigurationError(
            f"The connection's role may not load into the table (SQLSTATE {state}: {error}). Nothing of the window was "
            "changed. Grant the role SELECT, INSERT and DELETE on the table and its load ledger, and USAGE and CREATE "
            "on the schema to create them; use a connection to a server that is not read-only."
        )
    if state == _NO_SCHEMA:
        return ConfigurationError(
            f"The schema of the table does not exist ({error}). Create it with CREATE SCHEMA, or correct the "
            "argument table."
        )
    if state in _NAME_TAKEN:
        return ConfigurationError(
            f"The name of the table, of its load ledger or of its index belongs to another object (SQLSTATE {state}: "
            f"{error}). Nothing was changed. Give the name of a new table, or grant the role rights on the existing "
            "one."
        )
    if state in _BAD_ENCODING:
        return ConfigurationError(
            f"The database cannot store a character of the records (SQLSTATE {state}: {error}). Nothing of the window "
            "was changed. Load into a database with the encoding UTF8."
        )
    if state.startswith(_INTEGRITY_CLASS):
        return ConfigurationError(
            f"A constraint of the table does not allow the records (SQLSTATE {state}: {error}). Nothing of the window "
            "was changed. Remove the constraint, or give the name of a new table."
        )
    return ConfigurationError(
        f"PostgreSQL refused a statement of the load (SQLSTATE {state}: {error}). Nothing of the window was changed. "
        "Correct the table or the role's settings as the message says, or give the name of a new table."
    )


def connection_error(conn_id: str, error: Exception) -> AuditProviderError:
    """Returns the named error for a connection that could not be opened, whatever raised it."""
    text = str(error).strip()
    if type(error).__name__ == "OperationalError" and not any(known in text for known in _WRONG_LOGIN):
        return WarehouseUnavailableError(
            f"PostgreSQL cannot be reached by connection {conn_id!r} ({text}). Check that the server runs and that "
            "host and port are right; then run the task again."
        )
    return ConfigurationError(
        f"Connection {conn_id!r} to PostgreSQL cannot be opened ({text}). Correct its host, port, database, login, "
        "password and extra. The extra may hold only options of libpq and of the hook."
    )
