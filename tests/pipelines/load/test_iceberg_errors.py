"""Iceberg: everything that stops a load has a named error, nothing is half written, and the next load works."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pyiceberg.types import StringType

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse, open_iceberg
from airflow_audit_provider.adapters.warehouses.iceberg_errors import named_iceberg_error, named_iceberg_errors
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.load.iceberg_loads import check_loads_once, load, sql_properties
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget
from tests.pipelines.verify.dataset import commit, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

# Loads while no file may be larger than the given number of bytes, as if the disk were full.
_LOAD_INTO_A_FULL_DISK = """
import resource, signal, sys
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import WarehouseUnavailableError
from tests.pipelines.load.warehouses import LoadTarget
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    LoadTarget("iceberg", sys.argv[1], "audit.records").load(LocalStore(sys.argv[2]))
except WarehouseUnavailableError as error:
    print(error, end="")
"""
_NOBODY = 65534
_REFUSED_PORT = "http://127.0.0.1:9"
_SECRET = "tiger-secret-1"


@pytest.fixture
def store() -> MemoryStore:
    """A destination with one window of two records."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 2))
    return store


@pytest.fixture
def target(tmp_path: Path) -> LoadTarget:
    """An empty Iceberg warehouse."""
    return LoadTarget("iceberg", str(tmp_path), "audit.records")


@pytest.mark.parametrize(
    ("properties", "kind", "named"),
    [
        ({"type": "rest", "uri": _REFUSED_PORT}, WarehouseUnavailableError, "that its uri is right"),
        ({"uri": "postgresql+psycopg2://u@127.0.0.1:9/db"}, WarehouseUnavailableError, "that its uri is right"),
        ({"type": "rest", "uri": "127.0.0.1:99"}, ConfigurationError, "No connection adapters"),
        ({"type": "rest", "uri": "lake"}, ConfigurationError, "No scheme supplied"),
        ({"type": "rset"}, ConfigurationError, "'rset' is not a valid CatalogType"),
        ({"type": "hive"}, ConfigurationError, r"pip install 'pyiceberg\[hive\]'"),
        ({"uri": "sqlite:////no/such/folder/catalog.db"}, ConfigurationError, "unable to open database file"),
        ({"uri": "sqlit:///catalog.db"}, ConfigurationError, "dialects:sqlit"),
        ({"uri": "catalog"}, ConfigurationError, "parse SQLAlchemy URL"),
        ({"pool_pre_ping": "maybe"}, ConfigurationError, "Invalid truth value: 'maybe'"),
        ({"type": "rest", "auth": "basic"}, ConfigurationError, "Correct its properties"),
        ({"type": "rest", "auth": {"type": "none"}}, ConfigurationError, "Correct its properties"),
        ({"warehouse": ""}, ConfigurationError, "No default path is set"),
        ({"warehouse": "ftp://x/y"}, ConfigurationError, "Unrecognized filesystem type in URI: ftp"),
        ({"py-io-impl": "no.such.Thing"}, ConfigurationError, "FileIO: no.such.Thing"),
        ({"warehouse": "s3://x/y", "s3.connect-timeout": "one"}, ConfigurationError, "convert string to float"),
    ],
)
def test_catalog_with_wrong_properties_fails(
    tmp_path: Path, store: MemoryStore, properties: dict[str, Any], kind: type[AuditProviderError], named: str
) -> None:
    """A property that is wrong is a configuration error, a server that does not respond is retried."""
    with pytest.raises(kind, match=named) as caught:
        load(sql_properties(str(tmp_path)) | properties, store)
    assert type(caught.value) is kind
    check_loads_once(sql_properties(str(tmp_path)), store)


def test_catalog_file_that_is_no_database_fails(tmp_path: Path, store: MemoryStore) -> None:
    """A file of something else is a configuration error and stays as it is."""
    file = tmp_path / "other.db"
    file.write_bytes(b"id,when\n" * 1000)
    with pytest.raises(ConfigurationError, match="file is not a database"):
        load(sql_properties(str(tmp_path), uri=f"sqlite:///{file}"), store)
    assert file.read_bytes() == b"id,when\n" * 1000


@pytest.mark.parametrize("name", ["audit.Records", "Audit.records", "AUDIT.RECORDS"])
def test_name_in_another_case_fails(target: LoadTarget, store: MemoryStore, name: str) -> None:
    """Pyiceberg compares names by case, so another spelling would load everything into a second table."""
    target.load(store)
    with pytest.raises(ConfigurationError, match="the catalog distinguishes case"):
        target._replace(table=name).load(store)
    assert target.load(store).unchanged_count == 1


@pytest.mark.parametrize(
    "name",
    [
        "records",
        "audit.",
        ".records",
        "audit..records",
        "audit. records",
        "a/b.c",
        "a.b#c",
        "a.b%20c",
        "a.b?c",
        "a.b\tc",
    ],
)
def test_name_that_is_no_folder_of_its_own_fails(target: LoadTarget, store: MemoryStore, name: str) -> None:
    """A name without a namespace, or with a character that has a meaning in a URI, is a configuration error."""
    with pytest.raises(ConfigurationError, match=r"Give namespace\.table"):
        target._replace(table=name).load(store)


@pytest.mark.parametrize("name", ["audit.eu.records", "prüfung.einträge", "audit logs.the records", "select.table"])
def test_other_names_load(target: LoadTarget, store: MemoryStore, name: str) -> None:
    """Nested namespaces, spaces, keywords and letters of any language load once."""
    named = target._replace(table=name)
    assert [named.load(store).record_count for _ in range(2)] == [2, 0]
    assert named.ids() == ["r0", "r1"]


def _require_other_column(table: Any) -> None:
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.add_column("team", StringType(), required=True)


def _require_column(table: Any) -> None:
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.update_column("actor_email", required=True)


def _rename_column(table: Any) -> None:
    with table.update_schema() as update:
        update.rename_column("actor_email", "Actor_Email")


def _set(name: str, value: str) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        with table.transaction() as transaction:
            transaction.set_properties({name: value})

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_require_other_column, "column team .* Make the column optional"),
        (_require_column, "column actor_email .* Make the column optional"),
        (_rename_column, "column actor_email in another case"),
        (_set("write.format.default", "orc"), "No writer registered for FileFormat.ORC"),
        (_set("write.parquet.compression-codec", "none such"), "none such"),
        (_set("write.target-file-size-bytes", "many"), "write.target-file-size-bytes"),
        (_set("write.data.path", "ftp://x/y"), "Unrecognized filesystem"),
    ],
)
def test_table_that_does_not_fit_fails(
    target: LoadTarget, store: MemoryStore, change: Callable[[Any], None], named: str
) -> None:
    """A column or property of the table that does not fit is a configuration error; the rows stay as they are."""
    target.load(store)
    change(target.iceberg_table())
    commit(store, window(), records_in(window(), 4), replace=True)
    with pytest.raises(ConfigurationError, match=named):
        target.load(store)
    assert target.ids() == ["r0", "r1"]


@pytest.mark.parametrize("content", [None, "{}", "{"])
def test_metadata_file_that_is_lost_or_damaged_fails(
    target: LoadTarget, store: MemoryStore, content: str | None
) -> None:
    """A metadata file that the catalog names and that is missing or damaged is a configuration error."""
    target.load(store)
    file = Path(target.iceberg_table().metadata_location.removeprefix("file://"))
    whole = file.read_bytes()
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"table audit\.records"):
        target.load(store)
    file.write_bytes(whole)
    assert target.load(store).unchanged_count == 1


def test_locked_catalog_is_retried(target: LoadTarget, store: MemoryStore) -> None:
    """A catalog's database that another process has locked is a retryable error, when opening and when committing."""
    target.load(store)
    commit(store, window(1), records_in(window(1), 3, "s"))
    properties = sql_properties(target.address, uri=f"sqlite:///{target.address}/catalog.db?timeout=0.05")
    catalog = open_iceberg(properties, "default")
    with closing(sqlite3.connect(f"{target.address}/catalog.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        warehouse = IcebergWarehouse(catalog, "audit.records", ManualClock())
        with closing(warehouse), pytest.raises(WarehouseBusyError, match="has locked the database"):
            load_committed(LoadSpec("d", DESTINATION), store, warehouse, lambda _: None)
        other.execute("rollback")
        other.execute("begin exclusive")
        with pytest.raises(WarehouseBusyError, match="has locked the database"):
            load(properties, store)
        other.execute("rollback")
    assert target.load(store).record_count == 3
    assert target.ids() == ["r0", "r1", "s0", "s1", "s2"]


def test_catalog_that_is_read_only_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A database that may not be written is a configuration error, if there is something to load."""
    target.load(store)
    read_only = sql_properties(target.address, uri=f"sqlite:///file:{target.address}/catalog.db?mode=ro&uri=true")
    assert load(read_only, store).unchanged_count == 1
    commit(store, window(1), records_in(window(1), 3, "s"))
    with pytest.raises(ConfigurationError, match="refused access to the table audit"):
        load(read_only, store)
    assert target.load(store).record_count == 3


@contextmanager
def _as_user_without_rights() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_folder_without_the_right_to_write_fails(tmp_path: Path, store: MemoryStore) -> None:
    """A warehouse folder that the worker's user may not write is a configuration error."""
    with tempfile.TemporaryDirectory() as folder:
        properties = sql_properties(str(tmp_path), uri="sqlite://", warehouse=f"file://{folder}")
        Path(folder).chmod(0o555)
        with _as_user_without_rights(), pytest.raises(ConfigurationError, match="refused access to the table"):
            load(properties, store)
        assert not list(Path(folder).rglob("*"))


def test_file_in_place_of_a_folder_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A file in place of the table's folder is a configuration error, and stays."""
    place = Path(target.address, "audit")
    place.write_text("mine")
    with pytest.raises(ConfigurationError, match="something else has its place"):
        target.load(store)
    assert place.read_text() == "mine"
    place.unlink()
    assert target.load(store).record_count == 2


def test_full_disk_is_retried(tmp_path: Path) -> None:
    """A disk that is full during a load is a retryable error about the disk, and the next load loads everything."""
    one, lake = window(), tmp_path / "lake"
    lake.mkdir()
    landed = LocalStore(str(tmp_path / "landed"))
    commit(landed, one, records_in(one, 40_000))
    command = [sys.executable, "-c", _LOAD_INTO_A_FULL_DISK, str(lake), str(tmp_path / "landed"), str(100 << 10)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "storage has free space" in ended.stdout
    target = LoadTarget("iceberg", str(lake), "audit.records")
    assert target.load(landed).record_count == 40_000
    assert len(target.ids()) == 40_000


@pytest.mark.parametrize(
    ("code", "status", "kind", "named"),
    [
        ("AccessDenied", 403, ConfigurationError, "refused access"),
        ("InvalidAccessKeyId", 403, ConfigurationError, "refused access"),
        ("SignatureDoesNotMatch", 403, ConfigurationError, "refused access"),
        ("NoSuchBucket", 404, ConfigurationError, "Correct the property warehouse"),
    ],
)
def test_object_store_that_refuses_fails(
    tmp_path: Path, store: MemoryStore, code: str, status: int, kind: type[AuditProviderError], named: str
) -> None:
    """What an object store refuses for good is a configuration error without secrets."""
    with _object_store(status, f"<Error><Code>{code}</Code><Message>No</Message></Error>") as endpoint:
        properties = sql_properties(str(tmp_path), warehouse="s3://bucket/lake") | {
            "s3.endpoint": endpoint,
            "s3.access-key-id": "an-access-key",
            "s3.secret-access-key": _SECRET,
            "s3.region": "us-east-1",
        }
        with pytest.raises(kind, match=named) as caught:
            load(properties, store)
    assert _SECRET not in str(caught.value)
    check_loads_once(sql_properties(str(tmp_path)), store)


@contextmanager
def _object_store(status: int, body: str) -> Iterator[str]:
    """Runs a server that refuses to write an object and has none; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        """Refuses."""

        def respond(self) -> None:
            """Answers a request."""
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_head = self.command == "HEAD"
            self.send_response(404 if is_head else status)
            self.send_header("Content-Length", "0" if is_head else str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if is_head else body.encode())

        def log_message(self, *_: Any) -> None:
            """Writes nothing."""

    for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.respond)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_loads_of_nothing_write_no_file(target: LoadTarget, store: MemoryStore) -> None:
    """A load that finds everything loaded leaves no metadata file behind."""
    target.load(store)
    before = sorted(Path(target.address).rglob("*"))
    target.load(store)
    assert sorted(Path(target.address).rglob("*")) == before


@pytest.mark.parametrize(
    "properties",
    [
        {"credential": f"id:{_SECRET}"},
        {"uri": f"postgresql://user:{_SECRET}@host/db"},
        {"s3.secret-access-key": _SECRET},
        {"auth": {"type": "basic", "basic": {"username": "x", "password": _SECRET}}},
    ],
)
def test_secrets_are_not_in_messages(properties: dict[str, Any]) -> None:
    """A secret of the catalog's properties that a library quotes is left out; short values stay."""
    named = named_iceberg_error("table a.b", properties | {"token": "true"}, ValueError(f"true: {properties}"))
    assert _SECRET not in str(named)
    assert "true: " in str(named)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"token": f"{_SECRET}\n"}, f"Invalid header value b'Bearer {_SECRET}\\n'"),
        ({"header.Authorization": f"Bearer {_SECRET}"}, f"refused {_SECRET}"),
        ({"header.x-api-auth": _SECRET}, f"refused {_SECRET}"),
        ({"credential": "me:tiger/se+cret-1"}, "client_secret=tiger%2Fse%2Bcret-1"),
        ({"uri": f"http://u:{_SECRET}@host"}, "Basic dTp0aWdlci1zZWNyZXQtMQ=="),
        ({"adls.connection-string": f"AccountName=a;AccountKey={_SECRET}"}, f"key {_SECRET}"),
        ({"uri": f"postgresql://host/db?password={_SECRET}"}, f"password={_SECRET}"),
        ({"auth": {"basic": {"password": _SECRET}}}, f"{_SECRET}"),
    ],
)
def test_secret_is_neither_in_the_message_nor_in_the_log(properties: dict[str, Any], text: str) -> None:
    """However a library or a server repeats a secret, the message has stars, and no traceback shows the original."""
    with pytest.raises(AuditProviderError) as raised, named_iceberg_errors("table a.b", properties):
        raise ValueError("outer") from RuntimeError(text)
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None
    message = str(named_iceberg_error("table a.b", properties, RuntimeError(text)))
    assert "***" in message
    assert not any(part in message for part in (_SECRET, "tiger%2F", "dTp0"))


def test_error_without_a_secret_keeps_its_cause() -> None:
    """The traceback of an error that quotes no secret stays in the log; an address is no secret."""
    properties = {"oauth2-server-uri": "https://login.example.com/token", "token": _SECRET}
    found = pytest.raises(AuditProviderError, match=r"login\.example\.com")
    with found as raised, named_iceberg_errors("table a.b", properties):
        raise ValueError("no answer from https://login.example.com/token")
    assert isinstance(raised.value.__cause__, ValueError)


def test_credential_that_may_not_list_creates_the_table(tmp_path: Path, store: MemoryStore) -> None:
    """A credential without the right to list namespaces in AWS Glue loads, as listing is only a check of case."""
    catalog = open_iceberg(sql_properties(str(tmp_path)), "default")
    catalog.create_namespace("audit")
    catalog.list_namespaces = _denied
    with closing(IcebergWarehouse(catalog, "audit.records", ManualClock())) as warehouse:
        assert load_committed(LoadSpec("d", DESTINATION), store, warehouse, lambda _: None).record_count == 2


def _denied(*_: Any) -> Any:
    raise _aws_error("AccessDeniedException")


def _aws_error(code: str) -> Exception:
    """Returns an error of AWS as botocore raises it; botocore has no types."""
    facts = {"Error": {"Code": code, "Message": "No"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    error: Exception = import_module("botocore.exceptions").ClientError(facts, "GetTable")
    return error


class OperationalError(Exception):
    """As SQLAlchemy's: one class for a wrong password and a lost connection."""


_CODES = ("ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId")


@pytest.mark.parametrize(
    "error",
    [
        *(_aws_error(code) for code in _CODES),
        OperationalError('connection to server at "h", port 5432 failed: fe_sendauth: no password supplied'),
        OperationalError('FATAL:  role "x" is not permitted to log in'),
        OperationalError("(1045, \"Access denied for user 'x'\")"),
        OperationalError("attempt to write a readonly database"),
    ],
)
def test_credential_that_is_refused_is_named(error: Exception) -> None:
    """A wrong login of a database and a wrong or expired credential of AWS are not retried."""
    named = named_iceberg_error("table a.b", {}, error)
    assert isinstance(named, ConfigurationError)
    assert "Correct the credential" in str(named)


def test_bucket_named_read_only_is_retried() -> None:
    """A name in the text of an error of the network is no missing right."""
    error = OSError("When reading key 'x' in bucket 'read-only-lake': AWS Error NETWORK_CONNECTION: Timeout")
    assert isinstance(named_iceberg_error("table a.b", {}, error), WarehouseUnavailableError)


def test_named_errors_pass() -> None:
    """An error that is named already stays what it is."""
    error = WarehouseBusyError("first")
    with pytest.raises(WarehouseBusyError) as caught, named_iceberg_errors("table a.b", {}):
        raise error
    assert caught.value is error
