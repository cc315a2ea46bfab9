"""Sorts the hook's keyword arguments into query, paging and filters, and shows them in the signatures of its methods.

Every name that is neither a query nor a paging parameter is a filter; ``core.api.query`` checks it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from airflow_audit_provider.core.api.history import HistoryQuery, history_query
from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, AuditQuery, Direction
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import HistoryReader, SinglePageReader, WindowReader
from airflow_audit_provider.core.ports import Request
from airflow_audit_provider.core.windows.readiness import (
    RETENTION_MARGIN,
    check_history_begun,
    check_range_kept,
    retention_starts_at,
)
from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_QUERY_NAMES = ("api_version", "scope", "account_id", "organization_id")
_PAGING_NAMES = ("since", "before", "direction", "page", "per_page", "limit", "cursor", "export")
_PAGES_PER_CUT = 1

QueryBuilder = Callable[..., AuditQuery]
Method = TypeVar("Method", bound=Callable[..., Any])


class LogParameters(NamedTuple):
    """Keyword arguments of the hook's methods that read audit logs, sorted."""

    query: Mapping[str, Any]
    paging: Mapping[str, Any]
    filters: Mapping[str, Any]

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> LogParameters:
        """Sorts keyword arguments; None means not given."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return cls(
            {name: given[name] for name in _QUERY_NAMES if name in given},
            {name: given[name] for name in _PAGING_NAMES if name in given},
            {name: value for name, value in given.items() if name not in (*_QUERY_NAMES, *_PAGING_NAMES)},
        )

    def check_no_export(self) -> None:
        """Raises ``ConfigurationError`` if the export is requested of a method that cannot stream it."""
        if self.paging.get("export"):
            raise ConfigurationError("The CSV export has no asynchronous form. Call export_audit_logs in a thread.")

    def query_and_reader(
        self, build: QueryBuilder, now: datetime, history_of: Callable[[str], datetime | None]
    ) -> tuple[AuditQuery, WindowReader | SinglePageReader]:
        """Returns the query, and a reader of the whole window or of the one page requested.

        ``history_of`` returns the instant before which an API version has no records. Raises
        ``RetentionExceededError`` for a window that lies before it, or starts before what the API keeps.
        """
        query = build(**self.query, filters=self.filters)
        self._check_paging(query.version)
        window, history_starts_at = self._window(now), history_of(query.version)
        if history_starts_at is not None and window.end <= history_starts_at:
            check_history_begun(window, history_starts_at)
        request = ReadRequest(query.version, window, self._direction(), self._page_size())
        if "page" in self.paging or "cursor" in self.paging:
            return query, SinglePageReader(request, self._page(), self.paging.get("cursor"))
        return query, WindowReader(request, pages_per_cut=_PAGES_PER_CUT)

    def history_query_and_reader(
        self, build: QueryBuilder, now: datetime, record_id: str, action_time: datetime | str
    ) -> tuple[HistoryQuery, HistoryReader]:
        """Returns the query of the history of one record's resource, and a reader of its whole range."""
        query = build(api_version=ApiVersion.V2, **self.query, filters=self.filters)
        if "cursor" in self.paging:
            raise ConfigurationError("The resource history is returned as a whole. Remove the parameter 'cursor'.")
        self._check_paging(query.version)
        request = ReadRequest(query.version, self._window(now), self._direction(), self._page_size())
        history = history_query(query, record_id, action_time)
        return history, HistoryReader(request, pages_per_cut=_PAGES_PER_CUT)

    def export_request(self, build: QueryBuilder, now: datetime) -> Request:
        """Returns the request for the CSV export; raises ``ConfigurationError`` for a paging parameter."""
        foreign = self.paging.keys() - {"since", "before", "export"}
        if foreign:
            raise ConfigurationError(f"The CSV export has no parameter {', '.join(sorted(foreign))}. Remove it.")
        window = self._window(now)
        query = build(**self.query, filters=self.filters)
        return query.export_request(*window.whole_seconds())

    def _window(self, now: datetime) -> TimeWindow:
        """Returns the half-open window; by default everything that the API keeps, up to now."""
        since, before = self.paging.get("since"), self.paging.get("before")
        window = resolve_run_window(
            RunBounds(
                window_start=retention_starts_at(now) - RETENTION_MARGIN if since is None else since,
                window_end=now + timedelta(seconds=1) if before is None else before,
            )
        ).window
        if since is not None:
            check_range_kept(window.start, now)
        return window

    def _page(self) -> int:
        given = self.paging.get("page", 1)
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise ConfigurationError(f"page is {given!r}. Give a whole number of at least 1.")
        return given

    def _direction(self) -> Direction:
        given = self.paging.get("direction", "desc")
        try:
            return Direction(given)
        except ValueError:
            raise ConfigurationError(f"direction is {given!r}. Give 'asc' or 'desc'.") from None

    def _page_size(self) -> int:
        given = self.paging.get("per_page", self.paging.get("limit", MAX_PAGE_SIZE))
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_PAGE_SIZE:
            raise ConfigurationError(f"The page size is {given!r}. Give a whole number from 1 to {MAX_PAGE_SIZE}.")
        return given

    def _check_paging(self, version: ApiVersion) -> None:
        """Rejects the other version's paging parameters: the API ignores them and returns page one each time."""
        foreign, own = (("limit", "cursor"), ("per_page", "page"))
        if version is ApiVersion.V2:
            foreign, own = own, foreign
        for name, instead in zip(foreign, own, strict=True):
            if name in self.paging:
                raise ConfigurationError(f"Version {version} of the API has no parameter {name!r}. Use {instead!r}.")


def shows_parameters_of(*typed_dicts: type) -> Callable[[Method], Method]:
    """Returns a decorator that puts each parameter of these classes into the signature of a method.

    ``inspect.signature`` and ``help()`` show that signature instead of ``**parameters``, filters last. A parameter of
    several classes has the types of all.
    """
    types: dict[str, dict[str, None]] = {}
    for typed_dict in typed_dicts:
        for name, reference in typed_dict.__annotations__.items():
            types.setdefault(name, {}).update(dict.fromkeys(_alternatives(reference.__forward_arg__)))
    shown = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=" | ".join([*texts, "None"]))
        for name, texts in sorted(types.items(), key=lambda item: item[0] not in (*_QUERY_NAMES, *_PAGING_NAMES))
    ]

    def decorate(method: Method) -> Method:
        own = inspect.signature(method)
        kept = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        method.__signature__ = own.replace(parameters=[*kept, *shown])  # type: ignore[attr-defined]  # inspect reads it from any callable
        return method

    return decorate


def _alternatives(annotation: str) -> list[str]:
    """Returns the types in the text of a field's annotation, without None."""
    required = annotation.startswith("Required[")
    text = annotation.removeprefix("Required[")[:-1] if required else annotation
    return [alternative for alternative in text.split(" | ") if alternative != "None"]
