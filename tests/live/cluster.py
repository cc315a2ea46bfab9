"""Airflow on a cluster: CeleryExecutor, Redis, PostgreSQL, and workers on machines of their own.

The workers share a bucket of S3, the budget of requests on Redis, and nothing else: each has its own AIRFLOW_HOME,
working folder, folder for temporary files, home folder and copy of the DAG files.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airflow_audit_provider.adapters.budget.redis_store import open_redis
from harness.airflow_instance import AirflowInstance
from harness.child_processes import Child, free_ports
from harness.cloudflare_account import CloudflareAccount
from harness.machine import Machine
from tests.adapters.budget.redis_server import RunningRedis
from tests.adapters.storage.real_stores import S3Server, moto
from tests.live.airflow_home import Home
from tests.live.live_airflow import LiveAirflow, start_airflow
from tests.live.postgres import running_postgres

DAG_ID, DAG_FILE = "cluster", Path(__file__).parent / "single_dags" / "cluster.py"
BUCKET, PREFIX = "audit", "cloudflare"
QUEUE_DATABASE, BUDGET_DATABASE = 0, 2
TASKS_A_WORKER = 2
PATIENCE_SECONDS = 900.0
# Seconds until a dead worker is noticed (15, not 300), and until a task that its queue has lost is queued again (120).
# Airflow fails a task that was queued again twice, so tasks must not wait that long for a free slot.
SOON = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
}


class Machines:
    """The machines of a cluster below one folder, by name."""

    def __init__(self, folder: Path, dags: Path) -> None:
        self.by_name: dict[str, Machine] = {}
        self._folder = folder
        self._dags = dags

    def start(self, instance: AirflowInstance, name: str, *words: str) -> Child:
        """Starts `airflow <words>` on a new machine."""
        (log_port,) = free_ports(1)
        machine = self.by_name[name] = Machine(name, self._folder / name, log_port)
        machine.create(self._dags)
        return instance.start_on(machine, *words)

    def start_worker(self, instance: AirflowInstance, name: str) -> Child:
        """Starts a Celery worker on a new machine."""
        return self.start(instance, name, "celery", "worker", "--celery-hostname", name)


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    live: LiveAirflow
    machines: Machines
    redis: RunningRedis
    s3: S3Server
    folder: Path

    def kill(self, name: str) -> None:
        """Kills a component with all its tasks by SIGKILL, and removes all that its machine had on its disk."""
        self.live.kill(name)
        self.machines.by_name.pop(name).lose()

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Returns once `ready` returns true; raises TooLateError, or ChildDiedError if a component has ended."""
        self.live.instance.wait(ready, PATIENCE_SECONDS, what)

    def landing(self, name: str) -> set[str]:
        """Returns the runs whose task, on this machine, has read records of its window and not committed it."""
        logs = self.machines.by_name[name].task_logs.rglob("attempt=*.log")
        return {_run_of(log) for log in logs if _is_landing(log.read_text(errors="replace"))}

    def settle_at(self, instant: datetime) -> None:
        """Sets the instant at which the days of all runs are settled."""
        body = {"key": "settled_at", "value": instant.isoformat()}
        known = [variable["key"] for variable in self.live.ask("variables")["variables"]]
        method, path = ("PATCH", "variables/settled_at") if known else ("POST", "variables")
        self.live.ask(path, method=method, body=body)

    def restart_broker(self, seconds: float) -> None:
        """Kills the Redis server, with the queue and the budget, and starts an empty one after some seconds."""
        self.redis.stop()
        time.sleep(seconds)
        self.redis.start()

    def budgets(self) -> int:
        """Returns how many request budgets the Redis server holds."""
        client = open_redis(self.redis.server._replace(database=BUDGET_DATABASE))
        try:
            return int(client.dbsize())
        finally:
            client.close()

    def replace_worker(self, name: str) -> None:
        """Starts a further Celery worker on a new machine."""
        self.machines.start_worker(self.live.instance, name)

    def replace_triggerer(self, name: str) -> None:
        """Starts a further triggerer on a new machine."""
        self.machines.start(self.live.instance, name, "triggerer")

    def download(self) -> Path:
        """Copies the dataset from the bucket into a folder and returns that."""
        target, client = self.folder / "downloaded", self.s3.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX):
            for entry in page.get("Contents", []):
                path = target / entry["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
        return target / PREFIX

    def done(self) -> int:
        """Returns how many runs have succeeded."""
        return sum(run["state"] == "success" for run in self.live.runs(DAG_ID))


def _run_of(log: Path) -> str:
    (folder,) = (part for part in log.parts if part.startswith("run_id="))
    return folder.removeprefix("run_id=")


def _is_landing(log: str) -> bool:
    since_start = log.rpartition("taken from")[2]
    return "Fetched" in since_start and "Committed" not in since_start


@contextmanager
def start_cluster(folder: Path, fake_options: Sequence[str], workers: Sequence[str]) -> Iterator[Cluster]:
    """Starts all servers, Airflow with the Celery executor, and these workers."""
    redis = RunningRedis(folder)
    redis.start()
    try:
        with running_postgres() as database, moto(folder) as s3:
            s3.make_bucket(BUCKET)
            home = Home(folder / "home", Path(sys.prefix))
            machines, children = Machines(folder, home.dags), list[Child]()

            def settings(_home: Home, account: CloudflareAccount) -> dict[str, str]:
                return {**SOON, **_services(database, redis), **_connections(account, redis, s3)}

            def start(instance: AirflowInstance) -> AirflowInstance:
                instance.start_api()
                instance.start_workers()
                children.extend(machines.start_worker(instance, name) for name in workers)
                return instance

            dags = [DAG_FILE]
            with start_airflow(
                home, "3.3.2", dags=dags, fake_options=fake_options, settings=settings, start=start
            ) as live:
                cluster = Cluster(live, machines, redis, s3, folder)
                cluster.wait(lambda: all(" ready." in child.log.read_text() for child in children), "the workers")
                yield cluster
    finally:
        redis.stop()


def _services(database: str, redis: RunningRedis) -> dict[str, str]:
    """Returns the settings that all components of a Celery installation have in common."""
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "16",
        # Each AIRFLOW_HOME would get a key of its own otherwise, and no machine could read what another encrypted.
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis.server.port}/{QUEUE_DATABASE}",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(TASKS_A_WORKER),
    }


def _connections(account: CloudflareAccount, redis: RunningRedis, s3: S3Server) -> dict[str, str]:
    """Returns the three connections that a user of Celery creates: Cloudflare, the bucket, the budget's server."""
    extra = {"account_id": account.account_id, "rate_limit_conn_id": "rate_limit"}
    budget = {"conn_type": "redis", "host": "127.0.0.1", "port": redis.server.port, "extra": {"db": BUDGET_DATABASE}}
    return {
        "AIRFLOW_CONN_CLOUDFLARE_DEFAULT": json.dumps({**account.connection(), "extra": extra}),
        "AIRFLOW_CONN_RATE_LIMIT": json.dumps(budget),
        "AIRFLOW_CONN_BUCKET": json.dumps(s3.fields()),
        "AUDIT_CLUSTER_DESTINATION": f"s3://{BUCKET}/{PREFIX}",
    }
