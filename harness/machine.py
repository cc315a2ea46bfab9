"""A machine of a cluster: the folders that an Airflow component has for itself there.

All machines of a test run on one host. What they have in common is in the environment: addresses, secrets, connections.

Invariant: no path in the environment of a machine leads to a folder of another machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Folders below `folder`; `log_port` is where a Celery worker or a triggerer serves the logs of its tasks."""

    name: str
    folder: Path
    log_port: int

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME of this machine."""
        return self.folder / "airflow"

    @property
    def task_logs(self) -> Path:
        """The logs of the tasks that ran here."""
        return self.airflow_home / "logs"

    @property
    def working_folder(self) -> Path:
        """The folder in which components are started."""
        return self.folder / "cwd"

    def create(self, dags: Path) -> None:
        """Creates the folders, with a copy of the DAG files."""
        for name in ("airflow", "cwd", "tmp", "user", "run"):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        shutil.copytree(dags, self.folder / "dags")

    def environ(self, shared: Mapping[str, str]) -> dict[str, str]:
        """Returns the environment of a component: that of the installation, with the folders of this machine."""
        temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.folder / "tmp"))
        return {
            **shared,
            **temporary,
            "HOME": str(self.folder / "user"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW_CONFIG": str(self.airflow_home / "airflow.cfg"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.task_logs),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.log_port),
        }

    def lose(self) -> None:
        """Removes all folders, as the disk of a failed machine is lost."""
        shutil.rmtree(self.folder)
