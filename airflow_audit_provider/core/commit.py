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

from airflow_audit_provider.core.keys import WindowKeys
from airflow_audit_provider.core.manifest import Manifest, Part
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError


class State(StrEnum):
    """How far a commit is."""

    PLANNED = "planned"
    STAGED = "staged"
    PUBLISHED = "published"
    OUTRUN = "outrun"
    UNCHANGED = "unchanged"
    COMMITTED = "committed"
    AGREED = "agreed"
    CONFLICT = "conflict"


class Happened(StrEnum):
    """What the world answered to the act that a state asks for."""

    NOTHING_NEW = "nothing new"
    PARTS_STAGED = "parts staged"
    PARTS_PUBLISHED = "parts published"
    MANIFEST_CREATED = "manifest created"
    MANIFEST_EXISTS = "manifest exists"
    WINNER_AGREES = "the winner says the same"
    WINNER_DIFFERS = "the winner says something else"


TRANSITIONS: dict[State, dict[Happened, State]] = {
    State.PLANNED: {Happened.NOTHING_NEW: State.UNCHANGED, Happened.PARTS_STAGED: State.STAGED},
    State.STAGED: {Happened.PARTS_PUBLISHED: State.PUBLISHED},
    State.PUBLISHED: {Happened.MANIFEST_CREATED: State.COMMITTED, Happened.MANIFEST_EXISTS: State.OUTRUN},
    State.OUTRUN: {Happened.WINNER_AGREES: State.AGREED, Happened.WINNER_DIFFERS: State.CONFLICT},
    State.UNCHANGED: {},
    State.COMMITTED: {},
    State.AGREED: {},
    State.CONFLICT: {},
}


def after(state: State, happened: Happened) -> State:
    """Return the state that follows; raise ``ValueError`` for what cannot happen in a state."""
    following = TRANSITIONS[state].get(happened)
    if following is None:
        raise ValueError(f"A commit that is {state} cannot see that {happened}.")
    return following


def is_final(state: State) -> bool:
    """Say whether a commit has come to its end."""
    return not TRANSITIONS[state]


class Commit(NamedTuple):
    """A manifest as it lies in the store: its key, and the digest of the bytes it was read from."""

    manifest: Manifest
    key: str
    sha256: str


class StagedPart(msgspec.Struct, frozen=True):
    """A part that lies under its staging key, closed; event times are nanoseconds since the epoch, both inclusive.

    ``misfits`` counts by column the values that did not fit theirs.
    """

    staged_key: str
    size_bytes: int
    sha256: str
    record_count: int
    first_event_ns: int
    last_event_ns: int
    misfits: dict[str, int] = {}

    def published_as(self, key: str) -> Part:
        """Return the manifest's line for this part under its final key."""
        times = {"first_event_ns": self.first_event_ns, "last_event_ns": self.last_event_ns}
        return Part(key, self.size_bytes, self.sha256, self.record_count, **times)


class CommitPlan:
    """One window's commit, driven by ``note``; ``manifest`` says what it is to say beyond its parts and generation.

    Raises ``VerificationError`` when a replacement would leave fewer records than are committed: the API forgets.
    """

    def __init__(
        self, keys: WindowKeys, committed: Commit | None, replace: bool, staged: Sequence[StagedPart], extension: str
    ) -> None:
        if committed is not None and replace:
            _refuse_shrinking(committed, sum(part.record_count for part in staged))
        self.state = State.PLANNED
        self.generation = 1 if committed is None else committed.manifest.generation + 1
        self._committed = committed
        self._replace = replace
        self._keys = keys
        self._staged = staged
        self._extension = extension
        is_addition = committed is not None and not replace
        self.note(Happened.NOTHING_NEW if is_addition and not staged else Happened.PARTS_STAGED)

    def note(self, happened: Happened) -> None:
        """Go on to the state that follows."""
        self.state = after(self.state, happened)

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
        table = said.table and said.table.with_misfits(*(part.misfits for part in self._staged))
        manifest = msgspec.structs.replace(
            said, parts=parts, record_count=record_count, added_count=record_count, table=table
        )
        if self._committed is None:
            return manifest
        return manifest.succeeding(self._committed.manifest, self._committed.sha256, replace=self._replace)

    def agreed_winner(self, winner: Commit | None, mine: Manifest) -> Commit:
        """Return the commit of the run that was first, if it holds the same; else raise ``CommitConflictError``."""
        if winner is not None and winner.manifest.says_the_same_as(mine):
            self.note(Happened.WINNER_AGREES)
            return winner
        self.note(Happened.WINNER_DIFFERS)
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


def _refuse_shrinking(committed: Commit, record_count: int) -> None:
    manifest, key, _ = committed
    if record_count < manifest.record_count:
        raise VerificationError(
            f"The window {manifest.window} holds {manifest.record_count} records ({key}) and the API now gives only "
            f"{record_count}. Nothing was replaced. Keep what is committed, or write to another destination."
        )
