"""The page of a window shows what its records changed, as text, within bounds, and only if it is switched on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider._airflow.config import shows_changes
from airflow_audit_provider._airflow.coverage_page.changes_view import changes_view
from airflow_audit_provider._airflow.html_templates import templates_of
from airflow_audit_provider.core.archive.change_keys import change_commit_key, change_file_key
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.warehouse.change_files import ChangeRow, ChangesCommit, change_file, write_rows
from airflow_audit_provider.pipelines.window_changes import MOST_CHANGES, WindowChanges, window_changes
from airflow_audit_provider.pipelines.window_history import window_history
from tests.pipelines.verify.dataset import DAY_1, commit, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

KEYS = WindowKeys(window(), DAY_1.date())
HOSTILE = "<script>alert(1)</script>\u202e\u2066\x00\x1b[31m"
PART = "dt=2026-10-26/window=x/part-0001-00000-0123456789abcdef.jsonl.gz"


def _row(before: Any, after: Any, record_id: str = "r1", fields: Sequence[str] = ("x",)) -> ChangeRow:
    return ChangeRow(record_id, "2026-10-26T00:00:00.000000Z", "exact", "history", tuple(fields), before, after)


def _html(rows: Sequence[ChangeRow], problem: str = "") -> str:
    found = WindowChanges(tuple(rows), {"exact": len(rows)}, len(rows), problem)
    templates = templates_of("airflow_audit_provider._airflow.coverage_page")
    parts = templates.get_template("parts.html").module
    return templates.get_template("changes.html").render(changes=changes_view(found), parts=parts)


def _stored(store: MemoryStore, rows: Sequence[ChangeRow]) -> str:
    """Writes rows as the changes of the newest generation; returns the key of the file."""
    key, manifest_key = change_file_key(window(), PART, 0), KEYS.manifest(1)
    content = write_rows(rows)
    store.create(key, content)
    made = ChangesCommit(manifest_key, _digest(store), len(rows), (change_file(key, content),))
    store.create(change_commit_key(window(), manifest_key), made.to_bytes())
    return key


def _digest(store: MemoryStore) -> str:
    """Returns the digest of the manifest of the window."""
    return hashlib.sha256(store.read(KEYS.manifest(1)) or b"").hexdigest()


def _read(store: MemoryStore) -> WindowChanges:
    """Reads the changes of the window."""
    found = window_changes(store, window(), KEYS.manifest(1), _digest(store))
    assert found is not None
    return found


def test_difference_is_shown_field_by_field() -> None:
    """Each field that differs has its values before and after; equal fields are left out."""
    text = _html([_row({"ttl": 1, "name": "same"}, {"ttl": 2, "name": "same", "tags": ["a"]})])
    assert "<code>ttl</code></th><td><del>1</del></td><td><ins>2</ins></td>" in text
    assert "<code>tags</code></th><td><del>none</del></td>" in text.replace("–", "none").replace("—", "none")
    assert "same" not in text


def test_hostile_values_are_shown_as_text() -> None:
    """Markup, marks that turn text around, and control characters of values, fields and ids are escaped."""
    text = _html([_row({HOSTILE: HOSTILE}, {HOSTILE: 1}, HOSTILE)], HOSTILE)
    assert "<script>" not in text
    assert not any(character in text for character in "\u202e\u2066\x00\x1b")
    assert "&lt;script&gt;" in text


@given(st.text(), st.text())
def test_any_values_make_printable_html(before: str, after: str) -> None:
    """Values of any text put no character into the page that is not visible."""
    text = _html([_row({"a": before}, {"a": after}, fields=("a",))])
    assert all(line.isprintable() for line in text.split("\n"))


def test_large_values_make_a_small_page() -> None:
    """Thousands of fields with long values are cut."""
    after = {f"f{number}": "x" * 10_000 for number in range(2000)}
    text = _html([_row({}, after)])
    assert len(text) < 40_000
    assert "Only the first 20 fields are shown." in text


def test_changes_of_the_newest_generation_are_read_within_bounds() -> None:
    """The first records that changed something are read, and a damaged file is said to be damaged."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 3))
    assert window_history(store, KEYS, with_changes=True).changes is None
    key = _stored(store, [_row(1, 2, f"r{number:03}") for number in range(80)] + [_row(1, 1, "same", ())])
    assert window_history(store, KEYS).changes is None
    found = window_history(store, KEYS, with_changes=True).changes
    assert found is not None
    assert (len(found.rows), found.statuses, found.record_count) == (MOST_CHANGES, {"exact": 81}, 81)
    store.remove([key])
    damaged = _read(store)
    assert (damaged.rows, "is missing or damaged" in damaged.problem) == ((), True)
    store.remove([change_commit_key(window(), KEYS.manifest(1))])
    store.create(change_commit_key(window(), KEYS.manifest(1)), msgspec.json.encode({"files": 7}))
    assert "is missing or damaged" in _read(store).problem


def test_changes_of_another_manifest_or_another_file_are_not_shown() -> None:
    """Changes of another manifest than the one in force, and files that the commit does not name, are problems."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 3))
    key = _stored(store, [_row(1, 2)])
    assert len(_read(store).rows) == 1
    other = window_changes(store, window(), KEYS.manifest(1), "0" * 64)
    assert other is not None
    assert (other.rows, "is about another manifest" in other.problem) == ((), True)
    store.remove([key])
    store.create(key, write_rows([_row(1, 3)]))
    assert (_read(store).rows, "not the one that its commit names" in _read(store).problem) == ((), True)


def test_values_of_records_are_not_shown_by_default() -> None:
    """The page shows counts and keys only, unless the configuration says otherwise."""
    assert shows_changes() is False
