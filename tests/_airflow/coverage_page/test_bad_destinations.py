"""A destination that cannot be read, or answers late, has a page that says so, and holds up no other one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_audit_provider._airflow.coverage_page.readings import Readings
from airflow_audit_provider._airflow.coverage_page.sources import Source, merged
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.errors import translate_storage_errors
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.overview import Overview, overview
from tests._airflow.coverage_page.in_process import client_of, source_of
from tests._airflow.coverage_page.site import Site, page_of, serve, write
from tests.pipelines.history.generated import committed, windows
from tests.pipelines.verify.memory_store import MemoryStore

ODD = "s3://some-connection@bucket/folder"
SILENT = "s3://bucket/silent"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good destination, and one with a damaged descriptor."""
    folder = tmp_path_factory.mktemp("landed")
    write(folder / "good", committed(windows(2)))
    write(folder / "damaged", [*committed(windows(2)), ("_dataset.json", b"<script>")])
    return folder


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page of these destinations, and of a store that takes requests and never answers; it waits two seconds."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        extra = {"endpoint_url": f"http://127.0.0.1:{listening.getsockname()[1]}", "region_name": "eu-west-1"}
        silent = {"conn_type": "aws", "login": "key", "password": "hidden-password", "extra": extra}
        entries = [
            {"destination": SILENT, "destination_conn_id": "silent"},
            {"destination": "s3://bucket/unconnected", "destination_conn_id": "absent"},
        ]
        served = serve(
            tmp_path_factory.mktemp("home"),
            [root / "good", root / "damaged"],
            [ODD],
            waited_seconds=2,
            more=entries,
            connections={"silent": silent},
        )
        with served as started:
            yield started


@pytest.mark.integration
def test_page_of_store_that_does_not_answer_says_so_and_asks_again(site: Site) -> None:
    """The page comes after the wait, and the browser opens it again by itself."""
    answer = site.get(f"d/{Source(SILENT, SILENT).id}")
    assert answer.status_code == 503
    assert "The store has not answered yet" in answer.text
    assert 'http-equiv="refresh"' in answer.text


@pytest.mark.integration
def test_list_with_store_that_does_not_answer_shows_the_others(site: Site, root: Path) -> None:
    """The other datasets have their figures, and the silent one a note."""
    site.get(page_of(root / "good"))
    text = site.get().text
    assert text.count("The store has not answered yet") >= 1
    assert "hidden-password" not in text
    assert text.count("2026-11-01T00:00:00Z") >= 2


@pytest.mark.integration
@pytest.mark.parametrize("rest", ["", "/verify", "/w/20261031T000000Z-20261101T000000Z"])
def test_page_of_destination_that_cannot_be_read_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rest: str
) -> None:
    """Each page of the dataset has the reason, and a link that reads it again once it is corrected."""
    folder = tmp_path / "landed"
    folder.write_text("no folder")
    client, address = client_of(monkeypatch, lambda: [source_of(folder)]), f"/d/{source_of(folder).id}{rest}"
    answer = client.get(address)
    assert answer.status_code == 502
    assert "is a file" in answer.text
    assert 'href="?again=1"' in answer.text
    folder.unlink()
    write(folder, committed(windows(2)))
    assert client.get(f"{address}?again=1").status_code == 200


@pytest.mark.integration
def test_page_of_store_that_answers_late_has_figures_after_a_refresh(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    """The store is asked once, however often the browser opens the page until it answers; other pages do not wait."""
    answers, count = threading.Event(), 0

    class Late(MemoryStore):
        """A store that answers after half a minute, which the test ends."""

        def read(self, key: str) -> bytes | None:
            answers.wait(600)
            return super().read(key)

    def opened(source: Source) -> MemoryStore:
        nonlocal count
        count += source.uri == SILENT
        return (Late if source.uri == SILENT else MemoryStore)(dict(committed(windows(2))))

    monkeypatch.setattr(Source, "open", opened)
    late, good = Source(SILENT, SILENT), Source("s3://bucket/good", "s3://bucket/good")
    client = client_of(monkeypatch, lambda: [late, good], waited=0.2)
    try:
        for _ in range(3):
            answer = client.get(f"/d/{late.id}")
            assert (answer.status_code, 'http-equiv="refresh"' in answer.text) == (503, True)
        assert client.get(f"/d/{good.id}").status_code == 200
        assert "2026-11-01T00:00:00Z" in client.get("/").text
    finally:
        answers.set()
    deadline = time.monotonic() + 60
    while client.get(f"/d/{late.id}").status_code != 200:
        assert time.monotonic() < deadline
    assert count == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("query", "address"), [("", "?"), ("?again=1", "?"), ("?again=1&day=2026-11-01", "?day=2026-11-01")]
)
def test_page_of_store_that_answers_late_is_refreshed_without_reading_again(
    monkeypatch: pytest.MonkeyPatch, query: str, address: str
) -> None:
    """The browser opens an address that asks for no other reading, so the page comes once the store has answered."""
    answers, opened = threading.Event(), list[str]()

    class Late(MemoryStore):
        """A store that answers when the test lets it."""

        def read(self, key: str) -> bytes | None:
            answers.wait(600)
            return super().read(key)

    def open_late(source: Source) -> MemoryStore:
        opened.append(source.uri)
        return Late(dict(committed(windows(2))))

    monkeypatch.setattr(Source, "open", open_late)
    late = Source(SILENT, SILENT)
    client = client_of(monkeypatch, lambda: [late], waited=0.2)
    try:
        text = client.get(f"/d/{late.id}{query}").text
    finally:
        answers.set()
    assert f'http-equiv="refresh" content="5;url={address}"' in text
    deadline = time.monotonic() + 60
    while client.get(f"/d/{late.id}{address}").status_code != 200:
        assert time.monotonic() < deadline
    assert len(opened) == 1


@pytest.mark.integration
def test_list_with_asset_of_odd_uri_says_why_it_is_not_read(site: Site) -> None:
    """A login in the URI of an asset is not used."""
    assert "does not name a destination" in site.get().text


@pytest.mark.integration
def test_page_of_damaged_descriptor_says_so_and_shows_windows(site: Site, root: Path) -> None:
    """The windows come from their manifests."""
    answer = site.get(page_of(root / "damaged"))
    assert answer.status_code == 200
    assert "The dataset descriptor _dataset.json cannot be decoded" in answer.text
    assert "2026-10-31" in answer.text


def _readings() -> Readings[Overview]:
    return Readings(SystemClock(), 60)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StorageError("The store refuses it. Check it."), "The store refuses it. Check it."),
        (ValueError("key=secret"), "could not be read (ValueError)"),
    ],
    ids=["own", "of a library"],
)
def test_reading_that_fails_has_message_without_text_of_libraries(error: Exception, words: str) -> None:
    """An error of the provider is shown, and of any other one only its kind."""

    def read() -> Overview:
        raise error

    readings = _readings()
    found = readings.wait(readings.start("d", read))
    assert words in found.error
    assert "secret" not in found.error


class _WithoutIndex(MemoryStore):
    """A store whose library refuses the index of manifests with a text of its own."""

    def read(self, key: str) -> bytes | None:
        with translate_storage_errors("read", key):
            if key.startswith("_manifest_index/"):
                raise PermissionError("Credential=secret")
            return super().read(key)


def test_overview_of_index_that_is_refused_has_no_text_of_library() -> None:
    """The windows are read one by one, the page names the kind of the error, and the log gets all of it."""
    store = _WithoutIndex({**dict(committed(windows(2))), "_manifest_index/2026-10.jsonl.gz": b""})
    noted: list[StorageError] = []
    found = overview(store, note=noted.append)
    assert (len(found.windows), len(found.problems)) == (2, 1)
    assert "cannot be read (PermissionError)" in found.problems[0]
    assert "secret" not in found.problems[0]
    assert "secret" in noted[0].message


def test_readings_of_one_dataset_at_same_time_read_it_once() -> None:
    """Requests that come while a store is being read wait for the same reading."""
    began, may_end, count = threading.Event(), threading.Event(), 0

    def read() -> Overview:
        nonlocal count
        count += 1
        began.set()
        may_end.wait(60)
        return overview(MemoryStore())

    readings = _readings()
    first = readings.start("d", read)
    assert began.wait(60)
    assert readings.start("d", read, again=True) is first
    may_end.set()
    assert readings.wait(first).result is not None
    assert readings.start("d", read) is first
    assert readings.wait(readings.start("d", read, again=True)) is not first
    assert count == 2


def test_sources_of_assets_and_configuration_are_one_dataset_a_place() -> None:
    """The configuration's connection is used for the asset of the same place, whatever its scheme is called."""
    entry = {"destination": "s3a://conn@bucket/ä", "dag_id": "landing"}
    found = merged([("7", "s3://bucket/%C3%A4"), ("8", "file:///data")], [entry])
    local, remote = found
    assert (remote.uri, remote.asset_ids, remote.destination) == ("s3://bucket/ä", ("7",), "s3a://conn@bucket/ä")
    assert (local.asset_ids, bool(local.problem)) == (("8",), True)
    assert Source("s3://bucket/ä", "").id == remote.id
