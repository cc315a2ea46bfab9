"""What an Airflow connection of type ``cloudflare`` says, checked.

Knows: the connection's fields and extras by name. Must not know: HTTP calls, queries.
Its one rule: an unknown extra or an impossible value is refused before any request; no error repeats a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_audit_provider import __version__
from airflow_audit_provider.adapters.cloudflare.http import DEFAULT_BASE_URL, Credentials, Endpoint
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.exceptions import ConfigurationError

_NUMBERS: dict[str, float | None] = {
    "timeout_seconds": 60.0,
    "rate_limit_requests": None,
    "rate_limit_seconds": 300.0,
    "max_attempts": 8.0,
    "max_retry_seconds": 1800.0,
}
_WHOLE_NUMBERS = frozenset({"rate_limit_requests", "max_attempts"})
_TEXTS = frozenset({"account_id", "organization_id"})


class ConnectionFields(NamedTuple):
    """The parts of an Airflow connection that matter here, as they stand in it."""

    host: str | None
    login: str | None
    password: str | None
    port: int | None
    extra: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"ConnectionFields(host={self.host!r}, ***)"


class ConnectionSettings(NamedTuple):
    """A checked connection; its text shows no secret."""

    endpoint: Endpoint
    account_id: str | None
    organization_id: str | None
    numbers: Mapping[str, float]

    def budget(self) -> RateLimiter:
        """Return a new rate budget for one hook; without a limit in the connection the server's own is followed."""
        count = self.numbers.get("rate_limit_requests")
        return RateLimiter(None if count is None else RateLimit(int(count), self.numbers["rate_limit_seconds"]))

    def retry_policy(self) -> RetryLimits:
        """Return how long a request is tried."""
        return RetryLimits(int(self.numbers["max_attempts"]), self.numbers["max_retry_seconds"])


def read_connection(conn_id: str, fields: ConnectionFields) -> ConnectionSettings:
    """Check a connection; raise ``ConfigurationError`` naming the field and the mend."""
    _refuse_unknown_extras(conn_id, fields.extra)
    numbers = {}
    for name, default in _NUMBERS.items():
        number = _number(conn_id, name, fields.extra.get(name), default)
        if number is not None:
            numbers[name] = number
    endpoint = Endpoint(
        _credentials(conn_id, fields),
        _base_url(fields),
        timeout_seconds=numbers["timeout_seconds"],
        user_agent=f"airflow-audit-provider/{__version__}",
    )
    endpoint.check_safe()
    return ConnectionSettings(endpoint, _text(fields, "account_id"), _text(fields, "organization_id"), numbers)


def _refuse_unknown_extras(conn_id: str, extra: Mapping[str, Any]) -> None:
    known = _TEXTS | _NUMBERS.keys()
    for name in extra:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known extras: {', '.join(sorted(known))}."
            raise ConfigurationError(f"Connection {conn_id!r} has an unknown extra {name!r}. Remove it. {hint}")


def _credentials(conn_id: str, fields: ConnectionFields) -> Credentials:
    secret, email = (fields.password or "").strip(), (fields.login or "").strip()
    if not secret:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no password. Put the API token there, or the Global API Key with the e-mail "
            "as login."
        )
    if not (secret.isascii() and secret.isprintable() and " " not in secret and email.isascii()):
        raise ConfigurationError(
            f"The credential of connection {conn_id!r} holds characters no HTTP header may have. Enter it again."
        )
    return Credentials(email=email, key=secret) if email else Credentials(token=secret)


def _base_url(fields: ConnectionFields) -> str:
    """Return the API's base URL; a bare host name, as a connection URI gives it, gets https and the usual path."""
    host = (fields.host or "").strip().rstrip("/") or DEFAULT_BASE_URL
    if "://" in host:
        if fields.port and fields.port != _port_of(host):
            raise ConfigurationError(
                f"The connection has a full URL as host and another port, {fields.port}, beside it. Put the port there."
            )
        return host
    port = f":{fields.port}" if fields.port else ""
    name, slash, path = host.partition("/")
    return f"https://{name}{port}/{path if slash else 'client/v4'}"


def _port_of(url: str) -> int | None:
    """Return the port of a URL, told or usual; what is no URL has none."""
    try:
        parts = urlsplit(url)
        return parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None


def _text(fields: ConnectionFields, name: str) -> str | None:
    value = fields.extra.get(name)
    return str(value).strip() or None if value is not None else None


def _number(conn_id: str, name: str, value: Any, default: float | None) -> float | None:
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    whole = name not in _WHOLE_NUMBERS or number.is_integer()
    if isinstance(value, bool) or not 0 < number < 1e9 or not whole:
        kind = "a whole number of at least 1" if name in _WHOLE_NUMBERS else "a positive number"
        raise ConfigurationError(f"Extra {name!r} of connection {conn_id!r} is not {kind}. Mend it.")
    return number
