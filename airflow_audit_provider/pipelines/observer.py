"""Observer of a pull: the six phases and the figures that are reported while a pull runs.

Invariant: an observer never changes what is landed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import NamedTuple, Protocol

from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.windows.window import TimeWindow


class Phase(StrEnum):
    """The phases of a pull. Records are streamed, so ``encode`` runs inside ``stage``, and that inside ``fetch``."""

    PLAN = "plan"
    FETCH = "fetch"
    ENCODE = "encode"
    STAGE = "stage"
    COMMIT = "commit"
    VERIFY = "verify"


class Progress(NamedTuple):
    """Progress of a pull: records and pages so far, and the share of the window done, from 0.0 to 1.0.

    ``fresh_count`` is the number of records read since the previous progress.
    """

    record_count: int
    page_count: int
    share_done: float
    fresh_count: int


class KeptReason(StrEnum):
    """Why a part that no manifest in force names is not removed, with what to do."""

    NO_PUBLIC_KEY = "a seal accepts its erasure, but nothing checked the seal's signature: give the public key"
    NO_SEAL = "the public key is given, but there is no seal: seal the destination, or restore its seals"
    UNKNOWN_SEALS = "it is unknown what the seals cover: verify the destination"


class KeptPart(NamedTuple):
    """A part that no manifest in force names, and why it is kept."""

    key: str
    reason: KeptReason


class PullOutcome(NamedTuple):
    """The manifest in force and its key; ``committed`` is False if the same records were committed before.

    ``missing_count`` is how many committed records the API did not return again; they stay committed. It is 0 after a
    resume, because the part of the window that was staged earlier is not compared. ``odd_records`` counts, by kind, the
    records of this run that break the API's contract; ``odd_examples`` names some of them.
    """

    manifest: Manifest
    manifest_key: str
    committed: bool
    missing_count: int = 0
    odd_records: Mapping[str, int] = {}
    odd_examples: tuple[str, ...] = ()

    @property
    def written(self) -> list[Part]:
        """The parts that this run committed."""
        if not self.committed:
            return []
        manifest = self.manifest
        return [part for part in manifest.parts if manifest.keys.part_generation(part.key) == manifest.generation]


class Observer(Protocol):
    """Receives the events of a pull, always in the pull's own thread. Its methods must not raise."""

    def step(self, phase: Phase, window: TimeWindow | None = None) -> AbstractContextManager[object]:
        """Returns a context manager around the work of one phase; errors propagate. ``encode`` has no window."""
        ...

    def fetched(self, progress: Progress) -> None:
        """Called after more records were read."""
        ...

    def staged(self, part: StagedPart) -> None:
        """Called after a part was closed."""
        ...

    def committed(self, outcome: PullOutcome) -> None:
        """Called with the manifest in force, whether or not this pull wrote it."""
        ...

    def kept(self, window: TimeWindow, parts: Sequence[KeptPart]) -> None:
        """Called at the end with the parts of the window that may be of no use, but were kept because of the seals."""
        ...


class NullObserver:
    """Observer that ignores every event."""

    def step(self, phase: Phase, window: TimeWindow | None = None) -> AbstractContextManager[object]:  # noqa: ARG002 - ignored on purpose
        """Returns a context manager that does nothing."""
        return nullcontext()

    def fetched(self, progress: Progress) -> None:
        """Does nothing."""

    def staged(self, part: StagedPart) -> None:
        """Does nothing."""

    def committed(self, outcome: PullOutcome) -> None:
        """Does nothing."""

    def kept(self, window: TimeWindow, parts: Sequence[KeptPart]) -> None:
        """Does nothing."""
