"""What is asked: an audit log, turned into each version's paths and parameters.

Knows: how a page, a window and the CSV export are asked for on either version.
Must not know: which filters an endpoint has (``parameters``), paging decisions (``paging``), HTTP.
Its one rule: what is the same for every page of every window is one value, and the rest is added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.endpoints import PATHS, Filters, name_audit_log
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.ports import Request
from airflow_audit_provider.core.windows.window import format_second
from airflow_audit_provider.exceptions import ConfigurationError

MAX_PAGE_SIZE = 1000


class Scope(StrEnum):
    """Whose audit log is read: an account's, the token's own user's (v1 only), an organization's (v2 only)."""

    ACCOUNT = "account"
    USER = "user"
    ORGANIZATION = "organization"


class Direction(StrEnum):
    """The order of a list by event time."""

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
    """One page to ask for: whole epoch seconds, deliberately wider than the records wanted.

    ``page`` and ``cursor`` exclude each other: version 1 has pages, version 2 cursors. ``without_ids`` asks version 2
    for all records but these.
    """

    since_seconds: int
    before_seconds: int
    direction: Direction
    page_size: int
    page: int = 1
    cursor: str | None = None
    without_ids: tuple[str, ...] = ()


class AuditQuery(msgspec.Struct, frozen=True):
    """One audit log and the filters on it: everything that is the same for every page of every window.

    ``scope_id`` is the account or organization id, empty for the user scope. ``filters`` are the API's own
    parameter names with their texts, sorted, a name repeated for each of its values.
    Make one with :func:`audit_query`, which checks it.
    """

    version: ApiVersion
    scope: Scope
    scope_id: str
    filters: Filters = ()

    @property
    def path(self) -> str:
        """The endpoint's path below the API's base URL."""
        return PATHS[self.version, self.scope].format(id=self.scope_id)

    def page_request(self, ask: PageRequest) -> Request:
        """Return the request for one page."""
        window = self.window_params(ask.since_seconds, ask.before_seconds)
        return Request(self.path, (*self.filters, *window, ("direction", ask.direction), *self._position(ask)))

    def export_request(self, since_seconds: int, before_seconds: int) -> Request:
        """Return the request for the CSV export; raise ``ConfigurationError`` on version 2, which has none."""
        if self.version is not ApiVersion.V1:
            raise ConfigurationError("Version 2 of the API has no CSV export. Use api_version='v1' or iter_audit_logs.")
        window = self.window_params(since_seconds, before_seconds)
        return Request(self.path, (*self.filters, *window, ("export", "true")))

    def window_params(self, since_seconds: int, before_seconds: int) -> Filters:
        """Return ``since`` and ``before`` in whole seconds: the server's grain below that is unknown."""
        return (
            ("since", format_second(since_seconds)),
            ("before", format_second(before_seconds)),
        )

    def _position(self, ask: PageRequest) -> Filters:
        if self.version is ApiVersion.V1:
            return ("per_page", str(ask.page_size)), ("page", str(ask.page))
        cursor = () if ask.cursor is None else (("cursor", ask.cursor),)
        return (("limit", str(ask.page_size)), *cursor, *(("id.not", record_id) for record_id in ask.without_ids))


def audit_query(
    api_version: str,
    scope: str | None,
    *,
    account_id: str | None = None,
    organization_id: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> AuditQuery:
    """Check and build the query for one audit log; raises as :func:`~.parameters.name_audit_log` does."""
    version, kind, scope_id, params = name_audit_log(
        api_version, scope, account_id=account_id, organization_id=organization_id, filters=filters
    )
    return AuditQuery(ApiVersion(version), Scope(kind), scope_id, params)
