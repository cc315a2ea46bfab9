"""Operator that writes the audit logs of a run's window to object storage.

It translates a task into a ``PullSpec``, and the outcome into an XCom and an asset event. Modules that only a run needs
are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf

from airflow_audit_provider._airflow.arguments import (
    check_erasure,
    check_lake,
    check_partitioning,
    check_privacy,
    check_query,
    check_shared_filters,
    check_stitching,
    check_times,
    check_tuning,
)
from airflow_audit_provider._airflow.config import (
    concurrency_or_configured,
    configured_edges_pause,
    history_starts_at,
    max_part_bytes_or_configured,
    settle_delay_or_configured,
)
from airflow_audit_provider._airflow.destinations import check_destination, dataset_uri
from airflow_audit_provider._airflow.faster_imports import collector_paused, one_linear_algebra_thread
from airflow_audit_provider._airflow.stitched_landing import StitchedLanding
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.core.limits import DEFAULT_CONN_ID, DEFAULT_PARTITION_KEY_FORMAT, HIVE, KEEP_ODD_RECORDS
from airflow_audit_provider.formats.ocsf.severity import checked_overrides
from airflow_audit_provider.formats.options import checked_compression
from airflow_audit_provider.links.audit_logs import CloudflareDashboardLink, CoverageLink, ManifestLink

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from airflow_audit_provider._airflow.observability.task_observer import TaskObserver
    from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
    from airflow_audit_provider.core.api.query import AuditQuery
    from airflow_audit_provider.core.ports import Store
    from airflow_audit_provider.core.windows.run_window import RunWindow
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook
    from airflow_audit_provider.pipelines.observer import PullOutcome
    from airflow_audit_provider.pipelines.pull_range import RangeOutcome
    from airflow_audit_provider.pipelines.pull_spec import PullSpec


class CloudflareAuditLogsToObjectStorageOperator(StitchedLanding):
    """Writes the Cloudflare audit logs of one window, half-open ``[start, end)``, below a destination.

    The window is the run's: explicit bounds, else the partition, else the data interval. A run without any of them
    fails with an error that names the remedy, and so does a zero-length interval without ``window_length``. A window is
    committed by its manifest, which is written last; an empty window has one too. Idempotent: a second run changes no
    byte, and late records are added as the next generation. With ``partition_by``, the run's window is divided into
    hours, days or months, each of which is committed as a window of its own.

    :param destination: URI of a folder, local or on S3, GCS or Azure. Characters such as ``#``, ``?``, ``%`` and ``*``
        are refused. (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param cloudflare_conn_id: a connection of type ``cloudflare``. (templated)
    :param account_id: 32 hexadecimal digits; by default the connection's. (templated)
    :param organization_id: for the organization scope of version 2; by default the connection's. (templated)
    :param scope: ``account``, ``user`` (version 1) or ``organization`` (version 2); by default the scope of the given
        id, else of the connection's id (``account`` if the connection has both).
    :param api_version: ``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``. They return different
        records, so give each its own destination.
    :param filters: the API's filters, for example ``{"actor_email": "a@example.com"}``. (templated)
    :param file_format: ``jsonl``, ``csv`` or ``parquet``.
    :param compression: ``gzip``, ``zstd`` or ``none``; by default gzip, for Parquet zstd.
    :param schema: ``raw``, the records as the API sent them; ``normalized``, one typed table for both versions;
        ``ocsf``, events of the Open Cybersecurity Schema Framework 1.8 (``ocsf-1.3`` and ``ocsf-1.1`` for these
        versions), not available as CSV. Each row of each schema holds the record's original text.
    :param layout: ``hive``, folders of days and windows; ``security_lake``, a custom source of Amazon Security Lake.
    :param security_lake: with that layout, a dict: ``bucket``, the URI of the lake's bucket; ``source``, a name with
        ``{class_uid}`` for the class of events; ``region``; ``account_id``, by default ``external_<id>``. (templated)
    :param ocsf_severity: severities of OCSF events that differ from the documented ones, by the name of a rule or by
        ``resource:action``, for example ``{"credential_created": "High"}``.
    :param privacy: a dict: ``conn_id``, the connection whose password is the secret key; ``pseudonymise``, any of
        ``email`` and ``ip``, by default both if there is a key; ``drop``, dotted paths of fields; ``name``. The rule is
        applied before anything is written. (templated)
    :param window_start: explicit start, a datetime, date or RFC 3339 text. (templated)
    :param window_end: explicit end, exclusive. (templated)
    :param window_length: length of the window if only one bound, a partition or a zero-length interval is known.
    :param timezone: IANA zone of local days and of the partition's date.
    :param partition_key_format: ``strptime`` format of the partition key, for runs with a key and no partition date;
        without ``%z`` the key is local time in ``timezone``.
    :param partition_by: ``hour``, ``day`` or ``month``: divide the run's window into the hours, days or months of
        ``timezone``, and commit each as a window of its own, oldest first. The run's window has to consist of whole
        hours, days or months. Windows that are committed already are skipped, so a retry continues where the attempt
        before it ended.
    :param history: ``stitched``: land both versions of an account's log below one destination, in the folders ``v1``
        and ``v2``: version 1 up to the cut-over and through the overlap after it, version 2 from the cut-over on.
    :param cut_over: with ``history``, when version 2 takes over, a datetime, date or RFC 3339 text; by default when its
        history begins (``v2_history_start`` in the configuration, 2026-03-10). It cannot change later. (templated)
    :param overlap: with ``history``, how long version 1 is still landed after the cut-over, at least an hour, by
        default a day; ``timedelta.max`` for as long as version 1 exists. It can be made longer later.
    :param reread_committed: with ``partition_by``, also read windows that are committed already, and add late records.
    :param settle_delay: how long to wait after a window's end before reading it, because records arrive late. The
        defaults of ``settle_delay``, ``concurrency`` and ``max_part_bytes`` are set in section
        ``[cloudflare_audit_logs]`` of Airflow's configuration.
    :param concurrency: how many requests of one task may be open at a time, 1 to 64; all share one rate limiter.
    :param max_part_bytes: size of a data object at which the next one is started, at least 1 MiB.
    :param lookback: the period before the window's start in which committed windows are read again for late records.
    :param verify: ``edges`` requests the first and the last page again after a pause, and adds records that the reading
        lacks; ``recount`` reads the window a second time from its other end, reads it again if the two differ, and
        fails if they still do; ``none`` does neither. By default ``edges`` for a window that ended less than an hour
        ago, else ``none``.
    :param odd_records: what to do with a record that breaks the API's contract, such as one without a readable time:
        ``keep`` writes it as it is, counts it by kind and warns; ``fail`` fails the task and writes nothing.
    :param replace: write the window again, in place of the committed one. Parts that a seal covers stay; the next seal
        has to accept the replacement by name.
    :param erase: with ``replace``, also remove the parts of every earlier generation, sealed or not, as an erasure for
        privacy. The manifest lists their digests.
    :param erase_reason: reason of the erasure, for the manifest; required with ``erase``. It stays permanently,
        so name no person. (templated)
    :param public_key: public keys in PEM, for the signatures of seals. If seals are signed, an ordinary run (without
        ``erase``) finishes the removal of parts that an interrupted erasure left, but only if one of these keys
        verifies the seal that accepts the erasure. Otherwise it keeps the parts and logs a warning. (templated)
    :param deferrable: wait for an unsettled window in the triggerer; otherwise the task is rescheduled. Neither
        occupies a worker slot.

    Returns a dict with ``window_start window_end record_count part_count manifest_uri`` and more, and puts the same
    dict into the extra of the destination's asset event, after ``summary``, a line of text. With
    ``partition_by``, the dict has the range, the sums over all of its windows, and the manifest of the newest window.
    Errors that no retry can fix fail the task at once.
    """

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "cloudflare_conn_id",
        "account_id",
        "organization_id",
        "filters",
        "privacy",
        "security_lake",
        "window_start",
        "window_end",
        "cut_over",
        "erase_reason",
        "public_key",
    )
    operator_extra_links = (ManifestLink(), CoverageLink(), CloudflareDashboardLink())
    ui_color = "#f9e2cf"

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        cloudflare_conn_id: str = DEFAULT_CONN_ID,
        account_id: str | None = None,
        organization_id: str | None = None,
        scope: str | None = None,
        api_version: str | None = None,
        filters: Mapping[str, Any] | None = None,
        file_format: str = "jsonl",
        compression: str | None = None,
        schema: str = "raw",
        layout: str = HIVE,
        security_lake: Mapping[str, str] | None = None,
        ocsf_severity: Mapping[str, str] | None = None,
        privacy: dict[str, Any] | None = None,
        window_start: datetime | date | str | None = None,
        window_end: datetime | date | str | None = None,
        window_length: timedelta | None = None,
        timezone: str = "UTC",
        partition_key_format: str = DEFAULT_PARTITION_KEY_FORMAT,
        partition_by: str | None = None,
        history: str | None = None,
        cut_over: datetime | date | str | None = None,
        overlap: timedelta | None = None,
        reread_committed: bool = False,
        settle_delay: timedelta | None = None,
        concurrency: int | None = None,
        max_part_bytes: int | None = None,
        lookback: timedelta | None = None,
        verify: str | None = None,
        odd_records: str = KEEP_ODD_RECORDS,
        replace: bool = False,
        erase: bool = False,
        erase_reason: str | None = None,
        public_key: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.cloudflare_conn_id = cloudflare_conn_id
        self.account_id = account_id
        self.organization_id = organization_id
        self.scope = scope
        self.api_version = api_version
        self.filters = filters
        self.file_format = file_format
        self.compression = compression
        self.schema = schema
        self.layout, self.security_lake = layout, security_lake
        self.ocsf_severity = ocsf_severity
        self.privacy = privacy
        self.window_start = window_start
        self.window_end = window_end
        self.window_length = window_length
        self.timezone = timezone
        self.partition_key_format = partition_key_format
        self.partition_by = partition_by
        self.history = history
        self.cut_over = cut_over
        self.overlap = overlap
        self.reread_committed = reread_committed
        self.settle_delay = settle_delay_or_configured(settle_delay)
        self.concurrency = concurrency_or_configured(concurrency)
        self.max_part_bytes = max_part_bytes_or_configured(max_part_bytes)
        self.lookback = lookback
        self.verify = verify
        self.odd_records = odd_records
        self.replace = replace
        self.erase, self.erase_reason = erase, erase_reason
        self.public_key = public_key
        self.deferrable = deferrable
        # The outcome of the run, for links and lineage.
        self.query: AuditQuery | None = None
        self.outcome: PullOutcome | None = None
        self.range_outcome: RangeOutcome | None = None
        self._landed = {}
        self._reader: AuditLogReader | None = None
        self._edges_pause = configured_edges_pause()
        check_destination(destination)
        checked_compression(file_format, compression, schema, layout)
        check_lake(layout, security_lake, history)
        checked_overrides(ocsf_severity, schema)
        check_times(window_length, self.settle_delay, lookback)
        check_tuning(self.concurrency, self.max_part_bytes, verify, odd_records)
        api_filters = check_query(api_version, scope, account_id, organization_id, filters)
        check_privacy(privacy, api_filters)
        check_erasure(replace, erase, erase_reason)
        check_partitioning(partition_by, reread_committed, replace)
        asked = {"api_version": api_version, "scope": scope, "organization_id": organization_id, "filters": filters}
        check_stitching(history, cut_over, overlap, {**asked, "replace": replace})

    @cached_property
    def hook(self) -> CloudflareHook:
        """The hook; it reads its connection at the first use."""
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook

        return CloudflareHook(self.cloudflare_conn_id)

    @property
    def manifest_uri(self) -> str | None:
        """URI of the window's current manifest after this run, of the newest window's if several; None before it."""
        return self.outcome and f"{dataset_uri(self._landing_at)}/{self.outcome.manifest_key}"

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the run's window; returns its summary."""
        with translate_task_errors(self), one_linear_algebra_thread():
            run_window = self._run_window(context)
            if self.history is not None:
                return self._publish(context, self._land_stitched(context, run_window))
            if self.partition_by is not None:
                return self._publish(context, self._land_range(context, run_window))
            self.wait_until(self._settled_at(run_window), "execute_settled", context, self.hook.clock)
            with collector_paused() as resume_collector, closing(self.hook):
                outcome, late = self._pull(run_window, resume_collector)
        return self._publish(context, self._summary(outcome, late))

    def execute_settled(self, context: Mapping[str, Any], event: object = None) -> dict[str, Any]:
        """Continues after the trigger has fired; Airflow passes its event by this name."""
        self.log.info("The window is settled: %s", event)
        return self.execute(context)

    def trigger_at(self, instant: datetime) -> BaseTrigger:
        """Returns the trigger that fires once the window is settled."""
        from airflow_audit_provider.triggers.audit_logs import WindowSettledTrigger

        return WindowSettledTrigger(instant)

    def on_kill(self) -> None:
        """Cancels the requests of a running pull; staged parts stay for the next attempt."""
        if self._reader is not None:
            self.log.info("The task is being stopped; its requests are cancelled")
            self._reader.cancel()

    def _run_window(self, context: Mapping[str, Any]) -> RunWindow:
        from airflow_audit_provider._airflow.run_context import RunAttempts, run_bounds
        from airflow_audit_provider.core.windows.run_window import resolve_run_window

        self._attempts = RunAttempts.of(context)
        run_window = resolve_run_window(
            run_bounds(
                context,
                window_start=self.window_start,
                window_end=self.window_end,
                window_length=self.window_length,
                timezone=self.timezone,
                partition_key_format=self.partition_key_format,
            )
        )
        self.log.info("Window %s, taken from: %s", run_window.window, run_window.rule)
        return run_window

    def _pull(self, run_window: RunWindow, resume_collector: Callable[[], None]) -> tuple[PullOutcome, dict[str, int]]:
        """Writes the window, then reads earlier windows again if there is a lookback; returns both outcomes.

        The garbage collector is resumed when everything is imported.
        """
        from airflow_audit_provider.pipelines.pull import pull_window

        spec, reader, store, observer = self._open(run_window)
        resume_collector()
        self.outcome = outcome = pull_window(spec, reader, store, observer)
        return outcome, self._pull_late(spec, reader, store, observer)

    def _open(
        self, run_window: RunWindow, *, folds: bool = True
    ) -> tuple[PullSpec, AuditLogReader, Store, TaskObserver]:
        """Returns what a pull needs: its spec, the reader, the store and the observer."""
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider._airflow.observability.task_observer import TaskObserver

        spec = self._pull_spec(run_window)
        # First, because it checks the destination, which a template may have rendered to anything.
        store = store_from_connection(self._landing_at, self.destination_conn_id, lake_bucket=spec.lake_bucket)
        observer = TaskObserver(self.log, self.hook.clock, spec, dataset_uri(self._landing_at), folds=folds)
        self._reader = reader = self.hook.reader(observer.on_step)
        self.query = spec.query
        return spec, reader, store, observer

    def _pull_spec(self, run_window: RunWindow) -> PullSpec:
        from airflow_audit_provider._airflow.secrets import open_privacy
        from airflow_audit_provider.adapters.signing import Ed25519Verifier
        from airflow_audit_provider.core.archive.dataset import lake_for
        from airflow_audit_provider.formats.part_format import part_format
        from airflow_audit_provider.pipelines.pull_spec import PullSpec

        query = self._query()
        # Checked again, because the template may have rendered to nothing.
        check_erasure(self.replace, self.erase, self.erase_reason)
        return PullSpec(
            query=query,
            run_window=run_window,
            part_format=part_format(self.file_format, self.compression, self.schema, self.ocsf_severity),
            attempt_id=self._attempts.new_id(),
            settle_delay=self.settle_delay,
            max_part_bytes=self.max_part_bytes,
            odd_records=self.odd_records,
            replace=self.replace,
            concurrency=self.concurrency,
            verify=self.verify,
            edges_pause=self._edges_pause,
            privacy=open_privacy(self.privacy),
            history_starts_at=history_starts_at(query.version),
            erase_reason=self.erase_reason if self.erase else None,
            seal_verifier=Ed25519Verifier([self.public_key]) if self.public_key else None,
            lake=lake_for(query, self.security_lake, dataset_uri(self._landing_at)) if self.layout != HIVE else None,
            run_id=self._attempts.earlier_id,
        )

    def _query(self) -> AuditQuery:
        """Returns the query of the task, or of the version that is being landed."""
        if self.history is not None:
            # Checked again, because a template may have rendered to other filters.
            check_shared_filters(self.filters)
        return self.hook.checked_query(
            self._stream or self.api_version,
            "account" if self.history is not None else self.scope,
            account_id=self.account_id,
            organization_id=self.organization_id,
            filters=self.filters,
        )

    def _land_windows(self, windows: Sequence[RunWindow]) -> dict[str, Any]:
        """Writes windows of a version that adjoin, and reads late records before them; returns the summary."""
        from airflow_audit_provider._airflow.range_report import range_line, range_summary

        if self.partition_by is None:
            with collector_paused() as resume_collector:
                return self._summary(*self._pull(windows[0], resume_collector))
        found, late = self._pull_range(windows)
        from airflow_audit_provider.core.windows.window import TimeWindow

        whole = TimeWindow(windows[0].window.start, windows[-1].window.end)
        self.log.info("%s", range_line(whole, found))
        return range_summary(whole, self.partition_by, found, self.manifest_uri) | late

    def _look_back(self, run_window: RunWindow) -> dict[str, Any]:
        """Reads the committed windows before a window again if there is a lookback; returns the figures."""
        return self._pull_late(*self._open(run_window)) if self.lookback is not None else {}

    def _land_range(self, context: Mapping[str, Any], run_window: RunWindow) -> dict[str, Any]:
        """Writes every partition of the window that is not committed, waiting for those not settled; returns a summary.

        What is settled is committed before the wait.
        """
        from airflow_audit_provider.exceptions import WindowNotSettledError

        windows, settled_at = self._divided(run_window), self._settled_at(run_window)
        if self.reread_committed:
            self.wait_until(settled_at, "execute_settled", context, self.hook.clock)
        with closing(self.hook):
            try:
                return self._land_windows(windows)
            except WindowNotSettledError:
                self.wait_until(settled_at, "execute_settled", context, self.hook.clock)
                return self._land_windows(windows)

    def _divided(self, run_window: RunWindow) -> list[RunWindow]:
        """Returns the partitions of the run's window, the window itself without ``partition_by``."""
        from airflow_audit_provider.core.windows.partitions import divide

        if self.partition_by is None:
            return [run_window]
        windows = divide(run_window, self.partition_by, self.timezone)
        self.log.info("Divided by %s in %s: %d windows", self.partition_by, self.timezone, len(windows))
        return windows

    def _pull_range(self, windows: Sequence[RunWindow]) -> tuple[RangeOutcome, dict[str, Any]]:
        """Writes partitions, then reads earlier windows again if there is a lookback; returns both outcomes."""
        from airflow_audit_provider.pipelines.pull_range import RangeSpec, pull_range

        spec, reader, store, observer = self._open(windows[0], folds=False)
        outcome = pull_range(RangeSpec(spec, windows, self.reread_committed), reader, store, observer)
        self.range_outcome, self.outcome = outcome, outcome.newest
        return outcome, self._pull_late(spec, reader, store, observer)

    def _pull_late(
        self, spec: PullSpec, reader: AuditLogReader, store: Store, observer: TaskObserver
    ) -> dict[str, Any]:
        """Reads the committed windows before the spec's again if there is a lookback; returns the figures."""
        from airflow_audit_provider.core.windows.window import count_of
        from airflow_audit_provider.pipelines.late_records import pull_late_records

        if self.lookback is None:
            return {}
        start = spec.run_window.window.start
        self.log.info("Reading the committed windows of the %s before %s again", self.lookback, start)
        late = pull_late_records(spec, self.lookback, reader, store, observer).summary()
        self.log.info(
            "Found %s in %s of the previous %s",
            count_of(late["late_count"], "late record"),
            count_of(late["lookback_windows"], "window"),
            self.lookback,
        )
        return late

    def _settled_at(self, run_window: RunWindow) -> datetime:
        return run_window.window.settled_at(self.settle_delay)

    def _summary(self, outcome: PullOutcome, late: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the summary of one window."""
        from airflow_audit_provider.core.archive.manifest import describe

        committed = {"manifest_uri": self.manifest_uri, "committed": outcome.committed}
        return {**describe(outcome.manifest), **committed, "missing_count": outcome.missing_count, **late}

    def _publish(self, context: Mapping[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
        """Returns the summary; puts it into the destination's asset event if the task has that outlet."""
        from airflow_audit_provider._airflow.observability.log_lines import event_line
        from airflow_audit_provider.core.windows.window import count_of

        if summary["missing_count"]:
            missing = count_of(summary["missing_count"], "committed record")
            self.log.warning("The API no longer returns %s of this window; they stay committed", missing)
        if self.outlets and "outlet_events" in context:
            asset = audit_log_asset(self.destination)
            if asset in self.outlets:
                # First, because a list of events shows the beginning of an extra.
                context["outlet_events"][asset].extra = {"summary": event_line(summary), **summary}
        return summary

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - OpenLineage's signature
        """Returns the lineage of what was written, None if the task has not written one."""
        from airflow_audit_provider._airflow.observability.lineage import joined_lineage

        if self.history is None:
            return self._lineage(self.destination, self.outcome, self.range_outcome)
        found = [self._lineage(self.stream_destination(name), *each) for name, each in self._landed.items()]
        return joined_lineage([one for one in found if one is not None])

    def _lineage(self, destination: str, outcome: PullOutcome | None, in_range: RangeOutcome | None) -> Any:
        from airflow_audit_provider._airflow.observability.lineage import Written, lineage_of, lineage_of_written

        if outcome is None:
            return None
        where = destination, self.hook.settings.endpoint.base_url
        if in_range is None:
            return lineage_of(outcome, *where)
        figures = in_range.written_count, in_range.written_bytes
        return lineage_of_written(Written(outcome.manifest, *figures), *where)
