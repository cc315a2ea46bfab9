"""A stitched history is one dataset on the page, with a row for each version, and each of them covers its own time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider._airflow.coverage_page import access
from airflow_audit_provider._airflow.coverage_page.sources import Source, merged
from airflow_audit_provider._airflow.page_addresses import coverage_page
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY
from airflow_audit_provider.testing.clock import ManualClock
from tests._airflow.coverage_page.histories import DAY, stitched, today
from tests._airflow.coverage_page.in_process import client_of, source_of
from tests._airflow.coverage_page.site import write
from tests.pipelines.history.generated import committed, windows
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)
ACCOUNT = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stitched history: version 1 ends six days ago, version 2 begins eight days ago and lacks its first day."""
    return write(tmp_path / "stitched", stitched().items())


def _page(client: Any, folder: Path, version: str = "") -> str:
    source = source_of(folder)
    found = next((one for one in source.streams if one.version == version), source)
    answer = client.get(f"/d/{found.id}")
    assert answer.status_code == 200
    text: str = answer.text
    return text


def _state(text: str, ago: int) -> str:
    """Returns the state of the cell of a day."""
    cell = text.partition(f'href="?day={(today() - ago * DAY).date()}#day"')[0].rpartition('class="cell ')[2]
    return cell.split()[0]


def test_list_of_stitched_history_has_a_row_for_each_version(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The root states where version 2 takes over, and each version has its own figures."""
    text = client_of(monkeypatch, lambda: [source_of(folder)]).get("/").text
    assert text.count('<section class="card">') == 1
    for one in source_of(folder).streams:
        assert text.count(f'<a href="d/{one.id}">Version {one.version[1]}</a>') == 1
    assert "Version 2 begins" in text
    assert text.count("First committed instant") == 2


def test_page_of_stitched_history_has_a_band_of_months_for_each_version(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """A month leads to the calendar of its version."""
    text = _page(client_of(monkeypatch, lambda: [source_of(folder)]), folder)
    assert text.count('<ol class="band cells"') == 2
    for one in source_of(folder).streams:
        assert text.count(f'href="{one.id}?day=') == 19


def test_version_that_has_ended_is_not_missing_afterwards(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Only the time that a version covers is due, at both ends."""
    client = client_of(monkeypatch, lambda: [source_of(folder)])
    first, second = _page(client, folder, "v1"), _page(client, folder, "v2")
    assert [_state(first, ago) for ago in (9, 7, 6, 2)] == ["committed", "committed", "elsewhere", "elsewhere"]
    assert [_state(second, ago) for ago in (9, 8, 7, 2)] == ["elsewhere", "missing", "committed", "committed"]
    assert '<strong aria-current="page">1</strong>' in first
    assert f'<a href="{source_of(folder).id}">{folder.as_uri()}</a>' in second


def test_filters_on_the_calendar_open_the_only_dataset_that_they_leave(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    """A form without a script: its fields are a query of the list, which leads to the calendar of the dataset."""
    other = write(tmp_path / "other", committed(windows(2)))
    client = client_of(monkeypatch, lambda: [source_of(folder), source_of(other)])
    client.get("/")
    text = _page(client, folder, "v2")
    form = text.partition("<form ")[2].partition("</form>")[0]
    assert 'method="get" action="../"' in form
    assert 'name="calendar" value="1"' in form
    assert "<option selected>v2</option>" in form
    assert f"<option>{ACCOUNT}</option>" in form
    answers = {
        version: client.get(f"/?calendar=1&version={version}&account={ACCOUNT}", follow_redirects=False)
        for version in ("v1", "v2", "")
    }
    assert {version: answer.status_code for version, answer in answers.items()} == dict.fromkeys(answers, 303)
    assert answers["v1"].headers["location"] == f"d/{source_of(folder).streams[0].id}"
    assert "Content-Security-Policy" in answers["v1"].headers
    assert answers[""].headers["location"] == f"d/{source_of(folder).id}"


def test_link_of_task_leads_to_page_of_its_version(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A task of a stitched history has the manifest of one of its versions."""
    (manifest, *_) = sorted((folder / "v1").rglob("*.json"))
    link = coverage_page(manifest.as_uri())
    client = client_of(monkeypatch, lambda: [source_of(folder)])
    assert client.get(link.partition("/cloudflare-audit-logs")[2]).status_code == 200


def test_version_with_asset_of_its_own_needs_right_to_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The right to the root does not open a folder that has an asset of its own."""
    root = source_of(folder)
    hidden = root.streams[0]
    client = client_of(monkeypatch, lambda: merged([("7", hidden.uri)], [{"destination": root.uri}]))
    monkeypatch.setattr(access, "may_read", lambda user, source: not source.asset_ids)
    assert client.get(f"/d/{hidden.id}").status_code == 403
    for text in (_page(client, folder), client.get("/").text, _page(client, folder, "v2")):
        assert hidden.id not in text


class _Slow(MemoryStore):
    """The folder of a version, which waits until the test, or the other store, lets it answer."""

    def __init__(self, objects: dict[str, bytes], await_turn: Callable[[], object]) -> None:
        super().__init__(objects)
        self._await_turn = await_turn

    def read(self, key: str) -> bytes | None:
        """Waits before the first object that the page reads of a version, then reads."""
        if key == DATASET_KEY:
            self._await_turn()
        return super().read(key)


def _client_of_slow(
    monkeypatch: pytest.MonkeyPatch, roots: list[Source], await_turn: Callable[[], object], waited: float
) -> Any:
    """Returns a client of stitched histories of which version 1 answers late."""

    def opened(source: Source) -> MemoryStore:
        folder = f"{source.version}/" if source.version else ""
        objects = {key.removeprefix(folder): value for key, value in stitched().items() if key.startswith(folder)}
        return _Slow(objects, await_turn) if source.version == "v1" else MemoryStore(objects)

    monkeypatch.setattr(Source, "open", opened)
    return client_of(monkeypatch, lambda: roots, waited=waited)


def test_list_with_version_that_answers_late_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The note says that the page asks again by itself, also if the root has answered."""
    answers = threading.Event()
    root = Source("s3://bucket/a", "s3://bucket/a")
    try:
        text = _client_of_slow(monkeypatch, [root], lambda: answers.wait(600), 0.5).get("/").text
    finally:
        answers.set()
    assert "asks again by itself" in text
    assert 'http-equiv="refresh"' in text


def test_list_reads_versions_of_all_stitched_histories_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list waits once for all of them, not once for each: each of these stores answers when the other is asked."""
    roots = [Source(f"s3://bucket/{name}", f"s3://bucket/{name}") for name in "ab"]
    both = threading.Barrier(2)
    text = _client_of_slow(monkeypatch, roots, lambda: both.wait(10), 60).get("/").text
    assert text.count("First committed instant") == 4


def test_figures_of_version_do_not_depend_on_the_page_that_was_opened_first(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """A folder that is also a dataset of its own is due to the end there, and not in the stitched history."""
    root = source_of(folder)
    own = Source(f"{root.uri}/v1", f"{root.uri}/v1")
    clock = ManualClock(today() + 3 * HOUR)
    expected = _page(client_of(monkeypatch, lambda: [root, own], clock), folder).partition("</form>")[2]
    other = client_of(monkeypatch, lambda: [root, own], clock)
    assert _state(other.get(f"/d/{own.id}").text, 3) == "missing"
    assert _page(other, folder).partition("</form>")[2] == expected


def test_page_of_stitched_history_reads_versions_again(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A day that is removed from a version is missing as soon as the page is asked to read again."""
    client = client_of(monkeypatch, lambda: [source_of(folder)])
    before = _page(client, folder).count("1 gap, 1 day")
    (manifest,) = (folder / "v1" / "_manifests" / f"dt={(today() - 10 * DAY).date()}").iterdir()
    manifest.unlink()
    assert client.get(f"/d/{source_of(folder).id}?again=1").text.count("1 gap, 1 day") == before + 1


def test_page_of_damaged_stitching_says_so(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The root has the reason."""
    (folder / STITCHING_KEY).write_bytes(b"{")
    assert "cannot be decoded" in _page(client_of(monkeypatch, lambda: [source_of(folder)]), folder)
