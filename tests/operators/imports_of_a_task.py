"""Runs a pull in an interpreter of its own and prints what it imported; run as a module.

The arguments of the operator are JSON on the command line; connections come from the environment.
"""

from __future__ import annotations

import gc
import json
import sys

from airflow.executors import local_executor  # noqa: F401 - a worker has it before it forks the process of a task
from airflow.sdk.execution_time import supervisor, task_runner  # noqa: F401 - a worker has them before it forks

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

_collections: list[int] = []


def main() -> None:
    """Prints the number of records, the modules that the pull imported, and its full garbage collections."""
    operator = CloudflareAuditLogsToObjectStorageOperator(task_id="land", **json.loads(sys.argv[1]))
    before = set(sys.modules)
    gc.callbacks.append(lambda phase, facts: _collections.append(facts["generation"]) if phase == "start" else None)
    summary = operator.execute({})
    imported = sorted(set(sys.modules) - before)
    print(json.dumps({"records": summary["record_count"], "imported": imported, "full": _collections.count(2)}))


if __name__ == "__main__":
    main()
