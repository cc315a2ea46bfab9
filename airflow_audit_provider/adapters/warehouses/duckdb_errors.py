"""Names the errors of DuckDB by their remedy, from their class.

DuckDB reports a full disk or a lack of memory during a commit as a conflict of transactions, so its text decides.
"""

from __future__ import annotations

from typing import Any

from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)

_FILE_FAILED = ("Could not write", "Could not sync", "No space left", "Disk quota", "Input/output error")
# Texts of DuckDB's buffer manager when the memory limit is reached.
_NO_MEMORY = ("failed to pin block", "failed to allocate", "could not allocate", "Out of Memory")


def named_duckdb_error(library: Any, error: BaseException) -> AuditProviderError | None:
    """Returns the named error for one of DuckDB, None for any other error; ``library`` is the module ``duckdb``."""
    if not isinstance(error, library.Error):
        return None
    text = str(error)
    if isinstance(error, library.IOException) or any(known in text for known in _FILE_FAILED):
        return WarehouseUnavailableError(
            f"DuckDB cannot read or write its file ({text}). Nothing of the window was changed. Check the disk's free "
            "space and the rights on the file; then run the task again."
        )
    if isinstance(error, library.TransactionException) and not _is_out_of_memory(library, error):
        return WarehouseBusyError(
            f"Another DuckDB transaction changed the table or its load ledger at the same time ({text}). "
            "Nothing was changed. Run the task again."
        )
    if isinstance(error, library.ConnectionException | library.HTTPException | library.FatalException):
        return WarehouseUnavailableError(
            f"The connection to the DuckDB database failed ({text}). The window that was being loaded is loaded as a "
            "whole or not at all; the load ledger shows which. Run the task again."
        )
    return _refusal(library, error, text)


def _is_out_of_memory(library: Any, error: BaseException) -> bool:
    return isinstance(error, library.OutOfMemoryException) or any(known in str(error) for known in _NO_MEMORY)


def _refusal(library: Any, error: BaseException, text: str) -> ConfigurationError:
    """Returns the error for a statement that DuckDB refuses whenever it is run."""
    if _is_out_of_memory(library, error):
        return ConfigurationError(
            f"DuckDB is out of memory ({text}). Nothing of the window was changed. Increase memory_limit in the extra "
            "of a connection of type duckdb, and check that the folder of the file has space for temporary files."
        )
    if "read-only" in text or isinstance(error, library.PermissionException):
        return ConfigurationError(
            f"The DuckDB database is open without the right to write ({text}). Nothing of the window was changed. Open "
            "it for writing, or give the path of another file."
        )
    if isinstance(error, library.IntegrityError):
        return ConfigurationError(
            f"A constraint of the DuckDB table does not allow the records ({text}). Nothing of the window was changed. "
            "Remove the constraint, or give the name of a new table."
        )
    return ConfigurationError(
        f"DuckDB refused a statement of the load ({text}). Nothing of the window was changed. Correct the table as the "
        "message says, or give the name of a new table."
    )
