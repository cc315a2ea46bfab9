"""Exceptions of this provider, grouped by what fixes them.

::

    AuditProviderError
    ├── ConfigurationError              a connection or an argument is wrong          no retry
    ├── SourceError                     the Cloudflare API; status, ray id, window    no retry
    │   ├── SourceAuthError             credential, account or permission refused     no retry
    │   ├── SourceRateLimitedError      status 429                                    retry after retry_after
    │   ├── SourceUnavailableError      5xx, timeouts, broken connections             retry
    │   ├── SourceProtocolError         the response breaks the API's contract        no retry
    │   └── RetentionExceededError      older than the API keeps                      no retry
    ├── WindowNotSettledError           the window ended too recently                 retry at settled_at
    ├── StorageError                    the object store refused                      no retry
    │   ├── StorageUnavailableError     the object store did not respond              retry
    │   └── CommitConflictError         another run committed first                   no retry
    ├── NotCommittedError               a window to load is not committed yet         retry
    ├── WarehouseBusyError              another loader holds the table or the window  retry
    └── VerificationError               stored bytes and manifest differ              no retry, no overwriting

The last sentence of a message says what to do; ``docs/troubleshooting.md`` lists all messages. Attributes carry the
same facts as values.

Invariant: every error survives pickling, because Airflow passes errors between processes, and no message contains a
secret. Callers decide by ``retryable`` and ``retry_after``, never by the text.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

__all__ = [
    "AuditProviderError",
    "CommitConflictError",
    "ConfigurationError",
    "NotCommittedError",
    "RetentionExceededError",
    "SourceAuthError",
    "SourceError",
    "SourceProtocolError",
    "SourceRateLimitedError",
    "SourceUnavailableError",
    "StorageError",
    "StorageUnavailableError",
    "VerificationError",
    "WarehouseBusyError",
    "WindowNotSettledError",
    "error_named",
]


class AuditProviderError(Exception):
    """Base of all errors of this provider.

    ``retryable`` is whether the same operation can succeed later, ``retry_after`` the seconds to wait first, None if
    unknown. ``connection`` is the id of the Cloudflare connection that was used, None if there was none.
    """

    retryable: ClassVar[bool] = False
    retry_after: float | None = None
    connection: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def facts(self) -> dict[str, object]:
        """Returns what the text states in brackets before the message: names and values, None for unknown."""
        return {"connection": self.connection}

    def __str__(self) -> str:
        """Returns the message, after the facts that a support case needs."""
        facts = [f"{name} {value}" for name, value in self.facts().items() if value is not None]
        return f"[{'; '.join(facts)}] {self.message}" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns how to rebuild the error from its attributes: pickle cannot pass keyword-only arguments."""
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(kind: type[AuditProviderError], attributes: dict[str, Any]) -> AuditProviderError:
    """Returns an error with these attributes, without calling its constructor."""
    error = kind.__new__(kind, attributes["message"])
    Exception.__init__(error, attributes["message"])
    error.__dict__.update(attributes)
    return error


class ConfigurationError(AuditProviderError):
    """A connection or an argument is wrong."""


class SourceError(AuditProviderError):
    """The Cloudflare API did not return what was requested.

    Attributes: ``status`` (HTTP status, None without a response), ``ray_id`` (Cloudflare's id of the response, for a
    support case), ``codes`` (the API's error codes), ``window`` (the window that was read, as text), ``position`` (the
    page or cursor, as text).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        ray_id: str | None = None,
        codes: tuple[int, ...] = (),
        window: str | None = None,
        position: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.ray_id = ray_id
        self.codes = codes
        self.window = window
        self.position = position

    def facts(self) -> dict[str, object]:
        """Returns connection, status, ray id, error codes, window and position."""
        return {
            **super().facts(),
            "status": self.status,
            "ray": self.ray_id,
            "codes": ",".join(map(str, self.codes)) or None,
            "window": self.window,
            "at": self.position,
        }


class SourceAuthError(SourceError):
    """Cloudflare refused the credential, the account or the permission (401, 403)."""


class SourceRateLimitedError(SourceError):
    """Cloudflare blocks this token (429); ``retry_after`` is in seconds, None if the response has none."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class SourceUnavailableError(SourceError):
    """No usable response: a 5xx, a timeout or a broken connection; ``retry_after`` if the response has one."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class SourceProtocolError(SourceError):
    """A response breaks the API's contract, so continuing could lose a record."""


class RetentionExceededError(SourceError):
    """The window starts before the oldest record that the API keeps."""


class WindowNotSettledError(AuditProviderError):
    """The window ended too recently or has not ended; it may be read from ``settled_at`` on."""

    retryable = True

    def __init__(self, message: str, *, settled_at: datetime, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.settled_at = settled_at
        self.retry_after = retry_after


class StorageError(AuditProviderError):
    """The object store refused; ``key`` is the object's key relative to the destination."""

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class StorageUnavailableError(StorageError):
    """The object store did not respond, or a temporary file of this machine could not be read back."""

    retryable = True


class CommitConflictError(StorageError):
    """Another run of the window committed other records first; nothing of this run is visible."""


class NotCommittedError(AuditProviderError):
    """A window to load is not committed yet."""

    retryable = True


class WarehouseBusyError(AuditProviderError):
    """Another loader was first or holds the warehouse; nothing of this load is visible."""

    retryable = True


class VerificationError(AuditProviderError):
    """Stored bytes differ from the manifest, or two reads of the API differ."""


def error_named(code: str, message: str) -> AuditProviderError:
    """Returns an error of the class with this name, for an error that a trigger event carries as name and text."""
    kind = globals().get(code)
    if isinstance(kind, type) and issubclass(kind, AuditProviderError) and kind is not WindowNotSettledError:
        error: AuditProviderError = kind(message)
        return error
    return AuditProviderError(f"{code}: {message}")
