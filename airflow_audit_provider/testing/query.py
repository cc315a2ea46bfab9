"""Parsed query parameters of each version.

Invariant: a parameter is applied, refused with BadQueryError, or unknown and ignored, as by the real API.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from airflow_audit_provider.testing.filters import BadQueryError, Filter, Params, filter_v1, filter_v2
from airflow_audit_provider.testing.instants import parse_instant
from airflow_audit_provider.testing.misbehaviour import Misbehaviour, Struck

MAX_COUNT = 1000
DEFAULT_COUNT = 100


class Query(NamedTuple):
    """A query: ``since_ns`` and ``before_ns`` as given (None: open), ``row_count`` of ``page``."""

    since_ns: int | None
    before_ns: int | None
    descending: bool
    row_count: int
    filter: Filter | None
    page: int = 1
    cursor: str | None = None
    export: bool = False

    @property
    def digest(self) -> str:
        """Identity of the query without page, cursor and size: a cursor fits only its own query."""
        facts = (self.since_ns, self.before_ns, self.descending, self.filter.name if self.filter else "")
        return hashlib.blake2b(repr(facts).encode(), digest_size=6).hexdigest()


def query_v1(params: Params) -> Query:
    """Parses version 1's parameters; raises BadQueryError."""
    asked = dict(params)
    return Query(
        since_ns=_instant(asked, "since"),
        before_ns=_instant(asked, "before"),
        descending=_descending(asked),
        row_count=_number(asked, "per_page", DEFAULT_COUNT, MAX_COUNT),
        filter=filter_v1(params),
        page=_number(asked, "page", 1, None),
        export=asked.get("export", "").lower() == "true",
    )


def query_v2(params: Params, *, organization: bool, ignores_negation: bool = False) -> Query:
    """Parses version 2's parameters; since and before are required; raises BadQueryError."""
    if ignores_negation:
        params = [(name, value) for name, value in params if not name.endswith(".not")]
    asked = dict(params)
    for name in ("since", "before"):
        if not asked.get(name):
            raise BadQueryError(f"{name} is required")
    return Query(
        since_ns=_instant(asked, "since"),
        before_ns=_instant(asked, "before"),
        descending=_descending(asked),
        row_count=_number(asked, "limit", DEFAULT_COUNT, MAX_COUNT),
        filter=filter_v2(params, organization=organization),
        cursor=asked.get("cursor") or None,
    )


def as_taken(query: Query, struck: Struck) -> Query:
    """Returns a query as an API takes it that ignores its order, its page or its page size."""
    if Misbehaviour.IGNORED_DIRECTION in struck:
        query = query._replace(descending=struck.word(Misbehaviour.IGNORED_DIRECTION, "desc") == "desc")
    if Misbehaviour.IGNORED_PAGE in struck:
        query = query._replace(page=1, cursor=None)
    if Misbehaviour.IGNORED_SIZE in struck:
        query = query._replace(row_count=struck.number(Misbehaviour.IGNORED_SIZE, DEFAULT_COUNT))
    return query


def _instant(asked: dict[str, str], name: str) -> int | None:
    text = asked.get(name)
    if not text:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise BadQueryError(f"{name} is {error}") from None


def _descending(asked: dict[str, str]) -> bool:
    direction = asked.get("direction") or "desc"
    if direction not in ("asc", "desc"):
        raise BadQueryError(f"direction must be asc or desc, not {direction!r}")
    return direction == "desc"


def _number(asked: dict[str, str], name: str, default: int, most: int | None) -> int:
    """Parses a whole number from 1 up; ``2.0`` is accepted, because the specification says *number*."""
    text = asked.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise BadQueryError(f"{name} is not a number: {text!r}") from None
    if number != number // 1 or number < 1 or (most is not None and number > most):
        raise BadQueryError(f"{name} must be between 1 and {most or 'any number'}, not {text}")
    return int(number)
