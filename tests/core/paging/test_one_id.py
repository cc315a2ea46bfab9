"""One id is one record: a second one under it is named, never dropped in silence."""

from __future__ import annotations

import msgspec
import pytest

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, is_same_record
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.archive.unique_ids import DuplicateGuard, IdHashSet
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.seen_records import SeenRecords
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.paging.paginator_runs import one_by_one, page, play, row, window

V1, V2 = ApiVersion.V1, ApiVersion.V2


def _said(raw: bytes) -> AuditRecord:
    return msgspec.structs.replace(row(1, "a"), raw=raw)


@pytest.mark.parametrize("version", [V1, V2])
def test_a_page_with_two_records_of_one_id_is_refused(version: ApiVersion) -> None:
    """The error names the id, the second record's time and where it struck."""
    paginator = Paginator(ReadRequest(version, window(0, 9)))
    with pytest.raises(SourceProtocolError, match="two different records with the id 'a'") as caught:
        paginator.receive(Page([row(1, "a"), row(3, "a")]))
    assert "22:13:23Z" in str(caught.value)
    assert "asc by time in" in str(caught.value.position)


def test_two_pages_with_two_records_of_one_id_are_refused() -> None:
    """It does not matter that the first came with an earlier page."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=2))
    paginator.receive(Page([row(1, "a"), row(3, "b")]))
    with pytest.raises(SourceProtocolError, match="the id 'a'"):
        paginator.receive(Page([row(3, "b"), row(5, "a")]))


def test_the_other_side_is_compared_too() -> None:
    """A row that only the proof shows under a known id is as much another record."""
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
def test_a_record_told_again_is_the_same_but_for_white_space_and_order(
    first: bytes, second: bytes, is_one: bool
) -> None:
    """What differs in more than that is another record, also at the same instant."""
    seen = SeenRecords(1)
    seen.add([_said(first), _said(second)])
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
def test_bytes_that_are_no_text_are_compared(one: bytes, other: bytes, is_same: bool) -> None:
    """A table shows a replacement character for what is no UTF-8, and its record is the API's own."""
    assert is_same_record(_said(one), _said(other)) is is_same
    assert is_same_record(_said(other), _said(one)) is is_same


def test_a_repeated_record_is_no_conflict() -> None:
    """The same record on two pages is what reading with a margin brings."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=2))
    delivered, _ = play(paginator, one_by_one(page(1, 3), page(3, 5), page(5), page(5, 3)))
    assert [record.id for record in delivered] == ["at-1", "at-3", "at-5"]


class Memory:
    """A scratch in memory, which says how much it was given."""

    def __init__(self) -> None:
        self.content = b""

    def append(self, content: bytes) -> int:
        """Keep bytes."""
        self.content += content
        return len(self.content) - len(content)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return some of them."""
        return self.content[offset : offset + size_bytes]


@pytest.mark.parametrize("id_count", [1, 20_000, 65_535, 65_536, 140_000])
def test_a_roll_finds_an_id_that_comes_twice(id_count: int) -> None:
    """However far apart they come, among however many, whether held or put aside."""
    ids = [f"id-{number}" for number in range(id_count)]
    for twice in (0, id_count - 1):
        roll = IdHashSet(Memory())
        for start in range(0, id_count, 1000):
            roll.add(ids[start : start + 1000])
        assert roll.repeated_count() == 0
        roll.add([ids[twice]])
        assert roll.repeated_count() == 1


@pytest.mark.parametrize("held_count", [1, 10, 65_536])
def test_two_rolls_share_ids(held_count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id on both counts once, however often it stands on either, held or put aside."""
    monkeypatch.setattr("airflow_audit_provider.core.archive.unique_ids._MEMORY_COUNT", held_count)
    scratch = Memory()
    one, other, empty = IdHashSet(scratch), IdHashSet(scratch), IdHashSet(scratch)
    for number in range(30):
        one.add([f"id-{number}"])
    for number in range(25, 60):
        other.add([f"id-{number}", f"id-{number}"])
    assert (one.shared_count(other), other.shared_count(one)) == (5, 5)
    assert (one.shared_count(empty), empty.shared_count(other)) == (0, 0)


def test_a_register_names_what_contradicts_it() -> None:
    """An id read twice does, and one to be added that is committed elsewhere; one committed twice does not."""
    register = DuplicateGuard(Memory())
    register.add(["a", "b", "new"])
    register.add_missing(["gone", "gone", "a"])
    register.check_conflicts(["new"], "[a, b)")
    assert register.moved_count() == 1
    with pytest.raises(SourceProtocolError, match=r"committed with another time.*replace=True") as caught:
        register.check_conflicts(["new", "a"], "[a, b)")
    assert (caught.value.window, caught.value.position) == ("[a, b)", "all slices together")
    register.add(["b"])
    with pytest.raises(SourceProtocolError, match=r"^\[.*returned 1 records with the id of another") as caught:
        register.check_conflicts([], "[a, b)")
    assert (caught.value.window, caught.value.position) == ("[a, b)", "all slices together")


def test_a_roll_holds_no_more_than_half_a_megabyte() -> None:
    """What a window holds beyond that is put aside, all of it once."""
    scratch = Memory()
    roll = IdHashSet(scratch)
    roll.add(f"id-{number}" for number in range(65_535))
    assert not scratch.content
    for start in range(65_535, 265_535, 1000):
        roll.add(f"id-{number}" for number in range(start, start + 1000))
    put_aside = len(scratch.content) // 8
    assert 200_000 <= put_aside <= 265_535
    assert len(set(memoryview(scratch.content).cast("q"))) == put_aside
    assert roll.repeated_count() == 0


def test_two_rolls_share_one_scratch() -> None:
    """A try that begins anew has not read what it read before, though that still lies there."""
    scratch = Memory()
    given_up, roll = IdHashSet(scratch), IdHashSet(scratch)
    for each in (given_up, roll):
        each.add(f"id-{number}" for number in range(100_000))
        each.add(["late"])
    assert (given_up.repeated_count(), roll.repeated_count()) == (0, 0)
    roll.add(["late", "id-3"])
    assert roll.repeated_count() == 2
