"""Model of the API's lists: sorted rows, bounds, page numbers, cursors, and permitted deviations of a server.

Invariant: the model returns every row that its rules select, and states the end only at the end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.windows.window import SECOND_NS
from airflow_audit_provider.exceptions import SourceProtocolError


@dataclass
class ModelServer:
    """Serves page requests from a fixed set of rows."""

    rows: list[AuditRecord]
    version: ApiVersion = ApiVersion.V1
    since_inclusive: bool = True
    before_inclusive: bool = True
    grain_ns: int = SECOND_NS
    page_ceiling: int = 1000
    offset_uses_ceiling: bool = True
    fewer_rows: bool = False
    random_fraction: bool = False
    depth_cap: int | None = None
    cursor_lost_every: int = 0
    cursor_expires_every: int = 0
    cursor_repeats_every: int = 0
    omits_paging_facts: bool = False
    states_end: bool = True
    ties_mirrored: bool = True
    empty_pages: bool = False
    seed: int = 0
    requests: list[PageRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def respond(self, request: PageRequest) -> Page:
        """Returns the page that a request selects; raises the 400 that the model is configured for."""
        self.requests.append(request)
        rows = self._selected(request)
        size = min(request.page_size, self.page_ceiling)
        offset = self._offset(request, size)
        if self.depth_cap is not None and offset >= self.depth_cap:
            raise SourceProtocolError("too deep", status=400)
        page = rows[offset : offset + self._sent_count(size)]
        return self._with_cursor(page, offset, len(rows))

    def _selected(self, request: PageRequest) -> list[AuditRecord]:
        low, high = request.since_seconds * SECOND_NS, request.before_seconds * SECOND_NS
        rows = [row for row in self.rows if self._after(row, low) and self._below(row, high)]
        rows = sorted(row for row in rows if row.id not in request.without_ids)
        if not self.ties_mirrored:
            sign = 1 if request.direction is Direction.ASC else -1
            return sorted(rows, key=lambda row: (sign * row.event_second, row.id))
        return rows if request.direction is Direction.ASC else rows[::-1]

    def _after(self, row: AuditRecord, low: int) -> bool:
        instant = row.event_ns // self.grain_ns * self.grain_ns
        return instant >= low if self.since_inclusive else instant > low

    def _below(self, row: AuditRecord, high: int) -> bool:
        instant = row.event_ns // self.grain_ns * self.grain_ns
        return instant <= high if self.before_inclusive else instant < high

    def _offset(self, request: PageRequest, size: int) -> int:
        if self.version is ApiVersion.V1:
            return (request.page - 1) * (size if self.offset_uses_ceiling else request.page_size)
        if request.cursor is None:
            return 0
        if self.cursor_expires_every and len(self.requests) % self.cursor_expires_every == 0:
            raise SourceProtocolError("cursor expired", status=400)
        return int(request.cursor.split(":")[0])

    def _sent_count(self, size: int) -> int:
        if self.random_fraction:
            return self._random.randint(1, size)
        if self.empty_pages and len(self.requests) % 3 == 2 and self.version is ApiVersion.V2:
            return 0
        return max(1, size - 1) if self.fewer_rows else size

    def _with_cursor(self, page: list[AuditRecord], offset: int, row_count: int) -> Page:
        if self.version is ApiVersion.V1:
            return Page(page)
        following = offset + len(page)
        count = len(self.requests)
        if self.omits_paging_facts or (self.cursor_lost_every and count % self.cursor_lost_every == 0 and page):
            return Page(page)
        if following >= row_count:
            return Page(page, None, states_end=self.states_end)
        if self.cursor_repeats_every and count % self.cursor_repeats_every == 0:
            return Page(page, "0:again")
        return Page(page, f"{following}:{'' if page else count}")
