"""The command detect: what it finds, and back-tests as text, as JSON of the published schema, and as HTML."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from airflow_audit_provider.cli.__main__ import main
from tests._airflow.report.parsed import parsed
from tests.architecture.source_files import PROJECT
from tests.pipelines.detect.detecting import given
from tests.pipelines.detect.sigma_place import HOUR, SigmaPlace, action
from tests.pipelines.verify.dataset import DAY, DAY_1, PLAIN, commit, window

pytestmark = pytest.mark.integration
SCHEMA = json.loads((PROJECT / "docs/reference/backtest-report.schema.json").read_text())


@pytest.fixture
def place(tmp_path: Path) -> SigmaPlace:
    """A destination with a deleted zone, a purge and a login."""
    made = SigmaPlace(tmp_path)
    made.land_three()
    return made


def command(place: SigmaPlace, *options: str) -> list[str]:
    """Returns the command with the rules of the place."""
    return ["detect", place.uri, "--rules", str(place.rules), *options]


def test_detect_gives_alerts_once(place: SigmaPlace, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run lists the alerts as text without control characters, the second one finds none."""
    assert main(command(place, "--run-back", "10000")) == 0
    first = capsys.readouterr().out
    assert "[high] Rule of zone_delete" in first
    assert "2 alerts" in first
    assert main(command(place, "--run-back", "10000")) == 0
    assert capsys.readouterr().out == "no new alerts\n"
    assert len(given(place.store)) == 2


def test_detect_dry_run_prints_what_the_schema_says(
    place: SigmaPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A back-test prints a valid document and writes a page that runs nothing, and changes no object."""
    before = list(place.store.list_keys(""))
    out = tmp_path / "backtest.html"
    assert main(command(place, "--dry-run", "--json", "--html", str(out), "--minutes-per-alert", "30")) == 0
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, SCHEMA)
    assert (report["alert_count"], report["window_count"], report["hours_per_week"]) == (2, 1, 14.0)
    assert list(place.store.list_keys("")) == before
    assert [row[0] for row in parsed(out).tables["Rules"][1:]] == ["Rule of zone_delete", "Rule of purge"]
    assert not parsed(out).wrong


def test_detect_dry_run_of_a_range_reads_its_windows(place: SigmaPlace, capsys: pytest.CaptureFixture[str]) -> None:
    """A range without a committed window has no alert; text and sums say so."""
    assert main(command(place, "--dry-run", "--start", "2026-11-01", "--end", "2026-11-02")) == 0
    assert "0, 0.00 a day" in capsys.readouterr().out


def test_detect_with_a_range_needs_dry_run(place: SigmaPlace, capsys: pytest.CaptureFixture[str]) -> None:
    """Bounds without a back-test are refused before anything is read."""
    assert main(command(place, "--start", "2026-11-01")) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_detect_with_a_damaged_window_prints_the_alerts_of_the_others(
    place: SigmaPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The alerts of a run are printed once, before the error of the window that cannot be read."""
    at = DAY_1 + DAY + HOUR
    commit(place.store, window(1), [action(at, "other", "zone_delete")], format_=PLAIN)
    part = next(key for key in place.store.list_keys("dt=2026-10-26/"))
    place.store.put(part, b"damaged")
    assert main(command(place, "--run-back", "10000")) == 1
    out = capsys.readouterr().out
    assert "record: other" in out
    assert "differs from its manifest" in out
    assert main(command(place, "--run-back", "10000")) == 1
    assert "differs from its manifest" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["-1", "1e9", "nan", "x"])
def test_detect_refuses_a_length_that_no_calendar_has(place: SigmaPlace, days: str) -> None:
    """A negative or immense number of days is refused by the parser."""
    with pytest.raises(SystemExit):
        main(command(place, f"--run-back={days}"))
