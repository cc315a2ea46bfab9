"""The hook's keyword arguments: which are the window, which the paging, which the filters.

Knows: the API's parameter names that are no filter. Must not know: Airflow, HTTP, which filters exist.
Its one rule: what is not the window or the paging is a filter, and ``core.query`` judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, AuditQuery, Direction
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.ports import Request
from airflow_audit_provider.core.windows.readiness import RETENTION_MARGIN, retention_starts_at
from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_QUERY_NAMES = ("api_version", "scope", "account_id", "organization_id")
_PAGING_NAMES = ("since", "before", "direction", "page", "per_page", "limit", "cursor", "export")
_PAGES_PER_CUT = 1

QueryBuilder = Callable[..., AuditQuery]


class LogParameters(NamedTuple):
    """The sorted-out keyword arguments of the hook's reading methods."""

    query: Mapping[str, Any]
    paging: Mapping[str, Any]
    filters: Mapping[str, Any]

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> LogParameters:
        """Sort keyword arguments out; None means not given."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return cls(
            {name: given[name] for name in _QUERY_NAMES if name in given},
            {name: given[name] for name in _PAGING_NAMES if name in given},
            {name: value for name, value in given.items() if name not in (*_QUERY_NAMES, *_PAGING_NAMES)},
        )

    @property
    def export(self) -> bool:
        """Whether the CSV export is asked for."""
        return bool(self.paging.get("export"))

    def without_export(self) -> dict[str, Any]:
        """Return the keyword arguments again, without ``export``."""
        paging = {name: value for name, value in self.paging.items() if name != "export"}
        return {**self.query, **paging, **self.filters}

    def check_no_export(self) -> None:
        """Raise ``ConfigurationError`` where the export is asked of a method that cannot stream it."""
        if self.export:
            raise ConfigurationError("The CSV export is not offered asynchronously. Use export_audit_logs in a thread.")

    def reading(self, build: QueryBuilder, now: datetime) -> tuple[AuditQuery, WindowReader | SinglePageReader]:
        """Return the query and what to read of it: the whole window, or the one page asked for."""
        query = build(**self.query, filters=self.filters)
        self._refuse_foreign_paging(query.version)
        request = ReadRequest(query.version, self._window(now), self._direction(), self._page_size())
        if "page" in self.paging or "cursor" in self.paging:
            return query, SinglePageReader(request, self._page(), self.paging.get("cursor"))
        return query, WindowReader(request, pages_per_cut=_PAGES_PER_CUT)

    def export_request(self, build: QueryBuilder, now: datetime) -> Request:
        """Return the request for the CSV export."""
        foreign = self.paging.keys() - {"since", "before", "export"}
        if foreign:
            raise ConfigurationError(f"The CSV export has no {', '.join(sorted(foreign))}. Leave it out.")
        window = self._window(now)
        query = build(**self.query, filters=self.filters)
        return query.export_request(*window.whole_seconds())

    def _window(self, now: datetime) -> TimeWindow:
        """The half-open window: by default all that the API keeps, up to now."""
        since, before = self.paging.get("since"), self.paging.get("before")
        return resolve_run_window(
            RunBounds(
                window_start=retention_starts_at(now) - RETENTION_MARGIN if since is None else since,
                window_end=now + timedelta(seconds=1) if before is None else before,
            )
        ).window

    def _page(self) -> int:
        given = self.paging.get("page", 1)
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise ConfigurationError(f"page {given!r} is impossible. Give a whole number, 1 or more.")
        return given

    def _direction(self) -> Direction:
        given = self.paging.get("direction", "desc")
        try:
            return Direction(given)
        except ValueError:
            raise ConfigurationError(f"direction {given!r} is unknown. Give 'asc' or 'desc'.") from None

    def _page_size(self) -> int:
        given = self.paging.get("per_page", self.paging.get("limit", MAX_PAGE_SIZE))
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_PAGE_SIZE:
            raise ConfigurationError(f"A page size of {given!r} is impossible. Give 1 to {MAX_PAGE_SIZE}.")
        return given

    def _refuse_foreign_paging(self, version: ApiVersion) -> None:
        """Refuse the other version's paging parameters: the API would ignore them and send page one for ever."""
        foreign, own = (("limit", "cursor"), ("per_page", "page"))
        if version is ApiVersion.V2:
            foreign, own = own, foreign
        for name, instead in zip(foreign, own, strict=True):
            if name in self.paging:
                raise ConfigurationError(f"Version {version} of the API has no {name!r}. Use {instead!r}.")
