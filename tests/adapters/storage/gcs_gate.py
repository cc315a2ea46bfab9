"""A gate before gcp-storage-emulator: it keeps the two promises of GCS's that the emulator does not.

Knows: HTTP, and which request of GCS's JSON API makes an object. Must not know: gcsfs, the package.
Its one rule: with ``ifGenerationMatch=0`` exactly one request makes an object and every other one is answered 412; an
upload begun can be cancelled, which is answered 499.

This is ours, not Google's: what passes here shows that the condition is sent and its refusal understood.
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
_Answer = tuple[int, list[tuple[str, str]], bytes]
_HOP_FIELDS = {"connection", "transfer-encoding", "keep-alive", "content-length", "content-encoding"}


class _Server(ThreadingHTTPServer):
    """The gate's port; every connection has its own thread."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Gate)
        self.one_at_a_time = threading.Lock()
        self.client = httpx.Client(base_url=upstream, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


class _Gate(BaseHTTPRequestHandler):
    """One request: passed on, or answered here."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(self._passed_on(b""))

    def do_PUT(self) -> None:
        self._answer(self._passed_on(self._body()))

    def do_POST(self) -> None:
        body = self._body()
        if "ifGenerationMatch=0" in self.path and "upload_id=" not in self.path:
            with self.server.one_at_a_time:
                self._answer((412, [], _REFUSAL) if self._is_there(body) else self._passed_on(body))
        else:
            self._answer(self._passed_on(body))

    def do_DELETE(self) -> None:
        self._answer((499, [], b"") if "upload_id=" in self.path else self._passed_on(b""))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _is_there(self, body: bytes) -> bool:
        bucket, name = _object_of(self.path, body)
        return self.server.client.get(f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}").status_code == 200

    def _passed_on(self, body: bytes) -> _Answer:
        fields = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_FIELDS}
        answer = self.server.client.request(self.command, self.path, content=body, headers=fields)
        kept = [(name, value) for name, value in answer.headers.items() if name not in _HOP_FIELDS]
        return answer.status_code, kept, answer.content

    def _answer(self, answer: _Answer) -> None:
        status, fields, content = answer
        self.send_response(status)
        for name, value in [*fields, ("Content-Length", str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def gated(upstream: str) -> Iterator[str]:
    """Serve the emulator at ``upstream`` through the gate; yield the gate's URL."""
    server = _Server(upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        server.client.close()


def _object_of(path: str, body: bytes) -> tuple[str, str]:
    """Return the bucket and the name of the object that an upload makes; the name may stand in the body."""
    parts = urlsplit(path)
    found = re.search(r"/b/([^/]+)/o", parts.path)
    assert found is not None, path
    named = parse_qs(parts.query).get("name")
    if named:
        return found[1], named[0]
    said, _ = json.JSONDecoder().raw_decode(body[body.index(b"{") :].decode(errors="replace"))
    return found[1], str(said["name"])
