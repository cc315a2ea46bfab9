"""Where the demo keeps its things, all below one folder that may be deleted at any time.

Knows: the paths. Must not know: what is in them.
Its one rule: standard library only, and nothing outside `.demo/` is ever written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The demo's folders below one checkout."""

    checkout: Path

    @classmethod
    def here(cls) -> Layout:
        """The layout of the checkout this file lies in."""
        return cls(Path(__file__).resolve().parent.parent)

    @property
    def root(self) -> Path:
        """The one folder the demo writes to."""
        return self.checkout / ".demo"

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / "venv"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME, made afresh by each run."""
        return self.root / "airflow"

    @property
    def logs(self) -> Path:
        """The logs of the demo's children."""
        return self.root / "logs"

    @property
    def landed(self) -> Path:
        """The destinations, one folder a format."""
        return self.root / "landed"

    @property
    def requirements(self) -> Path:
        """The lock file with hashes."""
        return self.checkout / "requirements" / "demo.txt"

    @property
    def package(self) -> Path:
        """The provider's sources."""
        return self.checkout / "airflow_audit_provider"

    @property
    def dags(self) -> Path:
        """The shipped DAGs."""
        return self.checkout / "dags"
