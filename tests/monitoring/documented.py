"""The metrics that the reference documents, by their kind."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "observability.md"
_ROW = re.compile(r"^\| (`[^|]*`) \| (counter|gauge|timer)s? \|", re.MULTILINE)
# The tags that a metric has beside those of a pull.
TAGS = {
    "fetch.retries": {"error": "TransientApiError"},
    "commit.odd_records": {"kind": "no_time"},
    "coverage.gaps": {"reason": "missing"},
    "coverage.windows": {"reason": "missing"},
    "verify.findings": {"severity": "severe", "kind": "part_changed"},
}
PULL_TAGS = {"api_version": "v1", "scope": "account", "file_format": "jsonl"}


def documented() -> dict[str, str]:
    """Returns the kind of each metric by its name."""
    rows = _ROW.findall(PAGE.read_text())
    return {name: kind for names, kind in rows for name in re.findall(r"`([\w.]+)`", names)}


def prometheus_name(name: str, kind: str) -> str:
    """Returns the name that the mapping gives to a metric."""
    ending = {"counter": "_total", "timer": "_seconds", "gauge": ""}[kind]
    return f"cloudflare_audit_logs_{name.replace('.', '_')}{ending}"


def packets(*, failed: bool = False) -> list[str]:
    """Returns one statsd line for each documented metric, in InfluxDB's dialect."""
    lines = []
    for name, kind in documented().items():
        state = {"state": "failed" if failed else "success"} if kind == "timer" else {}
        tags = PULL_TAGS | TAGS.get(name, {}) | state
        text = "".join(f",{key}={value}" for key, value in tags.items())
        value = {"counter": "3|c", "timer": "2500|ms", "gauge": "7|g"}[kind]
        lines.append(f"airflow.cloudflare_audit_logs.{name}{text}:{value}")
    return lines
