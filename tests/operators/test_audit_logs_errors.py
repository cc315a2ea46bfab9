"""What cannot be landed fails early, by its name, and leaves nothing."""

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
from airflow_audit_provider.triggers.audit_logs import WindowSettledTrigger
from tests.operators.task_setup import END, START, WINDOW, TaskSetup

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def _refused(task_setup: TaskSetup, context: dict[str, Any] | None = None, **arguments: Any) -> BaseException:
    """Run the operator; return the named error behind its failure for good, after which nothing is asked or written."""
    with pytest.raises(AirflowFailException) as caught:
        task_setup.operator(**arguments).execute(context or {})
    assert caught.value.__cause__ is not None
    assert type(caught.value.__cause__).__name__ in str(caught.value)
    assert task_setup.fake.requests == []
    assert task_setup.tree() == {}
    return caught.value.__cause__


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
def test_a_wrong_argument_fails_the_parsing(task_setup: TaskSetup, arguments: dict[str, Any], words: str) -> None:
    """A typing error in a DAG file is refused when the file is parsed, with the mend."""
    with pytest.raises(ConfigurationError, match=words):
        task_setup.operator(**arguments)


@pytest.mark.parametrize(
    ("context", "arguments", "words"),
    [
        ({}, {}, "has no window.*window_length"),
        ({"data_interval_start": END, "data_interval_end": END}, {}, "no length.*CronDataIntervalTimetable"),
        ({}, {"window_start": START}, "Only window_start"),
        ({}, {"window_start": END, "window_end": START}, "later than the start"),
        ({}, {"window_start": "soon", "window_end": END}, "soon"),
        ({}, {"window_start": START, "window_end": START}, "later than the start"),
        ({}, {**WINDOW, "timezone": "Mars/Base"}, "Mars/Base"),
    ],
)
def test_a_window_that_is_none(task_setup: TaskSetup, context: Any, arguments: dict[str, Any], words: str) -> None:
    """A run that does not say its window, or says it upside down, fails at once and names the mend."""
    error = _refused(task_setup, context, **arguments)
    assert isinstance(error, ConfigurationError)
    with pytest.raises(ConfigurationError, match=words):
        raise error


def test_a_zero_length_interval_with_a_length(task_setup: TaskSetup) -> None:
    """With window_length the day before an interval without length is landed."""
    moment = END + timedelta(hours=7)
    operator = task_setup.operator(window_length=timedelta(days=1))
    summary = operator.execute({"data_interval_start": moment, "data_interval_end": moment})
    assert (summary["window_start"], summary["window_end"]) == (START.isoformat(), END.isoformat())
    assert task_setup.lines() == task_setup.raws()


def test_a_partition_is_a_local_day(task_setup: TaskSetup) -> None:
    """A partition's date alone is a calendar day in the time zone, 25 hours when the clocks go back."""
    day = datetime(2026, 10, 24, 22, tzinfo=UTC)
    summary = task_setup.operator(timezone="Europe/Berlin").execute({"partition_date": day})
    assert summary["window_start"] == "2026-10-24T22:00:00+00:00"
    assert summary["window_end"] == "2026-10-25T23:00:00+00:00"


def test_templates_that_gave_nothing(task_setup: TaskSetup) -> None:
    """Bounds that a template left empty count as not given."""
    operator = task_setup.operator(window_start="", window_end="None")
    summary = operator.execute({"data_interval_start": START, "data_interval_end": END})
    assert summary["record_count"] == len(task_setup.raws())


def test_older_than_the_retention(task_setup: TaskSetup) -> None:
    """A window that the API no longer keeps whole fails for good before any request."""
    old = START - timedelta(days=600)
    assert isinstance(
        _refused(task_setup, window_start=old, window_end=old + timedelta(days=1)), RetentionExceededError
    )


def test_an_unsettled_window_is_deferred(task_setup: TaskSetup) -> None:
    """A deferrable task gives up its slot until the window is settled, with a timeout longer than that."""
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


def test_a_window_in_the_future_is_too_early(task_setup: TaskSetup) -> None:
    """Outside of a task nobody can wait: what is not settled is retryable and says from when on it may be read."""
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
def test_what_is_missing_is_named_before_any_request(
    task_setup: TaskSetup, arguments: dict[str, Any], words: str
) -> None:
    """A connection, store or account that does not exist is a configuration error, and nobody is asked."""
    error = _refused(task_setup, **{**WINDOW, **arguments})
    assert isinstance(error, ConfigurationError)
    assert words in str(error)


def test_an_unwritable_destination_is_named_before_any_request(task_setup: TaskSetup, tmp_path: Path) -> None:
    """A destination that takes no file is a storage error, and nobody is asked."""
    (tmp_path / "file").write_bytes(b"")
    assert isinstance(_refused(task_setup, None, **WINDOW, destination=f"file://{tmp_path}/file"), StorageError)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, SourceAuthError), (403, SourceAuthError), (404, ConfigurationError)]
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_refusal_is_asked_for_once(task_setup: TaskSetup, status: int, kind: type[Exception], version: str) -> None:
    """A refused credential or account fails the task for good after one request, and no file is there."""
    task_setup.misbehave(f"status={status}")
    with pytest.raises(AirflowFailException) as caught:
        task_setup.land(api_version=version)
    assert isinstance(caught.value.__cause__, kind)
    assert [asked.status for asked in task_setup.fake.requests] == [status]
    assert task_setup.tree() == {}
    assert not list(task_setup.destination.rglob("*"))


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
def test_passing_trouble_is_waited_out(task_setup: TaskSetup, spec: str) -> None:
    """What passes by itself is tried again, and the landed lines are the whole truth."""
    task_setup.misbehave(spec)
    task_setup.land()
    assert task_setup.lines() == task_setup.raws()
    assert task_setup.clock.sleeps


def test_lasting_trouble_is_left_to_airflow_and_nothing_stays(task_setup: TaskSetup) -> None:
    """An API that stays away is a retryable error after the connection's attempts, and no file is there."""
    task_setup.connect(extra={"account_id": task_setup.fake.settings.account_ids[0], "max_attempts": 3})
    task_setup.misbehave("status=503")
    with pytest.raises(SourceUnavailableError) as caught:
        task_setup.land()
    assert caught.value.retryable
    assert len(task_setup.fake.requests) == 3
    assert not list(task_setup.destination.rglob("*"))
