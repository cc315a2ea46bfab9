"""Measures the time that the bundled rules take: ``python -m bench.detections``."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from airflow_audit_provider.core.api.records import ApiVersion, read_records
from airflow_audit_provider.formats.sigma.loading import load_rules
from airflow_audit_provider.formats.sigma.matching import find_matches, normalized_rows
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.settings import Settings

END = datetime(2026, 11, 1, tzinfo=UTC)
PER_DAY, DAYS = 2_000, 5


def main() -> None:
    """Prints the CPU time of loading, and of each record and rule."""
    load_rules()
    before = time.process_time()
    rules = load_rules()
    print(f"load {len(rules)} rules, again: {time.process_time() - before:.2f} s of CPU time")
    fake = FakeCloudflare(lambda: END + timedelta(days=1), Settings(records_per_day=PER_DAY))
    for version in ApiVersion:
        truth = fake.truth(str(version), None, END - timedelta(days=DAYS), END)
        rows = normalized_rows(version, read_records(version, [row.raw for row in truth]))
        find_matches(rules, rows)
        before = time.process_time()
        count = len(find_matches(rules, rows))
        seconds = time.process_time() - before
        each = seconds / rows.num_rows * 1e6
        print(
            f"{version}: {rows.num_rows} records, {len(rules)} rules, {count} matches: {seconds:.2f} s of CPU time, "
            f"{each:.1f} µs a record, {each / len(rules):.2f} µs a record and rule"
        )


if __name__ == "__main__":
    main()
