"""The change history of one resource: its query, and what the API states about it.

Cloudflare API docs, resource change history (version 2): the endpoint "first locates the source audit log entry by
`id` (using `action_time` to narrow the lookup window), derives identifying filters from that entry, and then returns
matching audit logs within the `since`/`before` window". It returns records, not values before and after.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from airflow_audit_provider.core.api.endpoints import Filters
from airflow_audit_provider.core.api.query import AuditQuery, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, parse_event_time
from airflow_audit_provider.core.api.responses import Page, result_facts
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import ConfigurationError

_ID_CHARACTERS = frozenset(f"{string.ascii_letters}{string.digits}_-")
_LONGEST_ID = 64


class HistoryStatus(StrEnum):
    """What the API states about a history, or that it does not know the record.

    ``exact``: the resource was identified by its URI; ``approximate``: without it; ``unavailable``: the record does not
    identify a resource. ``not_found``: the API has no such record at that time.
    """

    EXACT = "exact"
    APPROXIMATE = "approximate"
    UNAVAILABLE = "unavailable"
    NOT_FOUND = "not_found"


class HistoryQuery(AuditQuery, frozen=True, kw_only=True):
    """The history of the resource of one record; created and checked by :func:`history_query`."""

    record_id: str
    action_time: str

    @property
    def path(self) -> str:
        """The endpoint's path below the API's base URL."""
        return f"{super().path}/{self.record_id}/history"

    @property
    def log_name(self) -> str:
        """Name of the history in messages."""
        return f"the resource history of record {self.record_id} in {super().log_name}"

    def page_request(self, page: PageRequest) -> Request:
        """Returns the HTTP request for one page; the endpoint has no filter, so no record is excluded."""
        request = super().page_request(page._replace(without_ids=()))
        return Request(request.path, (("action_time", self.action_time), *request.params))

    def read_page(self, response: Response, now: datetime, *, has_returned_pages: bool) -> Page:
        """Returns the page of a response; the record that the API does not find is a page with a status of its own."""
        facts = result_facts(response.body)
        if response.status == 404 and "history_status" in facts and not has_returned_pages:
            # Cloudflare API docs, 404: "Returned when the source audit log entry referenced by `id` cannot be found
            # within the `action_time` window."
            return Page([], states_end=True, history_status=HistoryStatus.NOT_FOUND)
        page = super().read_page(response, now, has_returned_pages=has_returned_pages)
        return page._replace(history_status=_status_in(facts))


def _status_in(facts: Mapping[str, Any]) -> str:
    """Returns the stated quality; one that is missing or unknown promises nothing, so it is an approximate one."""
    stated = str(facts.get("history_status", "")).lower()
    return stated if stated in list(HistoryStatus) else HistoryStatus.APPROXIMATE


def history_query(query: AuditQuery, record_id: str, action_time: datetime | str) -> HistoryQuery:
    """Returns the query of the history of one record's resource.

    Raises ``ConfigurationError`` for version 1, which has no such endpoint, a log with filters, an id that is none and
    a time that cannot be read.
    """
    if query.version is not ApiVersion.V2:
        raise ConfigurationError(
            "Version 1 of the API has no resource history: its records contain the values before and after. Read them "
            "with iter_audit_logs, or give api_version='v2'."
        )
    if query.filters:
        raise ConfigurationError("The resource history has no filters. Remove them.")
    return HistoryQuery(
        version=query.version,
        scope=query.scope,
        scope_id=query.scope_id,
        filters=_NO_FILTERS,
        record_id=_checked_id(record_id),
        action_time=_checked_time(action_time),
    )


_NO_FILTERS: Filters = ()


def is_record_id(text: str) -> bool:
    """Returns whether a text can be the id of a record of version 2 in a path."""
    return 1 <= len(text) <= _LONGEST_ID and _ID_CHARACTERS.issuperset(text)


def _checked_id(record_id: object) -> str:
    text = str(record_id)
    if not is_record_id(text):
        raise ConfigurationError(
            f"The record id {text[:_LONGEST_ID]!r} is not an id of version 2. Give the field id of a record."
        )
    return text


def _checked_time(action_time: datetime | str) -> str:
    text = action_time.isoformat() if isinstance(action_time, datetime) else str(action_time)
    try:
        parse_event_time(text)
    except ValueError:
        raise ConfigurationError(
            f"The action time {text[:40]!r} is not an RFC 3339 time. Give the field action.time of the record."
        ) from None
    return text
