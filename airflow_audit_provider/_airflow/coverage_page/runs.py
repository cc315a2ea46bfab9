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
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant

# The extra of an event is JSON, which not every database can search; these are the events of months of hourly runs.
_MOST_EVENTS = 5000
_MOST_LISTED = 50
# As many windows as the land operator lists in an event.
_MOST_LISTED_WINDOWS = 100


class Event(NamedTuple):
    """An asset event and the task that created it."""

    extra: Mapping[str, Any]
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    at: datetime


class Run(NamedTuple):
    """A run that landed a window, with the addresses of the run and of its task, whose page has the log.

    ``words`` say what it did, and ``wrote`` is the generation that it wrote, None if the event states none.
    """

    words: str
    wrote: int | None
    name: str
    at: str
    run_page: str
    task_page: str


def runs_of(source: Source, window: TimeWindow, may_read: Callable[[str], bool]) -> list[Run]:
    """Returns the newest runs that landed a window, the newest first."""
    if not source.asset_ids:
        return []
    return list(islice(matching(_events(source), window, may_read, source.version), _MOST_LISTED))


def matching(
    events: Iterable[Event], window: TimeWindow, may_read: Callable[[str], bool], version: str = ""
) -> Iterator[Run]:
    """Yields the runs of the events that state a window; an extra can hold anything.

    ``version`` is that of the window's dataset in a stitched history, empty for any other dataset.
    """
    keys = WindowKeys(window, window.start.date())
    # Some auth managers ask a server for each answer, and thousands of events can state one window.
    may_read = cache(may_read)
    for event in events:
        did = _deed(event.extra, version, keys)
        if did is not None and may_read(event.dag_id):
            run = f"{_root()}/dags/{quote(event.dag_id, safe='')}/runs/{quote(event.run_id, safe='')}"
            task = f"{run}/tasks/{quote(event.task_id, safe='')}"
            mapped = f"{task}/mapped/{event.map_index}" if event.map_index >= 0 else task
            yield Run(*did, f"{event.dag_id}, {event.run_id}", format_instant(event.at), run, mapped)


def _deed(extra: object, version: str, keys: WindowKeys) -> tuple[str, int | None] | None:
    """Returns what a run did with a window by its event's extra, and which generation it wrote; None if nothing."""
    if version and isinstance(extra, Mapping) and isinstance(extra.get("streams"), Mapping):
        extra = extra["streams"].get(version)
    if not isinstance(extra, Mapping):
        return None
    late = extra.get("late_windows")
    added = _number(late.get(keys.name)) if isinstance(late, Mapping) else None
    if added is not None:
        return f"added late records, generation {added}", added
    return _landed(extra, keys)


def _landed(extra: Mapping[str, Any], keys: WindowKeys) -> tuple[str, int | None] | None:
    """Returns what a run did with a window of its own, or of its range; None if it is about other windows."""
    try:
        start, end = (datetime.fromisoformat(extra[name]) for name in ("window_start", "window_end"))
        if not (start <= keys.window.start and keys.window.end <= end):
            return None
    except (KeyError, TypeError, ValueError):
        return None
    number = _number(extra.get("generation")) if (start, end) == (keys.window.start, keys.window.end) else None
    if number is not None and extra.get("committed") is False:
        return f"found generation {number} committed", None
    number = number or _listed(extra.get("windows"), keys)
    return (
        ("landed a range that contains this window", None)
        if number is None
        else (f"committed generation {number}", number)
    )


def _listed(windows: object, keys: WindowKeys) -> int | None:
    """Returns the generation of a window in the list of those that a range's run committed, None if it is not there."""
    for one in windows[:_MOST_LISTED_WINDOWS] if isinstance(windows, list) else ():
        key = one[-1] if isinstance(one, list) and one else None
        number = keys.generation_of(key) if isinstance(key, str) else None
        if number is not None:
            return number
    return None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


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
