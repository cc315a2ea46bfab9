"""Reads responses of the Audit Logs API: a page of records, or the error that a response stands for.

Invariant: a response that does not clearly contain records, or clearly none, is an error, never an empty page.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.json_cuts import cut_result, mask_surrogates
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    SourceAuthError,
    SourceError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)

# Error codes are not documented. Observed by other collectors: 6003 and 6111 with status 400 for a malformed
# authorization header; 9103 for an unknown key or e-mail; 9109 for an invalid token and for an account that the token
# may not access; 10000 for a missing permission; 7003 for a path without a route, often a wrong account id; 971 and
# 10100 with status 429.
_MALFORMED_CODES = frozenset({6003, 6111})
_UNKNOWN_KEY_CODE, _NO_ACCESS_CODE, _NO_ROUTE_CODE = 9103, 9109, 7003
_RATE_LIMIT_CODES = frozenset({971, 10100})
# Reading can be repeated after each of them. RFC 9110, 15.5.9, on 408: "If the client has an outstanding request in
# transit, it MAY repeat that request." 15.5.10, on 409: "a conflict with the current state of the target resource",
# which another state ends. 15.5.20, on 421: "A client that receives a 421 (Misdirected Request) response MAY retry the
# request ... over a different connection". RFC 8470, 5.2, on 425: "the server is unwilling to risk processing a request
# that might be replayed".
_REPEATABLE_STATUSES = frozenset({408, 409, 421, 425})
_RETRY_OR_CHECK_HOST = (
    "Retry later; if the error persists, check that the connection's host is the API's base URL and that no proxy "
    "answers in its place."
)
# Earlier than any response that this provider can get: a server's clock without power starts in 1970, 1980 or 2000.
_FIRST_BELIEVED_AT = datetime(2025, 1, 1, tzinfo=UTC)
_LAST_BELIEVED_AT = datetime(9000, 1, 1, tzinfo=UTC)
_ANY_LOG = "the audit log"
# Names in `result_info` that may lead to a next page.
_NEXT_PAGE_NAME = re.compile("cursor|next|after", re.IGNORECASE)


class Page(NamedTuple):
    """The records of one response in order of arrival, and whether it names a next page.

    ``cursor`` is the token of the next page or None. ``states_end`` is true if the response has a field for the cursor
    that is empty (version 2 only). A missing field states nothing, and version 1 has none. ``history_status`` is what a
    page of a resource history states about it, None for any other page.
    """

    records: list[AuditRecord]
    cursor: str | None = None
    states_end: bool = False
    history_status: str | None = None


class _Envelope(msgspec.Struct, gc=False):
    result: list[msgspec.Raw] | None
    success: bool | None = None
    errors: Any = None
    result_info: Any = None


class _ErrorEnvelope(msgspec.Struct, gc=False):
    errors: Any = None
    result_info: Any = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ERROR_ENVELOPE = msgspec.json.Decoder(_ErrorEnvelope)


def read_page(version: ApiVersion, response: Response, now: datetime, log_name: str = _ANY_LOG) -> Page:
    """Returns the page in a response; raises the ``SourceError`` or ``ConfigurationError`` that it stands for.

    ``now`` is the time of the response, from which a ``Retry-After`` date is counted; errors name ``log_name``.
    """
    response, envelope = _envelope_of(response, now, log_name)
    records = read_records(version, envelope.result or [], response.body)
    if version is ApiVersion.V1:
        # Cloudflare API docs, v1: the response schema has no `result_info`. Where one was observed, it named no cursor.
        return Page(records)
    cursor = _cursor(envelope.result_info)
    return Page(records, cursor, states_end=cursor is None and _states_end(envelope.result_info))


def read_entries(response: Response, now: datetime, log_name: str) -> list[msgspec.Raw]:
    """Returns the entries of a list that are no audit records; raises what :func:`read_page` raises."""
    return _envelope_of(response, now, log_name)[1].result or []


def _envelope_of(response: Response, now: datetime, log_name: str) -> tuple[Response, _Envelope]:
    """Returns the response without a byte order mark, and its envelope, which has a result."""
    if response.status != 200:
        raise error_of(response, now, log_name)
    # RFC 8259, 8.1: parsers "MAY ignore the presence of a byte order mark rather than treating it as an error".
    response = response._replace(body=response.body.removeprefix(codecs.BOM_UTF8))
    envelope = _read_envelope(response, now)
    if envelope.result is None:
        # Cloudflare API docs, both versions: `result` is an array. Null states neither records nor their absence:
        # one transient null would make a full window look empty, so it is never taken for an empty page.
        raise _without_result(response)
    return response, envelope


def _read_envelope(response: Response, now: datetime) -> _Envelope:
    try:
        envelope = _decode_envelope(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _error_by_code(response, now) or SourceUnavailableError(
            f"The API returned status 200 with a body that is not the API's JSON ({error}). The body starts with "
            f"{response.body[:80]!r}. {_RETRY_OR_CHECK_HOST}",
            retry_after=retry_after_seconds(response.headers, now),
            **_facts(response),
        ) from error
    # The API's schema allows `success: false` with status 200. The official SDK 5.9.0 then returns no records and
    # raises no error, so an outage would look like an empty log.
    if envelope.success is not True or envelope.errors:
        raise _error_by_code(response, now) or _unsuccessful(response, now)
    return envelope


def _decode_envelope(body: bytes) -> _Envelope:
    try:
        return _ENVELOPE.decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_around_entries(body)


def _decode_around_entries(body: bytes) -> _Envelope:
    """Decodes an envelope whose entries no decoder reads, so that one odd record does not spoil its page."""
    try:
        entries, rest = cut_result(body)
    except ValueError:
        return _ENVELOPE.decode(mask_surrogates(body))
    envelope = _ENVELOPE.decode(mask_surrogates(rest))
    envelope.result = list(map(msgspec.Raw, entries))
    return envelope


def _error_by_code(response: Response, now: datetime) -> SourceError | None:
    """Returns the error that the error codes of a status 200 stand for, None if they name no known one."""
    if _codes(response.body) & _RATE_LIMIT_CODES:
        return _rate_limited(response, now)
    return None


def _unsuccessful(response: Response, now: datetime) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"The API returned status 200 without success: {_errors_text(response.body)}. "
        "Retry later; if the error persists, open a Cloudflare support case with the ray id.",
        retry_after=retry_after_seconds(response.headers, now),
        **_facts(response),
    )


def _without_result(response: Response) -> SourceUnavailableError:
    return SourceUnavailableError(
        "The API returned status 200 with a result that is null, which is neither records nor an empty list. "
        "Retry later; if the error persists, open a Cloudflare support case with the ray id.",
        **_facts(response),
    )


def error_of(response: Response, now: datetime, log_name: str = _ANY_LOG) -> SourceError | ConfigurationError:
    """Returns the error that a response with a status other than 200 stands for, naming the log that was requested.

    The status decides first: version 2 documents errors without a code, `[{message}]`.
    """
    status, codes = response.status, _codes(response.body)
    if status in (401, 403) or (status == 400 and codes & _MALFORMED_CODES):
        return _auth_error(response, codes, log_name)
    if has_no_route(response):
        return ConfigurationError(
            f"Cloudflare cannot find {log_name} (status {status}, ray {_facts(response)['ray_id']}): "
            f"{_errors_text(response.body)}. Check account_id or organization_id, and the connection's host."
        )
    if status == 429:
        return _rate_limited(response, now)
    if status == 407:
        return proxy_authentication_error()
    if status >= 500 or status < 300 or status in _REPEATABLE_STATUSES:
        return _unavailable(response, now)
    return _unexpected(response)


def has_no_route(response: Response) -> bool:
    """Returns whether the API cannot find the requested log."""
    return response.status == 404 or (response.status == 400 and _NO_ROUTE_CODE in _codes(response.body))


def lost_log_error(response: Response, log_name: str) -> ConfigurationError:
    """Returns the error of a log that cannot be found although it has returned pages, so that its id is right."""
    return ConfigurationError(
        f"Cloudflare no longer finds {log_name}, although it has returned pages of it before (status "
        f"{response.status}, ray {_facts(response)['ray_id']}): {_errors_text(response.body)}. Check in the dashboard "
        "that the account or organization still exists and that the credential still has access to it, then run the "
        "task again."
    )


def proxy_authentication_error() -> ConfigurationError:
    """Returns the error of a proxy that asks for a user and a password."""
    return ConfigurationError(
        "The proxy asks for authentication, or refuses the user and password that it got. Give both in the URL of the "
        "proxy: in the field 'proxy' of the connection's extra, or in the environment variable HTTPS_PROXY or "
        "ALL_PROXY."
    )


def _unavailable(response: Response, now: datetime) -> SourceUnavailableError:
    """Returns the error of a response after which the same request may succeed.

    Other statuses of success than 200 are among them: RFC 9110 defines 202 as not acted upon yet, 203 as changed by a
    proxy, 204 and 205 as without content, and 206 as a part, so none of them has the whole page.
    """
    reason = _errors_text(response.body)
    if response.status < 300:
        text = f"The API accepted the request, but returned no complete page: {reason}. Retry later."
    else:
        text = f"The API is not available: {reason}. Retry later."
    return SourceUnavailableError(
        text,
        retry_after=retry_after_seconds(response.headers, now),
        **_facts(response),
    )


def _auth_error(response: Response, codes: set[int], log_name: str) -> SourceAuthError:
    """Returns the error of a refused credential, account or permission, as far as the response tells them apart."""
    reason, facts = _errors_text(response.body), _facts(response)
    if codes & _MALFORMED_CODES:
        return SourceAuthError(
            f"Cloudflare cannot read the credential: {reason}. Enter the API token again as the connection's password: "
            "the token alone, without 'Bearer', quotes or spaces.",
            **facts,
        )
    if _UNKNOWN_KEY_CODE in codes:
        return SourceAuthError(
            f"Cloudflare does not know this e-mail and Global API Key: {reason}. Correct the connection's login and "
            "password, or clear the login to use an API token.",
            **facts,
        )
    has_no_access = _NO_ACCESS_CODE in codes
    if response.status == 401 or (has_no_access and "token" in reason.lower()):
        return SourceAuthError(
            f"Cloudflare does not accept the credential for {log_name}: {reason}. Check that the API token is active "
            "and allows this machine's IP address, or create a new token and set it as the connection's password.",
            **facts,
        )
    if has_no_access:
        return SourceAuthError(
            f"The credential has no access to {log_name}: {reason}. Check account_id, and that the API token belongs "
            "to this account.",
            **facts,
        )
    return SourceAuthError(
        f"The credential may not read {log_name}: {reason}. Give the API token the permission 'Account Settings: Read' "
        "for this account.",
        **facts,
    )


def _unexpected(response: Response) -> SourceProtocolError:
    if 300 <= response.status < 400:
        text = "The API returned a redirect. It is not followed, so that the credential is sent to no other host. "
        return SourceProtocolError(f"{text}Set the connection's host to the final address.", **_facts(response))
    return SourceProtocolError(
        f"The API refused the request: {_errors_text(response.body)}. Check the filters' values.", **_facts(response)
    )


def _rate_limited(response: Response, now: datetime) -> SourceRateLimitedError:
    return SourceRateLimitedError(
        "Cloudflare's rate limit is used up, so requests are blocked. Wait for the retry, or reduce what else uses the "
        "limit: all tokens of a user and the dashboard share one limit.",
        retry_after=retry_after_seconds(response.headers, now),
        **_facts(response),
    )


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Returns the seconds that ``Retry-After`` asks to wait, None without a readable one.

    RFC 9110, 10.2.3: "The Retry-After field value can be either an HTTP-date or a number of seconds to delay after
    receiving the response." Any number is returned: ``retry.sane_retry_after`` rejects impossible ones.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    until = _http_date(text)
    return None if until is None else max(0.0, (until - now).total_seconds())


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """Returns the API's own time of a response, None if it has no readable ``Date`` or one that cannot be right.

    A ``Date`` of 1970 would make every window look like one that ends in the future.
    """
    stated_at = _http_date(headers.get("date", ""))
    return stated_at if stated_at is not None and _FIRST_BELIEVED_AT <= stated_at < _LAST_BELIEVED_AT else None


def _http_date(text: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # RFC 9110, 5.6.7: "values in the asctime format are assumed to be in UTC".
    return instant.replace(tzinfo=instant.tzinfo or UTC)


def _cursor(result_info: Any) -> str | None:
    """Returns the next cursor from either of its two places, None if both are empty.

    Cloudflare API docs, v2 `cursor`: "A valid cursor value can be obtained from the cursor object in the result_info
    structure of a previous response." The official SDK 5.9.0 reads `result_info.cursors.after` instead, and stops after
    page one if it is missing.
    """
    if not isinstance(result_info, Mapping):
        return None
    cursors = result_info.get("cursors")
    after = cursors.get("after") if isinstance(cursors, Mapping) else None
    cursor = result_info.get("cursor") or after
    return str(cursor) if cursor else None


def _states_end(result_info: Any) -> bool:
    """Returns whether one of the cursor's two places exists and is empty, and no other name leads to a next page.

    A missing cursor states nothing: a server that returns fewer rows than requested and loses the cursor looks alike.
    """
    if not isinstance(result_info, Mapping):
        return False
    cursors = result_info.get("cursors")
    has_place = "cursor" in result_info or (isinstance(cursors, Mapping) and "after" in cursors)
    return has_place and not any(
        value for name, value in result_info.items() if _NEXT_PAGE_NAME.search(str(name)) and not _is_empty(value)
    )


def _is_empty(value: Any) -> bool:
    """Returns whether a mapping names no page but an earlier one."""
    return isinstance(value, Mapping) and not any(value.get(name) for name in value if name != "before")


def _errors(body: bytes) -> list[Mapping[str, Any]]:
    try:
        errors = _ERROR_ENVELOPE.decode(body).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    entries = [entry for entry in errors if isinstance(entry, Mapping)] if isinstance(errors, list) else []
    chains = [entry.get("error_chain") for entry in entries]
    return entries + [
        link for chain in chains if isinstance(chain, list) for link in chain if isinstance(link, Mapping)
    ]


def result_facts(body: bytes) -> Mapping[str, Any]:
    """Returns the object ``result_info`` of a response, empty if there is none that can be read."""
    try:
        facts = _ERROR_ENVELOPE.decode(body).result_info
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return facts if isinstance(facts, Mapping) else {}


def _codes(body: bytes) -> set[int]:
    return {code for entry in _errors(body) if isinstance(code := entry.get("code"), int)}


def _errors_text(body: bytes) -> str:
    messages = [str(entry.get("message", "")).strip().rstrip(".") for entry in _errors(body)]
    return "; ".join(filter(None, messages)) or "no reason given"


def _facts(response: Response) -> dict[str, Any]:
    return {
        "status": response.status,
        "ray_id": response.headers.get("cf-ray"),
        "codes": tuple(sorted(_codes(response.body))),
    }


def token_is_active(response: Response) -> bool:
    """Returns whether the response to a token check, with status 200, states that the token is active.

    Raises ``SourceUnavailableError`` for a body that is not the API's JSON: it states neither.
    Only ``errors`` and the token's status count. Observed: a response for a valid token has the code 10000, which is an
    authentication error elsewhere, in its ``messages``.
    """
    try:
        envelope = msgspec.json.decode(response.body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SourceUnavailableError(
            f"The API answered the token check with a body that is not the API's JSON ({error}). The body starts with "
            f"{response.body[:80]!r}. {_RETRY_OR_CHECK_HOST}",
            **_facts(response),
        ) from error
    if envelope.get("success") is not True or envelope.get("errors"):
        return False
    result = envelope.get("result")
    return isinstance(result, Mapping) and result.get("status", "active") == "active"
