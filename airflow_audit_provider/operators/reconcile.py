"""Operator that compares a Logpush archive with a destination, and repairs the archive.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.configuration import conf
from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.arguments import check_timezone
from airflow_audit_provider._airflow.destinations import check_destination
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.core.limits import check_partition_by

if TYPE_CHECKING:
    from airflow_audit_provider.core.verification.reconcile.report import ReconcileReport
    from airflow_audit_provider.pipelines.reconcile import ReconcileSpec

_DEFAULT_MAX_MAP_LENGTH = 1024
SUMMARY_KEY = "summary"


class CloudflareLogpushReconcileOperator(BaseOperator):
    """Compares a Logpush archive with committed windows: repairs the archive, and returns what the dataset lacks.

    It sends no request to Cloudflare. Map the land operator over the result, to land the windows that are not
    committed and to read those again that lack a row of the archive::

        lacking = CloudflareLogpushReconcileOperator(task_id="reconcile", destination=DESTINATION, archive=ARCHIVE)
        CloudflareAuditLogsToObjectStorageOperator.partial(
            task_id="land", destination=DESTINATION
        ).expand_kwargs(lacking.output)

    :param destination: URI of the folder of the audit logs; of a stitched history, the folder of one version.
        (templated)
    :param archive: URI of the folder with the files of the Logpush job. (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param archive_conn_id: the connection of the archive's object store, also for the folder of the repair. (templated)
    :param start: start of the range, a datetime, date or RFC 3339 text; by default that of the first committed window.
        (templated)
    :param end: end of the range, exclusive; by default that of the last committed window. Records that Logpush has not
        delivered yet are missing, so let the range end a day before the run. (templated)
    :param division: ``hour``, ``day`` or ``month``: the length of the windows that are landed if they are missing.
    :param timezone: IANA zone of these windows, and of bounds without an offset.
    :param repair_to: URI of the folder for files with the records that the archive lacks; None to write nothing.
        (templated)
    :param renames: the Logpush field for each name that the job's record template gives.
    :param field_names: the columns of CSV files without a header, in their order.
    :param reach: files that were delivered up to this long after the end of the range are read, too.
    :param late_after: a record that is delivered more than this long after its event is late.
    :param privacy: the ``privacy`` of the land operator; it must be the one that the windows were written with. Without
        it, values that a privacy rule has changed are not compared.

    Returns a list of dicts with ``window_start window_end partition_by timezone``: whole windows of the division that
    are not committed, and committed ones that lack a row of the archive. It has at most ``max_map_length`` of Airflow's
    configuration; the log says how many more there are. It is empty, and the mapped task skipped, if there are none.
    The XCom ``summary`` has the counts.
    """

    template_fields: Sequence[str] = (
        *("destination", "archive", "destination_conn_id", "archive_conn_id"),
        *("start", "end", "repair_to"),
    )
    ui_color = "#f6e3c5"

    def __init__(
        self,
        *,
        destination: str,
        archive: str,
        destination_conn_id: str | None = None,
        archive_conn_id: str | None = None,
        start: datetime | date | str | None = None,
        end: datetime | date | str | None = None,
        division: Literal["hour", "day", "month"] = "day",
        timezone: str = "UTC",
        repair_to: str | None = None,
        renames: Mapping[str, str] | None = None,
        field_names: Sequence[str] = (),
        reach: timedelta = timedelta(days=1),
        late_after: timedelta = timedelta(hours=1),
        privacy: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.archive = archive
        self.destination_conn_id = destination_conn_id
        self.archive_conn_id = archive_conn_id
        self.start = start
        self.end = end
        self.division = division
        self.timezone = timezone
        self.repair_to = repair_to
        self.renames = renames
        self.field_names = field_names
        self.reach = reach
        self.late_after = late_after
        self.privacy = privacy
        check_partition_by(division)
        check_timezone(timezone)
        for uri in filter(None, (destination, archive, repair_to)):
            check_destination(uri)

    def execute(self, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Compares and repairs; returns the arguments of one mapped land task for each span the dataset lacks."""
        with translate_task_errors(self):
            report = self._reconcile()
        if context.get("ti") is not None:
            context["ti"].xcom_push(key=SUMMARY_KEY, value=report.summary())
        lacking = list(self._lacking(report))
        most = conf.getint("core", "max_map_length", fallback=_DEFAULT_MAX_MAP_LENGTH)
        if len(lacking) > most:
            self.log.warning("%d more spans remain for the next run", len(lacking) - most)
        return lacking[:most]

    def _lacking(self, report: ReconcileReport) -> Iterator[dict[str, Any]]:
        """Yields the land operator's arguments for each span and window that the dataset lacks something of."""
        from airflow_audit_provider.core.windows.division import windows_over
        from airflow_audit_provider.core.windows.window import TimeWindow

        for span in report.uncommitted:
            windows = windows_over(TimeWindow(span.start, span.end), self.division, self.timezone)
            # A part of a window would overlap the whole one that another DAG lands.
            whole = [one for one in windows if span.start <= one.start and one.end <= span.end]
            if whole:
                yield self._arguments(whole[0].start, whole[-1].end, self.division)
        for window in report.windows:
            if window.missing_here:
                # A run of one window always reads it again.
                yield self._arguments(window.start, window.end, None)

    def _arguments(self, start: datetime, end: datetime, partition_by: str | None) -> dict[str, Any]:
        bounds = {"window_start": start.isoformat(), "window_end": end.isoformat()}
        return {**bounds, "partition_by": partition_by, "timezone": self.timezone}

    def _reconcile(self) -> ReconcileReport:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.adapters.spill_file import SpillFile
        from airflow_audit_provider.core.verification.reconcile.report_text import report_text
        from airflow_audit_provider.pipelines.reconcile import Reconciliation
        from airflow_audit_provider.pipelines.reconcile_repair import check_can_repair, repair_archive
        from airflow_audit_provider.pipelines.stitching import check_one_version

        dataset = store_from_connection(self.destination, self.destination_conn_id)
        check_one_version(dataset)
        target = store_from_connection(self.repair_to, self.archive_conn_id) if self.repair_to else None
        archive = store_from_connection(self.archive, self.archive_conn_id)
        with closing(SpillFile()) as spill:
            compared = Reconciliation(self._spec(), dataset, spill)
            if target is not None:
                check_can_repair(compared)
            report = compared.run([archive], [] if target is None else [target])
            level = logging.INFO if report.is_equal else logging.WARNING
            self.log.log(level, "Compared the archive:\n%s", report_text(report))
            if target is not None:
                self.log.info("Repaired the archive: %s", repair_archive(compared, target))
        return report

    def _spec(self) -> ReconcileSpec:
        from airflow_audit_provider._airflow.secrets import open_privacy
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.pipelines.reconcile import ReconcileSpec

        start, end = read_bound("start", self.start, self.timezone), read_bound("end", self.end, self.timezone)
        spec = ReconcileSpec(start, end, reach=self.reach, late_after=self.late_after)
        form = spec.form._replace(renames=dict(self.renames or {}), field_names=tuple(self.field_names))
        return spec._replace(form=form, privacy=open_privacy(self.privacy))
