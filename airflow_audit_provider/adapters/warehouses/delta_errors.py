"""Names the errors of deltalake and of the object store below it by their remedy.

deltalake has few classes: an object store that is down, a wrong key and a missing bucket are all ``OSError``, so the
store's own words in the text distinguish them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_audit_provider.adapters.warehouses.iceberg_secrets import cause_without_secret, masked
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError, WarehouseUnavailableError

# Codes of S3, Google Cloud Storage and Azure, HTTP statuses as object_store writes them, and the operating system's.
_NO_RIGHTS = (
    *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "AuthenticationFailed"),
    *("401 Unauthorized", "403 Forbidden", "lacked the necessary privileges", "lacked valid authentication"),
    *("Permission denied", "Read-only file system", "Operation not permitted"),
    *("missing credentials", "loading credentials", "credential provider"),
)
_WRONG_PLACE = (
    "NoSuchBucket",
    "404 Not Found",
    "ContainerNotFound",
    "Not a directory",
    "Is a directory",
    "No such file",
)
_UNAVAILABLE = (
    *("error sending request", "operation timed out", "Connection refused", "Connection reset", "dns error"),
    *("500 Internal", "502 Bad Gateway", "503 Service", "504 Gateway", "429 Too Many", "SlowDown", "after 10 retries"),
    *("No space left", "Input/output error", "Disk quota exceeded"),
)
_NO_FILE = (FileNotFoundError, NotADirectoryError, FileExistsError)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_TEXT = 500


@contextmanager
def named_delta_errors(uri: str, options: Mapping[str, str]) -> Iterator[None]:
    """Raises the named error for every error of a library in the block; errors that are named already pass."""
    try:
        yield
    except AuditProviderError:
        raise
    except Exception as error:  # noqa: BLE001 - deltalake and pyarrow raise errors of many classes; each is named
        raise named_delta_error(uri, options, error) from cause_without_secret(error, options)


def named_delta_error(uri: str, options: Mapping[str, str], error: Exception) -> AuditProviderError:
    """Returns the named error for one of deltalake, of pyarrow or of the store."""
    text, quoted = f"{type(error).__name__}: {error}", delta_error_text(error, options)
    if isinstance(error, PermissionError) or any(known in text for known in _NO_RIGHTS):
        return ConfigurationError(
            f"The object store refused access to the Delta table {uri} ({quoted}). Correct the credentials in the "
            "connection or in storage_options, or grant the rights to list, read, write and delete its files."
        )
    if any(known in text for known in _UNAVAILABLE):
        return WarehouseUnavailableError(
            f"The object store of the Delta table {uri} failed ({quoted}). A window is loaded as a whole or not at "
            "all; the load ledger shows which. Check that the store can be reached and has free space; then run the "
            "task again."
        )
    if isinstance(error, _NO_FILE) or any(known in text for known in _WRONG_PLACE):
        return ConfigurationError(
            f"The bucket, or a file of the Delta table {uri}, is missing ({quoted}). Correct the argument "
            "table or the endpoint; or restore the table's files; or delete the table's folder, so that everything is "
            "loaded again."
        )
    if isinstance(error, OSError):
        return WarehouseUnavailableError(
            f"The Delta table {uri} could not be read or written ({quoted}). A window is loaded as a whole or not at "
            "all; the load ledger shows which. Check the storage; then run the task again."
        )
    return ConfigurationError(
        f"deltalake refused the Delta table {uri} ({quoted}). A window is loaded as a whole or not at all; the load "
        "ledger shows which. Correct the table or storage_options as the message says, or give the location of a new "
        "table."
    )


def delta_error_text(error: BaseException, options: Mapping[str, Any]) -> str:
    """Returns class and text of an error in one line, without colours and without the secrets in the options."""
    plain = _COLOURS.sub("", str(error)).replace("↳", "")
    text = masked(f"{type(error).__name__}: {' '.join(masked(plain, options).split())}", options)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
