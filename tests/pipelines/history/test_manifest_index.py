"""The index of manifests spares requests and is never the truth: coverage is that of the manifests themselves."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.archive.manifest import read_manifest
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.ports import ListedObject
from airflow_audit_provider.core.verification import manifest_index as index_format
from airflow_audit_provider.core.verification.manifest_index import read_index, write_index
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import StorageError, VerificationError
from airflow_audit_provider.pipelines import manifest_index as index_pipeline
from airflow_audit_provider.pipelines.coverage import DatasetCoverage, coverage
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.history.counted_calls import function_calls
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.verify.dataset import DAY, commit, record
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration

FOLDER = "_manifest_index/"
OCTOBER = f"{FOLDER}2026-10.jsonl.gz"
HOUR = timedelta(hours=1)


def _history(days: int, per_day: int) -> CountingStore:
    return CountingStore(dict(committed(windows(days, per_day))))


@pytest.fixture
def store() -> CountingStore:
    """One hourly day of October with an index, in a store that states no digests."""
    made = _history(1, 24)
    coverage(made, END, write_index=True)
    assert OCTOBER in made.objects
    made.calls.clear()
    made.reads.clear()
    return made


def _without_index(store: MemoryStore) -> MemoryStore:
    return MemoryStore({key: content for key, content in store.objects.items() if FOLDER not in key})


def _plain(found: tuple[DatasetCoverage, ...]) -> list[DatasetCoverage]:
    return [msgspec.structs.replace(one, findings=()) for one in found]


def _findings(found: tuple[DatasetCoverage, ...]) -> list[tuple[str, str]]:
    return [(str(one.kind), one.key) for dataset in found for one in dataset.findings]


def _newest(store: MemoryStore) -> list[str]:
    return sorted(newest_manifests(store.objects).values())


@pytest.mark.parametrize("per_day", [24, 48])
def test_calls_of_the_coverage_of_everything_grow_with_months(per_day: int) -> None:
    """Two requests of walking and reading the descriptor, one for each month, one for each 1,000 keys."""
    counts = []
    for days, months in ((31, 1), (92, 3)):
        store = _history(days, per_day)
        coverage(store, END, write_index=True)
        store.calls.clear()
        (found,) = coverage(store, END)
        assert (found.coverage.window_count, found.findings) == (days * per_day, ())
        pages = -(-days * per_day // 1000)
        counts.append(store.call_count - pages - months)
        assert store.calls["read"] == 1 + months
    assert counts[0] == counts[1] <= 4


def test_index_spares_the_reading_of_manifests(store: CountingStore) -> None:
    """Coverage with an index reads the descriptor and the index, and is that of the manifests."""
    found = coverage(store, END)
    assert sorted(store.reads) == ["_dataset.json", OCTOBER]
    assert found == coverage(_without_index(store), END)


def test_work_of_coverage_with_an_index_grows_with_the_history() -> None:
    """Twice the windows take twice the function calls."""
    counts = []
    for days in (40, 80):
        store = _history(days, 24)
        coverage(store, END, write_index=True)
        counts.append(function_calls(lambda: coverage(store, END)))  # noqa: B023 - called at once
    assert counts[1] < 2.1 * counts[0]


def test_coverage_writes_no_index_unless_it_may() -> None:
    """Without ``write_index``, and for a few windows, nothing is written."""
    many, few = _history(1, 24), _history(15, 1)
    coverage(many, END)
    coverage(few, END, write_index=True)
    assert many.calls.keys() | few.calls.keys() == {"list", "read"}


def test_seal_adds_what_it_read_to_the_index() -> None:
    """A seal run of many windows writes the index of each month, and adds to it what it seals later."""
    store = _history(4, 24)
    part = [key for key in store.objects if key > f"{MANIFEST_FOLDER}dt={(END - DAY).date()}"]
    later = {key: store.objects.pop(key) for key in part if key.startswith(MANIFEST_FOLDER)}
    assert seal(store).findings == ()
    assert set(read_index(OCTOBER, store.objects[OCTOBER]).contents) == {
        key for key in store.objects if key.startswith(MANIFEST_FOLDER)
    }
    store.objects.update(later)
    assert seal(store).findings == ()
    assert len(read_index(OCTOBER, store.objects[OCTOBER]).contents) == 4 * 24
    store.reads.clear()
    (found,) = coverage(store, END)
    assert (found.coverage.window_count, found.findings) == (96, ())
    assert len(store.reads) == 2
    assert verify(store).findings == ()


def test_seal_of_few_windows_makes_no_call_for_the_index(store: CountingStore) -> None:
    """One window a day, and a run with nothing new, neither read nor write the index."""
    seal(store)
    commit(store, TimeWindow(END, END + DAY), [])
    store.reads.clear()
    store.calls.clear()
    assert len(seal(store).created) == 1
    assert len(seal(store).created) == 0
    assert not any(FOLDER in key for key in store.reads)
    assert store.calls["put"] == 0


def _other_counts(store: MemoryStore, key: str) -> bytes:
    """Returns a manifest of the same size that states other records."""
    changed = store.objects[key].replace(b'"record_count":2', b'"record_count":7')
    assert len(changed) == len(store.objects[key])
    return changed


def _index_of(store: MemoryStore, **changed: bytes) -> bytes:
    return write_index({key: changed.get(key, store.objects[key]) for key in _newest(store)}) or b""


def _damages(store: MemoryStore) -> dict[str, bytes]:
    right, first = store.objects[OCTOBER], _newest(store)[0]
    lines = gzip.decompress(right)
    gone = first.replace("T00", "T23")
    padding = b"x" * (len(store.objects[_newest(store)[9]]) - len(b'{"x":""}'))
    same_size = {_newest(store)[2]: _other_counts(store, _newest(store)[2]), _newest(store)[9]: b'{"x":"%s"}' % padding}
    return {
        "no manifest of the same size": _index_of(store, **same_size),
        "garbage": b"x",
        "empty": b"",
        "cut": right[: len(right) // 2],
        "cut by a byte": right[:-1],
        "longer": right + b"x",
        "two members": right + right,
        "no lines": gzip.compress(b""),
        "foreign version": gzip.compress(lines.replace(b'"index_version":1', b'"index_version":2')),
        "no version": gzip.compress(lines.partition(b"\n")[2]),
        "half a line": gzip.compress(lines[:-9]),
        "no manifest": gzip.compress(lines + b'{"key":"' + first.encode() + b'","manifest":{}}\n'),
        "manifest of no window": write_index({gone.replace("T22", "T21"): store.objects[first]}) or b"",
        "other month": gzip.compress(lines.replace(b'"_manifests/dt=2026-10', b'"_manifests/dt=2026-11')),
        "other object": gzip.compress(lines + b'{"key":"_dataset.json","manifest":{}}\n'),
        "other size": _index_of(store, **{first: store.objects[first].replace(b"explicit bounds", b"explicit")}),
    }


@pytest.mark.parametrize(
    "damage",
    [
        *("garbage", "empty", "cut", "cut by a byte", "longer", "two members", "no lines", "foreign version"),
        *("no version", "half a line", "no manifest", "manifest of no window", "other month", "other object"),
        *("other size", "no manifest of the same size"),
    ],
)
def test_index_that_disagrees_is_ignored_reported_and_replaced(store: CountingStore, damage: str) -> None:
    """Coverage is that of the manifests, coverage and verify report it, and the next index is right."""
    store.objects[OCTOBER] = _damages(store)[damage]
    expected = [("manifest_index_ignored", OCTOBER)]
    found = coverage(store, END)
    assert _findings(found) == expected
    assert _plain(found) == list(coverage(_without_index(store), END))
    assert [(str(one.kind), one.key) for one in verify(store).findings if "unsealed" not in one.kind] == expected
    assert _findings(coverage(store, END, write_index=True)) == expected
    assert coverage(store, END) == coverage(_without_index(store), END)


def test_index_with_manifests_of_another_month_is_ignored() -> None:
    """A copy in the index of another month is reported, although its manifest exists with these bytes."""
    store = _history(40, 1)
    store.objects[OCTOBER] = _index_of(store)
    found = coverage(store, END)
    assert _findings(found) == [("manifest_index_ignored", OCTOBER)]
    assert _plain(found) == list(coverage(_without_index(store), END))


def test_ignored_index_of_few_windows_is_replaced() -> None:
    """A wrong index does not stay because it is too small to be written anew."""
    store = _history(3, 1)
    store.objects[OCTOBER] = b"x"
    assert _findings(coverage(store, END, write_index=True)) == [("manifest_index_ignored", OCTOBER)]
    assert _findings(coverage(store, END)) == []


def test_seal_leaves_an_index_that_it_cannot_read(store: CountingStore) -> None:
    """The run reports it and leaves it in place; the seals are those without an index."""
    store.objects[OCTOBER] = b"x"
    other = _without_index(store)
    report = seal(store)
    assert [(str(one.kind), one.key) for one in report.findings] == [("manifest_index_ignored", OCTOBER)]
    assert store.objects[OCTOBER] == b"x"
    assert report.created == seal(other).created


def test_index_that_fills_the_memory_is_not_decompressed(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decompressed size is bounded, and a run does not write an index above it."""
    monkeypatch.setattr(index_format, "_MOST_BYTES", 1000)
    assert _findings(coverage(store, END)) == [("manifest_index_ignored", OCTOBER)]
    del store.objects[OCTOBER]
    assert _findings(coverage(store, END, write_index=True)) == []
    assert OCTOBER not in store.objects


def test_indexes_that_fill_the_memory_together_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows of months without a kept index are read from their manifests."""
    store = _history(92, 1)
    expected = _plain(coverage(store, END, write_index=True))
    months = sorted(key for key in store.objects if key.startswith(FOLDER))
    assert len(months) == 3
    size_bytes = len(gzip.decompress(store.objects[months[0]]))
    monkeypatch.setattr(index_pipeline, "_MOST_BYTES", size_bytes + size_bytes // 4)
    found = coverage(store, END)
    assert _findings(found) == [("manifest_index_ignored", key) for key in months[1:]]
    assert _plain(found) == expected


@pytest.mark.parametrize("states_md5", [False, True])
def test_forged_copy_is_found_by_a_listed_digest_or_by_verify(store: CountingStore, states_md5: bool) -> None:
    """A copy with the right size and other counts: coverage finds it where a listing states digests, verify always."""
    store.states_md5 = states_md5
    key = _newest(store)[3]
    store.objects[OCTOBER] = _index_of(store, **{key: _other_counts(store, key)})
    found = coverage(store, END)
    assert _findings(found) == ([("manifest_index_ignored", OCTOBER)] if states_md5 else [])
    assert (_plain(found) == list(coverage(_without_index(store), END))) is states_md5
    kinds = {(str(one.kind), one.key) for one in verify(store).findings}
    assert ("manifest_index_ignored", OCTOBER) in kinds


class _Encrypted(MemoryStore):
    """States other texts in the place of digests, as S3 does for objects with SSE-KMS or SSE-C."""

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Returns sizes and texts that are no digests of the bytes."""
        for number, (key, size_bytes) in enumerate(self.list_sizes(prefix)):
            yield ListedObject(key, size_bytes, f"{number:032x}")


def test_texts_that_are_no_digests_do_not_disable_the_index(store: CountingStore) -> None:
    """One manifest is read itself: as it equals its copy, the store states no digests."""
    encrypted = _Encrypted(store.objects)
    found = coverage(encrypted, END)
    assert found == coverage(_without_index(store), END)
    assert len(encrypted.reads) == 3


class _PartlyEncrypted(CountingStore):
    """States MD5 digests of all objects but the newest, as S3 does after a bucket was changed to SSE-KMS."""

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Returns sizes and digests, the last one of another kind."""
        listed = list(super().list_objects(prefix))
        yield from listed[:-1]
        yield from (one._replace(md5="f" * 32) for one in listed[-1:])


def test_one_text_that_is_no_digest_does_not_vouch_for_other_copies(store: CountingStore) -> None:
    """Where most digests are true, a forged copy is not believed because one other manifest has none."""
    key = _newest(store)[3]
    store.objects[OCTOBER] = _index_of(store, **{key: _other_counts(store, key)})
    mixed = _PartlyEncrypted(store.objects)
    mixed.states_md5 = True
    assert _plain(coverage(mixed, END)) == list(coverage(_without_index(store), END))


def test_manifest_that_was_removed_is_not_covered(store: CountingStore) -> None:
    """The listing says which manifests exist: a copy of another one is reported, and is in no total."""
    del store.objects[_newest(store)[5]]
    found = coverage(store, END)
    assert _findings(found) == [("manifest_index_ignored", OCTOBER)]
    assert (found[0].coverage.window_count, len(found[0].coverage.missing)) == (23, 1)


@pytest.mark.parametrize("changes", [{"query": audit_query("v1", None, account_id="1" * 32)}, {"file_format": "csv"}])
def test_index_of_another_dataset_is_ignored(store: CountingStore, changes: dict[str, Any]) -> None:
    """An index from another destination with the same windows is not used, also if its manifests have equal sizes."""
    other = _history(1, 24)
    for key in _newest(other):
        manifest = read_manifest(key, other.objects[key])
        other.objects[key] = msgspec.structs.replace(manifest, **changes).to_bytes()
    store.objects[OCTOBER] = _index_of(other)
    found = coverage(store, END)
    assert _findings(found) == [("manifest_index_ignored", OCTOBER)]
    assert _plain(found) == list(coverage(_without_index(store), END))
    # If the windows themselves are of another dataset, one of them is read to confirm it.
    other.objects["_dataset.json"] = store.objects["_dataset.json"]
    other.objects[OCTOBER] = store.objects[OCTOBER]
    other.reads.clear()
    found = coverage(other, END)
    assert (found[0].coverage.foreign_count, found[0].findings) == (24, ())
    assert sorted(other.reads) == sorted(["_dataset.json", OCTOBER, _newest(other)[0]])


def test_new_windows_and_generations_are_read_themselves(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale index: only what it does not copy is read, and an older generation in it is no disagreement."""
    last = windows(1, 24)[-1]
    commit(store, last, [record(last.start + timedelta(seconds=9), "late")])
    commit(store, TimeWindow(END, END + HOUR), [])
    store.reads.clear()
    found = coverage(store, END + HOUR)
    assert [key for key in store.reads if key.startswith(MANIFEST_FOLDER)] == _newest(store)[-2:]
    assert found == coverage(_without_index(store), END + HOUR)
    assert found[0].coverage.record_count == 24 * 2 + 1
    monkeypatch.setattr(index_pipeline, "MOST_UNINDEXED", 1)
    coverage(store, END + HOUR, write_index=True)
    assert [*read_index(OCTOBER, store.objects[OCTOBER]).contents] == _newest(store)[:-1]


def test_damaged_manifest_is_an_error_also_with_its_copy(store: CountingStore) -> None:
    """A manifest of another size is read itself, and so is one of another digest."""
    key = _newest(store)[7]
    whole = store.objects[key]
    for states_md5, damaged in ((False, whole[:-1]), (True, b"x" + whole[1:])):
        store.states_md5, store.objects[key] = states_md5, damaged
        with pytest.raises(VerificationError, match="cannot be decoded"):
            coverage(store, END)


class _Meanwhile(MemoryStore):
    """Commits a window and writes the index anew when the index is listed."""

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Lists after the other run has acted."""
        if prefix == FOLDER:
            other = MemoryStore(self.objects)
            commit(other, TimeWindow(END - 25 * HOUR, END - 24 * HOUR), [])
            coverage(other, END, write_index=True)
            other.objects[OCTOBER] = _index_of(other)
            self.objects.update(other.objects)
        return super().list_keys(prefix)


def test_window_that_is_committed_and_copied_meanwhile_is_no_disagreement(store: CountingStore) -> None:
    """The index is read before the manifests are listed."""
    meanwhile = _Meanwhile(store.objects)
    found = coverage(meanwhile, END)
    assert (_findings(found), found[0].coverage.window_count) == ([], 25)


def test_last_of_two_writers_wins(store: CountingStore) -> None:
    """A writer that has read an older index loses the copies of the other one, and coverage stays right."""
    commit(store, TimeWindow(END - 25 * HOUR, END - 24 * HOUR), [])
    older = store.objects[OCTOBER]
    store.objects[OCTOBER] = _index_of(store)
    newer = coverage(store, END)
    store.objects[OCTOBER] = older
    assert coverage(store, END) == newer == coverage(_without_index(store), END)


class _ReadOnly(CountingStore):
    """Refuses every conditionless write, and maybe the reading of the index."""

    refuses_reads = False

    def put(self, key: str, content: bytes) -> bool:
        """Refuses."""
        raise StorageError(f"{key} cannot be written: AccessDenied.", key=key)

    def read(self, key: str) -> bytes | None:
        """Reads what is allowed."""
        if self.refuses_reads and key.startswith(FOLDER):
            raise StorageError(f"{key} cannot be read: AccessDenied.", key=key)
        return super().read(key)


@pytest.mark.parametrize("task", [lambda store: coverage(store, END, write_index=True)[0], seal])
def test_store_that_refuses_the_index_is_a_mild_finding(task: Callable[[MemoryStore], DatasetCoverage]) -> None:
    """Neither coverage nor a seal run fails."""
    store = _ReadOnly(_history(1, 24).objects)
    (found,) = task(store).findings
    assert (str(found.kind), str(found.severity), found.key) == ("manifest_index_unwritten", "mild", OCTOBER)
    assert "AccessDenied" in found.detail


def test_index_that_may_not_be_read_is_a_mild_finding(store: CountingStore) -> None:
    """Coverage reads the manifests, and a seal run seals."""
    refusing = _ReadOnly(store.objects)
    refusing.refuses_reads = True
    found = coverage(refusing, END)
    assert _findings(found) == [("manifest_index_ignored", OCTOBER)]
    assert _plain(found) == list(coverage(_without_index(store), END))
    report = seal(refusing)
    assert [str(one.kind) for one in report.findings] == ["manifest_index_ignored"]
    assert len(report.created) == 1


def test_verify_of_some_days_does_not_read_the_index(store: CountingStore) -> None:
    """A range of some days lists and reads only what is around it."""
    store.objects[OCTOBER] = b"x"
    assert "manifest_index_ignored" not in [str(one.kind) for one in verify(store, END - DAY, END).findings]
    assert OCTOBER not in store.reads


def test_datasets_below_a_root_have_an_index_each() -> None:
    """Keys in an index are relative to its dataset, and its folder is no dataset."""
    root = MemoryStore()
    for folder, days in (("a/", 1), ("b/c/", 2)):
        root.objects |= {folder + key: content for key, content in committed(windows(days, 24))}
    coverage(root, END, write_index=True)
    assert sorted(key for key in root.objects if FOLDER in key) == [f"a/{OCTOBER}", f"b/c/{OCTOBER}"]
    root.reads.clear()
    found = coverage(root, END)
    assert [(one.folder, one.coverage.window_count, one.findings) for one in found] == [
        ("a/", 24, ()),
        ("b/c/", 48, ()),
    ]
    assert len(root.reads) == 4
    root.objects[f"a/{OCTOBER}"] = b"x"
    assert _findings(coverage(root, END)) == [("manifest_index_ignored", OCTOBER)]


def test_verify_and_sweep_know_the_index(store: CountingStore) -> None:
    """It is no unreferenced object, and no orphaned one; another object beside it is."""
    seal(store)
    sweep(store, END + 30 * DAY)
    assert OCTOBER in store.objects
    assert verify(store).findings == ()
    store.objects[f"{FOLDER}2026-13.jsonl.gz"] = b"x"
    assert [str(one.kind) for one in verify(store).findings] == ["object_foreign"]


def test_index_can_be_written_of_a_range(store: CountingStore) -> None:
    """Copies of windows outside of the range stay in the index."""
    more = _history(80, 24)
    coverage(more, END, write_index=True)
    september = f"{FOLDER}2026-09.jsonl.gz"
    whole, right = more.objects[september], len(read_index(september, more.objects[september]).contents)
    keys = [key for key in _newest(more) if "dt=2026-09" in key]
    more.objects[september] = write_index({key: more.objects[key] for key in keys[:400]}) or b""
    coverage(more, END, END - 70 * DAY, END, write_index=True)
    assert right == 30 * 24
    assert more.objects[september] == whole
