"""Every public error, grouped by what mends it.

Knows: nothing but Python. Must not know: Airflow, HTTP, storage.
Its one rule: callers decide by ``retryable`` and ``retry_after``, never by a message's text.

::

    AuditProviderError
    ├── ConfigurationError            mend the connection or the arguments      never retry
    ├── SourceError                   carries status, ray id, window, cursor
    │   ├── SourceAuthError           401, 403                                  never retry
    │   ├── SourceRateLimitedError    429, retry_after                          retry, after
    │   ├── SourceUnavailableError    5xx, timeouts, cut connections            retry
    │   ├── SourceProtocolError       the answer breaks the contract            never retry
    │   └── RetentionExceededError    older than the API keeps                  never retry
    ├── WindowNotSettledError         too early; carries settled_at             wait until then
    ├── StorageError                  the object store said no                  never retry
    │   ├── StorageUnavailableError   the object store did not answer           retry
    │   └── CommitConflictError       another run committed first               never retry
    ├── NotCommittedError             nothing is committed there yet            retry
    ├── WarehouseBusyError            another loader has the table or the window  retry
    └── VerificationError             bytes disagree with the manifest          never retry, never overwrite

Each message is one or more sentences and the last one says what to do. The attributes carry the same
facts as values. All errors survive pickling (they cross process borders in Airflow), and no message
ever holds a secret.
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
    """Root of every error this provider raises on purpose.

    ``retryable`` says whether trying the same thing again can help; ``retry_after`` is the number of
    seconds to wait first, or None when nobody said.
    """

    retryable: ClassVar[bool] = False
    retry_after: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the message and the attributes, so that keyword-only arguments survive pickling."""
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(kind: type[AuditProviderError], attributes: dict[str, Any]) -> AuditProviderError:
    """Make an error again from what it carried, without calling its own constructor."""
    error = kind.__new__(kind, attributes["message"])
    Exception.__init__(error, attributes["message"])
    error.__dict__.update(attributes)
    return error


class ConfigurationError(AuditProviderError):
    """The connection or an argument is wrong; nothing was asked of anybody yet."""


class SourceError(AuditProviderError):
    """The Cloudflare API did not give what was asked.

    Attributes: ``status`` (HTTP status, None when no answer came), ``ray_id`` (Cloudflare's id of the
    answer, for a support case), ``codes`` (the API's own error codes), ``window`` (what was being read, in words),
    ``position`` (the page or cursor there, in words).
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

    def __str__(self) -> str:
        """The message, with the facts a support case needs in brackets in front of its remedy."""
        facts = [
            f"{name} {fact}"
            for name, fact in (
                ("status", self.status),
                ("ray", self.ray_id),
                ("codes", ",".join(map(str, self.codes)) or None),
                ("window", self.window),
                ("at", self.position),
            )
            if fact is not None
        ]
        return f"[{'; '.join(facts)}] {self.message}" if facts else self.message


class SourceAuthError(SourceError):
    """Cloudflare refused the credential or its permission (401, 403)."""


class SourceRateLimitedError(SourceError):
    """Cloudflare blocks this token for now (429); ``retry_after`` is in seconds, None when not said."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class SourceUnavailableError(SourceError):
    """No usable answer came: a 5xx, a timeout, a cut connection; ``retry_after`` when the answer named one."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class SourceProtocolError(SourceError):
    """An answer came that breaks the API's contract, so going on could lose a record."""


class RetentionExceededError(SourceError):
    """The window starts before the oldest record the API still keeps."""


class WindowNotSettledError(AuditProviderError):
    """The window ends too close to now, or after it; ``settled_at`` is the instant from which it may be read."""

    retryable = True

    def __init__(self, message: str, *, settled_at: datetime, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.settled_at = settled_at
        self.retry_after = retry_after


class StorageError(AuditProviderError):
    """The object store refused; ``key`` is the object concerned, relative to the destination."""

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class StorageUnavailableError(StorageError):
    """The object store did not answer or broke off, or this machine's disk lost what was put aside there."""

    retryable = True


class CommitConflictError(StorageError):
    """Another run of the same window committed something else first; nothing of this run is visible."""


class NotCommittedError(AuditProviderError):
    """What is to be loaded was not landed yet."""

    retryable = True


class WarehouseBusyError(AuditProviderError):
    """Another loader was first or holds the warehouse; nothing of this load is visible."""

    retryable = True


class VerificationError(AuditProviderError):
    """Stored bytes disagree with what the manifest, or a second reading of the source, says."""


def error_named(code: str, message: str) -> AuditProviderError:
    """Return the error whose class has that name; used where only the name and the text could be carried over."""
    kind = globals().get(code)
    if isinstance(kind, type) and issubclass(kind, AuditProviderError) and kind is not WindowNotSettledError:
        error: AuditProviderError = kind(message)
        return error
    return AuditProviderError(f"{code}: {message}")
