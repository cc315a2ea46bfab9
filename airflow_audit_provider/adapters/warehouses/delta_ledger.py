"""Load ledger of a Delta table: application transactions in its log, read without an engine.

A Delta log keeps, for each application id, the last version that the application committed; checkpoints keep it, too.
A load commits two of them with its rows: a claim, by which any two loads of a window conflict, and an entry whose id
holds the facts. deltalake tells the version of one id, not which ids there are, so the log is read here.

Invariant: after ``read_to(version)`` the ledger is that of this version, whatever was cleaned from the log before it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

from airflow_audit_provider.adapters.warehouses.ledger_text import (
    entry_of_value,
    ledger_value,
    name_digest,
    window_name,
)
from airflow_audit_provider.core.archive.object_keys import window_in
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadClaim
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_CLAIM, _ENTRY = "audit.claim", "audit.load"
_LOG = "_delta_log"
# "Checkpoints" in Delta's protocol: one file, several parts, or a file with a unique name, as Parquet or JSON.
_CHECKPOINT = re.compile(
    r"(?P<version>\d{20})\.checkpoint(\.(?P<part>\d{10})\.(?P<parts>\d{10})|\.[0-9a-f-]{36})?\.(parquet|json)", re.ASCII
)


class LedgerTransactions(NamedTuple):
    """The application ids of a load; both have the load number as their version."""

    claim_id: str
    entry_id: str
    load_number: int


class DeltaLedger:
    """The ledger of a table; ``files`` is a pyarrow file system in the table's folder."""

    def __init__(self, files: Any, name: str) -> None:
        self.name = name
        self._files = files
        self._prefix = f"{_ENTRY}.{name}."
        self._claims = f"{_CLAIM}.{name}."
        self._version = -1
        # The digest of the last commit that was read, None if a checkpoint stood for it.
        self._last_sha256: str | None = None
        # The newest entry of each window: its load number, and its text with a suffix for the attempt.
        self._newest: dict[str, tuple[int, str]] = {}

    def read_to(self, version: int) -> None:
        """Reads the log from the last version read to this one; from a checkpoint if it has been cleaned."""
        while self._version < version:
            try:
                content = self._commit(self._version + 1)
            except FileNotFoundError:
                self._read_checkpoint()
                continue
            self._add(_in_lines(content))
            self._last_sha256 = hashlib.sha256(content).hexdigest()
            self._version += 1

    def has_its_last_commit(self) -> bool:
        """Returns whether the log still has the last commit that was read; if not, it was cleaned, or is another."""
        try:
            return self._last_sha256 == hashlib.sha256(self._commit(self._version)).hexdigest()
        except FileNotFoundError:
            return False

    def _commit(self, version: int) -> bytes:
        return self._content(f"{_LOG}/{version:020}.json")

    def _content(self, path: str) -> bytes:
        with self._files.open_input_file(path) as file:
            content: bytes = file.read()
        return content

    def _read_checkpoint(self) -> None:
        """Reads the newest whole checkpoint; raises ``FileNotFoundError`` unless it is newer than what is read."""
        from pyarrow.fs import FileSelector

        names = [file.base_name for file in self._files.get_file_info(FileSelector(_LOG))]
        version, paths = _newest_checkpoint(names)
        if version <= self._version:
            raise FileNotFoundError(f"{_LOG}/{self._version + 1:020}.json, and no checkpoint after it")
        self._newest = {}
        for name in paths:
            content = self._content(f"{_LOG}/{name}")
            self._add(_in_lines(content) if name.endswith(".json") else _in_parquet(content))
        self._version, self._last_sha256 = version, None

    def _add(self, transactions: Iterable[tuple[str, int]]) -> None:
        for app_id, load_number in transactions:
            if app_id.startswith(self._prefix):
                key, _, text = app_id.removeprefix(self._prefix).partition("#")
                if load_number >= self._newest.get(key, (0, ""))[0]:
                    self._newest[key] = load_number, text

    def entries(self, dataset: str, within: TimeWindow | None = None) -> list[LedgerEntry]:
        """Returns the newest entry of every window of a dataset, or of those that overlap a range."""
        prefix = f"{name_digest(dataset)}."
        keys = [key for key in self._newest if key.startswith(prefix)]
        found = [self._entry(key) for key in keys]
        return [entry for entry in found if within is None or entry.window.overlaps(within)]

    def window_count(self, dataset: str) -> int:
        """Returns the number of windows of a dataset."""
        prefix = f"{name_digest(dataset)}."
        return sum(key.startswith(prefix) for key in self._newest)

    def load_number(self, claim: LoadClaim) -> int:
        """Returns the number of the last load of a claim's window, 0 if there is none."""
        return self._newest.get(_key(claim), (0, ""))[0]

    def _entry(self, key: str) -> LedgerEntry:
        window, text = window_in(key), self._newest[key][1].partition("#")[2]
        try:
            if window is None:
                raise ValueError("it names no window")
            return entry_of_value(window, text)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"The application id {self._prefix}{key} in the Delta log is not an entry of the load ledger "
                f"({error!r}): another program wrote it. Set the table property audit.ledger to "
                "another value, so that every window is loaded again."
            ) from error

    def transactions(self, claim: LoadClaim) -> LedgerTransactions:
        """Returns the transactions of one attempt to load a claim."""
        key = _key(claim)
        entry_id = f"{self._prefix}{key}#{uuid4().hex}#{ledger_value(claim.entry)}"
        return LedgerTransactions(f"{self._claims}{key}", entry_id, claim.entry.load_number)

    def has(self, claim: LoadClaim, transactions: LedgerTransactions) -> bool:
        """Returns whether the newest entry of a claim's window is that of this attempt."""
        key = _key(claim)
        return f"{self._prefix}{key}#{self._newest.get(key, (0, ''))[1]}" == transactions.entry_id


def _key(claim: LoadClaim) -> str:
    return f"{name_digest(claim.dataset)}.{window_name(claim.window)}"


def _in_lines(content: bytes) -> Iterator[tuple[str, int]]:
    """Yields the application transactions in a commit, or in a checkpoint that is JSON."""
    for line in content.splitlines():
        if b'"txn"' in line:
            found = json.loads(line).get("txn")
            if found:
                yield found["appId"], found["version"]


def _in_parquet(content: bytes) -> Iterator[tuple[str, int]]:
    """Yields the application transactions in a checkpoint, one row group at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(pa.BufferReader(content))
    if "txn" not in file.schema_arrow.names:
        return
    for rows in file.iter_batches(columns=["txn"], use_threads=False):
        column = rows.column(0)
        for found in column.filter(column.is_valid()).to_pylist():
            if found and found["appId"] is not None:
                yield found["appId"], found["version"]


def _newest_checkpoint(names: Iterable[str]) -> tuple[int, list[str]]:
    """Returns version and file names of the newest checkpoint of which all parts are there; version -1 if none is."""
    parts: dict[tuple[int, int], list[str]] = {}
    for name in names:
        found = _CHECKPOINT.fullmatch(name)
        if found:
            parts.setdefault((int(found["version"]), int(found["parts"] or 1)), []).append(name)
    whole = {key: sorted(names) for key, names in parts.items() if key[1] == 1 or len(names) == key[1]}
    if not whole:
        return -1, []
    newest = max(whole)
    return newest[0], whole[newest] if newest[1] > 1 else whole[newest][:1]
