"""The commit protocol as a transition table: plan → staged parts → published parts → manifest.

Knows: which act follows which outcome, and what a generation's manifest says.
Must not know: stores, formats, the API; whoever drives it performs the acts.
Its one rule: the manifest comes last and is created, never overwritten; what another run created first stands.

::

    PLANNED ── nothing new ──────────────► UNCHANGED
       └────── parts staged ─► STAGED ── parts published ─► PUBLISHED ── manifest created ─► COMMITTED
                                                               └── it exists ─► OUTRUN ── it says the same ─► AGREED
                                                                                  └────── it says other ───► CONFLICT
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.exceptions import CommitConflictError, StorageUnavailableError, VerificationError


class CommitState(StrEnum):
    """How far a commit is."""

    PLANNED = "planned"
    STAGED = "staged"
    PUBLISHED = "published"
    LOST_RACE = "outrun"
    UNCHANGED = "unchanged"
    COMMITTED = "committed"
    ALREADY_COMMITTED = "agreed"
    CONFLICT = "conflict"


class CommitEvent(StrEnum):
    """What the world answered to the act that a state asks for."""

    NOTHING_NEW = "nothing new"
    PARTS_STAGED = "parts staged"
    PARTS_PUBLISHED = "parts published"
    MANIFEST_CREATED = "manifest created"
    MANIFEST_EXISTS = "manifest exists"
    WINNER_AGREES = "the winner says the same"
    WINNER_DIFFERS = "the winner says something else"


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


def next_state(state: CommitState, happened: CommitEvent) -> CommitState:
    """Return the state that follows; raise ``ValueError`` for what cannot happen in a state."""
    following = TRANSITIONS[state].get(happened)
    if following is None:
        raise ValueError(f"A commit that is {state} cannot see that {happened}.")
    return following


class CommittedManifest(NamedTuple):
    """A manifest as it lies in the store: its key, and the digest of the bytes it was read from."""

    manifest: Manifest
    key: str
    sha256: str


class StagedPart(msgspec.Struct, frozen=True):
    """A part that lies under its staging key, closed; event times are nanoseconds since the epoch, both inclusive.

    ``type_mismatches`` counts by column the values that did not fit theirs.
    """

    staged_key: str
    size_bytes: int
    sha256: str
    record_count: int
    first_event_ns: int
    last_event_ns: int
    type_mismatches: dict[str, int] = {}

    def published_as(self, key: str) -> Part:
        """Return the manifest's line for this part under its final key."""
        times = {"first_event_ns": self.first_event_ns, "last_event_ns": self.last_event_ns}
        return Part(key, self.size_bytes, self.sha256, self.record_count, **times)


class CommitPlan:
    """One window's commit, driven by ``note``; ``manifest`` says what it is to say beyond its parts and generation.

    Raises ``VerificationError`` when a replacement would leave fewer records than are committed: the API forgets.
    """

    def __init__(
        self,
        keys: WindowKeys,
        committed: CommittedManifest | None,
        replace: bool,
        staged: Sequence[StagedPart],
        extension: str,
    ) -> None:
        if committed is not None and replace:
            _refuse_shrinking(committed, sum(part.record_count for part in staged))
        self.state = CommitState.PLANNED
        self.generation = 1 if committed is None else committed.manifest.generation + 1
        self._committed = committed
        self._replace = replace
        self._keys = keys
        self._staged = staged
        self._extension = extension
        is_addition = committed is not None and not replace
        self.note(CommitEvent.NOTHING_NEW if is_addition and not staged else CommitEvent.PARTS_STAGED)

    def note(self, happened: CommitEvent) -> None:
        """Go on to the state that follows."""
        self.state = next_state(self.state, happened)

    @property
    def manifest_key(self) -> str:
        """Where the next generation's manifest is to be created."""
        return self._keys.manifest(self.generation)

    def publications(self) -> list[tuple[str, str]]:
        """Return the staging key and the final key of every part, in order."""
        return [(staged.staged_key, part.key) for staged, part in zip(self._staged, self._parts(), strict=True)]

    def manifest(self, said: Manifest) -> Manifest:
        """Return the manifest to create: what is said of the window, with this commit's parts and generation."""
        parts = self._parts()
        record_count = sum(part.record_count for part in parts)
        table = said.table and said.table.with_type_mismatches(*(part.type_mismatches for part in self._staged))
        manifest = msgspec.structs.replace(
            said, parts=parts, record_count=record_count, added_count=record_count, table=table
        )
        if self._committed is None:
            return manifest
        return manifest.succeeding(self._committed.manifest, self._committed.sha256, replace=self._replace)

    def agreed_winner(self, winner: CommittedManifest | None, mine: Manifest) -> CommittedManifest:
        """Return the commit of the run that was first, if it holds the same; else raise ``CommitConflictError``."""
        if winner is not None and winner.manifest.has_same_content_as(mine):
            self.note(CommitEvent.WINNER_AGREES)
            return winner
        self.note(CommitEvent.WINNER_DIFFERS)
        raise CommitConflictError(
            f"Another run committed {mine.window} first, with other records. Run the window again to add what is "
            "missing.",
            key=self.manifest_key,
        )

    def _parts(self) -> tuple[Part, ...]:
        return tuple(
            part.published_as(self._keys.part(self.generation, index, part.sha256, self._extension))
            for index, part in enumerate(self._staged)
        )


def check_nothing_lost(committed: CommittedManifest, missing_count: int) -> None:
    """Raise ``VerificationError`` when a replacement would lose committed records that the API no longer gives."""
    if missing_count:
        raise VerificationError(
            f"The window {committed.manifest.window} holds {missing_count} records ({committed.key}) that the API does "
            "not give any more. Nothing was replaced. Keep what is committed, or write to another destination."
        )


def check_objects_present(absent: Sequence[str], manifest_key: str | None = None) -> None:
    """Raise for parts that do not lie where they were staged or published, before their manifest or after.

    Before it nothing is committed, so the next try mends it: ``StorageUnavailableError``. After it the commit is
    damaged: ``VerificationError``.
    """
    if absent and manifest_key is None:
        raise StorageUnavailableError(
            f"The store does not list {absent[0]!r} as it was written, nor {len(absent) - 1} other parts. Nothing was "
            "committed. Run the window again.",
            key=absent[0],
        )
    if absent:
        raise VerificationError(
            f"{absent[0]!r} vanished while {manifest_key} was created. Find who removes objects, then run the window "
            "with replace=True."
        )


def _refuse_shrinking(committed: CommittedManifest, record_count: int) -> None:
    manifest, key, _ = committed
    if record_count < manifest.record_count:
        raise VerificationError(
            f"The window {manifest.window} holds {manifest.record_count} records ({key}) and the API now gives only "
            f"{record_count}. Nothing was replaced. Keep what is committed, or write to another destination."
        )
