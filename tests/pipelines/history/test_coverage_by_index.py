"""Coverage with an index of manifests is that without one, after any history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.archive.manifest import Erasure, read_manifest
from airflow_audit_provider.core.archive.object_keys import MANIFEST_INDEX_FOLDER, WindowKeys, newest_manifests
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines import manifest_index as index_pipeline
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.seal import seal
from tests.hypothesis_profiles import examples
from tests.pipelines.verify.dataset import DAY, DAY_1, commit, records_in
from tests.pipelines.verify.memory_store import MemoryStore

HOUR = timedelta(hours=1)
_Result = TypeVar("_Result")
_LENGTHS = st.sampled_from([1, 5, 24, 24, 30, 100])
_ACTIONS = st.sampled_from(
    ["commit", "late", "replace", "erase", "foreign", "index", "seal", "remove", "cut", "change"]
)


def _act(store: MemoryStore, action: str, start: int, length: int) -> None:
    newest = sorted(newest_manifests(store.objects).values())
    if action == "index":
        _write_index(store)
    elif action == "seal":
        _try(lambda: seal(store))
    elif action == "commit" or not newest:
        of = TimeWindow(DAY_1 + start * HOUR, DAY_1 + (start + length) * HOUR)
        if of not in newest_manifests(store.objects):
            other = MemoryStore()
            commit(other, of, records_in(of, start % 3, f"{start}-{length}-"))
            store.objects = {**other.objects, **store.objects}
    else:
        _damage_or_add(store, action, newest[start % len(newest)], start)


def _damage_or_add(store: MemoryStore, action: str, key: str, number: int) -> None:
    content = store.objects[key]
    if action == "remove":
        del store.objects[key]
    elif action == "cut":
        store.objects[key] = content[:-3]
    elif action == "change":
        store.objects[key] = content[:40] + b"#" + content[41:]
    else:
        manifest = _try(lambda: read_manifest(key, content))
        if manifest is not None:
            actions: dict[str, dict[str, Any]] = {
                "late": {"record_count": manifest.record_count + number % 3},
                "replace": {"record_count": number % 5, "verified": "recount"},
                "erase": {"erased": Erasure("asked", manifest.parts), "parts": (), "record_count": 0},
                "foreign": {"file_format": "csv"},
            }
            made = msgspec.structs.replace(manifest, generation=manifest.generation + 1, **actions[action])
            store.objects[WindowKeys(made.window, made.window.start.date()).manifest(made.generation)] = made.to_bytes()


def _try(work: Callable[[], _Result]) -> _Result | None:
    try:
        return work()
    except VerificationError:
        return None


def _write_index(store: MemoryStore) -> None:
    _try(lambda: coverage(store, DAY_1 + 30 * DAY, write_index=True))


@pytest.mark.integration
@examples(120)
@given(
    actions=st.lists(st.tuples(_ACTIONS, st.integers(-900, 900), _LENGTHS), min_size=2, max_size=14),
    asked=st.sampled_from([None, (-900, 900), (-100, 2000)]),
)
def test_coverage_is_the_same_with_and_without_an_index(
    actions: list[tuple[str, int, int]], asked: tuple[int, int] | None
) -> None:
    """Any history of windows, generations, erasures and damages, with an index written at any time between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_pipeline, "MOST_UNINDEXED", 1)
        store = MemoryStore()
        store.states_md5 = True
        for action in actions:
            _act(store, *action)
        start, end = (None, None) if asked is None else (DAY_1 + asked[0] * HOUR, DAY_1 + asked[1] * HOUR)

        def result(of: MemoryStore) -> object:
            try:
                found = coverage(of, DAY_1 + 20 * DAY, start, end)
                return [msgspec.structs.replace(one, findings=()) for one in found]
            except VerificationError as error:
                return str(error)

        without = {key: one for key, one in store.objects.items() if not key.startswith(MANIFEST_INDEX_FOLDER)}
        assert result(store) == result(MemoryStore(without))
