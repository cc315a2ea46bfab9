"""Writes API records as a file in Logpush's own form: the fields, names, times and format of the job's files.

Invariant: equal records in one layout have equal bytes, so that a repair that is run again writes the same file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, is_undated, mapping_of
from airflow_audit_provider.core.verification.reconcile.content import canonical
from airflow_audit_provider.core.verification.reconcile.fields import DATASETS, Column, Kind
from airflow_audit_provider.formats.compression import open_compressor
from airflow_audit_provider.formats.logpush.files import LogLayout
from airflow_audit_provider.formats.logpush.times import TimeForm

_MISSING = object()


def default_layout(version: ApiVersion) -> LogLayout:
    """Returns the layout of a job with all fields in the dashboard's default form, for an archive without a row."""
    return LogLayout(DATASETS[version].field_names, TimeForm())


def log_file(
    version: ApiVersion, layout: LogLayout, renames: Mapping[str, str], records: Iterable[AuditRecord]
) -> bytes:
    """Returns the bytes of a file with these records; ``renames`` is the Logpush name of each name in the layout."""
    names = [renames.get(name, name) for name in layout.names]
    rows = (_row(version, names, record, layout.time_form) for record in records)
    if layout.delimiter:
        lines = [layout.delimiter.join(map(_cell, row)) for row in rows]
        lines = [*([layout.delimiter.join(layout.names)] if layout.has_header else []), *lines]
    else:
        lines = [_json(dict(zip(layout.names, row, strict=True))) for row in rows]
    compressor = open_compressor("gzip")
    content = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    return compressor.compress(content) + compressor.flush()


def _row(version: ApiVersion, names: Sequence[str], record: AuditRecord, time_form: TimeForm) -> list[Any]:
    """Returns the values of a record; "" for a field that only Logpush has, and for a time that the record lacks."""
    dataset, fields = DATASETS[version], mapping_of(record.raw)
    time = "" if is_undated(record) else time_form.write(record.event_ns)
    values: dict[str, Any] = {dataset.id_field: record.id, dataset.time_field: time}
    for column in dataset.columns:
        if column.kind is not Kind.TIME:
            _put(values, column, fields)
    return [values.get(name, "") for name in names]


def _put(values: dict[str, Any], column: Column, fields: Mapping[str, Any]) -> None:
    value = _at(fields, column.path)
    if column.other_path and (value is _MISSING or not canonical(value)):
        value = _at(fields, column.other_path)
    if not column.part:
        values[column.name] = "" if value in (_MISSING, None) else value
        return
    parts = values.setdefault(column.name, {})
    if value is not _MISSING:
        parts[column.part] = value


def _at(fields: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = fields
    for name in path:
        value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def _cell(value: Any) -> str:
    """Returns a value as Logpush writes it in CSV: texts in quotes, numbers and truth values without."""
    if isinstance(value, bool | int | float):
        return _json(value)
    text = value if isinstance(value, str) else _json(value)
    return '"' + text.replace('"', '""') + '"'


def _json(value: Any) -> str:
    # ASCII, because a record can hold half a surrogate pair, which UTF-8 cannot express.
    return json.dumps(value, separators=(",", ":"))
