"""Iceberg in a REST catalog: its statuses and lost responses are named errors, and the next load works."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.warehouses import iceberg
from airflow_audit_provider.adapters.warehouses.iceberg import open_iceberg
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)
from tests.pipelines.load.iceberg_loads import check_loads_once, load
from tests.pipelines.load.rest_catalog import Failure, RestCatalogServer, rest_catalog
from tests.pipelines.verify.dataset import commit, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

_SECRET = "tiger-secret-1"


def load_one_of_two(server: RestCatalogServer, store: MemoryStore) -> dict[str, str]:
    """Loads a window, then commits another one; returns the catalog's properties."""
    properties = {"type": "rest", "uri": server.uri}
    load(properties, store)
    commit(store, window(1), records_in(window(1), 3, "s"))
    return properties


def check_both_loaded(properties: dict[str, str], store: MemoryStore) -> None:
    """Fails unless the next load finds both windows loaded and the table has the rows of each once."""
    assert load(properties, store).unchanged_count == 2
    assert len(open_iceberg(properties, "default").load_table("audit.records").scan().to_arrow()) == 5


@pytest.fixture
def store() -> MemoryStore:
    """A destination with one window of two records."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 2))
    return store


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestCatalogServer]:
    """A REST catalog on the loopback interface."""
    with rest_catalog(tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    ("failing", "status", "kind"),
    [
        ("GET /config", 403, ConfigurationError),
        ("GET /config", 503, WarehouseUnavailableError),
        ("GET /tables/records", 400, ConfigurationError),
        ("GET /tables/records", 401, ConfigurationError),
        ("GET /tables/records", 403, ConfigurationError),
        ("GET /tables/records", 419, ConfigurationError),
        ("GET /tables/records", 429, WarehouseUnavailableError),
        ("GET /tables/records", 500, WarehouseUnavailableError),
        ("GET /tables/records", 501, ConfigurationError),
        ("GET /tables/records", 503, WarehouseUnavailableError),
        ("GET /tables/records", 599, WarehouseUnavailableError),
        ("POST /tables", 403, ConfigurationError),
        ("POST /tables", 503, WarehouseUnavailableError),
        ("POST /tables/records", 400, ConfigurationError),
        ("POST /tables/records", 401, ConfigurationError),
        ("POST /tables/records", 403, ConfigurationError),
        ("POST /tables/records", 429, WarehouseUnavailableError),
        ("POST /tables/records", 503, WarehouseUnavailableError),
    ],
)
def test_status_of_a_rest_catalog_is_named(
    server: RestCatalogServer, store: MemoryStore, failing: str, status: int, kind: type[Exception]
) -> None:
    """Each status at each request of a load is a named error without secrets, and the next load works."""
    properties = {"type": "rest", "uri": server.uri, "token": _SECRET}
    method, path_end = failing.split()
    server.failures = [Failure(method, path_end, status, f"<h1>Refused {_SECRET}</h1>")]
    with pytest.raises(AuditProviderError) as caught:
        load(properties, store)
    assert type(caught.value) is kind
    assert _SECRET not in str(caught.value)
    assert not (kind is ConfigurationError and list(server.folder.rglob("*.parquet")))
    server.failures = []
    check_loads_once(properties, store)


@pytest.mark.parametrize(("status", "body"), [(404, ""), (200, "<h1>Welcome</h1>")])
def test_uri_of_another_server_fails(server: RestCatalogServer, store: MemoryStore, status: int, body: str) -> None:
    """A uri that leads to something else than a catalog is a configuration error."""
    server.failures = [Failure("GET", "/config", status, body)]
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        load({"type": "rest", "uri": server.uri}, store)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 200])
def test_commit_whose_response_is_lost_is_not_repeated(
    server: RestCatalogServer, store: MemoryStore, status: int
) -> None:
    """A commit that succeeded although its response did not say so keeps its files; the next load finds it."""
    properties = load_one_of_two(server, store)
    server.failures = [Failure("POST", "/tables/records", status, "<h1>lost</h1>", is_late=True)]
    with pytest.raises(AuditProviderError, match="as a whole or not at all; the load ledger shows which"):
        load(properties, store)
    server.failures = []
    check_both_loaded(properties, store)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_commit_that_landed_but_is_reported_as_a_conflict_is_loaded(
    server: RestCatalogServer, store: MemoryStore, is_compacted: bool
) -> None:
    """If the response is lost and the repeated request conflicts with the first, the window counts as loaded."""
    properties = load_one_of_two(server, store)
    if is_compacted:
        load(properties, store)
        table = open_iceberg(properties, "default").load_table("audit.records")
        table.overwrite(table.scan().to_arrow().combine_chunks())
        commit(store, window(1), records_in(window(1), 3, "t"), replace=True)
    server.failures = [Failure("POST", "/tables/records", 409, is_late=True)]
    assert load(properties, store).record_count == 3
    server.failures = []
    check_both_loaded(properties, store)


def test_conflict_that_cannot_be_checked_keeps_its_files(server: RestCatalogServer, store: MemoryStore) -> None:
    """A table that cannot be read after a conflict keeps the files of the commit."""
    properties = load_one_of_two(server, store)
    lost = Failure("POST", "/tables/records", 409, is_late=True)
    server.failures = [lost, Failure("GET", "/tables/records", 503, after=lost)]
    with pytest.raises(WarehouseUnavailableError, match="the table cannot be read"):
        load(properties, store)
    server.failures = []
    check_both_loaded(properties, store)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_landed_commit_whose_repetition_is_refused_keeps_its_files(
    server: RestCatalogServer, store: MemoryStore, status: int
) -> None:
    """If the response is lost and the repeated request is refused, the files that the table references stay."""
    properties = load_one_of_two(server, store)
    server.failures = [Failure("POST", "/tables/records", status, is_late=True)]
    with pytest.raises(ConfigurationError):
        load(properties, store)
    server.failures = []
    check_both_loaded(properties, store)


def test_commits_that_all_conflict_are_retried_by_airflow(
    server: RestCatalogServer, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that other writers change all the time is a retryable error, and the files written are deleted."""
    monkeypatch.setattr(iceberg, "_MAX_COMMIT_ATTEMPTS", 3)
    properties = load_one_of_two(server, store)
    before = sorted(server.folder.rglob("*.parquet"))
    server.failures = [Failure("POST", "/tables/records", 409)]
    with pytest.raises(WarehouseBusyError, match="conflicting commit by another writer in each of 3 attempts"):
        load(properties, store)
    assert sorted(server.folder.rglob("*.parquet")) == before
    server.failures = []
    assert load(properties, store).record_count == 3


@pytest.mark.parametrize("status", [401, 403, 501])
def test_credential_without_the_right_to_create_loads_what_exists(
    server: RestCatalogServer, store: MemoryStore, status: int
) -> None:
    """Without the right to create or list, a missing namespace is named; an existing table is loaded."""
    properties = {"type": "rest", "uri": server.uri}
    refused = [
        Failure("POST", "/namespaces", status),
        Failure("POST", "/tables", status),
        Failure("GET", "/namespaces", status),
        Failure("GET", "/tables", status),
    ]
    server.failures = refused
    with pytest.raises(ConfigurationError, match=r"namespace audit .* Create the namespace"):
        load(properties, store)
    server.failures = refused[2:]
    check_loads_once(properties, store)
    server.failures = refused
    commit(store, window(1), records_in(window(1), 3, "s"))
    assert load(properties, store).record_count == 3


def test_name_of_a_view_fails(server: RestCatalogServer, store: MemoryStore) -> None:
    """A view with the name of the table is a configuration error."""
    server.views = {"records"}
    with pytest.raises(ConfigurationError, match="it may be a view"):
        load({"type": "rest", "uri": server.uri}, store)


def test_token_is_sent_and_never_logged(
    server: RestCatalogServer, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A catalog that demands a token is loaded with it; a wrong one is an error with its remedy, and in no log line."""
    server.token, server.prefix = _SECRET, "5f2a/audit"
    properties = {"type": "rest", "uri": server.uri, "warehouse": "audit", "token": _SECRET}
    with caplog.at_level(logging.DEBUG):
        check_loads_once(properties, store)
        for wrong in ("expired-token-2", ""):
            with pytest.raises(ConfigurationError, match="Correct the credential in the connection") as caught:
                load(properties | {"token": wrong}, store)
            shown = "".join(traceback.format_exception(caught.value))
            assert _SECRET not in shown
            assert "expired-token-2" not in shown
    assert _SECRET not in caplog.text
    assert "expired-token-2" not in caplog.text
    assert all("/5f2a/audit/" in one for one in server.requests if "/namespaces" in one)


@pytest.mark.integration
def test_vended_credentials_write_the_files(
    servers: Callable[[str], Any], store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has the catalog's token alone; the catalog gives the keys by which the table's files are written."""
    bucket = servers("s3-moto")
    bucket.make_bucket("rest-lake")
    fields = bucket.fields()
    keys = {
        "s3.endpoint": fields["extra"]["endpoint_url"],
        "s3.access-key-id": fields["login"],
        "s3.secret-access-key": fields["password"],
        "s3.region": "us-east-1",
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with rest_catalog(tmp_path, warehouse="s3://rest-lake/tables", **keys) as server:
        server.token, server.vended = _SECRET, keys
        properties = {"type": "rest", "uri": server.uri, "warehouse": "audit", "token": _SECRET}
        check_loads_once(properties, store)
        table = open_iceberg(properties, "default").load_table("audit.records")
        assert sorted(table.scan().to_arrow()["id"].to_pylist()) == ["r0", "r1"]
        server.vended = keys | {"s3.endpoint": "http://127.0.0.1:9"}
        commit(store, window(1), records_in(window(1), 3, "s"))
        with pytest.raises(WarehouseUnavailableError):
            load(properties | {"s3.connect-timeout": "1"}, store)
        server.vended = keys
        assert load(properties, store).record_count == 3
