"""Serves ClickHouse's engine over the part of ClickHouse's HTTP interface that a load uses.

``python clickhouse_bridge.py PORT FOLDER LOGIN PASSWORD`` runs in an environment with ``chdb-core``, which is the
engine as a library: parser, tables, parts and deduplication are ClickHouse's own. This file is ours: it reads the
request, gives the statement with its settings and parameters to the engine, and writes the response.

What it does not show: two statements that run at the same time, users and rights, and settings of statements other than
SELECT and INSERT.

Invariant: the bridge keeps no state but the engine's folder, so a killed and restarted bridge is a restarted server.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

# Arguments of the HTTP interface itself, not settings of a statement.
_OF_INTERFACE = {"query", "default_format", "wait_end_of_query"}
_CODE = re.compile(r"Code: (\d+)")


class Handler(BaseHTTPRequestHandler):
    """Answers POST requests."""

    protocol_version = "HTTP/1.1"
    session: Session
    files: str
    login: str
    # The library keeps the parameters of a statement in its one connection, so statements take turns.
    turn = threading.Lock()

    def do_POST(self) -> None:
        """Runs the statement in the argument ``query`` with the body as its data, or the one in the body."""
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Authorization") != self.login:
            return self._answer(403, b"Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)")
        try:
            with self.turn:
                content = self._run(given, body)
        except Exception as error:  # noqa: BLE001 - whatever the engine raises is a response of the server
            return self._answer(500, str(error).encode())
        return self._answer(200, content)

    def _run(self, given: dict[str, str], body: bytes) -> bytes:
        settings = {name: value for name, value in given.items() if name not in _OF_INTERFACE}
        names = [name for name in settings if name.startswith("param_")]
        parameters = {name.removeprefix("param_"): settings.pop(name) for name in names}
        listed = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
        if "query" not in given:
            statement = body.decode()
            if statement.lower().startswith("select"):
                statement = f"{statement} SETTINGS {listed}"
            return bytes(self.session.query(statement, given["default_format"], params=parameters).bytes())
        insert, _, format_ = given["query"].rpartition(" FORMAT ")
        with tempfile.NamedTemporaryFile(dir=self.files) as file:
            file.write(body)
            file.flush()
            statement = f"{insert} FROM INFILE {_quoted(file.name)} SETTINGS {listed} FORMAT {format_}"
            self.session.query(statement, "TabSeparated")
        return b""

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        code = _CODE.search(content.decode(errors="replace")) if status != 200 else None
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code[1])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Writes no line for a request."""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    (folder / "files").mkdir(parents=True, exist_ok=True)
    Handler.login = f"Basic {b64encode(f'{sys.argv[3]}:{sys.argv[4]}'.encode()).decode()}"
    Handler.session, Handler.files = Session(str(folder / "data")), str(folder / "files")
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
