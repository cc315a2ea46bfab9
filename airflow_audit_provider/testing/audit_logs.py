"""Audit log endpoints of both versions: from request parameters to a page of records.

Invariant: records older than the retention, or in the future, do not exist.
"""

from __future__ import annotations

import msgspec

from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.testing.bounds import asked_range
from airflow_audit_provider.testing.dataset import Dataset
from airflow_audit_provider.testing.envelopes import as_csv, failure, records_v1, records_v2
from airflow_audit_provider.testing.faults import damaged
from airflow_audit_provider.testing.filters import BadQueryError, Params, without_id
from airflow_audit_provider.testing.instants import SECOND_NS, format_instant
from airflow_audit_provider.testing.misbehaviour import Misbehaviour, Struck
from airflow_audit_provider.testing.pages import Page, page_v1, page_v2
from airflow_audit_provider.testing.query import Query, as_taken, query_v1, query_v2
from airflow_audit_provider.testing.records import Feed, Row
from airflow_audit_provider.testing.selection import Order, Position, Selection
from airflow_audit_provider.testing.settings import Settings
from airflow_audit_provider.testing.vocabulary import hex_id

_DEFAULT_LAG = 10
Turn = tuple[int, int]  # nanoseconds of now, number of the audit request


class AuditLogs:
    """Responds to requests for records of every feed."""

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self._dataset = dataset
        self._settings = settings

    def kept(self, now_ns: int) -> tuple[int, int]:
        """Returns the half-open range of event times whose records exist now, in nanoseconds."""
        retention_ns = (self._settings.retention.days * 86_400 + self._settings.retention.seconds) * SECOND_NS
        return max(0, now_ns - retention_ns), now_ns + 1

    def answer(self, feed: Feed, params: Params, struck: Struck, turn: Turn) -> Response:
        """Returns the requested page, or a 400 with the reason."""
        try:
            good = (
                self._v1(feed, params, struck, turn) if feed.version == "v1" else self._v2(feed, params, struck, turn)
            )
        except BadQueryError as error:
            return failure(400, [(None if feed.version == "v2" else 1000, str(error))])
        return damaged(struck, good)

    def _v1(self, feed: Feed, params: Params, struck: Struck, turn: Turn) -> Response:
        query = as_taken(query_v1(params), struck)
        selection = self._selection(feed, query, struck, turn, None)
        if query.export:
            return as_csv(selection)
        return records_v1(page_v1(selection, query, struck), query)

    def _v2(self, feed: Feed, params: Params, struck: Struck, turn: Turn) -> Response:
        is_organization = feed.scope.startswith("organizations/")
        asked = query_v2(params, organization=is_organization, ignores_negation=Misbehaviour.IGNORED_NOT in struck)
        page = self.page(feed, as_taken(asked, struck), struck, turn)
        place, end = self._settings.cursor_place, self._settings.cursor_end
        return records_v2(page, place, end, with_facts=Misbehaviour.MISSING_RESULT_FACTS not in struck)

    def page(self, feed: Feed, query: Query, struck: Struck, turn: Turn) -> Page:
        """Returns the page of a query of version 2."""
        by_row = not self._settings.cursor_by_offset and self._order(query, struck, turn).plain

        def select(after: Position | None) -> Selection:
            return self._selection(feed, query, struck, turn, after)

        return page_v2(select, query, struck, by_row=by_row)

    def find(self, feed: Feed, record_id: str, between: tuple[int, int], turn: Turn) -> Row | None:
        """Returns the record of an id whose event time lies in a range and that is kept now, None without one."""
        oldest, newest = self.kept(turn[0])
        lower, upper = (max(oldest, between[0]), ""), (min(newest, between[1]), "")
        rows = Selection(self._dataset, feed, lower, upper, Order(descending=False))
        return next((row for row in rows if row.id == record_id), None)

    def _selection(self, feed: Feed, query: Query, struck: Struck, turn: Turn, after: Position | None) -> Selection:
        """Returns the records of a query, after one record if given."""
        now_ns, number = turn
        oldest, newest = self.kept(now_ns)
        if Misbehaviour.EXPIRING_EDGE in struck:
            oldest += number * struck.number(Misbehaviour.EXPIRING_EDGE, 3600) * SECOND_NS
        since, before = asked_range(query, feed.version, struck, (oldest, newest))
        if Misbehaviour.LATE_ROWS in struck and since < before:
            self._dataset.add(feed, late_record(feed, (since + before) // 2, number))
        lower, upper = (since, ""), (before, "")
        order = self._order(query, struck, turn)
        if Misbehaviour.LAGGING_REPLICA in struck:
            upper = min(upper, self._replica_end(feed, (oldest, newest), struck))
        missing_id = self._missing_id(Selection(self._dataset, feed, lower, upper, order), struck)
        if after is not None and query.descending:
            upper = min(upper, after)
        elif after is not None:
            lower = max(lower, (after[0], after[1] + "\0"))
        wanted = query.filter if missing_id is None else without_id(query.filter, missing_id)
        return Selection(self._dataset, feed, lower, upper, order).keeping(wanted)

    def _replica_end(self, feed: Feed, kept: tuple[int, int], struck: Struck) -> Position:
        """Returns the position from which on a lagging replica has no records."""
        lower, upper = (kept[0], ""), (kept[1], "")
        newest = Selection(self._dataset, feed, lower, upper, Order(descending=True))
        rows = newest.take(0, struck.number(Misbehaviour.LAGGING_REPLICA, _DEFAULT_LAG))
        return rows[-1][:2] if rows else upper

    def _missing_id(self, selection: Selection, struck: Struck) -> str | None:
        """Returns the id of the record that is missing from this response, if any."""
        if Misbehaviour.MISSING_ROW not in struck:
            return None
        rows = selection.take(struck.number(Misbehaviour.MISSING_ROW, 1) - 1, 1)
        return rows[0].id if rows else None

    def _order(self, query: Query, struck: Struck, turn: Turn) -> Order:
        ties = struck.word(Misbehaviour.TIE_ORDER, "stable")
        salt = turn[1] if ties == "random" else 0
        return Order(query.descending, ties, Misbehaviour.SORT_BY_SECOND in struck, salt)


def late_record(feed: Feed, time_ns: int, number: int) -> bytes:
    """Returns a late record, determined by feed, time and number."""
    digits = hex_id("late", feed, time_ns, number)
    when = format_instant(time_ns, 6)
    action = {"type": "late", "time": when} if feed.version == "v2" else {"type": "late", "result": True}
    record = {"id": f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-b{digits[17:20]}-{digits[20:]}", "action": action}
    if feed.version == "v1":
        record["when"] = when
    return msgspec.json.encode(record)
