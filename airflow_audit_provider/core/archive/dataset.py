"""Dataset descriptor of a destination: which audit log it holds, and in which form.

One destination holds one dataset. A filter that is left in for a day, or another account, would otherwise leave a hole
that no gap shows.

Invariant: the descriptor is a function of any manifest of its dataset, so equal datasets have equal bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.manifest import Manifest, canonical_json
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.archive.security_lake import SecurityLake, read_arguments, stream_of
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError, VerificationError

DATASET_VERSION = 1
_RAW = "raw"


class DatasetPrivacy(msgspec.Struct, frozen=True):
    """The privacy rule of a dataset, as its manifests state it, without the version of its implementation."""

    name: str
    pseudonymise: tuple[str, ...]
    drop: tuple[str, ...]
    key_id: str | None

    def removes_at_least(self, other: DatasetPrivacy | None) -> bool:
        """Returns whether this rule pseudonymizes and drops everything that another one does, with any key."""
        if other is None:
            return True
        return set(self.pseudonymise) >= set(other.pseudonymise) and set(self.drop) >= set(other.drop)

    def __str__(self) -> str:
        replaced = f"pseudonymise {' and '.join(self.pseudonymise) or 'nothing'}"
        key = f", key {self.key_id}" if self.key_id else ""
        return f"{self.name} ({replaced}, drop {', '.join(self.drop) or 'nothing'}{key})"


class _Fact(NamedTuple):
    """One property in which datasets differ: its name in words, its value, and the value as text."""

    name: str
    value: object
    text: str


class Dataset(msgspec.Struct, frozen=True):
    """Properties that all windows of a destination have in common.

    Compression, the minor version of the schema and the length of windows may change within a dataset: no record is
    missing from a query because of them. ``schema_major`` is 1 for the schema ``raw``, and ``layout`` is missing for
    the ordinary layout.
    """

    query: AuditQuery
    file_format: str
    schema: str
    schema_major: int
    privacy: DatasetPrivacy | None
    dataset_version: int = DATASET_VERSION
    # Omitted from the bytes when unset, so that a descriptor without it has the bytes it had before it existed.
    layout: SecurityLake | UnsetType = UNSET

    def to_bytes(self) -> bytes:
        """Returns the descriptor's canonical bytes, see :func:`canonical_json`."""
        return canonical_json(self)

    def __str__(self) -> str:
        return ", ".join(f"{fact.name} {fact.text}" for fact in self._facts() if fact.value is not UNSET)

    def differences_from(self, other: Dataset) -> list[str]:
        """Returns each property in which this dataset differs from another one, as ``filters a=b, not none``."""
        pairs = zip(self._facts(), other._facts(), strict=True)
        return [f"{mine.name} {mine.text}, not {theirs.text}" for mine, theirs in pairs if mine.value != theirs.value]

    def as_erased(self, window: Dataset) -> Dataset:
        """Returns what an erased window of this dataset has to be: it may have a privacy rule that removes more.

        ``window`` is the dataset that the erased window belongs to.
        """
        removes_enough = window.privacy is not None and window.privacy.removes_at_least(self.privacy)
        return msgspec.structs.replace(self, privacy=window.privacy) if removes_enough else self

    def _facts(self) -> tuple[_Fact, ...]:
        query = self.query
        schema = self.schema if self.schema == _RAW else f"{self.schema} {self.schema_major}"
        filters = ", ".join(f"{name}={value}" for name, value in query.filters) or "none"
        log = f"{query.scope} {query.scope_id}" if query.scope_id else f"the {query.scope}"
        return (
            _Fact("API version", query.version, str(query.version)),
            _Fact("audit log", (query.scope, query.scope_id), log),
            _Fact("filters", query.filters, filters),
            _Fact("file format", self.file_format, self.file_format),
            _Fact("schema", (self.schema, self.schema_major), schema),
            _Fact("privacy rule", self.privacy, str(self.privacy or "none")),
            _Fact("layout", self.layout, str(self.layout or "hive")),
        )


def dataset_with(
    query: AuditQuery,
    file_format: str,
    schema: str,
    schema_version: str,
    privacy: MaybeAppliedPrivacy,
    layout: SecurityLake | UnsetType = UNSET,
) -> Dataset:
    """Returns the dataset of a query that is written in a form; ``schema_version`` is ``major.minor``."""
    major = int(schema_version.split(".", maxsplit=1)[0])
    return Dataset(query, file_format, schema, major, dataset_privacy(privacy), layout=layout)


def dataset_privacy(applied: MaybeAppliedPrivacy) -> DatasetPrivacy | None:
    """Returns what a dataset states of a manifest's privacy rule, None without one."""
    if not applied:
        return None
    return DatasetPrivacy(applied.name, applied.pseudonymise, applied.drop, applied.key_id)


def lake_for(query: AuditQuery, given: Any, destination: str) -> SecurityLake:
    """Returns where the parts of a log go in Security Lake; ``given`` is the argument ``security_lake`` of a task.

    ``destination`` is the URI of the place of the manifests, without a connection.
    """
    return read_arguments(given, query.scope_id, stream_of(query.version, canonical_json(query), destination))


def dataset_of(manifest: Manifest) -> Dataset:
    """Returns the dataset that a manifest's window belongs to."""
    table = manifest.table
    schema, version = (table.schema, table.version) if table else (_RAW, "1.0")
    return dataset_with(manifest.query, manifest.file_format, schema, version, manifest.privacy, manifest.layout)


def of_version(dataset: Dataset, version: str) -> Dataset:
    """Returns the same dataset for another version of the API."""
    query = msgspec.structs.replace(dataset.query, version=ApiVersion(version))
    return msgspec.structs.replace(dataset, query=query)


def read_dataset(content: bytes) -> Dataset:
    """Decodes a descriptor; raises ``VerificationError`` if the bytes are damaged or of another version."""
    try:
        dataset = msgspec.json.decode(content, type=Dataset)
    except (msgspec.DecodeError, ValueError, RecursionError, ConfigurationError) as error:
        raise VerificationError(
            f"The dataset descriptor {DATASET_KEY} cannot be decoded ({error}). Restore it from a copy, or remove it: "
            "the next run creates it from the newest window."
        ) from error
    if dataset.dataset_version != DATASET_VERSION:
        raise VerificationError(
            f"The dataset descriptor {DATASET_KEY} has version {dataset.dataset_version}, which this release of the "
            "provider does not support. Upgrade airflow-audit-provider."
        )
    return dataset


def check_one_dataset(held: Dataset, pulled: Dataset, key: str, *, is_erasure: bool = False) -> None:
    """Raises ``CommitConflictError`` if a destination holds another dataset than the one to pull.

    ``key`` is the object that states which dataset it holds.
    """
    differences = (held.as_erased(pulled) if is_erasure else held).differences_from(pulled)
    if differences:
        raise CommitConflictError(
            f"The destination holds another dataset than this pull ({key}): {'; '.join(differences)}. Nothing of "
            "this run is visible. Use another destination for this pull, or correct its arguments. Not even "
            "replace=True changes the dataset of a destination.",
            key=key,
        )
