"""The demo's folders: one environment shared with the tests, and `.demo/`, which may be deleted at any time.

Imports only the standard library, because it is used before anything is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.airflow_folders import AirflowFolders


@dataclass(frozen=True)
class Layout(AirflowFolders):
    """The demo's folders below one checkout."""

    checkout: Path

    @classmethod
    def here(cls) -> Layout:
        """Returns the layout of the checkout this file lies in."""
        return cls(Path(__file__).resolve().parent.parent)

    @property
    def root(self) -> Path:
        """The one folder the demo writes to."""
        return self.checkout / ".demo"

    @property
    def venv(self) -> Path:
        """The virtual environment of the tests, which has all the demo needs."""
        return self.checkout / ".venv"

    @property
    def requirements(self) -> Path:
        """The lock file of the environment."""
        return self.checkout / "requirements" / "test.txt"

    @property
    def dags(self) -> Path:
        """The shipped DAGs."""
        return self.checkout / "dags"

    @property
    def own_dags(self) -> Path:
        """The DAGs that only the demo has."""
        return self.checkout / "demo" / "dags"

    @property
    def tampered(self) -> Path:
        """The copy of a destination in which one byte is changed."""
        return self.root / "tampered-copy"

    @property
    def pictures(self) -> Path:
        """The screenshots of the demo's end."""
        return self.root / "pictures"
