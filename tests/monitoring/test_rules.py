"""The shipped Prometheus rules: each alert fires for what it names, and for nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.monitoring.documented import documented, prometheus_name
from tests.monitoring.prometheus import RULES, tool

NAME = re.compile(r"cloudflare_audit_logs_\w+")
GAPS = 'cloudflare_audit_logs_coverage_gaps_total{reason="%s"}'
FAILED = 'cloudflare_audit_logs_fetch_duration_seconds_count{state="failed"}'
COMMITS = 'cloudflare_audit_logs_commit_windows_total{api_version="v1"}'
FINDINGS = 'cloudflare_audit_logs_verify_findings_total{severity="%s"}'
DAYS_LEFT = "cloudflare_audit_logs_coverage_days_left"
LAG = "cloudflare_audit_logs_freshness_landed_lag_seconds"
ODD = "cloudflare_audit_logs_commit_odd_records_total"
OUTAGES = "cloudflare_audit_logs_fetch_budget_outages_total"


class Case(NamedTuple):
    """A series with a value every quarter of an hour, and the alert that fires after some hours, if any."""

    series: str
    values: str
    hours: float
    alert: str


CASES = {
    "first gap": Case(GAPS % "missing", "_x3 1x200", 2, "CloudflareAuditLogsGap"),
    "another gap": Case(GAPS % "missing", "5x100 6x20", 25.75, "CloudflareAuditLogsGap"),
    "gap of the day before": Case(GAPS % "missing", "1x400", 25.5, ""),
    "gap after a restart of the exporter": Case(GAPS % "missing", "5x100 1x20", 25.75, "CloudflareAuditLogsGap"),
    "gap a day after a restart of the exporter": Case(
        GAPS % "missing", "5x2 _x100 1x20", 25.75, "CloudflareAuditLogsGap"
    ),
    "old gap, and Prometheus missed half an hour the day before": Case(GAPS % "missing", "1x2 _x2 1x200", 24.75, ""),
    "late day": Case(GAPS % "late", "_x3 1x200", 2, ""),
    "gap of windows of another length": Case(GAPS % "partial", "_x3 1x200", 2, "CloudflareAuditLogsGap"),
    "lost days": Case(GAPS % "lost", "_x3 1x200", 2, "CloudflareAuditLogsLost"),
    "gap for a month": Case(DAYS_LEFT, "29x20", 1, "CloudflareAuditLogsGapExpires"),
    "gap for a year": Case(DAYS_LEFT, "365x20", 1, ""),
    "landed 31 hours ago": Case(LAG, "111600x20", 1, "CloudflareAuditLogsDataLate"),
    "landed an hour ago": Case(LAG, "3600x20", 1, ""),
    "commits every day": Case(COMMITS, "1x96 2x96 3x10", 48, ""),
    "no commit for thirty hours": Case(COMMITS, "1x300", 30, "CloudflareAuditLogsNotCommitted"),
    "no commit for 26 hours": Case(COMMITS, "1x300", 26, ""),
    "no commit at all": Case(DAYS_LEFT, "365x200", 27, "CloudflareAuditLogsSilent"),
    "severe finding": Case(FINDINGS % "severe", "_x3 1x200", 2, "CloudflareAuditLogsDamaged"),
    "mild finding": Case(FINDINGS % "mild", "_x3 1x200", 2, ""),
    "four failures": Case(FAILED, "_x3 1 2 3 4x200", 3, "CloudflareAuditLogsRunsFail"),
    "three failures": Case(FAILED, "_x3 1 2 3x200", 3, ""),
    "odd record": Case(ODD, "_x3 1x200", 2, "CloudflareAuditLogsOddRecords"),
    "budget unusable": Case(OUTAGES, "_x3 1x200", 2, "CloudflareAuditLogsBudgetUnusable"),
}


def alerts() -> set[str]:
    """Returns the names of the alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_rules_name_documented_metrics_only() -> None:
    """Each metric in an expression is one that the reference documents."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    text = "\n".join(rule["expr"] for group in groups for rule in group["rules"])
    known = {prometheus_name(name, kind) for name, kind in documented().items()}
    assert {name.removesuffix("_count") for name in NAME.findall(text)} <= known
    assert len(NAME.findall(text)) > 20


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    """No alert is without a test."""
    assert {case.alert for case in CASES.values()} - {""} == alerts()


@pytest.mark.integration
def test_rules_are_valid() -> None:
    """Promtool accepts the file."""
    answer = subprocess.run([tool("promtool"), "check", "rules", str(RULES)], capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()


@pytest.mark.integration
def test_alert_fires_for_what_it_names(tmp_path: Path) -> None:
    """In each case, exactly one alert fires, or none."""
    path, groups = tmp_path / "cases.yml", yaml.safe_load(RULES.read_text())["groups"]
    # Rules are evaluated when the series have values, those that record first, as each minute in a real Prometheus.
    order = {"evaluation_interval": "15m", "group_eval_order": [group["name"] for group in groups]}
    cases = [_unit(*item) for item in CASES.items()]
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], **order, "tests": cases}))
    answer = subprocess.run(
        [tool("promtool"), "test", "rules", str(path)], capture_output=True, check=False, timeout=300
    )
    assert answer.returncode == 0, (answer.stdout + answer.stderr).decode()


def _unit(name: str, case: Case) -> dict[str, object]:
    fires = [{"labels": f'{{alertname="{case.alert}"}}', "value": 1}] if case.alert else []
    question = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{int(case.hours * 60)}m",
        "exp_samples": fires,
    }
    series = [{"series": case.series, "values": case.values}]
    return {"name": name, "interval": "15m", "input_series": series, "promql_expr_test": [question]}
