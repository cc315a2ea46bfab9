"""Keys of the commit log, and what its entries say about attempts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from airflow_audit_provider.core.archive.commit_log import active_windows, expired_entries, log_days, log_entries
from airflow_audit_provider.core.archive.object_keys import LogEntry, WindowKeys, read_log_key
from airflow_audit_provider.core.archive.part_names import part_digest
from airflow_audit_provider.core.windows.window import TimeWindow

AT = datetime(2026, 11, 2, 0, 15, tzinfo=UTC)
WINDOW = TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
KEY = "_commit_log/2026-11-02/20261102T001500Z-20261101T000000Z-20261102T000000Z.g0001-a-1.json"
DAY = timedelta(days=1)


@pytest.mark.parametrize("generation", [1, 12345])
@pytest.mark.parametrize("attempt_id", ["a-1", "0123456789abcdef", "a.g0001-b.json"])
def test_key_of_an_entry_is_read_back(generation: int, attempt_id: str) -> None:
    """Time, window, generation and attempt are in the key."""
    entry = LogEntry(AT, WINDOW, generation, attempt_id)
    assert read_log_key(entry.key) == entry
    assert LogEntry(AT, WINDOW, 1, "a-1").key == KEY


def test_keys_sort_by_time() -> None:
    """An earlier entry comes before a later one, also on another day and of a later window."""
    later = TimeWindow(WINDOW.start + 300 * DAY, WINDOW.end + 300 * DAY)
    entries = [LogEntry(AT + hours * timedelta(hours=5), later, 1, "z") for hours in range(10)]
    entries += [LogEntry(AT + timedelta(hours=5 * hours, seconds=1), WINDOW, 2, "a") for hours in range(10)]
    assert [entry.key for entry in sorted(entries)] == sorted(entry.key for entry in entries)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_commit_log/", "_commit_log/x/"), ("2026-11-02/", "2026-11-03/"), ("2026-11-02/", ""), (".g0001", ".g00001"),
        (".g0001", ""), (".json", ".txt"), ("-a-1", "-"), ("-a-1", "-a/1"), ("001500Z", "001500.000000Z"),
        ("T001500", "T241500"), ("20261101T000000Z-2026", "20261103T000000Z-2026"), ("a-1.json", "a-1.json\n"),
    ],
)  # fmt: skip
def test_another_key_is_no_entry(old: str, new: str) -> None:
    """A key that only resembles one."""
    assert read_log_key(KEY.replace(old, new)) is None


def test_window_is_active_until_its_generation_exists() -> None:
    """An entry of a generation that exists is settled, and an older entry is abandoned."""
    keys = WindowKeys(WINDOW, WINDOW.start.date())
    entry = LogEntry(AT, WINDOW, 2, "a")
    assert active_windows([entry], {}, AT) == {WINDOW}
    assert active_windows([entry], {WINDOW: keys.manifest(1)}, AT) == {WINDOW}
    assert active_windows([entry], {WINDOW: keys.manifest(2)}, AT) == set()
    assert active_windows([entry], {}, AT + timedelta(seconds=1)) == set()


def test_old_entries_expire_but_not_those_of_the_newest_day() -> None:
    """After 30 days; other objects never."""
    keys = {age: LogEntry(AT - age * DAY, WINDOW, 1, "a").key for age in (0, 29, 30, 31)}
    assert expired_entries([*keys.values(), "_commit_log/notes.txt"], AT) == {keys[31]}
    assert expired_entries([keys[31]], AT) == set()
    assert list(log_entries(["x", keys[0]])) == [LogEntry(AT, WINDOW, 1, "a")]


def test_days_of_the_log_are_those_that_look_like_one() -> None:
    """A folder of another name is no day."""
    assert log_days(["old", "2026-11-02", "2026-10-31", "2026-11-2"]) == ["2026-10-31", "2026-11-02"]


def test_digest_of_a_part_is_in_its_key() -> None:
    """Only of a part."""
    keys = WindowKeys(WINDOW, date(2026, 11, 1))
    assert part_digest(keys.part(1, 0, "0123456789abcdef" * 4, "jsonl.gz")) == "0123456789abcdef"
    assert part_digest(keys.manifest(1)) is None
