"""Tests of the metrics, spans and grouped log lines of a pull, and that all of them are optional."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_audit_provider._airflow.observability import metrics
from airflow_audit_provider._airflow.shared_budget import BudgetLog
from airflow_audit_provider.exceptions import AuditProviderError
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.testing.instants import to_ns
from airflow_audit_provider.testing.records import Feed, Row
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.architecture.source_files import PROJECT
from tests.operators.task_setup import WINDOW, TaskSetup
from tests.pipelines.pull.landing import record_at
from tests.pipelines.verify.dataset import PRIVATE_PEM

TAGS = {"api_version": "v1", "scope": "account", "file_format": "jsonl"}
STEPS = ("plan", "fetch", "stage", "encode", "verify", "commit")


class RecordedStats:
    """Replaces Airflow's ``Stats`` and records each call."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.timings: dict[str, list[float]] = {}
        self.gauges: dict[str, list[float]] = {}
        self.tags: list[dict[str, str]] = []

    def incr(self, stat: str, count: float = 1, rate: float = 1, *, tags: dict[str, str] | None = None) -> None:
        """Records a counter."""
        assert rate == 1
        self.counts[stat.removeprefix("cloudflare_audit_logs.")] += count  # type: ignore[assignment]  # seconds too
        self.tags.append(dict(tags or {}))

    def gauge(self, stat: str, value: float, *, tags: dict[str, str] | None = None) -> None:
        """Records a gauge."""
        self.gauges.setdefault(stat.removeprefix("cloudflare_audit_logs."), []).append(value)
        self.tags.append(dict(tags or {}))

    def timing(self, stat: str, dt: timedelta, *, tags: dict[str, str] | None = None) -> None:
        """Records a timing."""
        named = dict(tags or {})
        self.timings.setdefault(stat.removeprefix("cloudflare_audit_logs."), []).append(dt.total_seconds())
        self.tags.append({**named})


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> RecordedStats:
    """Replaces Airflow's metrics backend."""
    found = RecordedStats()
    monkeypatch.setattr(metrics, "Stats", found)
    return found


def test_counters_match_requests_and_files(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """Counts of requests, retries, records, parts and bytes match the fake and the destination."""
    task_setup.misbehave("status=503,every=2")
    summary = task_setup.land(verify="recount")
    failed = sum(request.status == 503 for request in task_setup.fake.requests)
    assert failed > 0
    assert stats.counts["fetch.requests"] == len(task_setup.fake.requests)
    assert stats.counts["fetch.retries"] == failed
    assert {tags["error"] for tags in stats.tags if "error" in tags} == {"SourceUnavailableError"}
    assert stats.counts["fetch.records"] == stats.counts["stage.records"] == summary["record_count"] > 0
    assert stats.counts["commit.records"] == summary["record_count"]
    assert stats.counts["commit.windows"] == 1
    assert stats.counts["stage.parts"] == len(task_setup.part_names())
    assert stats.counts["stage.bytes"] == sum(len(task_setup.tree()[name][0]) for name in task_setup.part_names())


def test_throttled_seconds_match_manifest(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """The counter of seconds waited for the rate limit equals the manifest's."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "rate_limit_requests": 1, "rate_limit_seconds": 7})
    operator = task_setup.operator(**WINDOW, verify="recount")
    operator.execute({})
    assert operator.outcome is not None
    assert stats.counts["fetch.throttled_seconds"] == pytest.approx(operator.outcome.manifest.fetch.throttled_seconds)
    assert stats.counts["fetch.throttled_seconds"] > 6


def _audit(task_setup: TaskSetup) -> None:
    """Verifies and seals the destination, which also has a file of another program."""
    (task_setup.destination / "notes.txt").write_text("not ours")
    task_setup.connect("sealing", conn_type="generic", password=PRIVATE_PEM, extra={})
    destination = f"file://{task_setup.destination}"
    CloudflareAuditLogsVerifyOperator(task_id="verify", destination=destination).execute({})
    CloudflareAuditLogsSealOperator(task_id="seal", destination=destination, signing_conn_id="sealing").execute({})


@pytest.mark.integration
def test_verify_and_seal_are_counted(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """Verify counts windows, parts, records, bytes and findings; seal counts seals and signatures."""
    task_setup.land()
    stats.counts.clear()
    stats.tags.clear()
    _audit(task_setup)
    (part,) = task_setup.part_names()
    assert stats.counts == {
        "verify.windows": 1,
        "verify.parts": 1,
        "verify.records": 300,
        "verify.bytes": len(task_setup.tree()[part][0]),
        "verify.findings": 1,
        "commit.seals": 1,
        "commit.signatures": 1,
    }
    assert [tags for tags in stats.tags if tags] == [{"severity": "mild", "kind": "object_foreign"}]


def test_severe_finding_is_counted_before_the_task_fails(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """Counts a severe finding although the task fails because of it."""
    task_setup.land()
    (part,) = task_setup.part_names()
    (task_setup.destination / part).unlink()
    stats.tags.clear()
    with pytest.raises(AirflowFailException):
        _audit(task_setup)
    assert {"severity": "severe", "kind": "part_missing"} in stats.tags
    assert stats.counts["verify.bytes"] == 0


@pytest.mark.integration
def test_second_run_counts_no_commit(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """Counts nothing as committed in a second run, and one record after a late record."""
    task_setup.land()
    stats.counts.clear()
    task_setup.land()
    assert stats.counts["fetch.records"] > 0
    assert not {"commit.records", "commit.windows", "stage.parts"} & stats.counts.keys()
    task_setup.fake.add(record_at("2026-10-26T03:00:00Z", "late-one"))
    task_setup.land()
    assert (stats.counts["commit.records"], stats.counts["commit.windows"]) == (1, 1)


def _add_odd_records(task_setup: TaskSetup) -> None:
    """Adds three records that break the API's contract; an id alone is a record without a time."""
    for number, raw in enumerate([b'{"id":"a","when":null}', b'{"id":"b"}', b"null"]):
        at_ns = to_ns(datetime(2026, 10, 26, 12, tzinfo=UTC)) + number
        task_setup.fake._dataset._insert(Feed("v1", f"accounts/{ACCOUNT_ID}"), Row(at_ns, f"odd-{number}", raw))


@pytest.mark.integration
def test_odd_records_are_counted_by_kind(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """Counts records that break the API's contract by kind, once, with the usual tags."""
    _add_odd_records(task_setup)
    task_setup.land()
    task_setup.land()
    assert stats.counts["commit.odd_records"] == 3
    kinds = [tags for tags in stats.tags if "kind" in tags]
    assert kinds == [{**TAGS, "kind": "not_an_object"}, {**TAGS, "kind": "time"}]


def test_tags_have_few_names_and_values(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """Each metric has version, scope and format as tags, and no id, window or key."""
    task_setup.land(verify="recount")
    assert stats.tags
    for tags in stats.tags:
        assert {name: tags[name] for name in TAGS} == TAGS
        assert tags.keys() - TAGS.keys() <= {"state", "error"}
    text = str(stats.tags) + str(stats.counts.keys()) + str(stats.timings.keys())
    assert not re.search(r"[0-9a-f]{8}|\d{4}-\d\d|20\d{6}", text)


@pytest.mark.integration
def test_each_step_has_a_duration(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """Every step has a duration; a failed step has the state ``failed``."""
    task_setup.land(verify="recount")
    assert stats.timings.keys() == {f"{step}.duration" for step in STEPS}
    assert {tags["state"] for tags in stats.tags if "state" in tags} == {"success"}
    stats.tags.clear()
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "max_attempts": 1})
    task_setup.misbehave("status=503")
    with pytest.raises(AuditProviderError):
        task_setup.land(destination=f"file://{task_setup.destination}/other")
    assert "failed" in {tags.get("state") for tags in stats.tags}


@pytest.mark.integration
def test_documented_metrics_are_those_sent(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """The reference names each metric that is sent, and no other."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "rate_limit_requests": 1, "rate_limit_seconds": 7})
    task_setup.misbehave("status=503,every=2")
    _add_odd_records(task_setup)
    _land_newest(task_setup)
    task_setup.land(verify="recount")
    task_setup.fake.add(record_at("2026-10-26T03:00:00Z", "late-one"))
    task_setup.land()
    _audit(task_setup)
    budget_log = BudgetLog(logging.getLogger("test"), "cloudflare_default")
    budget_log.on_outage("no folder can be used")
    budget_log.on_problem("its content is damaged")
    text = (PROJECT / "docs" / "reference" / "observability.md").read_text()
    named = set(re.findall(r"`((?:plan|fetch|encode|stage|commit|verify|freshness)\.\w+)`", text))
    # Time stamps are counted only with an authority, which the seal operator's own tests start.
    assert named - {"commit.timestamps"} == stats.counts.keys() | stats.timings.keys() | stats.gauges.keys()


def _land_newest(task_setup: TaskSetup) -> datetime:
    """Lands the last day that is settled, and returns its end."""
    end = task_setup.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    bounds = {"window_start": end - timedelta(days=1), "window_end": end}
    task_setup.operator(**bounds).execute({})
    return end


@pytest.mark.integration
def test_freshness_is_sent_for_the_newest_window_and_not_by_a_backfill(
    task_setup: TaskSetup, stats: RecordedStats
) -> None:
    """The lag counts from the window's end, the age from its newest record; older windows send neither."""
    task_setup.land()
    assert stats.gauges == {}
    end = _land_newest(task_setup)
    (lag,), (age,) = stats.gauges["freshness.landed_lag_seconds"], stats.gauges["freshness.last_event_age_seconds"]
    assert lag == (task_setup.clock.now() - end).total_seconds() > 0
    assert lag < age < lag + 86400
    task_setup.land()
    assert [len(values) for values in stats.gauges.values()] == [1, 1]


@pytest.mark.integration
def test_lateness_is_sent_once_for_each_addition(task_setup: TaskSetup, stats: RecordedStats) -> None:
    """The first commit and an unchanged window send nothing; a late record sends the time from its event."""
    task_setup.land()
    task_setup.land()
    assert "commit.late_record_lag" not in stats.timings
    task_setup.fake.add(record_at("2026-10-26T03:00:00Z", "late-one"))
    task_setup.land()
    task_setup.land()
    happened_at = datetime(2026, 10, 26, 3, tzinfo=UTC)
    assert stats.timings["commit.late_record_lag"] == [(task_setup.clock.now() - happened_at).total_seconds()]
    task_setup.operator(**WINDOW, replace=True).execute({})
    assert len(stats.timings["commit.late_record_lag"]) == 1


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Records the spans below a task's span."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    with provider.get_tracer("airflow").start_as_current_span("task"):
        yield exporter


def _by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name.removeprefix("cloudflare_audit_logs."): span for span in exporter.get_finished_spans()}


@pytest.mark.integration
def test_steps_are_child_spans_of_the_task(task_setup: TaskSetup, spans: InMemorySpanExporter) -> None:
    """Plan, fetch, verify and commit are children of the task's span; stage is a child of fetch."""
    summary = task_setup.land(verify="recount")
    found = _by_name(spans)
    task = trace.get_current_span().get_span_context()
    assert found.keys() == {"plan", "fetch", "stage", "verify", "commit"}
    for name in ("plan", "fetch", "verify", "commit"):
        assert _parent(found[name]) == task.span_id
    assert _parent(found["stage"]) == _span_id(found["fetch"])
    text = {**(found["fetch"].attributes or {}), **(found["commit"].attributes or {})}
    assert text["cloudflare_audit_logs.record_count"] == summary["record_count"]
    assert str(text["cloudflare_audit_logs.manifest_key"]) in summary["manifest_uri"]
    assert trace.get_current_span().get_span_context() == task


def test_failed_step_marks_only_its_own_span(task_setup: TaskSetup, spans: InMemorySpanExporter) -> None:
    """Sets an error status on the span of the failed step, not on the span before it."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "max_attempts": 1})
    task_setup.misbehave("status=503")
    with pytest.raises(AuditProviderError):
        task_setup.land()
    found = _by_name(spans)
    assert not found["fetch"].status.is_ok
    assert found["plan"].status.is_unset


def _parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def _span_id(span: ReadableSpan) -> int | None:
    return span.context.span_id if span.context else None


def test_tracing_without_active_span_is_off(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests no tracer if no span is recorded."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a tracer was asked for")

    monkeypatch.setattr(trace, "get_tracer", refuse)
    assert task_setup.land()["record_count"] > 0


def test_progress_lines_are_grouped(
    task_setup: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups progress and waits in the log; window and summary stay outside of the group."""
    caplog.set_level("INFO")
    task_setup.operator(**WINDOW, verify="recount").execute({})
    # Airflow's versions log by structlog to the terminal, or by the standard library.
    text = capsys.readouterr().out + "\n".join(record.getMessage() for record in caplog.records)
    inside, outside = _parted(text)
    assert text.count("::group::") == text.count("::endgroup::") == 2
    assert "::group::fetch [2026-10-26T00:00:00Z" in text
    assert any("records in" in line for line in inside)
    assert any("Window" in line for line in outside)
    assert any("Committed" in line for line in outside)


def test_second_look_is_a_line_inside_the_group_of_the_reading(
    task_setup: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs no group inside of a group."""
    caplog.set_level("INFO")
    task_setup.operator(**WINDOW, verify="edges").execute({})
    text = capsys.readouterr().out + "\n".join(record.getMessage() for record in caplog.records)
    inside, _ = _parted(text)
    assert text.count("::group::") == text.count("::endgroup::") == 1
    assert any("verify [2026-10-26T00:00:00Z" in line for line in inside)


def _parted(text: str) -> tuple[list[str], list[str]]:
    """Returns the lines inside groups, and those outside."""
    inside: list[str] = []
    outside: list[str] = []
    is_open = False
    for line in text.splitlines():
        is_open = (is_open or "::group::" in line) and "::endgroup::" not in line
        (inside if is_open else outside).append(line)
    return inside, outside
