"""What ``coverage --json`` prints is valid under the published JSON Schema."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY, Stitching
from tests.architecture.source_files import PROJECT
from tests.pipelines.verify.dataset import DAY_1, commit, records_in, two_days, window

SCHEMA = json.loads((PROJECT / "docs/reference/coverage.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def printed(capsys: pytest.CaptureFixture[str], destination: Path, *arguments: str) -> dict[str, Any]:
    """Runs the command, and returns the JSON that it printed; the schema names each field of it."""
    main(["coverage", str(destination), "--json", *arguments])
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    VALIDATOR.validate(values)
    assert values.keys() <= SCHEMA["$defs"]["PublishedCoverage"]["properties"].keys()
    for one in values["datasets"]:
        assert one.keys() == SCHEMA["$defs"]["DatasetCoverage"]["properties"].keys()
        assert one["coverage"].keys() == SCHEMA["$defs"]["Coverage"]["properties"].keys()
    return values


def test_json_of_any_destination_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No dataset, two of them with each state, one verified and one without its descriptor: all are valid."""
    assert printed(capsys, tmp_path) == {"datasets": []}
    for name in ("a", "b"):
        store = LocalStore(str(tmp_path / name))
        two_days(store)
        assert main(["verify", str(tmp_path / name)]) == 0
        commit(store, window(5), records_in(window(5), 1))
    (tmp_path / "b" / DATASET_KEY).unlink()
    capsys.readouterr()
    values = printed(capsys, tmp_path, "--start", "2026-10-25", "--end", "2199-01-01")
    states = {span["state"] for one in values["datasets"] for span in one["coverage"]["spans"]}
    assert {"committed", "empty", "missing", "pending"} <= states
    assert [one["has_descriptor"] for one in values["datasets"]] == [True, False]
    assert all(one["verified"]["last_passed_at"] for one in values["datasets"])


def test_json_of_a_stitched_history_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The descriptor of the history is in it."""
    store = LocalStore(str(tmp_path))
    two_days(LocalStore(str(tmp_path / "v1")))
    stitching = Stitching("0" * 32, (), DAY_1 + timedelta(days=1), 3600)
    store.create(STITCHING_KEY, stitching.to_bytes())
    values = printed(capsys, tmp_path)
    assert values["stitched"]["overlap_seconds"] == 3600
    assert values["stitched"].keys() == SCHEMA["$defs"]["Stitching"]["properties"].keys()
