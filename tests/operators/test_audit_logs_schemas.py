"""Tests of the arguments `schema` and `privacy`: what they write, reject early and keep out of logs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.exceptions import ConfigurationError
from tests.operators.task_setup import TaskSetup

KEY = "correct horse battery staple, 32+ bytes"
PRIVACY = {"conn_id": "{{ params.key }}", "drop": ["metadata"]}


@pytest.fixture
def task_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TaskSetup:
    """The default setup with a key in a connection."""
    found = TaskSetup(monkeypatch, tmp_path / "landed")
    found.connect("audit_privacy", {}, password=KEY)
    return found


@pytest.mark.integration
def test_schema_is_landed_and_named_in_the_summary(task_setup: TaskSetup) -> None:
    """The summary has the schema and the number of type mismatches."""
    summary = task_setup.land(schema="normalized")
    assert (summary["schema"], summary["type_mismatch_count"], summary["record_count"]) == ("normalized 1.0", 0, 300)
    (part,) = task_setup.destination.glob("dt=*/**/part-*.jsonl")
    rows = [json.loads(line) for line in part.read_text().splitlines()]
    assert [row["raw"].encode() for row in rows] == task_setup.raws()
    assert {row["api_version"] for row in rows} == {"v1"}


@pytest.mark.integration
def test_privacy_rule_uses_key_of_the_connection(task_setup: TaskSetup, caplog: pytest.LogCaptureFixture) -> None:
    """Writes no address; neither manifest, log nor summary has the key."""
    with caplog.at_level(logging.DEBUG):
        summary = task_setup.land(privacy={"conn_id": "audit_privacy", "drop": ["metadata"], "name": "gdpr"})
    landed = [path.read_text() for path in task_setup.destination.rglob("*") if path.is_file()]
    assert any("hmac:" in text for text in landed)
    assert not any("@example.com" in text or '"metadata":' in text for text in landed if "records_sha256" not in text)
    (manifest,) = [json.loads(text) for text in landed if '"records_sha256"' in text]
    assert (manifest["privacy"]["name"], manifest["privacy"]["drop"]) == ("gdpr", ["metadata"])
    assert KEY not in "".join(landed) + caplog.text + str(summary)


def test_privacy_connection_id_is_templated(task_setup: TaskSetup) -> None:
    """Renders the dict with the other fields, without the key."""
    operator = task_setup.operator(privacy=PRIVACY)
    operator.render_template_fields({"params": {"key": "audit_privacy"}})
    assert operator.privacy == {"conn_id": "audit_privacy", "drop": ["metadata"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"schema": "tidy"}, "schema 'tidy' is unknown. Give one of 'raw', 'normalized', 'ocsf'"),
        ({"schema": "ocsf", "file_format": "csv"}, "'ocsf' cannot be written as csv"),
        ({"schema": "ocsf", "ocsf_severity": {"mfa": "High"}}, "no rule 'mfa'"),
        ({"schema": "ocsf-1.1", "ocsf_severity": {"other": 1}}, "ocsf_severity['other'] is 1"),
        ({"ocsf_severity": {"other": "Low"}}, "rows have no severity"),
        ({"privacy": {"pseudonymise": ["email"]}}, "without a key"),
        (
            {"privacy": {"conn_id": "k"}, "filters": {"actor_email": "a@b.ch"}},
            "would be in plain text in every manifest",
        ),
    ],
)
def test_invalid_schema_or_privacy_fails_at_dag_parse(
    task_setup: TaskSetup, arguments: dict[str, Any], words: str
) -> None:
    """Raises without reading a connection."""
    with pytest.raises(ConfigurationError) as caught:
        task_setup.operator(**arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("privacy", "words"),
    [
        ({"conn_id": "nowhere"}, "Connection 'nowhere' does not exist.\nCreate it"),
        ({"conn_id": "short"}, "has 5 bytes.\nGive at least 32"),
        ({"conn_id": "empty"}, "has 0 bytes.\nGive at least 32"),
    ],
)
def test_missing_or_short_key_fails_permanently(task_setup: TaskSetup, privacy: dict[str, Any], words: str) -> None:
    """Writes nothing, and the error does not show the key."""
    task_setup.connect("short", {}, password="horse")
    task_setup.connect("empty", {}, password="")
    with pytest.raises(AirflowFailException) as caught:
        task_setup.land(privacy=privacy)
    assert words in str(caught.value)
    assert "horse" not in str(caught.value)
    assert not list(task_setup.destination.rglob("part-*"))
