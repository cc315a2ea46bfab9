"""Staging area of one attempt: its marker, its checkpoints, and the removal of what no attempt needs any more.

::

    _staging/<window>/<attempt>/attempt.json            created before anything else of the attempt is staged
    _staging/<window>/<attempt>/part-00000              a closed part
    _staging/<window>/<attempt>/checkpoint-00001.json   the parts closed so far

The first part of an attempt waits in memory, up to 4 MiB. If no second part follows, it is written once, under its
final key: nothing could be resumed from a staged copy of it, because only a full part is followed by a checkpoint.

Invariant: only objects in staging, and parts that neither the manifest in force names nor a seal covers, are ever
removed; a part that this run erases, or whose erasure a seal of the owner accepts, is not covered any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime

import msgspec

from airflow_audit_provider.core.archive.checkpoint import Checkpoint, ResumeKey, best_checkpoint, read_checkpoint
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, WindowKeys
from airflow_audit_provider.core.ports import StagedObject, Store
from airflow_audit_provider.core.verification.envelopes import SignatureVerifier
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.commit_log import AttemptEntry
from airflow_audit_provider.pipelines.committed import sizes_of
from airflow_audit_provider.pipelines.observer import KeptPart

# A part of an attempt with one part only is at most this large; larger ones are staged.
HELD_BYTES = 4 << 20


class AttemptMarker(msgspec.Struct, frozen=True):
    """Content of an attempt's first object: its window and when the attempt began."""

    window: str
    began_at: datetime


class StagingArea:
    """The staging area of one attempt at one window; ``attempt_id`` is unique to the attempt.

    ``entry`` is the attempt's entry in the commit log, and ``generation`` the one that it may commit.
    ``verifier`` verifies the seals of the destination, before anything is removed that they covered. ``staged_before``
    are the sizes of what earlier attempts have staged, by key.
    """

    def __init__(
        self,
        store: Store,
        keys: WindowKeys,
        attempt_id: str,
        verifier: SignatureVerifier | None = None,
        staged_before: Mapping[str, int] | None = None,
        generation: int = 1,
    ) -> None:
        self.store = store
        self.keys = keys
        self.entry = AttemptEntry(store, keys.window, generation, attempt_id)
        self._attempt_id = attempt_id
        self._verifier = verifier
        self._staged_before = staged_before or {}
        self._marker: AttemptMarker | None = None
        self._is_open = False
        self._has_staged = False
        self._is_proved = False
        self._is_committing = False
        self._has_published = False
        self._written: list[str] = []
        self._held: _HeldObject | None = None
        # The window's published objects, once the commit has listed them.
        self._published: Mapping[str, int] | None = None

    @property
    def prefix(self) -> str:
        """The key prefix of the attempt's objects, ending in a slash."""
        return self.keys.staging(self._attempt_id)

    def begin(self, now: datetime) -> None:
        """Notes when the attempt began; nothing is written before something has to be staged."""
        self._marker = AttemptMarker(self.keys.name, now)
        self.entry.begin(now)

    def open(self, now: datetime) -> None:
        """Creates the attempt's marker, as the first staged part does."""
        self.begin(now)
        self.ensure_open()

    def prove_writable(self, descriptor: bytes | None) -> None:
        """Proves once that the destination is writable and has conditional writes; raises ``StorageError`` if not.

        Creates an object that exists: if that succeeds, concurrent commits could overwrite each other. The object is
        the dataset descriptor, with its own bytes; before the first commit it is the attempt's entry in the commit log,
        which is written anyway, created twice.
        """
        if self._is_proved:
            return
        if descriptor is None:
            key, created = self.entry.key, self.store.gather([self.entry.write] * 2)
        else:
            key, content = DATASET_KEY, descriptor
            has_created, _ = self.store.gather([lambda: self.store.create(key, content), self.entry.write])
            # A second time, because another process may have removed the descriptor since it was read.
            created = [has_created and self.store.create(key, content)]
        if all(created):
            raise StorageError(
                f"The destination's store let {key} be created twice: it has no conditional writes, so concurrent runs "
                "could overwrite each other's commit. Upgrade the store's fsspec library, or use a store with "
                "conditional writes: S3, GCS, Azure or local files.",
                key=key,
            )
        self._is_proved = True

    def begin_commit(self, now: datetime) -> None:
        """Makes sure that the commit log has an entry of this attempt, before anything is published."""
        self.entry.ensure(now)
        self._is_committing = True

    def is_guarded(self, now: datetime) -> bool:
        """Returns whether the attempt's entry is so young that any sweep spares its parts or puts them back.

        That is by the clock of this worker; see ADR 17 for a clock that is wrong by hours.
        """
        return self.entry.is_recent(now)

    def note_whole(self) -> None:
        """Notes that the parts are as they were published, so that they need not be listed after the commit."""
        self._has_published = False

    def stage(self, key: str) -> StagedObject:
        """Opens a part for writing; the first one is written to the store only when it is needed there."""
        if self._held is None and not self._has_staged:
            self._held = _HeldObject(key, self)
            return self._held
        self._write_held()
        return self.stage_now(key)

    def stage_now(self, key: str) -> StagedObject:
        """Opens a part for writing in the store."""
        self.ensure_open()
        self._has_staged = True
        self._written.append(key)
        return self.store.stage(key)

    def publish(self, staged_key: str, key: str) -> bool:
        """Publishes a closed part; returns whether the store has confirmed the digest of its bytes."""
        self._has_published = True
        content = self._held_content(staged_key)
        if content is not None:
            return self.store.put(key, content)
        self.store.publish(staged_key, key)
        return False

    def is_own(self, staged_key: str) -> bool:
        """Returns whether this attempt has staged a part, and not adopted it from another one."""
        return staged_key.startswith(self.prefix)

    def is_held(self, staged_key: str) -> bool:
        """Returns whether a closed part is in memory and not in the store."""
        return self._held_content(staged_key) is not None

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint of the parts closed so far."""
        self._write_held()
        self.ensure_open()
        self._written.append(f"{self.prefix}checkpoint-{len(checkpoint.parts):05}.json")
        self.store.create(self._written[-1], checkpoint.to_bytes())

    def find_checkpoint(self, resume_key: ResumeKey, settled_at: datetime) -> Checkpoint | None:
        """Returns the furthest checkpoint of any attempt at this window with the same key, or None.

        An attempt that began before the window was settled is left out.
        """
        sizes = self._staged_before
        checkpoints = [checkpoint for _, checkpoint in self._checkpoints(sizes)]
        return best_checkpoint(checkpoints, resume_key, sizes, settled_at)

    def clear(self) -> None:
        """Removes everything that this attempt has in staging."""
        self._held = None
        if self._is_open:
            self.store.remove(list(self.store.list_keys(self.prefix)))
        self._is_open = self._has_staged = False
        self._written = []

    def withdraw(self) -> None:
        """Removes the attempt's entry in the commit log, unless its commit has begun; the attempt has failed."""
        if not self._is_committing:
            with suppress(StorageError):
                self.entry.withdraw()

    @contextmanager
    def cleared_on_error(self) -> Iterator[None]:
        """Clears the area if the enclosed block raises.

        If the store refuses that, too, the objects stay in staging, where no reader looks; the error propagates.
        """
        try:
            yield
        except BaseException:
            with suppress(StorageError):
                self.clear()
            self.withdraw()
            raise

    def drop_adopted(self, adopted: Checkpoint) -> None:
        """Removes everything that the attempts behind an adopted checkpoint have in staging."""
        folders = {_folder(part.staged_key) for part in adopted.parts}
        self.store.remove([key for key in self.store.list_keys(self.keys.all_staging) if _folder(key) in folders])

    def remove_leftovers(self, committed: Manifest) -> list[KeptPart]:
        """Removes what nobody needs after the commit; if the store refuses, the next run removes it.

        Returns as :meth:`remove_unreferenced_parts` does. Lists nothing if no attempt at the window can have left
        something: staging was empty, and this attempt has staged and published nothing.
        """
        with suppress(StorageError):
            self._remove_committed_attempts(committed)
            if self._may_have_unreferenced_parts(committed):
                return self.remove_unreferenced_parts(committed)
        return []

    def list_published(self, parts: Iterable[Part]) -> list[str]:
        """Lists the window's published objects; returns the keys of parts that are not there with their size."""
        own = [f"{folder}part" for folder in self.keys.part_folders]
        self._published = sizes_of(self.store, [*own, *(part.key for part in parts)])
        return [part.key for part in parts if self._published.get(part.key) != part.size_bytes]

    def _may_have_unreferenced_parts(self, committed: Manifest) -> bool:
        """Returns whether parts may be there that the manifest in force does not name, and this attempt may look.

        An attempt that published and was killed has left its staging, or, if it had one part only, is repeated by the
        next run that finds these records, or left to a sweep. A replacement that was killed has left the parts it
        replaced. In Security Lake, readers look at every object, so nothing is left to a sweep.
        """
        if self.keys.lake is not None:
            return True
        numbers = {self.keys.part_generation(part.key) for part in committed.parts}
        is_replacement = committed.generation > 1 and numbers <= {committed.generation}
        return bool(self._has_published or self._published is not None or self._staged_before or is_replacement)

    def _remove_committed_attempts(self, committed: Manifest) -> None:
        """Removes this attempt's staging, and that of every attempt whose staged parts are all committed."""
        if not self._staged_before:
            # No other attempt has left anything, so what this one has written need not be listed.
            self.store.remove(self._written)
            return
        named = {part.sha256 for part in committed.parts}
        staged = list(self.store.list_keys(self.keys.all_staging))
        folders = {self.prefix}
        for prefix, checkpoint in self._checkpoints(staged):
            if checkpoint is not None and all(part.sha256 in named for part in checkpoint.parts):
                folders |= {prefix, *(_folder(part.staged_key) for part in checkpoint.parts)}
        self.store.remove([key for key in staged if _folder(key) in folders])

    def remove_unreferenced_parts(self, committed: Manifest, *, is_erasing: bool = False) -> list[KeptPart]:
        """Removes the window's parts, up to the committed generation, that the manifest in force does not name.

        They were replaced, or published by an attempt that ended before its manifest. No run can commit them any more:
        a manifest is only ever created for a later generation. Parts that a seal covers are kept, unless a manifest
        lists them as erased, and either this run erases or a seal of the owner accepts that manifest. Returns the parts
        that are kept although a seal may have accepted their erasure, or because the seals cannot be trusted.
        """
        named = {part.key for part in committed.parts}
        published = self._published
        if published is None:
            published = {key: 0 for folder in self.keys.part_folders for key in self.store.list_keys(folder)}
        unnamed = [key for key in published if key not in named]
        self._published = None
        generations = [(key, self.keys.part_generation(key)) for key in unnamed]
        ended = [key for key, number in generations if number is not None and number <= committed.generation]
        if not ended:
            return []
        # Imported here, because most pulls remove nothing, and the modules of the seals take 10 ms to import.
        from airflow_audit_provider.pipelines.sealed_parts import SealedParts

        # Also of a first generation: the manifest before it may have been lost, and its parts are sealed.
        sealed = SealedParts(self.store, self._verifier)
        self.store.remove(sealed.removable(self.keys, ended, is_erasing=is_erasing))
        return sealed.kept

    def ensure_open(self) -> None:
        """Creates the marker before anything is staged or adopted, so that a sweep sees an active attempt."""
        if self._is_open:
            return
        assert self._marker is not None, "the attempt has not begun"
        # Before the call: a create that fails may have taken effect.
        self._is_open = True
        self._written.append(f"{self.prefix}attempt.json")
        self.store.create(self._written[-1], msgspec.json.encode(self._marker))

    def _held_content(self, staged_key: str) -> bytes | None:
        held = self._held
        return held.content if held is not None and held.key == staged_key else None

    def _write_held(self) -> None:
        """Stages the part that waits in memory."""
        held, self._held = self._held, None
        if held is not None:
            held.write_to_store()

    def _checkpoints(self, staged: Iterable[str]) -> list[tuple[str, Checkpoint | None]]:
        """Returns the newest checkpoint of each attempt among sorted keys, with the attempt's prefix."""
        newest = {_folder(key): key for key in staged if "/checkpoint-" in key}
        return [(prefix, read_checkpoint(self.store.read(key))) for prefix, key in newest.items()]


def _folder(key: str) -> str:
    return key.rpartition("/")[0] + "/"


class _HeldObject:
    """A part that waits in memory; it goes to the store if it grows too large, or before anything else is staged."""

    def __init__(self, key: str, area: StagingArea) -> None:
        self.key = key
        self._area = area
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._is_closed = False
        self._stored: StagedObject | None = None

    @property
    def content(self) -> bytes | None:
        """The bytes of the closed object, None if they are in the store or it is not closed."""
        return b"".join(self._pieces) if self._is_closed and self._stored is None else None

    def write(self, content: bytes) -> None:
        if self._stored is None:
            self._pieces.append(content)
            self._size_bytes += len(content)
            if self._size_bytes > HELD_BYTES:
                self.write_to_store()
        else:
            self._stored.write(content)

    def close(self) -> None:
        self._is_closed = True
        if self._stored is not None:
            self._stored.close()

    def discard(self) -> None:
        if self._stored is not None:
            self._stored.discard()
        elif not self._is_closed:
            self._pieces.clear()

    def write_to_store(self) -> None:
        """Stages what was written so far; the object is complete there if it is closed."""
        if self._stored is not None:
            return
        self._stored = self._area.stage_now(self.key)
        try:
            for piece in self._pieces:
                self._stored.write(piece)
            if self._is_closed:
                self._stored.close()
        except BaseException:
            with suppress(StorageError):
                self._stored.discard()
            raise
        self._pieces.clear()
