"""Public errors, grouped by their remedy.

::

    AuditProviderError
    ├── ConfigurationError            a wrong connection, argument or setting; status 404       no retry
    ├── SourceError                   the Cloudflare API did not return what was requested
    │   ├── SourceAuthError           status 401 or 403, or 400 with an authentication code     no retry
    │   ├── SourceRateLimitedError    status 429; retry_after if the API named one              retry
    │   ├── SourceUnavailableError    no usable response: 5xx, HTML, 204, 409, …; changed records  retry
    │   ├── SourceProtocolError       the response breaks the API's contract                    no retry
    │   └── RetentionExceededError    the window starts before the oldest day the API keeps     no retry
    ├── WindowNotSettledError         too early; settled_at is when the window may be read      retry
    ├── StorageError                  the object store refused, or cannot be used               no retry
    │   ├── StorageUnavailableError   the store did not respond, or lost what was staged        retry
    │   ├── ReadLimitExceededError    an object or listing is larger than a reader may read     no retry
    │   └── CommitConflictError       conflict with committed records, windows or dataset       no retry
    ├── NotCommittedError             windows or records that are needed are not committed yet  retry
    ├── TimestampUnavailableError     the time stamp authority gave no time stamp               retry
    ├── WarehouseBusyError            another run was first, or holds the warehouse             retry
    ├── WarehouseUnavailableError     the warehouse did not respond, or has no space left       retry
    └── VerificationError             stored data is missing, damaged or contradicted           no retry

"retry" is the class attribute ``retryable``: Airflow retries the task. "no retry" fails the task at once, however
many retries it has. ``SourceError`` itself is not raised.

The last sentence of every message says what to do. The attributes carry the same facts as values. All errors survive
pickling, because they cross process boundaries in Airflow.

Invariant: callers decide by ``retryable`` and ``retry_after``, never by a message's text; no message contains a secret.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar

__all__ = [
    "AuditProviderError",
    "CommitConflictError",
    "ConfigurationError",
    "NotCommittedError",
    "ReadLimitExceededError",
    "RetentionExceededError",
    "SourceAuthError",
    "SourceError",
    "SourceProtocolError",
    "SourceRateLimitedError",
    "SourceUnavailableError",
    "StorageError",
    "StorageUnavailableError",
    "TimestampUnavailableError",
    "VerificationError",
    "WarehouseBusyError",
    "WarehouseUnavailableError",
    "WindowNotSettledError",
    "error_named",
]


# Airflow's log page wraps no line. A line for each sentence shows the remedy, and a command in it can be copied.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


class AuditProviderError(Exception):
    """Base class of every error that this provider raises on purpose.

    ``retryable`` says whether a retry can succeed; ``retry_after`` is the number of seconds to wait before it, None if
    unknown. ``connection`` is the id of the Cloudflare connection that was used, None if there was none. ``progress``
    says which of several windows failed, and how many are committed; None for a single window.
    """

    retryable: ClassVar[bool] = False
    retry_after: float | None = None
    connection: str | None = None
    progress: str | None = None
    # A line below the message that says where to read more; a task sets it, because its log is read by people.
    help_line: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def own_words(self) -> str:
        """Returns the message without the texts of other libraries' errors, which may hold a credential.

        In place of such a text, the message has the class of the error.
        """
        message, cause = self.message, self.__cause__
        while cause is not None:
            kind = type(cause).__name__
            if not isinstance(cause, AuditProviderError):
                message = message.replace(f"({kind}: {cause})", f"({kind})").replace(f"({cause})", f"({kind})")
            cause = cause.__cause__
        return message

    def facts(self) -> dict[str, object]:
        """Returns what the text states in brackets after the message: names and values, None for unknown."""
        return {"connection": self.connection, "progress": self.progress}

    def __str__(self) -> str:
        """Returns the message, then the facts that a support case needs.

        With a line with a link, this is a block with a line for each sentence that ends with it.
        """
        facts = "; ".join(f"{name} {value}" for name, value in self.facts().items() if value is not None)
        parts = [self.message, f"[{facts}]"] if facts else [self.message]
        if self.help_line is None:
            return " ".join(parts)
        return "\n".join([*_SENTENCE_END.split(self.message), *parts[1:], self.help_line])

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
    """A connection, an argument or a setting is wrong; windows that were finished before the error stay."""


class SourceError(AuditProviderError):
    """The Cloudflare API did not return what was requested.

    Attributes: ``status`` (HTTP status, None if there was no response), ``ray_id`` (Cloudflare's id of the response,
    for a support case), ``codes`` (the API's own error codes), ``window`` (the window that was read, as text),
    ``position`` (the page or cursor in it, as text).
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
        """Returns connection, progress, status, ray id, error codes, window and position."""
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
    """Cloudflare's rate limit is used up (429); ``retry_after`` is in seconds, None if the API did not name it."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class SourceUnavailableError(SourceError):
    """There was no usable response, and the same request may succeed later.

    A 5xx, 408, 409, 421 or 425; a status of success other than 200; a 200 whose body states ``success: false`` or is
    not the API's JSON; a timeout, a closed connection, a response that takes too long or is too large.
    Also raised if the API changed records since the attempt that was resumed. ``retry_after`` is in seconds, None if
    the response did not name it.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class SourceProtocolError(SourceError):
    """The response breaks the API's contract; continuing could lose a record."""


class RetentionExceededError(SourceError):
    """The window starts before the oldest record that the API still keeps."""


class WindowNotSettledError(AuditProviderError):
    """The window ends in the future, or ended less than the settle delay ago; ``settled_at`` is when it can be read."""

    retryable = True

    def __init__(self, message: str, *, settled_at: datetime, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.settled_at = settled_at
        self.retry_after = retry_after


class StorageError(AuditProviderError):
    """The object store refused an operation; ``key`` is the object, relative to the destination."""

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class StorageUnavailableError(StorageError):
    """The object store did not respond, or data that a pull wrote to the store or to the worker's disk is gone."""

    retryable = True


class ReadLimitExceededError(StorageError):
    """There is more in the destination than a reader with limits, such as the coverage page, reads at a time.

    ``key`` is the object that is too large by itself, None if all of them together are. Tasks and commands have no such
    limits.
    """


class CommitConflictError(StorageError):
    """The destination holds something that this run cannot add to.

    The destination holds another dataset: another audit log, API version, filter, format, schema or privacy rule. Or
    another run committed this window first, with other records. Or a committed window overlaps this one. Nothing of
    this run is visible, unless two runs committed overlapping windows at the same time: then both windows are.
    """


class NotCommittedError(AuditProviderError):
    """Windows, records or changes that the task or command needs are not committed yet."""

    retryable = True


class TimestampUnavailableError(AuditProviderError):
    """The time stamp authority gave no time stamp; the seals are created and signed, and the next run stamps them."""

    retryable = True


class WarehouseBusyError(AuditProviderError):
    """Another run was first or holds the warehouse; what this run was about to commit is not visible."""

    retryable = True


class WarehouseUnavailableError(AuditProviderError):
    """The warehouse did not respond, ended the connection, ran into a timeout or has no space left.

    A window is loaded as a whole or not at all; the load ledger shows which.
    """

    retryable = True


class VerificationError(AuditProviderError):
    """Stored data is missing, damaged or of a newer version, or differs from its manifest, a second read or the API.

    Damaged objects are never overwritten without ``replace=True``. Also raised by a replacement that would lose
    committed records, and by the verify operator for severe findings.
    """


def error_named(code: str, message: str) -> AuditProviderError:
    """Returns the error of a class in this module by the class's name, e.g. from a trigger's event.

    Returns a plain ``AuditProviderError`` for any other name, and for a class that needs more than a message.
    """
    kind = globals().get(code)
    if isinstance(kind, type) and issubclass(kind, AuditProviderError) and kind is not WindowNotSettledError:
        error: AuditProviderError = kind(message)
        return error
    return AuditProviderError(f"{code}: {message}")
