"""Runs detection rules on each landed window, and reports the alerts by mail and to a webhook.

How to run it:
  airflow dags unpause cloudflare_audit_detect

A run starts when cloudflare_audit_hourly or cloudflare_audit_daily has committed windows. A rule runs only on records
on which it has not run before; rules that look back also read earlier records. Each alert is created once, also after a
retry or a late record. If a notifier fails, the retry sends the message again and does not run rules again.

Settings: AUDIT_DESTINATION, as for the DAG cloudflare_audit_daily. AUDIT_RULES, a folder of Sigma rules that replace
the rules of this package. AUDIT_ALERT_MAIL, an address, with the connection smtp_default. AUDIT_ALERT_WEBHOOK, the id
of a connection of type http whose host is the URL of a webhook that accepts Slack's format. Without the last two, the
alerts are in the task's log, in its asset events and below _detections/ of the destination.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_alert_alias, audit_log_asset
from airflow_audit_provider.operators.detect import CloudflareAuditLogsDetectOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")


def notifiers() -> list[BaseNotifier]:
    """Returns the notifiers that the environment asks for; a DAG without them needs no further provider."""
    found: list[BaseNotifier] = []
    if address := os.environ.get("AUDIT_ALERT_MAIL"):
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        found.append(SmtpNotifier(to=address, subject="{{ detections.subject }}", html_content="{{ detections.html }}"))
    if conn_id := os.environ.get("AUDIT_ALERT_WEBHOOK"):
        from airflow.providers.http.notifications.http import HttpNotifier

        found.append(HttpNotifier(http_conn_id=conn_id, json={"text": "{{ detections.slack }}"}))
    return found


with DAG(
    dag_id="cloudflare_audit_detect",
    schedule=[audit_log_asset(DESTINATION)],
    catchup=False,
    max_active_runs=1,
    tags=["cloudflare", "audit", "security"],
    doc_md=__doc__,
):
    CloudflareAuditLogsDetectOperator(
        task_id="detect",
        destination=DESTINATION,
        rules=os.environ.get("AUDIT_RULES"),
        notifiers=notifiers(),
        notify_level="medium",
        max_active_tis_per_dag=1,
        retries=5,
        retry_delay=timedelta(minutes=1),
        outlets=[audit_log_alert_alias(DESTINATION)],
    )
