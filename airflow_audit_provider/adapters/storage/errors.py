"""What a store raises → the named error that says whether another try can help.

Knows: HTTP's status codes and where the libraries of the stores keep them. Must not know: Airflow, any of those
libraries' types.
Its one rule: judged by status, errno and class, never by a message's text.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_audit_provider.exceptions import StorageError, StorageUnavailableError

# Answers below 500 that say "not now" rather than "no". 409 is what S3 says to one of two conditional writes under way.
_PASSING_STATUSES = frozenset({408, 409, 425, 429})
_REFUSED_ERRNOS = frozenset({errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP})
# By name, because none of the stores' libraries has to be installed: botocore's, google-auth's, azure-core's.
_CREDENTIAL_ERRORS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError"}
    | {"ClientAuthenticationError", "CredentialUnavailableError"}
)
_REFUSALS = (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError)


@contextmanager
def translate_storage_errors(action: str, key: str) -> Iterator[None]:
    """Turn what a store raises into the named error, with the key and the remedy."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise _named(error, action, key) from error


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status, 400 to 599, that an error or one of its causes carries."""
    for link in _causes(error):
        for value in (*(getattr(link, name, None) for name in ("status_code", "status", "code")), _boto_status(link)):
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return None


def _named(error: Exception, action: str, key: str) -> StorageError:
    said = f"({type(error).__name__}: {error})"
    if _is_refusal(error):
        return StorageError(
            f"The destination does not let {key!r} be {action} {said}. Check that the bucket or folder exists and "
            "that the connection or the worker's user may write there.",
            key=key,
        )
    if isinstance(error, TypeError | ValueError) and status_of(error) is None:
        return StorageError(
            f"{key!r} could not be {action} {said}. Check the destination's spelling and the settings of its "
            "connection.",
            key=key,
        )
    return StorageUnavailableError(
        f"{key!r} could not be {action} {said}. Check that the store is reachable and has room, then run the window "
        "again.",
        key=key,
    )


def _is_refusal(error: Exception) -> bool:
    status = status_of(error)
    if status is not None:
        return status < 500 and status not in _PASSING_STATUSES
    return any(_refuses(link) for link in _causes(error))


def _refuses(link: BaseException) -> bool:
    if isinstance(link, _REFUSALS) or any(kind.__name__ in _CREDENTIAL_ERRORS for kind in type(link).__mro__):
        return True
    # gcsfs says "forbidden" by a plain OSError with no number, and nothing else by that.
    return type(link) is OSError and (link.errno is None or link.errno in _REFUSED_ERRNOS)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, nearest first; not what merely happened before it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _boto_status(link: BaseException) -> object:
    answer = getattr(link, "response", None)
    return answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
