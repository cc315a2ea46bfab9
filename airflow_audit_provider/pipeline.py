"""The use cases. Reads like the runbook: plan, fetch, encode, stage, commit.

Knows: the order of the steps. Must not know: Airflow, httpx, a store's kind, a format's inside.
Its one rule: nothing is visible before the manifest, and the manifest is written last, once, by one operation.

::

    plan     is the window readable now, is it committed already, is the destination writable
    fetch    read the window's records, complete and in order; those committed before are left out
    encode   records → part bytes
    stage    bounded parts under _staging/, where no reader looks
    commit   publish the parts under their final keys, then create the manifest of the next generation
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

import msgspec

from airflow_audit_provider.adapters.side_by_side import SideBySide
from airflow_audit_provider.adapters.source import Source
from airflow_audit_provider.core.keys import WindowKeys
from airflow_audit_provider.core.manifest import Manifest, Part, read_manifest
from airflow_audit_provider.core.planning import (
    refuse_other_dataset,
    refuse_other_format,
    refuse_overlap,
    refuse_shrinking,
    refuse_unreadable_window,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.query import AuditQuery, Direction
from airflow_audit_provider.core.reading import Reading, ReadTally
from airflow_audit_provider.core.recount import Recount
from airflow_audit_provider.core.run_window import RunWindow
from airflow_audit_provider.exceptions import CommitConflictError, StorageError, VerificationError
from airflow_audit_provider.formats.part_format import PartFormat
from airflow_audit_provider.staging import StagedPart, Stager

DEFAULT_MAX_PART_BYTES = 128 << 20
DEFAULT_CONCURRENCY = 7


class PullOrder(NamedTuple):
    """What one pull is to do. ``attempt_id`` is unique to this try; it keeps tries apart while they stage."""

    query: AuditQuery
    run_window: RunWindow
    part_format: PartFormat
    attempt_id: str
    settle_delay: timedelta = timedelta(0)
    max_part_bytes: int = DEFAULT_MAX_PART_BYTES
    replace: bool = False
    concurrency: int = DEFAULT_CONCURRENCY
    recount: bool = False

    @property
    def keys(self) -> WindowKeys:
        """Where the window's objects lie."""
        return WindowKeys(self.run_window.window, self.run_window.partition_date)


class Progress(NamedTuple):
    """How far a pull is: records and pages so far, share of the window done from 0.0 to 1.0."""

    record_count: int
    page_count: int
    share_done: float


class PullOutcome(NamedTuple):
    """The manifest now in force, its key, and whether this pull wrote it (False: the same records lay there)."""

    manifest: Manifest
    manifest_key: str
    committed: bool


Observer = Callable[[Progress], None]


def pull_window(order: PullOrder, source: Source, store: Store, observe: Observer) -> PullOutcome:
    """Land one window; idempotent: a second run with the same records writes nothing.

    Late records are committed as a next generation that names the one before. Raises the errors of
    :mod:`airflow_audit_provider.exceptions`; whatever is raised, no manifest names anything of this pull, and before
    the first part is published nothing of it lies where readers look.
    """
    refuse_unreadable_window(order.run_window.window, source.clock.now(), order.settle_delay)
    committed = latest_commit(store, order.keys)
    known_ids = _committed_ids(order, store, committed)
    stager = _open_stager(order, store)
    try:
        _mark_attempt(order, store)
        fetch = _fetch_and_stage(order, source, stager, known_ids, observe)
        outcome = _commit(order, store, committed, stager, fetch)
        _remove_superseded(order, store, outcome.manifest)
        return outcome
    finally:
        _remove_staged(order, store, stager)


class Commit(NamedTuple):
    """A manifest as it lies in the store: its key, and the digest of the bytes it was read from."""

    manifest: Manifest
    key: str
    sha256: str


def latest_commit(store: Store, keys: WindowKeys) -> Commit | None:
    """Return the manifest of a window's newest generation, None when the window was never committed.

    Raises ``CommitConflictError`` when the destination holds a window that overlaps this one and starts inside it, on
    its first day, or on the day before.
    """
    listed = [key for prefix in keys.neighbour_prefixes for key in store.list_keys(prefix)]
    refuse_overlap(keys, listed)
    generations = (keys.generation_of(key) for key in listed)
    newest = max((generation for generation in generations if generation is not None), default=None)
    if newest is None:
        return None
    key = keys.manifest(newest)
    content = store.read(key)
    if content is None:
        raise VerificationError(f"The manifest {key} was listed and is gone. Find who removes committed objects.")
    return Commit(read_manifest(key, content), key, hashlib.sha256(content).hexdigest())


def _committed_ids(order: PullOrder, store: Store, committed: Commit | None) -> frozenset[str]:
    """Return the ids this pull must not land again; none when there is no commit or it is to be replaced."""
    if committed is None:
        return frozenset()
    manifest, key, _ = committed
    refuse_other_dataset(manifest, order.query, key)
    if order.replace:
        return frozenset()
    refuse_other_format(manifest, order.part_format.file_format, order.part_format.compression, key)
    return frozenset(record_id for part in manifest.parts for record_id in _part_ids(order, store, part))


def _part_ids(order: PullOrder, store: Store, part: Part) -> list[str]:
    """Return the ids of a committed part; raise ``VerificationError`` when it is not what its manifest says."""
    content = store.read(part.key)
    if content is None or hashlib.sha256(content).hexdigest() != part.sha256:
        raise VerificationError(
            f"The committed part {part.key} is {'missing' if content is None else 'not what its manifest says'}. "
            "Restore it from a copy, or run the window with replace=True while the API still has its records."
        )
    return [record.id for record in order.part_format.read(order.query.version, content)]


def _mark_attempt(order: PullOrder, store: Store) -> None:
    """Write this try's marker, which shows before the first request that the destination can be written to.

    It is created twice: a store that lets that pass would let two runs of a window overwrite each other's commit.
    """
    content = msgspec.json.encode({"window": order.keys.name})
    store.create(_marker(order), content)
    if store.create(_marker(order), content):
        raise StorageError(
            "The destination's store lets an object be created twice, so a commit could be overwritten unseen. Use a "
            "newer version of the store's fsspec library, or a store with conditional writes: S3, GCS, Azure, local.",
            key=_marker(order),
        )


def _marker(order: PullOrder) -> str:
    return f"{order.keys.staging(order.attempt_id)}attempt.json"


def _open_stager(order: PullOrder, store: Store) -> Stager:
    prefix = order.keys.staging(order.attempt_id)
    return Stager(store, prefix, order.part_format, order.query.version, order.max_part_bytes)


def _fetch_and_stage(
    order: PullOrder, source: Source, stager: Stager, known_ids: frozenset[str], observe: Observer
) -> ReadTally:
    """Read the window to its proved end; stage what is not committed yet."""
    window = order.run_window.window
    reading = SideBySide(source, order.query, window, order.concurrency)
    recount = Recount() if order.recount else None
    record_count = 0
    for records in reading.read():
        if recount is not None:
            recount.add_first(record.id for record in records)
        stager.add(record for record in records if record.id not in known_ids)
        record_count += len(records)
        observe(Progress(record_count, reading.tally.page_count, window.share_before(records[-1].event_ns)))
    if recount is not None:
        reading.tally.add(_recount(order, source, recount))
    stager.finish()
    return reading.tally


def _recount(order: PullOrder, source: Source, recount: Recount) -> ReadTally:
    """Read the window again from its other end; raise ``VerificationError`` when that brings other records."""
    second = Reading(order.query.version, order.run_window.window, Direction.DESC)
    for records in source.read(order.query, second):
        recount.add_second(record.id for record in records)
    recount.refuse_disagreement(str(order.run_window.window))
    return second.tally


def _commit(order: PullOrder, store: Store, committed: Commit | None, stager: Stager, fetch: ReadTally) -> PullOutcome:
    """Publish the staged parts and create the next manifest; with nothing new to say, say nothing.

    Published parts are not taken back when this fails: another run of the window may have committed the same keys.
    The next try publishes the same bytes under the same keys.
    """
    if committed is not None and not order.replace and not stager.parts:
        return PullOutcome(committed.manifest, committed.key, committed=False)
    if committed is not None and order.replace:
        refuse_shrinking(committed.manifest, stager.record_count, committed.key)
    generation = 1 if committed is None else committed.manifest.generation + 1
    parts = tuple(_publish(order, store, generation, index, part) for index, part in enumerate(stager.parts))
    manifest = _next_manifest(order, committed, parts, stager.records_sha256, fetch)
    key = order.keys.manifest(generation)
    content = manifest.to_bytes()
    if not store.create(key, content) or store.read(key) != content:
        return _yield_to_winner(order, store, manifest)
    return PullOutcome(manifest, key, committed=True)


def _publish(order: PullOrder, store: Store, generation: int, index: int, staged: StagedPart) -> Part:
    key = order.keys.part(generation, index, staged.sha256, order.part_format.extension)
    store.publish(staged.staged_key, key)
    return staged.published_as(key)


def _next_manifest(
    order: PullOrder, committed: Commit | None, parts: tuple[Part, ...], records_sha256: str, fetch: ReadTally
) -> Manifest:
    record_count = sum(part.record_count for part in parts)
    manifest = Manifest(
        query=order.query,
        window=order.run_window.window,
        window_rule=order.run_window.rule,
        partition_date=order.run_window.partition_date,
        file_format=order.part_format.file_format,
        compression=order.part_format.compression,
        record_count=record_count,
        added_count=record_count,
        records_sha256=records_sha256,
        parts=parts,
        fetch=fetch,
        verified="recount" if order.recount else None,
    )
    if committed is None:
        return manifest
    return manifest.succeeding(committed.manifest, committed.sha256, replace=order.replace)


def _yield_to_winner(order: PullOrder, store: Store, mine: Manifest) -> PullOutcome:
    """Another run created this generation first: agree when it holds the same, else say so."""
    winner = latest_commit(store, order.keys)
    if winner is not None and winner.manifest.says_the_same_as(mine):
        return PullOutcome(winner.manifest, winner.key, committed=False)
    raise CommitConflictError(
        f"Another run committed {mine.window} first, with other records. Run the window again to add what is missing.",
        key=order.keys.manifest(mine.generation),
    )


def _remove_superseded(order: PullOrder, store: Store, manifest: Manifest) -> None:
    """Remove parts of this generation and older ones that the manifest in force does not name.

    They were replaced, or published by a try that died before its manifest. Nobody can commit them any more, because
    a manifest is only ever created for a later generation. A store that refuses leaves them to the next run.
    """
    named = {part.key for part in manifest.parts}
    keys = order.keys
    with suppress(StorageError):
        unnamed = [key for key in store.list_keys(keys.partition) if key not in named]
        generations = [(key, keys.part_generation(key)) for key in unnamed]
        store.remove([key for key, found in generations if found is not None and found <= manifest.generation])


def _remove_staged(order: PullOrder, store: Store, stager: Stager) -> None:
    """Remove what this try staged. A store that refuses leaves debris no reader sees; the outcome stands either way."""
    with suppress(StorageError):
        stager.discard()
        store.remove([_marker(order)])
