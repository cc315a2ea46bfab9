"""Resource history endpoint: from the record in the path to a page of the records of its resource.

Invariant: the records are those of the log itself; only what the response states about them is added.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.testing.audit_logs import AuditLogs, Turn
from airflow_audit_provider.testing.envelopes import JSON, failure, joined
from airflow_audit_provider.testing.faults import damaged
from airflow_audit_provider.testing.filters import BadQueryError, Filter, Params, look
from airflow_audit_provider.testing.instants import SECOND_NS, parse_instant
from airflow_audit_provider.testing.misbehaviour import Misbehaviour, Struck
from airflow_audit_provider.testing.pages import Page
from airflow_audit_provider.testing.query import query_v2
from airflow_audit_provider.testing.records import Row
from airflow_audit_provider.testing.routes import Route

# Half of the range around `action_time` in which the record is looked for; the real API's is undocumented.
_LOOKUP_NS = 60 * SECOND_NS
_IDENTITY = (("resource", "product"), ("resource", "type"), ("resource", "id"))
_NOTHING = ("unavailable", "not_found")


class Histories:
    """Responds to requests for the history of a resource."""

    def __init__(self, audit_logs: AuditLogs) -> None:
        self._audit_logs = audit_logs

    def answer(self, route: Route, params: Params, struck: Struck, turn: Turn) -> Response:
        """Returns the requested page, a 404 for an unknown record, or a 400 with the reason."""
        try:
            good = self._answer(route, params, struck, turn)
        except BadQueryError as error:
            return failure(400, [(None, str(error))])
        return damaged(struck, good)

    def _answer(self, route: Route, params: Params, struck: Struck, turn: Turn) -> Response:
        asked = dict(params)
        time_ns = _action_time(asked)
        query = query_v2([pair for pair in params if pair[0] in _KNOWN], organization=False)
        row = self._audit_logs.find(route.feed, route.record_id, (time_ns - _LOOKUP_NS, time_ns + _LOOKUP_NS), turn)
        status = "not_found" if row is None else _quality(msgspec.json.decode(row.raw))
        if Misbehaviour.HISTORY_STATUS in struck:
            status = struck.word(Misbehaviour.HISTORY_STATUS, "unavailable")
        if row is None or status == "not_found":
            return _not_found()
        if status in _NOTHING:
            return _response(Page([]), status)
        page = self._audit_logs.page(route.feed, query._replace(filter=_same_resource(row)), struck, turn)
        return _response(page, status)


_KNOWN = ("since", "before", "direction", "limit", "cursor")


def _action_time(asked: dict[str, str]) -> int:
    try:
        return parse_instant(asked.get("action_time", ""))
    except ValueError as error:
        raise BadQueryError(f"action_time is {error}") from None


def _quality(record: Any) -> str:
    """Returns how a record identifies its resource."""
    if look(record, ("resource", "id")) is None:
        return "unavailable"
    return "exact" if look(record, ("raw", "uri")) else "approximate"


def _same_resource(row: Row) -> Filter:
    """Returns a filter for the records of a record's resource."""
    record = msgspec.json.decode(row.raw)
    facts = tuple(look(record, path) for path in _IDENTITY)

    def is_same(other: Any) -> bool:
        return tuple(look(other, path) for path in _IDENTITY) == facts

    return Filter(f"history of {facts!r}", (is_same,), tuple(str(fact).encode() for fact in facts if fact))


def _response(page: Page, status: str) -> Response:
    """Returns the envelope of a history; its count is a number and its cursor is left out on the last page."""
    stated: dict[str, Any] = {"count": len(page.rows), "history_status": status}
    if page.cursor is not None:
        stated["cursor"] = page.cursor
    facts = msgspec.json.encode(stated)
    return Response(
        200, JSON, b'{"success":true,"errors":[],"result":[%b],"result_info":%b}' % (joined(page.rows), facts)
    )


def _not_found() -> Response:
    envelope = {
        "success": False,
        "errors": [{"message": "audit log not found"}],
        "result": None,
        "result_info": {"count": 0, "history_status": "unavailable"},
    }
    return Response(404, JSON, msgspec.json.encode(envelope))
