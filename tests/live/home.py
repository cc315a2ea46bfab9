"""Where one Airflow under test keeps its things: the demo's layout, in a folder of the test's own.

Knows: the paths. Must not know: what is in them.
Its one rule: nothing outside the test's folder is ever written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from demo.layout import Layout


@dataclass(frozen=True)
class Home(Layout):
    """The folders of one Airflow below `folder`, which runs in the virtual environment `environment`."""

    folder: Path
    environment: Path

    @property
    def root(self) -> Path:
        """The one folder this Airflow writes to."""
        return self.folder

    @property
    def venv(self) -> Path:
        """The virtual environment, which is only read."""
        return self.environment

    @property
    def dags(self) -> Path:
        """The copies of the DAG files asked for."""
        return self.folder / "dags"
