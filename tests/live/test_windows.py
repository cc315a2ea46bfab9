"""A run that starts in any possible way lands exactly the right window, or fails at once with a remedy."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pytest

from harness.landed import landed_windows, manifest_differences, part_lines
from tests.live.calendar_days import AUTUMN, SPRING, berlin_midnight, days_ago
from tests.live.live_airflow import LiveAirflow
from tests.live.run_starts import Find, Start, backfill, by_hand, dag_tests, event, scheduled
from tests.live.versions.versions import AirflowVersion

DAY, HOUR, NOON = timedelta(days=1), timedelta(hours=1), timedelta(hours=12)
BY_PARTITION, BY_INTERVAL, BY_BOUNDS = "partition", "data interval", "explicit bounds"
BY_LENGTH = "window length before a zero-length data interval"
NO_LENGTH = "no length.*Schedule the DAG with CronDataIntervalTimetable, set window_length on the operator"
NOTHING = "has no window.*Trigger the run with a logical date, and schedule the DAG with CronDataIntervalTimetable"
NO_DATE = "has no window.*Trigger the run with a logical date"
Window = tuple[datetime, datetime]


class Lands(NamedTuple):
    """A DAG whose run, started this way (None: by `dag.test()`), lands this window, chosen by this rule."""

    dag_id: str
    start: Start | None
    window: Window
    rule: str
    logical_date: datetime | None = None


class Fails(NamedTuple):
    """A DAG whose run, started this way (None: by `dag.test()`), fails at once with this message in its log."""

    dag_id: str
    start: Start | None
    remedy: str
    logical_date: datetime | None = None


def day(count: int) -> Window:
    """Returns the UTC day that is so many days ago."""
    return days_ago(count), days_ago(count - 1)


def local_day(first: date) -> Window:
    """Returns a day in Berlin with its actual length."""
    return berlin_midnight(first), berlin_midnight(first + DAY)


INTERVAL_BY_HAND = {
    "data_interval_start": (days_ago(9) + NOON).isoformat(),
    "data_interval_end": days_ago(8).isoformat(),
}
BOTH = {"start": days_ago(6).isoformat(), "end": (days_ago(6) + HOUR).isoformat()}
CASES: dict[str, Lands | Fails] = {
    "interval-scheduled": Lands("interval_scheduled", scheduled(), day(3), BY_INTERVAL),
    "interval-backfill": Lands("interval_asked_for", backfill(days_ago(5)), day(5), BY_INTERVAL),
    "interval-by-hand-with-date": Lands("interval_asked_for", by_hand(days_ago(7) + NOON), day(8), BY_INTERVAL),
    "interval-by-hand": Fails("interval_asked_for", by_hand(), NOTHING),
    "interval-dag-test-with-date": Lands("interval_tested", None, day(8), BY_INTERVAL, days_ago(7) + NOON),
    "interval-dag-test": Fails("interval_tested_undated", None, NOTHING),
    "day-of-23-hours": Lands("spring_scheduled", scheduled(), local_day(SPRING), BY_INTERVAL),
    "day-of-25-hours": Lands("autumn_scheduled", scheduled(), local_day(AUTUMN), BY_INTERVAL),
    "day-of-25-hours-by-length": Lands("autumn_by_length", scheduled(), local_day(AUTUMN), BY_LENGTH),
    "daily-scheduled": Fails("daily_scheduled", scheduled(), NO_LENGTH),
    "daily-backfill": Fails("daily_asked_for", backfill(days_ago(5)), NO_LENGTH),
    "daily-by-hand-with-date": Fails("daily_asked_for", by_hand(days_ago(7)), NO_LENGTH),
    "daily-by-hand": Fails("daily_asked_for", by_hand(), NOTHING),
    "daily-dag-test-with-date": Fails("daily_tested", None, NO_LENGTH, days_ago(7)),
    "daily-with-length-backfill": Lands("daily_with_length", backfill(days_ago(5)), day(6), BY_LENGTH),
    "daily-with-length-by-hand": Fails("daily_with_length", by_hand(), NO_DATE),
    "trigger-with-interval-backfill": Lands("trigger_with_interval", backfill(days_ago(5)), day(6), BY_INTERVAL),
    "no-schedule-by-hand": Fails("nothing_said", by_hand(), NOTHING),
    "no-schedule-by-hand-with-date": Fails("nothing_said", by_hand(days_ago(7)), NO_LENGTH),
    "no-schedule-by-hand-with-interval": Lands(
        "nothing_said", by_hand(days_ago(6), **INTERVAL_BY_HAND), (days_ago(9) + NOON, days_ago(8)), BY_INTERVAL
    ),
    "no-schedule-dag-test": Fails("nothing_tested", None, NOTHING),
    "bounds": Lands("start_and_end", by_hand(conf=BOTH), (days_ago(6), days_ago(6) + HOUR), BY_BOUNDS),
    "bounds-one-empty": Fails(
        "start_and_end", by_hand(conf=BOTH | {"end": ""}), "Only window_start is given. Give the"
    ),
    "bounds-both-empty": Fails("start_and_end", by_hand(conf={"start": "", "end": None}), NOTHING),
    "bounds-start-and-length": Lands("start_and_length", by_hand(conf=BOTH), day(6), BY_BOUNDS),
    "bounds-end-and-length": Lands(
        "end_and_length", by_hand(conf=BOTH), (days_ago(7) + HOUR, days_ago(6) + HOUR), BY_BOUNDS
    ),
    "asset": Fails("by_asset", event(), NOTHING),
    "asset-that-says": Lands(
        "by_asset_that_says", event(extra={"day": days_ago(6).date().isoformat()}), day(6), BY_BOUNDS
    ),
}
# What each version is asked. The rest is asked of the newest alone: one run by `dag.test()`, and all others at night,
# because each run takes some seconds of CPU. Which window a run lands is decided in `core/windows`, and tested there.
CORE = {
    "interval-scheduled",
    "interval-backfill",
    "interval-by-hand-with-date",
    "interval-by-hand",
    "day-of-25-hours",
    "daily-scheduled",
    "daily-with-length-backfill",
    "no-schedule-by-hand-with-interval",
    "bounds",
    "bounds-one-empty",
    "asset",
    "asset-that-says",
}
OF_NEWEST = "interval-dag-test-with-date"
KEY = days_ago(6).date().isoformat()
PARTITIONS: dict[str, Lands | Fails] = {
    "scheduled": Lands("partition_scheduled", scheduled(), day(4), BY_PARTITION),
    "by-hand-with-key": Lands("partition_asked_for", by_hand(partition_key=KEY), day(6), BY_PARTITION),
    "by-hand": Fails("partition_asked_for", by_hand(), NOTHING),
    "dag-test": Fails("partition_tested", None, NOTHING),
    "day-of-25-hours": Lands("partition_of_autumn", scheduled(), local_day(AUTUMN), BY_PARTITION),
    "hour": Lands("partition_of_an_hour", scheduled(), (days_ago(3) - HOUR, days_ago(3)), BY_PARTITION),
    "asset-with-key": Lands("partition_by_asset", event(partition_key=KEY), day(6), BY_PARTITION),
    "asset-with-odd-key": Fails(
        "partition_by_asset",
        event(partition_key="tenant-7"),
        "does not have the format '%Y-%m-%d'. Use keys of that format",
    ),
}


# Up to 3.2 a backfill's dates are those on which the runs would have been made, from 3.3 on the partitions'.
OLD_BACKFILL = Lands("partition_asked_for", backfill(days_ago(9)), day(10), BY_PARTITION)
NEW_BACKFILL = Lands("partition_asked_for", backfill(days_ago(9)), day(9), BY_PARTITION)


def _asked_for(items: list[pytest.Item], version: AirflowVersion) -> set[Lands | Fails]:
    """Returns the cases of the selected tests of a version."""
    specs = [item.callspec.params for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    cases = [spec["case"] for spec in specs if spec.get("version") == version and "case" in spec]
    return {case for case in cases if isinstance(case, Lands | Fails)}


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, live: LiveAirflow, version: AirflowVersion) -> dict[Lands | Fails, Find]:
    """All runs that the selected tests look at, started before the first is examined."""
    asked_for = _asked_for(request.session.items, version)
    cases = [case for case in (*CASES.values(), *PARTITIONS.values()) if case in asked_for]
    if version.at_least("3.2.0"):
        cases.append(NEW_BACKFILL if version.at_least("3.3.0") else OLD_BACKFILL)
    started = {case: case.start(live, case.dag_id) for case in cases if case.start}
    tested = [case for case in cases if not case.start]
    asked = [(case.dag_id, case.logical_date.isoformat() if case.logical_date else None) for case in tested]
    answers = dag_tests(live, asked) if asked else []
    return started | {case: lambda answer=answer: answer for case, answer in zip(tested, answers, strict=True)}


def _marks(name: str) -> list[pytest.MarkDecorator]:
    """Returns which versions run a case, and when."""
    if name in CORE:
        return []
    newest = [pytest.mark.since("3.3.0")]
    return newest if name == OF_NEWEST else [*newest, pytest.mark.nightly]


@pytest.mark.parametrize("case", [pytest.param(case, id=name, marks=_marks(name)) for name, case in CASES.items()])
def test_run_lands_its_window_or_names_the_remedy(
    live: LiveAirflow, runs: dict[Lands | Fails, Find], case: Lands | Fails
) -> None:
    """A run lands exactly its window, or fails in its first attempt with a remedy."""
    look_at(live, case, *runs[case]())


@pytest.mark.since("3.2.0")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=pytest.mark.nightly if name == "dag-test" else [])
        for name, case in PARTITIONS.items()
    ],
)
def test_partition_lands_or_names_the_remedy(
    live: LiveAirflow, runs: dict[Lands | Fails, Find], case: Lands | Fails
) -> None:
    """A partitioned run lands exactly its partition, or fails in its first attempt with a remedy."""
    look_at(live, case, *runs[case]())


@pytest.mark.since("3.2.0")
def test_backfill_lands_partitions(live: LiveAirflow, version: AirflowVersion, runs: dict[Lands | Fails, Find]) -> None:
    """A backfill of a partitioned DAG lands the partitions that its dates stand for in this version."""
    case = NEW_BACKFILL if version.at_least("3.3.0") else OLD_BACKFILL
    look_at(live, case, *runs[case]())


def _unbroken(log: str) -> str:
    """Returns a log in which the sentences of an error are in one line; its file has line breaks as escapes."""
    return re.sub(r"\.(?:\\n|\n)(?=[A-Z])", ". ", log)


def look_at(live: LiveAirflow, case: Lands | Fails, run_id: str, logs: list[str]) -> None:
    """Compares one run with its case."""
    print("\n".join(logs))
    (task,) = live.tasks(case.dag_id, run_id)
    folder = live.home.landed / case.dag_id / re.sub("[+:]", "", run_id)
    if isinstance(case, Fails):
        assert task["state"] == "failed"
        # The machine may have cost a try; the error itself is met once, while there were tries left.
        assert [bool(re.search(case.remedy, _unbroken(log))) for log in logs].count(True) == 1
        assert task["try_number"] <= task["max_tries"]
        assert not folder.exists()
        return
    assert task["state"] == "success"
    (landed,) = landed_windows(folder)
    bounds = tuple(bound.astimezone(UTC) for bound in case.window)
    assert (datetime.fromisoformat(landed.start), datetime.fromisoformat(landed.end)) == bounds
    assert list(manifest_differences(landed)) == []
    ids = [json.loads(line)["id"] for part in landed.parts for line in part_lines(part)]
    assert ids == live.truth_ids(*case.window)
    assert ids, "the fake has no record there"
    assert f"taken from: {case.rule}" in logs[-1]
    (manifest,) = (folder / "_manifests").rglob("*.json")
    assert json.loads(manifest.read_text())["window_rule"] == case.rule
