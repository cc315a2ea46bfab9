"""Fake Cloudflare Audit Logs API; the entry point is :meth:`FakeCloudflare.answer`.

A request passes these checks in order: method, route, rate limit, credential, misbehaviour, query.

Invariant: a response depends only on the settings, the given clock and the earlier requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import NamedTuple

from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.testing.audit_logs import AuditLogs
from airflow_audit_provider.testing.credentials import Gate, no_route
from airflow_audit_provider.testing.dataset import Dataset
from airflow_audit_provider.testing.envelopes import failure, result
from airflow_audit_provider.testing.faults import Exchange, damaged, exchange_of, replacement, too_many
from airflow_audit_provider.testing.filters import Params
from airflow_audit_provider.testing.histories import Histories
from airflow_audit_provider.testing.instants import to_ns
from airflow_audit_provider.testing.limits import RateLimit, Verdict
from airflow_audit_provider.testing.misbehaviour import Struck, Switch
from airflow_audit_provider.testing.records import Feed, Row
from airflow_audit_provider.testing.routes import Endpoint, Route, route_of
from airflow_audit_provider.testing.selection import Order, Selection
from airflow_audit_provider.testing.settings import Settings
from airflow_audit_provider.testing.shapes_v2 import CATEGORIES
from airflow_audit_provider.testing.vocabulary import hex_id


class Asked(NamedTuple):
    """Logged request; header values are never logged."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    status: int
    header_names: tuple[str, ...]


class FakeCloudflare:
    """The API over one dataset; ``now`` returns the current time (aware), ``requests`` is the log in order.

    Thread-safe.
    """

    def __init__(
        self, now: Callable[[], datetime], settings: Settings | None = None, misbehaviours: Iterable[Switch] = ()
    ) -> None:
        self.settings = settings or Settings()
        self.requests: list[Asked] = []
        self._now = now
        self._dataset = Dataset(self.settings)
        self._audit_logs = AuditLogs(self._dataset, self.settings)
        self._histories = Histories(self._audit_logs)
        self._gate = Gate(self.settings)
        self._limit = RateLimit(self.settings)
        self._lock = threading.RLock()
        self._request_count = 0
        self._audit_count = 0
        self._other_counts = {Endpoint.CATEGORIES: 0, Endpoint.HISTORY: 0}
        self._switches: tuple[Switch, ...] = ()
        self.misbehave(*misbehaviours)

    def misbehave(self, *switches: Switch) -> None:
        """Replaces the active misbehaviours; without arguments the fake behaves normally."""
        with self._lock:
            self._switches = switches
            self._dataset.reshape(switches)

    def add(
        self,
        raw: bytes,
        version: str = "v1",
        scope: str | None = None,
        *,
        visible_at: datetime | None = None,
        at_request: int = 0,
    ) -> Row:
        """Adds one record to a scope (default: the first account), visible from a time or an audit request on.

        ``at_request`` counts audit requests from 1. Raises ValueError if the record has no id or time.
        """
        feed = self._feed(version, scope)
        with self._lock:
            seen_ns = to_ns(visible_at) if visible_at else 0
            return self._dataset.add(feed, raw, visible_ns=seen_ns, at_request=at_request)

    def truth(self, version: str, scope: str | None, start: datetime, end: datetime) -> Iterator[Row]:
        """Yields every record of [start, end) that is visible now, sorted by (time, id); misbehaviours do not apply."""
        return self.truth_ns(self._feed(version, scope), to_ns(start), to_ns(end))

    def _feed(self, version: str, scope: str | None) -> Feed:
        return Feed(version, scope or f"accounts/{self.settings.account_ids[0]}")

    def truth_ns(self, feed: Feed, start_ns: int, end_ns: int) -> Iterator[Row]:
        """Same as :meth:`truth`, with nanoseconds since 1970."""
        with self._lock:
            now_ns = to_ns(self._now())
            self._dataset.reveal(now_ns, self._audit_count)
        first, last = self._audit_logs.kept(now_ns)
        lower, upper = (max(start_ns, first), ""), (min(end_ns, last), "")
        return iter(Selection(self._dataset, feed, lower, upper, Order(descending=False)))

    def answer(self, method: str, path: str, params: Params, headers: Mapping[str, str]) -> Response:
        """Responds to one request: full path, decoded parameters, header fields with lower-case names."""
        return self.exchange(method, path, params, headers).response

    def exchange(self, method: str, path: str, params: Params, headers: Mapping[str, str]) -> Exchange:
        """Same as :meth:`answer`, with the delay of the response and whether the connection breaks."""
        with self._lock:
            self._request_count += 1
            now_at = self._now()
            verdict = self._limit.take(now_at.timestamp())
            found = self._judged(method, path, params, headers, verdict)
            marked = found.response._replace(headers={**found.response.headers, **self._marks(verdict, now_at)})
            names = tuple(sorted(headers))
            self.requests.append(Asked(method, path, tuple(params), marked.status, names))
            return found._replace(response=marked, delay_seconds=found.delay_seconds + self.settings.latency_ms / 1000)

    def _judged(self, method: str, path: str, params: Params, headers: Mapping[str, str], verdict: Verdict) -> Exchange:
        """Applies the checks before the endpoint."""
        route = route_of(path)
        if route is None:
            return Exchange(no_route(path))
        if method != "GET":
            refused = failure(405, [(7001, f"Method {method} not available for that URI.")])
            return Exchange(refused._replace(headers={**refused.headers, "allow": "GET"}))
        if not verdict.passed:
            return Exchange(too_many(route.version, str(verdict.retry_seconds)))
        refusal = self._gate.refusal(headers, route, path)
        if refusal is not None:
            return Exchange(refusal)
        return self._asked(route, path, params)

    def _asked(self, route: Route, path: str, params: Params) -> Exchange:
        """Calls the endpoint; requests of each endpoint but the token check are counted and can misbehave."""
        if route.endpoint is Endpoint.VERIFY:
            token_id = hex_id("token", self.settings.seed)
            messages = [(10000, "This API Token is valid and active")]
            return Exchange(result({"id": token_id, "status": "active"}, messages))
        if route.endpoint is not Endpoint.RECORDS:
            return self._other(route, path, params)
        self._audit_count += 1
        now_at = self._now()
        struck = Struck(self._switches, self._audit_count, route.version, self.settings.seed)
        self._dataset.reveal(to_ns(now_at), self._audit_count)
        response = replacement(struck, path, route.version, now_at)
        if response is None:
            response = self._audit_logs.answer(route.feed, params, struck, (to_ns(now_at), self._audit_count))
        return exchange_of(struck, response)

    def _other(self, route: Route, path: str, params: Params) -> Exchange:
        """Calls the endpoint of product categories or of a resource history."""
        self._other_counts[route.endpoint] += 1
        count, now_at = self._other_counts[route.endpoint], self._now()
        struck = Struck(self._switches, count, route.version, self.settings.seed, route.endpoint.name.lower())
        response = replacement(struck, path, route.version, now_at)
        if response is None and route.endpoint is Endpoint.CATEGORIES:
            response = damaged(struck, result(_categories()))
        elif response is None:
            self._dataset.reveal(to_ns(now_at), self._audit_count)
            response = self._histories.answer(route, params, struck, (to_ns(now_at), count))
        return exchange_of(struck, response)

    def _marks(self, verdict: Verdict, now_at: datetime) -> dict[str, str]:
        """Returns the header fields of every response, including those of the rate limit if there is one."""
        marks = {
            "date": format_datetime(now_at.replace(microsecond=0), usegmt=True),
            "server": "cloudflare",
            "cf-ray": hex_id("ray", self.settings.seed, self._request_count)[:16] + "-ZRH",
        }
        limit = self.settings.requests_per_window
        if limit is None:
            return marks
        return marks | {
            "ratelimit": f'"default";r={verdict.remaining};t={verdict.reset_seconds}',
            "ratelimit-policy": f'"default";q={limit};w={int(self.settings.window_seconds)}',
        }


def _categories() -> list[dict[str, object]]:
    return [
        {
            "label": label,
            "value": name,
            "products": [{"label": text, "value": key} for key, text in products.items()],
        }
        for name, (label, products) in CATEGORIES.items()
    ]
