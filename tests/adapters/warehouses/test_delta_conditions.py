"""Stores that ignore the condition of a write are refused before a Delta table is created in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_audit_provider.adapters.warehouses.delta_conditions import check_conditional_writes
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseUnavailableError

pytestmark = pytest.mark.integration


class Store(ThreadingHTTPServer):
    """An S3 store in memory that heeds the condition of a write, or ignores it, or refuses everything."""

    is_heeding = True
    is_refusing = False
    is_failing_twice = is_keeping = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: set[str] = set()
        self.puts: list[tuple[str, str | None]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Store

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.puts.append((self.path, self.headers.get("If-None-Match")))
        if self.server.is_refusing:
            return self._answer(403)
        if self.server.is_failing_twice and self.path in self.server.objects:
            return self._answer(503)
        if self.server.is_heeding and self.path in self.server.objects:
            return self._answer(412)
        self.server.objects.add(self.path)
        return self._answer(200)

    def do_DELETE(self) -> None:
        if self.server.is_keeping:
            return self._answer(403)
        self.server.objects.discard(self.path)
        return self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Writes no line for a request."""


@pytest.fixture
def store() -> Iterator[Store]:
    """A store that runs in a thread."""
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _options(store: Store) -> dict[str, str]:
    names = {"aws_access_key_id": "a", "AWS_SECRET_ACCESS_KEY": "tiger-secret", "AWS_REGION": "x"}
    return {**names, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.server_port}"}


def test_store_that_ignores_the_condition_is_refused(store: Store) -> None:
    """A second write that succeeds is a configuration error without the secret, and leaves no object."""
    store.is_heeding = False
    with pytest.raises(ConfigurationError, match="ignores If-None-Match") as caught:
        check_conditional_writes("s3://lake/a/table", _options(store))
    assert "tiger-secret" not in str(caught.value)
    assert [condition for _, condition in store.puts] == ["*", "*"]
    assert store.objects == set()


def test_store_that_heeds_the_condition_is_accepted(store: Store) -> None:
    """A second write that fails is the proof; the object is in the folder of the table's log, and is removed again."""
    check_conditional_writes("s3://lake/a/table", _options(store))
    assert len(store.puts) == 2
    assert all(path.startswith("/lake/a/table/_delta_log/_audit_write_") for path, _ in store.puts)
    assert store.objects == set()


def test_second_write_that_fails_otherwise_proves_nothing(store: Store) -> None:
    """A store that answers the second write with 503 is asked again by the next attempt of the task."""
    store.is_failing_twice = True
    with pytest.raises(WarehouseUnavailableError, match=r"503.*Run the task again"):
        check_conditional_writes("s3://lake/a/table", _options(store))
    assert store.objects == set()


def test_login_without_the_right_to_delete_can_load(store: Store) -> None:
    """The empty object stays in the folder of the log, where nobody reads it."""
    store.is_keeping = True
    check_conditional_writes("s3://lake/a/table", _options(store))
    assert len(store.objects) == 1


def test_refused_write_is_left_to_deltalake(store: Store) -> None:
    """A store that refuses the first write is no proof of anything; one request is sent."""
    store.is_refusing = True
    check_conditional_writes("s3://lake/a/table", _options(store))
    assert len(store.puts) == 1


def test_option_takes_precedence_over_the_environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of the option is checked under each of its names, whatever the environment names."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    options = _options(store)
    options["endpoint"] = options.pop("AWS_ENDPOINT_URL")
    check_conditional_writes("s3://lake/a/table", options)
    assert len(store.puts) == 2


def test_variable_that_deltalake_does_not_read_is_no_endpoint(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of another program, such as ENDPOINT, names no store."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENDPOINT", f"http://127.0.0.1:{store.server_port}")
    check_conditional_writes("s3://lake/a/table", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    assert store.puts == []


@pytest.mark.parametrize("uri", ["/tmp/table", "gs://lake/table", "s3://lake/table"])
def test_other_stores_are_not_written_to(uri: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder, another store and AWS S3 without an endpoint get no request."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    options: dict[str, Any] = {} if uri.startswith("s3") else _options(store)
    check_conditional_writes(uri, options)
    assert store.puts == []
