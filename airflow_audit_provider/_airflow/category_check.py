"""Checks the filter ``product_category`` against the categories of an account, which are requested once.

Invariant: the check stops no reading. Only an unknown category of a list that was read is an error.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.categories import (
    ProductCategory,
    categories_in,
    categories_query,
    check_categories,
    wanted_categories,
)
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import AuditProviderError


class CategoryCheck:
    """Checks queries; the categories of an account are kept, also that they cannot be read."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._known: dict[str, list[ProductCategory]] = {}

    def check(self, query: AuditQuery, reader: AuditLogReader) -> None:
        """Raises ``ConfigurationError`` for an unknown category, with the nearest name."""
        if wanted := wanted_categories(query):
            if query.scope_id not in self._known:
                self._known[query.scope_id] = self._request(query, reader)
            check_categories(wanted, self._known[query.scope_id])

    def _request(self, query: AuditQuery, reader: AuditLogReader) -> list[ProductCategory]:
        try:
            found = list(reader.read(categories_query(query), list_reader(reader.clock.now())))
        except AuditProviderError as error:
            self._log.warning("The product categories cannot be read, so the filter is not checked: %s", error)
            return []
        return [category for entries in found for category in categories_in(entries)]


def list_reader(now: datetime) -> SinglePageReader:
    """Returns a reader of a list that has one page and no range of time."""
    return SinglePageReader(ReadRequest(ApiVersion.V2, TimeWindow(now - timedelta(seconds=1), now)))
