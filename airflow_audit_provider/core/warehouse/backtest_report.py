"""Report of a back-test: how many alerts a day rules would have given, with examples, and what they would cost people.

Invariant: a rule that gave no alert is in the report, and so is every day of the range in the averages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from airflow_audit_provider.core.verification.findings import as_table
from airflow_audit_provider.core.warehouse.alerts import Alert
from airflow_audit_provider.core.warehouse.detections import LEVELS, Rule
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant

MOST_EXAMPLES = 3
# Time that a person takes to look at an alert and to decide that it is harmless, as a ground for comparison.
MINUTES_PER_ALERT = 10.0
_DAYS_A_WEEK = 7
_MINUTES_AN_HOUR = 60


class RuleTally:
    """Counts the alerts of one rule by UTC day, and keeps the first examples."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.by_day: Counter[date] = Counter()
        self.examples: list[Alert] = []

    @property
    def wants_example(self) -> bool:
        """Whether another example is kept."""
        return len(self.examples) < MOST_EXAMPLES

    def count(self, event_ns: Iterable[int]) -> None:
        """Counts alerts by the times of their records."""
        self.by_day.update(datetime.fromtimestamp(one // 1_000_000_000, UTC).date() for one in event_ns)


class RuleReport(msgspec.Struct, frozen=True):
    """What a rule would have given: alerts in all and for a day, the busiest day, and examples."""

    rule_id: str
    rule_version: str
    title: str
    level: str
    alert_count: int
    alerts_per_day: float
    days_with_alerts: int
    busiest_day: str | None
    busiest_day_count: int
    hours_per_week: float
    examples: tuple[Alert, ...]


class BacktestReport(msgspec.Struct, frozen=True):
    """A back-test of rules over the committed windows of a range.

    ``hours_per_week`` is the time of people at ``minutes_per_alert``.
    """

    destination: str
    start: str | None
    end: str | None
    window_count: int
    record_count: int
    alert_count: int
    alerts_per_day: float
    minutes_per_alert: float
    hours_per_week: float
    rules: tuple[RuleReport, ...]
    report_version: int = 1


def backtest_report(
    destination: str,
    windows: Sequence[TimeWindow],
    record_count: int,
    tallies: Sequence[RuleTally],
    minutes_per_alert: float = MINUTES_PER_ALERT,
) -> BacktestReport:
    """Returns the report of what was counted, the rule with the most alerts first."""
    # Committed windows do not overlap, so their lengths are the time that the alerts come from.
    days = sum((one.length for one in windows), timedelta()) / timedelta(days=1)
    rules = [_rule_report(one, days, minutes_per_alert) for one in tallies]
    total = sum(one.alert_count for one in rules)
    return BacktestReport(
        destination=destination,
        start=format_instant(min(one.start for one in windows)) if windows else None,
        end=format_instant(max(one.end for one in windows)) if windows else None,
        window_count=len(windows),
        record_count=record_count,
        alert_count=total,
        alerts_per_day=_per_day(total, days),
        minutes_per_alert=minutes_per_alert,
        hours_per_week=_hours(total, days, minutes_per_alert),
        rules=tuple(sorted(rules, key=lambda one: (-one.alert_count, -_rank(one.level), one.rule_id))),
    )


def _rule_report(tally: RuleTally, days: float, minutes: float) -> RuleReport:
    total = tally.by_day.total()
    busiest = max(tally.by_day, key=lambda day: (tally.by_day[day], day), default=None)
    return RuleReport(
        rule_id=tally.rule.id,
        rule_version=str(tally.rule.version),
        title=tally.rule.title,
        level=tally.rule.level,
        alert_count=total,
        alerts_per_day=_per_day(total, days),
        days_with_alerts=len(tally.by_day),
        busiest_day=busiest.isoformat() if busiest else None,
        busiest_day_count=tally.by_day[busiest] if busiest else 0,
        hours_per_week=_hours(total, days, minutes),
        examples=tuple(tally.examples),
    )


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1


def _per_day(total: int, days: float) -> float:
    return round(total / days, 3) if days else 0.0


def _hours(total: int, days: float, minutes: float) -> float:
    return round(total / days * _DAYS_A_WEEK * minutes / _MINUTES_AN_HOUR, 2) if days else 0.0


def backtest_text(report: BacktestReport) -> str:
    """Returns the report as text: a table of the rules, then examples, then the sums."""
    rows = [("level", "alerts", "a day", "days", "busiest day", "hours a week", "rule")]
    for one in report.rules:
        busiest = f"{one.busiest_day} ({one.busiest_day_count})" if one.busiest_day else "-"
        counts = (str(one.alert_count), f"{one.alerts_per_day:.2f}", str(one.days_with_alerts))
        rows.append((one.level, *counts, busiest, f"{one.hours_per_week:.2f}", one.title))
    return as_table(rows) + _examples(report) + "\n" + _sums(report)


def _examples(report: BacktestReport) -> str:
    rows: list[tuple[str, ...]] = [("time", "who", "did", "on", "rule")]
    for one in report.rules:
        for alert in one.examples:
            facts = alert.record
            who = facts.get("actor_email") or facts.get("actor_id") or "-"
            on = facts.get("resource_id") or facts.get("zone_name") or "-"
            cells = (who, facts.get("action_type") or "-", on)
            rows.append((alert.event_time, *(str(cell)[:60] for cell in cells), one.title))
    return "\n" + as_table(rows) if len(rows) > 1 else ""


def _sums(report: BacktestReport) -> str:
    lines = [
        ("windows", f"{report.window_count}"),
        ("records", f"{report.record_count}"),
        ("alerts", f"{report.alert_count}, {report.alerts_per_day:.2f} a day"),
        ("people", f"{report.hours_per_week:.2f} hours a week at {report.minutes_per_alert:g} minutes an alert"),
    ]
    return as_table(lines)
