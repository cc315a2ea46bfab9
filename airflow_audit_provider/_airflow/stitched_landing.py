"""Landing of a stitched history: an operator's run lands each version of the API into a dataset of its own.

Each version is landed as a task of that version alone would do it. Modules that only a run needs are imported where
they are used, because DAG files import this module.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from airflow_audit_provider._airflow.deferral import WaitingOperator

if TYPE_CHECKING:
    from airflow_audit_provider._airflow.run_context import RunAttempts
    from airflow_audit_provider.core.api.query import AuditQuery
    from airflow_audit_provider.core.archive.stitching import Stitching, StreamRun
    from airflow_audit_provider.core.ports import Clock
    from airflow_audit_provider.core.windows.run_window import RunWindow
    from airflow_audit_provider.core.windows.window import TimeWindow
    from airflow_audit_provider.pipelines.observer import PullOutcome
    from airflow_audit_provider.pipelines.pull_range import RangeOutcome

_EMPTY_V2 = (
    "Version 1 has records of the window %s, and version 2 has none after the cut-over (%s). If version 2 of your log "
    "begins later, land into another destination with that day as cut_over."
)


class Connected(Protocol):
    """What landing needs of a hook: a clock, and that its connections can be closed."""

    @property
    def clock(self) -> Clock:
        """The clock of the requests."""

    def close(self) -> None:
        """Closes the connections."""


class StitchedLanding(WaitingOperator):
    """Operator that can land both versions of an account's log below one destination."""

    destination: str
    destination_conn_id: str | None
    history: str | None
    cut_over: datetime | date | str | None
    overlap: timedelta | None
    partition_by: str | None
    reread_committed: bool
    timezone: str
    # The version of a stitched history that is being landed.
    _stream: str | None = None
    # The versions that were landed, with their outcomes.
    _landed: dict[str, tuple[PullOutcome | None, RangeOutcome | None]]
    # How the ids of the attempts of the run that is being landed are made.
    _attempts: RunAttempts
    outcome: PullOutcome | None
    range_outcome: RangeOutcome | None

    @property
    @abstractmethod
    def hook(self) -> Connected:
        """The hook of the task."""

    @abstractmethod
    def _query(self) -> AuditQuery: ...

    @abstractmethod
    def _divided(self, run_window: RunWindow) -> list[RunWindow]: ...

    @abstractmethod
    def _settled_at(self, run_window: RunWindow) -> datetime: ...

    @abstractmethod
    def _land_windows(self, windows: Sequence[RunWindow]) -> dict[str, Any]: ...

    @abstractmethod
    def _look_back(self, run_window: RunWindow) -> dict[str, Any]: ...

    @property
    def _landing_at(self) -> str:
        """The destination that is being landed: the task's own, or the folder of a version in a stitched history."""
        return self.destination if self._stream is None else self.stream_destination(self._stream)

    def stream_destination(self, version: str) -> str:
        """Returns the destination of a version's dataset in a stitched history."""
        return f"{self.destination.rstrip('/')}/{version}"

    def _land_stitched(self, context: Mapping[str, Any], run_window: RunWindow) -> dict[str, Any]:
        """Writes the window's records of each version that it has, waiting until it is settled; returns a summary.

        With ``partition_by``, what is settled is committed before the wait.
        """
        from airflow_audit_provider._airflow.stitched_history import (
            land_streams,
            stitched_summary,
            windows_without_v2,
        )
        from airflow_audit_provider.core.windows.window import count_of
        from airflow_audit_provider.exceptions import WindowNotSettledError

        windows = self._divided(run_window)
        wait = partial(self.wait_until, self._settled_at(run_window), "execute_settled", context, self.hook.clock)
        if self.partition_by is None or self.reread_committed:
            wait()
        with closing(self.hook):
            stitching = self._claim_root()
            land = partial(self._land_stream, stitching, windows[0])
            try:
                summaries = land_streams(stitching, windows, land)
            except WindowNotSettledError:
                wait()
                summaries = land_streams(stitching, windows, land)
        if lacking := windows_without_v2({version: _record_counts(*each) for version, each in self._landed.items()}):
            self.log.warning(_EMPTY_V2, lacking[0], count_of(len(lacking), "such window"))
        return stitched_summary(run_window.window, self.partition_by, stitching, summaries)

    def _claim_root(self) -> Stitching:
        """Returns the descriptor of the destination, which is created or checked first."""
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider._airflow.stitched_history import stitching_from
        from airflow_audit_provider.pipelines.stitching import claim_stitching

        self._stream = None
        asked = stitching_from(self._query(), self.cut_over, self.overlap, self.timezone)
        return claim_stitching(store_from_connection(self.destination, self.destination_conn_id), asked)

    def _land_stream(self, stitching: Stitching, first: RunWindow, stream: StreamRun) -> dict[str, Any]:
        """Writes the windows of one version, and reads late records of it; returns the summary, which may be empty.

        ``first`` is the first window of the run: late records before it are read also if it is not one of the version.
        """
        self._stream = stream.version
        if stream.windows:
            self.log.info("Landing version %s of the API into the folder %s", stream.version, stream.folder)
            summary = self._land_windows(stream.windows)
            self._landed[stream.version] = self.outcome, self.range_outcome
            return summary
        if stitching.may_have_late_records(stream.version, first.window.start):
            return self._look_back(first)
        return {}


def _record_counts(outcome: PullOutcome | None, in_range: RangeOutcome | None) -> Mapping[TimeWindow, int]:
    """Returns the number of records of each window that a version has in a run."""
    if in_range is not None:
        return in_range.record_counts
    return {} if outcome is None else {outcome.manifest.window: outcome.manifest.record_count}
