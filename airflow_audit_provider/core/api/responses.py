"""What an answer means: a page of records, or a named error.

Knows: the envelopes of both API versions, status codes, Retry-After, both places of the cursor.
Must not know: which request comes next (``paging``), when to try again (``backoff``).
Its one rule: an answer that does not clearly say "here are the records" is an error, never an empty page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records, soften
from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    SourceAuthError,
    SourceError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)

# 6003 and 6111: malformed authorization header, sent with 400; seen by other collectors, undocumented.
_AUTH_CODES = frozenset({6003, 6111})
_RATE_CODES = frozenset({971, 10100})


_LEADS_ON = re.compile("cursor|next|after", re.IGNORECASE)


class Page(NamedTuple):
    """One answer's records in the order they came, and what it says of the rest.

    ``cursor`` is the next page's token or None. ``says_end`` is true where the answer holds the cursor's place and
    nothing in it (version 2 only): a place that is left out says nothing, and version 1 never does.
    """

    records: list[AuditRecord]
    cursor: str | None = None
    says_end: bool = False


class _Envelope(msgspec.Struct, gc=False):
    result: list[msgspec.Raw] | None
    success: bool | None = None
    errors: Any = None
    result_info: Any = None


class _ErrorEnvelope(msgspec.Struct, gc=False):
    errors: Any = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ERROR_ENVELOPE = msgspec.json.Decoder(_ErrorEnvelope)


def read_page(version: ApiVersion, response: Response, now: datetime) -> Page:
    """Return the page in an answer; raise the ``SourceError`` (or ``ConfigurationError``) it stands for."""
    if response.status != 200:
        raise error_of(response, now)
    envelope = _read_envelope(response, now)
    records = read_records(version, envelope.result or (), response.body)
    if version is ApiVersion.V1:
        return Page(records)
    cursor = _cursor(envelope.result_info)
    return Page(records, cursor, says_end=cursor is None and _says_end(envelope.result_info))


def _read_envelope(response: Response, now: datetime) -> _Envelope:
    try:
        envelope = _decode_envelope(response.body)
    except msgspec.DecodeError as error:
        failure = _failure_in(response, now)
        raise failure or SourceProtocolError(
            f"The API answered 200 with a body that is not its JSON ({error}); it starts {response.body[:80]!r}. "
            "Check that the connection's host is the API's base URL and that no proxy answers in its place.",
            **_facts(response),
        ) from error
    if envelope.success is not True or envelope.errors:
        raise _failure_in(response, now) or _unsuccessful(response)
    return envelope


def _decode_envelope(body: bytes) -> _Envelope:
    try:
        return _ENVELOPE.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        softened = soften(body)
        envelope = _ENVELOPE.decode(softened)
        envelope.result = list(_cut_from(body, softened, envelope.result or ()))
        return envelope


def _cut_from(body: bytes, softened: bytes, raws: Iterable[msgspec.Raw]) -> Iterator[msgspec.Raw]:
    """Yield the original bytes of entries that were found in the softened copy, which has the same offsets."""
    offset = 0
    for raw in raws:
        offset = softened.index(bytes(raw), offset)
        yield msgspec.Raw(body[offset : offset + len(bytes(raw))])
        offset += len(bytes(raw))


def _failure_in(response: Response, now: datetime) -> SourceError | None:
    """Return the error that a 200's own error codes name, if they name one."""
    codes = _codes(response.body)
    if codes & _RATE_CODES:
        return _rate_limited(response, now)
    return None


def _unsuccessful(response: Response) -> SourceProtocolError:
    return SourceProtocolError(
        f"The API answered 200 without success: {_errors_text(response.body)}. "
        "Try again later; if it stays, open a Cloudflare support case with the ray id.",
        **_facts(response),
    )


def error_of(response: Response, now: datetime) -> SourceError | ConfigurationError:
    """Return the error an answer with a status other than 200 stands for; the status decides first."""
    status = response.status
    if status in (401, 403) or (status == 400 and _codes(response.body) & _AUTH_CODES):
        return SourceAuthError(
            f"Cloudflare refused the credential: {_errors_text(response.body)}. Check that the token is active, that "
            "it has the permission 'Account Settings: Read' on this account_id, and that this machine's IP is allowed.",
            **_facts(response),
        )
    if status == 404:
        return ConfigurationError(
            f"Cloudflare knows no such audit log (status 404, ray {_facts(response)['ray_id']}): "
            f"{_errors_text(response.body)}. Check account_id or organization_id, and the connection's host."
        )
    if status == 429:
        return _rate_limited(response, now)
    if status >= 500 or status in (408, 425):
        return SourceUnavailableError(
            f"The API is not available: {_errors_text(response.body)}. Try again later.",
            retry_after=retry_after_seconds(response.headers, now),
            **_facts(response),
        )
    return _unexpected(response)


def _unexpected(response: Response) -> SourceProtocolError:
    if 300 <= response.status < 400:
        text = "The API answered with a redirect, which is not followed so that the credential stays with this host. "
        return SourceProtocolError(f"{text}Set the connection's host to the final address.", **_facts(response))
    return SourceProtocolError(
        f"The API refused the request: {_errors_text(response.body)}. Check the filters' values.", **_facts(response)
    )


def _rate_limited(response: Response, now: datetime) -> SourceRateLimitedError:
    return SourceRateLimitedError(
        "Cloudflare's rate limit is used up and blocks this token. Wait, or lower what else uses the same token.",
        retry_after=retry_after_seconds(response.headers, now),
        **_facts(response),
    )


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how long ``Retry-After`` asks to wait, whether in seconds or as an HTTP date; None without one.

    Whatever number it names: ``backoff`` says which are believed.
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
    """Return the API's own time of an answer, None for an answer that says none."""
    return _http_date(headers.get("date", ""))


def _http_date(text: str) -> datetime | None:
    try:
        said = parsedate_to_datetime(text)
    except ValueError:
        return None
    return said.replace(tzinfo=said.tzinfo or UTC)


def _cursor(result_info: Any) -> str | None:
    """Return the next cursor from either place: ``result_info.cursor`` (the docs) or ``.cursors.after`` (the SDK)."""
    if not isinstance(result_info, Mapping):
        return None
    cursors = result_info.get("cursors")
    after = cursors.get("after") if isinstance(cursors, Mapping) else None
    cursor = result_info.get("cursor") or after
    return str(cursor) if cursor else None


def _says_end(result_info: Any) -> bool:
    """Say whether one of the cursor's two places is there and void, and nothing else, under whatever name, leads on."""
    if not isinstance(result_info, Mapping):
        return False
    cursors = result_info.get("cursors")
    is_said = "cursor" in result_info or (isinstance(cursors, Mapping) and "after" in cursors)
    return is_said and not any(
        value for name, value in result_info.items() if _LEADS_ON.search(str(name)) and not _is_void(value)
    )


def _is_void(value: Any) -> bool:
    return isinstance(value, Mapping) and not any(value.get(name) for name in value if name != "before")


def _errors(body: bytes) -> list[Mapping[str, Any]]:
    try:
        errors = _ERROR_ENVELOPE.decode(body).errors
    except msgspec.DecodeError:
        return []
    entries = [entry for entry in errors if isinstance(entry, Mapping)] if isinstance(errors, list) else []
    chains = [entry.get("error_chain") for entry in entries]
    return entries + [
        link for chain in chains if isinstance(chain, list) for link in chain if isinstance(link, Mapping)
    ]


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
    """Say whether a token check's answer, status 200, calls the token active.

    Only ``errors`` and the status text count: a good answer carries code 10000 in its messages.
    """
    try:
        answer = msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        return False
    if not isinstance(answer, Mapping) or answer.get("success") is not True or answer.get("errors"):
        return False
    result = answer.get("result")
    return isinstance(result, Mapping) and result.get("status", "active") == "active"
