"""Staging area of one attempt: its marker, its checkpoints, and the removal of what no attempt needs any more.

::

    _staging/<window>/<attempt>/attempt.json            created first: proves that the destination is writable
    _staging/<window>/<attempt>/part-00000              a closed part
    _staging/<window>/<attempt>/checkpoint-00001.json   the parts closed so far

Invariant: only objects in staging, and parts that neither the manifest in force names nor a seal covers, are ever
removed; a part that this run erases, or whose erasure a seal of the owner accepts, is not covered any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.checkpoint import Checkpoint, ResumeKey, best_checkpoint, read_checkpoint
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.envelopes import SignatureVerifier
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.observer import KeptPart
from airflow_audit_provider.pipelines.sealed_parts import SealedParts


class AttemptMarker(msgspec.Struct, frozen=True):
    """Content of an attempt's first object: its window and when the attempt began."""

    window: str
    began_at: datetime


class StagingArea(NamedTuple):
    """The staging area of one attempt at one window; ``attempt_id`` is unique to the attempt.

    ``verifier`` verifies the seals of the destination, before anything is removed that they covered.
    """

    store: Store
    keys: WindowKeys
    attempt_id: str
    verifier: SignatureVerifier | None = None

    @property
    def prefix(self) -> str:
        """The key prefix of the attempt's objects, ending in a slash."""
        return self.keys.staging(self.attempt_id)

    def open(self, now: datetime) -> None:
        """Creates the attempt's marker, which proves before the first request that the destination is writable.

        Creates the marker twice on purpose: if the second create succeeds, the store has no conditional writes, and
        concurrent commits could overwrite each other. Raises ``StorageError`` for such a store.
        """
        key, content = f"{self.prefix}attempt.json", msgspec.json.encode(AttemptMarker(self.keys.name, now))
        self.store.create(key, content)
        if self.store.create(key, content):
            raise StorageError(
                f"The destination's store let {key} be created twice: it has no conditional writes, so concurrent runs "
                "could overwrite each other's commit. Upgrade the store's fsspec library, or use a store with "
                "conditional writes: S3, GCS, Azure or local files.",
                key=key,
            )

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint of the parts closed so far."""
        self.store.create(f"{self.prefix}checkpoint-{len(checkpoint.parts):05}.json", checkpoint.to_bytes())

    def find_checkpoint(self, resume_key: ResumeKey, settled_at: datetime) -> Checkpoint | None:
        """Returns the furthest checkpoint of any attempt at this window with the same key, or None.

        An attempt that began before the window was settled is left out.
        """
        sizes = dict(self.store.list_sizes(self.keys.all_staging))
        checkpoints = [checkpoint for _, checkpoint in self._checkpoints(sizes)]
        return best_checkpoint(checkpoints, resume_key, sizes, settled_at)

    def clear(self) -> None:
        """Removes everything that this attempt has in staging."""
        self.store.remove(list(self.store.list_keys(self.prefix)))

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
            raise

    def drop_adopted(self, adopted: Checkpoint) -> None:
        """Removes everything that the attempts behind an adopted checkpoint have in staging."""
        folders = {_folder(part.staged_key) for part in adopted.parts}
        self.store.remove([key for key in self.store.list_keys(self.keys.all_staging) if _folder(key) in folders])

    def remove_leftovers(self, committed: Manifest) -> list[KeptPart]:
        """Removes what nobody needs after the commit; if the store refuses, the next run removes it.

        Returns as :meth:`remove_unreferenced_parts` does.
        """
        with suppress(StorageError):
            self._remove_committed_attempts(committed)
            return self.remove_unreferenced_parts(committed)
        return []

    def _remove_committed_attempts(self, committed: Manifest) -> None:
        """Removes this attempt's staging, and that of every attempt whose staged parts are all committed."""
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
        unnamed = [key for key in self.store.list_keys(self.keys.partition) if key not in named]
        generations = [(key, self.keys.part_generation(key)) for key in unnamed]
        ended = [key for key, number in generations if number is not None and number <= committed.generation]
        # Also of a first generation: the manifest before it may have been lost, and its parts are sealed.
        sealed = SealedParts(self.store, self.verifier)
        self.store.remove(sealed.removable(self.keys, ended, is_erasing=is_erasing))
        return sealed.kept

    def _checkpoints(self, staged: Iterable[str]) -> list[tuple[str, Checkpoint | None]]:
        """Returns the newest checkpoint of each attempt among sorted keys, with the attempt's prefix."""
        newest = {_folder(key): key for key in staged if "/checkpoint-" in key}
        return [(prefix, read_checkpoint(self.store.read(key))) for prefix, key in newest.items()]


def _folder(key: str) -> str:
    return key.rpartition("/")[0] + "/"
