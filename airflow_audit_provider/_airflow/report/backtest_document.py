"""The result of a back-test as a document, as ``detect --dry-run --html`` writes it; pure.

Invariant: the document says what the text of the command says.
"""

from __future__ import annotations

from datetime import datetime

from airflow_audit_provider import __version__
from airflow_audit_provider._airflow.coverage_page.views import Fact
from airflow_audit_provider._airflow.report.document import Dataset, Document, Row, Section, Verdict, bounded
from airflow_audit_provider.core.verification.findings import printable
from airflow_audit_provider.core.warehouse.backtest_report import BacktestReport, RuleReport
from airflow_audit_provider.core.windows.window import format_instant


def backtest_document(report: BacktestReport, now: datetime) -> Document:
    """Returns the alerts that rules would have given in a range."""
    headline = (
        f"{report.alert_count:,} alerts in {report.window_count:,} windows: {report.alerts_per_day:.2f} a day, "
        f"{report.hours_per_week:.2f} hours a week at {report.minutes_per_alert:g} minutes an alert."
    )
    facts = (
        Fact("Range", f"{report.start} to {report.end}" if report.start else "no committed window"),
        Fact("Windows", f"{report.window_count:,}"),
        Fact("Records", f"{report.record_count:,}"),
        Fact("Rules", f"{len(report.rules):,}"),
    )
    columns = ("Rule", "Level", "Alerts", "Alerts a day", "Days with alerts", "Busiest day", "Hours a week")
    rules = bounded("Rules", columns, [_rule_row(one) for one in report.rules], (2, 3, 4, 6), noun="rule")
    examples = [row for one in report.rules for row in _example_rows(one)]
    shown = bounded("Examples", ("Time", "Who", "Did", "On", "Rule"), examples, noun="example")
    sections = (
        Section("Totals", facts=facts),
        Section("Rules", tables=(rules,)),
        Section("Examples", () if examples else ("None.",), tables=(shown,) if examples else ()),
    )
    notes = (
        f"Destination: {report.destination}",
        f"As read at {format_instant(now)}, by airflow-audit-provider {__version__}. All times are UTC.",
        "Nothing was written to the destination.",
    )
    title = "Back-test of detection rules on Cloudflare audit logs"
    return Document(title, Verdict.GOOD, headline, notes, (Dataset("", sections),))


def _rule_row(one: RuleReport) -> Row:
    busiest = f"{one.busiest_day} ({one.busiest_day_count:,})" if one.busiest_day else ""
    counts = (f"{one.alert_count:,}", f"{one.alerts_per_day:.2f}", f"{one.days_with_alerts:,}")
    return Row((printable(one.title), one.level, *counts, busiest, f"{one.hours_per_week:.2f}"))


def _example_rows(one: RuleReport) -> list[Row]:
    rows = []
    for alert in one.examples:
        facts = alert.record
        who, on = facts.get("actor_email") or facts.get("actor_id"), facts.get("resource_id") or facts.get("zone_name")
        cells = (who, facts.get("action_type"), on)
        rows.append(Row((alert.event_time, *(printable(str(cell or "")) for cell in cells), printable(one.title))))
    return rows
