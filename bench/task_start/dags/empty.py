"""DAG of a task that does nothing, the reference of the benchmark."""

from __future__ import annotations

from airflow.sdk import dag, task


@dag(dag_id="empty", schedule=None)
def _empty() -> None:
    @task(task_id="task")
    def nothing() -> None:
        """Does nothing."""

    nothing()


_empty()
