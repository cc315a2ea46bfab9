"""The reconcile operator repairs an archive and hands over what the dataset lacks."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.operators.reconcile import CloudflareLogpushReconcileOperator
from airflow_audit_provider.testing.logpush import LogpushFaults, LogpushOptions
from tests.pipelines.pull.landing import END, START
from tests.pipelines.reconcile.archives import Account, landed_account, stored


def landing(start: datetime, end: datetime, partition_by: str | None) -> dict[str, str | None]:
    """Returns the arguments of a land task."""
    bounds = {"window_start": start.isoformat(), "window_end": end.isoformat()}
    return {**bounds, "partition_by": partition_by, "timezone": "UTC"}


def execute(account: Account, **arguments: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Runs the operator; returns its result and its summary."""
    pushed: dict[str, Any] = {}

    class Instance:
        def xcom_push(self, key: str, value: Any) -> None:
            """Keeps a value."""
            pushed[key] = value

    operator = CloudflareLogpushReconcileOperator(
        task_id="reconcile",
        destination=f"file://{account.folder}/dataset",
        archive=f"file://{account.folder}/archive-0",
        **arguments,
    )
    return operator.execute({"ti": Instance()}), pushed["summary"]


def test_operator_repairs_and_hands_over_uncommitted_spans(tmp_path: Path) -> None:
    """Missing records are written once, and a day that is not committed is the argument of a land task."""
    account = landed_account(tmp_path, per_day=60)
    made, _ = account.archive(LogpushFaults(drop=0.2), LogpushOptions())
    lost = made.truth.missing & account.truth().keys()
    bounds = {"start": START.isoformat(), "end": (END + timedelta(days=1)).isoformat()}
    spans, summary = execute(account, repair_to=f"file://{tmp_path}/repaired", **bounds)
    assert summary["missing_there_count"] == len(lost) > 0
    assert spans == [landing(END, END + timedelta(days=1), "day")]
    spans, summary = execute(account, repair_to=f"file://{tmp_path}/repaired")
    assert (spans, summary["is_equal"], summary["repaired_count"]) == ([], True, len(lost))


def test_operator_hands_over_windows_that_lack_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window without a row of the archive is read again; of a span, only whole windows are landed, up to a bound."""
    account = landed_account(tmp_path, per_day=20)
    stored(tmp_path / "archive-0", {"a.log": b'{"ID":"late","When":"2026-10-26T12:00:00Z"}\n'})
    hours = timedelta(hours=30)
    bounds = {"start": START - hours, "end": END + timedelta(minutes=90)}
    again, before = landing(START, END, None), landing(START - timedelta(days=1), START, "day")
    assert execute(account, **bounds)[0] == [before, again]
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    spans, summary = execute(account, **bounds, division="hour")
    assert spans == [landing(START - hours, START, "hour"), landing(END, END + timedelta(hours=1), "hour")]
    assert (summary["missing_here_count"], summary["is_equal"]) == (1, False)


def test_operator_refuses_to_repair_with_pseudonyms_before_it_reads(tmp_path: Path) -> None:
    """With a privacy rule in the dataset, the task fails before it has read the archive."""
    request = read_privacy({"drop": ["metadata"]})
    assert request is not None
    account = landed_account(tmp_path, per_day=20, privacy=PrivacyRule(request))
    stored(tmp_path / "archive-0", {"notes.txt": b"no row\n"})
    with pytest.raises(AirflowFailException, match="has a privacy rule"):
        execute(account, repair_to=f"file://{tmp_path}/repaired")


def test_operator_compares_pseudonyms_with_their_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule of the land task a changed address is found, without it none is, and another key is refused."""
    rule = {"conn_id": "privacy_key", "pseudonymise": ["email"]}
    request = read_privacy(rule)
    assert request is not None
    account = landed_account(tmp_path, per_day=40, privacy=PrivacyRule(request, b"k" * 32))
    made, _ = account.archive(LogpushFaults(), LogpushOptions())
    key = next(key for key in made.files if "20261026T12" in key)
    stored(tmp_path / "archive-0", {key: gzip.compress(gzip.decompress(made.files[key]).replace(b"@", b"@other."))})
    assert execute(account)[1]["is_equal"]
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": "k" * 32}))
    assert execute(account, privacy=rule)[1]["differing_count"] > 0
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": "o" * 32}))
    with pytest.raises(AirflowFailException, match="cannot be compared under the privacy rule that you gave"):
        execute(account, privacy=rule)


def test_operator_refuses_impossible_uris(tmp_path: Path) -> None:
    """A wrong URI of the archive fails when the DAG is parsed."""
    with pytest.raises(ConfigurationError):
        CloudflareLogpushReconcileOperator(task_id="a", destination=f"file://{tmp_path}", archive="s3://logs/a#b")
