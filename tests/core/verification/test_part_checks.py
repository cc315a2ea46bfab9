"""Checks of parts against their manifest, of overlapping windows, and of objects that no manifest names."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.verification.manifest_chain import StoredManifest, read_chain
from airflow_audit_provider.core.verification.part_checks import WindowCheck, overlap_findings, stray_findings
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow
from tests.core.verification.manifests import KEYS, WINDOW, manifest, stored
from tests.function_calls import count_calls

START_NS = WINDOW.start_ns


def record(second: int, record_id: str, raw: bytes = b"{}") -> AuditRecord:
    """Returns a record so many seconds after the start of the window."""
    return AuditRecord(START_NS + second * SECOND_NS, record_id, raw)


def part_of(records: list[AuditRecord], generation: int = 1, **changes: Any) -> tuple[Part, bytes]:
    """Returns a part with these records, and its content."""
    content = b"".join(one.raw + b"\n" for one in records)
    digest = hashlib.sha256(content).hexdigest()
    times = [one.event_ns for one in records]
    part = Part(KEYS.part(generation, 0, digest, "jsonl"), len(content), digest, len(records), min(times), max(times))
    return msgspec.structs.replace(part, **changes), content


def generation_of(records: list[AuditRecord], **changes: Any) -> Manifest:
    """Returns the first generation, whose only part has these records."""
    part, content = part_of(records)
    sums = {"record_count": part.record_count, "added_count": part.record_count}
    return manifest(**{"parts": (part,), "records_sha256": hashlib.sha256(content).hexdigest(), **sums, **changes})


RECORDS = [record(0, "a", b'{"a":1}'), record(5, "b", b'{"b":1}'), record(5, "c", b'{"c":1}')]


def check_of(*manifests: Manifest) -> WindowCheck:
    """Returns the check of these generations of a window."""
    return WindowCheck(read_chain(stored(*manifests)))


def kinds_after(check: WindowCheck, *reads: list[AuditRecord]) -> list[str]:
    """Checks each part with these records; returns the kinds of all findings."""
    for part, records in zip(check.parts, reads, strict=True):
        check.check_records(part, iter(records))
    return [str(found.kind) for found in check.finish()]


def test_unchanged_part_has_no_findings() -> None:
    """A part with the right size, digest, count, event times and ids has no findings."""
    check = check_of(generation_of(RECORDS))
    (part,) = check.parts
    content = part_of(RECORDS)[1]
    assert check.check_size(part, len(content))
    assert check.check_size(part, None)
    assert check.check_bytes(part, content)
    assert kinds_after(check, RECORDS) == []
    assert check.record_count == 3
    assert check.newest is not None


@pytest.mark.parametrize(
    ("content", "kind"),
    [(None, "part_missing"), (b"", "part_size"), (b"x" * 24, "part_changed"), (b"x" * 25, "part_size")],
)
def test_records_of_changed_parts_are_not_read(content: bytes | None, kind: str) -> None:
    """A part that is missing, cut or changed is one finding, and its records are not read."""
    check = check_of(generation_of(RECORDS))
    (part,) = check.parts
    assert part.size_bytes == 24
    assert not check.check_bytes(part, content)
    assert [str(found.kind) for found in check.finish()] == [kind]
    assert check.findings[0].key == part.key


def test_cut_part_is_found_by_its_listed_size() -> None:
    """A part whose listed size is wrong is found without reading it."""
    check = check_of(generation_of(RECORDS))
    assert not check.check_size(check.parts[0], 23)
    assert [str(found.kind) for found in check.finish()] == ["part_size"]


def test_unreadable_part_is_one_finding() -> None:
    """The finding of an unreadable part names the type of the error."""
    check = check_of(generation_of(RECORDS))
    check.on_unreadable(check.parts[0], KeyError("record"))
    (found,) = check.finish()
    assert found.kind == "part_unreadable"
    assert "KeyError" in found.detail


@pytest.mark.parametrize(
    ("read", "kinds"),
    [
        (RECORDS[:2], ["part_record_count", "records_changed"]),
        ([*RECORDS, record(5, "d")], ["part_record_count", "records_changed"]),
        ([RECORDS[0], RECORDS[1], RECORDS[1]], ["record_repeated", "records_changed"]),
        ([record(0, "a", b'{"a":2}'), *RECORDS[1:]], ["records_changed"]),
        ([record(1, "a", b'{"a":1}'), *RECORDS[1:]], ["part_event_times"]),
        ([*RECORDS[:2], record(6, "c", b'{"c":1}')], ["part_event_times"]),
        ([record(-1, "a", b'{"a":1}'), *RECORDS[1:]], ["part_event_times", "record_outside"]),
        ([*RECORDS[:2], record(86_400, "c", b'{"c":1}')], ["part_event_times", "record_outside"]),
        ([], ["part_record_count", "records_changed"]),
    ],
)
def test_changed_records_are_found(read: list[AuditRecord], kinds: list[str]) -> None:
    """Records that are missing, repeated, changed or outside the window are findings."""
    assert kinds_after(check_of(generation_of(RECORDS)), read) == kinds


@pytest.mark.parametrize(
    ("second", "kinds"), [(0, []), (86_399, []), (86_400, ["record_outside"]), (-1, ["record_outside"])]
)
def test_window_is_half_open(second: int, kinds: list[str]) -> None:
    """The start of a window is inside of it, its end is not."""
    alone = [record(second, "a")]
    assert kinds_after(check_of(generation_of(alone)), alone) == kinds


def test_last_nanosecond_is_inside_the_window() -> None:
    """A record one nanosecond before the end of the window is inside."""
    last = [AuditRecord(WINDOW.end_ns - 1, "a", b"{}")]
    assert kinds_after(check_of(generation_of(last)), last) == []


def test_empty_window_has_the_digest_of_no_bytes() -> None:
    """A window without parts must have the digest of no bytes."""
    nothing = hashlib.sha256(b"").hexdigest()
    empty = {"parts": (), "record_count": 0, "added_count": 0}
    assert kinds_after(check_of(manifest(**empty, records_sha256=nothing))) == []
    assert kinds_after(check_of(manifest(**empty, records_sha256="0" * 64))) == ["records_changed"]


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_digest_of_replaced_characters_is_unprovable(file_format: str) -> None:
    """If a format replaces bytes that are not UTF-8, a different digest is only a mild finding."""
    kept = [record(0, "a", '{"a":"�"}'.encode())]
    first = generation_of(kept, file_format=file_format, records_sha256="0" * 64)
    assert kinds_after(check_of(first), kept) == ["records_unprovable"]
    plain = generation_of(RECORDS, file_format=file_format, records_sha256="0" * 64)
    assert kinds_after(check_of(plain), RECORDS) == ["records_changed"]
    lines = generation_of(kept, file_format="jsonl", records_sha256="0" * 64)
    assert kinds_after(check_of(lines), kept) == ["records_changed"]


LATE = [record(1, "x", b'{"x":1}'), record(2, "y", b'{"y":1}')]


def late(first: Manifest, records: list[AuditRecord], **changes: Any) -> Manifest:
    """Returns an addendum with late records."""
    part, content = part_of(records, 2)
    sums = {"record_count": len(records), "added_count": len(records)}
    plain = manifest(parts=(part,), records_sha256=hashlib.sha256(content).hexdigest(), **sums)
    ids = tuple(one.id for one in records)
    before = hashlib.sha256(first.to_bytes()).hexdigest()
    return msgspec.structs.replace(plain.succeeding(first, before, replace=False), **{"added_ids": ids, **changes})


def test_added_ids_must_match_the_added_records() -> None:
    """The added ids of a manifest must be those of its added records, in order."""
    first = generation_of(RECORDS)
    assert kinds_after(check_of(first, late(first, LATE)), RECORDS, LATE) == []
    swapped = late(first, LATE, added_ids=("y", "x"))
    assert kinds_after(check_of(first, swapped), RECORDS, LATE) == ["added_ids"]
    fewer = late(first, LATE, added_ids=("x",))
    assert kinds_after(check_of(first, fewer), RECORDS, LATE) == ["added_ids"]


def test_repeated_id_of_another_generation_is_found() -> None:
    """A late record with the id of an older record is a finding."""
    first = generation_of(RECORDS)
    again = [RECORDS[1]]
    assert kinds_after(check_of(first, late(first, again)), RECORDS, again) == ["record_repeated"]


def test_id_with_half_a_surrogate_pair_is_valid() -> None:
    """An id that is half a surrogate pair gives no finding."""
    odd = [record(0, "\ud800")]
    assert kinds_after(check_of(generation_of(odd)), odd) == []


def test_parts_of_a_replaced_generation_are_not_required() -> None:
    """The records of a replaced generation are removed, which is no finding."""
    first = generation_of(RECORDS)
    part, content = part_of(RECORDS, 2)
    anew = manifest(parts=(part,), record_count=3, added_count=3, records_sha256=hashlib.sha256(content).hexdigest())
    second = anew.succeeding(first, hashlib.sha256(first.to_bytes()).hexdigest(), replace=True)
    assert kinds_after(check_of(first, second), RECORDS) == []


def test_parts_are_checked_by_the_newest_readable_manifest() -> None:
    """If the newest manifest is unreadable, the parts of the older one are checked."""
    first = generation_of(RECORDS)
    check = WindowCheck(read_chain([*stored(first), StoredManifest(KEYS.manifest(2), b"{}")]))
    assert kinds_after(check, RECORDS) == ["manifest_unreadable"]
    nothing = WindowCheck(read_chain([StoredManifest(KEYS.manifest(1), b"{}")]))
    assert (nothing.parts, nothing.newest) == ((), None)
    assert [str(found.kind) for found in nothing.finish()] == ["manifest_unreadable"]


def test_parts_of_an_unreadable_generation_are_checked() -> None:
    """A part of a generation with an unreadable manifest is checked if a later manifest names it."""
    first = generation_of(RECORDS)
    second = late(first, LATE)
    damaged = [StoredManifest(KEYS.manifest(1), b"{}"), *stored(second)]
    assert kinds_after(WindowCheck(read_chain(damaged)), RECORDS[:2], LATE) == [
        "manifest_unreadable",
        "part_record_count",
    ]


def hours(start: int, end: int) -> TimeWindow:
    """Returns a window from hour to hour."""
    day_at = datetime(2026, 11, 1, tzinfo=UTC)
    return TimeWindow(day_at + timedelta(hours=start), day_at + timedelta(hours=end))


@pytest.mark.parametrize(
    ("windows", "named"),
    [
        ([(0, 1), (1, 2), (2, 3)], []),
        ([(0, 2), (1, 3)], ["1-3"]),
        ([(0, 9), (1, 2), (3, 4), (9, 10)], ["1-2", "3-4"]),
        ([(0, 1), (0, 2)], ["0-2"]),
        ([], []),
    ],
)
def test_overlapping_windows_are_found(windows: list[tuple[int, int]], named: list[str]) -> None:
    """Adjacent windows do not overlap; a window inside an earlier, longer one does, with others in between."""
    found = list(overlap_findings({hours(*one): "{}-{}".format(*one) for one in windows}))
    assert [one.key for one in found] == named


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("dt=2026-11-01/x", "object_unexpected"),
        ("_manifests/notes", "object_unexpected"),
        (KEYS.manifest(1) + ".bak", "object_unexpected"),
        (KEYS.manifest(1), None),
        ("_seals/000001.json", None),
        ("_seals/000001.sig", None),
        ("_seals/1.json", "object_unexpected"),
        ("_staging/w/a/part-00000", "staging_leftover"),
        ("named", None),
        ("both", None),
        ("old", "part_superseded"),
        ("readme.md", "object_foreign"),
    ],
)
def test_unnamed_objects_are_classified_by_their_folder(key: str, kind: str | None) -> None:
    """An object that no manifest names is unexpected among parts, manifests and seals, and mild elsewhere."""
    found = [str(one.kind) for one in stray_findings([key], {"named", "both"}, {"old", "both"})]
    assert found == ([] if kind is None else [kind])


def test_check_of_records_calls_no_function_for_each_record() -> None:
    """Records are checked in groups, which takes a third of the time of a check of each."""
    records = [record(number // 10, f"id{number}", b'{"a":%d}' % number) for number in range(4000)]

    def calls_of(checked: list[AuditRecord]) -> int:
        check = check_of(generation_of(checked))
        return count_calls(lambda: check.check_records(check.parts[0], iter(checked))).total()

    one_group, four_groups = calls_of(records[:1000]), calls_of(records)
    assert one_group <= 60
    assert four_groups <= 4 * one_group


def test_groups_of_records_are_checked_as_one_part() -> None:
    """Counts, event times, ids and the digest of a part are those of all of its groups."""
    records = [record(number // 10, f"id{number}", b'{"a":%d}' % number) for number in range(2500)]
    committed = generation_of(records)
    assert kinds_after(check_of(committed), records) == []
    assert kinds_after(check_of(committed), records[:-1]) == ["part_record_count", "records_changed"]
    changed = [*records[:1500], msgspec.structs.replace(records[1500], raw=b'{"a":0}'), *records[1501:]]
    assert kinds_after(check_of(committed), changed) == ["records_changed"]
    repeated = [*records[:2400], *records[100:200]]
    assert kinds_after(check_of(generation_of(repeated)), repeated) == ["record_repeated"]
