"""The command ``freshness`` prints what was measured, for people and as JSON under its published schema."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.windows.window import format_length
from tests._airflow.report.parsed import parsed
from tests.architecture.source_files import PROJECT
from tests.pipelines.history.arrivals import DAY, landed_nightly, late_records
from tests.pipelines.verify.dataset import commit, window

SCHEMA = json.loads((PROJECT / "docs/reference/freshness.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def printed(capsys: pytest.CaptureFixture[str], destination: Path, *arguments: str) -> dict[str, Any]:
    """Runs the command, and returns the JSON that it printed; the schema names each field of it."""
    assert main(["freshness", str(destination), "--json", *arguments]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    VALIDATOR.validate(values)
    for name, value in (("FreshnessReport", values), ("Lateness", values["lateness"])):
        assert value.keys() == SCHEMA["$defs"][name]["properties"].keys()
    return values


def test_json_with_and_without_late_records_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a record there are no quantiles; with some, but too few, there is no proposal."""
    store = LocalStore(str(tmp_path / "empty"))
    commit(store, window(1), [])
    empty = printed(capsys, tmp_path / "empty")
    assert (empty["freshness"]["last_event_at"], empty["lateness"]["at_most"]) == (None, None)
    landed_nightly(tmp_path / "late", late_records(1, 3, 60), 3, 2 * DAY)
    late = printed(capsys, tmp_path / "late", "--lookback", "48")["lateness"]
    assert late["at_least"]["p50"] <= late["at_most"]["p50"]
    assert (late["lookback"]["current"], late["lookback"]["proposed"]) == (172800, None)


def test_text_says_what_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Too few records, and lateness beyond the lookback, are stated with their numbers."""
    landed_nightly(tmp_path, late_records(1, 3, 60), 3, 2 * DAY)
    assert main(["freshness", str(tmp_path), "--lookback", "48"]) == 0
    text = capsys.readouterr().out
    for part in (
        "late records in",
        "lookback: too few records to propose a value",
        "of the 2,995 records",
        " % of all late records, future ones included, take longer to appear than the slowest measured one.",
        "These figures do not include records that came later than the lookback.",
        "later ones are likely",
    ):
        assert part in text


def test_coverage_and_report_show_how_late_records_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both have the quantiles and proposals that the command measures; coverage only if it is asked for."""
    landed_nightly(tmp_path / "a", late_records(1, 3, 60), 3, 2 * DAY)
    measured = printed(capsys, tmp_path / "a")["lateness"]
    page = tmp_path / "page.html"
    assert main(["coverage", str(tmp_path), "--freshness", "--json", "--html", str(page)]) == 0
    values = json.loads(capsys.readouterr().out)
    jsonschema.validate(values, json.loads((PROJECT / "docs/reference/coverage.schema.json").read_text()))
    assert values["lateness"] == {"a/": measured}
    assert parsed(page).tables["Lateness of late records"][2][4] == format_length(measured["at_most"]["p99_9"])
    assert main(["coverage", str(tmp_path), "--freshness"]) == 0
    longest = format_length(measured["at_most"]["p99_9"])
    assert f"99.9 % at most {longest}\nproposed for 99.9 % of the records" in capsys.readouterr().out
    assert main(["coverage", str(tmp_path), "--json"]) == 0
    assert "lateness" not in json.loads(capsys.readouterr().out)
    main(["report", str(tmp_path), "--out", str(page)])
    report = parsed(page)
    assert report.tables["Lateness of late records"][2][4] == longest
    assert [row[0] for row in report.tables["Proposals for 99.9 % of the records"][1:]] == ["settle_delay", "lookback"]


def test_missing_destination_is_a_problem_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a window gives exit status 1."""
    assert main(["freshness", str(tmp_path)]) == 1
    assert "Check its spelling" in capsys.readouterr().err


def test_windows_without_an_entry_in_the_commit_log_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a sweep has removed old entries, their windows are unknown."""
    history = landed_nightly(tmp_path, [], 3, timedelta(0), records_per_day=5)
    entries = list(history.store.list_keys("_commit_log/"))
    assert len(entries) == 4
    history.store.remove(entries[:2])
    assert printed(capsys, tmp_path)["lateness"]["unknown_count"] == 2
