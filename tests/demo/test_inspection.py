"""The demo passes only if the provider's commands find the gap, the late record and the changed byte."""

from __future__ import annotations

import io
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.core.windows.window import TimeWindow
from demo import audit, inspection
from demo.layout import Layout
from demo.narration import Narrator
from demo.scenes import Cast
from harness.cloudflare_account import CloudflareAccount
from tests.demo.landed_tree import land, record
from tests.pipelines.verify.dataset import commit, records_in

DAYS = [date(2026, 11, 1) + timedelta(days=number) for number in range(14)]
MANIFEST = b'{"added_count":19,"record_count":19,"records_sha256":"00"}'


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    """The demo in an empty folder, with the environment of the tests."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    narrator = Narrator(Console(file=io.StringIO(), width=100))
    account = CloudflareAccount("a", "t", None, "http://127.0.0.1/truth")
    return Cast(narrator, Layout(tmp_path), None, account, DAYS, timedelta())  # type: ignore[arg-type]  # no Airflow is asked here


def printed(cast: Cast) -> str:
    """Returns what the demo has printed."""
    sink = cast.narrator.console.file
    assert isinstance(sink, io.StringIO)
    return sink.getvalue()


def land_days(cast: Cast, *days: date) -> None:
    """Commits days with four records each, and a late record in the one of the demo."""
    store = store_from_uri(str(cast.layout.landed / "jsonl"))
    for day in days:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        window = TimeWindow(start, start + timedelta(days=1))
        commit(store, window, records_in(window, 4, f"{day}-"))
        if day == cast.late_day:
            commit(store, window, records_in(window, 1, "late"))


def test_one_digit_of_a_manifest_is_changed() -> None:
    """Of the manifest, one byte differs, the last digit of the record count; a manifest without one is an error."""
    other = audit.with_other_count(MANIFEST)
    assert other == b'{"added_count":19,"record_count":10,"records_sha256":"00"}'
    with pytest.raises(ValueError, match="record count"):
        audit.with_other_count(b"{}")


@pytest.mark.integration
def test_gap_is_the_one_that_was_made(cast: Cast) -> None:
    """One missing day is printed with the command that fills it; a second missing day is not as it must be."""
    land_days(cast, *cast.landed_days)
    assert inspection.show_gap(cast)
    assert f"--from-date {cast.gap} --to-date {cast.gap}" in printed(cast)
    for path in (cast.layout.landed / "jsonl" / "_manifests" / f"dt={DAYS[3]}").iterdir():
        path.unlink()
    assert not inspection.show_gap(cast)


@pytest.mark.integration
def test_changed_byte_is_found_in_the_copy_alone(cast: Cast) -> None:
    """Verify passes for what landed, and names the changed manifest of the copy."""
    land_days(cast, *DAYS[-4:])
    assert inspection.show_tampering(cast)
    assert "0 severe findings" in printed(cast)
    assert "generation_unchained" in printed(cast)
    assert audit.verify(cast.layout, cast.layout.landed / "jsonl").status == 0


@pytest.mark.integration
def test_copy_that_verify_passes_fails_the_demo(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no byte of the copy is changed, verify has no finding and the demo is not as it must be."""
    land_days(cast, *DAYS[-4:])
    monkeypatch.setattr(audit, "with_other_count", lambda manifest: manifest)
    assert not inspection.show_tampering(cast)


@pytest.mark.integration
def test_command_that_could_not_be_done_says_why(cast: Cast) -> None:
    """What the command printed is in the error with which the demo ends."""
    cast.layout.landed.mkdir(parents=True)
    (cast.layout.landed / "jsonl").write_text("no folder")
    with pytest.raises(audit.AuditFailedError, match=r"(?s)^The command coverage ended with \d:\n.* is a file"):
        inspection.show_gap(cast)


def test_late_record_must_be_in_a_second_generation(cast: Cast) -> None:
    """The late record counts as found only if both formats have a second generation of its day."""
    for each in ("jsonl", "parquet"):
        land(cast.layout.landed, each, [record(1)], day=cast.late_day.isoformat(), generation=2)
    assert inspection.show_late_record(cast)
    assert "generation 2 of jsonl and generation 2 of parquet" in printed(cast)
    for path in (cast.layout.landed / "parquet" / "_manifests").rglob("*.json"):
        path.unlink()
    assert not inspection.show_late_record(cast)
