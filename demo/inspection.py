"""Shows the gap, the late record and the tampered copy as the provider's own commands report them.

Each function returns whether the command found exactly what the demo did on purpose.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from airflow_audit_provider.pipelines.plan_report import backfill_command
from demo import audit
from demo.scenes import DAILY, Cast
from harness.landed import landed_windows


def show_gap(cast: Cast) -> bool:
    """Prints what `coverage` lists as missing, and the command that fills it; returns whether it is the one gap."""
    with cast.narrator.step("airflow-audit-provider coverage"):
        report = audit.coverage(cast.layout, cast.days)
    spans = [span for dataset in report.body["datasets"] for span in dataset["coverage"]["spans"]]
    missing = [(span["start"], span["end"]) for span in spans if span["state"] == "missing"]
    for start, end in missing:
        cast.narrator.console.print(f"    missing  {start} to {end}")
    start_at = datetime.combine(cast.gap, time(), UTC)
    command = backfill_command(DAILY, start_at, start_at, 2, is_whole_days=True)
    cast.narrator.console.print(f"    fill it  {command}", soft_wrap=True)
    expected = (f"{cast.gap.isoformat()}T00:00:00Z", f"{(cast.gap + timedelta(days=1)).isoformat()}T00:00:00Z")
    return report.status == 1 and missing == [expected]


def show_late_record(cast: Cast) -> bool:
    """Prints which generation the late record is in; returns whether it is the second of both formats."""
    day = cast.late_day.isoformat()
    found = {
        each: window.generation
        for each in ("jsonl", "parquet")
        for window in landed_windows(cast.layout.landed / each)
        if window.day == day
    }
    said = " and ".join(f"generation {generation} of {each}" for each, generation in found.items())
    cast.narrator.console.print(f"    late record of {day}: {said or 'nowhere'}")
    return found == {"jsonl": 2, "parquet": 2}


def show_tampering(cast: Cast) -> bool:
    """Verifies what landed, and a copy with one changed byte; returns whether only the copy has findings."""
    layout, say = cast.layout, cast.narrator.console.print
    with cast.narrator.step("airflow-audit-provider verify, of the JSON Lines"):
        whole = audit.verify(layout, layout.landed / "jsonl")
    say(f"    {whole.body['record_count']:,} records verified, {whole.body['severe_count']} severe findings")
    changed = audit.tampered_copy(layout, cast.late_day)
    with cast.narrator.step("airflow-audit-provider verify, of a copy with one byte changed"):
        broken = audit.verify(layout, layout.tampered)
    say(f"    changed byte in {changed.relative_to(layout.root)}", soft_wrap=True)
    for finding in broken.body["findings"]:
        say(f"    {finding['severity']} {finding['kind']}: {finding['detail']}", markup=False, soft_wrap=True)
    named = {Path(finding["key"]).name for finding in broken.body["findings"]}
    return (whole.status, broken.status) == (0, 1) and changed.name in named
