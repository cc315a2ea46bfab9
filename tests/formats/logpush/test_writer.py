"""A file that a repair writes has the content of its records, in every form and for every record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, at_time, read_records
from airflow_audit_provider.core.verification.reconcile.comparison import ArchiveFile, Comparison
from airflow_audit_provider.core.verification.reconcile.fields import DATASETS
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.logpush.files import ArchiveForm, LogFile, LogLayout
from airflow_audit_provider.formats.logpush.times import TimeForm
from airflow_audit_provider.formats.logpush.writer import log_file

WHEN = "2026-10-26T12:00:00.25Z"
START = datetime(2026, 10, 26, tzinfo=UTC)
TEXTS = [
    "",
    "a",
    'q"uo,te',
    "two\nlines\t|;",
    "${jndi:x}",
    "\ud800",
    "{",
    '{"a": 1}',
    "[]",
    "null",
    "true",
    "7",
    " x ",
    "\r",
]
VALUES: list[Any] = [
    *TEXTS,
    None,
    True,
    False,
    7,
    2**70,
    1.5,
    {},
    [],
    {"b": [1, None], "a": "\u00fc\n"},
    [{}],
    {"": ""},
]
FORMS = {
    "ndjson": ("", False),
    "csv": (",", True),
    "tsv": ("\t", False),
    "semicolons": (";", True),
}


def records_of(version: ApiVersion) -> list[AuditRecord]:
    """Returns records in which each compared field has each value once, and one without a time."""
    raws = []
    for number, value in enumerate(VALUES):
        record: dict[str, Any] = {}
        for column in DATASETS[version].columns:
            inner = record
            for name in column.path[:-1]:
                inner = inner.setdefault(name, {})
            inner[column.path[-1]] = value
        for name in ("newValue", "oldValue"):
            record[name] = VALUES[-number]
        raws.append({**record, "id": f"id-{number}"})
    for number, raw in enumerate(raws):
        raw.update({"when": WHEN} if version == "v1" else {"action": {**raw["action"], "time": WHEN}})
        if number == 1:
            raw.update({"when": "soon"} if version == "v1" else {"action": {**raw["action"], "time": "soon"}})
    read = read_records(version, [json.dumps(raw).encode() for raw in raws])
    return [one if one.event_ns else at_time(one, read[0].event_ns) for one in read]


@pytest.mark.parametrize("time_form", [TimeForm(), TimeForm("unix", is_text=True), TimeForm("unixnano")])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("version", list(ApiVersion))
def test_written_file_has_the_content_of_its_records(version: ApiVersion, form: str, time_form: TimeForm) -> None:
    """What is read from a written file is each record once, equal in every field."""
    dataset, (delimiter, has_header) = DATASETS[version], FORMS[form]
    # UTF-8 has no half surrogate pair; JSON writes it as an escape.
    records = [one for one in records_of(version) if not (delimiter and b"ud800" in one.raw)]
    layout = LogLayout(dataset.field_names, time_form, delimiter, has_header)
    file = LogFile(ArchiveForm(version, {}, dataset.field_names), log_file(version, layout, {}, records))
    window = TimeWindow(START, START + timedelta(days=1))
    comparison = Comparison(version, window, [window], SpillFile())
    comparison.add_committed(0, records)
    comparison.add_archived(ArchiveFile("a"), file.rows())
    comparison.finish()
    assert (file.foreign_lines, file.damage, file.row_count) == (0, "", len(records))
    (counts,) = comparison.counts
    assert [(one.id, one.columns) for one in comparison.lists.differing] == []
    assert (counts.record_count, counts.missing_there, counts.missing_here) == (len(records), 0, 0)
    assert comparison.undated_count == 0
