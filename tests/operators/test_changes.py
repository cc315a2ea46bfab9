"""Tests that the changes of committed records are derived once, are the true ones, and survive any kill."""

from __future__ import annotations

import gzip
import json
import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.operators.changes import CloudflareAuditLogsChangesOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.pipelines import changes as pipeline
from airflow_audit_provider.pipelines.changes import ChangesSpec, derive_changes
from airflow_audit_provider.testing.changes import SeededChange, seeded_changes
from airflow_audit_provider.testing.instants import SECOND_NS, to_ns
from tests._airflow.coverage_page.in_process import client_of, source_of
from tests.architecture.source_files import PROJECT
from tests.operators.task_setup import END, START, WINDOW, TaskSetup
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError

RANGE: dict[str, Any] = {"start": START, "end": END}
RESOURCES = 12


@pytest.fixture
def task_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TaskSetup:
    """A setup whose log has only the changes that a test adds."""
    return TaskSetup(monkeypatch, tmp_path / "audit", records_per_day=0)


def _changes(task_setup: TaskSetup, count: int = 60, first: int = 0) -> list[SeededChange]:
    """Adds changes of the default day to the fake, from a number on."""
    times = [to_ns(START) + number * 600 * SECOND_NS for number in range(count)]
    changes = seeded_changes(11, times, RESOURCES)
    for change in changes[first:]:
        task_setup.fake.add(change.raw, "v2")
    return changes


def _landed(task_setup: TaskSetup, count: int = 60) -> list[SeededChange]:
    changes = _changes(task_setup, count)
    task_setup.land(api_version="v2", window_end=END)
    task_setup.fake.requests.clear()
    return changes


def _operator(task_setup: TaskSetup, **arguments: Any) -> CloudflareAuditLogsChangesOperator:
    given = {"task_id": "changes", "destination": f"file://{task_setup.destination}", **RANGE, **arguments}
    operator = CloudflareAuditLogsChangesOperator(**given)
    operator.hook = task_setup.hook()
    return operator


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of all files of changes, read by plain file tools."""
    files = sorted((folder / "_changes").rglob("*.jsonl.gz"))
    return [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]


def _values(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["id"]: (row["before"], row["after"]) for row in rows}


def _truth(changes: list[SeededChange]) -> dict[str, Any]:
    return {change.record_id: (change.before, change.after) for change in changes}


def _histories(task_setup: TaskSetup) -> Counter[str]:
    return Counter(asked.path for asked in task_setup.fake.requests if asked.path.endswith("/history"))


def test_changes_of_a_window_are_the_true_ones(task_setup: TaskSetup) -> None:
    """Each record has one row with its true values, and each resource is asked for once."""
    changes = _landed(task_setup)
    summary = _operator(task_setup).execute({})
    rows = _rows(task_setup.destination)
    assert len(rows) == len(changes)
    assert _values(rows) == _truth(changes)
    resources = {change.resource_id for change in changes}
    assert summary == {
        "window_count": 1,
        "record_count": 60,
        "request_count": sum(_histories(task_setup).values()),
        "history_status": {"exact": 60},
        "is_complete": True,
        "skipped_count": 0,
        "older_count": 0,
        "older_command": "",
    }
    assert len(_histories(task_setup)) == len(resources)
    assert summary["request_count"] <= 2.5 * len(resources)


def test_second_run_sends_no_request_and_changes_no_byte(task_setup: TaskSetup) -> None:
    """A window that is done is skipped."""
    _landed(task_setup)
    _operator(task_setup).execute({})
    before = task_setup.tree()
    task_setup.fake.requests.clear()
    assert _operator(task_setup).execute({})["window_count"] == 0
    assert task_setup.tree() == before
    assert task_setup.fake.requests == []


@pytest.mark.parametrize("page_size", [1, 2])
def test_records_of_one_time_on_two_pages_leave_no_value_before(task_setup: TaskSetup, page_size: int) -> None:
    """The order of two records of one time is not known, also if the history has them on two pages."""
    day_ns, first_ns = 86_400 * SECOND_NS, to_ns(START)
    created, one, other, last = seeded_changes(
        5, [first_ns - 2 * day_ns, first_ns - day_ns, first_ns - day_ns, first_ns + 60 * SECOND_NS], 1
    )
    for change in (created, one, other, last):
        task_setup.fake.add(change.raw, "v2")
    task_setup.land(api_version="v2", window_end=END)
    task_setup.misbehave(f"page_ceiling={page_size},endpoint=history")
    assert _operator(task_setup).execute({})["history_status"] == {"ambiguous": 1}
    (row,) = _rows(task_setup.destination)
    assert "before" not in row


def test_summary_names_older_windows_and_the_command_for_them(task_setup: TaskSetup) -> None:
    """Windows before the range without changes are counted, and the command in the summary derives them."""
    days = [START + timedelta(days=number) for number in range(4)]
    for start, end in pairwise(days):
        task_setup.land(api_version="v2", window_start=start, window_end=end)
    _operator(task_setup, start=days[0], end=days[1]).execute({})
    summary = _operator(task_setup, start=days[2], end=days[3]).execute({})
    bounds = "--start 2026-10-27T00:00:00Z --end 2026-10-28T00:00:00Z"
    uri = f"file://{task_setup.destination}"
    assert (summary["older_count"], summary["older_command"]) == (1, f"airflow-audit-provider changes {uri} {bounds}")
    _operator(task_setup, start=days[1], end=days[2]).execute({})
    assert _operator(task_setup, start=days[2], end=days[3]).execute({})["older_count"] == 0


def test_command_for_older_windows_has_the_rule_and_the_connection_of_the_task(task_setup: TaskSetup) -> None:
    """The command in the summary has the privacy rule, without which it fails, and the connection of the task."""
    privacy = {"drop": {"metadata"}}
    for start in (START, START + timedelta(days=1)):
        task_setup.land(api_version="v2", privacy=privacy, window_start=start, window_end=start + timedelta(days=1))
    later = {"start": START + timedelta(days=1), "end": START + timedelta(days=2)}
    summary = _operator(task_setup, privacy=privacy, cloudflare_conn_id="cf two", **later).execute({})
    options = ["--conn-id", "cf two", "--privacy", '{"drop": ["metadata"]}']
    assert shlex.split(summary["older_command"])[-4:] == options


def test_late_records_are_added_without_asking_again(task_setup: TaskSetup) -> None:
    """A new generation asks only for the resources of its late records, and no file is changed."""
    changes = _changes(task_setup, 60, first=2)
    task_setup.land(api_version="v2")
    _operator(task_setup).execute({})
    before = task_setup.tree()
    for change in changes[:2]:
        task_setup.fake.add(change.raw, "v2")
    task_setup.land(api_version="v2")
    task_setup.fake.requests.clear()
    _operator(task_setup).execute({})
    assert {row["id"] for row in _rows(task_setup.destination)} == {change.record_id for change in changes}
    assert all(task_setup.tree()[name] == content for name, content in before.items())
    assert len(_histories(task_setup)) <= 2


def test_verification_takes_changes_for_no_strays(task_setup: TaskSetup) -> None:
    """The folder of changes is no finding of a verification."""
    _landed(task_setup)
    _operator(task_setup).execute({})
    verify = CloudflareAuditLogsVerifyOperator(task_id="verify", destination=f"file://{task_setup.destination}")
    summary = verify.execute({})
    assert (summary["severe_count"], summary["mild_count"]) == (0, 0)


def test_version_1_needs_no_request(task_setup: TaskSetup) -> None:
    """Records of version 1 have both values, so the API is not asked."""
    raw = {"id": "1", "when": "2026-10-26T01:00:00Z", "oldValueJson": {"ttl": 1}, "newValueJson": {"ttl": 2}}
    task_setup.fake.add(json.dumps(raw).encode(), "v1")
    task_setup.land()
    task_setup.fake.requests.clear()
    _operator(task_setup).execute({})
    (row,) = _rows(task_setup.destination)
    assert (row["before"], row["after"], row["fields"], row["history_status"]) == (
        {"ttl": 1},
        {"ttl": 2},
        ["ttl"],
        "recorded",
    )
    assert task_setup.fake.requests == []


@pytest.mark.parametrize(
    ("spec", "status", "most_requests"),
    [
        ("history_status=unavailable", "unavailable", 12),
        ("history_status=not_found", "not_found", 12),
        ("history_status=approximate", "approximate", 30),
        ("status=403,endpoint=history", "forbidden", 1),
    ],
)
def test_status_of_the_api_is_kept(task_setup: TaskSetup, spec: str, status: str, most_requests: int) -> None:
    """What the API states instead of a history is kept in each row that needs it, and a refusal is asked for once."""
    _landed(task_setup)
    task_setup.misbehave(spec)
    summary = _operator(task_setup).execute({})
    assert set(summary["history_status"]) == {status}
    assert summary["request_count"] <= most_requests
    assert len(_rows(task_setup.destination)) == 60


@pytest.mark.parametrize("spec", ["status=404,endpoint=history", "status=401,endpoint=history"])
def test_refused_credential_or_missing_endpoint_fails_the_task(task_setup: TaskSetup, spec: str) -> None:
    """A credential that is refused as a whole, and an endpoint that does not exist, are errors and no statuses."""
    _landed(task_setup)
    task_setup.misbehave(spec)
    with pytest.raises(AirflowException):
        _operator(task_setup).execute({})
    assert _rows(task_setup.destination) == []


def test_rate_limit_and_outages_delay_and_change_nothing(task_setup: TaskSetup) -> None:
    """A 429 and errors of the server are waited for."""
    changes = _landed(task_setup)
    task_setup.misbehave("rate_limited=30,endpoint=history,every=7", "status=503,endpoint=history,every=5")
    _operator(task_setup).execute({})
    assert _values(_rows(task_setup.destination)) == _truth(changes)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_requests_take_their_share_of_the_rate_limit(task_setup: TaskSetup, share: float) -> None:
    """On average, the requests take the given share of 1200 in five minutes."""
    _landed(task_setup)
    began_at = task_setup.clock.now()
    summary = _operator(task_setup, rate_share=share).execute({})
    elapsed = (task_setup.clock.now() - began_at).total_seconds()
    assert elapsed == pytest.approx(summary["request_count"] / (4 * share), rel=0.05)


def test_limit_of_requests_ends_a_run_where_the_next_goes_on(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of a few requests each finish a window together, and no resource is asked for twice."""
    monkeypatch.setattr(pipeline, "_PORTION_RESOURCES", 2)
    changes = _landed(task_setup)
    runs = 0
    while not _operator(task_setup, max_requests=4).execute({})["is_complete"]:
        runs += 1
        assert runs < 20
    assert runs > 3
    assert _values(_rows(task_setup.destination)) == _truth(changes)
    assert len(_histories(task_setup)) == len({change.resource_id for change in changes})


def _killed_runs(task_setup: TaskSetup, number: int, after_effect: bool) -> tuple[Callable[[], None], CrashPoint]:
    crash = CrashPoint(number, after_effect=after_effect)
    store = CrashingStore(LocalStore(str(task_setup.destination)), crash)
    spec = ChangesSpec(TimeWindow(START, END), task_setup.clock.now(), rate_share=1.0)

    def run() -> None:
        derive_changes(spec, store, task_setup.hook().reader())

    return run, crash


@pytest.mark.integration
@pytest.mark.parametrize("after_effect", [False, True])
def test_run_killed_at_any_operation_is_continued(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, after_effect: bool
) -> None:
    """A run that is killed at any operation of the store, and run again, has the same files as one that is not."""
    monkeypatch.setattr(pipeline, "_PORTION_RESOURCES", 4)
    changes = _landed(task_setup, 20)
    run, counted = _killed_runs(task_setup, 0, after_effect)
    run()
    folder = task_setup.destination / "_changes"
    wanted = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(counted.operations) > 6
    for number in range(1, len(counted.operations) + 1):
        for path in folder.rglob("*.*"):
            path.unlink()
        run, _ = _killed_runs(task_setup, number, after_effect)
        with suppress(KilledError):
            run()
        done = len(list(folder.rglob("*.jsonl.gz")))
        task_setup.fake.requests.clear()
        run, _ = _killed_runs(task_setup, 0, after_effect)
        run()
        assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == wanted
        assert len(_histories(task_setup)) <= max(0, RESOURCES - 4 * done)
    assert _values(_rows(task_setup.destination)) == _truth(changes)


def test_privacy_rule_applies_to_values_before_and_after(task_setup: TaskSetup) -> None:
    """Values come from the history under the rule of the windows, and a task with another rule is refused."""
    changes = _changes(task_setup)
    privacy = {"drop": ["resource.response.result.content", "resource.request.content"]}
    task_setup.land(api_version="v2", privacy=privacy, window_start=START + timedelta(hours=5))
    with pytest.raises(AirflowFailException, match="written with another privacy rule"):
        _operator(task_setup).execute({})
    _operator(task_setup, privacy=privacy).execute({})
    rows = _rows(task_setup.destination)
    assert "content" not in json.dumps(rows)
    assert len(rows) == len(changes) // 2
    assert any(row["before"] for row in rows)


def test_record_that_no_history_can_be_asked_for_blocks_nothing(task_setup: TaskSetup) -> None:
    """Records without an id, with an odd id or without a resource have a row like all others, and no request."""
    for record_id, resource in (("one two", {"id": "x"}), ("../../user", {"id": "y"}), ("plain", {})):
        action = {"time": "2026-10-26T01:00:00Z", "type": "update"}
        task_setup.fake.add(json.dumps({"id": record_id, "action": action, "resource": resource}).encode(), "v2")
    task_setup.land(api_version="v2")
    task_setup.fake.requests.clear()
    summary = _operator(task_setup).execute({})
    assert (summary["history_status"], summary["request_count"]) == ({"unavailable": 3}, 0)


@pytest.mark.parametrize("is_on", [True, False])
def test_window_page_shows_changes_if_they_are_switched_on(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    """The page of a window has what its records changed only if the configuration says so."""
    changes = _landed(task_setup)
    _operator(task_setup).execute({})
    monkeypatch.setenv("AIRFLOW__CLOUDFLARE_AUDIT_LOGS__COVERAGE_CHANGES", str(is_on))
    source = source_of(task_setup.destination)
    answer = client_of(monkeypatch, lambda: [source]).get(f"/d/{source.id}/w/20261026T000000Z-20261027T000000Z")
    assert answer.status_code == 200
    changed = next(change for change in changes if change.before != change.after)
    assert (f"record {changed.record_id} (exact)" in answer.text) is is_on
    assert ('id="changes-heading"' in answer.text) is is_on


@pytest.mark.parametrize("share", [0, -1, 1.5, True, "0.1"])
def test_share_out_of_range_is_refused_when_the_dag_is_parsed(share: Any) -> None:
    """A share that is no number above 0 up to 1 is an import error of the DAG."""
    with pytest.raises(ConfigurationError, match="rate_share is"):
        CloudflareAuditLogsChangesOperator(task_id="changes", destination="/data", rate_share=share)


def test_range_is_seven_days_by_default(task_setup: TaskSetup) -> None:
    """Without a range, windows of the last seven days are done."""
    _landed(task_setup)
    task_setup.clock.advance((END + timedelta(days=7, hours=1) - task_setup.clock.now()).total_seconds())
    assert _operator(task_setup, start=None, end=None).execute({})["window_count"] == 0
    assert _operator(task_setup, start=WINDOW["window_start"], end=None).execute({})["window_count"] == 1


def test_refused_histories_are_requested_again_once_they_are_allowed(task_setup: TaskSetup) -> None:
    """Each run asks once while the API refuses, and the first that is allowed leaves each record once, as it is."""
    changes = _landed(task_setup)
    task_setup.misbehave("status=403,endpoint=history")
    for _ in range(2):
        task_setup.fake.requests.clear()
        assert _operator(task_setup).execute({})["history_status"] == {"forbidden": 60}
        assert len(task_setup.fake.requests) == 1
        assert len(_rows(task_setup.destination)) == 60
    task_setup.misbehave()
    assert _operator(task_setup).execute({})["history_status"] == {"exact": 60}
    rows = _rows(task_setup.destination)
    assert (len(rows), _values(rows)) == (60, _truth(changes))
    assert list((task_setup.destination / "_changes").rglob("*forbidden*")) == []


def test_replaced_window_has_each_record_once(task_setup: TaskSetup) -> None:
    """Files of parts that a replacement left out are removed, and nothing else that a forged commit names."""
    changes = _landed(task_setup)
    _operator(task_setup).execute({})
    (forged,) = (task_setup.destination / "_changes").rglob("g0001.json")
    stated = json.loads(forged.read_bytes())
    stated["files"].append({"key": "_dataset.json", "sha256": "0", "statuses": {}})
    forged.write_text(json.dumps(stated))
    task_setup.land(api_version="v2", window_end=END, replace=True)
    _operator(task_setup).execute({})
    rows = _rows(task_setup.destination)
    assert (len(rows), _values(rows)) == (60, _truth(changes))
    assert (task_setup.destination / "_dataset.json").exists()
    assert [path.name for path in (task_setup.destination / "_changes").rglob("g*.json")] == ["g0002.json"]


def test_erasure_of_a_window_erases_its_changes(task_setup: TaskSetup) -> None:
    """Values that a person asked to erase do not stay beside the data, and the rest is derived again on request."""
    _landed(task_setup)
    _operator(task_setup).execute({})
    privacy = {"drop": ["resource.response.result.content", "resource.request.content"]}
    task_setup.land(api_version="v2", window_end=END, replace=True, erase=True, erase_reason="17", privacy=privacy)
    assert _rows(task_setup.destination) == []
    summary = _operator(task_setup).execute({})
    assert (summary["skipped_count"], _rows(task_setup.destination)) == (1, [])
    _operator(task_setup, privacy=privacy).execute({})
    assert "content" not in json.dumps(_rows(task_setup.destination))


def test_large_part_of_version_1_has_several_files(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a part are written in portions, so that they need not be in memory all together."""
    monkeypatch.setattr(pipeline, "_GROUP_RECORDS", 1)
    for number in range(60):
        raw = {"id": str(number), "when": "2026-10-26T01:00:00Z", "newValueJson": {"n": number}}
        task_setup.fake.add(json.dumps(raw).encode(), "v1")
    task_setup.land()
    _operator(task_setup).execute({})
    assert len(list((task_setup.destination / "_changes").rglob("*.jsonl.gz"))) == 3
    assert sorted(int(row["id"]) for row in _rows(task_setup.destination)) == list(range(60))


@pytest.mark.parametrize("most", [0, -1, True, "3000", 1.5])
def test_limit_of_requests_that_lets_no_run_begin_is_refused(most: Any) -> None:
    """A limit that is no whole number of at least 1 is an import error of the DAG."""
    with pytest.raises(ConfigurationError, match="max_requests is"):
        CloudflareAuditLogsChangesOperator(task_id="changes", destination="/data", max_requests=most)


@pytest.mark.integration
def test_query_of_the_page_joins_the_changes_to_the_records(task_setup: TaskSetup) -> None:
    """The SQL of the page runs on DuckDB and returns the records that changed the field, with their values."""
    import duckdb

    changes = _changes(task_setup)
    task_setup.land(api_version="v2", window_end=END, compression="gzip")
    _operator(task_setup).execute({})
    page = (PROJECT / "docs/how-to/see-what-changed.md").read_text()
    query = page.partition("```sql\n")[2].partition("```")[0].replace("/data/audit", str(task_setup.destination))
    found = duckdb.connect().execute(query).fetchall()
    wanted = [one for one in changes if _differs(one, "proxied")]
    assert wanted
    assert sorted(row[1] for row in found) == sorted(one.resource_id for one in wanted)
    assert all(json.loads(row[3] or "null") != json.loads(row[4] or "null") for row in found)


def _differs(change: SeededChange, field: str) -> bool:
    """Returns whether a change states another value of a field, of a resource that was there before and after."""
    before, after = change.before, change.after
    return before is not None and after is not None and before.get(field) != after.get(field)
