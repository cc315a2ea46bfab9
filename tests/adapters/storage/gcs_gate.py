"""Proxy in front of gcp-storage-emulator, which adds two features of GCS that the emulator lacks.

With ``ifGenerationMatch=0`` exactly one request creates an object, and every other one gets 412. A resumable upload can
be cancelled, which gets 499. The proxy is not Google's: a passing test shows only that the condition is sent and that
its refusal is understood.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx

_REFUSAL = json.dumps({"error": {"code": 412, "message": "conditionNotMet"}}).encode()
_Response = tuple[int, list[tuple[str, str]], bytes]
_HOP_FIELDS = {"connection", "transfer-encoding", "keep-alive", "content-length", "content-encoding"}


class _Server(ThreadingHTTPServer):
    """Server of the proxy, with a thread for each connection."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Gate)
        self.one_at_a_time = threading.Lock()
        self.client = httpx.Client(base_url=upstream, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


class _Gate(BaseHTTPRequestHandler):
    """One request, which is forwarded or answered by the proxy."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._respond(self._forwarded(b""))

    def do_PUT(self) -> None:
        self._respond(self._forwarded(self._body()))

    def do_POST(self) -> None:
        body = self._body()
        if "ifGenerationMatch=0" in self.path and "upload_id=" not in self.path:
            with self.server.one_at_a_time:
                self._respond((412, [], _REFUSAL) if self._is_there(body) else self._forwarded(body))
        else:
            self._respond(self._forwarded(body))

    def do_DELETE(self) -> None:
        self._respond((499, [], b"") if "upload_id=" in self.path else self._forwarded(b""))

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _is_there(self, body: bytes) -> bool:
        bucket, name = _object_of(self.path, body)
        return self.server.client.get(f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}").status_code == 200

    def _forwarded(self, body: bytes) -> _Response:
        fields = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_FIELDS}
        response = self.server.client.request(self.command, self.path, content=body, headers=fields)
        kept = [(name, value) for name, value in response.headers.items() if name not in _HOP_FIELDS]
        return response.status_code, kept, response.content

    def _respond(self, response: _Response) -> None:
        status, fields, content = response
        self.send_response(status)
        for name, value in [*fields, ("Content-Length", str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def gated(upstream: str) -> Iterator[str]:
    """Runs the proxy in front of the emulator at ``upstream``; yields the URL of the proxy."""
    server = _Server(upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        server.client.close()


def _object_of(path: str, body: bytes) -> tuple[str, str]:
    """Returns bucket and name of the object that an upload creates; the name may be in the body."""
    parts = urlsplit(path)
    found = re.search(r"/b/([^/]+)/o", parts.path)
    assert found is not None, path
    named = parse_qs(parts.query).get("name")
    if named:
        return found[1], named[0]
    metadata, _ = json.JSONDecoder().raw_decode(body[body.index(b"{") :].decode(errors="replace"))
    return found[1], str(metadata["name"])
