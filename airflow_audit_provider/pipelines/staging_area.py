"""One try's place: its marker, its checkpoints, what an earlier try left for it, and what is to be tidied after it.

Knows: the keys of staging and of the window's parts, the store. Must not know: the API, part formats, Airflow.
Its one rule: what a killed try had staged is used only if it is still there, whole, and stands for the same.

::

    _staging/<window>/<attempt>/attempt.json            created first: the destination can be written to
    _staging/<window>/<attempt>/part-00000              a closed part
    _staging/<window>/<attempt>/checkpoint-00001.json   the parts closed so far
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.checkpoint import Checkpoint, ResumeKey, best_checkpoint, read_checkpoint
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import StorageError


class AttemptMarker(msgspec.Struct, frozen=True):
    """What the first object of a try says: its window and when it began."""

    window: str
    began_at: datetime


class StagingArea(NamedTuple):
    """A try of one window; ``attempt_id`` is unique to it."""

    store: Store
    keys: WindowKeys
    attempt_id: str

    @property
    def prefix(self) -> str:
        """Where it stages, ending in a slash."""
        return self.keys.staging(self.attempt_id)

    def open(self, now: datetime) -> None:
        """Write this try's marker, which shows before the first request that the destination can be written to.

        It is created twice: a store that lets that pass would let two runs of a window overwrite each other's commit.
        """
        key, content = f"{self.prefix}attempt.json", msgspec.json.encode(AttemptMarker(self.keys.name, now))
        self.store.create(key, content)
        if self.store.create(key, content):
            raise StorageError(
                "The destination's store lets an object be created twice, so a commit could be overwritten unseen. Use "
                "a newer version of the store's fsspec library, or a store with conditional writes: S3, GCS, Azure, "
                "local.",
                key=key,
            )

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint of the parts closed so far."""
        self.store.create(f"{self.prefix}checkpoint-{len(checkpoint.parts):05}.json", checkpoint.to_bytes())

    def find_checkpoint(self, identity: ResumeKey, settled_at: datetime) -> Checkpoint | None:
        """Return the furthest checkpoint of any try of this window that stands for the same and began settled."""
        sizes = dict(self.store.list_sizes(self.keys.all_staging))
        found = [checkpoint for _, checkpoint in self._checkpoints(sizes)]
        return best_checkpoint(found, identity, sizes, settled_at)

    def clear(self) -> None:
        """Remove what this try left in staging."""
        self.store.remove(list(self.store.list_keys(self.prefix)))

    def drop_adopted(self, adopted: Checkpoint) -> None:
        """Remove the parts that an earlier try left and this one found to lead nowhere, and their tries with them."""
        folders = {_folder(part.staged_key) for part in adopted.parts}
        self.store.remove([key for key in self.store.list_keys(self.keys.all_staging) if _folder(key) in folders])

    def clear_committed(self, committed: Manifest) -> None:
        """Remove what any try of this window left in staging that is committed now: nobody needs to go on with it."""
        named = {part.sha256 for part in committed.parts}
        staged = list(self.store.list_keys(self.keys.all_staging))
        done = {self.prefix}
        for prefix, checkpoint in self._checkpoints(staged):
            if checkpoint is not None and all(part.sha256 in named for part in checkpoint.parts):
                done |= {prefix, *(_folder(part.staged_key) for part in checkpoint.parts)}
        self.store.remove([key for key in staged if _folder(key) in done])

    def remove_unreferenced_parts(self, committed: Manifest) -> None:
        """Remove the window's parts that the manifest in force does not name.

        They were replaced, or published by a try that died before its manifest. Nobody can commit them any more:
        a manifest is only ever created for a later generation.
        """
        named = {part.key for part in committed.parts}
        unnamed = [key for key in self.store.list_keys(self.keys.partition) if key not in named]
        generations = [(key, self.keys.part_generation(key)) for key in unnamed]
        self.store.remove([key for key, found in generations if found is not None and found <= committed.generation])

    def _checkpoints(self, staged: Iterable[str]) -> list[tuple[str, Checkpoint | None]]:
        """Return the newest checkpoint of each try among sorted keys, with the try's prefix."""
        newest = {_folder(key): key for key in staged if "/checkpoint-" in key}
        return [(prefix, read_checkpoint(self.store.read(key))) for prefix, key in newest.items()]


def _folder(key: str) -> str:
    return key.rpartition("/")[0] + "/"
