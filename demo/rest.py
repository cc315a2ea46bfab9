"""A few questions to Airflow's REST API and to the fake, over loopback and never through a proxy.

Knows: how to send JSON to a loopback server.
Must not know: what the answers mean.
Its one rule: an answer that is not 2xx, or no answer, is one kind of error with the URL in it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoAnswerError(Exception):
    """No 2xx answer came; the text carries the URL and the reason."""


def fetch(
    url: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = 30.0,
) -> bytes:
    """Send one request and return the whole body; raises NoAnswerError."""
    content = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=content, method=method, headers=sent)
    try:
        with _opener.open(request, timeout=timeout_seconds) as answer:
            received: bytes = answer.read()
            return received
    except urllib.error.HTTPError as error:
        raise NoAnswerError(f"{method} {url}: {error.code} {error.read()[:300]!r}") from error
    except OSError as error:
        raise NoAnswerError(f"{method} {url}: {error}") from error


def fetch_json(url: str, *, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """Send one request and return the answer decoded from JSON; raises NoAnswerError."""
    return json.loads(fetch(url, method=method, body=body, headers=headers))
