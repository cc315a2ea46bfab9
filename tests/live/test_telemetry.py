"""Real tasks report what they land and verify: statsd, OpenTelemetry, OpenLineage, links.

The four environments lack the packages for this, so these tests run in the environment of the tests: in an Airflow of
their own, and therefore at night. `make test` has the metrics of real tasks in `test_gaps`, and each span and lineage
event in `tests/_airflow/observability`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.cloudflare_account import CloudflareAccount
from tests.live.airflow_home import Home
from tests.live.live_airflow import LiveAirflow, start_airflow
from tests.live.telemetry_receivers import Collector, Span, Statsd, otlp, statsd
from tests.live.versions.versions import PROJECT, VERSIONS
from tests.pipelines.verify.dataset import PRIVATE_PEM

pytestmark = pytest.mark.nightly
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
START = END - timedelta(days=1)
FAKE_OPTIONS = ("--records-per-day", "2500", "--even-days", "--gzip", "--misbehave", "status=503,every=4")
# Three requests in two seconds: the pull has to wait for its rate limit.
RATE_LIMIT = {"rate_limit_requests": 3, "rate_limit_seconds": 2}
PREFIX = "airflow.cloudflare_audit_logs."
AUDITED = {
    *("verify.windows", "verify.parts", "verify.records", "verify.bytes", "verify.findings"),
    *("commit.seals", "commit.signatures"),
}


# Sent only if a record comes late, if the API breaks its contract, if a seal gets a time stamp, or if the shared
# request budget cannot be used; this run has none of them.
NOT_SEEN = {
    *("commit.late_record_lag", "commit.odd_records", "commit.timestamps"),
    *("fetch.budget_outages", "fetch.budget_problems"),
}


class Watched(NamedTuple):
    """One run of the DAG ``seen``, and the telemetry received from it."""

    live: LiveAirflow
    run_id: str
    statsd: Statsd
    collector: Collector

    @property
    def summary(self) -> dict[str, Any]:
        """Returns the XCom of the task."""
        summary: dict[str, Any] = self.live.xcom("seen", self.run_id, "land")
        return summary

    @property
    def log(self) -> str:
        """Returns the log of the task."""
        return self.live.log(self.live.tasks("seen", self.run_id)[0])

    def counted(self, name: str) -> float:
        """Returns the sum of one counter."""
        return sum(metric.value for metric in self.statsd.metrics(PREFIX) if metric.name == name)


def _settings(home: Home, account: CloudflareAccount, heard: Statsd, collector: Collector) -> Mapping[str, str]:
    connection = account.connection()
    extra = {"account_id": account.account_id, **RATE_LIMIT}
    return {
        "AIRFLOW_CONN_CLOUDFLARE_DEFAULT": json.dumps({**connection, "extra": extra}),
        "AIRFLOW_CONN_SIGNING": json.dumps({"conn_type": "generic", "password": PRIVATE_PEM}),
        "AUDIT_LANDED": home.landed.as_uri(),
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(heard.port),
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__TRACES__OTEL_ON": "True",
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(home.root / "lineage.jsonl"), "append": True}
        ),
    }


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One day landed, verified and sealed by real tasks of a real scheduler, with all receivers running."""
    home = Home(tmp_path_factory.mktemp("seen") / "home", Path(sys.prefix))
    dags = [Path(__file__).parent / "dags" / "telemetry.py"]
    with statsd() as heard, otlp() as collector:

        def settings(home: Home, account: CloudflareAccount) -> Mapping[str, str]:
            return _settings(home, account, heard, collector)

        newest = VERSIONS[-1].number
        with start_airflow(home, newest, dags=dags, fake_options=FAKE_OPTIONS, settings=settings) as live:
            live.unpause("seen", "seen_audited")
            conf = {"conn_id": "cloudflare_default", "start": START.isoformat(), "end": END.isoformat()}
            run_id = live.trigger("seen", conf=conf)
            assert live.await_run("seen", run_id) == "success", live.log(live.tasks("seen", run_id)[0])
            # Something for the verification to find.
            (home.landed / "seen" / "notes.txt").write_text("not ours")
            audited_id = live.trigger("seen_audited")
            assert live.await_run("seen_audited", audited_id) == "success", live.tasks("seen_audited", audited_id)
            live.instance.wait(lambda: bool(_named(collector, "worker.land")), 60.0, "the task's span to arrive")
            yield Watched(live, run_id, heard, collector)


def _named(collector: Collector, name: str) -> list[Span]:
    return [span for span in collector.spans() if span.name == name]


def test_metrics_are_what_happened(watched: Watched) -> None:
    """The counters that a statsd server received agree with the fake, the manifest and the files."""
    answered = watched.live.account.answered()
    manifest = json.loads(Path(watched.summary["manifest_uri"].removeprefix("file://")).read_bytes())
    assert watched.counted("fetch.requests") == sum(answered.values()) == manifest["fetch"]["request_count"]
    assert watched.counted("fetch.retries") == answered[503] == manifest["fetch"]["retry_count"] > 0
    assert watched.counted("fetch.throttled_seconds") == pytest.approx(manifest["fetch"]["throttled_seconds"], abs=0.01)
    assert watched.counted("fetch.throttled_seconds") > 0
    records = len(watched.live.truth_ids(START, END))
    for name in ("fetch.records", "stage.records", "commit.records"):
        assert watched.counted(name) == records > 0
    parts = [path for path in (watched.live.home.landed / "seen").glob("dt=*/**/part-*") if path.is_file()]
    size_bytes = sum(path.stat().st_size for path in parts)
    assert watched.counted("stage.bytes") == watched.counted("verify.bytes") == size_bytes
    assert watched.counted("verify.records") == records
    assert (watched.counted("verify.windows"), watched.counted("verify.parts")) == (1, len(parts))
    assert (watched.counted("commit.seals"), watched.counted("commit.signatures")) == (1, 1)


def test_metrics_are_tagged_and_documented(watched: Watched) -> None:
    """All metrics of a pull have the same tags, findings their own, and the reference names each metric."""
    metrics = watched.statsd.metrics(PREFIX)
    wanted = {"api_version": "v1", "scope": "account", "file_format": "jsonl"}
    pulls = [metric for metric in metrics if metric.name not in AUDITED]
    assert all(metric.tags | wanted == metric.tags for metric in pulls)
    assert {name for metric in pulls for name in metric.tags} == {*wanted, "state", "error"}
    findings = [(metric.value, metric.tags) for metric in metrics if metric.name == "verify.findings"]
    assert findings == [(1, {"severity": "mild", "kind": "object_foreign"})]
    text = (PROJECT / "docs" / "reference" / "observability.md").read_text()
    named = set(re.findall(r"`((?:plan|fetch|encode|stage|commit|verify)\.\w+)`", text))
    assert {metric.name for metric in metrics} == named - NOT_SEEN


def test_spans_lie_below_the_tasks(watched: Watched) -> None:
    """Plan, fetch, verify and commit are children of the worker's span, and stage of fetch, in one trace."""
    (task,) = _named(watched.collector, "worker.land")
    found = {
        name: _named(watched.collector, f"cloudflare_audit_logs.{name}")
        for name in ("plan", "fetch", "stage", "verify", "commit")
    }
    for name in ("plan", "fetch", "verify", "commit"):
        (span,) = found[name]
        assert (span.parent_id, span.trace_id) == (task.span_id, task.trace_id), name
    (fetch,), (commit,) = found["fetch"], found["commit"]
    assert found["stage"]
    assert {span.parent_id for span in found["stage"]} == {fetch.span_id}
    assert fetch.attributes["cloudflare_audit_logs.record_count"] == watched.summary["record_count"]
    assert watched.summary["manifest_uri"].endswith(commit.attributes["cloudflare_audit_logs.manifest_key"])
    assert not any(span.failed for spans in found.values() for span in spans)


def test_lineage_is_reported(watched: Watched) -> None:
    """The event of the finished task names the audit log, and the dataset with its fields, rows and bytes."""
    lines = (watched.live.home.root / "lineage.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    (event,) = (each for each in events if each["eventType"] == "COMPLETE" and each["job"]["name"] == "seen.land")
    account, summary = watched.live.account, watched.summary
    assert [(each["namespace"], each["name"]) for each in event["inputs"]] == [
        (f"cloudflare://{str(account.base_url).split('/')[2]}", f"accounts/{account.account_id}/audit_logs")
    ]
    (output,) = event["outputs"]
    assert (output["namespace"], output["name"]) == ("file", str(watched.live.home.landed / "seen"))
    fields = {field["name"]: field["type"] for field in output["facets"]["schema"]["fields"]}
    assert fields.items() >= {"id": "string", "when": "timestamp", "action.result": "boolean"}.items()
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (summary["record_count"], summary["size_bytes"])


def test_lineage_and_asset_are_one_dataset(watched: Watched) -> None:
    """The dataset name that Airflow derives from the asset outlet is the one that the operator reports."""
    lines = (watched.live.home.root / "lineage.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if '"seen.land"' in line]
    assert len({(out["namespace"], out["name"]) for event in events for out in event["outputs"]}) == 1
    assert {event["eventType"] for event in events if event["outputs"]} >= {"START", "COMPLETE"}


def test_asset_event_says_what_landed(watched: Watched) -> None:
    """The event's extra has window, counts, bytes, digest and manifest URI, in a few hundred bytes."""
    (event,) = watched.live.events((watched.live.home.landed / "seen").as_uri())
    assert event["extra"] == {"summary": event["extra"]["summary"], **watched.summary}
    assert event["extra"]["summary"].endswith(f": {watched.summary['record_count']:,} records")
    said = {"window_start", "window_end", "record_count", "part_count", "size_bytes", "records_sha256", "manifest_uri"}
    assert event["extra"].keys() >= said
    assert len(json.dumps(event["extra"])) < 1000


def test_nothing_secret_is_told(watched: Watched) -> None:
    """No metric, span, event or log contains the token."""
    token = watched.live.account.token
    reported = [*watched.statsd.lines, *map(str, watched.collector.spans()), watched.log]
    reported.append((watched.live.home.root / "lineage.jsonl").read_text())
    assert watched.log
    assert not [text for text in reported if token in text]
