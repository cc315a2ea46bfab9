"""What travels: decoded parameters in, header fields and body bytes out.

Knows: HTTP's framing of one answer, and gzip.
Must not know: sockets, httpx, what the answer means.
Its one rule: the server and the in-process transport send the same bytes because both take them from here.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from airflow_audit_provider.core.ports import Response

_STREAMED = "text/csv"


class Sent(NamedTuple):
    """Status, header fields in order, and the body as it travels; ``closes`` when its end is the connection's end."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    closes: bool


def params_of(query: str) -> tuple[tuple[str, str], ...]:
    """Decode a query string, in order, repeated and empty ones kept."""
    return tuple(parse_qsl(query, keep_blank_values=True))


def sent(response: Response, asked: Mapping[str, str], *, may_compress: bool) -> Sent:
    """Frame an answer; an export looks streamed: no length, the connection's end is its end."""
    headers = dict(response.headers)
    body = response.body
    if may_compress and body and "gzip" in asked.get("accept-encoding", ""):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        headers["content-encoding"] = "gzip"
    closes = headers.get("content-type", "").startswith(_STREAMED)
    if closes:
        headers["connection"] = "close"
    else:
        headers["content-length"] = str(len(body))
    return Sent(response.status, tuple(headers.items()), body, closes)
