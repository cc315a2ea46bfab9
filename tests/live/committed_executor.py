"""Executor of Airflow 3.0 that starts a task only after the scheduler has stored that the task is queued.

Airflow 3.0's own LocalExecutor hands a task to a waiting process before the scheduler's transaction is committed. If
that process asks the API for the task first, the API answers 409 (``previous_state: scheduled``), and the task fails
before it has begun, without an attempt of its own: seen once in a dozen runs. Airflow 3.1 hands tasks over at the
scheduler's next heartbeat, after the commit, and so does this class.

Imported by the scheduler of a live test, in which this folder's package does not exist.
"""

from __future__ import annotations

from typing import Any

from airflow.executors.local_executor import LocalExecutor


class CommittedLocalExecutor(LocalExecutor):
    """Keeps tasks from the scheduler's transaction to the heartbeat that follows it."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)  # type: ignore[no-untyped-call]  # Airflow declares no types for it
        self._uncommitted: list[Any] = []

    def queue_workload(self, workload: Any, session: Any = None) -> None:
        """Keeps a task, within the scheduler's transaction."""
        self._uncommitted.append(workload)

    def sync(self) -> None:
        """Hands over what is kept; the scheduler calls it at each heartbeat."""
        kept, self._uncommitted = self._uncommitted, []
        for workload in kept:
            super().queue_workload(workload)  # type: ignore[call-arg]  # later versions require a session, 3.0 does not
        super().sync()
