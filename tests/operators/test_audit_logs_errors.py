"""Tests that a window that cannot be landed fails early with a named error and writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_audit_provider.exceptions import (
    ConfigurationError,
    RetentionExceededError,
    SourceAuthError,
    SourceUnavailableError,
    StorageError,
    WindowNotSettledError,
)
from airflow_audit_provider.testing.settings import ORGANIZATION_ID
from airflow_audit_provider.triggers.audit_logs import WindowSettledTrigger
from tests.operators.task_setup import END, START, WINDOW, TaskSetup

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def _refused(task_setup: TaskSetup, context: dict[str, Any] | None = None, **arguments: Any) -> BaseException:
    """Runs the operator; returns the cause of its permanent failure, and asserts no request and no file."""
    with pytest.raises(AirflowFailException) as caught:
        task_setup.operator(**arguments).execute(context or {})
    assert caught.value.__context__ is not None
    assert type(caught.value.__context__).__name__ in str(caught.value)
    assert task_setup.fake.requests == []
    assert task_setup.tree() == {}
    return caught.value.__context__


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"file_format": "jsonlines"}, "jsonlines.*'jsonl'"),
        ({"compression": "bzip2"}, "bzip2.*'gzip'"),
        ({"file_format": "parquet", "compression": "snap"}, "snap"),
        ({"filters": {"actor_emial": "a@example.com"}}, "actor_emial.*actor_email"),
        ({"filters": {"actor_email": ["a", "b"]}}, "one value"),
        ({"api_version": "v3"}, "v3.*'v1'"),
        ({"scope": "zone"}, "zone"),
        ({"account_id": "../../user"}, "account_id.*malformed"),
        ({"scope": "user", "api_version": "v2"}, "user"),
    ],
)
def test_invalid_argument_fails_at_dag_parse(task_setup: TaskSetup, arguments: dict[str, Any], words: str) -> None:
    """Rejects a typing error in the constructor and names the remedy."""
    with pytest.raises(ConfigurationError, match=words):
        task_setup.operator(**arguments)


@pytest.mark.parametrize(
    ("context", "arguments", "words"),
    [
        ({}, {}, "(?s)has no window.*window_length"),
        ({"data_interval_start": END, "data_interval_end": END}, {}, "(?s)no length.*CronDataIntervalTimetable"),
        ({}, {"window_start": START}, "Only window_start"),
        ({}, {"window_start": END, "window_end": START}, "later than the start"),
        ({}, {"window_start": "soon", "window_end": END}, "soon"),
        ({}, {"window_start": START, "window_end": START}, "later than the start"),
        ({}, {**WINDOW, "timezone": "Mars/Base"}, "Mars/Base"),
    ],
)
def test_missing_or_invalid_window_fails_at_once(
    task_setup: TaskSetup, context: Any, arguments: dict[str, Any], words: str
) -> None:
    """Fails a run without a valid window and names the remedy."""
    error = _refused(task_setup, context, **arguments)
    assert isinstance(error, ConfigurationError)
    with pytest.raises(ConfigurationError, match=words):
        raise error


def test_zero_length_interval_with_window_length_lands_the_day_before(task_setup: TaskSetup) -> None:
    """Lands the window of this length that ends at the interval."""
    moment = END + timedelta(hours=7)
    operator = task_setup.operator(window_length=timedelta(days=1))
    summary = operator.execute({"data_interval_start": moment, "data_interval_end": moment})
    assert (summary["window_start"], summary["window_end"]) == (START.isoformat(), END.isoformat())
    assert task_setup.lines() == task_setup.raws()


def test_partition_date_is_a_local_day(task_setup: TaskSetup) -> None:
    """A partition date is a calendar day in the time zone, 25 hours when daylight saving time ends."""
    day = datetime(2026, 10, 24, 22, tzinfo=UTC)
    summary = task_setup.operator(timezone="Europe/Berlin").execute({"partition_date": day})
    assert summary["window_start"] == "2026-10-24T22:00:00+00:00"
    assert summary["window_end"] == "2026-10-25T23:00:00+00:00"


def test_empty_rendered_bounds_count_as_not_given(task_setup: TaskSetup) -> None:
    """Uses the data interval if a template renders an empty bound."""
    operator = task_setup.operator(window_start="", window_end="None")
    summary = operator.execute({"data_interval_start": START, "data_interval_end": END})
    assert summary["record_count"] == len(task_setup.raws())


def test_window_older_than_retention_fails_before_any_request(task_setup: TaskSetup) -> None:
    """Fails permanently, because the API no longer has the whole window."""
    old = START - timedelta(days=600)
    assert isinstance(
        _refused(task_setup, window_start=old, window_end=old + timedelta(days=1)), RetentionExceededError
    )


def test_unsettled_window_is_deferred(task_setup: TaskSetup) -> None:
    """Defers until the window is settled, with a longer timeout."""
    operator = task_setup.operator(window_start=NOON - timedelta(hours=1), window_end=NOON, deferrable=True)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute({})
    trigger = caught.value.trigger
    assert isinstance(trigger, WindowSettledTrigger)
    assert trigger.settled_at == NOON + timedelta(minutes=15)
    assert caught.value.method_name == "execute_settled"
    assert caught.value.timeout > timedelta(minutes=15)
    assert task_setup.fake.requests == []
    task_setup.clock.advance(900)
    assert operator.execute_settled({}, event={"settled_at": "…"})["part_count"] == 1


def test_unsettled_window_outside_of_a_task_raises(task_setup: TaskSetup) -> None:
    """Raises a retryable error with the instant at which the window is settled."""
    operator = task_setup.operator(window_start=NOON, window_end=NOON + timedelta(days=1))
    with pytest.raises(WindowNotSettledError) as caught:
        operator.execute({})
    assert caught.value.settled_at == NOON + timedelta(days=1, minutes=15)
    assert caught.value.retryable
    assert task_setup.fake.requests == []
    assert task_setup.tree() == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cloudflare_conn_id": "missing"}, "missing"),
        ({"destination": "nope://bucket/x"}, "nope"),
        ({"destination": "wasb://bucket/x", "destination_conn_id": "nowhere"}, "wasb://bucket/x"),
    ],
)
def test_missing_connection_or_store_fails_before_any_request(
    task_setup: TaskSetup, arguments: dict[str, Any], words: str
) -> None:
    """Raises ``ConfigurationError`` without a request."""
    error = _refused(task_setup, **{**WINDOW, **arguments})
    assert isinstance(error, ConfigurationError)
    assert words in str(error)


def test_unwritable_destination_fails_before_any_request(task_setup: TaskSetup, tmp_path: Path) -> None:
    """Raises ``StorageError`` without a request."""
    (tmp_path / "file").write_bytes(b"")
    assert isinstance(_refused(task_setup, None, **WINDOW, destination=f"file://{tmp_path}/file"), StorageError)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, SourceAuthError), (403, SourceAuthError), (404, ConfigurationError)]
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_refused_credential_or_account_is_not_retried(
    task_setup: TaskSetup, status: int, kind: type[Exception], version: str
) -> None:
    """Fails permanently after one request and writes no file."""
    task_setup.misbehave(f"status={status}")
    with pytest.raises(AirflowFailException) as caught:
        task_setup.land(api_version=version)
    assert isinstance(caught.value.__context__, kind)
    assert [asked.status for asked in task_setup.fake.requests] == [status]
    assert task_setup.tree() == {}
    assert not list(task_setup.destination.rglob("*"))


@pytest.mark.integration
@pytest.mark.parametrize(
    "spec",
    [
        "status=503,first=3",
        "rate_limited,first=1",
        "cut_connection,first=2",
        "html=200,first=1",
        "truncated_json,first=1",
    ],
)
def test_temporary_failure_is_retried(task_setup: TaskSetup, spec: str) -> None:
    """Retries a temporary failure; the landed lines are the true records."""
    task_setup.misbehave(spec)
    task_setup.land()
    assert task_setup.lines() == task_setup.raws()
    assert task_setup.clock.sleeps


def test_lasting_failure_raises_retryable_error_and_leaves_no_file(task_setup: TaskSetup) -> None:
    """Raises after the connection's attempts."""
    task_setup.connect(extra={"account_id": task_setup.fake.settings.account_ids[0], "max_attempts": 3})
    task_setup.misbehave("status=503")
    with pytest.raises(SourceUnavailableError) as caught:
        task_setup.land()
    assert caught.value.retryable
    assert len(task_setup.fake.requests) == 3
    assert not list(task_setup.destination.rglob("*"))


@pytest.mark.parametrize("day", ["2025-12-01", "2026-03-09"])
@pytest.mark.parametrize("ids", [{}, {"organization_id": ORGANIZATION_ID}])
def test_version_2_window_before_its_history_is_refused(task_setup: TaskSetup, day: str, ids: dict[str, Any]) -> None:
    """The window is refused, because it would land as an empty day that coverage counts as complete."""
    end = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1)
    error = _refused(task_setup, window_start=day, window_end=end, api_version="v2", **ids)
    assert isinstance(error, RetentionExceededError)
    assert "api_version='v1'" in str(error)
    assert "v2_history_start" in str(error)


@pytest.mark.integration
def test_version_2_history_begins_where_it_is_configured(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default day lands, an earlier one with the option, and version 1 at any day that is kept."""
    for day, option, version in (("10", None, "v2"), ("09", "2026-02-01", "v2"), ("08", None, "v1")):
        if option is not None:
            monkeypatch.setenv("AIRFLOW__CLOUDFLARE_AUDIT_LOGS__V2_HISTORY_START", option)
        window = {"window_start": f"2026-03-{day}T01:00:00Z", "window_end": f"2026-03-{day}T02:00:00Z"}
        destination = f"file://{task_setup.destination}/{version}"
        assert task_setup.land(**window, api_version=version, destination=destination)["committed"]


@pytest.mark.parametrize("option", ["", "March", "2026-13-01"])
def test_impossible_history_start_is_named(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """The error names option and section."""
    monkeypatch.setenv("AIRFLOW__CLOUDFLARE_AUDIT_LOGS__V2_HISTORY_START", option)
    error = _refused(task_setup, **WINDOW, api_version="v2")
    assert isinstance(error, ConfigurationError)
    assert "v2_history_start in section [cloudflare_audit_logs]" in str(error)
