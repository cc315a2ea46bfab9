"""The request to read one window: what every class of the page protocol needs to know before the first page."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, Direction
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One window to read, in one direction, with full pages of ``page_size`` rows (1 to 1000).

    ``horizon`` is a window at least as wide as ``window``, None for ``window`` itself. Queries may extend to its far
    end: a row past the end of ``window`` then proves the end without a further request.

    ``known_second`` is a whole second since the epoch that is known to contain a record, inside ``window`` or before
    the bound where reading starts. An empty response then proves nothing by itself.

    ``proves_empty`` is whether further requests must prove that the window is empty. A poll whose range is requested
    again by the next one needs no proof.

    Raises ``ConfigurationError`` for a page size out of range.
    """

    version: ApiVersion
    window: TimeWindow
    direction: Direction = Direction.ASC
    page_size: int = MAX_PAGE_SIZE
    horizon: TimeWindow | None = None
    known_second: int | None = None
    proves_empty: bool = True

    def __post_init__(self) -> None:
        # Cloudflare API docs, Audit Logs v1 `per_page` and v2 `limit`: minimum 1, maximum 1000.
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            raise ConfigurationError(f"A page size of {self.page_size} is impossible. Give 1 to {MAX_PAGE_SIZE}.")

    @property
    def query_window(self) -> TimeWindow:
        """The window that queries may cover: the horizon, or the window itself without one."""
        return self.horizon or self.window

    @property
    def log_continues(self) -> bool:
        """Whether queries may return rows past the end of the window."""
        return self.query_window.end > self.window.end
