"""A response that does not clearly contain records is an error, never the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.records import ApiVersion, read_records
from airflow_audit_provider.core.api.responses import Page, read_page
from airflow_audit_provider.core.archive.manifest import read_manifest
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.exceptions import SourceProtocolError, SourceUnavailableError, VerificationError
from tests.core.archive.manifests import GOLDEN
from tests.core.model_server import ModelServer
from tests.core.paging.paginator_runs import row, rows, window

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def _page(version: ApiVersion, **envelope: Any) -> Page:
    return read_page(version, Response(200, {}, json.dumps(envelope).encode()), NOW)


@pytest.mark.parametrize("version", list(ApiVersion))
def test_errors_beside_a_success_are_an_error(version: ApiVersion) -> None:
    """A success with errors may be incomplete."""
    with pytest.raises(SourceUnavailableError, match="shard failed"):
        _page(version, success=True, result=[], errors=[{"code": 1, "message": "shard failed"}])


@pytest.mark.parametrize("facts", [{"next_cursor": "x"}, {"cursors": {"next": "x"}}, {"next": "/page/2"}])
def test_unknown_paging_field_is_no_end(facts: dict[str, Any]) -> None:
    """Unknown paging fields that may lead to a next page are not the end."""
    assert not _page(ApiVersion.V2, success=True, result=[], result_info=facts).states_end


@pytest.mark.integration
def test_a_depth_cap_is_never_taken_for_the_end() -> None:
    """With pages of random length and a maximum page, every record is read or an error is raised."""
    for seed in range(100):
        server = ModelServer([*rows(5, 60), row(30)], random_fraction=True, depth_cap=40, seed=seed)
        reader, found = WindowReader(ReadRequest(ApiVersion.V1, window(0, 60), page_size=20), pages_per_cut=100), []
        try:
            while (request := reader.next_request()) is not None:
                try:
                    found += reader.receive(server.respond(request))
                except SourceProtocolError as error:
                    if error.status != 400:
                        raise
                    found += reader.receive_refusal(error)
        except SourceProtocolError:
            continue
        assert len(found) == 61, seed


def test_pretty_printed_record_without_id_keeps_its_digest() -> None:
    """The digest that replaces an id is that of the written line, so a second read recognizes it."""
    indented = json.dumps({"when": "2026-11-01T00:00:00Z"}, indent=2).encode()
    (record,) = read_records(ApiVersion.V1, [msgspec.Raw(indented)])
    assert read_records(ApiVersion.V1, [msgspec.Raw(record.raw)]) == [record]


def test_pretty_printed_record_with_half_a_surrogate_pair_is_read() -> None:
    """Line breaks are white space, whatever else is odd."""
    raw = b'{\n"id":"a",\r\n"when":"2026-11-01T00:00:00Z",\n"n":"\\ud83d"}'
    (record,) = read_records(ApiVersion.V1, [msgspec.Raw(raw)])
    assert b"\n" not in record.raw
    assert json.loads(record.raw) == json.loads(raw)


@pytest.mark.parametrize("end", [b"2026-11-01T00:00:00Z", b"2026-11-02T00:00:00"])
def test_manifest_with_an_invalid_window_is_an_error(end: bytes) -> None:
    """A manifest whose window ends before its start or has no time zone is invalid."""
    with pytest.raises(VerificationError):
        read_manifest("k", GOLDEN.replace(b"2026-11-02T00:00:00Z", end))
