"""A server of the Audit Logs API for the campaign, written from the API's documentation and not from the provider.

It serves both versions and all scopes on loopback. Where the documentation leaves something open, the server's
``Manners`` decide. It is honest unless a lie (``lies.py``) changes a step of an answer.

Invariant: an answer depends on the log, the manners, the lie and the number of the answer, so a seed repeats it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from tests.campaign.audit_records import SECOND_NS, Row, as_json_list, nanoseconds
from tests.campaign.logs import TrueLog

TOKEN = "campaign-token"
ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
ORGANIZATION_ID = "campaign-organization"
# Path, version and the names it knows. Cloudflare API docs, both versions.
PATHS = {
    ("v1", "account"): f"/accounts/{ACCOUNT_ID}/audit_logs",
    ("v1", "user"): "/user/audit_logs",
    ("v2", "account"): f"/accounts/{ACCOUNT_ID}/logs/audit",
    ("v2", "organization"): f"/organizations/{ORGANIZATION_ID}/logs/audit",
}
SCOPES = {"v1": ("account", "user"), "v2": ("account", "organization")}
_KNOWN = {
    "v1": {"since", "before", "direction", "page", "per_page"},
    "v2": {"since", "before", "direction", "limit", "cursor", "id.not"},
}
_SIZE_NAME = {"v1": "per_page", "v2": "limit"}
# Time that passes with every answer, on the campaign's clock.
_ANSWER_SECONDS = 0.25
_MAX_SIZE = 1000


class CampaignClock:
    """A clock that advances when the server answers and when the provider waits."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._elapsed_seconds = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Returns the time."""
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def monotonic(self) -> float:
        """Returns the seconds since the start."""
        return self._elapsed_seconds

    def sleep(self, seconds: float) -> None:
        """Advances at once."""
        with self._lock:
            self._elapsed_seconds += seconds

    async def asleep(self, seconds: float) -> None:
        """Advances at once."""
        self.sleep(seconds)

    def jitter(self) -> float:
        """Returns the same number every time."""
        return 0.5


@dataclass(frozen=True)
class Manners:
    """What an honest server may do either way, because it is not documented or was observed either way."""

    since_inclusive: bool = True
    before_inclusive: bool = True
    by_second: bool = True
    sorts_by_second: bool = False
    ties: str = "mirrored"
    max_rows: int = 1000
    cursor_kind: str = "position"
    cursor_place: str = "cursor"
    cursor_end: str = "absent"
    refuses_past_end: bool = False
    counts_rows: bool = False
    indented: bool = False
    compresses: bool = False
    announces_quota: bool = False


TIE_ORDERS = ("mirrored", "arrival", "id")
CURSOR_PLACES = ("cursor", "after", "both")
CURSOR_ENDS = ("absent", "empty", "null", "no result_info", "one more empty page")


def draw_manners(rng: Random, version: str) -> Manners:
    """Returns random manners; version 2 pages of at most 100 rows were observed."""
    return Manners(
        since_inclusive=rng.random() < 0.7,
        before_inclusive=rng.random() < 0.5,
        by_second=rng.random() < 0.5,
        sorts_by_second=rng.random() < 0.2,
        ties=rng.choice(TIE_ORDERS),
        max_rows=100 if version == "v2" and rng.random() < 0.3 else _MAX_SIZE,
        cursor_kind=rng.choice(("position", "offset")),
        cursor_place=rng.choice(CURSOR_PLACES),
        cursor_end=rng.choice(CURSOR_ENDS),
        refuses_past_end=rng.random() < 0.4,
        counts_rows=rng.random() < 0.3,
        indented=rng.random() < 0.2,
        compresses=rng.random() < 0.3,
        announces_quota=rng.random() < 0.3,
    )


class Ask(NamedTuple):
    """One request as the server understands it; ``number`` counts the answers from 1."""

    number: int
    since_ns: int
    before_ns: int
    ascending: bool
    size: int
    page: int = 1
    cursor: str | None = None
    without_ids: frozenset[str] = frozenset()

    @property
    def query(self) -> tuple[int, int, bool]:
        """What a cursor belongs to."""
        return self.since_ns, self.before_ns, self.ascending


@dataclass
class ServedPage:
    """The rows of one answer and the cursor that leads on; ``refusal`` is the message of a 400 in their place."""

    rows: list[Row]
    cursor: str | None = None
    refusal: str | None = None
    states_end: bool = True
    total_count: int = 0


@dataclass
class Answer:
    """One response; ``pace`` is how it is sent: ``whole``, ``trickle``, ``endless`` or ``cut``."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    pace: str = "whole"


class Liar(Protocol):
    """Changes steps of an answer; the honest one changes nothing."""

    def change_ask(self, ask: Ask) -> Ask:
        """Returns the request as the server takes it."""
        ...

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        """Returns the rows of the whole list, in order."""
        ...

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        """Returns the page."""
        ...

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        """Returns the response."""
        ...


class LogServer:
    """Answers the requests of one window; ``violations`` are requests that the API's documentation does not allow."""

    def __init__(self, log: TrueLog, scope: str, manners: Manners, lie: Liar, clock: CampaignClock) -> None:
        self.answer_count = 0
        self.violations: list[str] = []
        self._log = log
        self._path = PATHS[log.version, scope]
        self._manners = manners
        self._lie = lie
        self._clock = clock
        self._lock = threading.Lock()
        ties = sorted(log.rows, key=lambda row: row.id or "") if manners.ties == "id" else log.rows
        self._ascending = sorted(ties, key=self._sort_ns)
        mirrored = manners.ties == "mirrored"
        self._descending = self._ascending[::-1] if mirrored else sorted(ties, key=lambda row: -self._sort_ns(row))
        self._rank = {
            True: {row.number: rank for rank, row in enumerate(self._ascending)},
            False: {row.number: rank for rank, row in enumerate(self._descending)},
        }

    def respond(self, path: str, query: str, headers: Mapping[str, str]) -> Answer:
        """Returns the response to a GET."""
        with self._lock:
            self._clock.sleep(_ANSWER_SECONDS)
            self.answer_count += 1
            refused = self._refused(path, headers)
            if refused is not None:
                return refused
            pairs = parse_qsl(query, keep_blank_values=True)
            try:
                ask = self._lie.change_ask(self._ask(pairs))
            except (ValueError, KeyError) as error:
                self.violations.append(f"{error}: {query[:200]}")
                return self._encoded(ServedPage([], refusal=f"invalid parameter: {error}"))
            page = self._lie.change_page(self._page(ask), ask)
            return self._lie.change_answer(self._encoded(page), ask)

    def _refused(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        if headers.get("authorization") != f"Bearer {TOKEN}" or "x-auth-key" in headers:
            self.violations.append("the credential is missing, wrong, or sent twice")
            return Answer(403, b'{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}')
        if path != self._path:
            self.violations.append(f"path {path}")
            return Answer(404, b'{"success":false,"errors":[{"code":7003,"message":"Could not route"}]}')
        return None

    def _ask(self, pairs: list[tuple[str, str]]) -> Ask:
        version = self._log.version
        given = dict(pairs)
        unknown = {name for name, _ in pairs} - _KNOWN[version]
        if unknown or (version == "v2" and not {"since", "before"} <= given.keys()):
            raise ValueError(f"unknown {sorted(unknown)}, or since and before are missing")
        size = int(given.get(_SIZE_NAME[version], "100"))
        page = int(given.get("page", "1"))
        direction = given.get("direction", "desc")
        if not 1 <= size <= _MAX_SIZE or page < 1 or direction not in ("asc", "desc"):
            raise ValueError("size, page or direction is out of range")
        return Ask(
            self.answer_count,
            _instant_ns(given.get("since", "2000-01-01T00:00:00Z")),
            _instant_ns(given.get("before", "2100-01-01T00:00:00Z")),
            direction == "asc",
            size,
            page,
            given.get("cursor"),
            frozenset(value for name, value in pairs if name == "id.not"),
        )

    def _page(self, ask: Ask) -> ServedPage:
        """Returns the page of a request."""
        every = self._descending if not ask.ascending else self._ascending
        rows = [row for row in every if self._is_selected(row, ask)]
        rows = self._lie.change_rows(rows, ask)
        size = min(ask.size, self._manners.max_rows)
        try:
            offset = (ask.page - 1) * size if self._log.version == "v1" else self._offset(rows, ask)
        except ValueError as error:
            return ServedPage([], refusal=str(error))
        sent = rows[offset : offset + size]
        if self._log.version == "v1":
            is_refused = not sent and ask.page > 1 and self._manners.refuses_past_end
            return ServedPage(sent, refusal="page is out of range" if is_refused else None, total_count=len(rows))
        after = offset + len(sent)
        leads_on = after < len(rows)
        if self._manners.cursor_end == "one more empty page" and len(sent) == size:
            leads_on = True
        cursor = self.cursor_at(ask, after, sent[-1] if sent else None) if leads_on else None
        return ServedPage(sent, cursor, total_count=len(rows))

    def cursor_at(self, ask: Ask, offset: int, last: Row | None) -> str:
        """Returns the cursor that leads on behind a row, or behind so many rows."""
        of_query = hashlib.sha256(repr(ask.query).encode()).hexdigest()[:8]
        position = offset if self._manners.cursor_kind == "offset" or last is None else last.number
        kind = "offset" if self._manners.cursor_kind == "offset" or last is None else "row"
        return base64.urlsafe_b64encode(f"{kind}:{position}:{of_query}".encode()).decode()

    def _offset(self, rows: list[Row], ask: Ask) -> int:
        if ask.cursor is None:
            return 0
        kind, position, of_query, *_ = base64.urlsafe_b64decode(ask.cursor).decode().split(":")
        if of_query != hashlib.sha256(repr(ask.query).encode()).hexdigest()[:8]:
            self.violations.append("a cursor of another query")
            raise ValueError("invalid cursor")
        if kind == "offset":
            return int(position)
        ranks = self._rank[ask.ascending]
        last_rank = ranks[int(position)]
        return sum(1 for row in rows if ranks[row.number] <= last_rank)

    def _sort_ns(self, row: Row) -> int:
        return row.at_ns // SECOND_NS if self._manners.sorts_by_second else row.at_ns

    def _is_selected(self, row: Row, ask: Ask) -> bool:
        manners = self._manners
        at_ns = row.at_ns // SECOND_NS * SECOND_NS if manners.by_second else row.at_ns
        if at_ns < ask.since_ns or at_ns > ask.before_ns or row.id in ask.without_ids:
            return False
        is_at_since, is_at_before = at_ns == ask.since_ns, at_ns == ask.before_ns
        return (manners.since_inclusive or not is_at_since) and (manners.before_inclusive or not is_at_before)

    def _encoded(self, page: ServedPage) -> Answer:
        if page.refusal is not None:
            error: dict[str, Any] = {"message": page.refusal}
            if self._log.version == "v1":
                error["code"] = 1004
            body = json.dumps({"success": False, "errors": [error], "messages": [], "result": None}).encode()
            return Answer(400, body, self._headers())
        manners = self._manners
        separator = b",\n    " if manners.indented else b","
        result = as_json_list([row.raw for row in page.rows], separator)
        paging = json.dumps(self._result_info(page)).encode()
        body = b'{"success":true,"errors":[],"messages":[],"result":%b' % result
        body += b"}" if paging == b"null" else b',"result_info":%b}' % paging
        return Answer(200, body, self._headers())

    def _headers(self) -> dict[str, str]:
        headers = {
            "Date": format_datetime(self._clock.now().astimezone(UTC), usegmt=True),
            "CF-Ray": f"{self.answer_count:016x}-FRA",
            "Content-Type": "application/json",
        }
        if self._manners.announces_quota:
            headers["Ratelimit"] = '"default";r=1000;t=30'
            headers["Ratelimit-Policy"] = '"default";q=1200;w=300'
        return headers

    def _result_info(self, page: ServedPage) -> dict[str, Any] | None:
        manners = self._manners
        if self._log.version == "v1":
            return (
                {"page": 1, "count": len(page.rows), "total_count": page.total_count} if manners.counts_rows else None
            )
        if page.cursor is None and (manners.cursor_end == "no result_info" or not page.states_end):
            return None
        named: dict[str, Any] = {"count": len(page.rows)} if manners.counts_rows else {}
        cursor = page.cursor or {"empty": "", "null": None}.get(manners.cursor_end, "")
        if page.cursor is None and manners.cursor_end == "absent":
            return named
        if manners.cursor_place in ("cursor", "both"):
            named["cursor"] = cursor
        if manners.cursor_place in ("after", "both"):
            named["cursors"] = {"after": cursor}
        return named


def renamed_cursor(next_cursor: str, ask: Ask) -> str:
    """Returns a cursor to the place of the request itself, that differs from every other cursor to that place."""
    if ask.cursor is None:
        *_, of_query = base64.urlsafe_b64decode(next_cursor).decode().split(":")
        same_place = f"offset:0:{of_query}"
    else:
        same_place = ":".join(base64.urlsafe_b64decode(ask.cursor).decode().split(":")[:3])
    return base64.urlsafe_b64encode(f"{same_place}:{ask.number}".encode()).decode()


def compressed(answer: Answer, accepted: str) -> Answer:
    """Returns the answer as gzip if the client accepts it."""
    if "gzip" not in accepted or answer.pace != "whole" or not answer.body:
        return answer
    headers = {**answer.headers, "Content-Encoding": "gzip"}
    return Answer(answer.status, gzip.compress(answer.body, 1), headers, answer.pace)


def _instant_ns(text: str) -> int:
    """Returns an RFC 3339 date or instant with a zone as nanoseconds."""
    instant = datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00Z")
    if instant.tzinfo is None:
        raise ValueError("an instant without a zone")
    return nanoseconds(instant)
