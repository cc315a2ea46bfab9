"""Whether a run may add to a commit: same dataset, format, schema and privacy rule, and no overlapping window."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.archive.compatibility import (
    check_compatible_schema,
    check_no_overlap,
    check_same_dataset,
    check_same_format,
    check_same_privacy,
)
from airflow_audit_provider.core.archive.manifest import Erasure, TableSchema
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.privacy.rule import AppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError
from tests.core.archive.manifests import manifest

_DAY = TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))


def test_same_dataset_and_format_are_compatible() -> None:
    """A commit of the same query in the same format is no conflict."""
    committed = manifest()
    check_same_dataset(committed, committed.query, "k")
    check_same_format(committed, "jsonl", "gzip", "k")


def test_another_query_in_the_same_destination_is_a_conflict() -> None:
    """A commit with another filter in the same destination is a conflict that names the manifest."""
    with pytest.raises(
        CommitConflictError, match=r"filters actor_email=.*, not none.*Use one destination for each account"
    ) as caught:
        check_same_dataset(manifest(), audit_query("v2", None, organization_id="o"), "the-key")
    assert caught.value.key == "the-key"


_REPRS = re.compile(r"AuditQuery|ApiVersion|Scope\.|<|\[|\(\(|'")


def test_conflict_of_datasets_is_told_in_words() -> None:
    """The message has what differs between both queries, without a Python literal."""
    filters = {"actor_email": ["a@example.com", "b@example.com"], "actor_type_not": "system"}
    wanted = audit_query("v2", None, organization_id="o", filters=filters)
    with pytest.raises(CommitConflictError) as caught:
        check_same_dataset(manifest(query=audit_query("v2", None, organization_id="o")), wanted, "the-key")
    words = "another audit log: filters none, not actor_email=a@example.com, actor_email=b@example.com, actor_type.not="
    assert words in caught.value.message
    assert not _REPRS.search(caught.value.message.replace(str(manifest().window), ""))


def test_conflict_of_privacy_rules_is_told_in_words() -> None:
    """The message lists what each rule does, without a Python literal."""
    with pytest.raises(CommitConflictError) as caught:
        check_same_privacy(manifest(privacy=APPLIED), OTHERS[-1], "the-key")
    assert "(pseudonymise email, drop metadata, key 0123456789abcdef)" in caught.value.message
    assert "(pseudonymise nothing, drop metadata)" in caught.value.message
    assert not _REPRS.search(caught.value.message.replace(str(manifest().window), ""))


@pytest.mark.parametrize(("file_format", "compression"), [("csv", "gzip"), ("jsonl", "zstd")])
def test_late_records_in_another_format_are_a_conflict(file_format: str, compression: str) -> None:
    """Late records in another format than the committed one are a conflict."""
    with pytest.raises(CommitConflictError, match="replace=True") as caught:
        check_same_format(manifest(), file_format, compression, "the-key")
    assert caught.value.key == "the-key"


def _table(version: str, schema: str = "normalized") -> TableSchema:
    return TableSchema(schema, version, {"request_status": 1})


@pytest.mark.parametrize(
    ("committed", "requested", "words"),
    [
        (UNSET, _table("1.0"), r"committed in the schema raw, not normalized 1\.0"),
        (_table("1.0"), UNSET, r"committed in the schema normalized 1\.0, not raw"),
        (_table("1.0"), _table("1.0", "ocsf"), r"normalized 1\.0, not ocsf 1\.0"),
        (_table("1.0"), _table("2.0"), r"normalized 1\.0, not normalized 2\.0"),
        (_table("1.2"), _table("1.1"), r"newer than normalized 1\.1\. Upgrade"),
    ],
)
def test_another_schema_is_a_conflict(committed: Any, requested: Any, words: str) -> None:
    """Late records in another schema are a conflict that names both schemas."""
    with pytest.raises(CommitConflictError, match=words) as caught:
        check_compatible_schema(manifest(table=committed), requested, "the-key")
    assert caught.value.key == "the-key"


@pytest.mark.parametrize(("committed", "requested"), [(UNSET, UNSET), ("1.0", "1.0"), ("1.0", "1.1")])
def test_older_minor_version_is_compatible(committed: Any, requested: Any) -> None:
    """A minor version only adds columns, so an older committed one is compatible."""
    tables = [_table(text) if text else UNSET for text in (committed, requested)]
    check_compatible_schema(manifest(table=tables[0]), tables[1], "k")


APPLIED = AppliedPrivacy("privacy", ("email",), ("metadata",), "0123456789abcdef")
OTHERS: list[Any] = [
    UNSET,
    msgspec.structs.replace(APPLIED, key_id="ffffffffffffffff"),
    msgspec.structs.replace(APPLIED, drop=()),
    msgspec.structs.replace(APPLIED, rule_version=99),
    AppliedPrivacy("privacy", (), ("metadata",), None),
]


@pytest.mark.parametrize("other", OTHERS)
def test_another_privacy_rule_is_a_conflict(other: Any) -> None:
    """Another rule, another key or no rule is a conflict, because the same address would have two values."""
    check_same_privacy(manifest(privacy=APPLIED), APPLIED, "k")
    check_same_privacy(manifest(privacy=other), other, "k")
    for committed, requested in ((APPLIED, other), (other, APPLIED)):
        with pytest.raises(CommitConflictError, match="with replace=True to write it again"):
            check_same_privacy(manifest(privacy=committed), requested, "the-key")


def test_another_rule_than_that_of_an_erasure_is_a_conflict_that_keeps_the_erasure() -> None:
    """For an erased window the message does not offer ``replace=True`` alone, which would write erased data again."""
    erased = manifest(privacy=APPLIED, erased=Erasure("request 17", ()))
    check_same_privacy(erased, APPLIED, "k")
    with pytest.raises(CommitConflictError, match=r"erase=True.*would write the erased data again") as caught:
        check_same_privacy(erased, UNSET, "the-key")
    assert caught.value.key == "the-key"


def test_overlapping_windows_are_a_conflict() -> None:
    """An hour of a committed day conflicts; an adjacent window and a key that is no manifest's do not."""
    hour = WindowKeys(TimeWindow(_DAY.start, _DAY.start + timedelta(hours=1)), _DAY.start.date())
    day = WindowKeys(_DAY, _DAY.start.date())
    after = WindowKeys(TimeWindow(_DAY.end, _DAY.end + timedelta(days=1)), _DAY.end.date())
    with pytest.raises(CommitConflictError, match="overlaps") as caught:
        check_no_overlap(hour, [after.manifest(1), day.manifest(1)])
    assert caught.value.key == day.manifest(1)
    check_no_overlap(hour, [after.manifest(1), hour.manifest(2), "notes.txt"])


_NOT_COMMITTED = {
    "an hour of a committed day": ((0, 1), [(0, 24)], "nothing"),
    "a day with a committed hour": (
        (0, 24),
        [(9, 10)],
        "[2026-11-01T00:00:00Z, 2026-11-01T09:00:00Z), [2026-11-01T10:00:00Z, 2026-11-02T00:00:00Z)",
    ),
    "a day in another time zone": ((5, 29), [(0, 24)], "[2026-11-02T00:00:00Z, 2026-11-02T05:00:00Z)"),
    "a day before the committed ones": ((-8, 16), [(0, 24)], "[2026-10-31T16:00:00Z, 2026-11-01T00:00:00Z)"),
    "a day between two": ((-1, 25), [(24, 48), (-24, 0)], "[2026-11-01T00:00:00Z, 2026-11-02T00:00:00Z)"),
}


def _hours(first: int, last: int) -> WindowKeys:
    window = TimeWindow(_DAY.start + timedelta(hours=first), _DAY.start + timedelta(hours=last))
    return WindowKeys(window, window.start.date())


@pytest.mark.parametrize("title", _NOT_COMMITTED)
def test_overlap_error_lists_what_is_not_committed(title: str) -> None:
    """The error names the part of the window that can still be landed, and how."""
    wanted, committed, rest = _NOT_COMMITTED[title]
    with pytest.raises(CommitConflictError) as caught:
        check_no_overlap(_hours(*wanted), [_hours(*one).manifest(1) for one in committed])
    assert (
        f"Not committed in this window: {rest}. After a change of schedule, land that range with window_start"
        in str(caught.value)
    )


def test_overlap_error_lists_a_bounded_number_of_spans() -> None:
    """A month over every other hour has an error of a few lines."""
    committed = [_hours(hour, hour + 1).manifest(1) for hour in range(1, 720, 2)]
    with pytest.raises(CommitConflictError, match=r"\) and 355 more\. After") as caught:
        check_no_overlap(_hours(0, 720), committed)
    assert len(str(caught.value)) < 900
