"""Operator that adds the values before and after to committed records.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.arguments import check_timezone
from airflow_audit_provider._airflow.destinations import check_destination
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.core.limits import DEFAULT_CONN_ID, check_max_requests, check_rate_share

if TYPE_CHECKING:
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook
    from airflow_audit_provider.pipelines.changes import ChangesOutcome, ChangesSpec

_DEFAULT_RANGE = timedelta(days=7)


class CloudflareAuditLogsChangesOperator(BaseOperator):
    """Writes the values of each record's resource before and after the action, into files beside the data.

    A record of version 1 has both values. For a record of version 2, the operator requests the history of the resource,
    once for all records of the resource. The files are in the folder ``_changes`` of the destination and have one row
    for each record. Join the rows to the records by ``id``.

    :param destination: URI of the folder of the audit logs; of a stitched history, the folder of one version.
        (templated)
    :param cloudflare_conn_id: the connection of type ``cloudflare``. (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param start: start of the range of windows, a datetime, date or RFC 3339 text; by default seven days before the
        end. (templated)
    :param end: end of the range, exclusive; by default now. (templated)
    :param timezone: IANA zone of bounds without an offset.
    :param rate_share: share of the rate limit that the requests take on average, more than 0 and at most 1. The
        requests count against the budget that all tasks with the token share.
    :param max_requests: the run ends after about this many requests, and the next run continues where it stopped. None
        for no limit.
    :param privacy: the ``privacy`` of the land operator; it must be the one that the windows were written with.

    Windows whose newest generation is done are skipped. Returns a dict, the XCom ``return_value``, with ``window_count
    record_count request_count history_status is_complete skipped_count older_count older_command``. ``older_count`` is
    the number of windows before the range whose changes have not been derived yet; ``older_command`` is the command
    that derives them.
    """

    template_fields: Sequence[str] = ("destination", "cloudflare_conn_id", "destination_conn_id", "start", "end")
    ui_color = "#dce6f2"

    def __init__(
        self,
        *,
        destination: str,
        cloudflare_conn_id: str = DEFAULT_CONN_ID,
        destination_conn_id: str | None = None,
        start: datetime | date | str | None = None,
        end: datetime | date | str | None = None,
        timezone: str = "UTC",
        rate_share: float = 0.1,
        max_requests: int | None = None,
        privacy: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.cloudflare_conn_id = cloudflare_conn_id
        self.destination_conn_id = destination_conn_id
        self.start = start
        self.end = end
        self.timezone = timezone
        self.rate_share = rate_share
        self.max_requests = max_requests
        self.privacy = privacy
        check_destination(destination)
        check_timezone(timezone)
        check_rate_share(rate_share)
        check_max_requests(max_requests)

    @cached_property
    def hook(self) -> CloudflareHook:
        """The hook of the connection."""
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook

        return CloudflareHook(self.cloudflare_conn_id)

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Derives the changes of the windows that have none yet; returns the summary."""
        with translate_task_errors(self), closing(self.hook):
            outcome = self._derive()
        summary = {**outcome.summary(), "older_command": self._older_command(outcome)}
        self._report(outcome, summary)
        return summary

    def _older_command(self, outcome: ChangesOutcome) -> str:
        """Returns the command for windows before the range, with the connection and the privacy rule of this task."""
        command = outcome.older_command(self.destination)
        options: list[str] = []
        if self.cloudflare_conn_id != DEFAULT_CONN_ID:
            options += ["--conn-id", self.cloudflare_conn_id]
        if self.privacy:
            options += ["--privacy", json.dumps(self.privacy, default=sorted)]
        return f"{command} {shlex.join(options)}" if command and options else command

    def _report(self, outcome: ChangesOutcome, summary: Mapping[str, Any]) -> None:
        """Logs what was derived, and what was left out."""
        self.log.info("Changes of committed windows: %s", summary)
        if not outcome.is_complete:
            self.log.warning("The run ended after %d requests; the next run continues", outcome.request_count)
        if outcome.older:
            self.log.warning(
                "The changes of %d windows before the range are not derived yet. To derive them, run: %s",
                len(outcome.older),
                summary["older_command"],
            )
        if outcome.skipped:
            self.log.warning(
                "Skipped windows that were erased under another privacy rule: %s. To derive their changes, run a task "
                "with this rule and their range",
                ", ".join(map(str, outcome.skipped[:10])),
            )
        if refused := summary["history_status"].get("forbidden"):
            self.log.warning(
                "The API refuses resource histories (403), so %d records lack the value before. Give the token the "
                "permission to read them; the next run over these windows requests them again.",
                refused,
            )

    def _derive(self) -> ChangesOutcome:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.pipelines.changes import derive_changes

        store = store_from_connection(self.destination, self.destination_conn_id)
        return derive_changes(self._spec(), store, self.hook.reader())

    def _spec(self) -> ChangesSpec:
        from airflow_audit_provider._airflow.secrets import open_privacy
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.core.windows.window import TimeWindow
        from airflow_audit_provider.pipelines.changes import ChangesSpec

        now = self.hook.clock.now()
        end = read_bound("end", self.end, self.timezone) or now
        start = read_bound("start", self.start, self.timezone) or end - _DEFAULT_RANGE
        return ChangesSpec(TimeWindow(start, end), now, self.rate_share, open_privacy(self.privacy), self.max_requests)
