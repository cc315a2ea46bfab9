"""What anyone can write to a destination does not fill the memory of the server: the page says what is too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_audit_provider._airflow.coverage_page import sources
from airflow_audit_provider._airflow.coverage_page.sources import BOUNDS
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.verification.manifest_index import write_index
from airflow_audit_provider.pipelines.manifest_index import IndexMemory, ManifestIndex
from airflow_audit_provider.pipelines.overview import overview
from tests._airflow.coverage_page.in_process import client_of, source_of
from tests._airflow.coverage_page.site import write
from tests.pipelines.history.generated import committed, windows
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration
TERABYTE = 1 << 40
TOO_LARGE = f"has more than {BOUNDS.object_bytes:,} bytes"
NAMES = [WindowKeys(one, one.start.date()).name for one in windows(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A destination with three committed days."""
    return write(tmp_path / "landed", committed(windows(3)))


def _grow(path: Path) -> None:
    """Makes a file enormous; it takes no space, so its author has none to pay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(TERABYTE)


@pytest.mark.parametrize("status_of", ["page", "day", "window", "verify", "list"])
def test_page_with_enormous_manifest_names_it_and_shows_the_others(
    monkeypatch: pytest.MonkeyPatch, folder: Path, status_of: str
) -> None:
    """The other windows have their figures on each page."""
    (manifest,) = folder.rglob(f"_manifests/**/*{NAMES[1]}*")
    _grow(manifest)
    client, source = client_of(monkeypatch, lambda: [source_of(folder)]), source_of(folder)
    day = windows(3)[1].start.date()
    paths = {"day": f"?day={day}", "window": f"/w/{NAMES[1]}", "verify": "/verify"}
    answer = client.get("/" if status_of == "list" else f"/d/{source.id}{paths.get(status_of, '')}")
    assert answer.status_code == 200
    assert (TOO_LARGE in answer.text) is (status_of not in {"list", "verify"})
    if status_of in {"page", "day"}:
        assert answer.text.count(f'href="?day={windows(3)[0].start.date()}') == 1
        assert '<a class="cell damaged' in answer.text


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("_dataset.json", "", 200),
        ("_manifest_index/2026-10.jsonl.gz", "", 200),
        ("_verified/20261101T000000Z-{digest}.json", "", 200),
        ("_seals/000001.json", "/verify", 502),
    ],
)
def test_page_with_enormous_object_beside_manifests_says_so(
    monkeypatch: pytest.MonkeyPatch, folder: Path, key: str, path: str, status: int
) -> None:
    """The windows are shown if only their index, descriptor or a record of a verification is too large."""
    _grow(folder / key.replace("{digest}", "ab" * 32))
    answer = client_of(monkeypatch, lambda: [source_of(folder)]).get(f"/d/{source_of(folder).id}{path}")
    assert answer.status_code == status
    assert TOO_LARGE in answer.text or "_verified" in key
    assert ("2026-10-31" in answer.text) is (status == 200)


@pytest.mark.parametrize(
    ("path", "bound", "words"),
    [
        ("", "listed_count", "more than 2 keys"),
        ("/verify", "listed_count", "more than 2 keys"),
        ("", "total_bytes", "more than 2 bytes"),
        (f"/w/{NAMES[0]}", "total_bytes", "more than 2 bytes"),
        ("", "object_count", "more than 2 objects"),
    ],
)
def test_page_of_enormous_destination_says_what_is_too_much(
    monkeypatch: pytest.MonkeyPatch, folder: Path, path: str, bound: str, words: str
) -> None:
    """The bounds are small here, so that a few objects are too many."""
    monkeypatch.setattr(sources, "BOUNDS", BOUNDS._replace(**{bound: 2}))
    for number in range(2, 5):
        (folder / "_manifests" / f"strange{number}.json").write_text("{}")
    client = client_of(monkeypatch, lambda: [source_of(folder)])
    answer = client.get(f"/d/{source_of(folder).id}{path}")
    assert answer.status_code == 502
    assert words in answer.text
    assert "airflow-audit-provider coverage" in answer.text
    assert words in client.get("/").text


def test_indexes_of_all_readings_share_one_bound_of_memory() -> None:
    """Of indexes that are too large together, one is used; the windows of the others are read one by one or not yet."""
    of = windows(20, per_day=24)
    manifests = {key: content for key, content in committed(of, 1) if key.startswith("_manifests/")}
    index = write_index(manifests)
    assert index is not None
    size_bytes = sum(map(len, manifests.values()))
    memory = IndexMemory(size_bytes + size_bytes // 2)
    stores = [MemoryStore({**manifests, f"_manifest_index/{month}.jsonl.gz": index}) for month in ("2026-10",) * 2]
    first, second = (ManifestIndex(store, memory=memory) for store in stores)
    for one in (first, second):
        one.read(None, None)
    assert [one.copy(min(manifests)) is not None for one in (first, second)] == [True, False]
    assert "too large" in second.findings[0].detail
    first.close()
    second.close()
    for store in stores:
        assert all(one.is_read for one in overview(store, most_read=0, memory=memory).windows)
