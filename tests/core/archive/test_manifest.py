"""Manifests: canonical bytes, which are written down here, and the chain of generations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, reject
from hypothesis import strategies as st

from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.manifest import (
    Part,
    TableSchema,
    canonical_json,
    check_placement,
    describe,
    is_canonical,
    read_manifest,
)
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.privacy.rule import AppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from tests.core.archive.manifests import GOLDEN, manifest

WINDOW = manifest().window
ASCII_GOLDEN = GOLDEN.replace("zü@x".encode(), b"z@x")
# With all kinds of numbers, and long ones.
CONTENT = ASCII_GOLDEN.replace(b'_ns":"', b'_ns":"17932').replace(b'"a":2', b'"a_ns":"22"')


def test_manifest_has_the_golden_bytes() -> None:
    """The golden manifest has exactly these bytes, with keys sorted at every depth."""
    assert manifest().to_bytes() == GOLDEN


def test_manifest_is_read_back_from_its_bytes() -> None:
    """A decoded manifest is equal and has the same bytes."""
    for original in (manifest(), manifest(parts=(), record_count=0), manifest(generation=3, previous_sha256="cc")):
        again = read_manifest("k", original.to_bytes())
        assert again == original
        assert again.to_bytes() == original.to_bytes()
        assert again.window.start.tzinfo is UTC


def test_order_of_counts_does_not_change_the_bytes() -> None:
    """Counts in another order give the same bytes."""
    other = ReadStats(5, 1, 4, 0.0, 6, 1, 3, {"a": 2, "b": 1})
    assert manifest(fetch=other).to_bytes() == GOLDEN


def test_an_addendum_keeps_the_older_parts_first() -> None:
    """The next generation lists all parts, counts all records, and names its predecessor by digest."""
    late = manifest(record_count=1, added_count=1, parts=(Part("k2", 5, "dd", 1, 8, 8),), records_sha256="ee")
    second = late.succeeding(manifest(), "aa", replace=False)
    assert [part.key for part in second.parts] == ["k1", "k2"]
    assert (second.record_count, second.added_count, second.generation, second.size_bytes) == (3, 1, 2, 15)
    assert second.previous_sha256 == "aa"
    assert second.records_sha256 == "ee"
    third = late.succeeding(second, "bb", replace=False)
    assert (third.generation, third.record_count, len(third.parts)) == (3, 4, 3)
    assert third.previous_sha256 == "bb"


def test_replacement_has_only_its_parts_and_names_its_predecessor() -> None:
    """A generation that replaces lists only its own parts and continues the chain."""
    second = manifest(parts=(Part("k9", 1, "ff", 2, 7, 9),)).succeeding(manifest(generation=4), "cc", replace=True)
    assert [part.key for part in second.parts] == ["k9"]
    assert (second.record_count, second.generation) == (2, 5)
    assert second.previous_sha256 == "cc"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", GOLDEN[:-20], b"\xff" + GOLDEN,
        GOLDEN.replace(b'"record_count":2', b'"record_count":"2"'),
        GOLDEN.replace(b"2026-11-01\"", b"2026-13-01\""),
        GOLDEN.replace(b'"v2"', b'"v3"'),
    ],
)  # fmt: skip
def test_damaged_manifest_is_an_error(content: bytes) -> None:
    """A damaged manifest is an error that names its key."""
    with pytest.raises(Exception, match=r"\.$") as caught:
        read_manifest("_manifests/x.json", content)
    assert isinstance(caught.value, VerificationError)
    assert "_manifests/x.json" in str(caught.value)


def test_newer_manifest_version_is_an_error() -> None:
    """A manifest of a newer version is an error."""
    with pytest.raises(VerificationError, match=r"version 2, newer than 1. Upgrade"):
        read_manifest("k", manifest(manifest_version=2).to_bytes())


def test_unknown_field_is_ignored() -> None:
    """A field that this version does not know is ignored."""
    assert read_manifest("k", GOLDEN.replace(b"{", b'{"new": 1,', 1)) == manifest()


def test_summary_has_only_texts_and_numbers() -> None:
    """The summary for XComs has only texts and numbers."""
    assert describe(manifest()) == {
        "window_start": "2026-11-01T00:00:00+00:00",
        "window_end": "2026-11-02T00:00:00+00:00",
        "record_count": 2,
        "added_count": 2,
        "part_count": 1,
        "size_bytes": 10,
        "records_sha256": "bb",
        "generation": 1,
        "verified": "none",
        "odd_record_count": 0,
    }


NORMALIZED = TableSchema("normalized", "1.0", {"request_status": 2})


def test_manifest_states_schema_and_privacy() -> None:
    """A manifest states the schema of its parts, the type mismatches and the privacy rule."""
    stamped = manifest(table=NORMALIZED, privacy=AppliedPrivacy("gdpr", ("email",), ("metadata",), "0123"))
    content = msgspec.json.decode(stamped.to_bytes())
    assert content["table"] == {"schema": "normalized", "version": "1.0", "type_mismatches": {"request_status": 2}}
    assert content["privacy"] == {
        "name": "gdpr", "pseudonymise": ["email"], "drop": ["metadata"], "key_id": "0123", "rule_version": 2
    }  # fmt: skip
    assert read_manifest("k", stamped.to_bytes()) == stamped
    assert describe(stamped)["schema"] == "normalized 1.0"
    assert describe(stamped)["type_mismatch_count"] == 2
    assert not {"table", "privacy"} & msgspec.json.decode(manifest().to_bytes()).keys()


@pytest.mark.parametrize(
    "change", [{"table": TableSchema("ocsf", "1.0")}, {"privacy": AppliedPrivacy("a", (), ("b",), None)}]
)
def test_manifests_differ_in_another_schema_or_rule(change: dict[str, Any]) -> None:
    """Two runs of one window agree only in the same schema and under the same rule."""
    assert not manifest().has_same_content_as(manifest(**change))


def test_type_mismatches_of_all_generations_are_added_up() -> None:
    """An addendum adds its type mismatches to the older ones; a replacement starts again."""
    late = manifest(table=TableSchema("normalized", "1.0", {"actor_ip": 1, "request_status": 3}))
    added = late.succeeding(manifest(table=NORMALIZED), "aa", replace=False).table
    replaced = late.succeeding(manifest(table=NORMALIZED), "aa", replace=True).table
    assert added == TableSchema("normalized", "1.0", {"actor_ip": 1, "request_status": 5})
    assert replaced == late.table


@pytest.mark.parametrize("folder", ["", "team/a/"])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"generation": 2}, "differs from its key"),
        ({"window": TimeWindow(WINDOW.start, WINDOW.end + timedelta(days=1))}, "differs from its key"),
        ({"partition_date": WINDOW.start.date() + timedelta(days=1)}, None),
        ({"partition_date": WINDOW.start.date() + timedelta(days=2)}, "but its window starts on"),
        ({"parts": (Part("k1", 10, "aa", 2, 7, 9),)}, "'k1', which is not a valid part key of this window"),
    ],
)
def test_manifest_under_another_key_fails(changes: dict[str, object], problem: str | None, folder: str) -> None:
    """A manifest must have the window and the generation of its key, and name parts of its window only."""
    placed, key = manifest(**{"parts": (), **changes}), f"{folder}{WindowKeys(WINDOW, WINDOW.start.date()).manifest(1)}"
    if problem is None:
        check_placement(key, placed)
        return
    with pytest.raises(VerificationError, match=rf"{problem}.* Restore it from a copy"):
        check_placement(key, placed)


# RFC 8785 sorts the last two the other way round: by UTF-16.
_NAMES = st.text(max_size=3) | st.sampled_from(["a_ns", "b_ns", "\ufffd", "\U00010000"])
_JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.integers(-20, 20).map(float)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["7", "-7", "007", ":5.0,"])
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)
_REWRITES = [(b"", b""), (b":0", b":-0"), (b":7", b":7.0"), (b'"7"', b"7"), (b":7", b':"7"'), (b",", b" ,")]


def _decoded(content: bytes) -> Any:
    """Returns JSON values, with the texts in fields of nanoseconds as numbers."""
    return _with_numbers(msgspec.json.decode(content))


def _with_numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_numbers(one) for one in value]
    if isinstance(value, dict):
        return {
            name: int(one)
            if name.endswith("_ns") and isinstance(one, str) and one.lstrip("-").isdecimal()
            else _with_numbers(one)
            for name, one in value.items()
        }
    return value


@given(
    st.dictionaries(_NAMES, _JSON_VALUES, max_size=3),
    st.sampled_from([canonical_json, lambda value: msgspec.json.encode(value, order="sorted")]),
    st.sampled_from(_REWRITES),
)
def test_bytes_count_as_canonical_exactly_if_they_are(
    value: dict[str, object], write: Callable[[object], bytes], rewrite: tuple[bytes, bytes]
) -> None:
    """Bytes count as canonical if, and only if, they are what RFC 8785 has for the value that they hold."""
    try:
        content = write(value).replace(*rewrite)
        read = _decoded(content)
        expected = canonical_json(read) == content
    except (rfc8785.CanonicalizationError, msgspec.DecodeError):
        reject()
    assert is_canonical(read, content) == expected


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [
        (b'"first_event_ns":"179327"', b'"first_event_ns":179327'),
        (b'"throttled_seconds":0', b'"throttled_seconds":0.0'),
        (b'"throttled_seconds":0', b'"throttled_seconds":-0'),
        (b'"first_event_ns":"179327"', b'"first_event_ns":"0179327"'),
        (b'"generation":1', b'"generation": 1'),
    ],
)
def test_manifest_in_other_bytes_is_not_canonical(written: bytes, rewritten: bytes) -> None:
    """A manifest that states the same in other bytes counts as changed."""
    content = CONTENT.replace(written, rewritten)
    assert content != CONTENT
    assert not is_canonical(read_manifest("k", content), content)


@pytest.mark.parametrize("moved", [b'"1"79327', b'"17932"7', b'"179327""', b'"17"9"327"'])
def test_manifest_with_a_moved_quote_is_refused(moved: bytes) -> None:
    """Bytes that are no JSON are not repaired, although a reader could guess the number."""
    with pytest.raises(VerificationError, match="cannot be decoded"):
        read_manifest("k", CONTENT.replace(b'"179327"', moved))


_EDITS = st.tuples(
    st.integers(0, len(CONTENT) - 1),
    st.integers(0, 2),
    st.sampled_from([bytes([one]) for one in sorted(set(CONTENT))] + [b"\\", b" ", b".0", b"-", b'":"', b'_ns":"7"']),
)


_PLACES = st.integers(0, len(CONTENT) - 1)


def _edited(edits: list[tuple[int, int, bytes]]) -> bytes:
    content = CONTENT
    for place, removed_count, inserted in edits:
        content = content[:place] + inserted + content[place + removed_count :]
    return content


def _moved(place: int, distance: int) -> bytes:
    """Returns the content with one byte at another place."""
    rest, target = CONTENT[:place] + CONTENT[place + 1 :], max(0, place + distance)
    return rest[:target] + CONTENT[place : place + 1] + rest[target:]


@given(st.lists(_EDITS, min_size=1, max_size=2).map(_edited) | st.builds(_moved, _PLACES, st.integers(-5, 5)))
def test_edited_manifest_is_canonical_only_if_its_bytes_are(content: bytes) -> None:
    """However bytes of a manifest are inserted, removed and moved, the check has the result of RFC 8785."""
    try:
        read = read_manifest("k", content)
    except VerificationError:
        return
    try:
        expected = canonical_json(read) == content
    except rfc8785.CanonicalizationError:
        expected = False
    assert is_canonical(read, content) == expected


def test_manifest_as_written_is_canonical_without_rfc8785(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of an ordinary manifest does not use the library, which takes ten times as long."""
    monkeypatch.setattr(rfc8785, "dumps", None)
    assert is_canonical(read_manifest("k", CONTENT), CONTENT)
