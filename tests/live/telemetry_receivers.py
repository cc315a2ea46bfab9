"""Real receivers on loopback for the telemetry of tasks: statsd over UDP, spans over OTLP.

Invariant: what arrives is kept unchanged.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_LINE = re.compile(r"(?P<name>[^,:]+)(?P<tags>(?:,[^,:=]+=[^,:=]+)*):(?P<value>[-\d.]+)\|(?P<kind>\w+)")


class Metric(NamedTuple):
    """One statsd line in InfluxDB's dialect."""

    name: str
    tags: dict[str, str]
    value: float
    kind: str


class Span(NamedTuple):
    """One span; ids are hexadecimal, ``parent_id`` is empty for a root."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    events: list[str]
    failed: bool


@dataclass
class Statsd:
    """The metrics received on one UDP port."""

    port: int
    lines: list[str] = field(default_factory=list)

    def metrics(self, prefix: str) -> list[Metric]:
        """Returns the metrics whose names have this prefix, without it."""
        matches = [match for line in self.lines if (match := _LINE.fullmatch(line)) and line.startswith(prefix)]
        return [
            Metric(
                match["name"].removeprefix(prefix),
                dict(pair.split("=") for pair in match["tags"].split(",") if pair),
                float(match["value"]),
                match["kind"],
            )
            for match in matches
        ]


@dataclass
class Collector:
    """The spans received on one OTLP endpoint."""

    port: int
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Span]:
        """Returns every span, in the order of arrival."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        scopes = [scope for request in requests for found in request.resource_spans for scope in found.scope_spans]
        return [_span(span) for scope in scopes for span in scope.spans]


def _span(span: Any) -> Span:
    attributes = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
    events = [event.name for event in span.events]
    trace_id, span_id, parent_id = (number.hex() for number in (span.trace_id, span.span_id, span.parent_span_id))
    failed = span.status.code == span.status.STATUS_CODE_ERROR
    return Span(span.name, trace_id, span_id, parent_id, attributes, events, failed)


@contextmanager
def statsd() -> Iterator[Statsd]:
    """Listens on a free UDP port during the block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.bind(("127.0.0.1", 0))
        heard = Statsd(plug.getsockname()[1])
        ended = threading.Event()
        thread = threading.Thread(target=_hear, args=(plug, heard, ended), daemon=True)
        thread.start()
        yield heard
        ended.set()
        thread.join(5)


def _hear(plug: socket.socket, heard: Statsd, ended: threading.Event) -> None:
    plug.settimeout(0.5)
    while not ended.is_set():
        try:
            heard.lines += plug.recv(65536).decode().splitlines()
        except TimeoutError:
            continue


@contextmanager
def otlp() -> Iterator[Collector]:
    """Receives OTLP over HTTP on a free port during the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    server.daemon_threads = True
    collector = Collector(server.server_address[1])
    server.collector = collector  # type: ignore[attr-defined]  # the handler finds it there
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        if self.path.endswith("/v1/traces"):
            self.server.collector.bodies.append(body)  # type: ignore[attr-defined]  # set by otlp()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Prints nothing on the terminal."""
