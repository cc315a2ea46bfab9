"""Addresses of the coverage page, as a FastAPI application that Airflow mounts.

::

    /                          the datasets that the user may read
    /d/<dataset>               one dataset: figures, calendar, gaps; with ?day=2026-11-23 the hours of a day
    /d/<dataset>/verify        when which windows were verified, and the chain of seals
    /d/<dataset>/w/<window>    the manifests of one window in words
    /static/<name>             style sheet and scripts

Invariant: each route but the static files asks for a user first, and each route of a dataset whether the user may read
it; an unknown dataset and one that the user may not read have the same answer. No route changes anything: a backfill is
started by the browser, with a POST to Airflow's own API.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException as AnyHttpError

from airflow_audit_provider._airflow.config import shows_changes
from airflow_audit_provider._airflow.coverage_page import access, views
from airflow_audit_provider._airflow.coverage_page.changes_view import changes_view
from airflow_audit_provider._airflow.coverage_page.pages import HEADERS, page, static_file
from airflow_audit_provider._airflow.coverage_page.readings import WAITED_SECONDS, Reading, Readings, log_detail
from airflow_audit_provider._airflow.coverage_page.runs import runs_of
from airflow_audit_provider._airflow.coverage_page.sources import Source, sources
from airflow_audit_provider._airflow.coverage_page.verify_view import verify_view
from airflow_audit_provider._airflow.coverage_page.view_cache import ViewCache
from airflow_audit_provider._airflow.coverage_page.window_view import window_view
from airflow_audit_provider._airflow.observability.log_lines import window_text
from airflow_audit_provider._airflow.page_addresses import dashboard_page, object_page
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.archive.object_keys import WindowKeys, window_in
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.verification.findings import printable
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT
from airflow_audit_provider.exceptions import AuditProviderError
from airflow_audit_provider.pipelines.manifest_index import IndexMemory
from airflow_audit_provider.pipelines.overview import Overview, bounds_of, overview
from airflow_audit_provider.pipelines.plan import DEFAULT_DAG_ID
from airflow_audit_provider.pipelines.seal_objects import SealObjects, read_chain_by_index
from airflow_audit_provider.pipelines.window_history import WindowHistory, window_history

log = logging.getLogger(__name__)
_USER = Depends(access.current_user())
# Seconds; the second form leaves out the query, because `again` would begin another reading each time.
_REFRESH = "5"
_REFRESH_WITHOUT_QUERY = f"{_REFRESH};url=?"
# What a window of an overview takes, and how many times the bytes of a manifest or seal its decoded form takes.
_WINDOW_BYTES, _DECODED = 400, 4
# Readings of all datasets share it, however many there are at a time.
_INDEX_MEMORY = IndexMemory()
_WORDS = {
    401: "You are not logged in. Log in to Airflow, then open this page again.",
    403: (
        "There is no such dataset, or you may not read it. Go back to the list, or ask an administrator of Airflow for "
        "the right to read its asset."
    ),
    404: "There is no such page. Go back to the list of datasets.",
}
_INVALID = (
    "The page cannot be shown, because Airflow's configuration is invalid. See the log of the API server for the "
    "reason, and correct coverage_destinations in section [cloudflare_audit_logs]."
)


def build(
    list_sources: Callable[[], list[Source]] = sources,
    clock: Clock | None = None,
    waited_seconds: float = WAITED_SECONDS,
) -> FastAPI:
    """Returns the application."""
    app = FastAPI(title="Coverage of Cloudflare audit logs", docs_url=None, redoc_url=None, openapi_url=None)
    site = _Site(list_sources, clock or SystemClock(), waited_seconds)
    app.add_api_route("/", site.datasets, methods=["GET"])
    app.add_api_route("/d/{dataset_id}", site.dataset, methods=["GET"])
    app.add_api_route("/d/{dataset_id}/verify", site.verify, methods=["GET"])
    app.add_api_route("/d/{dataset_id}/w/{name}", site.window, methods=["GET"])
    app.add_api_route("/static/{name}", _static, methods=["GET"])
    app.add_exception_handler(AnyHttpError, _refused)
    app.add_exception_handler(AuditProviderError, _failed)
    return app


class _Site:
    """The pages, which share the readings of the datasets."""

    def __init__(self, list_sources: Callable[[], list[Source]], clock: Clock, waited_seconds: float) -> None:
        self._list_sources = list_sources
        self._clock = clock
        self._overviews = Readings[Overview](clock, waited_seconds, lambda seen: _WINDOW_BYTES * len(seen.windows))
        self._windows = Readings[WindowHistory](clock, waited_seconds, lambda found: _DECODED * found.size_bytes)
        self._seals = Readings[SealObjects](clock, waited_seconds, _weight_of_seals)
        self._views = ViewCache()

    def datasets(self, version: str = "", account: str = "", calendar: str = "", user: Any = _USER) -> Response:
        """Lists the datasets that the user may read; with ``calendar``, shows the only one that the filters leave."""
        if not access.may_read_assets(user):
            raise HTTPException(403)
        found = access.readable(user, self._list_sources())
        started = [(source, self._start(source)) for source in found]
        rows = [self._row(source, self._overviews.wait(reading)) for source, reading in started]
        begun = [(source, self._begin_streams(source, reading, user)) for source, reading in started]
        streams = {source.id: self._streams(readings) for source, readings in begun}
        shown = [row for row in rows if row.is_chosen(version, account)]
        is_waiting = any(row.is_waiting for row in rows) or any(map(_is_waiting, streams.values()))
        if calendar and len(shown) == 1 and not is_waiting:
            chosen = next((one.row.id for one in streams[shown[0].id] if one.version == version), shown[0].id)
            return RedirectResponse(f"d/{chosen}", 303, HEADERS)
        return page(
            "datasets.html",
            "",
            refresh=_REFRESH if is_waiting else "",
            rows=shown,
            streams=streams,
            hidden_count=len(rows) - len(shown),
            choices=views.choices(rows, version, account),
        )

    def _choices(self, source: Source, own: views.DatasetRow, user: Any) -> views.Choices:
        """Returns the filters on the page of a dataset; datasets that are not read yet begin to be, without a wait."""
        rows = [self._row(one, self._start(one)) for one in access.readable(user, self._list_sources())]
        version = source.version or (own.versions[0] if len(own.versions) == 1 else "")
        return views.choices([*rows, own], version, own.account)

    def dataset(self, dataset_id: str, day: str = "", again: str = "", user: Any = _USER) -> Response:
        """Shows one dataset, and the hours of a day."""
        source = self._source(dataset_id, user)
        chosen = _day(day) if day else None
        reading = self._overviews.wait(self._start(source, again=bool(again)))
        if reading.result is None:
            return _unread("../", source, reading, f"{_REFRESH_WITHOUT_QUERY}day={chosen}" if chosen else None)
        if reading.result.stitching is not None:
            return self._stitched(source, reading, reading.result, user, again=bool(again))
        return page(
            "dataset.html",
            "../",
            source=source,
            siblings=_readable_streams(source.root, user) if source.root else [],
            choices=self._choices(source, self._row(source, reading), user),
            read_at=views.instant_text(reading.began_at),
            view=self._view(source, reading, reading.result),
            day=self._day_view(source, reading, reading.result, chosen) if chosen else None,
            legend=views.legend(),
            bar_height=views.BAR_HEIGHT,
            may_start=access.may_backfill(user, source.dag_id or DEFAULT_DAG_ID),
        )

    def _stitched(
        self, source: Source, reading: Reading[Overview], seen: Overview, user: Any, *, again: bool
    ) -> Response:
        """Shows the root of a stitched history: a row of months for each version."""
        begun = self._begin_streams(source, reading, user, again=again)
        streams = self._streams(begun)
        return page(
            "stitched.html",
            "../",
            refresh=_REFRESH_WITHOUT_QUERY if _is_waiting(streams) else "",
            source=source,
            read_at=views.instant_text(min([reading.began_at, *(one.began_at for _, one in begun)])),
            view=self._view(source, reading, seen),
            choices=self._choices(source, self._row(source, reading), user),
            streams=streams,
            legend=views.legend(),
        )

    def _begin_streams(
        self, source: Source, reading: Reading[Overview], user: Any, *, again: bool = False
    ) -> list[tuple[Source, Reading[Overview]]]:
        """Begins to read the versions of a stitched history that the user may read; none for another dataset."""
        if reading.result is None or reading.result.stitching is None:
            return []
        return [(one, self._start(one, again=again)) for one in _readable_streams(source, user)]

    def _streams(self, started: list[tuple[Source, Reading[Overview]]]) -> list[views.StreamView]:
        """Returns the versions of a stitched history whose reading was begun."""
        found = [(one, self._overviews.wait(begun)) for one, begun in started]
        return [
            views.StreamView(
                one.version,
                self._row(one, begun),
                views.band(self._view(one, begun, begun.result)) if begun.result else (),
            )
            for one, begun in found
        ]

    def _row(self, source: Source, reading: Reading[Overview]) -> views.DatasetRow:
        if reading.result is None:
            return views.unread_row(source, reading.error)
        seen = reading.result
        return self._views.get(
            ("row", source.id), reading, self._clock.now(), lambda now: views.dataset_row(source, seen, now)
        )

    def _view(self, source: Source, reading: Reading[Overview], seen: Overview) -> views.DatasetView:
        return self._views.get(
            ("dataset", source.id), reading, self._clock.now(), lambda now: views.dataset_view(seen, now, source.dag_id)
        )

    def _day_view(self, source: Source, reading: Reading[Overview], seen: Overview, day: date) -> views.DayView:
        return self._views.get(
            ("day", source.id, str(day)), reading, self._clock.now(), lambda now: views.day_view(seen, day, now)
        )

    def window(self, dataset_id: str, name: str, again: str = "", user: Any = _USER) -> Response:
        """Shows the manifests of one window."""
        source = self._source(dataset_id, user)
        keys = _window_keys(name)
        started = self._windows.start(
            f"{dataset_id}/{name}",
            lambda: window_history(source.open(), keys, with_changes=shows_changes()),
            again=bool(again),
        )
        reading = self._windows.wait(started)
        if reading.result is None:
            return _unread("../../../", source, reading)
        if not reading.result.generation_count:
            raise HTTPException(
                404,
                "There is no such window: it was not committed, or was removed. Choose one on the dataset's page.",
            )
        return page(
            "window.html",
            "../../../",
            source=source,
            name=window_text(keys.window),
            view=window_view(reading.result),
            changes=changes_view(reading.result.changes) if reading.result.changes is not None else None,
            objects=[
                (f"{source.uri}/{one.key}", object_page(f"{source.uri}/{one.key}"))
                for one in reading.result.generations
            ],
            runs=runs_of(source, keys.window, lambda dag_id: access.may_read_runs(user, dag_id)),
            dashboard=_dashboard(reading.result),
        )

    def verify(self, dataset_id: str, again: str = "", user: Any = _USER) -> Response:
        """Shows what the records of verifications and the seals state."""
        source = self._source(dataset_id, user)
        seals = self._seals.start(dataset_id, lambda: read_chain_by_index(source.open()), again=bool(again))
        reading = self._overviews.wait(self._start(source, again=bool(again)))
        sealed = self._seals.wait(seals)
        if reading.result is None:
            return _unread("../../", source, reading)
        if sealed.result is None:
            return _unread("../../", source, sealed)
        return page("verify.html", "../../", source=source, view=verify_view(reading.result.verified, sealed.result))

    def _source(self, dataset_id: str, user: Any) -> Source:
        """Returns a dataset; ends the request if there is none, or the user may not read it.

        Both have the same answer, so that nobody learns which datasets exist by trying the names of buckets. Without
        any right the answer does not tell either that the configuration is invalid.
        """
        if not access.may_read_assets(user):
            raise HTTPException(403)
        listed = self._list_sources()
        known = [*listed, *(stream for source in listed for stream in source.streams)]
        found = next((source for source in known if source.id == dataset_id), None)
        if found is None or not access.may_read(user, found):
            raise HTTPException(403)
        return found

    def _start(self, source: Source, *, again: bool = False) -> Reading[Overview]:
        # A folder of a stitched history that is also a dataset of the list has another connection there, and no bounds.
        name = f"{source.root.id}/{source.id}" if source.root else source.id
        return self._overviews.start(name, lambda: _read(source), again=again)


def _read(source: Source) -> Overview:
    """Returns what a dataset holds; of a version in a stitched history only its part of the time is due."""
    bounds = bounds_of(source.root.open(), source.version) if source.root else (None, None)
    seen = overview(source.open(), note=log_detail, memory=_INDEX_MEMORY)
    return msgspec.structs.replace(seen, bounds=bounds)


def _readable_streams(root: Source, user: Any) -> list[Source]:
    """Returns the versions of a stitched history that a user may read."""
    return access.readable(user, root.streams)


def _weight_of_seals(sealed: SealObjects) -> int:
    return _DECODED * sum(map(len, sealed.chain.objects.values()))


def _window_keys(name: str) -> WindowKeys:
    """Returns the keys of a window by its name in an address; ends the request for a name that no window has."""
    window = window_in(name)
    if window is None or WindowKeys(window, window.start.date()).name != name:
        raise HTTPException(404, "There is no such window. Choose it on the page of its dataset.")
    return WindowKeys(window, window.start.date())


def _dashboard(history: WindowHistory) -> str:
    """Returns the address of the audit log in Cloudflare's dashboard, empty if no manifest states the account."""
    queries = (one.manifest.query for one in history.generations if one.manifest is not None)
    query = next(queries, None)
    return "" if query is None else dashboard_page(str(query.scope), query.scope_id)


def _unread(root: str, source: Source, reading: Reading[Any], refresh: str | None = None) -> Response:
    """Shows that a dataset could not be read, or not yet."""
    if reading.error:
        return page("unread.html", root, status=502, source=source, error=reading.error)
    return page("unread.html", root, status=503, source=source, error="", refresh=refresh or _REFRESH_WITHOUT_QUERY)


def _is_waiting(streams: list[views.StreamView]) -> bool:
    return any(one.row.is_waiting for one in streams)


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise HTTPException(400, "The day is invalid. Give it as in 2026-11-23.") from None
    if not EARLIEST_AT.date() < day < LATEST_AT.date():
        raise HTTPException(400, "The day is outside of the calendar. Give a day such as 2026-11-23.")
    return day


def _static(name: str) -> Response:
    found = static_file(name)
    if found is None:
        raise HTTPException(404)
    return found


def _refused(request: Request, error: Exception) -> Response:
    """Shows why a request is not answered."""
    assert isinstance(error, AnyHttpError), "the application registers it for these errors"
    # An auth manager may give an object in the place of a text.
    detail = str(error.detail)
    is_own = error.status_code == 400 or detail.startswith("There is")
    fallback = "The request cannot be answered. Go back to the list of datasets."
    return _error_page(request, detail if is_own else _WORDS.get(error.status_code, fallback), error.status_code)


def _failed(request: Request, error: Exception) -> Response:
    """Shows that the configuration is invalid. The error may quote all of it, also what this user may not read."""
    assert isinstance(error, AuditProviderError), "the application registers it for these errors"
    log.error("The coverage page cannot be shown. %s", printable(error.message))
    return _error_page(request, _INVALID, 500)


def _error_page(request: Request, words: str, status: int) -> Response:
    """Returns the page of an error; the list of datasets is as many levels up as the address has."""
    depth = max(0, request.scope["path"].removeprefix(request.scope.get("root_path", "")).count("/") - 1)
    return page("error.html", "../" * depth, status=status, words=words, status_code=status)
