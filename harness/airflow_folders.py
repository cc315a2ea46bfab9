"""The folders of one Airflow that is started from a checkout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class AirflowFolders(ABC):
    """Where an Airflow is installed and where it writes; all that is written lies below `root`."""

    @property
    @abstractmethod
    def root(self) -> Path:
        """The one folder that is written to."""

    @property
    @abstractmethod
    def venv(self) -> Path:
        """The virtual environment Airflow is installed in."""

    @property
    @abstractmethod
    def dags(self) -> Path:
        """The folder of the DAG files."""

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME, which each start creates anew."""
        return self.root / "airflow"

    @property
    def logs(self) -> Path:
        """The logs of the child processes."""
        return self.root / "logs"

    @property
    def landed(self) -> Path:
        """The destinations of the DAGs."""
        return self.root / "landed"
