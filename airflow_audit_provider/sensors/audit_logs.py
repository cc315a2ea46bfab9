"""Sensor that waits for new activity in an audit log.

Poking and deferring count the same records with the same code. Modules that only a run needs are imported where they
are used, because DAG files import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from airflow_audit_provider._airflow.arguments import check_query, check_timezone
from airflow_audit_provider._airflow.task_errors import (
    none_if_retryable,
    raise_event_error,
    skip_on_failure,
    translate_task_errors,
)
from airflow_audit_provider.core.limits import DEFAULT_CONN_ID, check_minimum_count

if TYPE_CHECKING:
    from airflow_audit_provider.core.watch.activity import ActivityCount
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook
    from airflow_audit_provider.triggers.audit_logs import AuditLogActivityTrigger


class CloudflareAuditLogActivitySensor(BaseSensorOperator):
    """Waits until an audit log holds at least ``minimum_count`` records with an event time at or after ``since``.

    :param since: the watermark: a datetime, date or RFC 3339 text; by default the data interval's start. (templated)
    :param minimum_count: how many records are enough, at least 1.
    :param cloudflare_conn_id: a connection of type ``cloudflare``. (templated)
    :param account_id: 32 hexadecimal digits; by default the connection's. (templated)
    :param organization_id: for the organization scope of version 2; by default the connection's. (templated)
    :param scope: ``account``, ``user`` or ``organization``.
    :param api_version: ``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``.
    :param filters: the API's filters by Python or API name. (templated)
    :param timezone: IANA zone of a date, or of a ``since`` text without an offset.
    :param deferrable: poll once, then wait in the triggerer.

    Returns a dict with ``since record_count first_event_at last_event_at``; counting stops at ``minimum_count``.
    ``poke_interval``, ``exponential_backoff``, ``max_wait``, ``timeout``, ``mode``, ``soft_fail`` and ``never_fail``
    work as for every sensor, deferred or not.
    """

    template_fields: Sequence[str] = (
        "since",
        "cloudflare_conn_id",
        "account_id",
        "organization_id",
        "filters",
    )
    ui_color = "#e2f0d9"

    def __init__(
        self,
        *,
        since: datetime | date | str | None = None,
        minimum_count: int = 1,
        cloudflare_conn_id: str = DEFAULT_CONN_ID,
        account_id: str | None = None,
        organization_id: str | None = None,
        scope: str | None = None,
        api_version: str | None = None,
        filters: Mapping[str, Any] | None = None,
        timezone: str = "UTC",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.minimum_count = minimum_count
        self.cloudflare_conn_id = cloudflare_conn_id
        self.account_id = account_id
        self.organization_id = organization_id
        self.scope = scope
        self.api_version = api_version
        self.filters = filters
        self.timezone = timezone
        self.deferrable = deferrable
        check_query(api_version, scope, account_id, organization_id, filters)
        check_timezone(timezone)
        check_minimum_count(minimum_count)

    @cached_property
    def hook(self) -> CloudflareHook:
        """The hook; it reads its connection at the first use."""
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook

        return CloudflareHook(self.cloudflare_conn_id)

    def poke(self, context: Mapping[str, Any]) -> PokeReturnValue:
        """Polls once; blocks until the API has answered."""
        with translate_task_errors(self), closing(self.hook):
            activity = self._poll(context)
        self._log_activity(activity.summary())
        return PokeReturnValue(activity.is_enough, activity.summary() if activity.is_enough else None)

    def execute(self, context: Context) -> Any:
        """Polls once, then waits: in the triggerer if deferrable, otherwise as ``mode`` sets."""
        if not self.deferrable:
            return super().execute(context)
        with skip_on_failure(self):
            found = self._first_poll(context)
        if found is not None:
            return found
        return self.defer(
            trigger=self._trigger(context), method_name="execute_complete", timeout=timedelta(seconds=self.timeout)
        )

    def execute_complete(self, _context: Mapping[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        """Returns the activity that the trigger found, or fails without retries with the trigger's error."""
        if event["status"] == "failed":
            raise_event_error(event, self)
        activity: dict[str, Any] = event["activity"]
        self._log_activity(activity)
        return activity

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continues after the triggerer; ``soft_fail`` and ``never_fail`` apply, as in Airflow itself from 3.1 on."""
        with skip_on_failure(self):
            return super().resume_execution(next_method, next_kwargs, context)

    def _first_poll(self, context: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns the activity if it is enough, otherwise None; a retryable error is left to the triggerer."""

        def warn(error: Exception) -> None:
            self.log.warning("The first poll failed; the triggerer continues: %s", error)

        found = none_if_retryable(lambda: self.poke(context), warn)
        return found.xcom_value if found is not None and found.is_done else None

    def _log_activity(self, activity: Mapping[str, Any]) -> None:
        from airflow_audit_provider._airflow.observability.log_lines import activity_line

        self.log.info("%s", activity_line(activity, self.minimum_count))

    def _trigger(self, context: Mapping[str, Any]) -> AuditLogActivityTrigger:
        from airflow_audit_provider.triggers.audit_logs import AuditLogActivityTrigger

        return AuditLogActivityTrigger(
            self.cloudflare_conn_id,
            self._since(context),
            self.minimum_count,
            float(self.poke_interval),
            self._query,
            backs_off=self.exponential_backoff,
            longest_pause_seconds=self.max_wait.total_seconds() if self.max_wait else None,
        )

    @property
    def _query(self) -> dict[str, Any]:
        return {
            "api_version": self.api_version,
            "scope": self.scope,
            "account_id": self.account_id,
            "organization_id": self.organization_id,
            "filters": self.filters,
        }

    def _since(self, context: Mapping[str, Any]) -> datetime:
        from airflow_audit_provider.core.windows.run_window import resolve_watermark

        return resolve_watermark(self.since, context.get("data_interval_start"), self.timezone)

    def _poll(self, context: Mapping[str, Any]) -> ActivityCount:
        from airflow_audit_provider.core.watch.activity import ActivityDemand
        from airflow_audit_provider.pipelines.watch import count_activity

        query, demand = self.hook.checked_query(**self._query), ActivityDemand(self._since(context), self.minimum_count)
        return count_activity(query, demand, self.hook.reader(with_retries=not self.deferrable))
