"""Calls `dag.test()` for DAGs of one file, in the environment of the Airflow under test.

Invariant: one line of JSON before each run and one after it; the output of the run is between them.
"""

from __future__ import annotations

import json
import runpy
import sys
from datetime import datetime
from typing import Any


def main(dag_file: str, asked: list[tuple[str, str | None]]) -> None:
    """Runs each requested DAG with its logical date, or without one."""
    dags: dict[str, Any] = runpy.run_path(dag_file)
    for dag_id, logical_date in asked:
        print(json.dumps({"asked": [dag_id, logical_date]}), flush=True)
        run = dags[dag_id].test(logical_date=datetime.fromisoformat(logical_date) if logical_date else None)
        print(json.dumps({"run_id": run.run_id}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
