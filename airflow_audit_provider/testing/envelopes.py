"""Response bodies: envelopes of both versions, error lists, CSV.

Invariant: the bytes of a record are never changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.testing.filters import look
from airflow_audit_provider.testing.pages import Page
from airflow_audit_provider.testing.query import Query
from airflow_audit_provider.testing.records import Row
from airflow_audit_provider.testing.settings import CursorEnd, CursorPlace

JSON = {"content-type": "application/json; charset=utf-8"}
CSV = {"content-type": "text/csv; charset=utf-8", "content-disposition": 'attachment; filename="audit_logs.csv"'}
HTML = {"content-type": "text/html; charset=UTF-8"}
_CSV_PATHS: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "when": ("when",),
    "interface": ("interface",),
    "action_type": ("action", "type"),
    "action_result": ("action", "result"),
    "actor_id": ("actor", "id"),
    "actor_email": ("actor", "email"),
    "actor_ip": ("actor", "ip"),
    "actor_type": ("actor", "type"),
    "owner_id": ("owner", "id"),
    "resource_id": ("resource", "id"),
    "resource_type": ("resource", "type"),
    "metadata": ("metadata",),
    "new_value": ("newValue",),
    "old_value": ("oldValue",),
}

Problem = tuple[int | None, str]


def records_v1(page: Page, query: Query) -> Response:
    """Returns version 1's envelope; it has no result_info unless totals are switched on."""
    facts = b""
    if page.total_count is not None:
        result_info = {
            "page": query.page,
            "per_page": query.row_count,
            "count": len(page.rows),
            "total_count": page.total_count,
        }
        facts = b',"result_info":' + msgspec.json.encode(result_info)
    body = b'{"result":[%b],"success":true,"errors":[],"messages":[]%b}' % (joined(page.rows), facts)
    return Response(200, JSON, body)


def records_v2(page: Page, place: CursorPlace, end: CursorEnd, *, with_facts: bool) -> Response:
    """Returns version 2's envelope with the cursor, or with the marker that no page follows."""
    facts = b""
    if with_facts:
        result_info: dict[str, Any] = {"count": str(len(page.rows))}
        has_cursor_field = page.cursor is not None or (page.is_last and end is not CursorEnd.OMITTED)
        cursor = page.cursor or ("" if end is CursorEnd.EMPTY else None)
        if has_cursor_field and place in (CursorPlace.DOCUMENTED, CursorPlace.BOTH):
            result_info["cursor"] = cursor
        if has_cursor_field and place in (CursorPlace.SDK, CursorPlace.BOTH):
            result_info["cursors"] = {"after": cursor}
        facts = b',"result_info":' + msgspec.json.encode(result_info)
    return Response(200, JSON, b'{"success":true,"errors":[],"result":[%b]%b}' % (joined(page.rows), facts))


def result(value: Any, messages: Sequence[Problem] = ()) -> Response:
    """Returns a successful response that is not a list of records."""
    envelope = {"result": value, "success": True, "errors": [], "messages": _listed(messages)}
    return Response(200, JSON, msgspec.json.encode(envelope))


def failure(status: int, problems: Sequence[Problem], *, chain: Sequence[Problem] = ()) -> Response:
    """Returns an error response; version 1 and the gateway use codes, version 2 passes None to omit the code."""
    errors = _listed(problems)
    if chain:
        errors[0]["error_chain"] = _listed(chain)
    envelope: dict[str, Any] = {"success": False, "errors": errors}
    if problems[0][0] is not None:
        envelope |= {"messages": [], "result": None}
    return Response(status, JSON, msgspec.json.encode(envelope))


def web_page(status: int) -> Response:
    """Returns the HTML page of a proxy."""
    body = f"<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><h1>Error {status}</h1></body></html>\n"
    return Response(status, HTML, body.encode())


def as_csv(rows: Iterable[Row]) -> Response:
    """Returns version 1's export: a heading and one CSV line a record; the columns are undocumented."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_CSV_PATHS)
    for row in rows:
        record = msgspec.json.decode(row.raw)
        writer.writerow([_cell(look(record, path)) for path in _CSV_PATHS.values()])
    return Response(200, CSV, text.getvalue().encode())


def _cell(value: Any) -> str:
    """Returns text unchanged, None as an empty cell, and the rest as JSON."""
    return "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()


def joined(rows: Sequence[Row]) -> bytes:
    """Returns the records of a list, as they are."""
    return b",".join([row.raw for row in rows])


def _listed(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{"message": text} if code is None else {"code": code, "message": text} for code, text in problems]
