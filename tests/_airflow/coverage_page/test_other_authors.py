"""An asset that any author of a DAG can create gives no access, and takes no other dataset from the page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider._airflow.coverage_page import access
from airflow_audit_provider._airflow.coverage_page.runs import Event, matching
from airflow_audit_provider._airflow.coverage_page.sources import Source, merged
from airflow_audit_provider.exceptions import ConfigurationError
from tests._airflow.coverage_page import histories
from tests._airflow.coverage_page.site import write
from tests.pipelines.verify.dataset import window

SECRET = "Credential=hidden"


class _Rights:
    """An auth manager that lets a user read some assets; None stands for assets in general."""

    def __init__(self, *allowed: str | None) -> None:
        self._allowed = allowed

    def is_authorized_asset(self, *, method: str, details: Any, user: Any) -> bool:
        """Returns whether the asset is among the allowed ones."""
        return details.id in self._allowed


def _allow(monkeypatch: pytest.MonkeyPatch, *allowed: str | None) -> None:
    monkeypatch.setattr("airflow.api_fastapi.app.get_auth_manager", lambda: _Rights(*allowed))


@pytest.mark.parametrize("uri", ["s3://x%EF%BC%8Fy/z", "s3://[x", "s3://x%2Fy/z"])
def test_sources_with_asset_of_invalid_bucket_are_complete(uri: str) -> None:
    """An asset whose URI no library can divide has a problem, and the others are there."""
    found = merged([("1", uri), ("2", "s3://bucket/a")], [])
    assert sorted((one.asset_ids, bool(one.problem)) for one in found) == [(("1",), True), (("2",), False)]


def test_sources_of_escapes_that_are_no_text_stay_two() -> None:
    """Escapes that are no UTF-8 are no character, so each URI keeps its own."""
    assert len(merged([("1", "s3://bucket/%FF"), ("2", "s3://bucket/%FE")], [])) == 2


def test_sources_without_assets_are_those_of_the_configuration() -> None:
    """A listed destination keeps the assets whose rights it needs."""
    assets = [("1", "s3://bucket/listed"), ("2", "s3://bucket/of-an-author")]
    (found,) = merged(assets, [{"destination": "s3://conn@bucket/listed"}], with_assets=False)
    assert (found.uri, found.asset_ids) == ("s3://bucket/listed", ("1",))


@pytest.mark.integration
@pytest.mark.parametrize("entries", [[], [{"destination": "s3://conn@bucket/a"}]], ids=["asset alone", "configured"])
def test_dataset_with_second_asset_needs_right_to_each(
    monkeypatch: pytest.MonkeyPatch, entries: list[dict[str, Any]]
) -> None:
    """Airflow keeps assets of one URI with different names; the right to one of them opens no dataset."""
    (source,) = merged([("1", "s3://bucket/a"), ("2", "s3://bucket/a")], entries)
    for allowed, is_allowed in ((("1",), False), (("2",), False), (("1", "2"), True)):
        _allow(monkeypatch, None, *allowed)
        assert access.may_read(object(), source) is is_allowed


@pytest.mark.integration
def test_version_folder_with_asset_that_is_not_shown_needs_right_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The right to the root's asset alone opens no version that has another one, although the page shows no assets."""
    from fastapi.testclient import TestClient

    from airflow_audit_provider._airflow.coverage_page.routes import build

    root = write(tmp_path / "stitched", histories.stitched().items())
    assets = [("1", root.as_uri()), ("2", f"{root.as_uri()}/v1")]
    found = merged(assets, [{"destination": root.as_uri()}], with_assets=False)
    app = build(lambda: found)
    app.dependency_overrides[access.current_user()] = object
    monkeypatch.setattr(access, "may_backfill", lambda user, dag_id: False)
    statuses = {}
    for allowed in (("1",), ("1", "2")):
        _allow(monkeypatch, None, *allowed)
        pages = [TestClient(app).get(f"/d/{one.id}") for one in Source(root.as_uri(), "").streams]
        band = TestClient(app).get(f"/d/{Source(root.as_uri(), '').id}").text.count('<ol class="band')
        statuses[allowed] = [*(answer.status_code for answer in pages), band]
    assert statuses == {("1",): [403, 200, 1], ("1", "2"): [200, 200, 2]}


@pytest.mark.integration
@pytest.mark.parametrize(("allowed", "status"), [((), 403), ((None,), 500)], ids=["no right", "right"])
def test_page_of_invalid_configuration_does_not_quote_it(
    monkeypatch: pytest.MonkeyPatch, allowed: tuple[None, ...], status: int
) -> None:
    """The configuration names datasets that the user may not read, and perhaps a login."""
    from fastapi.testclient import TestClient

    from airflow_audit_provider._airflow.coverage_page.routes import build

    def sources() -> list[Source]:
        raise ConfigurationError(f"Option coverage_destinations is {SECRET!r}.")

    _allow(monkeypatch, *allowed)
    app = build(sources)
    app.dependency_overrides[access.current_user()] = object
    for path in ("/", "/d/x", "/d/x/verify"):
        answer = TestClient(app).get(path)
        assert (answer.status_code, SECRET in answer.text) == (status, False)


@pytest.mark.integration
def test_page_of_user_who_is_refused_with_an_object_says_so() -> None:
    """An auth manager may explain a refusal by something that is no text."""
    from fastapi import HTTPException
    from fastapi.testclient import TestClient

    from airflow_audit_provider._airflow.coverage_page.routes import build

    def refuse() -> None:
        raise HTTPException(403, {"reason": SECRET})

    app = build(list)
    app.dependency_overrides[access.current_user()] = refuse
    answer = TestClient(app).get("/")
    assert (answer.status_code, SECRET in answer.text) == (403, False)
    assert "you may not read it" in answer.text


@pytest.mark.integration
@pytest.mark.parametrize("rest", ["", "/verify", "/w/20261031T000000Z-20261101T000000Z"])
def test_page_of_dataset_without_right_answers_as_for_an_unknown_one(
    monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    """A user who tries the names of buckets does not learn which of them hold a dataset."""
    from fastapi.testclient import TestClient

    from airflow_audit_provider._airflow.coverage_page.routes import build

    _allow(monkeypatch, None, "2")
    found = merged([("1", "s3://bucket/hidden")], [])
    app = build(lambda: found)
    app.dependency_overrides[access.current_user()] = object
    answers = [TestClient(app).get(f"/d/{name}{rest}") for name in (found[0].id, "unknown")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].text == answers[1].text


def test_runs_of_window_with_many_events_ask_once_for_each_dag() -> None:
    """An auth manager may ask a server for each answer."""
    asked: list[str] = []

    def may_read(dag_id: str) -> bool:
        asked.append(dag_id)
        return True

    at = datetime(2026, 11, 1, tzinfo=UTC)
    extra = {"window_start": window().start.isoformat(), "window_end": window().end.isoformat()}
    events = [Event(extra, f"dag{number % 2}", "run", "land", -1, at) for number in range(100)]
    assert len(list(matching(events, window(), may_read))) == 100
    assert asked == ["dag0", "dag1"]
