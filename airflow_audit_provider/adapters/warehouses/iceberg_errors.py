"""Names the errors of an Iceberg catalog and of the files below it by their remedy.

A catalog raises errors of pyiceberg, of its own library, such as SQLAlchemy or botocore, or of the operating system.
Their classes are recognized by name, so that no catalog's library is imported here, and those of object stores and
databases by error code or text: pyarrow raises ``OSError`` without an errno for S3, and SQLAlchemy has one class for a
locked database, a wrong password and a lost connection.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_audit_provider.adapters.warehouses.iceberg_secrets import cause_without_secret, masked
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)

# Classes of pyiceberg, google.api_core, azure.core and botocore for a caller that is unknown or lacks a right.
_NO_RIGHTS = frozenset(
    {"UnauthorizedError", "ForbiddenError", "AuthorizationExpiredError", "OAuthError", "SignError", "PermissionError"}
    | {"Unauthorized", "Forbidden", "RefreshError", "ClientAuthenticationError", "NoCredentialsError"}
)
# Codes of AWS services.
_NO_RIGHTS_CODES = frozenset(
    {"AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"}
    | {"InvalidClientTokenId"}
)
# Texts of pyarrow (``S3ErrorType`` of the AWS SDK) and of S3.
_NO_RIGHTS_TEXTS = (
    *("ACCESS_DENIED", "AccessDenied", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "InvalidAccessKeyId"),
)
# Texts of SQLite, PostgreSQL and MySQL; only in errors of a database, since a bucket may be named read-only.
_NO_RIGHTS_SQL_TEXTS = (
    *("readonly database", "read-only", "permission denied", "authentication failed", "no pg_hba.conf entry"),
    *("fe_sendauth", "no password supplied", "not permitted to log in", "Access denied for user"),
)
_SQL_CLASSES = frozenset({"OperationalError", "ProgrammingError", "InternalError", "InterfaceError", "DatabaseError"})
_LOCKED_TEXTS = ("database is locked", "database table is locked", "lock timeout", "deadlock detected")
# Texts of a database that can be reached and refuses, in classes that also stand for a lost connection.
_REFUSED_TEXTS = ("unable to open database file", "does not exist", "no such table")
_UNAVAILABLE = frozenset(
    # pyiceberg; the table was dropped meanwhile
    {"ServerError", "ServiceUnavailableError", "TooManyRequestsError", "CommitStateUnknownException"}
    | {"CommitFailedException", "WaitingForLockException", "NoSuchTableError"}
    # requests, urllib3, botocore and the built-in classes
    | {"ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "ProxyError", "SSLError", "ChunkedEncodingError"}
    | {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError", "TimeoutError"}
    # SQLAlchemy, thrift, google.api_core, azure.core
    | {"OperationalError", "InterfaceError", "TTransportException", "ServiceUnavailable", "InternalServerError"}
    | {"DeadlineExceeded", "GatewayTimeout", "TooManyRequests", "ServiceRequestError", "ServiceResponseError"}
)
_NO_RIGHTS_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_WRONG_PLACE_ERRNOS = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
)
_WRONG_PLACE_TEXTS = ("NO_SUCH_BUCKET", "NoSuchBucket", "NO_SUCH_KEY", "RESOURCE_NOT_FOUND")
_LONGEST_TEXT = 500


@contextmanager
def named_iceberg_errors(target: str, properties: Mapping[str, Any]) -> Iterator[None]:
    """Raises the named error for every error of a library in the block; ``properties`` are those of the catalog.

    Errors that are named already pass.
    """
    try:
        yield
    except AuditProviderError:
        raise
    except Exception as error:  # noqa: BLE001 - catalogs raise errors of any library; each is raised again, named
        raise named_iceberg_error(target, properties, error) from cause_without_secret(error, properties)


def named_iceberg_error(target: str, properties: Mapping[str, Any], error: Exception) -> AuditProviderError:
    """Returns the named error for one of a catalog, of its library or of its files.

    ``target`` is the table or the catalog, as it is written in a sentence.
    """
    text = error_text(error, properties)
    if _has_no_rights(error, text):
        return ConfigurationError(
            f"The Iceberg catalog or its storage refused access to the {target} ({text}). Correct the credential in "
            "the connection or in catalog_properties, or grant it the rights to read and write the table, its "
            "metadata and its files."
        )
    if any(known in text for known in _LOCKED_TEXTS):
        return WarehouseBusyError(
            f"Another process has locked the database of the Iceberg catalog, so the {target} could not be loaded "
            f"({text}). Run the task again, or set a longer lock timeout in the catalog's uri."
        )
    if _is_wrong_place(error, text):
        return ConfigurationError(
            f"A file or folder of the Iceberg {target} is missing, or something else has its place ({text}). Correct "
            "the property warehouse; or restore the table's files, or drop the table from the catalog, so that "
            "everything is loaded again."
        )
    if _is_unavailable(error, text):
        return WarehouseUnavailableError(
            f"The Iceberg catalog or its storage failed at the {target} ({text}). A window is loaded as a whole or not "
            "at all; the load ledger shows which. Check that the catalog's server runs, that its uri is right and that "
            "the storage has free space; then run the task again."
        )
    return ConfigurationError(
        f"Pyiceberg refused to load the {target} ({text}). A window is loaded as a whole or not at all; the load "
        "ledger shows which. Correct the table, its properties or the catalog's properties as the message says, or "
        "give the name of a new table."
    )


def is_refused(error: Exception, properties: Mapping[str, Any]) -> bool:
    """Returns whether a retry of what raised an error would raise it again."""
    return not named_iceberg_error("table", properties, error).retryable


def lacks_rights(error: Exception) -> bool:
    """Returns whether an error means that the caller is unknown or may not do what it tried."""
    return _has_no_rights(error, error_text(error, {}))


def error_text(error: Exception, properties: Mapping[str, Any]) -> str:
    """Returns class and text of an error in one line, without the secrets in the catalog's properties."""
    quoted = masked(str(getattr(error, "orig", None) or error), properties)
    # Once more, because a secret with a line break is quoted with a space.
    text = masked(f"{type(error).__name__}: {' '.join(quoted.split())}", properties)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _has_no_rights(error: Exception, text: str) -> bool:
    """Returns whether the caller is unknown or may not do what it tried."""
    if isinstance(error, OSError) and error.errno in _NO_RIGHTS_ERRNOS:
        return True
    name = type(error).__name__
    if name in _NO_RIGHTS or _aws_code(error) in _NO_RIGHTS_CODES:
        return True
    texts = _NO_RIGHTS_TEXTS + (_NO_RIGHTS_SQL_TEXTS if name in _SQL_CLASSES else ())
    return any(known in text for known in texts)


def _aws_code(error: Exception) -> str:
    """Returns the code in botocore's ``ClientError.response``, an empty text for other errors."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _is_wrong_place(error: Exception, text: str) -> bool:
    if not isinstance(error, OSError):
        return False
    return error.errno in _WRONG_PLACE_ERRNOS or any(known in text for known in _WRONG_PLACE_TEXTS)


def _is_unavailable(error: Exception, text: str) -> bool:
    """Returns whether the same call may succeed later."""
    name = type(error).__name__
    if name == "ClientError":
        return _is_server_fault(error)
    # Requests raises errors of invalid URLs that are also ``OSError`` and ``ValueError``.
    if isinstance(error, ValueError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return False
    if name == "OperationalError" and any(known in text for known in _REFUSED_TEXTS):
        return False
    return name in _UNAVAILABLE or isinstance(error, OSError)


def _is_server_fault(error: Exception) -> bool:
    """Returns whether an AWS service failed or throttled the caller, by botocore's ``ClientError.response``."""
    response: dict[str, Any] = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status == 429 or status >= 500 or "Throttl" in response.get("Error", {}).get("Code", "")
