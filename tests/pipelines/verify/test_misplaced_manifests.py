"""A manifest counts only under its own key and with its own parts, and no key leaves the destination."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import Manifest, Part, read_manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadClaim, LoadPosition, SqlColumn, TablePart
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.dataset import check_dataset
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.verify.dataset import commit, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

LATER = datetime(2027, 6, 1, tzinfo=UTC)


def keys_of(days: float) -> WindowKeys:
    """Returns the keys of the window that starts so many days after the first one."""
    return WindowKeys(window(days), window(days).start.date())


class CountedRows:
    """A warehouse that is empty before each load and only counts the rows it gets."""

    def __init__(self) -> None:
        self._row_count = 0

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Does nothing."""

    def loaded(self, dataset: str, within: TimeWindow | None = None) -> list[LedgerEntry]:
        """Returns no entry."""
        return []

    def window_count(self, dataset: str) -> int:
        """Returns zero."""
        return 0

    def position(self, dataset: str, destination: str) -> None:
        """Returns None."""

    def remember(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Does nothing."""

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[CountedRows]:
        """Gives itself as the sink."""
        self._row_count = 0
        yield self

    def add(self, rows: Any) -> None:
        """Counts rows."""
        self._row_count += rows.num_rows

    def add_part(self, part: TablePart) -> None:
        """Counts the rows of a part."""
        for rows in part.tables():
            self.add(rows)

    def count(self) -> int:
        """Returns the number of rows of the window."""
        return self._row_count

    def close(self) -> None:
        """Does nothing."""


def _load(store: Store) -> object:
    return load_committed(LoadSpec("d", "here"), store, CountedRows(), lambda _: None)


def _check_dataset(store: Store) -> None:
    manifest = read_manifest("", store.read(keys_of(0).manifest(1)) or b"")
    store.remove([DATASET_KEY])
    check_dataset(store, dataset_of(manifest))


READERS: dict[str, Callable[[Store], object]] = {
    "pull": lambda store: latest_committed(store, keys_of(2)),
    "dataset": _check_dataset,
    "coverage": lambda store: coverage(store, LATER),
    "coverage below a folder": lambda store: coverage(_below(store), LATER),
    "load": _load,
    "seal": seal,
    "sweep": lambda store: sweep(store, LATER),
}


def _below(store: Store) -> MemoryStore:
    assert isinstance(store, MemoryStore)
    return MemoryStore({f"team/{key}": content for key, content in store.objects.items()})


def rewritten(store: MemoryStore, **changes: object) -> None:
    """Rewrites the manifest of the third day with other fields."""
    key = keys_of(2).manifest(1)
    store.objects[key] = msgspec.structs.replace(read_manifest(key, store.objects[key]), **changes).to_bytes()


def _with_part_key(store: MemoryStore, key: str) -> None:
    manifest = read_manifest("", store.objects[keys_of(2).manifest(1)])
    rewritten(store, parts=(msgspec.structs.replace(manifest.parts[0], key=key), *manifest.parts[1:]))


PART = "part-0001-00000-0123456789abcdef"
MISPLACED: dict[str, Callable[[MemoryStore], None]] = {
    "copy of another window": lambda store: store.objects.update(
        {keys_of(2).manifest(1): store.objects[keys_of(0).manifest(1)]}
    ),
    "another generation": lambda store: rewritten(store, generation=2),
    "another day's folder": lambda store: rewritten(store, partition_date=keys_of(0).partition_date),
    "part of another window": lambda store: _with_part_key(
        store, read_manifest("", store.objects[keys_of(0).manifest(1)]).parts[0].key
    ),
    "part outside": lambda store: _with_part_key(store, "../secrets.json"),
    "part above": lambda store: _with_part_key(store, f"{keys_of(2).partition}{PART}.x/../../../../secrets.json"),
    "part with a huge generation": lambda store: _with_part_key(
        store, f"{keys_of(2).partition}part-{'9' * 5000}-00000-0123456789abcdef.jsonl"
    ),
}


@pytest.fixture
def store() -> MemoryStore:
    """Two landed days and one between them that is not."""
    made = MemoryStore()
    for days in (0, 2):
        commit(made, window(days), records_in(window(days), 2, f"d{days}"))
    return made


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("forgery", MISPLACED)
def test_misplaced_manifest_is_an_error_of_each_reader(store: MemoryStore, forgery: str, reader: str) -> None:
    """Nobody takes a manifest for that of its key if it states something else, or reads parts that are elsewhere."""
    MISPLACED[forgery](store)
    with pytest.raises(VerificationError, match="_manifests/dt=2026-10-28/20261028T000000Z"):
        READERS[reader](store)


@pytest.mark.parametrize("forgery", MISPLACED)
def test_misplaced_manifest_is_a_severe_finding(store: MemoryStore, forgery: str) -> None:
    """Verify reports the manifest, and reads no object that it names."""
    MISPLACED[forgery](store)
    kinds = {str(one.kind) for one in severe(verify(store).findings) if one.key == keys_of(2).manifest(1)}
    assert kinds == {"manifest_misplaced"}
    assert not [key for key in store.reads if ".." in key]


def test_no_reader_opens_a_file_outside_of_a_local_destination(tmp_path: Path) -> None:
    """A forged manifest makes nobody read a file beside the destination, although its digest is right."""
    store, beside = LocalStore(str(tmp_path / "destination")), tmp_path / "beside.jsonl"
    manifest = commit(store, window(), records_in(window(), 2))
    beside.write_bytes(store.read(manifest.parts[0].key) or b"")
    (part,) = manifest.parts
    forged_key = part.key.replace(".jsonl", ".x/../../../../beside.jsonl")
    (tmp_path / "destination" / part.key.replace(".jsonl", ".x")).mkdir()
    path = tmp_path / "destination" / keys_of(0).manifest(1)
    path.write_bytes(_naming(manifest, msgspec.structs.replace(part, key=forged_key)))
    for name in ("load", "coverage", "seal", "sweep"):
        with pytest.raises(VerificationError, match="which is not a valid part key"):
            READERS[name](store)
    assert "manifest_misplaced" in {str(one.kind) for one in verify(store).findings}
    assert beside.exists()


def _naming(manifest: Manifest, part: Part) -> bytes:
    return msgspec.structs.replace(manifest, parts=(part,)).to_bytes()


def test_seal_that_names_a_huge_generation_is_a_finding() -> None:
    """A number of thousands of digits in a seal raises nothing."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 1))
    seal(store)
    content = store.objects["_seals/000001.json"]
    store.objects["_seals/000001.json"] = content.replace(b".g0001.json", b".g" + b"1" * 5000 + b".json")
    assert "seal_misplaced" in {str(one.kind) for one in severe(verify(store).findings)}
