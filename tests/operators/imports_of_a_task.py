"""Runs a pull in an interpreter of its own and prints what it imported, and what the worker had; run as a module.

The arguments of the operator are JSON on the command line; connections come from the environment.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from airflow.executors import local_executor  # noqa: F401 - a worker has it before it forks the process of a task
from airflow.sdk.execution_time import supervisor, task_runner  # noqa: F401 - a worker has them before it forks

_of_the_worker = sorted(sys.modules)


# Threads of libraries in C are not in threading.enumerate().
def _count_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


_threads = _count_threads()
_collections: list[int] = []


def main() -> None:
    """Prints the number of records, the modules that the pull imported, and its full garbage collections.

    Also the modules and the number of threads that a worker has before it forks, and the threads after the pull.
    """
    from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

    operator = CloudflareAuditLogsToObjectStorageOperator(task_id="land", **json.loads(sys.argv[1]))
    before = set(sys.modules)
    gc.callbacks.append(lambda phase, facts: _collections.append(facts["generation"]) if phase == "start" else None)
    summary = operator.execute({})
    imported = sorted(set(sys.modules) - before)
    worker = {"worker": _of_the_worker, "threads": _threads, "threads_after": _count_threads()}
    facts = {"records": summary["record_count"], "imported": imported, "full": _collections.count(2)}
    print(json.dumps(facts | worker))


if __name__ == "__main__":
    main()
