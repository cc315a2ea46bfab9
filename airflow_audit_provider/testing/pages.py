"""Pages of a selection, by number (version 1) or by cursor (version 2).

Invariant: a cursor is opaque outside of this module.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from airflow_audit_provider.testing.daily_pattern import seeded
from airflow_audit_provider.testing.filters import BadQueryError
from airflow_audit_provider.testing.misbehaviour import Misbehaviour, Struck
from airflow_audit_provider.testing.query import Query
from airflow_audit_provider.testing.records import Row
from airflow_audit_provider.testing.selection import Position, Selection

_DEFAULT_CEILING = 100
_DEFAULT_DEPTH = 10_000


class Page(NamedTuple):
    """Records of one page; the next cursor, if any; the total number of records if it is to be returned.

    ``is_last`` where nothing follows: a page that lost its cursor has neither.
    """

    rows: list[Row]
    cursor: str | None = None
    total_count: int | None = None
    is_last: bool = False


class _Cursor(msgspec.Struct, array_like=True):
    """Content of a cursor: the record before it, its offset, and how many cursors of its chain came before."""

    digest: str
    after: Position | None
    offset: int
    uses: int

    def token(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def page_v1(selection: Selection, query: Query, struck: Struck) -> Page:
    """Returns the page of that number; raises BadQueryError beyond a depth cap or, if switched on, past the end."""
    offset = _offset(query, struck)
    if Misbehaviour.DEPTH_CAP in struck and offset >= struck.number(Misbehaviour.DEPTH_CAP, _DEFAULT_DEPTH):
        raise BadQueryError(f"page {query.page} is too deep")
    rows = [] if Misbehaviour.NO_RECORDS in struck else selection.take(offset, _size(query, query.page, struck))
    if not rows and query.page > 1 and Misbehaviour.PAST_END_IS_400 in struck:
        raise BadQueryError(f"page {query.page} does not exist")
    return Page(rows, None, selection.total() if Misbehaviour.V1_TOTALS in struck else None)


def page_v2(select: Callable[[Position | None], Selection], query: Query, struck: Struck, *, by_row: bool) -> Page:
    """Returns the page of a cursor; ``select`` returns what follows a record. Raises BadQueryError."""
    cursor = _read(query, struck)
    if Misbehaviour.NO_RECORDS in struck:
        return Page([], is_last=True)
    size = _size(query, cursor.uses + 1, struck)
    offset = 0 if by_row else cursor.offset
    rows = select(cursor.after if by_row else None).take(offset, size + 1)
    if rows and Misbehaviour.EMPTY_PAGE in struck:
        return Page([], _next(cursor, cursor.after, 0).token())
    more, rows = len(rows) > size, rows[:size]
    if Misbehaviour.REPEATED_CURSOR in struck and query.cursor:
        return Page(rows, query.cursor)
    if not more or Misbehaviour.MISSING_CURSOR in struck:
        return Page(rows, is_last=not more)
    last = len(rows) - 1 if Misbehaviour.REPEATED_ROW in struck and len(rows) > 1 else len(rows)
    return Page(rows, _next(cursor, rows[last - 1][:2], last).token())


def _offset(query: Query, struck: Struck) -> int:
    """Returns the number of records before a numbered page."""
    before = range(1, query.page)
    if Misbehaviour.PAGE_CEILING_ASKED_OFFSET in struck:
        return query.row_count * len(before)
    if struck.word(Misbehaviour.FEWER_THAN_ASKED, "") == "random":
        return sum(_size(query, page, struck) for page in before)
    size = _size(query, query.page, struck)
    return len(before) * (max(1, size - 1) if Misbehaviour.REPEATED_ROW in struck else size)


def _size(query: Query, page: int, struck: Struck) -> int:
    """Returns the number of records of a full page."""
    size = query.row_count
    for kind in (Misbehaviour.PAGE_CEILING, Misbehaviour.PAGE_CEILING_ASKED_OFFSET):
        if kind in struck:
            size = min(size, struck.number(kind, _DEFAULT_CEILING))
    if Misbehaviour.FEWER_THAN_ASKED in struck:
        if struck.word(Misbehaviour.FEWER_THAN_ASKED, "") == "random":
            return seeded(query.digest, page).randint(1, size)
        return max(1, size - struck.number(Misbehaviour.FEWER_THAN_ASKED, 1))
    return size


def _next(cursor: _Cursor, after: Position | None, advance: int) -> _Cursor:
    return _Cursor(cursor.digest, after, cursor.offset + advance, cursor.uses + 1)


def _read(query: Query, struck: Struck) -> _Cursor:
    """Decodes a cursor, or starts a chain; raises BadQueryError if it is damaged, expired or of another query."""
    if query.cursor is None:
        return _Cursor(query.digest, None, 0, 0)
    try:
        padded = query.cursor + "=" * (-len(query.cursor) % 4)
        cursor = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Cursor)
    except ValueError:
        raise BadQueryError("cursor is invalid") from None
    if cursor.digest != query.digest:
        raise BadQueryError("cursor is invalid for this query")
    if Misbehaviour.CURSOR_EXPIRES in struck and cursor.uses >= struck.number(Misbehaviour.CURSOR_EXPIRES, 3):
        raise BadQueryError("cursor has expired")
    return cursor
