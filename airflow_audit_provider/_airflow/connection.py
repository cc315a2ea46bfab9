"""Reads and checks Airflow connections: any one by its id, and the settings of one of type ``cloudflare``.

Invariant: an unknown extra or an invalid value is rejected before any request, and no error contains a secret.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_audit_provider import __version__
from airflow_audit_provider._airflow.compat import aload_connection
from airflow_audit_provider.adapters.cloudflare.http import DEFAULT_BASE_URL, RESPONSE_TIMEOUTS, Credentials, Endpoint
from airflow_audit_provider.adapters.cloudflare.response_body import DEFAULT_MAX_RESPONSE_BYTES
from airflow_audit_provider.core.api.rate_limiter import RateLimit
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.api.token_budget import token_digest
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError

_NUMBERS: dict[str, float | None] = {
    "timeout_seconds": 60.0,
    "rate_limit_requests": None,
    "rate_limit_seconds": 300.0,
    "max_attempts": 8.0,
    "max_retry_seconds": 1800.0,
    "max_response_bytes": float(DEFAULT_MAX_RESPONSE_BYTES),
}
_WHOLE_NUMBERS = frozenset({"rate_limit_requests", "max_attempts", "max_response_bytes"})
# A token as it is pasted from a curl command or from Cloudflare's documentation.
_AUTHORIZATION = re.compile(r"['\"]?(authorization\s*:\s*)?bearer(\s|:|$)", re.IGNORECASE)
_TEXTS = frozenset({"account_id", "organization_id", "proxy", "ca_bundle", "rate_limit_conn_id"})


def get_connection(conn_id: str, remedy: str, hook: BaseHook | type[BaseHook] = BaseHook) -> Any:
    """Returns an Airflow connection; raises ``ConfigurationError`` that ends in ``remedy`` if it does not exist.

    The connection is read by ``hook.get_connection``, so that the override of a hook's subclass applies.
    """
    try:
        conn = hook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _missing(conn_id, remedy) from error
    check_extra(conn_id, conn)
    return conn


async def aget_connection(conn_id: str, remedy: str, hook: BaseHook) -> tuple[Any, dict[str, Any]]:
    """Returns a connection and its extra, as :func:`get_connection` does, without blocking the event loop."""
    try:
        return await aload_connection(conn_id, hook, check_extra)
    except AirflowNotFoundException as error:
        raise _missing(conn_id, remedy) from error


@contextmanager
def name_connection(conn_id: str) -> Iterator[None]:
    """Adds the connection's id to the errors of this provider that pass."""
    try:
        yield
    except AuditProviderError as error:
        error.connection = conn_id
        raise


def check_extra(conn_id: str, conn: Any) -> None:
    """Raises ``ConfigurationError`` unless a connection's extra is empty or an object in JSON.

    A secrets backend may hold anything there. Airflow itself returns an empty extra for a text that is not JSON, and a
    list, text or number as it is.
    """
    if not (conn.extra or "").strip():
        return
    try:
        extra = json.loads(conn.extra)
    except (ValueError, RecursionError):
        # The parser's error is not chained, because it holds the text with its secrets.
        extra, problem = {}, "no JSON"
    else:
        problem = "" if isinstance(extra, Mapping) else "JSON, but not an object"
    if problem:
        raise ConfigurationError(
            f"The extra of connection {conn_id!r} is {problem}. Write it as an object of names and values, such as "
            '{"account_id": "..."}, or leave it empty.'
        )


def extra_text(conn_id: str, conn: Any, name: str) -> str:
    """Returns a field of a connection's extra, empty if there is none; raises ``ConfigurationError`` for no text."""
    found = conn.extra_dejson.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise ConfigurationError(
            f"The extra field {name!r} of connection {conn_id!r} is a {type(found).__name__}. Write it as a string "
            "in quotation marks."
        )
    return found


def _missing(conn_id: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"Connection {conn_id!r} does not exist. {remedy}")


class ConnectionFields(NamedTuple):
    """The fields of an Airflow connection that this provider reads, unchecked."""

    host: str | None
    login: str | None
    password: str | None
    port: int | None
    extra: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"ConnectionFields(host={self.host!r}, ***)"


class ConnectionSettings(NamedTuple):
    """A checked connection. Its repr shows no secret."""

    endpoint: Endpoint
    account_id: str | None
    organization_id: str | None
    numbers: Mapping[str, float]
    rate_limit_conn_id: str | None = None

    @property
    def limit(self) -> RateLimit | None:
        """The connection's own limit; without one, the server's applies."""
        count = self.numbers.get("rate_limit_requests")
        return None if count is None else RateLimit(int(count), self.numbers["rate_limit_seconds"])

    @property
    def token_digest(self) -> str:
        """Name of the request budget that all connections with this credential share."""
        credentials = self.endpoint.credentials
        return token_digest(self.endpoint.base_url, credentials.email or "", credentials.secret)

    @property
    def longest_response_seconds(self) -> float:
        """Longest time that one request may take."""
        return self.endpoint.timeout_seconds * RESPONSE_TIMEOUTS

    @property
    def max_response_bytes(self) -> int:
        """Largest response that is read."""
        return int(self.numbers["max_response_bytes"])

    def retry_limits(self) -> RetryLimits:
        """Returns how often and how long a request is retried."""
        return RetryLimits(int(self.numbers["max_attempts"]), self.numbers["max_retry_seconds"])


def read_connection(conn_id: str, fields: ConnectionFields) -> ConnectionSettings:
    """Returns a connection's settings; raises ``ConfigurationError`` that names the invalid field."""
    _check_extras(conn_id, fields.extra)
    numbers = {}
    for name, default in _NUMBERS.items():
        number = _number(conn_id, name, fields.extra.get(name), default)
        if number is not None:
            numbers[name] = number
    endpoint = Endpoint(
        _credentials(conn_id, fields),
        _base_url(conn_id, fields),
        timeout_seconds=numbers["timeout_seconds"],
        user_agent=f"airflow-audit-provider/{__version__}",
        proxy=_text(fields, "proxy"),
        ca_bundle=_text(fields, "ca_bundle"),
    )
    endpoint.check_safe()
    return ConnectionSettings(
        endpoint,
        _text(fields, "account_id"),
        _text(fields, "organization_id"),
        numbers,
        _text(fields, "rate_limit_conn_id"),
    )


def _check_extras(conn_id: str, extra: Mapping[str, Any]) -> None:
    known = _TEXTS | _NUMBERS.keys()
    for name in extra:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known extras are {', '.join(sorted(known))}."
            raise ConfigurationError(
                f"Connection {conn_id!r} has an unknown field {name!r} in its extra. {hint} Rename or remove it."
            )


def _credentials(conn_id: str, fields: ConnectionFields) -> Credentials:
    secret, email = (fields.password or "").strip(), (fields.login or "").strip()
    if not secret:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no password. Set the password to the API token, or to the Global API Key with "
            "the account's e-mail as login."
        )
    if _AUTHORIZATION.match(secret):
        raise ConfigurationError(
            f"The password of connection {conn_id!r} begins with 'Bearer'. Enter the API token alone, without the word "
            "before it: the provider adds it to the header."
        )
    if not (secret.isascii() and secret.isprintable() and " " not in secret and email.isascii()):
        raise ConfigurationError(
            f"The password or login of connection {conn_id!r} has a character that HTTP headers cannot hold, such as "
            "a space or a line break. Enter it again."
        )
    return Credentials(email=email, key=secret) if email else Credentials(token=secret)


def _base_url(conn_id: str, fields: ConnectionFields) -> str:
    """Returns the API's base URL; a bare host name, as in a connection URI, gets https and the default path."""
    host = (fields.host or "").strip().rstrip("/") or DEFAULT_BASE_URL
    if "://" in host:
        if fields.port and fields.port != _port_of(host):
            raise ConfigurationError(
                f"Connection {conn_id!r} has a full URL as host and another port, {fields.port}, in its port field. "
                "Write the port into the URL and clear the field."
            )
        return host
    port = f":{fields.port}" if fields.port else ""
    name, slash, path = host.partition("/")
    return f"https://{name}{port}/{path if slash else 'client/v4'}"


def _port_of(url: str) -> int | None:
    """Returns a URL's port, explicit or the default of its scheme; None if it is not a URL."""
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
        raise ConfigurationError(
            f"The extra field {name!r} of connection {conn_id!r} must be {kind}. Correct it or remove it."
        )
    return number
