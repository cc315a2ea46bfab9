"""Faulty responses, one for each misbehaviour of a response or connection.

Invariant: a faulty response is made from the correct one, so that only the fault differs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.testing.envelopes import JSON, failure, web_page
from airflow_audit_provider.testing.misbehaviour import Misbehaviour, Struck

_CODES = {401: 10000, 403: 10000, 404: 7003, 429: 10100}
_WORDS = {401: "Authentication error", 403: "Authentication error", 404: "No route for the URI"}


class Cut(Enum):
    """Way in which a connection ends before its response is complete."""

    HALF_THEN_CLOSE = auto()
    HALF_THEN_RESET = auto()
    NO_ANSWER = auto()


class Exchange(NamedTuple):
    """A response, its delay in seconds, and how the connection breaks, if it does."""

    response: Response
    delay_seconds: float = 0.0
    cut: Cut | None = None


def replacement(struck: Struck, path: str, version: str, now_at: datetime) -> Response | None:
    """Returns the response that replaces the correct one, None if none does."""
    if Misbehaviour.REDIRECT in struck:
        host = struck.word(Misbehaviour.REDIRECT, "other.example.com")
        return Response(302, {**JSON, "location": f"https://{host}{path}"}, b"")
    if Misbehaviour.RATE_LIMITED in struck:
        return _rate_limited(struck, version, now_at)
    if Misbehaviour.STATUS in struck:
        return status_answer(struck.number(Misbehaviour.STATUS, 503), version)
    if Misbehaviour.HTML in struck:
        return web_page(struck.number(Misbehaviour.HTML, 200))
    if Misbehaviour.SUCCESS_FALSE in struck:
        return unsuccessful(version)
    return None


def status_answer(status: int, version: str) -> Response:
    """Returns an error: an HTML page from status 520 on, as from Cloudflare's edge, otherwise the version's JSON."""
    if status >= 520:
        return web_page(status)
    code = _CODES.get(status, 10001)
    problem = _WORDS.get(status, "Internal error" if status >= 500 else "Bad request")
    return failure(status, [(None if version == "v2" and status not in _CODES else code, problem)])


def too_many(version: str, retry_after: str | None) -> Response:
    """Returns a 429, with or without Retry-After."""
    code = 10100 if version == "v1" else 971
    answer = failure(429, [(code, "Please wait and consider throttling your request speed")])
    return answer if retry_after is None else answer._replace(headers={**answer.headers, "retry-after": retry_after})


def unsuccessful(version: str) -> Response:
    """Returns status 200 with ``success: false``."""
    problem = {"message": "internal error"} if version == "v2" else {"code": 10001, "message": "internal error"}
    body = msgspec.json.encode({"success": False, "errors": [problem], "messages": [], "result": []})
    return Response(200, JSON, body)


def damaged(struck: Struck, response: Response) -> Response:
    """Returns the response with a damaged body."""
    body = response.body
    if Misbehaviour.NULL_RESULT in struck:
        body = body.replace(b'"result":[]', b'"result":null', 1)
    if Misbehaviour.PRETTY_JSON in struck and response.headers is JSON:
        body = msgspec.json.format(body, indent=2)
    if Misbehaviour.TRUNCATED_JSON in struck:
        body = body[: len(body) * 2 // 3]
    return response._replace(body=body)


def exchange_of(struck: Struck, response: Response) -> Exchange:
    """Returns the delay and connection fault of a response."""
    delay = struck.number(Misbehaviour.SLOW, 100) / 1000 if Misbehaviour.SLOW in struck else 0.0
    cuts = {
        Misbehaviour.NO_ANSWER: Cut.NO_ANSWER,
        Misbehaviour.CUT_CONNECTION: Cut.HALF_THEN_RESET,
        Misbehaviour.WRONG_LENGTH: Cut.HALF_THEN_CLOSE,
    }
    cut = next((cuts[kind] for kind in cuts if kind in struck), None)
    return Exchange(response, delay, cut)


def _rate_limited(struck: Struck, version: str, now_at: datetime) -> Response:
    wait = struck.word(Misbehaviour.RATE_LIMITED, "300")
    if wait == "none":
        return too_many(version, None)
    if wait == "date":
        return too_many(version, format_datetime(now_at + timedelta(seconds=300), usegmt=True))
    return too_many(version, wait)
