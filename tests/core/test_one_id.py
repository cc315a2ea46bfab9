"""One id is one record: a second one under it is named, never dropped in silence."""

from __future__ import annotations

import msgspec
import pytest

from airflow_audit_provider.core.answers import Page
from airflow_audit_provider.core.ledger import Ledger
from airflow_audit_provider.core.paging import Walk
from airflow_audit_provider.core.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.roll import Roll
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.walking import one_by_one, page, play, row, window

V1, V2 = ApiVersion.V1, ApiVersion.V2


def _said(raw: bytes) -> AuditRecord:
    return msgspec.structs.replace(row(1, "a"), raw=raw)


@pytest.mark.parametrize("version", [V1, V2])
def test_a_page_with_two_records_of_one_id_is_refused(version: ApiVersion) -> None:
    """The error names the id, the second record's time and where it struck."""
    walk = Walk(version, window(0, 9))
    with pytest.raises(SourceProtocolError, match="two different records with the id 'a'") as caught:
        walk.take(Page([row(1, "a"), row(3, "a")]))
    assert "22:13:23Z" in str(caught.value)
    assert "sweep asc of" in str(caught.value.position)


def test_two_pages_with_two_records_of_one_id_are_refused() -> None:
    """It does not matter that the first came with an earlier page."""
    walk = Walk(V1, window(0, 9), page_size=2)
    walk.take(Page([row(1, "a"), row(3, "b")]))
    with pytest.raises(SourceProtocolError, match="the id 'a'"):
        walk.take(Page([row(3, "b"), row(5, "a")]))


def test_the_other_side_is_compared_too() -> None:
    """A row that only the proof shows under a known id is as much another record."""
    with pytest.raises(SourceProtocolError, match="the id 'a'"):
        play(Walk(V1, window(0, 9)), one_by_one(Page([row(1, "a"), row(3, "b")]), Page([row(4, "a"), row(3, "b")])))


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
def test_a_record_told_again_is_the_same_but_for_white_space_and_order(
    first: bytes, second: bytes, is_one: bool
) -> None:
    """What differs in more than that is another record, also at the same instant."""
    ledger = Ledger(1)
    ledger.absorb([_said(first), _said(second)])
    assert (ledger.conflict is None) is is_one
    assert (ledger.seen_count, ledger.repeated_count) == (2, 1)


def test_a_repeated_record_is_no_conflict() -> None:
    """The same record on two pages is what reading with a margin brings."""
    walk = Walk(V1, window(0, 9), page_size=2)
    delivered, _ = play(walk, one_by_one(page(1, 3), page(3, 5), page(5), page(5, 3)))
    assert [record.id for record in delivered] == ["at-1", "at-3", "at-5"]


def test_a_roll_finds_an_id_that_comes_twice() -> None:
    """However far apart they come, and among however many."""
    roll = Roll()
    roll.add(f"id-{number}" for number in range(20_000))
    roll.refuse_repeats("[a, b)")
    roll.add(["id-7"])
    assert roll.repeated_count() == 1
    with pytest.raises(SourceProtocolError, match="the id of a record of another time") as caught:
        roll.refuse_repeats("[a, b)")
    assert (caught.value.window, caught.value.position) == ("[a, b)", "all slices together")
