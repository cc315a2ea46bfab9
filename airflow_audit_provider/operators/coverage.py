"""Operator that finds the gaps of a destination and hands them to a mapped land task.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.configuration import conf
from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.arguments import check_times, check_timezone
from airflow_audit_provider._airflow.config import history_starts_at, settle_delay_or_configured
from airflow_audit_provider._airflow.destinations import check_destination
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.assets.audit_logs import audit_log_gap_alias, audit_log_gap_asset
from airflow_audit_provider.core.limits import (
    DEFAULT_LATE_DELAY,
    check_gap_reasons,
    check_late_delay,
    check_length,
    check_max_gaps,
    check_partition_by,
)

if TYPE_CHECKING:
    from airflow_audit_provider.core.verification.gaps import Gap, GapReport

_DEFAULT_MAX_MAP_LENGTH = 1024
SUMMARY_KEY = "summary"


class CloudflareAuditLogsCoverageOperator(BaseOperator):
    """Finds gaps of a destination and returns arguments of the land operator for each gap, the oldest gap first.

    Map the land operator over the result::

        gaps = CloudflareAuditLogsCoverageOperator(task_id="find_gaps", destination=DESTINATION)
        CloudflareAuditLogsToObjectStorageOperator.partial(
            task_id="fill_gap", destination=DESTINATION
        ).expand_kwargs(gaps.output)

    :param destination: URI of the folder of the audit logs. (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param start: start of the range, a datetime, date or RFC 3339 text; by default that of the first committed window.
        (templated)
    :param end: end of the range, exclusive; by default that of the last window that is settled. (templated)
    :param division: ``hour``, ``day`` or ``month``: the length of the destination's windows.
    :param timezone: IANA zone of the windows, and of bounds without an offset.
    :param settle_delay: the land operator's; by default from the configuration.
    :param reasons: which gaps are handed over: ``missing``, ``late`` and ``unverified``.
    :param late_delay: how long after its end a window may still get records. A window that was committed within this
        time is late, and is read again once, after this time.
    :param max_gaps: how many gaps are handed over at most; by default ``max_map_length`` of Airflow's configuration.
        Late ones are all handed over, because the next run does not find them again. The log and the XCom ``summary``
        say how many of the others remain for the next run.
    :param api_version: ``v1`` or ``v2``: the version of the log. It is used only as long as nothing is committed.
    :param send_metrics: whether the gaps are counted in metrics; without ``end`` also how fresh the data is. Set it to
        False in a task that waits for a window: otherwise each attempt counts a gap, although the window is not due.
    :param max_event_age: how old the newest committed record may be, measured at ``end``, or now if there is no
        ``end``. If it is older and there is no gap to hand over, the task fails and is retried. With a gap it hands the
        gap over and logs a warning. To fail after the gaps are filled, add a second coverage task with
        ``reasons=("missing",)`` after the land task. Omit ``max_event_age`` if the account can be quiet for so long.

    A gap is missing if no window of it was committed, late if it was committed less than ``late_delay`` after its end,
    and unverified if no record of a passed verification covers its newest generation. Adjacent windows with one reason
    are one gap of at most 31 days. Missing windows that the API no longer has whole, and missing parts of a window, are
    reported and not handed over.

    Returns a list of dicts with ``window_start window_end partition_by timezone reread_committed``, empty without a
    gap; the mapped task is then skipped. The XCom ``summary`` has the counts by reason and the days left. If
    ``audit_log_gap_alias(destination)`` is an outlet, each of these gaps, and each lost one, creates an event of the
    asset ``audit_log_gap_asset(destination)``.
    """

    template_fields: Sequence[str] = ("destination", "destination_conn_id", "start", "end")
    ui_color = "#dce6f2"

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        start: datetime | date | str | None = None,
        end: datetime | date | str | None = None,
        division: Literal["hour", "day", "month"] = "day",
        timezone: str = "UTC",
        settle_delay: timedelta | None = None,
        reasons: Sequence[Literal["missing", "late", "unverified"]] = ("missing", "late"),
        late_delay: timedelta = DEFAULT_LATE_DELAY,
        max_gaps: int | None = None,
        api_version: Literal["v1", "v2"] = "v1",
        send_metrics: bool = True,
        max_event_age: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.start = start
        self.end = end
        self.division = division
        self.timezone = timezone
        self.settle_delay = settle_delay_or_configured(settle_delay)
        self.reasons = reasons
        self.late_delay = late_delay
        self.max_gaps = max_gaps
        self.api_version = api_version
        self.send_metrics = send_metrics
        self.max_event_age = max_event_age
        check_destination(destination)
        check_partition_by(division)
        check_timezone(timezone)
        check_times(None, self.settle_delay)
        check_gap_reasons(reasons)
        check_late_delay(late_delay)
        check_max_gaps(max_gaps)
        check_length("max_event_age", max_event_age)

    def execute(self, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Finds the gaps; returns the arguments of one mapped land task for each."""
        with translate_task_errors(self):
            report = self._find(context)
            if self.send_metrics and self.end is None:
                self._send_freshness()
            if self.max_event_age is not None and not report.window_counts()["missing"]:
                self._check_event_age(self.max_event_age, has_gaps=bool(report.due))
        self._log_gaps(report)
        if self.send_metrics:
            self._count(report)
        self._publish(context, report)
        return [self._arguments(gap) for gap in report.due]

    def _find(self, context: Mapping[str, Any]) -> GapReport:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider._airflow.run_context import previous_success_at
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.core.verification.gaps import GapReason
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.pipelines.gaps import GapRequest, find_gaps

        request = GapRequest(
            start=read_bound("start", self.start, self.timezone),
            end=read_bound("end", self.end, self.timezone),
            division=self.division,
            timezone=self.timezone,
            settle_delay=self.settle_delay,
            reasons=tuple(map(GapReason, self.reasons)),
            late_delay=self.late_delay,
            late_seen_at=previous_success_at(context),
            max_count=self._max_count(),
            api_version=self.api_version,
            history_of=history_starts_at,
        )
        store = store_from_connection(self.destination, self.destination_conn_id)
        return find_gaps(store, SystemClock().now(), request)

    def _max_count(self) -> int:
        allowed = conf.getint("core", "max_map_length", fallback=_DEFAULT_MAX_MAP_LENGTH)
        return allowed if self.max_gaps is None else min(allowed, self.max_gaps)

    def _arguments(self, gap: Gap) -> dict[str, Any]:
        """Returns the land operator's arguments for a gap."""
        is_committed = gap.reason != "missing"
        return {
            "window_start": gap.start.isoformat(),
            "window_end": gap.end.isoformat(),
            "partition_by": self.division if gap.is_divided else None,
            "timezone": self.timezone,
            # A run of one window always reads it again.
            "reread_committed": is_committed and gap.is_divided,
        }

    def _log_gaps(self, report: GapReport) -> None:
        if report.start is None:
            self.log.info("Nothing is committed, and no start is given: there is no range to look for gaps in")
        elif not report.due and not report.other:
            self.log.info("No gap from %s to %s", report.start, report.end)
        else:
            self.log.info("Gaps from %s to %s:\n%s", report.start, report.end, report.text())
        counts = report.window_counts()
        if counts["lost"]:
            self.log.warning("%d windows are lost for good: Cloudflare keeps audit logs for 18 months", counts["lost"])
        if counts["partial"]:
            self.log.warning(
                "%d gaps are parts of a %s in %s and are not filled: give the division and timezone of the windows",
                counts["partial"],
                self.division,
                self.timezone,
            )
        if report.remaining_count:
            self.log.warning("%d more gaps remain for the next run", report.remaining_count)

    def _count(self, report: GapReport) -> None:
        """Sends one metric for each gap, and the days left of the one that expires first."""
        from airflow_audit_provider._airflow.observability.metrics import Metrics

        metrics = Metrics({})
        for gap in (*report.due, *report.other):
            metrics.add("coverage.gaps", 1, reason=str(gap.reason))
            metrics.add("coverage.windows", gap.window_count, reason=str(gap.reason))
        if report.due:
            metrics.set("coverage.days_left", min(gap.days_left(report.now) for gap in report.due))

    def _check_event_age(self, most: timedelta, *, has_gaps: bool) -> None:
        """Raises ``NotCommittedError``, which Airflow retries, if no committed record is as new as it should be.

        A task that fails hands nothing over, so with gaps it only warns: they may be the reason.
        """
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.core.windows.window import TimeWindow
        from airflow_audit_provider.exceptions import NotCommittedError
        from airflow_audit_provider.pipelines.freshness import last_event_in

        end = read_bound("end", self.end, self.timezone) or SystemClock().now()
        span = TimeWindow(end - most, end)
        found = last_event_in(store_from_connection(self.destination, self.destination_conn_id), span)
        if found is None and has_gaps:
            self.log.warning(
                "No record of %s is committed. The gaps are handed over first. If the data may not be so old, check "
                "max_event_age in a second task after the land task",
                span,
            )
            return
        if found is None:
            raise NotCommittedError(
                f"No record of {span} is committed, so records are late or nothing happened in the account. Wait for "
                "the next attempt. If the account can be quiet for so long, set a longer max_event_age."
            )
        self.log.info("The newest record in %s is of %s", span, found)

    def _send_freshness(self) -> None:
        """Sends how old the newest window and the newest record are; a range with an end says nothing about now."""
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider._airflow.observability.metrics import Metrics
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.pipelines.freshness import freshness

        found = freshness(store_from_connection(self.destination, self.destination_conn_id), SystemClock().now())
        metrics = Metrics({})
        if found.landed_lag_seconds is not None:
            metrics.set("freshness.landed_lag_seconds", found.landed_lag_seconds)
        if found.last_event_age_seconds is not None:
            metrics.set("freshness.last_event_age_seconds", found.last_event_age_seconds)

    def _publish(self, context: Mapping[str, Any], report: GapReport) -> None:
        """Pushes the summary, and adds an asset event for each gap if the task has the alias as an outlet."""
        if context.get("ti") is not None:
            context["ti"].xcom_push(key=SUMMARY_KEY, value=report.summary())
        alias = audit_log_gap_alias(self.destination)
        if "outlet_events" in context and alias in self.outlets:
            for gap in (*report.lost, *report.due):
                context["outlet_events"][alias].add(audit_log_gap_asset(self.destination), extra=gap.facts(report.now))
