"""Measures what each example costs Airflow's DAG processor beside the same file with empty tasks; prints JSON.

Knows: how the DAG processor parses (modules imported before a fork, one fork a file, then parse and serialize).
Must not know: which ratio is good.
Its one rule: CPU time, each file beside its own empty twin in turn, the median of many turns.

The twin is the example with the body of each `with DAG(...)` replaced by one EmptyOperator: same timetables, arguments
and documentation.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

EMPTY = ast.parse('EmptyOperator(task_id="nothing")').body
EMPTY_IMPORT = ast.parse("from airflow.providers.standard.operators.empty import EmptyOperator").body


class Emptying(ast.NodeTransformer):
    """Replaces the tasks of each DAG by one that does nothing."""

    def visit_With(self, node: ast.With) -> ast.With:
        """Empty a `with DAG(...)` block."""
        called = node.items[0].context_expr
        if isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id == "DAG":
            node.body = EMPTY
        return node


def emptied(source: str) -> str:
    """Return the twin of an example."""
    tree = Emptying().visit(ast.parse(source))
    at = next(index for index, node in enumerate(tree.body) if isinstance(node, ast.Import)) + 1
    tree.body[at:at] = EMPTY_IMPORT
    return ast.unparse(tree)


def in_a_fork(question: Any, *arguments: Any) -> Any:
    """Ask in a fork of this process; return the answer."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writes, json.dumps(question(*arguments)).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        found = json.loads(answer.read())
    os.waitpid(pid, 0)
    return found


def parse_seconds(path: str) -> float:
    """Parse and serialize a file as the DAG processor does; return the CPU time."""
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.dag_processing.processor import _serialize_dags

    started = time.process_time()
    bag = BundleDagBag(dag_folder=path, bundle_path=Path(path).parent, bundle_name="examples", load_op_links=False)
    serialized, errors = _serialize_dags(bag, logging.getLogger())  # type: ignore[arg-type]  # any logger will do
    taken = time.process_time() - started
    assert serialized, path
    assert not {**errors, **bag.import_errors}, path
    return taken


def loaded_by_parsing(path: str) -> list[str]:
    """Parse a file; return the modules that are there since."""
    before = set(sys.modules)
    parse_seconds(path)
    return sorted(sys.modules.keys() - before)


def import_seconds(modules: Iterable[str]) -> float:
    """Import modules; return the CPU time."""
    started = time.process_time()
    for module in modules:
        __import__(module)
    return time.process_time() - started


def compared(example: list[float], empty: list[float]) -> dict[str, float]:
    """The medians, and that of the ratios: what slows the machine slows both of a turn."""
    ratios = [one / other for one, other in zip(example, empty, strict=True)]
    return {
        "example": statistics.median(example),
        "empty": statistics.median(empty),
        "ratio": statistics.median(ratios),
    }


def main(examples: Path, twins: Path, turn_count: int) -> None:
    """Print the times of all examples and their twins, and what the imports cost."""
    files = sorted(examples.glob("*.py"))
    for path in files:
        (twins / path.name).write_text(emptied(path.read_text()))
    airflow = ("airflow.sdk", "airflow.dag_processing.processor", "airflow.providers.standard.operators.empty")
    ours = [
        f"airflow_audit_provider.{name}"
        for name in ("operators.audit_logs", "operators.auditing", "sensors.audit_logs")
    ]
    airflow_seconds = import_seconds(airflow)
    loaded = {path.name: in_a_fork(loaded_by_parsing, str(path)) for path in files}
    ours_seconds = statistics.median(in_a_fork(import_seconds, ours) for _ in range(5))
    import_seconds(ours)
    times: dict[str, dict[str, list[float]]] = {path.name: {"example": [], "empty": []} for path in files}
    for _ in range(turn_count):
        for path in files:
            times[path.name]["example"].append(in_a_fork(parse_seconds, str(path)))
            times[path.name]["empty"].append(in_a_fork(parse_seconds, str(twins / path.name)))
    parse = {name: compared(**both) for name, both in times.items()}
    imports = {"airflow_import": airflow_seconds, "our_import": ours_seconds, "loaded": loaded}
    print(json.dumps({**imports, "parse": parse}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
