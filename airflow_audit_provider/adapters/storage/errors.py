"""Translates the errors of store libraries into ``StorageError`` (no retry) or ``StorageUnavailableError`` (retry).

Invariant: the decision depends on HTTP status, errno and class name, never on a message's text.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_audit_provider.exceptions import StorageError, StorageUnavailableError

# Client errors that are worth a retry: request timeout, conflict, too early, too many requests (RFC 9110, 8470, 6585).
# S3 answers 409 ConditionalRequestConflict to one of two concurrent conditional writes of a key.
_RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})
_PERMANENT_ERRNOS = frozenset({errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP})
# Compared by name, because none of these libraries needs to be installed: botocore, google-auth, azure-core.
_CREDENTIAL_ERRORS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError"}
    | {"ClientAuthenticationError", "CredentialUnavailableError"}
)
_PERMANENT_ERRORS = (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError)


@contextmanager
def translate_storage_errors(action: str, key: str) -> Iterator[None]:
    """Raises a ``StorageError`` with the key and the remedy for anything that a store library raises."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise _translated(error, action, key) from error


def status_of(error: BaseException) -> int | None:
    """Returns the HTTP status, 400 to 599, of an error or of one of its causes."""
    for link in _causes(error):
        for value in (*(getattr(link, name, None) for name in ("status_code", "status", "code")), _boto_status(link)):
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return None


def _translated(error: Exception, action: str, key: str) -> StorageError:
    cause, named = f"({type(error).__name__}: {error})", repr(key or "/")
    if _is_permanent(error):
        return StorageError(
            f"The destination refused: {named} cannot be {action} {cause}. Check that the bucket or folder exists and "
            "that the connection or the worker's user has the permission.",
            key=key,
        )
    if isinstance(error, TypeError | ValueError) and status_of(error) is None:
        return StorageError(
            f"{named} could not be {action} {cause}. Check the destination's spelling and the settings of its "
            "connection.",
            key=key,
        )
    return StorageUnavailableError(
        f"{named} could not be {action} {cause}. Check that the store is reachable and has room, then run the window "
        "again.",
        key=key,
    )


def _is_permanent(error: Exception) -> bool:
    status = status_of(error)
    if status is not None:
        return status < 500 and status not in _RETRYABLE_STATUSES
    return any(_is_permanent_cause(link) for link in _causes(error))


def _is_permanent_cause(link: BaseException) -> bool:
    if isinstance(link, _PERMANENT_ERRORS) or any(kind.__name__ in _CREDENTIAL_ERRORS for kind in type(link).__mro__):
        return True
    # gcsfs raises a plain OSError without errno for HTTP 403, and for nothing else.
    return type(link) is OSError and (link.errno is None or link.errno in _PERMANENT_ERRNOS)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and the chain of its causes (``raise … from``), nearest first; implicit context is excluded."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _boto_status(link: BaseException) -> object:
    response = getattr(link, "response", None)
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
