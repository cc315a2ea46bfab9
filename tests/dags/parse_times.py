"""Measures what each example costs Airflow's DAG processor beside the same file with empty tasks; prints JSON.

Invariant: CPU time of the whole fork, each file beside its own empty twin in turn, the median of many turns.

The twin knows nothing of this provider: the body of each `with DAG(...)` is one EmptyOperator and an asset is a plain
one; timetables, arguments and documentation are the example's. `loaded` and `without_plugins` are what a fork imports
and takes where Airflow has loaded no plugins yet, `imported_anew` (of the provider) and `times` where it has, which is
how Airflow comes.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import resource
import selectors
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from socket import socket
from typing import Any, cast
from uuid import uuid4

EMPTY = ast.parse('EmptyOperator(task_id="nothing")').body
IMPORTS = ast.parse(
    "from airflow.providers.standard.operators.empty import EmptyOperator\nfrom airflow.sdk import Asset"
).body
# What `airflow dag-processor` has imported before it forks.
PARENT = [
    "airflow.cli.commands.dag_processor_command",
    "airflow.dag_processing.manager",
    "airflow.jobs.dag_processor_job_runner",
]
CLEARLY_CHEAP = 1.05
PROVIDER = "airflow_audit_provider"


class Emptying(ast.NodeTransformer):
    """Replaces the tasks of each DAG by one that does nothing, and takes the provider out."""

    def __init__(self) -> None:
        self.ours: set[str] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Removes an import from the provider and stores the imported names."""
        if not (node.module or "").startswith(PROVIDER):
            return node
        self.ours |= {alias.asname or alias.name for alias in node.names}
        return None

    def visit_With(self, node: ast.With) -> ast.AST:
        """Replaces the body of a `with DAG(...)` block."""
        called = node.items[0].context_expr
        if isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id == "DAG":
            node.body = EMPTY
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replaces a call of the provider by a plain asset, without watchers."""
        self.generic_visit(node)
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "watchers"]
        made_by_us = isinstance(node.func, ast.Name) and node.func.id in self.ours
        return ast.parse('Asset("plain")', mode="eval").body if made_by_us else node


def emptied(source: str) -> str:
    """Returns an example with empty tasks."""
    tree = Emptying().visit(ast.parse(source))
    at = next(index for index, node in enumerate(tree.body) if isinstance(node, ast.Import)) + 1
    tree.body[at:at] = IMPORTS
    return ast.unparse(tree)


def _discover_providers() -> None:
    """Reads the providers' declarations, as the DAG processor's command does."""
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()


def _load_plugins() -> None:
    """Loads the plugins, as a job of Airflow does when it notifies its listeners of its start."""
    from airflow.listeners.listener import get_listener_manager

    get_listener_manager()


def parse_seconds(path: Path) -> float:
    """Parses a file as Airflow's DAG processor does; returns the CPU time of the forked process."""
    import structlog
    from airflow.dag_processing.processor import DagFileProcessorProcess

    before = _seconds_of_children()
    with selectors.DefaultSelector() as selector, Path(os.devnull).open("wb") as nowhere:
        said: dict[str, Any] = {"logger": structlog.get_logger(), "logger_filehandle": nowhere, "client": None}
        parser = DagFileProcessorProcess.start(
            id=uuid4(),
            path=path,
            bundle_path=path.parent,
            bundle_name="examples",
            dag_file_rel_path=path.name,
            callbacks=[],
            selector=selector,
            **said,
        )
        while not parser.is_ready:
            _serve(selector)
    result = parser.parsing_result
    assert result is not None, path
    assert result.serialized_dags, path
    assert not result.import_errors, result.import_errors
    return _seconds_of_children() - before


def _serve(selector: selectors.BaseSelector) -> None:
    """Receives the messages of the fork, as the DAG processor's loop does."""
    for key, _ in selector.select(timeout=0.01):
        take, on_close = key.data
        if not take(key.fileobj):
            on_close(key.fileobj)
            cast("socket", key.fileobj).close()


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def loaded_by_parsing(path: Path) -> list[str]:
    """Parses a file in a fork; returns the modules that this imported."""
    from airflow.dag_processing.dagbag import BundleDagBag

    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = set(sys.modules)
        BundleDagBag(dag_folder=path, bundle_path=path.parent, bundle_name="examples", load_op_links=False)
        os.write(writes, json.dumps(sorted(sys.modules.keys() - before)).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        loaded: list[str] = json.loads(answer.read())
    os.waitpid(pid, 0)
    return loaded


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        importlib.import_module(module)


def measured(files: list[Path], twins: Path, turn_count: int) -> dict[str, dict[str, float]]:
    """Return the medians of each file and its twin, and that of the ratios: what slows the machine slows both."""
    times: dict[str, list[tuple[float, float]]] = {path.name: [] for path in files}
    for turn in range(3 * turn_count):
        # What is clearly cheap needs no more turns; the others get three times as many, and all of theirs count.
        left = files if turn < turn_count else [path for path in files if _ratio(times[path.name]) > CLEARLY_CHEAP]
        for path in left:
            times[path.name].append((parse_seconds(path), parse_seconds(twins / path.name)))
    return {
        name: {
            "example": statistics.median(example for example, _ in pairs),
            "empty": statistics.median(empty for _, empty in pairs),
            "ratio": _ratio(pairs),
        }
        for name, pairs in times.items()
    }


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(example / empty for example, empty in pairs)


def main(examples: Path, twins: Path, turn_count: int) -> None:
    """Prints what parsing an example loads, and the times of all examples and their twins unless there are no turns."""
    files = sorted(examples.glob("*.py"))
    for path in files:
        (twins / path.name).write_text(emptied(path.read_text()))
    found: dict[str, Any] = {}
    _import(PARENT)
    _discover_providers()
    found["loaded"] = {path.name: loaded_by_parsing(path) for path in files}
    if turn_count:
        found["without_plugins"] = measured(files, twins, turn_count)
    _load_plugins()
    found["imported_anew"] = {
        path.name: [name for name in loaded_by_parsing(path) if name.startswith(PROVIDER)] for path in files
    }
    if turn_count:
        found["times"] = measured(files, twins, turn_count)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
