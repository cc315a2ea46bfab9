"""Operator that plans a backfill.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.arguments import check_query
from airflow_audit_provider._airflow.config import concurrency_or_configured, settle_delay_or_configured
from airflow_audit_provider._airflow.destinations import check_destination
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.core.limits import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook
    from airflow_audit_provider.pipelines.plan_report import Plan


class CloudflareAuditLogsPlanOperator(BaseOperator):
    """Plans a backfill: which windows are missing, lost or expire soon, and what the missing ones need.

    :param destination: URI of the folder that the backfill fills. (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param cloudflare_conn_id: a connection of type ``cloudflare``. (templated)
    :param account_id: 32 hexadecimal digits; by default the connection's. (templated)
    :param organization_id: for the organization scope of version 2; by default the connection's. (templated)
    :param scope: ``account``, ``user`` (version 1) or ``organization`` (version 2), as for the land operator.
    :param api_version: ``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``.
    :param filters: the filters of the land operator. (templated)
    :param start: start of the range, a datetime, date or RFC 3339 text; by default that of the oldest window that the
        API still has whole. (templated)
    :param end: end of the range, exclusive; by default that of the last window that is settled. (templated)
    :param division: ``hour``, ``day`` or ``month``: the length of a window, the same as in the backfill DAG's schedule.
    :param timezone: IANA zone of the windows, and of bounds without an offset.
    :param settle_delay: the land operator's; by default from the configuration.
    :param sample_count: maximum number of pages of the log that are first requested as samples, 6 to 300. If these
        samples show that the backfill needs more than 100 times ``sample_count`` requests (by default 3000), at most
        twice ``sample_count`` more pages are then requested as samples (by default 60).
    :param verify: the land operator's ``verify``; the plan includes the requests of the verification.
    :param concurrency: the land operator's; by default from the configuration.
    :param backfill_dag_id: the DAG of the command that creates the backfill. (templated)

    Reads pages of the log and what the destination holds, and writes nothing. Logs the plan as text and returns it as a
    dict, with at most 20 spans that are not committed; ``windows`` counts the windows by state.
    """

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "cloudflare_conn_id",
        "account_id",
        "organization_id",
        "filters",
        "start",
        "end",
        "backfill_dag_id",
    )
    ui_color = "#dce6f2"

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
        start: datetime | date | str | None = None,
        end: datetime | date | str | None = None,
        division: Literal["hour", "day", "month"] = "day",
        timezone: str = "UTC",
        settle_delay: timedelta | None = None,
        sample_count: int = 30,
        verify: Literal["edges", "recount", "none"] | None = None,
        concurrency: int | None = None,
        backfill_dag_id: str = "cloudflare_audit_backfill",
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
        self.start = start
        self.end = end
        self.division = division
        self.timezone = timezone
        self.settle_delay = settle_delay_or_configured(settle_delay)
        self.sample_count = sample_count
        self.verify = verify
        self.concurrency = concurrency_or_configured(concurrency)
        self.backfill_dag_id = backfill_dag_id
        check_destination(destination)
        check_query(api_version, scope, account_id, organization_id, filters)

    @cached_property
    def hook(self) -> CloudflareHook:
        """The hook; it reads its connection at the first use."""
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook

        return CloudflareHook(self.cloudflare_conn_id)

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes the context
        """Plans the backfill; returns the plan's summary."""
        with translate_task_errors(self), closing(self.hook):
            plan = self._plan()
        self.log.info("Plan of a backfill:\n%s", plan.text())
        if plan.is_obstructed:
            self.log.warning("A part of the range cannot be read any more, or needs a decision: %s", plan.windows)
        return plan.summary()

    def _plan(self) -> Plan:
        query = self.hook.checked_query(
            self.api_version,
            self.scope,
            account_id=self.account_id,
            organization_id=self.organization_id,
            filters=self.filters,
        )
        return self.hook.plan_backfill(
            self.destination,
            self.destination_conn_id,
            query=query,
            start=self.start,
            end=self.end,
            division=self.division,
            timezone=self.timezone,
            settle_delay=self.settle_delay,
            sample_count=self.sample_count,
            verify=self.verify,
            concurrency=self.concurrency,
            dag_id=self.backfill_dag_id,
        )
