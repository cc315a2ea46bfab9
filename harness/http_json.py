"""Sends HTTP requests with JSON bodies to servers on loopback, never through a proxy."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoResponseError(Exception):
    """A request had no response, or one whose status is not 2xx. The text has the URL and the reason."""


def fetch(
    url: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = 30.0,
) -> bytes:
    """Sends one request and returns the body of the response; raises NoResponseError. Bytes are sent as they are."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=content, method=method, headers=sent)
    try:
        with _opener.open(request, timeout=timeout_seconds) as response:
            received: bytes = response.read()
            return received
    except urllib.error.HTTPError as error:
        raise NoResponseError(f"{method} {url}: {error.code} {error.read()[:300]!r}") from error
    except OSError as error:
        raise NoResponseError(f"{method} {url}: {error}") from error


def fetch_json(url: str, *, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """Sends one request and returns the decoded JSON of the response; raises NoResponseError."""
    return json.loads(fetch(url, method=method, body=body, headers=headers))
