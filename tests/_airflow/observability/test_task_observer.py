"""What a task tells of a pull while it goes on: metrics, spans, folded lines; and that nobody has to listen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_audit_provider._airflow.observability import metrics
from airflow_audit_provider.exceptions import AuditProviderError
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.architecture.source_files import PROJECT
from tests.operators.task_setup import WINDOW, TaskSetup
from tests.pipelines.pull.landing import record_at
from tests.pipelines.verify.dataset import PRIVATE_PEM

TAGS = {"api_version": "v1", "scope": "account", "file_format": "jsonl"}
STEPS = ("plan", "fetch", "stage", "encode", "verify", "commit")


class Heard:
    """Stands where Airflow's Stats stands, and keeps what it is told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.timings: dict[str, list[float]] = {}
        self.tags: list[dict[str, str]] = []

    def incr(self, stat: str, count: float = 1, rate: float = 1, *, tags: dict[str, str] | None = None) -> None:
        """Take a counter."""
        assert rate == 1
        self.counts[stat.removeprefix("cloudflare_audit_logs.")] += count  # type: ignore[assignment]  # seconds too
        self.tags.append(dict(tags or {}))

    def timing(self, stat: str, dt: timedelta, *, tags: dict[str, str] | None = None) -> None:
        """Take a timing."""
        named = dict(tags or {})
        self.timings.setdefault(stat.removeprefix("cloudflare_audit_logs."), []).append(dt.total_seconds())
        self.tags.append({**named})


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Listen instead of Airflow's metrics backend."""
    found = Heard()
    monkeypatch.setattr(metrics, "Stats", found)
    return found


def test_counts_are_what_happened(task_setup: TaskSetup, heard: Heard) -> None:
    """Requests, retries, records, parts and bytes are those the fake and the destination know of."""
    task_setup.misbehave("status=503,every=2")
    summary = task_setup.land(verify="recount")
    failed = sum(request.status == 503 for request in task_setup.fake.requests)
    assert failed > 0
    assert heard.counts["fetch.requests"] == len(task_setup.fake.requests)
    assert heard.counts["fetch.retries"] == failed
    assert {tags["error"] for tags in heard.tags if "error" in tags} == {"SourceUnavailableError"}
    assert heard.counts["fetch.records"] == heard.counts["stage.records"] == summary["record_count"] > 0
    assert heard.counts["commit.records"] == summary["record_count"]
    assert heard.counts["commit.windows"] == 1
    assert heard.counts["stage.parts"] == len(task_setup.part_names())
    assert heard.counts["stage.bytes"] == sum(len(task_setup.tree()[name][0]) for name in task_setup.part_names())


def test_the_rate_limit_is_told_in_seconds(task_setup: TaskSetup, heard: Heard) -> None:
    """Seconds waited for the rate limit are what the manifest says, too."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "rate_limit_requests": 1, "rate_limit_seconds": 7})
    operator = task_setup.operator(**WINDOW, verify="recount")
    operator.execute({})
    assert operator.outcome is not None
    assert heard.counts["fetch.throttled_seconds"] == pytest.approx(operator.outcome.manifest.fetch.throttled_seconds)
    assert heard.counts["fetch.throttled_seconds"] > 6


def _audit(task_setup: TaskSetup) -> None:
    """Verify and seal what landed, beside a file of somebody else."""
    (task_setup.destination / "notes.txt").write_text("not ours")
    task_setup.connect("sealing", conn_type="generic", password=PRIVATE_PEM, extra={})
    destination = f"file://{task_setup.destination}"
    CloudflareAuditLogsVerifyOperator(task_id="verify", destination=destination).execute({})
    CloudflareAuditLogsSealOperator(task_id="seal", destination=destination, signing_conn_id="sealing").execute({})


def test_what_is_verified_and_sealed_is_counted(task_setup: TaskSetup, heard: Heard) -> None:
    """Verifying tells what it looked at and each finding by severity and kind; sealing what it wrote."""
    task_setup.land()
    heard.counts.clear()
    heard.tags.clear()
    _audit(task_setup)
    (part,) = task_setup.part_names()
    assert heard.counts == {
        "verify.windows": 1,
        "verify.parts": 1,
        "verify.records": 300,
        "verify.bytes": len(task_setup.tree()[part][0]),
        "verify.findings": 1,
        "commit.seals": 1,
        "commit.signatures": 1,
    }
    assert [tags for tags in heard.tags if tags] == [{"severity": "mild", "kind": "object_foreign"}]


def test_findings_are_counted_where_they_fail_the_task(task_setup: TaskSetup, heard: Heard) -> None:
    """A severe finding is told before it fails the task, which is when somebody wants to know."""
    task_setup.land()
    (part,) = task_setup.part_names()
    (task_setup.destination / part).unlink()
    heard.tags.clear()
    with pytest.raises(AirflowFailException):
        _audit(task_setup)
    assert {"severity": "severe", "kind": "part_missing"} in heard.tags
    assert heard.counts["verify.bytes"] == 0


def test_a_second_run_commits_nothing(task_setup: TaskSetup, heard: Heard) -> None:
    """A run that finds everything committed adds nothing to what is counted as committed; a late record adds one."""
    task_setup.land()
    heard.counts.clear()
    task_setup.land()
    assert heard.counts["fetch.records"] > 0
    assert not {"commit.records", "commit.windows", "stage.parts"} & heard.counts.keys()
    task_setup.fake.add(record_at("2026-10-26T03:00:00Z", "late-one"))
    task_setup.land()
    assert (heard.counts["commit.records"], heard.counts["commit.windows"]) == (1, 1)


def test_tags_are_few_and_of_few_values(task_setup: TaskSetup, heard: Heard) -> None:
    """Each metric says version, scope and format, and no id, window or key anywhere."""
    task_setup.land(verify="recount")
    assert heard.tags
    for tags in heard.tags:
        assert {name: tags[name] for name in TAGS} == TAGS
        assert tags.keys() - TAGS.keys() <= {"state", "error"}
    said = str(heard.tags) + str(heard.counts.keys()) + str(heard.timings.keys())
    assert not re.search(r"[0-9a-f]{8}|\d{4}-\d\d|20\d{6}", said)


def test_each_step_is_timed(task_setup: TaskSetup, heard: Heard) -> None:
    """Every verb has a duration; a step that fails says so."""
    task_setup.land(verify="recount")
    assert heard.timings.keys() == {f"{step}.duration" for step in STEPS}
    assert {tags["state"] for tags in heard.tags if "state" in tags} == {"success"}
    heard.tags.clear()
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "max_attempts": 1})
    task_setup.misbehave("status=503")
    with pytest.raises(AuditProviderError):
        task_setup.land(destination=f"file://{task_setup.destination}/other")
    assert "failed" in {tags.get("state") for tags in heard.tags}


def test_documented_metrics_are_those_sent(task_setup: TaskSetup, heard: Heard) -> None:
    """The reference names each metric that is sent, and no other."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "rate_limit_requests": 1, "rate_limit_seconds": 7})
    task_setup.misbehave("status=503,every=2")
    task_setup.land(verify="recount")
    _audit(task_setup)
    text = (PROJECT / "docs" / "reference" / "observability.md").read_text()
    named = set(re.findall(r"`((?:plan|fetch|encode|stage|commit|verify)\.\w+)`", text))
    assert named == heard.counts.keys() | heard.timings.keys()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A task's span that is recorded, and what is exported below it."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    with provider.get_tracer("airflow").start_as_current_span("task"):
        yield exporter


def _by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name.removeprefix("cloudflare_audit_logs."): span for span in exporter.get_finished_spans()}


def test_steps_are_spans_below_the_tasks(task_setup: TaskSetup, spans: InMemorySpanExporter) -> None:
    """Plan, fetch, verify and commit are children of the task's span, stage is one of fetch."""
    summary = task_setup.land(verify="recount")
    found = _by_name(spans)
    task = trace.get_current_span().get_span_context()
    assert found.keys() == {"plan", "fetch", "stage", "verify", "commit"}
    for name in ("plan", "fetch", "verify", "commit"):
        assert _parent(found[name]) == task.span_id
    assert _parent(found["stage"]) == _span_id(found["fetch"])
    said = {**(found["fetch"].attributes or {}), **(found["commit"].attributes or {})}
    assert said["cloudflare_audit_logs.record_count"] == summary["record_count"]
    assert str(said["cloudflare_audit_logs.manifest_key"]) in summary["manifest_uri"]
    assert trace.get_current_span().get_span_context() == task


def test_an_error_is_on_the_span_it_struck(task_setup: TaskSetup, spans: InMemorySpanExporter) -> None:
    """The span of the step that failed is marked, and the one before it is not."""
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


def test_without_a_span_nothing_is_traced(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no span is recorded no tracer is asked for."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a tracer was asked for")

    monkeypatch.setattr(trace, "get_tracer", refuse)
    assert task_setup.land()["record_count"] > 0


def test_lines_of_fetching_are_folded(
    task_setup: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Airflow's log page folds progress and waits, and shows the window and the summary."""
    caplog.set_level("INFO")
    task_setup.operator(**WINDOW, verify="recount").execute({})
    # Airflow's versions log by structlog to the terminal, or by the standard library.
    said = capsys.readouterr().out + "\n".join(record.getMessage() for record in caplog.records)
    inside, outside = _parted(said)
    assert said.count("::group::") == said.count("::endgroup::") == 2
    assert "::group::fetch [2026-10-26T00:00:00Z" in said
    assert any("records in" in line for line in inside)
    assert any("Window" in line for line in outside)
    assert any("Committed" in line for line in outside)


def _parted(said: str) -> tuple[list[str], list[str]]:
    """Return the lines inside folds, and those outside."""
    inside: list[str] = []
    outside: list[str] = []
    is_open = False
    for line in said.splitlines():
        is_open = (is_open or "::group::" in line) and "::endgroup::" not in line
        (inside if is_open else outside).append(line)
    return inside, outside
