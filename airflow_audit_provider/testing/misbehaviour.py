"""Misbehaviours of the fake, by name, and when each applies.

Invariant: a misbehaviour is off unless it is named, and any set can be active together.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from airflow_audit_provider.testing.daily_pattern import seeded


class Misbehaviour(StrEnum):
    """Names of misbehaviours; :data:`MEANINGS` describes each one and its value."""

    SINCE_EDGE = "since_edge"
    BEFORE_EDGE = "before_edge"
    GRAIN = "grain"
    TIE_ORDER = "tie_order"
    SORT_BY_SECOND = "sort_by_second"
    PAGE_CEILING = "page_ceiling"
    PAGE_CEILING_ASKED_OFFSET = "page_ceiling_asked_offset"
    FEWER_THAN_ASKED = "fewer_than_asked"
    REPEATED_ROW = "repeated_row"
    DEPTH_CAP = "depth_cap"
    PAST_END_IS_400 = "past_end_is_400"
    EXPIRING_EDGE = "expiring_edge"
    LATE_ROWS = "late_rows"
    EMPTY_PAGE = "empty_page"
    CURSOR_EXPIRES = "cursor_expires"
    REPEATED_CURSOR = "repeated_cursor"
    MISSING_CURSOR = "missing_cursor"
    MISSING_RESULT_FACTS = "missing_result_info"
    V1_TOTALS = "v1_totals"
    NULL_RESULT = "null_result"
    NO_RECORDS = "no_records"
    MISSING_ROW = "missing_row"
    LAGGING_REPLICA = "lagging_replica"
    IGNORED_SINCE = "ignored_since"
    IGNORED_BEFORE = "ignored_before"
    IGNORED_DIRECTION = "ignored_direction"
    IGNORED_PAGE = "ignored_page"
    IGNORED_SIZE = "ignored_size"
    IGNORED_NOT = "ignored_not"
    SUCCESS_FALSE = "success_false"
    HTML = "html"
    TRUNCATED_JSON = "truncated_json"
    WRONG_LENGTH = "wrong_length"
    CUT_CONNECTION = "cut_connection"
    NO_ANSWER = "no_answer"
    STATUS = "status"
    RATE_LIMITED = "rate_limited"
    SLOW = "slow"
    ODD_TIMESTAMPS = "odd_timestamps"
    ODD_FIELDS = "odd_fields"
    HUGE_RECORDS = "huge_records"
    PRETTY_JSON = "pretty_json"
    REDIRECT = "redirect"
    HISTORY_STATUS = "history_status"


MEANINGS: dict[Misbehaviour, str] = {
    Misbehaviour.SINCE_EDGE: "value inclusive|exclusive: whether a record whose time equals the bound 'since' is "
    "returned (default: inclusive)",
    Misbehaviour.BEFORE_EDGE: "value inclusive|exclusive: whether a record whose time equals the bound 'before' is "
    "returned (default: v1 inclusive, v2 exclusive)",
    Misbehaviour.GRAIN: "value second|ms|us: times are cut to this unit before comparing (default: v1 second, v2 us)",
    Misbehaviour.TIE_ORDER: "value stable|id|reversed|random: order of records with equal times (default stable: "
    "desc is the reverse of asc)",
    Misbehaviour.SORT_BY_SECOND: "records are sorted by whole second; their order within one is arbitrary but fixed",
    Misbehaviour.PAGE_CEILING: "value K: at most K records a page, and offsets are computed with K (default 100)",
    Misbehaviour.PAGE_CEILING_ASKED_OFFSET: "value K: at most K records a page, but "
    "offsets are computed with the requested size, so rows are lost",
    Misbehaviour.FEWER_THAN_ASKED: "value n|random: n records fewer than requested (default 1), or a random number",
    Misbehaviour.REPEATED_ROW: "the first record of a page repeats the last of the page before",
    Misbehaviour.DEPTH_CAP: "value K: v1 answers 400 when a page starts beyond record K (default 10000)",
    Misbehaviour.PAST_END_IS_400: "v1 answers 400 instead of an empty page after the last full one",
    Misbehaviour.EXPIRING_EDGE: "value seconds: records expire. With every request, the start of the fake's retention "
    "moves forward by this much (default 3600)",
    Misbehaviour.LATE_ROWS: "each affected request first inserts a record in the middle of its time range",
    Misbehaviour.EMPTY_PAGE: "v2: no records, and a cursor that continues (default every=2)",
    Misbehaviour.CURSOR_EXPIRES: "value n: v2 answers 400 to the n-th and later cursors of a chain (default 3)",
    Misbehaviour.REPEATED_CURSOR: "v2: the response to a cursor carries the same cursor again, permanently",
    Misbehaviour.MISSING_CURSOR: "v2: a full page without a cursor although there is more",
    Misbehaviour.MISSING_RESULT_FACTS: "v2: no result_info at all",
    Misbehaviour.V1_TOTALS: "v1 responses carry result_info with page, per_page, count and total_count",
    Misbehaviour.NULL_RESULT: "result is null instead of an empty list",
    Misbehaviour.NO_RECORDS: "an empty result although records match; if null_result is switched on as well, "
    "the result is null",
    Misbehaviour.MISSING_ROW: "value n: the n-th record of the range is missing and the list moves up (default 1)",
    Misbehaviour.LAGGING_REPLICA: "value n: the newest n records of the log are missing, as on a slow replica "
    "(default 10)",
    Misbehaviour.IGNORED_SINCE: "the bound 'since' is ignored, so that older records are returned too",
    Misbehaviour.IGNORED_BEFORE: "the bound 'before' is ignored, so that newer records are returned too",
    Misbehaviour.IGNORED_DIRECTION: "value asc|desc: direction is ignored, and records come in this order (default "
    "desc)",
    Misbehaviour.IGNORED_PAGE: "page (v1) or cursor (v2) is ignored, so that every response is the first page",
    Misbehaviour.IGNORED_SIZE: "value K: per_page (v1) or limit (v2) is ignored; pages have K records (default 100)",
    Misbehaviour.IGNORED_NOT: "v2: every negated filter, such as id.not, is ignored",
    Misbehaviour.SUCCESS_FALSE: "status 200 with success false, an error and an empty result",
    Misbehaviour.HTML: "value status: an HTML page instead of JSON (default 200)",
    Misbehaviour.TRUNCATED_JSON: "a complete HTTP response whose JSON ends in the middle",
    Misbehaviour.WRONG_LENGTH: "content-length states the whole body, but only half is sent before a clean close",
    Misbehaviour.CUT_CONNECTION: "the connection is reset in the middle of the body",
    Misbehaviour.NO_ANSWER: "the connection is closed without a response",
    Misbehaviour.STATUS: "value status: an error response, e.g. 401 403 404 500 502 503 520 522 524 (default 503)",
    Misbehaviour.RATE_LIMITED: "value seconds|date|none: 429 with Retry-After in seconds (default 300), as a date, or "
    "absent",
    Misbehaviour.SLOW: "value ms: the response is delayed (default 100)",
    Misbehaviour.ODD_TIMESTAMPS: "event times have 0 to 9 fraction digits and any offset",
    Misbehaviour.ODD_FIELDS: "every 7th record has a numeric id, null metadata, no action or actor, or odd values",
    Misbehaviour.HUGE_RECORDS: "value bytes: every 500th record of a day has that many bytes (default 5000000)",
    Misbehaviour.PRETTY_JSON: "the body is indented JSON",
    Misbehaviour.REDIRECT: "value host: 302 to the same path on another host (default other.example.com)",
    Misbehaviour.HISTORY_STATUS: "value exact|approximate|unavailable|not_found: what a resource history states, "
    "whatever the record is (default unavailable)",
}
ENDPOINTS = ("records", "history", "categories")

# These change records themselves: `every` counts the records of a day, not requests.
RESHAPING = frozenset({Misbehaviour.ODD_TIMESTAMPS, Misbehaviour.ODD_FIELDS, Misbehaviour.HUGE_RECORDS})
_DEFAULT_EVERY = {Misbehaviour.EMPTY_PAGE: 2, Misbehaviour.ODD_FIELDS: 7, Misbehaviour.HUGE_RECORDS: 500}


class Switch(NamedTuple):
    """An active misbehaviour; it applies when all its conditions hold.

    ``every`` n: each nth audit request (counted from 1; None: the kind's default, mostly 1); ``first`` n: the first n
    only; ``after`` n: not the first n; ``share`` in (0, 1): at random, the same for the same seed; ``version``:
    only ``v1`` or ``v2``. ``endpoint``: ``records`` (default), ``history`` or ``categories``, whose requests are
    counted separately.
    """

    kind: Misbehaviour
    value: int | str | None = None
    every: int | None = None
    first: int | None = None
    after: int = 0
    share: float | None = None
    version: str | None = None
    endpoint: str = "records"

    @property
    def period(self) -> int:
        """Interval of requests, or of records, to which it applies."""
        return self.every or _DEFAULT_EVERY.get(self.kind, 1)

    def of(self, endpoint: str) -> bool:
        """Returns whether it is about the requests of an endpoint."""
        return (self.endpoint if self.kind is not Misbehaviour.HISTORY_STATUS else "history") == endpoint

    def strikes(self, number: int, version: str, seed: int) -> bool:
        """Returns whether it applies to the audit request of this number."""
        return (
            number % self.period == 0
            and number > self.after
            and (self.first is None or number <= self.first)
            and (self.version is None or self.version == version)
            and (self.share is None or seeded(seed, self.kind, number).random() < self.share)
        )


class Struck:
    """Misbehaviours that apply to one request."""

    def __init__(
        self, switches: Iterable[Switch], number: int, version: str, seed: int, endpoint: str = "records"
    ) -> None:
        own = [s for s in switches if s.kind not in RESHAPING and s.of(endpoint)]
        self._by_kind = {s.kind: s for s in own if s.strikes(number, version, seed)}

    def __contains__(self, kind: object) -> bool:
        return kind in self._by_kind

    def number(self, kind: Misbehaviour, default: int) -> int:
        """Returns an active misbehaviour's value as a number, or the default."""
        value = self._by_kind[kind].value
        return default if value is None else int(value)

    def word(self, kind: Misbehaviour, default: str) -> str:
        """Returns a misbehaviour's value as text, or the default if it has none or does not apply."""
        switch = self._by_kind.get(kind)
        return default if switch is None or switch.value is None else str(switch.value)


def parse_switch(text: str) -> Switch:
    """Parses ``kind=value,every=3,first=10,after=2,share=0.1,version=v2,endpoint=history``, or part of it.

    Raises ValueError for anything else.
    """
    head, *rest = text.split(",")
    name, _, value = head.partition("=")
    options = dict(part.split("=", 1) for part in rest)
    every, first = (int(options.pop(key)) if key in options else None for key in ("every", "first"))
    after = int(options.pop("after", "0"))
    share = float(options.pop("share")) if "share" in options else None
    version = options.pop("version", None)
    endpoint = options.pop("endpoint", "records")
    if endpoint not in ENDPOINTS:
        raise ValueError(f"unknown endpoint in {text!r}: give one of {', '.join(ENDPOINTS)}")
    if options:
        raise ValueError(f"unknown options in {text!r}: {', '.join(options)}")
    typed: int | str | None = int(value) if value.isdigit() else value or None
    return Switch(Misbehaviour(name), typed, every, first, after, share, version, endpoint)
