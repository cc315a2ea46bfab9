"""Tests that version 1's export is CSV of all selected records."""

from __future__ import annotations

import csv
import io

import msgspec

from tests.testing.fake_requests import DAYS, END, START, V1, fake_with, get


def test_export_is_every_selected_record() -> None:
    """The export has one line a record, newest first, whatever the page size, and reads back as CSV."""
    fake = fake_with()
    answer = get(fake, V1, export="true", per_page=5, **DAYS["v1"])
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    truth = [msgspec.json.decode(row.raw) for row in fake.truth("v1", None, START, END)][::-1]
    assert [line["id"] for line in lines] == [record["id"] for record in truth]
    assert [line["when"] for line in lines] == [record["when"] for record in truth]
    assert [line["actor_email"] for line in lines] == [record["actor"].get("email", "") for record in truth]
    assert [line["metadata"] for line in lines] == [
        msgspec.json.encode(record["metadata"]).decode() for record in truth
    ]


def test_export_obeys_filters() -> None:
    """A filtered export holds the filtered records, and false is no export."""
    lines = get(fake_with(), V1, export="true", action__type="login", **DAYS["v1"]).body.decode().splitlines()
    assert len(lines) > 1
    assert all(",login," in line for line in lines[1:])
    assert get(fake_with(), V1, export="false", **DAYS["v1"]).headers["content-type"].startswith("application/json")
