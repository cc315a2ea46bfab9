"""Operator that runs detection rules on committed windows and gives the alerts to notifiers and assets.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.arguments import check_timezone
from airflow_audit_provider._airflow.destinations import check_destination, dataset_uri
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.assets.audit_logs import audit_log_alert_alias, audit_log_alert_asset
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier

    from airflow_audit_provider.core.ports import Store
    from airflow_audit_provider.core.warehouse.alert_text import AlertMessage
    from airflow_audit_provider.core.warehouse.detections import DetectionCommit
    from airflow_audit_provider.pipelines.alert_delivery import DeliveryOutcome

_MOST_RUN_BACK = timedelta(days=36_500)
_LEVELS = ("informational", "low", "medium", "high", "critical")
# Commits of other runs that a retry looks behind for those of its earlier attempts.
_MOST_OTHERS = 100


class _Detected(NamedTuple):
    """The newest commit, those of this task and its earlier attempts, and the error of windows that were not run."""

    store: Store
    newest: DetectionCommit | None
    commits: list[DetectionCommit]
    error: AuditProviderError | None


class CloudflareAuditLogsDetectOperator(BaseOperator):
    """Runs Sigma rules on committed windows, on each record once for each version of a rule.

    The alerts and the ledger of what has run are below ``_detections/`` of the destination. No alert is created twice,
    even if a run is killed or retried, or if two runs are active at the same time. Set ``max_active_tis_per_dag=1``, so
    that runs do not compete.

    :param destination: where the audit logs were written; of a stitched history, the folder of one version. (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param rules: a folder of YAML files, or several. They replace the rules of this package, which are the default; to
        run both, also give ``str(BUNDLED_RULES)`` of ``airflow_audit_provider.formats.sigma.loading``. (templated)
    :param timezone: IANA zone of the fields ``local_hour`` and ``local_weekday`` of rules.
    :param run_back: how far back a new rule, or a new version of a rule, runs; also how far the first run goes back.
        With ``timedelta(0)``, it runs only on windows that are committed from then on.
    :param notifiers: notifiers of any provider. Each gets one message for a run with alerts. Their templates have
        ``detections`` with ``subject``, ``text``, ``slack``, ``html``, ``alert_count``, ``levels`` and ``alerts``.
    :param notify_level: lowest level of the alerts that notifiers get. All alerts are in the files and in asset events.
    :param most_listed: how many alerts a message lists; it counts the others.
    :param dry_run: only run the rules over the windows from ``start`` to ``end``, log how many alerts a day they would
        have given, and write nothing.
    :param start: with ``dry_run``, start of the range; by default that of the first committed window. (templated)
    :param end: with ``dry_run``, end of the range, exclusive. (templated)

    Returns a dict with ``alert_count levels rules alert_ids alert_files commits record_count window_count``, or with
    ``dry_run`` the report of ``airflow-audit-provider detect --dry-run --json``. If a notifier fails, the others get
    the message, and the task fails; its retry sends the message to that notifier only. With
    ``outlets=[audit_log_alert_alias(destination)]``, a run with alerts creates an event of
    ``audit_log_alert_asset(destination)``.
    """

    template_fields: Sequence[str] = ("destination", "destination_conn_id", "rules", "start", "end")
    ui_color = "#f4cccc"

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        rules: str | Sequence[str] | None = None,
        timezone: str = "UTC",
        run_back: timedelta = timedelta(days=1),
        notifiers: Sequence[BaseNotifier] = (),
        notify_level: str = "medium",
        most_listed: int = 10,
        dry_run: bool = False,
        start: datetime | date | str | None = None,
        end: datetime | date | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.rules = rules
        self.timezone = timezone
        self.run_back = run_back
        self.notifiers = notifiers
        self.notify_level = notify_level
        self.most_listed = most_listed
        self.is_dry_run = dry_run
        self.start = start
        self.end = end
        if notify_level not in _LEVELS:
            raise ConfigurationError(f"notify_level is {notify_level!r}. Give one of {', '.join(_LEVELS)}.")
        if not timedelta(0) <= run_back <= _MOST_RUN_BACK:
            raise ConfigurationError(f"run_back is {run_back}. Give a length of time up to {_MOST_RUN_BACK.days} days.")
        check_timezone(timezone)
        check_destination(destination)

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the rules, then delivers the alerts; returns the summary."""
        with translate_task_errors(self):
            if self.is_dry_run:
                return self._backtest()
            found = self._detect(context)
            self._add_event(context, found.commits)
            delivered = self._deliver(found.store, found.newest, context)
            for error in [*delivered.errors.values(), *delivered.lost, *filter(None, [found.error])]:
                # The notifiers of any provider raise any error. Airflow retries the task, which detects nothing again.
                raise error
        return self._summary(found.commits)

    def _detect(self, context: Mapping[str, Any]) -> _Detected:
        """Runs the rules. An error of a window does not keep back the alerts of the others; it is raised after them."""
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider._airflow.run_context import task_identity
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.pipelines.detect import DetectSpec, detect
        from airflow_audit_provider.pipelines.detection_ledger import DetectionLedger, commits_by
        from airflow_audit_provider.pipelines.sigma_rules import SIGMA
        from airflow_audit_provider.pipelines.stitching import check_one_version

        store = store_from_connection(self.destination, self.destination_conn_id)
        check_one_version(store)
        now, attempt_id = SystemClock().now(), task_identity(context)
        spec = DetectSpec(self._rules(), now, now - self.run_back, attempt_id, tuple(self._named_notifiers()))
        made: list[DetectionCommit] = []
        failed: AuditProviderError | None = None
        try:
            newest = detect(spec, store, SIGMA, partial(self._note_commit, made)).newest
        except AuditProviderError as error:
            failed = error
            self.log.error("%s", error)  # noqa: TRY400 - raised after the delivery, which may fail, too
            newest = DetectionLedger(store).newest
        # Other runs may have committed between the attempts of this task.
        most_others = _MOST_OTHERS if getattr(context.get("ti"), "try_number", 1) > 1 else 0
        earlier = commits_by(store, newest, attempt_id, most_others)
        commits = {one.number: one for one in [*earlier, *made]}
        return _Detected(store, newest, [commits[number] for number in sorted(commits)], failed)

    def _rules(self) -> tuple[Any, ...]:
        from airflow_audit_provider.pipelines.sigma_rules import load_sigma_rules

        folders = [self.rules] if isinstance(self.rules, str) else self.rules
        return load_sigma_rules(folders, self.timezone)

    def _note_commit(self, made: list[DetectionCommit], commit: DetectionCommit) -> None:
        from airflow_audit_provider._airflow.observability.log_lines import detection_line

        made.append(commit)
        self.log.info("%s", detection_line(commit))

    def _backtest(self) -> dict[str, Any]:
        import msgspec

        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.core.warehouse.backtest_report import backtest_report, backtest_text
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.pipelines.backtest import backtest
        from airflow_audit_provider.pipelines.sigma_rules import SIGMA

        bounds = (read_bound("start", self.start, self.timezone), read_bound("end", self.end, self.timezone))
        store = store_from_connection(self.destination, self.destination_conn_id)
        found = backtest(store, self._rules(), SIGMA, bounds)
        uri = dataset_uri(self.destination)
        tallies = list(found.tallies.values())
        report = backtest_report(uri, found.windows, found.record_count, tallies)
        self.log.info("Nothing was written. The rules would have given:\n%s", backtest_text(report))
        values: dict[str, Any] = msgspec.to_builtins(report)
        return values

    def _named_notifiers(self) -> dict[str, BaseNotifier]:
        """Returns the notifiers by names that stay the same while their order among those of a class does."""
        named: dict[str, BaseNotifier] = {}
        for notifier in self.notifiers:
            kind = type(notifier).__name__
            number = 1 + sum(type(one).__name__ == kind for one in named.values())
            named[f"{kind}-{number}"] = notifier
        return named

    def _deliver(self, store: Store, newest: DetectionCommit | None, context: Mapping[str, Any]) -> DeliveryOutcome:
        from airflow_audit_provider.pipelines.alert_delivery import Delivery, deliver

        named = {name: partial(_notify, one, context) for name, one in self._named_notifiers().items()}
        uri = dataset_uri(self.destination)
        outcome = deliver(store, newest, Delivery(uri, named, self.notify_level, self.most_listed))
        if outcome.delivered_count:
            self.log.info("Notifiers that got a message: %d", outcome.delivered_count)
        for name, error in outcome.errors.items():
            self.log.error("%s failed and is tried again by the next attempt (%s)", name, type(error).__name__)
        return outcome

    def _add_event(self, context: Mapping[str, Any], commits: Sequence[DetectionCommit]) -> None:
        """Adds an asset event about the alerts if the task has the alias as an outlet."""
        from airflow_audit_provider.core.warehouse.alerts import event_extra

        alias = audit_log_alert_alias(self.destination)
        if any(one.alert_count for one in commits) and "outlet_events" in context and alias in self.outlets:
            extra = event_extra(commits)
            context["outlet_events"][alias].add(audit_log_alert_asset(self.destination), extra=extra)

    def _summary(self, commits: Sequence[DetectionCommit]) -> dict[str, Any]:
        from airflow_audit_provider.core.warehouse.alerts import event_extra

        windows = {window for one in commits for window in one.windows}
        record_count = sum(sum(one.windows.values()) for one in commits)
        return {**event_extra(commits), "record_count": record_count, "window_count": len(windows)}


def _notify(notifier: BaseNotifier, context: Mapping[str, Any], message: AlertMessage) -> None:
    """Gives a message to a notifier as Airflow's callbacks do; a copy, because rendering changes its templates."""
    one = copy.copy(notifier)
    facts = {**message.values, "subject": message.subject, "text": message.text}
    merged: Any = {**context, "detections": {**facts, "slack": message.slack, "html": message.html}}
    one.render_template_fields(merged)
    one.notify(merged)
