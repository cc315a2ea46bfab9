"""Server that answers every request with the same error status, in the format of S3 and Azure (XML) or GCS (JSON)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_BODIES = {
    "xml": '<?xml version="1.0"?><Error><Code>{code}</Code><Message>said so</Message></Error>',
    "json": json.dumps({"error": {"code": 0, "message": "said so"}}),
}
S3_CODES = {403: "AccessDenied", 404: "NoSuchBucket", 409: "ConditionalRequestConflict", 429: "SlowDown"}


class _Refusing(ThreadingHTTPServer):
    def __init__(self, status: int, wording: str) -> None:
        super().__init__(("127.0.0.1", 0), _Refusal)
        self.status = status
        self.body = _BODIES[wording].replace("{code}", S3_CODES.get(status, "InternalError")).encode()


class _Refusal(BaseHTTPRequestHandler):
    server: _Refusing
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.server.body)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""


@contextmanager
def refusing(status: int, wording: str = "xml") -> Iterator[str]:
    """Runs a server that sends only this status; yields its URL."""
    server = _Refusing(status, wording)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
