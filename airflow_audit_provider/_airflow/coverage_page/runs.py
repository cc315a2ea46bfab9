"""Finds the DAG runs that landed a window, by the events of the dataset's asset.

Invariant: only runs of DAGs that the user may read are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from airflow_audit_provider._airflow.coverage_page.sources import Source
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant

# The extra of an event is JSON, which not every database can search; these are the events of months of hourly runs.
_MOST_EVENTS = 5000
_MOST_LISTED = 50


class Event(NamedTuple):
    """An asset event and the task that created it."""

    extra: Mapping[str, Any]
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    at: datetime


class Run(NamedTuple):
    """A run that landed a window, with the addresses of the run and of its task, whose page has the log."""

    name: str
    at: str
    run_page: str
    task_page: str


def runs_of(source: Source, window: TimeWindow, may_read: Callable[[str], bool]) -> list[Run]:
    """Returns the newest runs that landed a window, the newest first."""
    return list(islice(matching(_events(source), window, may_read), _MOST_LISTED)) if source.asset_ids else []


def matching(events: Iterable[Event], window: TimeWindow, may_read: Callable[[str], bool]) -> Iterator[Run]:
    """Yields the runs of the events that state a window; an extra can hold anything."""
    # Some auth managers ask a server for each answer, and thousands of events can state one window.
    may_read = cache(may_read)
    for event in events:
        if _states(event.extra, window) and may_read(event.dag_id):
            run = f"{_root()}/dags/{quote(event.dag_id, safe='')}/runs/{quote(event.run_id, safe='')}"
            task = f"{run}/tasks/{quote(event.task_id, safe='')}"
            mapped = f"{task}/mapped/{event.map_index}" if event.map_index >= 0 else task
            yield Run(f"{event.dag_id}, {event.run_id}", format_instant(event.at), run, mapped)


def _states(extra: object, window: TimeWindow) -> bool:
    """Returns whether an event's extra is the summary of a window, or of a range around it."""
    if not isinstance(extra, Mapping):
        return False
    try:
        start, end = (datetime.fromisoformat(extra[name]) for name in ("window_start", "window_end"))
        return start <= window.start and window.end <= end
    except (KeyError, TypeError, ValueError):
        return False


def _root() -> str:
    from airflow.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def _events(source: Source) -> list[Event]:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    one = AssetEvent
    columns = (one.extra, one.source_dag_id, one.source_run_id, one.source_task_id, one.source_map_index, one.timestamp)
    wanted = select(*columns).where(one.asset_id.in_(map(int, source.asset_ids)), one.source_dag_id.is_not(None))
    with create_session() as session:
        found = session.execute(wanted.order_by(one.timestamp.desc()).limit(_MOST_EVENTS)).all()
    return [
        Event(extra, dag, run or "", task or "", -1 if index is None else index, at)
        for extra, dag, run, task, index, at in found
    ]
