"""What ClickHouse's tables must be, what its errors mean, and what the requests are, without a server."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest

from airflow_audit_provider._airflow.warehouses import open_clickhouse_warehouse
from airflow_audit_provider.adapters.warehouses.clickhouse_errors import refusal
from airflow_audit_provider.adapters.warehouses.clickhouse_http import ClickHouseClient, ClickHouseServer
from airflow_audit_provider.adapters.warehouses.clickhouse_tables import (
    ClickHouseNames,
    check_engines,
    check_ledger,
    create_ledger,
    create_rows,
    create_view,
    missing_columns,
)
from airflow_audit_provider.adapters.warehouses.sql import table_name
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError, WarehouseUnavailableError
from airflow_audit_provider.formats.warehouse_rows import table_columns

pytestmark = pytest.mark.integration

NAMES = ClickHouseNames(table_name("lake.audit"))
COLUMNS = (*KEY_COLUMNS, *table_columns())
REMEMBERS = "MergeTree ORDER BY dataset SETTINGS non_replicated_deduplication_window = 10000"


def _types() -> dict[str, str]:
    """Returns the types in the statement that creates the table of rows."""
    listed = create_rows(NAMES, COLUMNS).split(") ENGINE")[0].partition('_rows" (')[2]
    return dict(re.findall(r'"(\w+)" (.+?)(?:, (?=")|$)', listed))


def test_created_table_lacks_no_column() -> None:
    """The table as it is created has every column and the two of the attempt, null where a record may have no value."""
    types = _types()
    assert missing_columns(NAMES.rows, COLUMNS, types) == []
    assert types["id"] == "String"
    assert types["actor_email"] == "Nullable(String)"
    assert types["event_time"] == "DateTime64(6, 'UTC')"
    assert {"load_id", "load_number"} <= types.keys()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"actor_ip": "Int64"}, "instead of Nullable"),
        ({"actor_ip": "String"}, "not every record"),
        ({"load_id": None}, "no load created it"),
    ],
)
def test_table_that_does_not_fit_is_refused(changed: dict[str, Any], named: str) -> None:
    """A column of another type or without null, and a table without the attempt's columns, are configuration errors."""
    types = {name: kind for name, kind in {**_types(), **changed}.items() if kind is not None}
    with pytest.raises(ConfigurationError, match=named):
        missing_columns(NAMES.rows, COLUMNS, types)


def test_new_column_and_own_types_are_accepted() -> None:
    """A column that is missing is added; a type with LowCardinality around it is the same type."""
    types = {**_types(), "actor_ip": "LowCardinality(Nullable(String))"}
    del types["ray_id"]
    assert [column.name for column in missing_columns(NAMES.rows, COLUMNS, types)] == ["ray_id"]


@pytest.mark.parametrize(
    ("engines", "named"),
    [
        ({"audit": ("MergeTree", "")}, "not the view"),
        ({"audit_rows": ("Memory", "")}, "instead of MergeTree"),
        ({"audit_rows": ("ReplacingMergeTree", "")}, "instead of MergeTree"),
        (
            {"audit_loads": ("ReplicatedMergeTree", "… SETTINGS replicated_deduplication_window = 0")},
            "setting replicated_deduplication_window",
        ),
        ({"audit_rows": ("MergeTree", ""), "audit_loads": ("MergeTree", "MergeTree")}, "two loaders"),
        ({"audit_loads": ("MergeTree", REMEMBERS)}, "Restore the table"),
        (
            {"audit_rows": ("MergeTree", ""), "audit_loads": ("MergeTree", REMEMBERS.replace("10000", "0"))},
            "two loaders",
        ),
    ],
)
def test_objects_of_others_are_refused(engines: dict[str, tuple[str, str]], named: str) -> None:
    """A table with the view's name, another engine, a ledger that keeps no tokens or has lost its table are refused."""
    with pytest.raises(ConfigurationError, match=named):
        check_engines(NAMES, engines)


def test_objects_of_a_load_are_accepted() -> None:
    """No object, the objects that a load creates, and a replicated ledger, which keeps tokens anyway, are accepted."""
    check_engines(NAMES, {})
    check_engines(
        NAMES, {"audit": ("View", ""), "audit_rows": ("MergeTree", ""), "audit_loads": ("MergeTree", REMEMBERS)}
    )
    check_engines(NAMES, {"audit_rows": ("SharedMergeTree", ""), "audit_loads": ("SharedMergeTree", "")})
    check_engines(NAMES, {"audit_positions": ("SharedReplacingMergeTree", "")})
    assert "non_replicated_deduplication_window = 10000" in create_ledger(NAMES)
    with pytest.raises(ConfigurationError, match="no column destination"):
        check_ledger(
            NAMES,
            {
                "dataset",
                "window_start",
                "window_end",
                "load_number",
                "load_id",
                "generation",
                "manifest_sha256",
                "first_sha256",
                "record_count",
                "loaded_at",
            },
        )


def test_view_shows_attempts_of_the_newest_entries_alone() -> None:
    """The view selects the given columns of rows whose attempt is in the newest entry of its window."""
    statement = create_view(NAMES, ["dataset", "id"])
    assert 'SELECT "dataset", "id" FROM "lake"."audit_rows" WHERE load_id IN (' in statement
    assert "ORDER BY load_number DESC, loaded_at, load_id LIMIT 1 BY dataset, window_start, window_end" in statement


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "516", ConfigurationError),
        (403, "497", ConfigurationError),
        (404, "81", ConfigurationError),
        (404, "60", WarehouseUnavailableError),
        (500, "241", WarehouseUnavailableError),
        (500, "252", WarehouseUnavailableError),
        (500, "745", WarehouseUnavailableError),
        (400, "62", ConfigurationError),
        (502, "", WarehouseUnavailableError),
        (404, "", ConfigurationError),
    ],
)
def test_code_of_an_error_decides_whether_it_is_retried(status: int, code: str, kind: type[AuditProviderError]) -> None:
    """Login, rights and statements are configuration; memory, load, a lost table and a proxy's errors are retried."""
    assert type(refusal("http://c:8123", status, code, "Code: 1. text")) is kind if code else True
    assert type(refusal("http://c:8123", status, "", f"Code: {code}. x" if code else "gateway")) is kind


def _client(monkeypatch: pytest.MonkeyPatch, answer: Any) -> ClickHouseClient:
    """Returns a client whose requests go to a function."""
    real = httpx.Client
    monkeypatch.setattr(
        httpx,
        "Client",
        lambda **given: real(auth=given["auth"], transport=httpx.MockTransport(answer)),
    )
    return ClickHouseClient(ClickHouseServer("http://clickhouse:8123", "loader", "secret"))


def test_insert_is_synchronous_and_has_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """An INSERT waits until it is written and has a deduplication token; password and rows are not in the URL."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    _client(monkeypatch, answer).insert("INSERT INTO t FORMAT JSONEachRow", b"{}", "token")
    settings = seen[0].url.params
    assert (settings["async_insert"], settings["insert_deduplicate"]) == ("0", "1")
    assert settings["insert_deduplication_token"] == "token"
    assert (seen[0].content, seen[0].headers["Authorization"]) == (b"{}", "Basic bG9hZGVyOnNlY3JldA==")
    assert "secret" not in str(seen[0].url)


def test_parameters_are_escaped_and_rows_are_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter with a tab or a backslash is written as ClickHouse reads it; each line of the response is a row."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text='["a",1]\n["b",null]\n')

    rows = _client(monkeypatch, answer).execute("SELECT {x:String}", x="a\tb\\c")
    assert rows == [["a", 1], ["b", None]]
    assert seen[0].url.params["param_x"] == "a\\tb\\\\c"


def test_request_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks is an error that is retried by the task, not by the client, without the password."""
    count = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        raise httpx.ReadError("reset")

    with pytest.raises(WarehouseUnavailableError) as caught:
        _client(monkeypatch, answer).insert("INSERT", b"", "t")
    assert count == 1
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(ClickHouseServer("http://c", "l", "secret"))


class _Proxy(BaseHTTPRequestHandler):
    paths: ClassVar[list[str]] = []
    content = b"[1]"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path.split("?")[0])
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Writes no line for a request."""


def test_proxy_of_the_environment_gets_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request goes to the proxy that the environment names for its scheme."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        assert ClickHouseClient(ClickHouseServer("http://clickhouse.test:8123")).execute("SELECT 1") == [[1]]
        proxy.shutdown()
    assert _Proxy.paths == ["http://clickhouse.test:8123/"]


class _Page(_Proxy):
    content = b"<html>welcome</html>"


def _answers(kind: type[_Proxy], password: str) -> list[list[Any]]:
    """Returns the rows of a statement that a server of a kind answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = ClickHouseClient(ClickHouseServer(f"http://127.0.0.1:{server.server_port}", "l", password))
        try:
            return client.execute("SELECT 1")
        finally:
            client.close()
            server.shutdown()


@pytest.mark.parametrize("password", ["tiger\n", " tiger ", "tigér", "ti\0ger"])
def test_password_may_have_any_character(password: str) -> None:
    """A password that no header can have, such as one with a line's end, reaches the server and is in no error."""
    assert _answers(_Proxy, password) == [[1]]


def test_page_instead_of_rows_is_a_named_error() -> None:
    """A server that answers with a page and the status of a success is a configuration error."""
    with pytest.raises(ConfigurationError, match="does not answer as ClickHouse"):
        _answers(_Page, "")


def test_host_that_no_name_can_be_is_a_named_error() -> None:
    """A host with an empty label is named in an error, as one that does not respond."""
    with pytest.raises(WarehouseUnavailableError, match="did not respond"):
        ClickHouseClient(ClickHouseServer("http://a..b:8123")).execute("SELECT 1")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"conn_type": "postgres", "host": "c"}, "type 'postgres'"),
        ({"conn_type": "generic", "host": "c:8443"}, "no host"),
        ({"conn_type": "generic"}, "no host"),
        ({"conn_type": "generic", "host": "https://c"}, "no host"),
        ({"conn_type": "clickhouse", "host": "c", "extra": {"secure": "false"}}, "without quotes"),
    ],
)
def test_connection_that_names_no_server_is_refused(
    fields: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another type, no host, a URL as host and a switch that is a text are configuration errors."""
    monkeypatch.setenv("AIRFLOW_CONN_CH", json.dumps(fields))
    with pytest.raises(ConfigurationError, match=named):
        open_clickhouse_warehouse("CH", "audit")


def test_connection_gives_address_and_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port and scheme follow ``secure``; the database is that of the table, or the connection's schema."""
    fields = {"conn_type": "generic", "host": "c", "schema": "lake", "extra": {"secure": True, "verify": False}}
    monkeypatch.setenv("AIRFLOW_CONN_CH", json.dumps(fields))
    warehouse = open_clickhouse_warehouse("CH", "audit")
    assert warehouse._client._url == "https://c:8443"
    assert warehouse._names.view == '"lake"."audit"'
    assert open_clickhouse_warehouse("CH", "other.audit")._names.ledger == '"other"."audit_loads"'
