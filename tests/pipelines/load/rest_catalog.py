"""Iceberg REST catalog on the loopback interface, over pyiceberg's own SQL catalog, that fails on demand.

It answers the requests that a load sends, with the classes of pyiceberg that its client uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest

_STATUSES = {
    CommitFailedException: 409,
    NamespaceAlreadyExistsError: 409,
    NoSuchNamespaceError: 404,
    NoSuchTableError: 404,
    TableAlreadyExistsError: 409,
}


class Failure(NamedTuple):
    """Answer to requests of one method whose path ends so, perhaps after carrying out, and ``after`` another one."""

    method: str
    path_end: str
    status: int
    body: str = ""
    is_late: bool = False
    after: Failure | None = None

    def fits(self, method: str, path: str, happened: list[Failure]) -> bool:
        """Returns whether a request fails this way."""
        is_due = self.after is None or self.after in happened
        return is_due and method == self.method and path.endswith(self.path_end)


class RestCatalogServer:
    """The running server: its address, the failures to inject and the requests received."""

    def __init__(self, folder: Path, **properties: str) -> None:
        self.folder = folder
        facts = {"type": "sql", "uri": f"sqlite:///{folder}/server.db", "warehouse": f"file://{folder}/tables"}
        self._catalog = load_catalog("server", **(facts | properties))
        self.uri = ""
        # What the catalog demands and gives: a token, a name in its paths, and the credentials of a table's files.
        self.token = ""
        self.prefix = ""
        self.vended: dict[str, str] = {}
        self.failures: list[Failure] = []
        self._happened: list[Failure] = []
        self.views: set[str] = set()
        self.requests: list[str] = []

    def answer(self, method: str, path: str, body: bytes, authorization: str = "") -> tuple[int, str]:
        """Returns status and body for a request."""
        self.requests.append(f"{method} {path}")
        if self.token and authorization != f"Bearer {self.token}":
            return 401, json.dumps({"error": {"message": "Not authorized", "type": "NotAuthorized", "code": 401}})
        failure = next((one for one in self.failures if one.fits(method, path, self._happened)), None)
        if failure is not None:
            self._happened.append(failure)
            if failure.is_late:
                with suppress(*_STATUSES):
                    self._carry_out(method, path, body)
            return failure.status, failure.body
        try:
            return 200, json.dumps(self._carry_out(method, path, body))
        except tuple(_STATUSES) as error:
            status = _STATUSES[type(error)]
            facts = {"message": str(error), "type": type(error).__name__, "code": status}
            return status, json.dumps({"error": facts})

    def _carry_out(self, method: str, path: str, body: bytes) -> Any:
        match path.removeprefix("/v1/").removeprefix(f"{self.prefix}/").split("/"):
            case ["config"]:
                return {"defaults": {}, "overrides": {"prefix": self.prefix} if self.prefix else {}}
            case ["namespaces"]:
                return self._namespaces(method, body)
            case ["namespaces", namespace]:
                self._catalog.load_namespace_properties(namespace)
                return {"namespace": [namespace], "properties": {}}
            case ["namespaces", namespace, "tables"]:
                return self._tables(namespace, method, body)
            case ["namespaces", namespace, "tables", name]:
                return self._table((namespace, name), method, body)
        raise NoSuchTableError(f"{method} {path}")

    def _namespaces(self, method: str, body: bytes) -> Any:
        if method == "GET":
            return {"namespaces": self._catalog.list_namespaces()}
        self._catalog.create_namespace(tuple(json.loads(body)["namespace"]))
        return {"namespace": json.loads(body)["namespace"], "properties": {}}

    def _tables(self, namespace: str, method: str, body: bytes) -> Any:
        if method == "POST":
            return self._create(namespace, json.loads(body))
        found = self._catalog.list_tables(namespace)
        return {"identifiers": [{"namespace": list(name[:-1]), "name": name[-1]} for name in found]}

    def _table(self, name: tuple[str, str], method: str, body: bytes) -> Any:
        table = self._catalog.load_table(name)
        if method == "POST":
            request = CommitTableRequest.model_validate_json(body)
            self._catalog.commit_table(table, request.requirements, request.updates)
        return self._loaded(self._catalog.load_table(name))

    def _create(self, namespace: str, request: dict[str, Any]) -> Any:
        if request["name"] in self.views:
            raise TableAlreadyExistsError(f"View with the same name already exists: {request['name']}")
        table = self._catalog.create_table(
            (namespace, request["name"]),
            schema=Schema.model_validate(request["schema"]),
            partition_spec=PartitionSpec.model_validate(request["partition-spec"]),
            properties=request["properties"],
        )
        return self._loaded(table)

    def _loaded(self, table: Any) -> Any:
        metadata = json.loads(table.metadata.model_dump_json())
        return {"metadata-location": table.metadata_location, "metadata": metadata, "config": self.vended}


@contextmanager
def rest_catalog(folder: Path, **properties: str) -> Iterator[RestCatalogServer]:
    """Runs the server; its tables are in the folder, or where the properties of its SQL catalog say."""
    catalog = RestCatalogServer(folder, **properties)

    class Handler(BaseHTTPRequestHandler):
        """Passes requests to the catalog."""

        def respond(self) -> None:
            """Answers a request."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            authorization = self.headers.get("Authorization", "")
            status, text = catalog.answer(self.command, self.path.partition("?")[0], body, authorization)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Writes nothing."""

    for method in ("GET", "POST", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.respond)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    catalog.uri = f"http://127.0.0.1:{server.server_port}"
    try:
        yield catalog
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
