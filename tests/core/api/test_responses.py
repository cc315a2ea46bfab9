"""A response with status 200: the records of a page, or an error; never an empty page by mistake."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.responses import Page, read_page, server_time, token_is_active
from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.exceptions import SourceRateLimitedError, SourceUnavailableError

V1, V2 = ApiVersion.V1, ApiVersion.V2
NOW_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
RECORD = {"id": "a", "when": "1970-01-01T00:00:01Z", "action": {"time": "1970-01-01T00:00:01Z"}}


def take(version: ApiVersion, body: bytes | dict[str, Any], **headers: str) -> Page:
    """Reads a response with status 200 and this body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_page(version, Response(200, headers, content), NOW_AT)


def envelope(*records: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Returns a successful envelope around records."""
    return {"success": True, "errors": [], "messages": [], "result": list(records), **fields}


@pytest.mark.parametrize("version", [V1, V2])
def test_records_keep_the_order_of_the_page(version: ApiVersion) -> None:
    """A page keeps its order and its repeated ids."""
    page = take(version, envelope(RECORD, {**RECORD, "id": 7}, RECORD))
    assert [record.id for record in page.records] == ["a", "7", "a"]


@pytest.mark.parametrize(
    ("paging", "cursor", "states_end"),
    [
        ({"cursor": "c1"}, "c1", False),
        ({"cursors": {"after": "c2"}}, "c2", False),
        ({"cursor": "c1", "cursors": {"after": "c2"}}, "c1", False),
        ({"cursor": "", "cursors": {"after": "c2"}}, "c2", False),
        ({"cursor": None, "cursors": None}, None, True),
        ({"cursors": "c2"}, None, False),
        ({"cursors": {"after": ""}}, None, True),
        ({"cursor": 17}, "17", False),
        ({"cursor": None}, None, True),
        ({"count": 3}, None, False),
        ({"cursors": {}}, None, False),
        ({"cursor": None, "next": "/page/2"}, None, False),
        (None, None, False),
        ("c1", None, False),
        ([{"cursor": "c1"}], None, False),
    ],
)
def test_cursor_is_found_in_both_places(paging: Any, cursor: str | None, states_end: bool) -> None:
    """The cursor is read from its place in the documentation or in the SDK; an empty one is the end."""
    page = take(V2, envelope(RECORD, result_info=paging))
    assert (page.cursor, page.states_end) == (cursor, states_end)


def test_version_one_never_states_the_end() -> None:
    """Paging fields in a version 1 response are ignored."""
    page = take(V1, envelope(RECORD, result_info={"cursor": "c1", "total_pages": 1}))
    assert (page.cursor, page.states_end) == (None, False)


@pytest.mark.parametrize("version", list(ApiVersion))
def test_a_result_of_null_is_a_retryable_error(version: ApiVersion) -> None:
    """A successful response with a null result states neither records nor their absence."""
    with pytest.raises(SourceUnavailableError, match="a result that is null") as caught:
        take(version, b'{"success":true,"result":null}')
    assert caught.value.retryable


NOT_THE_ENVELOPE = [
    b"", b"<!DOCTYPE html><html>Just a moment...</html>", b"null", b"[]", b"true", b'{"success":true}',
    b'{"success":true,"result":{}}', b'{"success":true,"result":"a"}', b'{"success":true,"result":[]} trailing',
    b'{"success":"yes","result":[]}', b'{"success":1,"result":[]}',
    b'{"success":true,"result":[{"id":"a","when":"1970-01-01T00:00:01Z"}', b'{"success":true,"result":[,]}',
    b'{"success":true,"result":[{"id":"\\ud83d","when":"1970-01-01T00:00:01Z"}',
    b'{"success":true,"result":[{"n":"\x01}]}', b'{"success":true,"result":[{"n":NaN]}', b'{"n":NaN,"success":true}',
    b'{"success":true,"errors":' + b"[" * 5000 + b"]" * 5000 + b',"result":[]}',
    b"id,when\r\na,1970-01-01T00:00:01Z\r\n",
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_THE_ENVELOPE)
def test_a_200_that_is_no_envelope_is_an_error(body: bytes) -> None:
    """HTML, a truncated body or another shape is an error that shows how the body starts."""
    with pytest.raises(SourceUnavailableError, match="not the API's JSON") as caught:
        take(V1, body, **{"cf-ray": "8e8dd2156ef28414"})
    assert (caught.value.status, caught.value.ray_id) == (200, "8e8dd2156ef28414")
    assert repr(body[:80]) in caught.value.message


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_truncated_body_is_an_error(cut: int) -> None:
    """No prefix of a response is accepted."""
    with pytest.raises(SourceUnavailableError):
        take(V1, json.dumps(envelope(RECORD)).encode()[:-cut])


@pytest.mark.parametrize("success", [{"success": False}, {"success": None}, {}])
@pytest.mark.parametrize("result", [[], [RECORD], None])
def test_a_200_without_success_is_an_error(success: dict[str, Any], result: Any) -> None:
    """Records are accepted only with ``success: true``, and the API's message is in the error."""
    errors = [{"code": 1, "message": "First."}, {"message": " "}, "odd", {"message": "Second"}]
    with pytest.raises(SourceUnavailableError, match="without success: First; Second") as caught:
        take(V1, {**success, "result": result, "errors": errors})
    assert caught.value.codes == (1,)


def test_200_without_success_and_without_message_is_an_error() -> None:
    """An error list that is missing or odd causes no other error."""
    odd: tuple[Any, ...] = (None, {}, "text", [None], [{"message": None}])
    for errors in odd:
        with pytest.raises(SourceUnavailableError, match="without success"):
            take(V2, {"success": False, "result": [], "errors": errors})


@pytest.mark.parametrize(
    "body", [{"success": False, "result": [], "errors": [{"code": 10100}]}, {"errors": [{"code": 971}]}]
)
def test_200_with_a_rate_limit_code_is_a_rate_limit(body: dict[str, Any]) -> None:
    """The codes of the rate limit apply with status 200 too."""
    with pytest.raises(SourceRateLimitedError) as caught:
        take(V1, body, **{"retry-after": "30"})
    assert caught.value.retry_after == 30.0


def test_bytes_around_half_a_surrogate_pair_stay_exact() -> None:
    """One record that strict decoders reject changes no byte of any record of the page."""
    raws = [
        b'{"id":"a","when":"1970-01-01T00:00:01Z","n":"\\ud83d"}',
        b'{"id":"b","when":"1970-01-01T00:00:01Z","n":"plain"}',
        b'{"id":"a","when":"1970-01-01T00:00:01Z","n":"\\uDE00"}',
        b'{"id":"a","when":"1970-01-01T00:00:01Z","n":"\\ufffd"}',
        b'{"id":"c","when":"1970-01-01T00:00:01Z","n":"\\ud83d\\ude00"}',
    ]
    body = b'{"messages":["\\ud83d"],"result": [' + b" , ".join(raws) + b'],"success":true}'
    assert [record.raw for record in take(V1, body).records] == raws


def test_half_a_surrogate_pair_beside_an_empty_list_is_ignored() -> None:
    """A response that strict decoders reject is an empty page if its list is empty; null is still not believed."""
    assert take(V1, b'{"messages":["\\ud83d"],"result":[],"success":true}') == Page([])
    with pytest.raises(SourceUnavailableError, match="neither records nor an empty list"):
        take(V1, b'{"messages":["\\ud83d"],"result":null,"success":true}')


def test_pretty_printed_response_gives_one_line_a_record() -> None:
    """White space in the envelope and between values is not part of the lines."""
    body = json.dumps(envelope(RECORD, RECORD), indent=4).encode()
    records = take(V2, body).records
    assert [json.loads(record.raw) for record in records] == [RECORD, RECORD]
    assert not any(b"\n" in record.raw for record in records)


@pytest.mark.parametrize(
    ("body", "is_active"),
    [
        (b'{"success":true,"errors":[],"messages":[{"code":10000}],"result":{"id":"x","status":"active"}}', True),
        (b'{"success":true,"errors":null,"result":{"id":"x"}}', True),
        (b'{"success":true,"errors":[],"result":{"status":"disabled"}}', False),
        (b'{"success":true,"errors":[{"code":1000}],"result":{"status":"active"}}', False),
        (b'{"success":false,"errors":[],"result":{"status":"active"}}', False),
        (b'{"success":true,"errors":[],"result":null}', False),
    ],
)
def test_token_check_reads_errors_and_status_only(body: bytes, is_active: bool) -> None:
    """A successful check has code 10000 in its messages, which is no error."""
    assert token_is_active(Response(200, {}, body)) is is_active


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_token_check_without_json_is_unavailable(body: bytes) -> None:
    """A maintenance page says nothing about the token, so it does not make a good token invalid."""
    with pytest.raises(SourceUnavailableError, match=r"token check.*Retry later"):
        token_is_active(Response(200, {}, body))


@pytest.mark.parametrize(
    ("headers", "at"),
    [({"date": "Mon, 23 Nov 2026 12:00:00 GMT"}, NOW_AT), ({"date": "yesterday"}, None), ({}, None)]
    + [({"date": f"Thu, 01 Jan {year} 00:00:00 GMT"}, None) for year in ("1970", "1980", "2000", "9999", "99999")]
    + [({"date": "Thu, 01 Jan 2026 00:00:00 +99999999999999999999"}, None)],
)
def test_server_time_is_the_date_of_the_response(headers: dict[str, str], at: datetime | None) -> None:
    """The server time is the date of the response, None without a readable one."""
    assert server_time(headers) == at
