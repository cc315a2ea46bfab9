"""What a pull tells on its way, and to whom.

Knows: the six verbs, the values told. Must not know: who listens: a log, metrics, traces, nobody.
Its one rule: an observer hears and decides nothing; with it or without it the same lands.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import NamedTuple, Protocol

from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.windows.window import TimeWindow


class Phase(StrEnum):
    """The six things a pull does. As it streams, ``encode`` is done inside ``stage``, and that inside ``fetch``."""

    PLAN = "plan"
    FETCH = "fetch"
    ENCODE = "encode"
    STAGE = "stage"
    COMMIT = "commit"
    VERIFY = "verify"


class Progress(NamedTuple):
    """How far a pull is: records and pages so far, share of the window done from 0.0 to 1.0.

    ``fresh_count`` is the number of records read since the progress before.
    """

    record_count: int
    page_count: int
    share_done: float
    fresh_count: int


class PullOutcome(NamedTuple):
    """The manifest now in force, its key, and whether this pull wrote it (False: the same records lay there).

    ``missing_count`` is how many committed records the API did not give again; they stay. 0 where an earlier try was
    gone on with, because its part of the window is not compared.
    """

    manifest: Manifest
    manifest_key: str
    committed: bool
    missing_count: int = 0


class Observer(Protocol):
    """Is told of a pull as it goes on, always from the pull's own thread; it must not raise."""

    def step(self, verb: Phase, window: TimeWindow | None = None) -> AbstractContextManager[object]:
        """Enclose the work of one verb; an error passes through. ``encode`` is told without its window."""
        ...

    def fetched(self, progress: Progress) -> None:
        """Hear of more records read."""
        ...

    def staged(self, part: StagedPart) -> None:
        """Hear of one more part closed."""
        ...

    def committed(self, outcome: PullOutcome) -> None:
        """Hear of the manifest in force, whether or not this pull wrote it."""
        ...


class NullObserver:
    """An observer that hears nothing."""

    def step(self, verb: Phase, window: TimeWindow | None = None) -> AbstractContextManager[object]:  # noqa: ARG002 - nobody looks
        """Enclose nothing."""
        return nullcontext()

    def fetched(self, progress: Progress) -> None:
        """Hear nothing."""

    def staged(self, part: StagedPart) -> None:
        """Hear nothing."""

    def committed(self, outcome: PullOutcome) -> None:
        """Hear nothing."""
