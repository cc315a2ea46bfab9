"""Requests to the fake in tests: fakes in one line, whole lists page by page.

Follows page numbers and cursors as the fake returns them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.misbehaviour import parse_switch
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN, Settings

V1 = f"/client/v4/accounts/{ACCOUNT_ID}/audit_logs"
V2 = f"/client/v4/accounts/{ACCOUNT_ID}/logs/audit"
BEARER = {"authorization": f"Bearer {TOKEN}"}
START = datetime(2026, 10, 26, tzinfo=UTC)
END = datetime(2026, 10, 28, tzinfo=UTC)
# Half-open [START, END) in the words of each version's default edges: v1's before is inclusive to the second.
DAYS: dict[str, dict[str, Any]] = {
    "v1": {"since": "2026-10-26T00:00:00Z", "before": "2026-10-27T23:59:59Z"},
    "v2": {"since": "2026-10-26T00:00:00Z", "before": "2026-10-28T00:00:00Z"},
}


def fake_with(*specs: str, clock: ManualClock | None = None, **settings: Any) -> FakeCloudflare:
    """Returns a small fake with these misbehaviours."""
    chosen = Settings(**{"records_per_day": 200, **settings})
    return FakeCloudflare((clock or ManualClock()).now, chosen, [parse_switch(spec) for spec in specs])


def get(fake: FakeCloudflare, path: str, headers: Any = None, **params: Any) -> Response:
    """Sends one request; ``action__type`` becomes ``action.type``, and a list repeats its key."""
    pairs = []
    for name, value in params.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name.replace("__", "."), str(one)) for one in values]
    return fake.answer("GET", path, pairs, BEARER if headers is None else headers)


def envelope_of(response: Response) -> Any:
    """Returns the decoded envelope."""
    return msgspec.json.decode(response.body)


def pages_v1(fake: FakeCloudflare, path: str = V1, **params: Any) -> Iterator[list[Any]]:
    """Yields pages by number until an empty one."""
    number = 0
    while True:
        number += 1
        page = envelope_of(get(fake, path, **{**DAYS["v1"], **params, "page": number}))["result"]
        if not page:
            return
        yield page


def pages_v2(fake: FakeCloudflare, path: str = V2, **params: Any) -> Iterator[list[Any]]:
    """Yields pages until one has no cursor."""
    params = {**DAYS["v2"], **params}
    while True:
        envelope = envelope_of(get(fake, path, **params))
        yield envelope["result"]
        cursor = envelope["result_info"].get("cursor")
        if cursor is None:
            return
        params["cursor"] = cursor


def pages(fake: FakeCloudflare, version: str, **params: Any) -> list[list[Any]]:
    """Returns all pages of both days, with 50 records each by default."""
    if version == "v1":
        return list(pages_v1(fake, **{"per_page": 50, **params}))
    return list(pages_v2(fake, **{"limit": 50, **params}))


def ids(found: list[list[Any]]) -> list[str]:
    """Returns the ids of pages in order, repeats included."""
    return [record["id"] for page in found for record in page]


def as_id(raw: bytes) -> tuple[str, str]:
    """Returns the id and the time of a record of version 2."""
    record = msgspec.json.decode(raw)
    return record["id"], record["action"]["time"]


def true_ids(fake: FakeCloudflare, version: str = "v1", scope: str | None = None) -> list[str]:
    """Returns the true ids of both days, oldest first."""
    return [row.id for row in fake.truth(version, scope, START, END)]
