"""Commit protocol as a state table: plan → staged parts → published parts → manifest.

The table only decides; :mod:`airflow_audit_provider.pipelines.pull_commit` performs the steps on a store.

::

    PLANNED ── nothing new ──► UNCHANGED
       └────── parts staged ─► STAGED ── parts published ─► PUBLISHED ── manifest created ─► COMMITTED
                                                               └── manifest exists ─► LOST_RACE
    LOST_RACE ── the existing one has the same records ─► ALREADY_COMMITTED
       └──────── it has other records ──────────────────► CONFLICT

Invariant: the manifest is created last and never overwritten; a manifest that another run created first stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from airflow_audit_provider.core.archive.manifest import Manifest, Part, sum_counts
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import CommitConflictError, StorageUnavailableError, VerificationError


class CommitState(StrEnum):
    """State of a commit."""

    PLANNED = "planned"
    STAGED = "staged"
    PUBLISHED = "published"
    LOST_RACE = "lost race"
    UNCHANGED = "unchanged"
    COMMITTED = "committed"
    ALREADY_COMMITTED = "already committed"
    CONFLICT = "conflict"


class CommitEvent(StrEnum):
    """Outcome of the step that a state requires."""

    NOTHING_NEW = "nothing new"
    PARTS_STAGED = "parts staged"
    PARTS_PUBLISHED = "parts published"
    MANIFEST_CREATED = "manifest created"
    MANIFEST_EXISTS = "manifest exists"
    WINNER_AGREES = "the existing manifest has the same records"
    WINNER_DIFFERS = "the existing manifest has other records"


TRANSITIONS: dict[CommitState, dict[CommitEvent, CommitState]] = {
    CommitState.PLANNED: {CommitEvent.NOTHING_NEW: CommitState.UNCHANGED, CommitEvent.PARTS_STAGED: CommitState.STAGED},
    CommitState.STAGED: {CommitEvent.PARTS_PUBLISHED: CommitState.PUBLISHED},
    CommitState.PUBLISHED: {
        CommitEvent.MANIFEST_CREATED: CommitState.COMMITTED,
        CommitEvent.MANIFEST_EXISTS: CommitState.LOST_RACE,
    },
    CommitState.LOST_RACE: {
        CommitEvent.WINNER_AGREES: CommitState.ALREADY_COMMITTED,
        CommitEvent.WINNER_DIFFERS: CommitState.CONFLICT,
    },
    CommitState.UNCHANGED: {},
    CommitState.COMMITTED: {},
    CommitState.ALREADY_COMMITTED: {},
    CommitState.CONFLICT: {},
}


def next_state(state: CommitState, event: CommitEvent) -> CommitState:
    """Returns the state after an event; raises ``ValueError`` if the event cannot occur in the state."""
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise ValueError(f"The event {event.value!r} cannot occur in the commit state {state.value!r}.")
    return following


class CommittedManifest(NamedTuple):
    """A manifest read from the store: its key, and the SHA-256 of the bytes it was read from."""

    manifest: Manifest
    key: str
    sha256: str


class StagedPart(msgspec.Struct, frozen=True):
    """A closed part under its staging key; event times are nanoseconds since the epoch, both inclusive.

    ``type_mismatches`` counts, by column, the values whose type differs from the column's, ``odd_records`` the records
    that break the API's contract, by kind. ``class_uid`` is the class of its events if the layout separates classes.
    """

    staged_key: str
    size_bytes: int
    sha256: str
    record_count: int
    first_event_ns: int
    last_event_ns: int
    type_mismatches: dict[str, int] = {}
    odd_records: dict[str, int] = {}
    class_uid: int | None = None

    def published_as(self, key: str) -> Part:
        """Returns the manifest's entry for this part under its final key."""
        times = {"first_event_ns": self.first_event_ns, "last_event_ns": self.last_event_ns}
        return Part(key, self.size_bytes, self.sha256, self.record_count, **times)


class CommitPlan:
    """State of one window's commit, and the keys and the manifest it writes; :meth:`note` takes each step's outcome.

    Raises ``VerificationError`` if a replacement would leave fewer records than are committed, because the API no
    longer keeps them.
    """

    def __init__(
        self,
        keys: WindowKeys,
        committed: CommittedManifest | None,
        replace: bool,
        staged: Sequence[StagedPart],
        extension: str,
        is_erasure: bool = False,
    ) -> None:
        if committed is not None and replace:
            staged_count = sum(part.record_count for part in staged)
            check_nothing_lost(committed, max(0, committed.manifest.record_count - staged_count), is_erasure)
        self.state = CommitState.PLANNED
        self.generation = 1 if committed is None else committed.manifest.generation + 1
        self._committed = committed
        self._replace = replace
        self._keys = keys
        self._staged = staged
        self._extension = extension
        is_addition = committed is not None and not replace
        self.note(CommitEvent.NOTHING_NEW if is_addition and not staged else CommitEvent.PARTS_STAGED)

    def note(self, event: CommitEvent) -> None:
        """Moves to the state that follows; raises ``ValueError`` if the event cannot occur now."""
        self.state = next_state(self.state, event)

    @property
    def manifest_key(self) -> str:
        """The key of the manifest to create."""
        return self._keys.manifest(self.generation)

    def publications(self) -> list[tuple[str, str]]:
        """Returns the staging key and the final key of every part, in order."""
        return [(staged.staged_key, part.key) for staged, part in zip(self._staged, self._parts(), strict=True)]

    def manifest(self, draft: Manifest) -> Manifest:
        """Returns the manifest to create: the draft with this commit's parts, counts and generation."""
        parts = self._parts()
        record_count = sum(part.record_count for part in parts)
        table = draft.table and draft.table.with_type_mismatches(*(part.type_mismatches for part in self._staged))
        odd_records = sum_counts(*(part.odd_records for part in self._staged)) or UNSET
        counts = {"record_count": record_count, "added_count": record_count, "odd_records": odd_records}
        manifest = msgspec.structs.replace(draft, parts=parts, table=table, **counts)
        if self._committed is None:
            return manifest
        return manifest.succeeding(self._committed.manifest, self._committed.sha256, replace=self._replace)

    def agreed_winner(self, winner: CommittedManifest | None, mine: Manifest) -> CommittedManifest:
        """Returns the commit of the run that was first if its records are the same; else raises.

        Raises ``CommitConflictError`` if it has other records, or if its manifest is gone.
        """
        if winner is not None and winner.manifest.has_same_content_as(mine):
            self.note(CommitEvent.WINNER_AGREES)
            return winner
        self.note(CommitEvent.WINNER_DIFFERS)
        raise CommitConflictError(
            f"Another run committed the window {mine.window} first, with other records. Run the window again to add "
            "the missing records.",
            key=self.manifest_key,
        )

    def _parts(self) -> tuple[Part, ...]:
        return tuple(part.published_as(self._key(index, part)) for index, part in enumerate(self._staged))

    def _key(self, index: int, part: StagedPart) -> str:
        if part.class_uid is None:
            return self._keys.part(self.generation, index, part.sha256, self._extension)
        return self._keys.lake_part(self.generation, index, part.sha256, part.class_uid, part.first_event_ns)


def check_nothing_lost(committed: CommittedManifest, missing_count: int, is_erasure: bool = False) -> None:
    """Raises ``VerificationError`` if a replacement would lose committed records that the API no longer returns."""
    if not missing_count:
        return
    lost = f"{count_of(missing_count, 'committed record')} of the window {committed.manifest.window} ({committed.key})"
    if is_erasure:
        raise VerificationError(
            f"The API no longer returns {lost}, and an erasure writes the records again as the API returns them. "
            "Nothing was erased. If the records must go, delete the window's parts with the tools of the store; verify "
            "then reports them as missing."
        )
    raise VerificationError(
        f"The API no longer returns {lost}. Nothing was replaced. Remove replace=True to keep the committed records, "
        "or use another destination."
    )


def check_objects_present(absent: Sequence[str], manifest_key: str | None = None) -> None:
    """Raises if the store does not list parts as they were written; ``manifest_key`` is None before the commit.

    Raises ``StorageUnavailableError`` before the commit, because the next attempt can fix it, and
    ``VerificationError`` after it, because the commit is damaged.
    """
    if absent and manifest_key is None:
        raise StorageUnavailableError(
            f"The store does not list {count_of(len(absent), 'part')} with the size that was written, such as "
            f"{absent[0]!r}. "
            "Nothing was committed. Run the window again.",
            key=absent[0],
        )
    if absent:
        raise VerificationError(
            f"Another program removed {count_of(len(absent), 'part')}, such as {absent[0]!r}, while {manifest_key} was "
            "created. Find out what removes objects from the destination, then run the window with replace=True."
        )
