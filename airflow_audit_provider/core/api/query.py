"""Queries of an audit log, turned into the paths and parameters of each API version.

:class:`AuditQuery` holds what is the same for every page of every window; a :class:`PageRequest` adds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.endpoints import PATHS, Filters, name_audit_log
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.responses import Page, has_no_route, lost_log_error, read_page
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.core.windows.window import format_second
from airflow_audit_provider.exceptions import ConfigurationError

# Cloudflare API docs: v1 `per_page` and v2 `limit` have a maximum of 1000.
MAX_PAGE_SIZE = 1000


class Scope(StrEnum):
    """Owner of the audit log: an account, the token's own user (v1 only) or an organization (v2 only)."""

    ACCOUNT = "account"
    USER = "user"
    ORGANIZATION = "organization"


class Direction(StrEnum):
    """Order of a list by event time. The order of records with equal times is not documented."""

    ASC = "asc"
    DESC = "desc"

    @property
    def sign(self) -> int:
        """1 if ascending, -1 if descending: a time multiplied by it increases in the reading direction."""
        return 1 if self is Direction.ASC else -1

    @property
    def opposite(self) -> Direction:
        """The other direction."""
        return Direction.DESC if self is Direction.ASC else Direction.ASC


class PageRequest(NamedTuple):
    """One page to request; the bounds are whole seconds since the epoch and wider than the records wanted.

    ``page`` counts from 1 (version 1), ``cursor`` is version 2's token. ``without_ids`` excludes records (version 2).
    """

    since_seconds: int
    before_seconds: int
    direction: Direction
    page_size: int
    page: int = 1
    cursor: str | None = None
    without_ids: tuple[str, ...] = ()


class AuditQuery(msgspec.Struct, frozen=True):
    """One audit log with its filters: everything that is the same for every page of every window.

    ``scope_id`` is the account or organization id, empty for the user scope. ``filters`` are pairs of the API's own
    parameter names and texts, sorted; a name is repeated for each of its values. Created and checked by
    :func:`audit_query`.
    """

    version: ApiVersion
    scope: Scope
    scope_id: str
    filters: Filters = ()

    @property
    def path(self) -> str:
        """The endpoint's path below the API's base URL."""
        return PATHS[self.version, self.scope].format(id=self.scope_id)

    @property
    def log_name(self) -> str:
        """Name of this audit log in messages: ``the audit log of account 0123…``."""
        return (
            f"the audit log of {self.scope} {self.scope_id}" if self.scope_id else f"the audit log of the {self.scope}"
        )

    def page_request(self, page: PageRequest) -> Request:
        """Returns the HTTP request for one page."""
        window = self.window_params(page.since_seconds, page.before_seconds)
        return Request(self.path, (*self.filters, *window, ("direction", page.direction), *self._position(page)))

    def read_page(self, response: Response, now: datetime, *, has_returned_pages: bool) -> Page:
        """Returns the page in a response of ``now``; raises the error that the response stands for.

        A log that cannot be found is another error after it ``has_returned_pages``: its id is then right.
        """
        if has_returned_pages and has_no_route(response):
            raise lost_log_error(response, self.log_name)
        return self._page_in(response, now)

    def _page_in(self, response: Response, now: datetime) -> Page:
        return read_page(self.version, response, now, self.log_name)

    def export_request(self, since_seconds: int, before_seconds: int) -> Request:
        """Returns the HTTP request for the CSV export; raises ``ConfigurationError`` for version 2, which has none.

        Cloudflare API docs, v1 `export`: "Indicates that this request is an export of logs in CSV format."
        """
        if self.version is not ApiVersion.V1:
            raise ConfigurationError("Version 2 of the API has no CSV export. Use api_version='v1' or iter_audit_logs.")
        window = self.window_params(since_seconds, before_seconds)
        return Request(self.path, (*self.filters, *window, ("export", "true")))

    def window_params(self, since_seconds: int, before_seconds: int) -> Filters:
        """Returns ``since`` and ``before`` in whole seconds.

        Cloudflare API docs: "an absolute timestamp that conforms to RFC3339"; the precision of the comparison is not
        documented below that.
        """
        return (
            ("since", format_second(since_seconds)),
            ("before", format_second(before_seconds)),
        )

    def _position(self, page: PageRequest) -> Filters:
        if self.version is ApiVersion.V1:
            return ("per_page", str(page.page_size)), ("page", str(page.page))
        cursor = () if page.cursor is None else (("cursor", page.cursor),)
        return (("limit", str(page.page_size)), *cursor, *(("id.not", record_id) for record_id in page.without_ids))


def audit_query(
    api_version: str | None,
    scope: str | None,
    *,
    account_id: str | None = None,
    organization_id: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> AuditQuery:
    """Returns the checked query of one audit log; raises what ``endpoints.name_audit_log`` raises."""
    version, kind, scope_id, params = name_audit_log(
        api_version, scope, account_id=account_id, organization_id=organization_id, filters=filters
    )
    return AuditQuery(ApiVersion(version), Scope(kind), scope_id, params)
