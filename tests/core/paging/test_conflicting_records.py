"""A second record with the id of another one is an error and is never dropped silently."""

from __future__ import annotations

import msgspec
import pytest

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, is_same_record
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.seen_records import SeenRecords
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.paging.paginator_runs import one_by_one, page, play, row, window

V1, V2 = ApiVersion.V1, ApiVersion.V2


def _record_of(raw: bytes) -> AuditRecord:
    return msgspec.structs.replace(row(1, "a"), raw=raw)


@pytest.mark.parametrize("version", [V1, V2])
def test_page_with_two_records_of_one_id_is_an_error(version: ApiVersion) -> None:
    """The error has the id, the time of the second record and the position."""
    paginator = Paginator(ReadRequest(version, window(0, 9)))
    with pytest.raises(SourceProtocolError, match="two different records with the id 'a'") as caught:
        paginator.receive(Page([row(1, "a"), row(3, "a")]))
    assert "22:13:23Z" in str(caught.value)
    assert "asc by time in" in str(caught.value.position)


def test_two_pages_with_two_records_of_one_id_are_an_error() -> None:
    """The first of the two records may be on an earlier page."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=2))
    paginator.receive(Page([row(1, "a"), row(3, "b")]))
    with pytest.raises(SourceProtocolError, match="the id 'a'"):
        paginator.receive(Page([row(3, "b"), row(5, "a")]))


def test_records_of_the_probe_are_compared() -> None:
    """A row of the probe with a known id but another time is an error."""
    with pytest.raises(SourceProtocolError, match="the id 'a'"):
        play(
            Paginator(ReadRequest(V1, window(0, 9))),
            one_by_one(Page([row(1, "a"), row(3, "b")]), Page([row(4, "a"), row(3, "b")])),
        )


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        (b'{"id":"a","n":1}', b'{"id":"a","n":1}', True),
        (b'{"id":"a","n":1}', b'{"n": 1, "id": "a"}', True),
        (b'{"id":"a","n":1}', b'{"id":"a","n":2}', False),
        (b'{"id":"a","n":1}', b'{"id":"a","n":true}', False),
        (b'{"id":5}', b'{"id":"5"}', False),
        (b'{"n":"\\ud83d"}', b'{"n": "\\ud83d"}', True),
    ],
)
def test_record_is_the_same_except_for_white_space_and_order(first: bytes, second: bytes, is_one: bool) -> None:
    """Any other difference makes another record, even at the same instant."""
    seen = SeenRecords(1)
    seen.add([_record_of(first), _record_of(second)])
    assert (seen.conflict is None) is is_one
    assert (seen.seen_count, seen.repeated_count) == (2, 1)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (b'{"id":"a","x":"\xff"}', '{"id":"a","x":"\ufffd"}'.encode(), True),
        (b'{"id":"a","x":"\xff"}', b'{ "x": "\xff", "id": "a" }', True),
        (b'{"id":"a","x":"\xff"}', b'{"id":"a","x":"y"}', False),
    ],
)
def test_records_with_invalid_utf8_are_compared(one: bytes, other: bytes, is_same: bool) -> None:
    """A record read from a table, with a replacement character for invalid UTF-8, is the same record."""
    assert is_same_record(_record_of(one), _record_of(other)) is is_same
    assert is_same_record(_record_of(other), _record_of(one)) is is_same


def test_repeated_record_is_no_conflict() -> None:
    """Reading with a margin returns the same record on two pages."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=2))
    delivered, _ = play(paginator, one_by_one(page(1, 3), page(3, 5), page(5), page(5, 3)))
    assert [record.id for record in delivered] == ["at-1", "at-3", "at-5"]
