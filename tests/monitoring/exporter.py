"""Receives statsd packets and serves them to Prometheus: by statsd_exporter, or by a stand-in with the same mapping.

The package registries do not have statsd_exporter for each system that runs these tests. Where it is on the PATH, it is
used. The stand-in knows what ``statsd-mapping.yml`` uses: globs, types, templates of names, histograms; not ``ttl``.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from harness.child_processes import Children, free_ports
from tests.monitoring.waiting import poll_until

MONITORING = Path(__file__).resolve().parents[2] / "airflow_audit_provider" / "monitoring"
MAPPING = MONITORING / "statsd-mapping.yml"
_LINE = re.compile(r"(?P<name>[^,:]+)(?P<tags>(?:,[^,:=]+=[^,:=]+)*):(?P<value>[-+\d.]+)\|(?P<kind>\w+)")
_KINDS = {"c": "counter", "g": "gauge", "ms": "observer"}
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Exporter:
    """A running exporter; ``is_real`` tells whether it is statsd_exporter."""

    statsd_port: int
    http_port: int
    is_real: bool

    def send(self, lines: Iterable[str]) -> None:
        """Sends statsd lines, one a packet, as Airflow does."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
            for line in lines:
                plug.sendto(line.encode(), ("127.0.0.1", self.statsd_port))


@contextmanager
def exporter(folder: Path, *, real: bool = True) -> Iterator[Exporter]:
    """Runs the exporter during the block; the stand-in if statsd_exporter is not installed or not wanted."""
    command = shutil.which("statsd_exporter") if real else None
    if command is None:
        with _stand_in() as running:
            yield running
        return
    (statsd_port, http_port), options = free_ports(2), [f"--statsd.mapping-config={MAPPING}"]
    options += [f"--statsd.listen-udp=127.0.0.1:{statsd_port}", f"--web.listen-address=127.0.0.1:{http_port}"]
    with Children(folder) as children:
        children.start("statsd_exporter", [command, *options, "--statsd.listen-tcp="], os.environ, cwd=folder)
        poll_until(lambda: _listens(http_port), "statsd_exporter to listen", children.check)
        yield Exporter(statsd_port, http_port, True)


def _listens(port: int) -> bool:
    with socket.socket() as plug:
        return plug.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class _Series:
    """What the stand-in has counted, by name and labels."""

    mappings: list[dict[str, Any]]
    values: dict[tuple[str, Labels], float] = field(default_factory=lambda: defaultdict(float))
    types: dict[str, str] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Adds one statsd line, if a mapping matches it."""
        match = _LINE.fullmatch(line)
        if match is None:
            return
        kind, tags = _KINDS[match["kind"]], dict(pair.split("=") for pair in match["tags"].split(",") if pair)
        for mapping in self.mappings:
            found = re.fullmatch(mapping["match"].replace(".", r"\.").replace("*", r"([^.]*)"), match["name"])
            if found is not None and mapping["match_metric_type"] == kind:
                template = re.sub(r"\$\{(\d)\}", r"\\\1", mapping["name"])
                self._add(kind, found.expand(template), tags, float(match["value"]), mapping)
                return

    def _add(self, kind: str, name: str, tags: Mapping[str, str], value: float, mapping: Mapping[str, Any]) -> None:
        labels = tuple(sorted(tags.items()))
        if kind == "observer":
            self.types[name] = "histogram"
            for bound in (*mapping["histogram_options"]["buckets"], "+Inf"):
                self.values[f"{name}_bucket", (*labels, ("le", str(bound)))] += value / 1000 <= float(bound)
            self.values[f"{name}_sum", labels] += value / 1000
            self.values[f"{name}_count", labels] += 1
        else:
            self.types[name] = kind
            self.values[name, labels] = value if kind == "gauge" else self.values[name, labels] + value

    def text(self) -> str:
        """Returns the series in the format of Prometheus."""
        lines = [f"# TYPE {name} {kind}" for name, kind in self.types.items()]
        for (name, labels), value in list(self.values.items()):
            tags = ",".join(f'{key}="{text}"' for key, text in labels)
            lines.append(f"{name}{{{tags}}} {value}")
        return "\n".join([*lines, ""])


@contextmanager
def _stand_in() -> Iterator[Exporter]:
    series, ended = _Series(yaml.safe_load(MAPPING.read_text())["mappings"]), threading.Event()

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = series.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Prints nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.bind(("127.0.0.1", 0))
        plug.settimeout(0.5)
        threads = [
            threading.Thread(target=server.serve_forever, daemon=True),
            threading.Thread(target=_hear, args=(plug, series, ended), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield Exporter(plug.getsockname()[1], server.server_address[1], False)
        finally:
            ended.set()
            server.shutdown()
            server.server_close()
            threads[1].join(5)


def _hear(plug: socket.socket, series: _Series, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            for line in plug.recv(65536).decode().splitlines():
                series.take(line)
        except TimeoutError:
            continue
