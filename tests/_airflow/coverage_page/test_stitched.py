"""A stitched history is one dataset on the page, with a row for each version, and each of them covers its own time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider._airflow.coverage_page import access
from airflow_audit_provider._airflow.coverage_page.sources import Source
from airflow_audit_provider._airflow.page_addresses import coverage_page
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY
from tests._airflow.coverage_page.histories import DAY, stitched, today
from tests._airflow.coverage_page.in_process import client_of, source_of
from tests._airflow.coverage_page.site import write

pytestmark = pytest.mark.integration


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
    assert [_state(first, ago) for ago in (9, 7, 6, 2)] == ["unverified", "unverified", "elsewhere", "elsewhere"]
    assert [_state(second, ago) for ago in (9, 8, 7, 2)] == ["elsewhere", "missing", "unverified", "unverified"]
    assert '<strong aria-current="page">1</strong>' in first
    assert f'<a href="{source_of(folder).id}">{folder.as_uri()}</a>' in second


def test_link_of_task_leads_to_page_of_its_version(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A task of a stitched history has the manifest of one of its versions."""
    (manifest, *_) = sorted((folder / "v1").rglob("*.json"))
    link = coverage_page(manifest.as_uri())
    client = client_of(monkeypatch, lambda: [source_of(folder)])
    assert client.get(link.partition("/cloudflare-audit-logs")[2]).status_code == 200


def test_version_with_asset_of_its_own_needs_right_to_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The right to the root does not open a folder that has an asset of its own."""
    root = source_of(folder)
    hidden = Source(f"{root.uri}/v1", f"{root.uri}/v1", ("7",))
    client = client_of(monkeypatch, lambda: [root, hidden])
    monkeypatch.setattr(access, "may_read", lambda user, source: not source.asset_ids)
    assert client.get(f"/d/{hidden.id}").status_code == 403
    for text in (_page(client, folder), client.get("/").text, _page(client, folder, "v2")):
        assert hidden.id not in text


def test_page_of_damaged_stitching_says_so(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The root has the reason."""
    (folder / STITCHING_KEY).write_bytes(b"{")
    assert "cannot be decoded" in _page(client_of(monkeypatch, lambda: [source_of(folder)]), folder)
