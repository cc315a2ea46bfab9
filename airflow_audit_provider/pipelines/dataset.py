"""Reads and claims the dataset of a destination; see ``core/archive/dataset``.

Invariant: the descriptor is created before the first manifest and never overwritten. Of two first commits with
different queries, the create-only write lets one through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from airflow_audit_provider.core.archive.dataset import Dataset, check_one_dataset, dataset_of, read_dataset
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.archive.security_lake import SecurityLake
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY, stream_folder
from airflow_audit_provider.core.limits import HIVE, SECURITY_LAKE
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.formats.options import OCSF_1_3, RAW, check_layout
from airflow_audit_provider.formats.part_format import PartFormat, part_format
from airflow_audit_provider.pipelines.committed import read_committed


def read_descriptor(store: Store, digest: str | None, expected: Dataset | None) -> bytes | None:
    """Returns the descriptor, None if there is none; reads it unless its digest is that of the expected one.

    ``digest`` is what the store states, None if it states nothing. Equal datasets have equal bytes, so reading an
    expected descriptor shows nothing else.
    """
    content = expected.to_bytes() if expected is not None and digest is not None else None
    is_expected = content is not None and digest == hashlib.md5(content, usedforsecurity=False).hexdigest()
    return content if is_expected else store.read(DATASET_KEY)


def lake_in(descriptor: bytes | None) -> SecurityLake | None:
    """Returns where the dataset's parts are in Security Lake, None for the ordinary layout.

    A descriptor that cannot be read states nothing; the check of the dataset reports the damage.
    """
    try:
        return (read_dataset(descriptor).layout or None) if descriptor is not None else None
    except VerificationError:
        return None


def check_dataset(store: Store, pulled: Dataset) -> None:
    """Raises ``CommitConflictError`` if the destination holds another dataset."""
    check_held_dataset(store, store.read(DATASET_KEY), pulled)


def check_held_dataset(
    store: Store, descriptor: bytes | None, pulled: Dataset, *, is_erasure: bool = False, is_empty: bool = False
) -> None:
    """Raises ``CommitConflictError`` if the destination of a descriptor holds another dataset.

    An erasure may have another privacy rule. Without a descriptor the newest window decides: a version
    before 1.0.0rc1 wrote it, or the descriptor was removed. An empty destination has no window.
    """
    if descriptor is not None:
        check_one_dataset(read_dataset(descriptor), pulled, DATASET_KEY, is_erasure=is_erasure)
        return
    newest = {} if is_empty else newest_manifests(store.list_keys(MANIFEST_FOLDER))
    if newest:
        committed = read_committed(store, newest[max(newest)])
        check_one_dataset(dataset_of(committed.manifest), pulled, committed.key, is_erasure=is_erasure)


def check_no_root(store: Store, version: str) -> None:
    """Raises ``CommitConflictError`` if the destination is the root of a stitched history, which holds no window."""
    if store.read(STITCHING_KEY) is None:
        return
    raise CommitConflictError(
        "The destination is the root of a stitched history, which holds the windows of each version of the API in a "
        "folder of its own, so nothing was read or written. Set history='stitched' in the task, with the cut_over of "
        f"this history, or land version {version} alone into the folder {stream_folder(version)} below it.",
        key=STITCHING_KEY,
    )


def claim_dataset(store: Store, pulled: Dataset) -> None:
    """Creates the descriptor; raises ``CommitConflictError`` if another run created it for another dataset."""
    if not store.create(DATASET_KEY, pulled.to_bytes()):
        check_dataset(store, pulled)


def form_upon(
    held: Dataset | None,
    file_format: str | None,
    compression: str | None,
    schema: str | None,
    ocsf_severity: Mapping[str, str] | None = None,
    layout: str = HIVE,
) -> PartFormat:
    """Returns the form of a pull: what is None is that of the dataset that the destination holds, or the default.

    The default is Parquet with OCSF 1.3 in Security Lake, else raw JSON Lines.
    """
    defaults = ("parquet", OCSF_1_3) if layout == SECURITY_LAKE else ("jsonl", RAW)
    if held is not None:
        defaults = held.file_format, held.schema
    file_format, schema = file_format or defaults[0], schema or defaults[1]
    check_layout(layout, file_format, compression, schema)
    return part_format(file_format, compression, schema, ocsf_severity)
