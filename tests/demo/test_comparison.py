"""The comparison finds every changed, missing, duplicate or foreign record."""

from __future__ import annotations

import pytest

from demo.comparison import compare_lines, record_id
from tests.demo.landed_tree import record

TRUE = [record(number) for number in range(4)]
CHANGED = TRUE[0].replace(b"rec_add", b"rec_Add")
CHANGED_AT = TRUE[0].index(b"_add") + 1


def found(landed: list[bytes]) -> list[str]:
    """Returns the differences as text."""
    return [str(difference) for difference in compare_lines("jsonl 2026-11-09", landed, TRUE)]


def test_equal_records_in_any_order_are_no_difference() -> None:
    """The same records are equal in any order."""
    assert found(TRUE[::-1]) == []


@pytest.mark.parametrize(
    ("landed", "said"),
    [
        (TRUE[1:], "record id-000 is missing"),
        ([*TRUE, TRUE[2]], "record id-002 is present 2 times, not 1"),
        ([*TRUE, record(9)], "record id-009 is not Cloudflare's"),
        (
            [TRUE[0].replace(b"rec_add", b"rec_Add"), *TRUE[1:]],
            f"record id-000 is changed at byte {TRUE[0].index(b'_add') + 1}",
        ),
        ([*TRUE[:3], TRUE[3] + b" "], f"record id-003 is changed at byte {len(TRUE[3])}"),
        ([*TRUE, b"{broken"], "is not Cloudflare's"),
    ],
)
def test_one_difference_is_found_and_named(landed: list[bytes], said: str) -> None:
    """Each kind of difference is found once, with its record and window."""
    differences = found(landed)
    assert len(differences) == 1
    assert differences[0].startswith("jsonl 2026-11-09")
    assert said in differences[0]


def test_a_line_that_is_no_record_can_still_be_named() -> None:
    """A line without an id is identified by its first characters."""
    assert "not a record" in record_id(b"[]")
