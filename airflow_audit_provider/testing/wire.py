"""HTTP wire format: decoded parameters in, header fields and body bytes out.

Invariant: the server and the in-process transport send the same bytes.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from airflow_audit_provider.core.ports import Response

_STREAMED = "text/csv"


class Sent(NamedTuple):
    """Status, header fields in order, and body bytes; ``closes``: the body ends when the connection closes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    closes: bool


def params_of(query: str) -> tuple[tuple[str, str], ...]:
    """Decodes a query string in order; keeps repeated and empty parameters."""
    return tuple(parse_qsl(query, keep_blank_values=True))


def sent(response: Response, asked: Mapping[str, str], *, may_compress: bool) -> Sent:
    """Frames a response; an export is streamed: it has no length and ends when the connection closes."""
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
